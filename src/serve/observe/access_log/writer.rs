//! The thread that writes.
//!
//! Owns the open target: batches, reopening, and what happens when a target is gone or full: lines
//! are counted as dropped, it is said once, and writing is tried again with the next batch.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus::IntCounter;

use crate::serve::observe::access_log::queue::{Order, Queue, Work};

/// Time that lines gather before they are written. A thread that is woken for every line costs a
/// request more than the line itself; in this time the queue does not fill.
const GATHER_MAX: Duration = Duration::from_millis(10);

/// Capacity that a batch keeps after a burst.
const BATCH_BYTES_KEPT: usize = 512 * 1024;

/// Opens a log file for appending; only its owner and group may read it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// The target and what is known about it.
#[derive(Debug)]
pub(super) struct Writer<W = File> {
    target: W,
    /// For reopening; `None` for a target that has no name.
    path: Option<PathBuf>,
    dropped: IntCounter,
    /// The last write failed.
    failing: bool,
    /// The last line is only partly there.
    torn: bool,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(target: W, path: Option<PathBuf>, dropped: IntCounter) -> Self {
        Self { target, path, dropped, failing: false, torn: false }
    }

    /// Writes a batch of whole lines; what cannot be written is counted.
    fn write(&mut self, batch: &mut Vec<u8>) {
        if batch.is_empty() {
            return;
        }
        let lead = usize::from(self.torn);
        if self.torn {
            batch.insert(0, b'\n');
        }
        let (written, result) = write_counted(&mut self.target, batch);
        if written > 0 {
            self.torn = batch.get(written - 1) != Some(&b'\n');
        }
        let unwritten = &batch[written.max(lead)..];
        let lost = unwritten.iter().filter(|byte| **byte == b'\n').count();
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("access log: lines are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped.inc_by(lost as u64);
                if !self.failing {
                    self.failing = true;
                    tracing::error!(%error, "access log: lines are lost until they can be written again");
                }
            }
        }
        batch.clear();
    }
}

impl Writer<File> {
    /// Writes until the queue is closed.
    pub(super) fn run(mut self, queue: &Queue) {
        let mut batch = Vec::new();
        loop {
            let work = queue.take(&mut batch, GATHER_MAX);
            // What was queued before an order is written before it is followed.
            self.write(&mut batch);
            batch.shrink_to(BATCH_BYTES_KEPT);
            match work {
                Work::Lines => {}
                Work::Order(Order::Reopen) => self.reopen(),
                // The waiting thread may be gone.
                Work::Order(Order::Flush(done)) => drop(done.try_send(())),
                Work::Closed => return,
            }
        }
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(target) => {
                self.target = target;
                self.torn = false;
            }
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "access log: cannot be opened again");
            }
        }
    }
}

/// As `write_all`, and how much went out before an error.
fn write_counted(target: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for this many bytes.
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_and_counts_lines_and_writing_goes_on_when_there_is_room() {
        let dropped = IntCounter::new("dropped", "lines").unwrap();
        let disk = Disk { room: 6, content: Vec::new() };
        let mut writer = Writer::new(disk, None, dropped.clone());
        writer.write(&mut b"one\ntwo\nthree\n".to_vec());
        assert_eq!(dropped.get(), 2, "the second went out in part, the third not at all");
        writer.write(&mut b"four\n".to_vec());
        assert_eq!(dropped.get(), 3, "and so is every line while the disk is full");
        writer.target.room = 100;
        writer.write(&mut b"five\n".to_vec());
        assert_eq!(dropped.get(), 3);
        assert_eq!(writer.target.content, b"one\ntw\nfive\n", "a torn line spoils no other");
    }
}
