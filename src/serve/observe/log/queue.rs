//! The lines of the process log that wait for standard error.
//!
//! Owns a bounded queue and the thread that writes: a thread that logs never waits for a terminal
//! or a pipe that is not read. A line that finds the queue full is lost and counted.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait; one is a few hundred bytes, at most some tens of KiB.
const LINES_MAX: usize = 1024;

/// Lines that were lost since the start: they found the queue full, or could not be written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// See [`DROPPED`].
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Job {
    Line(Vec<u8>),
    /// All that was queued before is written.
    Flush(Sender<()>),
}

/// The queue of lines.
#[derive(Clone, Debug)]
pub(super) struct Queue(Sender<Job>);

impl Queue {
    /// Starts the thread that writes. It ends with the process.
    pub(super) fn start(target: File) -> io::Result<Self> {
        let (jobs, queued) = bounded(LINES_MAX);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(target, &queued))?;
        Ok(Self(jobs))
    }

    /// Waits until all lines queued so far are written, at most `patience`. Whether they are.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let (done, is_done) = bounded(1);
        self.0.send_timeout(Job::Flush(done), patience).is_ok()
            && is_done.recv_timeout(patience).is_ok()
    }
}

fn write(mut target: File, queued: &Receiver<Job>) {
    for job in queued {
        match job {
            Job::Line(line) => {
                if target.write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
            // The waiting thread may be gone.
            Job::Flush(done) => drop(done.try_send(())),
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Each write is one whole line: that is how the layer that formats events writes them.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Job::Line(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn lines_are_written_in_order_and_waited_for_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let queue = Queue::start(File::create(&path).unwrap()).unwrap();
        for number in 0..100 {
            queue.make_writer().write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert!(queue.flush(PATIENCE));
        let all: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_never_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Held open for reading so that it can be opened, and never read.
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        let queue = Queue::start(pipe.try_clone().unwrap()).unwrap();
        let before = dropped();
        let line = vec![b'x'; 1024];
        (0..4 * LINES_MAX).for_each(|_| queue.make_writer().write_all(&line).unwrap());
        assert!(dropped() > before);
        assert!(!queue.flush(Duration::from_millis(20)), "and a flush gives up");
    }
}
