//! Answering without an upstream: refusals, faults, preflights.
//!
//! Owns the contract's rule of what becomes of the connection: a refusal keeps it when the request
//! has no body or one of at most 64 KiB, which is drained; otherwise it closes. A request hidden in
//! a body is never read as a request. Never decides what the answer says.

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use super::account::{Account, Ending, Seen};
use super::client::{Client, DRAIN_BYTES_MAX, Patience};
use super::decide::{Asked, No};
use super::wire::{self, Then};
use crate::decide::gate::Evidence;
use crate::decide::policy::Endpoint;
use crate::decide::rejection::{Answer, Rejection};
use crate::decide::request::address::TrustedProxies;
use crate::decide::request::framing;
use crate::serve::issuer;
use crate::serve::shared::{Ready, Shared};

/// The fate of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request may come.
    Next,
    /// It is closed.
    Close,
    /// It is closed, and the body that is under way is taken for a moment.
    Linger,
    /// It is dropped: the client sees that the answer breaks off.
    Drop,
    /// It is reset: an answer whose end is that of the connection breaks off.
    Reset,
}

impl Client {
    /// Ends the connection after its last request.
    pub(super) async fn end_with(&mut self, after: After) {
        match after {
            After::Next | After::Close => self.close().await,
            After::Linger => self.linger().await,
            After::Drop => {}
            After::Reset => self.reset(),
        }
    }
}

/// Answers a request that is not forwarded.
pub(super) async fn to_request(
    shared: &Shared,
    client: &mut Client,
    asked: &Asked<'_>,
    mut account: Account,
    no: No,
    may_keep: bool,
) -> After {
    let (mut answer, ending) = form(shared, &account, asked, no);
    account.ending = ending;
    // A draining process says so: the next request should go elsewhere.
    answer.close |= !may_keep || shared.readiness.state() == Ready::Draining;
    send(shared, client, asked, account, &answer).await
}

/// Answers a request that the gate was not asked about.
pub(super) async fn to_undecided(
    shared: &Shared,
    client: &mut Client,
    asked: &Asked<'_>,
    mut account: Account,
    no: No,
    may_keep: bool,
) -> After {
    account.evidence = unknown(&account.snapshot.gate.trusted_proxies, client);
    to_request(shared, client, asked, account, no, may_keep).await
}

/// Answers a request whose exchange failed; `ending` replaces the one of the answer.
pub(super) async fn to_failed(
    shared: &Shared,
    client: &mut Client,
    asked: &Asked<'_>,
    mut account: Account,
    no: No,
    ending: Option<Ending>,
) -> After {
    client.set_patience(Patience::NOT_ADMITTED);
    let (mut answer, own) = form(shared, &account, asked, no);
    account.ending = ending.unwrap_or(own);
    answer.close = true;
    send(shared, client, asked, account, &answer).await
}

/// Answers with what an endpoint of the issuer says.
pub(super) async fn of_issuer(
    shared: &Shared,
    client: &mut Client,
    asked: &Asked<'_>,
    account: Account,
    response: Response<Bytes>,
    may_keep: bool,
) -> After {
    let mut answer = Answer::of_issuer(response);
    answer.close |= !may_keep || shared.readiness.state() == Ready::Draining;
    send(shared, client, asked, account, &answer).await
}

fn form(shared: &Shared, account: &Account, asked: &Asked<'_>, no: No) -> (Answer, Ending) {
    let (mut answer, ending) = match no {
        No::Answer(answer) => return (answer, Ending::Admitted),
        No::Rejection(rejection) => {
            let own = own_form(asked.endpoint(account), &rejection);
            let answer = own.unwrap_or_else(|| to_rejection(account, &rejection));
            (answer, Ending::Refused(rejection))
        }
        No::Fault(fault) => {
            (Answer::to_fault(fault, account.wire_request_id()), Ending::Fault(fault))
        }
    };
    add_cors(&mut answer, account, &asked.headers);
    if let (Some(issuer), Some(endpoint)) = (shared.issuer.get(), asked.endpoint(account)) {
        answer.fields.extend(issuer.cors_fields(endpoint, &asked.method, &asked.headers));
    }
    (answer, ending)
}

/// A body beyond its bound is an OAuth error to the clients of an endpoint.
fn own_form(endpoint: Option<Endpoint>, rejection: &Rejection) -> Option<Answer> {
    match (endpoint, rejection) {
        (Some(endpoint), Rejection::BodyTooLarge { limit }) if endpoint.is_for_programs() => {
            Some(Answer::of_issuer(issuer::too_large(*limit)))
        }
        _ => None,
    }
}

