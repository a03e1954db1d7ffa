//! One line per request, written by a thread of its own.
//!
//! Owns the queue between the requests and the writer. A request never waits for a disk or a
//! terminal: when the queue is full its line is dropped and counted. Never holds a credential or
//! a query.

mod line;
mod writer;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use prometheus::IntCounter;

use crate::access_log::writer::{Order, Writer};
use crate::config::{self, AccessLogTarget};
use crate::log_text::LineFormat;
use crate::record::Record;

/// Lines that wait for the writer: what is written in a good tenth of a second under full load.
/// A line is at most about 5 KiB, ordinarily a tenth of that.
const QUEUE_LINES_MAX: usize = 8192;

/// Orders that wait for the writer.
const QUEUE_ORDERS_MAX: usize = 16;

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    running: Option<Running>,
    dropped: IntCounter,
}

#[derive(Debug)]
struct Running {
    format: LineFormat,
    lines: Sender<Vec<u8>>,
    orders: Sender<Order>,
    /// Ends when both senders are gone.
    _writer: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the target and starts the writer. `fallback` is the format of the process log, for a
    /// log that has none of its own; `dropped` counts lost lines.
    ///
    /// # Errors
    /// When the target cannot be opened or no thread can be started.
    pub fn start(
        settings: &config::AccessLog,
        fallback: LineFormat,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let (file, path) = match &settings.target {
            AccessLogTarget::Off => return Ok(Self::off(dropped)),
            AccessLogTarget::Stdout => (stdout()?, None),
            AccessLogTarget::File(path) => (writer::open(path)?, Some(path.clone())),
        };
        let format = match settings.json {
            Some(true) => LineFormat::Json,
            Some(false) => LineFormat::Text,
            None => fallback,
        };
        let (lines, lines_in) = bounded(QUEUE_LINES_MAX);
        let (orders, orders_in) = bounded(QUEUE_ORDERS_MAX);
        let writer = Writer::new(file, path, dropped.clone());
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&lines_in, &orders_in))?;
        Ok(Self { running: Some(Running { format, lines, orders, _writer: writer }), dropped })
    }

    /// No access log.
    #[must_use]
    pub fn off(dropped: IntCounter) -> Self {
        Self { running: None, dropped }
    }

    /// Queues the line of one request; drops and counts it when the queue is full.
    pub fn record(&self, record: &Record<'_>) {
        let Some(running) = &self.running else { return };
        if running.lines.is_full() {
            // Not worth formatting.
            self.dropped.inc();
            return;
        }
        if running.lines.try_send(line::format(record, running.format)).is_err() {
            self.dropped.inc();
        }
    }

    /// Opens a file target again, after it was renamed away. Does not wait.
    pub fn reopen(&self) {
        if let Some(running) = &self.running {
            // Full means that an order to reopen already waits.
            let _ = running.orders.try_send(Order::Reopen);
        }
    }

    /// Waits until all lines queued so far are written, at most `patience`. Whether they are.
    #[must_use]
    pub fn flush(&self, patience: Duration) -> bool {
        let Some(running) = &self.running else { return true };
        let (done, is_done) = bounded(1);
        running.orders.send_timeout(Order::Flush(done), patience).is_ok()
            && is_done.recv_timeout(patience).is_ok()
    }

    /// Lines that were lost so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// Standard output without the buffer and lock of the standard library, which others may hold.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests;
