//! Every deadline of an exchange, on one timer.
//!
//! Owns which of them is the next, and what it means that it has passed. A wait that is not under way
//! has none.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::Relay;

/// The interval of looks at the deadlines while a client is waited for: connections may become
/// scarce meanwhile, which shortens them.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// A client that ended its side was written nothing.
    ClientGone,
    ReaderStalled,
    BodyTooSlow,
    /// The upstream, and the name of its timeout.
    Upstream(&'static str),
}

impl Relay<'_, '_> {
    /// Ready when a deadline has passed.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let Some((deadline, late)) = self.next_deadline() else { return Poll::Pending };
            let now = Instant::now();
            if deadline <= now {
                return Poll::Ready(late);
            }
            let look = deadline.min(now + LOOK_EVERY);
            ready!(self.client.timer.poll(look, cx));
        }
    }

    fn next_deadline(&self) -> Option<(Instant, Late)> {
        let request = &*self.request;
        let awaits_body = !request.is_read && !request.is_dead && request.stalled.is_none();
        let body =
            if awaits_body && !self.awaits_continue() { self.client.body_deadline() } else { None };
        let all = [
            (body, Late::BodyTooSlow),
            (self.client.stall_deadline(), Late::ReaderStalled),
            (self.client.gone_at(), Late::ClientGone),
            (request.stalled.map(|since| since + self.plan.idle), Late::Upstream("idle")),
            self.response_deadline(),
        ];
        let all = all.into_iter().filter_map(|(deadline, late)| Some((deadline?, late)));
        all.min_by_key(|(deadline, _)| *deadline)
    }

    fn response_deadline(&self) -> (Option<Instant>, Late) {
        let (timeout, name) = if self.response.has_head() || self.tunnel.is_some() {
            (self.plan.idle, "idle")
        } else {
            (self.plan.response, "response")
        };
        (self.response.waiting.map(|since| since + timeout), Late::Upstream(name))
    }

    /// The client waits for a 100 before it sends its body: what it waits for is the upstream's.
    fn awaits_continue(&self) -> bool {
        self.plan.expects && !self.response.continued && self.request.bytes == 0
    }
}
