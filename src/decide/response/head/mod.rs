//! The head of a response.
//!
//! Owns the status line, the fields that frame the body (RFC 9112 section 6.3) and the fields that
//! concern one connection only (RFC 9110 section 7.6.1). Never reads a body.

use thiserror::Error;

use crate::decide::request::framing::{
    FIELDS_MAX, FramingError, HEAD_BYTES_MAX, Lines, check_field_line, head_end,
};

/// A response that cannot be forwarded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ResponseError {
    /// The first line is not `HTTP/1.x status reason`.
    #[error("response: malformed status line")]
    StatusLine,
    /// A line that is no field line.
    #[error("response head: {0}")]
    Field(FramingError),
    /// `Content-Length` more than once, or not a plain number.
    #[error("response: Content-Length is repeated or not a plain number")]
    Length,
    /// `Transfer-Encoding` that is not exactly one `chunked`, or in HTTP/1.0.
    #[error("response: Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    /// Both of them.
    #[error("response: Content-Length and Transfer-Encoding together")]
    BothLengths,
    /// The head exceeds `HEAD_BYTES_MAX`.
    #[error("response head larger than {HEAD_BYTES_MAX} bytes: at least {bytes} bytes")]
    HeadTooLarge {
        /// The length that was received.
        bytes: usize,
    },
    /// The head has more fields than `FIELDS_MAX`.
    #[error("response head with more than {FIELDS_MAX} fields: {fields} fields")]
    TooManyFields {
        /// Their number.
        fields: usize,
    },
}

/// The end of the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the fields say.
    None,
    /// After this many bytes.
    Known(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A response head that has only one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// 100 to 999.
    pub status: u16,
    /// The reason phrase, often empty.
    pub reason: &'a [u8],
    /// The body that follows.
    pub framing: Framing,
    /// The upstream keeps the connection open after the body.
    pub is_persistent: bool,
    /// The protocol of the `Upgrade` field.
    pub upgrade: Option<&'a [u8]>,
    /// The number of fields.
    pub fields: usize,
    /// `Connection` names fields.
    nominates: bool,
    lines: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// Finds the end of the head in the received bytes, of which an earlier call has searched
    /// `searched`.
    ///
    /// # Errors
    /// [`ResponseError`] as soon as it is clear that no valid head will come.
    pub fn end(received: &[u8], searched: usize) -> Result<Option<usize>, ResponseError> {
        const START: &[u8] = b"HTTP/1.";
        let start = &received[..received.len().min(START.len())];
        if !START.starts_with(start) {
            return Err(ResponseError::StatusLine);
        }
        let end = head_end(received, searched);
        if end.unwrap_or(received.len()) > HEAD_BYTES_MAX {
            return Err(ResponseError::HeadTooLarge { bytes: end.unwrap_or(received.len()) });
        }
        Ok(end)
    }

    /// Parses a whole head, its empty line included. `to_head` says that the request was HEAD.
    ///
    /// # Errors
    /// [`ResponseError`].
    pub fn parse(head: &'a [u8], to_head: bool) -> Result<Self, ResponseError> {
        let mut lines = Lines(head);
        let line = lines.next_line().map_err(|_| ResponseError::StatusLine)?;
        let StatusLine { is_http11, status, reason } = StatusLine::parse(line)?;
        let field_lines = lines.0;
        let mut fields = Fields::default();
        loop {
            let line = lines.next_line().map_err(ResponseError::Field)?;
            if line.is_empty() {
                break;
            }
            fields.add(line)?;
        }
        if fields.count > FIELDS_MAX {
            return Err(ResponseError::TooManyFields { fields: fields.count });
        }
        let framing = fields.framing(is_http11)?;
        let has_no_body = to_head || matches!(status, 100..200 | 204 | 304);
        // A 204 has no body (RFC 9110 section 15.3.5): one that announces it may send it all the same,
        // and the next request on the connection would get it for an answer.
        let announces = matches!(framing, Framing::Known(1..) | Framing::Chunked);
        let is_sound = status != 204 || !announces;
        Ok(Self {
            status,
            reason,
            framing: if has_no_body { Framing::None } else { framing },
            is_persistent: is_http11 && !fields.closes && is_sound,
            upgrade: fields.upgrade,
            fields: fields.count,
            nominates: fields.nominates,
            lines: field_lines,
        })
    }

    /// Names and values of the fields in the order in which they came.
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut lines = Lines(self.lines);
        std::iter::from_fn(move || lines.next_line().ok().and_then(split))
    }

    /// The fields for the client: without those that concern one connection only. The framing
    /// fields are among them, but not where no message of this status has them (RFC 9110 section
    /// 8.6, RFC 9112 section 6.1).
    pub fn forwarded(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        let has_no_framing = self.status < 200 || self.status == 204;
        let nominated: Vec<_> =
            if self.nominates { self.nominated().collect() } else { Vec::new() };
        self.iter().filter(move |(name, _)| {
            if is_framing(name) {
                return !has_no_framing;
            }
            let is_nominated =
                nominated.iter().any(|option: &&[u8]| option.eq_ignore_ascii_case(name));
            !(is_hop_by_hop(name) || is_nominated)
        })
    }

    /// Returns whether the body is a stream of server-sent events.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.iter().any(|(name, value)| {
            let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
            name.eq_ignore_ascii_case(b"content-type")
                && media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
        })
    }

    /// The members of all `Connection` fields.
    fn nominated(&self) -> impl Iterator<Item = &'a [u8]> {
        let connection = self.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        connection.flat_map(|(_, value)| options(value))
    }
}

