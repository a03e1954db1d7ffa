//! One line per request, written by a thread of its own.
//!
//! Owns the queue between the requests and the writer. A request never waits for a disk or a
//! terminal: when the queue is full its line is dropped and counted. Never holds a credential or
//! a query.

mod line;
mod queue;
mod writer;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use prometheus::IntCounter;

use crate::config::{self, AccessLogTarget};
use crate::serve::observe::access_log::queue::{Order, Queue};
use crate::serve::observe::access_log::writer::Writer;
use crate::serve::observe::line::LineFormat;
use crate::serve::observe::record::Record;

thread_local! {
    /// Buffer of this thread for a line before it is queued; a line is at most about 5 KiB.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The access log of the process.
#[derive(Debug)]
pub(crate) struct AccessLog {
    running: Option<Running>,
    dropped: IntCounter,
}

#[derive(Debug)]
struct Running {
    format: LineFormat,
    queue: Arc<Queue>,
}

/// The writer ends once it has written what was queued.
impl Drop for Running {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl AccessLog {
    /// Opens the target and starts the writer. `fallback` is the format of the process log, for a
    /// log that has none of its own; `dropped` counts lost lines.
    ///
    /// # Errors
    /// The target cannot be opened, or no thread can be started.
    pub(crate) fn start(
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
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(file, path, dropped.clone());
        let queue_in = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&queue_in))?;
        Ok(Self { running: Some(Running { format, queue }), dropped })
    }

    /// No access log.
    #[must_use]
    pub(crate) fn off(dropped: IntCounter) -> Self {
        Self { running: None, dropped }
    }

    /// Queues the line of one request; drops and counts it when the queue is full.
    pub(crate) fn record(&self, record: &Record<'_>) {
        let Some(running) = &self.running else { return };
        if running.queue.is_full() {
            // Not worth formatting.
            self.dropped.inc();
            return;
        }
        let line = line::format(record, running.format, LINE.take());
        if !running.queue.push(&line) {
            self.dropped.inc();
        }
        LINE.set(line);
    }

    /// Opens a file target again, after it was renamed away. Does not wait.
    pub(crate) fn reopen(&self) {
        if let Some(running) = &self.running {
            // Full means that an order to reopen already waits, or that the writer is stuck.
            let _ = running.queue.order(Order::Reopen);
        }
    }

    /// Waits until all lines queued so far are written, at most `patience`. Whether they are.
    #[must_use]
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let Some(running) = &self.running else { return true };
        let (done, is_done) = sync_channel(1);
        running.queue.order(Order::Flush(done)) && is_done.recv_timeout(patience).is_ok()
    }

    /// Lines that were lost so far.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// Standard output without the buffer and lock of the standard library, which others may hold.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests;
