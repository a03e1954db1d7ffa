//! From the upstream to the client.
//!
//! Owns reading a response strictly and writing the client's: interim responses, the head, the body
//! in the form that the client can read. Bytes behind the end of a response belong to no answer and
//! make the upstream's connection unfit for another request.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{End, Relay, Stop, Tunnel, UpstreamStop};
use crate::decide::request::framing::FramingError;
use crate::decide::response::{Framing, ResponseBody, ResponseHead};
use crate::serve::exchange::buffers;
use crate::serve::exchange::client::{DRAIN_BYTES_MAX, LAST_CHUNK, push_chunk};

/// The most interim responses of one request.
const INTERIM_MAX: u32 = 100;

/// The response on its way.
pub(in crate::serve::exchange) struct ResponseSide {
    /// Received from the upstream, not used yet.
    received: Vec<u8>,
    /// The length that was searched for the end of a head.
    searched: usize,
    /// For the client.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    pub(super) is_flushed: bool,
    /// The response is an event stream that may end with its credential.
    pub(super) is_event_stream: bool,
    /// The end of the connection is the end of the body: only a reset shows that it is cut.
    pub(in crate::serve::exchange) ends_with_connection: bool,
    body: Option<Body>,
    interim: u32,
    /// A 100 was passed on.
    pub(super) continued: bool,
    /// Since when the upstream is waited for.
    pub(super) waiting: Option<Instant>,
    /// A byte of the response was received.
    pub(in crate::serve::exchange) is_begun: bool,
    /// The status that the client sees; 0 before a byte of the final response was written.
    pub(in crate::serve::exchange) status: u16,
    /// Bytes of the body.
    pub(in crate::serve::exchange) bytes: u64,
}

/// The body of the final response.
struct Body {
    status: u16,
    rest: ResponseBody,
    form: Form,
    keep_upstream: bool,
    keep_client: bool,
    /// The whole of it is in `out`.
    is_whole: bool,
}

/// The form in which a body reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it came.
    AsReceived,
    /// Without chunk framing: HTTP/1.0 has none.
    Data,
    /// In chunks: the upstream's ends with its connection, which the client could not tell from a
    /// cut.
    Chunks,
}

impl ResponseSide {
    pub(in crate::serve::exchange) fn new() -> Self {
        Self {
            received: buffers::small(),
            searched: 0,
            out: buffers::small(),
            sent: 0,
            is_flushed: true,
            is_event_stream: false,
            ends_with_connection: false,
            body: None,
            interim: 0,
            continued: false,
            waiting: None,
            is_begun: false,
            status: 0,
            bytes: 0,
        }
    }

    /// Part of an interim response is written: nothing but its rest can follow.
    pub(in crate::serve::exchange) fn is_cut_short(&self) -> bool {
        self.sent > 0
    }

    /// The final response head was received.
    pub(super) fn has_head(&self) -> bool {
        self.body.is_some()
    }

    pub(in crate::serve::exchange) fn finish(self) {
        buffers::give_back(self.received);
        buffers::give_back(self.out);
    }
}

impl Relay<'_, '_> {
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> Result<Poll<End>, Stop> {
        loop {
            match self.poll_pass_on(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(Stop::ClientGone),
                Poll::Ready(Ok(())) => {}
            }
            if let Some(body) = &self.response.body
                && body.is_whole
            {
                return Ok(Poll::Ready(self.end()));
            }
            let is_head = self.response.body.is_none();
            if is_head && self.take_head()? {
                if self.tunnel.is_some() {
                    return Ok(Poll::Pending);
                }
                continue;
            }
            match self.poll_receive(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => self.upstream_closed()?,
                Poll::Ready(Ok(_)) if is_head => {}
                Poll::Ready(Ok(_)) => self.pass_body()?,
                Poll::Ready(Err(error)) => {
                    return Err(Stop::Upstream(UpstreamStop::of(&error)));
                }
            }
        }
    }