async fn send(
    shared: &Shared,
    client: &mut Client,
    asked: &Asked<'_>,
    mut account: Account,
    answer: &Answer,
) -> After {
    let after = after(client, asked, answer.close);
    let is_head = asked.method == Method::HEAD;
    let seen = asked.seen();
    let is_sent = write(shared, client, &mut account, &seen, answer, after, is_head).await;
    account.finish(shared, &seen);
    if is_sent { settle(client, after).await } else { After::Drop }
}

/// Answers what could not be read as a request.
pub(super) async fn to_bytes(
    shared: &Shared,
    client: &mut Client,
    received: &[u8],
    mut account: Account,
    rejection: Rejection,
) -> After {
    let line = Line::guess(received);
    let seen = line.seen();
    account.evidence = unknown(&account.snapshot.gate.trusted_proxies, client);
    let answer = to_rejection(&account, &rejection);
    account.ending = Ending::Refused(rejection);
    let is_head = line.method == "HEAD";
    write(shared, client, &mut account, &seen, &answer, After::Linger, is_head).await;
    account.finish(shared, &seen);
    After::Linger
}

fn unknown(trusted: &TrustedProxies, client: &Client) -> Evidence {
    let peer = client.peer();
    Evidence::new(peer.and_then(|peer| trusted.client_address(peer, &HeaderMap::new())))
}

fn to_rejection(account: &Account, rejection: &Rejection) -> Answer {
    let realm = &account.snapshot.dynamic.realm;
    Answer::to_rejection(rejection, realm, account.wire_request_id())
}

/// A page may read why it was refused, where the route lets it read answers at all.
fn add_cors(answer: &mut Answer, account: &Account, asked: &HeaderMap) {
    let route = account.evidence.route.as_ref();
    if let Some(cors) = route.and_then(|route| route.cors.as_ref()) {
        let registered = account.snapshot.gate.registered_origins();
        answer.fields.extend(cors.fields(asked, registered));
    }
}

/// Writes an answer; the ring behind `why` has the request before.
async fn write(
    shared: &Shared,
    client: &mut Client,
    account: &mut Account,
    seen: &Seen<'_>,
    answer: &Answer,
    after: After,
    is_head: bool,
) -> bool {
    account.status = answer.status.as_u16();
    account.bytes_out = if is_head { 0 } else { answer.body.len() as u64 };
    account.remember(shared, seen, account.status);
    let now = shared.clock.now().unix;
    let then = if after == After::Next { Then::Keep } else { Then::Close };
    let bytes = wire::form(answer, account.wire_request_id(), then, is_head, now);
    let is_sent = client.send(&bytes).await.is_ok();
    if !is_sent {
        (account.status, account.bytes_out) = (0, 0);
    }
    is_sent
}

fn after(client: &Client, asked: &Asked<'_>, must_close: bool) -> After {
    match (client.is_at_a_boundary(), must_close) {
        (true, false) => After::Next,
        (true, true) => After::Close,
        // Whether the body comes after a final answer is the client's choice: where the next request
        // would begin cannot be known.
        (false, _) if asked.head.expects => After::Linger,
        // The rest is drained.
        (false, false) if client.body_announced() <= DRAIN_BYTES_MAX => After::Next,
        (false, _) => After::Linger,
    }
}

/// Drains what is left of the request before the next one.
pub(super) async fn settle(client: &mut Client, after: After) -> After {
    if after == After::Next && !client.drain().await { After::Linger } else { after }
}

/// The request line that refused bytes seem to have: for the log only.
struct Line {
    method: String,
    path: String,
}

impl Line {
    fn guess(received: &[u8]) -> Self {
        const SHOWN_BYTES_MAX: usize = 1024;
        // Another protocol, such as a TLS handshake, has no request line.
        let received = if framing::may_begin(received) { received } else { b"" };
        let line = received.trim_ascii_start().split(|byte| *byte == b'\n').next();
        let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
        let mut word = |end: u8| {
            let word = words.next().unwrap_or_default().split(|byte| *byte == end).next();
            let word = word.unwrap_or_default().trim_ascii();
            String::from_utf8_lossy(&word[..word.len().min(SHOWN_BYTES_MAX)]).into_owned()
        };
        Self { method: word(b'?'), path: word(b'?') }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            method: self.method.as_str().into(),
            path: self.path.as_str().into(),
            host: "".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r902_a_guessed_line_has_no_query() {
        let line = Line::guess(b"\r\nGET /a?token=b HTTP/1.1\nHost");
        assert_eq!((&*line.method, &*line.path), ("GET", "/a"));
        let line = Line::guess(b"\x16\x03\x01 /a b");
        assert_eq!((&*line.method, &*line.path), ("", ""));
    }
}
