//! Writing an answer of our own, and what becomes of the connection after it.
//!
//! Owns the contract's rule: a refusal keeps the connection when the request has no body or one of
//! at most 64 KiB, which is drained; otherwise it closes. A request hidden in a body is never read
//! as a request. Never decides what the answer says: that is [`crate::decide::rejection`]'s.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::connection;
use crate::decide::rejection::{Answer, spelling};

/// The largest body that is drained to keep a connection.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// How long draining may take.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How much is still taken from a connection that is closed with a body under way: a close with
/// unread bytes resets it, which can take the answer with it.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    /// Bytes.
    pub bytes_max: u64,
    /// Time.
    pub time_max: Duration,
}

/// Enough for a client that sends on until it reads the answer, too little for a flood.
pub const LINGER: Linger = Linger { bytes_max: 4 << 20, time_max: Duration::from_secs(2) };

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nothing is left of the request.
    Keep,
    /// The rest of the body is drained first.
    DrainAndKeep,
    /// It ends.
    Close,
    /// It ends, and the body that is under way is taken for a moment.
    LingerAndClose,
}

/// Writes an answer with everything that belongs on it.
pub(super) async fn write(session: &mut Session, answer: &Answer, request_id: &str) -> Result<()> {
    let ending = ending(session, answer.close);
    if let Some(connection) = connection(session) {
        connection.upstream_expected_no_more();
    }
    match ending {
        Ending::Keep | Ending::DrainAndKeep => {
            session.set_close_on_response_before_downstream_finish(false);
        }
        Ending::Close | Ending::LingerAndClose => session.set_keepalive(None),
    }
    let head = response(answer, request_id)?;
    let is_head = session.req_header().method == http::Method::HEAD || answer.body.is_empty();
    session.write_response_header(Box::new(head), is_head).await?;
    if !is_head {
        session.write_response_body(Some(answer.body.clone()), true).await?;
    }
    session.finish_body().await?;
    match ending {
        Ending::Keep | Ending::Close => {}
        Ending::DrainAndKeep => {
            if !drain(session, DRAIN_BYTES_MAX, DRAIN_MAX).await {
                session.set_keepalive(None);
            }
        }
        Ending::LingerAndClose => {
            session.as_downstream_mut().shutdown().await;
            drain(session, LINGER.bytes_max, LINGER.time_max).await;
        }
    }
    Ok(())
}

fn response(answer: &Answer, request_id: &str) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(answer.status, Some(answer.fields.len() + 4))?;
    for (name, value) in &answer.fields {
        match spelling(name) {
            Some(spelling) => head.append_header(spelling, value.clone())?,
            None => head.append_header(name, value.clone())?,
        };
    }
    if answer.status != StatusCode::NO_CONTENT {
        head.insert_header(CONTENT_LENGTH, answer.body.len())?;
    }
    head.insert_header("X-Request-Id", request_id)?;
    Ok(head)
}

fn ending(session: &mut Session, must_close: bool) -> Ending {
    let request = session.req_header();
    let expects = request.headers.contains_key(EXPECT);
    let length = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    let is_done = session.is_body_done();
    match (is_done, must_close) {
        (true, false) => Ending::Keep,
        (true, true) => Ending::Close,
        // Whether the body comes after a final answer is the client's choice: it cannot be known
        // where the next request would begin.
        (false, _) if expects => Ending::Close,
        // A chunked body has no length until it has ended.
        (false, false) if length.unwrap_or(0) <= DRAIN_BYTES_MAX => Ending::DrainAndKeep,
        (false, _) => Ending::LingerAndClose,
    }
}

/// Reads on to the end of the body. False when it did not come in time or is too long.
async fn drain(session: &mut Session, bytes_max: u64, time_max: Duration) -> bool {
    let mut left = bytes_max;
    let drained = tokio::time::timeout(time_max, async {
        while let Some(piece) = session.read_request_body().await? {
            match left.checked_sub(piece.len() as u64) {
                Some(rest) => left = rest,
                None => return Ok(false),
            }
        }
        Ok::<bool, Box<pingora::Error>>(true)
    });
    matches!(drained.await, Ok(Ok(true)))
}
