//! Strict parsing of message heads (RFC 9112).
//!
//! Owns the check of the raw bytes of an HTTP/1 head before any other parser sees them: pingora
//! accepts several forms that a balancer or the upstream may read differently (R-106, R-110, R-401,
//! Never repairs anything: an ambiguous head is refused and the connection closed.

mod check;
mod chunks;
mod connection;
mod fields;
mod target;
mod token;

use thiserror::Error;

use crate::base::bytes::find;

pub use check::{HeadRefused, too_large};
pub use chunks::Chunks;
pub use connection::ConnectionOptions;
pub(in crate::decide) use fields::check_field_line;
pub use target::{authority, path_and_query};

use fields::Fields;
use target::{RequestLine, Version};

/// The longest accepted request target, in bytes: more is 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// The largest accepted head, in bytes: more is 431.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most fields a head may have: more is 431.
pub(crate) const FIELDS_MAX: usize = 100;

/// A refused head.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingError {
    /// A line ends with LF alone, or has a CR in its middle.
    #[error("line does not end with CR LF")]
    LineEnd,
    /// NUL or another control in the head.
    #[error("control character in the head")]
    Control,
    /// A line that continues the one before it (obs-fold).
    #[error("folded header line (obs-fold)")]
    Folded,
    /// Space before a colon, no colon, or a byte no field name has.
    #[error("malformed field name")]
    FieldName,
    /// `Content-Length` more than once, as a list, or not a plain number.
    #[error("Content-Length is repeated or not a plain number")]
    Length,
    /// `Transfer-Encoding` that is not exactly one `chunked`, or in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    /// Both lengths.
    #[error("Content-Length and Transfer-Encoding together")]
    BothLengths,
    /// HTTP/1.1 without `Host`, or with more than one.
    #[error("Host is missing or repeated")]
    HostMissing,
    /// A `Host` field or authority that is not a host, or the two of them differ.
    #[error("Host is not a host, or not the one in the request target")]
    HostInvalid,
    /// An HTTP version whose messages have another form.
    #[error("HTTP version not supported: expected HTTP/1.1 or HTTP/1.0")]
    Version,
    /// A TLS handshake.
    #[error("TLS on a listener for plain HTTP")]
    Tls,
    /// The request line is not `method SP target SP version`.
    #[error("malformed request line")]
    RequestLine,
    /// `Connection` nominates a forbidden field, or cannot be parsed.
    #[error("malformed Connection field")]
    Connection,
    /// The body is not framed as its head says.
    #[error("malformed body")]
    Body,
}

/// The length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This many bytes; 0 when there is no body.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A head that has only one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method, a token.
    pub method: &'a [u8],
    /// The request target: visible ASCII without `"`, `<`, `>` and `#`; in its query every byte
    /// but controls, space and `#`.
    pub target: &'a [u8],
    /// The `Host` field.
    pub host: Option<&'a [u8]>,
    /// The body that follows.
    pub body: BodyLength,
    /// The number of fields.
    pub fields: usize,
    /// HTTP/1.1, whose connections are persistent by default.
    pub is_http11: bool,
    /// The options of `Connection`.
    pub connection: ConnectionOptions,
    /// There is an `Expect` field.
    pub expects: bool,
    /// The `Upgrade` field.
    pub upgrade: Option<&'a [u8]>,
    /// The position after the request line.
    lines: &'a [u8],
}

/// Finds the end of the first head in the received bytes: the index after its empty line. Lines
/// that end with LF alone count, so that [`Head::parse`] sees and refuses them. `searched` is the
/// number of bytes an earlier call has searched.
#[must_use]
pub fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = leading_empty_lines(bytes);
    // An end may have begun in the last three bytes that were searched.
    let mut at = searched.saturating_sub(3).max(start);
    while let Some(found) = find(bytes.get(at..)?, b'\n') {
        at += found + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Returns whether received bytes can be the beginning of a request, as far as the first of them tells: those
/// of TLS cannot.
#[must_use]
pub fn may_begin(bytes: &[u8]) -> bool {
    let first = bytes.get(leading_empty_lines(bytes));
    first.is_none_or(|first| token::is_token_byte(*first) || *first == b'\r')
}

/// Empty lines before a request line are skipped (RFC 9112 section 2.2).
fn leading_empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

impl<'a> Head<'a> {
    /// Parses a whole head, its empty line included.
    ///
    /// # Errors
    /// [`FramingError`], for the first part of it that readers could read differently.
    pub fn parse(head: &'a [u8]) -> Result<Self, FramingError> {
        let mut lines = Lines(&head[leading_empty_lines(head)..]);
        let line = RequestLine::parse(lines.next_line()?)?;
        let field_lines = lines.0;
        let mut fields = Fields::default();
        loop {
            let line = lines.next_line()?;
            if line.is_empty() {
                break;
            }
            fields.add(line)?;
        }
        if !lines.0.is_empty() {
            return Err(FramingError::LineEnd);
        }
        let body = fields.body(line.version)?;
        line.check_host(fields.host)?;
        let RequestLine { method, target, version } = line;
        Ok(Self {
            method,
            target,
            host: fields.host,
            body,
            fields: fields.count,
            is_http11: version == Version::Http11,
            connection: fields.connection,
            expects: fields.expects,
            upgrade: fields.upgrade,
            lines: field_lines,
        })
    }

    /// Returns whether the client asks for WebSocket (RFC 6455 section 4.1), and can have it.
    #[must_use]
    pub fn asks_for_websocket(&self) -> bool {
        self.is_http11
            && self.method == b"GET"
            && self.body == BodyLength::Known(0)
            && self.connection.upgrade
            && self.upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
    }

    /// Returns whether the client keeps the connection open after the answer (RFC 9112 section 9.3).
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        !self.connection.close && (self.is_http11 || self.connection.keep_alive)
    }

    /// The fields that `Connection` nominates, and its other options: at most nine.
    #[must_use]
    pub fn nominated(&self) -> Vec<&'a [u8]> {
        if !self.connection.nominates {
            return Vec::new();
        }
        let connection = self.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        connection.flat_map(|(_, value)| connection::options(value)).collect()
    }

    /// Names and values of the fields in the order in which they came, without the blanks around
    /// values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut lines = Lines(self.lines);
        std::iter::from_fn(move || {
            let line = lines.next_line().ok()?;
            let colon = find(line, b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

/// The lines of a head, each without its CR LF.
pub(in crate::decide) struct Lines<'a>(pub(in crate::decide) &'a [u8]);

impl<'a> Lines<'a> {
    /// The next line, which has no CR, and no LF as long as `no_control` holds for it.
    pub(in crate::decide) fn next_line(&mut self) -> Result<&'a [u8], FramingError> {
        let end = find(self.0, b'\r').ok_or(FramingError::LineEnd)?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\r\n").ok_or(FramingError::LineEnd)?;
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
