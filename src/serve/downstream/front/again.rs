//! A caller that was refused, and asks again on the same connection without a credential.
//!
//! Owns answering it before pingora makes a session of the request, which is most of what a
//! refusal costs: a loop of a broken client, or a flood, is that much cheaper to bear. Can only
//! refuse: the gate says no to exactly this request, here as there, and whatever it would not
//! refuse goes on to [`crate::serve::downstream::proxy`], where it is decided anew. Whoever presents a credential,
//! sends a body or wants anything special of the connection goes on as well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::wire::{self, Then};
use crate::base::clock::{Clock, Monotonic};
use crate::config::snapshot::Snapshot;
use crate::decide::gate::{Charging, Decision, Evidence, RequestHead, Verdict};
use crate::decide::rejection::{Answer, Rejection};
use crate::decide::request::address::Peer;
use crate::decide::request::credential::{Presented, Reading};
use crate::decide::request::framing::{self, BodyLength, Head};
use crate::decide::request::request_id::RequestId;
use crate::serve::downstream::proxy::{admit, finish, next_request_id};
use crate::serve::observe::record::{Outcome, Record};
use crate::serve::shared::{Ready, Shared};

/// A refusal to be written, and what there is to record of it.
pub(super) struct Refusal {
    /// What goes over the wire. The connection stays.
    pub(super) bytes: Vec<u8>,
    answer: Answer,
    rejection: Rejection,
    evidence: Evidence,
    snapshot: Arc<Snapshot>,
    request_id: RequestId,
    peer_request_id: Option<Box<str>>,
    asked: Asked,
    deciding: Duration,
}

/// A request as the gate sees it.
struct Asked {
    method: Method,
    path: Vec<u8>,
    headers: HeaderMap,
}

impl Refusal {
    /// What the gate says no to, if that is all there is to say. `None` leaves the request as it
    /// is, uncharged.
    pub(super) fn of(shared: &Shared, head: &Head<'_>, peer: Option<Peer>) -> Option<Self> {
        // Whoever drains says so in each answer.
        if shared.readiness.state() != Ready::Yes {
            return None;
        }
        let asked = Asked::read(head)?;
        let snapshot = shared.snapshots.load_full();
        let request = asked.head(peer?);
        let now = shared.clock.now();
        let Decision { verdict, evidence } = refuse(&snapshot, &request, now)?;
        let deciding = since(shared.clock, now.monotonic);
        let Verdict::Reject(rejection) = verdict else { return None };
        let request_id = next_request_id();
        let peer_request_id = admit::peer_request_id(&snapshot.gate, &request);
        let id = peer_request_id.as_deref().unwrap_or(request_id.as_str());
        let mut answer = Answer::to_rejection(&rejection, &snapshot.dynamic.realm, id);
        finish::add_cors(&mut answer, &evidence, &asked.headers);
        let is_head = asked.method == Method::HEAD;
        let bytes = wire::form(&answer, id, Then::Keep, is_head, now.unix);
        (!answer.close).then_some(Self {
            bytes,
            answer,
            rejection,
            evidence,
            snapshot,
            request_id,
            peer_request_id,
            asked,
            deciding,
        })
    }

    /// Tells the observers, once it was written or could not be.
    pub(super) fn record(&self, shared: &Shared, began: Monotonic, written: bool) {
        let host = self.asked.headers.get(http::header::HOST);
        let host = host.map_or(&b""[..], |host| host.as_bytes());
        let has_body = written && self.asked.method != Method::HEAD;
        shared.observers.record(&Record {
            time: Clock::unix_millis(),
            request_id: self.request_id.as_str(),
            peer_request_id: self.peer_request_id.as_deref(),
            method: self.asked.method.as_str(),
            path: &String::from_utf8_lossy(&self.asked.path),
            host: &String::from_utf8_lossy(host),
            outcome: Outcome::Refused(self.rejection.reason()),
            rejection: Some(&self.rejection),
            status: if written { self.answer.status.as_u16() } else { 0 },
            evidence: &self.evidence,
            total: since(shared.clock, began),
            deciding: self.deciding,
            upstream: None,
            bytes_in: 0,
            bytes_out: if has_body { self.answer.body.len() as u64 } else { 0 },
            generation: self.snapshot.generation,
        });
    }
}