/// The members of a `Connection` value.
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| !option.is_empty())
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 => is(b"te"),
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        16 => is(b"proxy-connection"),
        18 => is(b"proxy-authenticate"),
        _ => false,
    }
}

struct StatusLine<'a> {
    is_http11: bool,
    status: u16,
    reason: &'a [u8],
}

impl<'a> StatusLine<'a> {
    /// `HTTP/1.1 SP status SP reason`; the second space may be missing with the reason.
    fn parse(line: &'a [u8]) -> Result<Self, ResponseError> {
        let wrong = ResponseError::StatusLine;
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(wrong)?;
        let [minor @ b'0'..=b'9', b' ', code @ ..] = rest else { return Err(wrong) };
        let (digits, reason) = code.split_at_checked(3).ok_or(wrong)?;
        if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
            return Err(wrong);
        }
        let reason = match reason {
            [] => reason,
            [b' ', rest @ ..] => rest,
            _ => return Err(wrong),
        };
        if reason.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(wrong);
        }
        let status = digits.iter().fold(0, |all, digit| all * 10 + u16::from(digit - b'0'));
        Ok(Self { is_http11: *minor > b'0', status, reason })
    }
}

/// The meaning of the fields for the connection and the body.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    length: Option<u64>,
    chunked: bool,
    closes: bool,
    nominates: bool,
    upgrade: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), ResponseError> {
        let (name, value) = check_field_line(line).map_err(ResponseError::Field)?;
        self.count += 1;
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = Some(value.trim_ascii()),
            10 if name.eq_ignore_ascii_case(b"connection") => self.add_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.add_coding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in options(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                self.nominates = true;
            }
        }
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        let digits = value.trim_ascii();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(ResponseError::Length);
        }
        let text = std::str::from_utf8(digits).map_err(|_| ResponseError::Length)?;
        let length = text.parse().map_err(|_| ResponseError::Length)?;
        match self.length.replace(length) {
            Some(_) => Err(ResponseError::Length),
            None => Ok(()),
        }
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(ResponseError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn framing(&self, is_http11: bool) -> Result<Framing, ResponseError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(ResponseError::BothLengths),
            (None, true) if !is_http11 => Err(ResponseError::TransferEncoding),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Known(length)),
            (None, false) => Ok(Framing::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests;