    /// Writes what is for the client.
    pub(super) fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let response = &mut *self.response;
        if response.is_flushed {
            return Poll::Ready(Ok(()));
        }
        let sent = self.client.poll_send(cx, &response.out, &mut response.sent);
        if let (Some(body), 1..) = (&response.body, response.sent) {
            response.status = body.status;
        }
        ready!(sent)?;
        response.out.clear();
        (response.sent, response.is_flushed) = (0, true);
        Poll::Ready(Ok(()))
    }

    /// Reads from the upstream. The time it takes counts once the upstream owes something.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let response = &mut *self.response;
        let into = match &response.body {
            Some(Body { form: Form::AsReceived, .. }) => &mut response.out,
            Some(_) | None => &mut response.received,
        };
        if response.body.is_some() {
            buffers::enlarge(into);
        }
        let read = pin!(self.upstream.read_buf(into)).poll(cx);
        let has_head = response.body.is_some();
        if read.is_ready() {
            // Up to the head one deadline counts, however slowly its bytes come.
            response.waiting = response.waiting.filter(|_| !has_head);
            response.is_begun |= matches!(read, Poll::Ready(Ok(1..)));
        } else if self.upstream_owes() {
            self.response.waiting.get_or_insert_with(Instant::now);
        } else {
            self.response.waiting = None;
        }
        read
    }

    /// The upstream has all it needs to go on.
    fn upstream_owes(&self) -> bool {
        let awaits_continue =
            self.plan.expects && !self.response.continued && self.request.bytes == 0;
        self.response.has_head() || self.request.is_over() || awaits_continue
    }

    /// The end of the upstream's side.
    fn upstream_closed(&mut self) -> Result<(), Stop> {
        let response = &mut *self.response;
        let Some(body) = response.body.as_mut().filter(|body| body.rest.may_end()) else {
            return Err(Stop::Upstream(UpstreamStop::Closed));
        };
        if body.form == Form::Chunks {
            response.out.extend_from_slice(LAST_CHUNK);
            response.is_flushed = false;
        }
        (body.is_whole, body.keep_upstream) = (true, false);
        Ok(())
    }

    /// Reads the head of an interim or the final response. False while there is none.
    fn take_head(&mut self) -> Result<bool, Stop> {
        let stop = |error| Stop::Upstream(UpstreamStop::Response(error));
        let received = std::mem::take(&mut self.response.received);
        let end = ResponseHead::end(&received, self.response.searched).map_err(stop)?;
        let Some(end) = end else {
            self.response.searched = received.len();
            self.response.received = received;
            return Ok(false);
        };
        let head = ResponseHead::parse(&received[..end], self.plan.is_head).map_err(stop)?;
        self.response.searched = 0;
        match head.status {
            101 => self.switch(&head, &received[end..])?,
            100..200 => self.pass_interim(&head)?,
            _ => self.begin(&head, &received[end..])?,
        }
        let is_interim = self.response.body.is_none() && self.tunnel.is_none();
        self.response.received = received;
        self.response.received.drain(..if is_interim { end } else { self.response.received.len() });
        Ok(true)
    }

    fn pass_interim(&mut self, head: &ResponseHead<'_>) -> Result<(), Stop> {
        self.response.interim += 1;
        if self.response.interim > INTERIM_MAX {
            return Err(Stop::Upstream(UpstreamStop::Interim));
        }
        if head.status == 100 && !self.response.continued {
            self.response.continued = true;
            self.response.waiting = None;
            self.client.wait_anew();
        }
        // HTTP/1.0 has no interim responses (RFC 9110 section 15.2).
        if self.plan.is_http11 {
            let out = &mut self.response.out;
            push_status(out, head);
            for (name, value) in head.forwarded() {
                if !name.eq_ignore_ascii_case(b"x-request-id") {
                    push(out, name, value);
                }
            }
            out.extend_from_slice(b"\r\n");
            self.response.is_flushed = false;
        }
        Ok(())
    }

    /// The upstream agreed to change the protocol.
    fn switch(&mut self, head: &ResponseHead<'_>, rest: &[u8]) -> Result<(), Stop> {
        let is_asked = self.plan.upgrades
            && head.upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
            // Else the tunnel would go on in the middle of the request.
            && self.request.is_over();
        if !is_asked {
            return Err(Stop::Upstream(UpstreamStop::Switch));
        }
        (self.on_head)(head.status);
        self.response.waiting = None;
        let out = &mut self.response.out;
        push_status(out, head);
        self.plan.fields.each(head, &mut |name, value| push(out, name, value));
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        out.extend_from_slice(rest);
        self.response.bytes += rest.len() as u64;
        self.response.is_flushed = false;
        self.response.status = head.status;
        self.tunnel = Some(Tunnel::new(self.plan.ends_streams, rest));
        Ok(())
    }

    /// Writes the head of the final response, and what came of its body.
    fn begin(&mut self, head: &ResponseHead<'_>, rest: &[u8]) -> Result<(), Stop> {
        let form = match (head.framing, self.plan.is_http11) {
            (Framing::Chunked, false) => Form::Data,
            (Framing::UntilClose, true) => Form::Chunks,
            _ => Form::AsReceived,
        };
        // An HTTP/1.0 client sees the end of a body without a length with the connection.
        let ends_with_connection =
            !self.plan.is_http11 && matches!(head.framing, Framing::Chunked | Framing::UntilClose);
        let may_keep = (self.on_head)(head.status);
        self.response.waiting = None;
        let keep_client = may_keep && !ends_with_connection && self.may_request_end();
        let keep_upstream = head.is_persistent;
        self.push_head(head, form, keep_client);
        self.response.is_event_stream = self.plan.ends_streams && head.is_event_stream();
        self.response.ends_with_connection = ends_with_connection;
        let rest_of_body = ResponseBody::from(head.framing);
        let is_whole = rest_of_body.is_done();
        self.response.body = Some(Body {
            status: head.status,
            rest: rest_of_body,
            form,
            keep_upstream: keep_upstream && (!is_whole || rest.is_empty()),
            keep_client,
            is_whole,
        });
        if is_whole { Ok(()) } else { self.push_body(rest) }
    }

    /// Returns whether the rest of the request, if any, can be drained behind the answer.
    fn may_request_end(&self) -> bool {
        let left = self.client.body_announced();
        let is_unsure = self.plan.expects && !self.response.continued && self.request.bytes == 0;
        self.request.is_read || (!is_unsure && left > 0 && left <= DRAIN_BYTES_MAX)
    }

    fn push_head(&mut self, head: &ResponseHead<'_>, form: Form, keep_client: bool) {
        let out = &mut self.response.out;
        push_status(out, head);
        let is_dropped =
            |name: &[u8]| !self.plan.is_http11 && name.eq_ignore_ascii_case(b"transfer-encoding");
        self.plan.fields.each(head, &mut |name, value| {
            if !is_dropped(name) {
                push(out, name, value);
            }
        });
        if form == Form::Chunks {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        match (keep_client, self.plan.is_http11) {
            (true, true) => {}
            (true, false) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        self.response.is_flushed = false;
    }

    /// Passes on what was received of the body.
    fn pass_body(&mut self) -> Result<(), Stop> {
        let response = &mut *self.response;
        if response.body.as_ref().is_some_and(|body| body.form == Form::AsReceived) {
            let received = response.out.len();
            let out = std::mem::take(&mut response.out);
            let end = self.follow(&out, &mut Vec::new())?;
            self.response.out = out;
            self.response.out.truncate(end);
            self.after_piece(end < received);
            return Ok(());
        }
        let received = std::mem::take(&mut response.received);
        let pushed = self.push_body(&received);
        self.response.received = received;
        self.response.received.clear();
        pushed
    }

    /// Appends a piece of the body in the form that the client can read.
    fn push_body(&mut self, piece: &[u8]) -> Result<(), Stop> {
        let mut out = std::mem::take(&mut self.response.out);
        let followed = self.follow(piece, &mut out);
        self.response.out = out;
        let end = followed?;
        if self.response.body.as_ref().is_some_and(|body| body.form == Form::AsReceived) {
            self.response.out.extend_from_slice(&piece[..end]);
        }
        self.after_piece(end < piece.len());
        Ok(())
    }

    /// Finds the end of the body in a piece; writes its data in another form where that is needed.
    fn follow(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, Stop> {
        let response = &mut *self.response;
        let Some(body) = &mut response.body else { return Ok(0) };
        let (bytes, form) = (&mut response.bytes, body.form);
        let followed: Result<usize, FramingError> = body.rest.decode(piece, |run| {
            *bytes += run.len() as u64;
            match form {
                Form::AsReceived => {}
                Form::Data => out.extend_from_slice(run),
                Form::Chunks => push_chunk(out, run),
            }
        });
        followed.map_err(|_| Stop::Upstream(UpstreamStop::Chunk))
    }

    fn after_piece(&mut self, has_excess: bool) {
        let response = &mut *self.response;
        if let Some(body) = &mut response.body {
            body.is_whole = body.rest.is_done();
            body.keep_upstream &= !has_excess;
        }
        response.is_flushed = response.out.is_empty();
    }

    fn end(&self) -> End {
        let body = self.response.body.as_ref();
        let is_sent = self.request.is_over() && !self.request.is_dead;
        End {
            keep_upstream: body.is_some_and(|body| body.keep_upstream) && is_sent,
            keep_client: body.is_some_and(|body| body.keep_client),
        }
    }
}

fn push_status(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason);
    out.extend_from_slice(b"\r\n");
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
