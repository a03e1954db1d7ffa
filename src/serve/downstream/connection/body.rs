//! The floor of request bodies (R-1001): a caller that drips its body must not hold a connection for
//! as long as it likes.
//!
//! Owns how long a body was waited for and what that time must have brought. Never reads.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How long a body may make us wait before it must have brought [`BODY_BYTES_PER_S_MIN`].
const BODY_GRACE: Duration = Duration::from_secs(10);
/// The least a body may bring for each second we wait for it, on average (R-1001).
const BODY_BYTES_PER_S_MIN: u64 = 1024;

/// How long we have waited for the body of the current request. The time in which nobody asks for
/// more of it is not the caller's, and does not count.
#[derive(Default)]
pub(super) struct BodyWait {
    /// Bytes that were delivered, the head's included.
    delivered: u64,
    head_bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl BodyWait {
    pub(super) fn of_request(head_bytes: usize) -> Self {
        Self { head_bytes: head_bytes as u64, ..Self::default() }
    }

    pub(super) fn delivered(&mut self, count: usize) {
        self.delivered = self.delivered.saturating_add(count as u64);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Until when more must have come.
    fn deadline(&mut self) -> Instant {
        let bytes = self.delivered.saturating_sub(self.head_bytes);
        let earned = Duration::from_secs(bytes / BODY_BYTES_PER_S_MIN);
        let left = earned.max(BODY_GRACE).saturating_sub(self.waited);
        *self.waiting_since.get_or_insert_with(Instant::now) + left
    }

    /// Ready when the body has been below the floor for too long.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline();
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
