//! Requests for the endpoints of the issuer.
//!
//! Owns the body of such a request, read whole within its bounds, and the record of the answer. Never
//! decides what the answer says: that is [`crate::serve::issuer`]'s.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use tokio::time::Instant;

use super::Exchange;
use super::account::{Account, Ending};
use super::answer::{self, After};
use super::client::{BodyForm, BodyStop, Client, Patience};
use super::decide::{Asked, No};
use crate::decide::gate::Permit;
use crate::decide::policy::{Endpoint, Route};
use crate::decide::rejection::Rejection;
use crate::decide::request::framing::{self, FramingError};
use crate::issue::error::ErrorCode;
use crate::serve::issuer::{self, Caller};
use crate::serve::observe::record::Cut;

/// Sent before the body of a request that expects it (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The most that is read of a body at once.
const READ_BYTES: usize = 16 * 1024;

/// The reason why a body was not read.
enum Stop {
    Gone,
    Late,
    Rejected(Rejection),
}

impl Exchange {
    /// Answers a request that was admitted to an endpoint of the issuer.
    pub(super) async fn issue(
        &self,
        client: &mut Client,
        asked: &Asked<'_>,
        mut account: Account,
        (permit, endpoint): (&Permit, Endpoint),
        may_keep: bool,
    ) -> After {
        let route = permit.route();
        client.set_patience(Patience { body: route.timeouts.body, ..Patience::NOT_ADMITTED });
        let body = match read_body(client, asked, route).await {
            Ok(body) => body,
            Err(stop) => return self.not_read(client, asked, account, stop).await,
        };
        account.bytes_in = body.len() as u64;
        let Some(request) = request(asked, permit, body) else {
            let no = No::Rejection(FramingError::RequestLine.into());
            return answer::to_failed(&self.shared, client, asked, account, no, None).await;
        };
        let response = self.answer_of(endpoint, request, &account).await;
        if let Some(code) = response.extensions().get::<ErrorCode>() {
            account.ending = Ending::IssuerRefused(*code);
        }
        answer::of_issuer(&self.shared, client, asked, account, response, may_keep).await
    }

    async fn answer_of(
        &self,
        endpoint: Endpoint,
        request: Request<Bytes>,
        account: &Account,
    ) -> Response<Bytes> {
        let Some(issuer) = self.shared.issuer.get() else { return issuer::unavailable() };
        let caller =
            Caller { address: account.evidence.address, request: account.wire_request_id().into() };
        issuer.answer(endpoint, request, caller).await
    }

    async fn not_read(
        &self,
        client: &mut Client,
        asked: &Asked<'_>,
        mut account: Account,
        stop: Stop,
    ) -> After {
        let (rejection, ending) = match stop {
            Stop::Gone => {
                account.ending = Ending::Cut(Cut::ClientGone);
                account.finish(&self.shared, &asked.seen());
                return After::Drop;
            }
            Stop::Late => (Rejection::BodyTooSlow, Some(Ending::Cut(Cut::BodyTooSlow))),
            Stop::Rejected(rejection) => (rejection, None),
        };
        let no = No::Rejection(rejection);
        answer::to_failed(&self.shared, client, asked, account, no, ending).await
    }
}

/// Reads the whole body: at most `body_limit` bytes, within the time of the route.
async fn read_body(client: &mut Client, asked: &Asked<'_>, route: &Route) -> Result<Bytes, Stop> {
    let deadline = Instant::now() + route.timeouts.body;
    let limit = route.body_limit.unwrap_or(0);
    let mut body = Vec::new();
    if asked.head.expects
        && asked.head.is_http11
        && !client.is_at_a_boundary()
        && client.received().is_empty()
    {
        client.send(CONTINUE).await.map_err(|_| Stop::Gone)?;
    }
    while !client.is_at_a_boundary() {
        let read =
            poll_fn(|cx| match client.poll_body(cx, BodyForm::Data, READ_BYTES, &mut body) {
                std::task::Poll::Ready(read) => std::task::Poll::Ready(Some(read)),
                std::task::Poll::Pending => client.timer.poll(deadline, cx).map(|()| None),
            });
        read.await.ok_or(Stop::Late)?.map_err(|stop| match stop {
            BodyStop::Gone => Stop::Gone,
            BodyStop::Malformed(error) => Stop::Rejected(error.into()),
        })?;
        // A chunk that cannot fit is refused with its size line.
        if (body.len() as u64).saturating_add(client.body_announced()) > limit {
            return Err(Stop::Rejected(Rejection::BodyTooLarge { limit }));
        }
    }
    Ok(body.into())
}

/// The request with the path that was decided on. `None` where the query is not one (RFC 3986
/// section 3.4).
fn request(asked: &Asked<'_>, permit: &Permit, body: Bytes) -> Option<Request<Bytes>> {
    let (path, query) = framing::path_and_query(asked.head.target);
    let path = permit.rewritten_path().map_or(path, str::as_bytes);
    let mut target = path.to_vec();
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::clone(&asked.method);
    *request.uri_mut() = Uri::try_from(target).ok()?;
    request.headers_mut().clone_from(&asked.headers);
    Some(request)
}
