//! The body of the current request, read from the client.
//!
//! Owns where it ends, and the form in which it goes on: raw, or in chunks that gatepost writes, so
//! that extensions and trailers of the client never reach the upstream (RFC 9112 section 7.1).

use std::io::Write as _;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut};
use tokio::io::AsyncReadExt;

use super::Client;
use crate::decide::request::framing::{BodyLength, Chunks, FramingError};

/// Bytes asked of the socket at once while a chunked body is read.
const CHUNKS_READ_BYTES: usize = 16 * 1024;

/// The rest of the body.
#[derive(Debug)]
pub(super) enum RequestBody {
    Known(u64),
    Chunked(Chunks),
}

/// The form in which the body is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::exchange) enum BodyForm {
    /// The data alone.
    Data,
    /// In chunks of its own, the last one included.
    Chunks,
}

/// The reason why reading the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::exchange) enum BodyStop {
    /// The client closed, or its connection broke.
    Gone,
    /// The body is not framed as its head says.
    Malformed(FramingError),
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::Known(0)
    }
}

impl From<BodyLength> for RequestBody {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::Known(length) => Self::Known(length),
            BodyLength::Chunked => Self::Chunked(Chunks::default()),
        }
    }
}

impl Client {
    /// Returns whether the last request was read to its end, so that another may follow.
    #[must_use]
    pub(crate) fn is_at_a_boundary(&self) -> bool {
        match &self.body {
            RequestBody::Known(left) => *left == 0,
            RequestBody::Chunked(chunks) => chunks.is_done(),
        }
    }

    /// The bytes of the body that must still come at least: all of them, or those of the current
    /// chunk.
    #[must_use]
    pub(crate) fn body_announced(&self) -> u64 {
        match &self.body {
            RequestBody::Known(left) => *left,
            RequestBody::Chunked(chunks) => chunks.announced(),
        }
    }

    /// Appends what has arrived of the body. Returns the number of bytes of data.
    pub(in crate::serve::exchange) fn take_arrived(
        &mut self,
        form: BodyForm,
        out: &mut Vec<u8>,
    ) -> Result<u64, BodyStop> {
        let (used, data) = match &mut self.body {
            RequestBody::Known(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= used as u64;
                out.extend_from_slice(&self.buffer[..used]);
                (used, used as u64)
            }
            RequestBody::Chunked(chunks) => decode(chunks, &self.buffer, form, out)?,
        };
        self.buffer.advance(used);
        if used > 0 {
            self.wait.arrived(used);
        }
        Ok(data)
    }

    /// Reads on in the body; with [`BodyForm::Data`], at most `room` bytes at once. Returns the number of
    /// bytes of data, which may be 0.
    pub(in crate::serve::exchange) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        form: BodyForm,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Result<u64, BodyStop>> {
        if !self.buffer.is_empty() && !self.is_at_a_boundary() {
            return Poll::Ready(self.take_arrived(form, out));
        }
        self.wait.wait();
        let read = match &mut self.body {
            RequestBody::Known(left) => {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(room);
                pin!(self.stream.read_buf(&mut (&mut *out).limit(wanted))).poll(cx)
            }
            RequestBody::Chunked(_) => {
                self.buffer.reserve(CHUNKS_READ_BYTES);
                pin!(self.stream.read_buf(&mut self.buffer)).poll(cx)
            }
        };
        let Ok(count @ 1..) = ready!(read) else {
            return Poll::Ready(Err(BodyStop::Gone));
        };
        if let RequestBody::Known(left) = &mut self.body {
            *left -= count as u64;
            self.wait.arrived(count);
            return Poll::Ready(Ok(count as u64));
        }
        Poll::Ready(self.take_arrived(form, out))
    }
}

/// Returns how many bytes were used, and how many of them are data.
fn decode(
    chunks: &mut Chunks,
    received: &[u8],
    form: BodyForm,
    out: &mut Vec<u8>,
) -> Result<(usize, u64), BodyStop> {
    if chunks.is_done() {
        return Ok((0, 0));
    }
    let mut data = 0;
    let used = chunks.decode(received, |run| {
        data += run.len() as u64;
        match form {
            BodyForm::Data => out.extend_from_slice(run),
            BodyForm::Chunks => push_chunk(out, run),
        }
    });
    let used = used.map_err(BodyStop::Malformed)?;
    if chunks.is_done() && form == BodyForm::Chunks {
        out.extend_from_slice(LAST_CHUNK);
    }
    Ok((used, data))
}

/// The end of a chunked body without trailers.
pub(in crate::serve::exchange) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a chunk, which must not be empty.
pub(in crate::serve::exchange) fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}
