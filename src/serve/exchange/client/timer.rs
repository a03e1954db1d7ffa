//! One timer for every deadline of a connection.
//!
//! Owns when it rings. Deadlines nearly always move forwards: the timer stays where it was set until
//! it rings, and moves only then, so that most requests never touch it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// Made with the first deadline.
#[derive(Debug, Default)]
pub(in crate::serve::exchange) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `deadline` has passed.
    pub(in crate::serve::exchange) fn poll(
        &mut self,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}