impl Asked {
    /// The request, if it is a plain one.
    fn read(head: &Head<'_>) -> Option<Self> {
        let method = Method::from_bytes(head.method).ok()?;
        // OPTIONS may be a preflight, which asks about another request.
        let is_plain = head.is_http11
            && head.body == BodyLength::Known(0)
            && head.target.starts_with(b"/")
            && method != Method::OPTIONS;
        if !is_plain {
            return None;
        }
        let mut headers = HeaderMap::with_capacity(head.fields);
        for (name, value) in head.iter() {
            let name = HeaderName::from_bytes(name).ok()?;
            if matches!(name.as_str(), "connection" | "upgrade" | "expect" | "transfer-encoding") {
                return None;
            }
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let path = framing::path_and_query(head.target).0.to_vec();
        Some(Self { method, path, headers })
    }

    fn head(&self, peer: Peer) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.headers.get(http::header::HOST).map(HeaderValue::as_bytes),
            path: &self.path,
            headers: &self.headers,
            peer,
        }
    }
}

/// What the gate says, if it refuses. Asked without charging first, so that what is not refused
/// is charged where it is decided. (If another request gives an allowance back between the two
/// questions, it is charged there, too: one too many, once.)
fn refuse(
    snapshot: &Snapshot,
    request: &RequestHead<'_>,
    now: crate::base::clock::Now,
) -> Option<Decision> {
    let gate = &snapshot.gate;
    // The work on a credential is done once, and charged: not here.
    let reading = Reading::new(false, true);
    if gate.credentials.read(request.headers, &reading) != Ok(Presented::default()) {
        return None;
    }
    let ask = |charging| catch_unwind(AssertUnwindSafe(|| gate.admit(request, now, charging))).ok();
    let is_refused = |decision: &Decision| matches!(decision.verdict, Verdict::Reject(_));
    let peeked = ask(Charging::Peek).filter(is_refused)?;
    // Without a limit there was nothing to charge.
    if peeked.evidence.standings.is_empty() {
        return Some(peeked);
    }
    ask(Charging::Charge).filter(is_refused)
}

fn since(clock: Clock, start: Monotonic) -> Duration {
    Duration::from_nanos(clock.monotonic().0.saturating_sub(start.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Asked> {
        Asked::read(&Head::parse(text.as_bytes()).expect("a head"))
    }

    #[test]
    fn r101_only_a_plain_request_without_a_body_is_looked_at() {
        let plain = read("GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nx:  2 \r\n\r\n").unwrap();
        assert_eq!((&plain.method, &*plain.path), (&Method::GET, &b"/a"[..]));
        let values: Vec<_> = plain.headers.get_all("x").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert!(read("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").is_some());
        for (line, fields) in [
            ("GET /a HTTP/1.0", ""),
            ("OPTIONS /a HTTP/1.1", ""),
            ("OPTIONS * HTTP/1.1", ""),
            ("GET http://a/a HTTP/1.1", ""),
            ("POST /a HTTP/1.1", "Content-Length: 1\r\n"),
            ("POST /a HTTP/1.1", "Transfer-Encoding: chunked\r\n"),
            ("GET /a HTTP/1.1", "Connection: close\r\n"),
            ("GET /a HTTP/1.1", "connection: X-Auth-Subject\r\n"),
            ("GET /a HTTP/1.1", "Upgrade: websocket\r\n"),
            ("GET /a HTTP/1.1", "Expect: 100-continue\r\n"),
        ] {
            let head = format!("{line}\r\nHost: a\r\n{fields}\r\n");
            assert!(read(&head).is_none(), "{head}");
        }
    }
}
