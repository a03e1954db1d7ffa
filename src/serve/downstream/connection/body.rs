//! Deadlines of a request body (R-1001).
//!
//! Owns how long a body was waited for, the longest pause and, where a floor applies, the rate that
//! the body must reach. Never reads.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The time a body may be waited for before a floor applies to it.
const FLOOR_GRACE: Duration = Duration::from_secs(10);
/// How often the rules are looked at again while a body is waited for: a floor can begin meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a body must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyRules {
    /// The longest pause between two reads.
    pub(super) pause: Duration,
    /// Bytes per second of waiting, on average, after [`FLOOR_GRACE`].
    pub(super) floor: Option<NonZeroU64>,
}

/// How long the body of the current request was waited for. Time in which the upstream takes none
/// of it does not count.
#[derive(Default)]
pub(super) struct BodyWait {
    /// Bytes that were delivered, including the head.
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

    /// The instant by which more must have come.
    fn deadline(&mut self, rules: BodyRules) -> Instant {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let pause = since + rules.pause;
        let Some(floor) = rules.floor else { return pause };
        let bytes = self.delivered.saturating_sub(self.head_bytes);
        let earned = Duration::from_secs(bytes / floor);
        pause.min(since + earned.max(FLOOR_GRACE).saturating_sub(self.waited))
    }

    /// Ready when the body has paused for too long or is below the floor.
    pub(super) fn poll_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        rules: impl Fn() -> BodyRules,
    ) -> Poll<()> {
        loop {
            let deadline = self.deadline(rules());
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            let look = deadline.min(now + LOOK_EVERY);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(look)));
            if timer.is_elapsed() || timer.deadline() > deadline {
                timer.as_mut().reset(look);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}
