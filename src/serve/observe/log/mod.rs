//! The process log: what happens to gatepost itself, on standard error.
//!
//! Owns the format and the filter. Third parties log whole header sections and request targets at
//! several levels, pingora even in errors; those targets are never written, whatever the level
//! . Never logs a request: that is [`crate::serve::observe::access_log`]'s. Never makes
//! a thread wait for the reader of standard error (`queue`).

mod queue;

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::base::clock::Clock;
use crate::serve::observe::line::{Line, LineFormat};
use crate::serve::observe::log::queue::Queue;

/// The longest value of a field, in bytes; mistakes quote paths and are rarely half as long.
const TEXT_BYTES_MAX: usize = 4096;

/// The parts of pingora that say something about the process rather than about a request.
const PINGORA_SERVER: [&str; 3] =
    ["pingora_core::server", "pingora_core::services", "pingora_core::listeners"];

/// The queue of the process log, once it is set up.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The reason why there is no process log.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    /// It was set up before.
    #[error("the process log is already set up")]
    Taken,
    /// Standard error or a thread is not available.
    #[error("the process log: {0}")]
    System(#[from] io::Error),
}

/// Sends our events and the log records of libraries to standard error. Once per process, before
/// anything else can log.
///
/// # Errors
/// [`LogError`] when it was called before, or the system refuses what it needs.
pub(crate) fn init(format: LineFormat, level: LevelFilter) -> Result<(), LogError> {
    // <https://no-color.org>: set and not empty.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = OneLine { format, colour: !plain && io::stderr().is_terminal() };
    // Without the lock of the standard library: a write that hangs must not hold it.
    let queue = Queue::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))?;
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_writer(queue.clone());
    // The bridge for `log` records comes with `try_init`.
    let registry = tracing_subscriber::registry().with(filter(level)).with(layer);
    registry.try_init().map_err(|_| LogError::Taken)?;
    QUEUE.set(queue).map_err(|_| LogError::Taken)
}

/// Waits until all lines logged so far are written, at most `patience`. Whether they are.
pub(crate) fn flush(patience: Duration) -> bool {
    QUEUE.get().is_none_or(|queue| queue.flush(patience))
}

/// Lines lost since the start, because standard error is not read.
#[must_use]
pub(crate) fn dropped() -> u64 {
    queue::dropped()
}

/// gatepost at `level`; other crates at most at `warn`, and of pingora nothing about requests: its
/// messages contain request targets with their query, and raw header bytes.
fn filter(level: LevelFilter) -> Targets {
    let others = level.min(LevelFilter::WARN);
    let mut targets = Targets::new()
        .with_default(others)
        .with_target("gatepost", level)
        .with_target("pingora", LevelFilter::OFF);
    for target in PINGORA_SERVER {
        targets = targets.with_target(target, level.min(LevelFilter::INFO));
    }
    targets
}

/// Writes an event as one line of printable ASCII.
#[derive(Clone, Copy, Debug)]
struct OneLine {
    format: LineFormat,
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let bridged = event.normalized_metadata();
        let metadata = bridged.as_ref().unwrap_or_else(|| event.metadata());
        let time = Clock::unix_millis().to_string();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *metadata.level();
        let line = match self.format {
            LineFormat::Json => json(&time, level, metadata.target(), &fields),
            LineFormat::Text => text(&time, level, metadata.target(), &fields, self.colour),
        };
        // Printable ASCII, and for a terminal the colour codes: always UTF-8.
        writer.write_str(&String::from_utf8_lossy(&line))
    }
}

fn json(time: &str, level: Level, target: &str, fields: &Fields) -> Vec<u8> {
    let mut line = Line::new(LineFormat::Json, 256);
    line.text("time", time, TEXT_BYTES_MAX);
    line.text("level", level_word(level), TEXT_BYTES_MAX);
    line.text("target", target, TEXT_BYTES_MAX);
    line.text("message", &fields.message, TEXT_BYTES_MAX);
    for (name, value) in &fields.others {
        line.text(name, value, TEXT_BYTES_MAX);
    }
    line.finish()
}

fn text(time: &str, level: Level, target: &str, fields: &Fields, colour: bool) -> Vec<u8> {
    let (before, after) = if colour { (colour_of(level), "\u{1b}[0m") } else { ("", "") };
    let level = level_word(level);
    let mut out = format!("{time} {before}{level:5}{after} {target}: ").into_bytes();
    crate::serve::observe::line::push_escaped(&mut out, &fields.message, TEXT_BYTES_MAX);
    let mut line = Line::new(LineFormat::Text, 128);
    for (name, value) in &fields.others {
        line.text(name, value, TEXT_BYTES_MAX);
    }
    if !fields.others.is_empty() {
        out.push(b' ');
    }
    out.extend(line.finish());
    out
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG | Level::TRACE => "\u{1b}[2m",
    }
}

/// The fields of an event as texts.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            // What the bridge adds for the metadata of a `log` record.
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::serve::observe::line::naughty;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn capture(format: LineFormat, level: LevelFilter, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(OneLine { format, colour: false })
            .with_writer(captured.clone());
        let subscriber = tracing_subscriber::registry().with(filter(level)).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn r903_every_event_is_one_clean_line() {
        for text in naughty::STRINGS {
            let log = || tracing::warn!(value = %text, other = ?text, "said {text}");
            let json = capture(LineFormat::Json, LevelFilter::INFO, log);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["message"], format!("said {text}"));
            assert_eq!(value["value"], *text);
            assert_eq!(value["level"], "warn");
            let plain = capture(LineFormat::Text, LevelFilter::INFO, log);
            assert!(
                plain.contains(" warn  gatepost::serve::observe::log::tests: said"),
                "{plain:?}"
            );
            for line in [json, plain] {
                let line = line.strip_suffix('\n').unwrap();
                assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            }
        }
    }

    #[test]
    fn r902_what_pingora_says_about_a_request_is_never_written() {
        let filter = filter(LevelFilter::TRACE);
        for target in [
            "pingora_proxy",
            "pingora_proxy::proxy_h1",
            "pingora_core::apps::http_app",
            "pingora_core::protocols::http::v1::server",
            "pingora_core::connectors",
        ] {
            assert!(!filter.would_enable(target, &Level::ERROR), "{target}");
        }
        for target in ["h2::codec::framed_read", "hyper::proto::h1::io", "axum::rejection"] {
            assert!(!filter.would_enable(target, &Level::INFO), "{target}");
            assert!(filter.would_enable(target, &Level::WARN), "{target}");
        }
        assert!(filter.would_enable("pingora_core::server", &Level::INFO));
        assert!(!filter.would_enable("pingora_core::server", &Level::DEBUG));
        assert!(filter.would_enable("gatepost::serve::reload", &Level::TRACE));
    }

    #[test]
    fn the_level_holds_for_everybody() {
        let filter = filter(LevelFilter::ERROR);
        assert!(!filter.would_enable("gatepost", &Level::WARN));
        assert!(!filter.would_enable("pingora_core::server", &Level::WARN));
        assert!(!filter.would_enable("h2", &Level::WARN));
        assert!(filter.would_enable("h2", &Level::ERROR));
    }
}
