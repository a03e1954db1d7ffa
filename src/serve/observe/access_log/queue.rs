//! The queue to the writer: bytes of whole lines, and orders.
//!
//! Owns the one place where requests and the writer meet, and its bounds. A request takes the lock
//! for as long as it takes to copy one line; the writer, for as long as it takes to swap two
//! buffers. Never writes and never formats.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait for the writer: what is written in a good tenth of a second under full
/// load. The writer holds as much again while it writes.
pub(super) const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Orders that wait for the writer.
const ORDERS_MAX: usize = 16;

/// An order to the writer.
#[derive(Debug)]
pub(super) enum Order {
    /// Open the file again.
    Reopen,
    /// Say when all that was queued before is written.
    Flush(SyncSender<()>),
}

/// The next work of the writer.
#[derive(Debug)]
pub(super) enum Work {
    /// Write the lines.
    Lines,
    /// Write the lines, then follow the order.
    Order(Order),
    /// Write the lines: they are the last.
    Closed,
}

/// Lines and orders that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
    /// As many bytes as wait, for a look without the lock.
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    orders: Vec<Order>,
    closed: bool,
}

impl Queue {
    /// Returns whether a line is likely to find no room.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= QUEUE_BYTES_MAX
    }

    /// Queues one whole line; false when there is no room for it.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.lines.len() + line.len();
        if bytes > QUEUE_BYTES_MAX {
            // Full from now on: using the rest of the room would cost a lock for each line.
            self.bytes.store(QUEUE_BYTES_MAX, Ordering::Relaxed);
            return false;
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        self.bytes.store(bytes, Ordering::Relaxed);
        drop(waiting);
        if is_first {
            self.news.notify_one();
        }
        true
    }

    /// Queues an order behind the lines that wait; false when too many orders wait.
    pub(super) fn order(&self, order: Order) -> bool {
        let mut waiting = self.lock();
        if waiting.orders.len() >= ORDERS_MAX {
            return false;
        }
        waiting.orders.push(order);
        drop(waiting);
        self.news.notify_one();
        true
    }

    /// Nothing will be queued any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Waits for work and takes it: the lines into `batch`, which is empty. Lines gather for
    /// `gather` before they are taken; only an order or the end cuts that short.
    pub(super) fn take(&self, batch: &mut Vec<u8>, gather: Duration) -> Work {
        let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_urgent();
        let waiting = self.lock();
        let waiting =
            self.news.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self.gather(waiting, gather);
        std::mem::swap(&mut waiting.lines, batch);
        self.bytes.store(0, Ordering::Relaxed);
        if !waiting.orders.is_empty() {
            return Work::Order(waiting.orders.remove(0));
        }
        if waiting.closed { Work::Closed } else { Work::Lines }
    }

    fn gather<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        gather: Duration,
    ) -> MutexGuard<'a, Waiting> {
        let waited = self.news.wait_timeout_while(waiting, gather, |waiting| !waiting.is_urgent());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whole lines only are ever put in or taken out.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.closed || !self.orders.is_empty()
    }
}
