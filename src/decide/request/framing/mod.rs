//! Strict parsing of message heads (RFC 9112).
//!
//! Owns the check of the raw bytes of an HTTP/1 head before any other parser sees them: pingora
//! accepts several forms that a balancer or the upstream may read differently (R-106, R-110, R-401,
//! Never repairs anything: an ambiguous head is refused and the connection closed.

mod chunks;

use thiserror::Error;

use crate::base::bytes::{all, find};

pub use chunks::Chunks;

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
    /// The request target, visible ASCII without `"`, `<`, `>` and `#`.
    pub target: &'a [u8],
    /// The `Host` field.
    pub host: Option<&'a [u8]>,
    /// The body that follows.
    pub body: BodyLength,
    /// The number of fields.
    pub fields: usize,
    /// HTTP/1.1, whose connections are persistent by default.
    pub is_http11: bool,
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
            lines: field_lines,
        })
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
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The next line, which has no CR, and no LF as long as [`no_control`] holds for it.
    fn next_line(&mut self) -> Result<&'a [u8], FramingError> {
        let end = find(self.0, b'\r').ok_or(FramingError::LineEnd)?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\r\n").ok_or(FramingError::LineEnd)?;
        Ok(line)
    }
}

/// Returns whether a line has no control character except those `allowed`.
fn no_control(line: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), FramingError> {
    if all(line, |byte| !byte.is_ascii_control() | allowed(byte)) {
        return Ok(());
    }
    Err(if find(line, b'\n').is_some() { FramingError::LineEnd } else { FramingError::Control })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, FramingError> {
        no_control(line, |_| false)?;
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FramingError::RequestLine);
        };
        let version = match version {
            b"HTTP/1.0" => Version::Http10,
            b"HTTP/1.1" => Version::Http11,
            _ => return Err(FramingError::RequestLine),
        };
        let is_plain = !target.is_empty() && all(target, is_target_byte);
        if !is_token(method) || !is_plain {
            return Err(FramingError::RequestLine);
        }
        Ok(Self { method, target, version })
    }

    /// HTTP/1.1 needs one `Host`; an absolute-form target must name the very same one, because
    /// each reader may believe another of the two.
    fn check_host(&self, host: Option<&[u8]>) -> Result<(), FramingError> {
        if self.version == Version::Http11 && host.is_none() {
            return Err(FramingError::HostMissing);
        }
        if self.target.starts_with(b"/") || self.target == b"*" || self.method == b"CONNECT" {
            return Ok(());
        }
        let authority = authority(self.target).ok_or(FramingError::RequestLine)?;
        if authority.is_empty() || host.is_some_and(|host| host != authority) {
            return Err(FramingError::HostInvalid);
        }
        Ok(())
    }
}

/// Visible ASCII, without what no URI has and pingora would escape, and without the
/// fragment, which it would drop.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() & !matches!(byte, b'"' | b'<' | b'>' | b'#')
}

/// The authority of an absolute-form target.
#[must_use]
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let rest = after_scheme(target)?;
    Some(&rest[..authority_len(rest)])
}

/// Path and query of a target, which is the same but for the absolute form; an absent path is `/`.
#[must_use]
pub fn path_and_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let rest = match after_scheme(target) {
        Some(rest) => &rest[authority_len(rest)..],
        None => target,
    };
    let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    (if path.is_empty() { b"/" } else { path }, query)
}

/// The rest of an absolute-form target after the scheme.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn authority_len(rest: &[u8]) -> usize {
    rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())
}

/// The framing fields of a head.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    count: usize,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), FramingError> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(FramingError::Folded);
        }
        no_control(line, |byte| byte == b'\t')?;
        let colon = line.iter().position(|byte| *byte == b':').ok_or(FramingError::FieldName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(FramingError::FieldName);
        }
        self.count += 1;
        if name.eq_ignore_ascii_case(b"host") {
            self.add_host(value.trim_ascii())?;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.add_length(value)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.add_coding(value)?;
        }
        Ok(())
    }

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), FramingError> {
        if value.iter().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'@' | b',')) {
            return Err(FramingError::HostInvalid);
        }
        match self.host.replace(value) {
            Some(_) => Err(FramingError::HostMissing),
            None => Ok(()),
        }
    }

    /// Digits, after at most one space: whatever else a reader may trim or add up is refused,
    /// equal duplicates too.
    fn add_length(&mut self, value: &[u8]) -> Result<(), FramingError> {
        let digits = value.strip_prefix(b" ").unwrap_or(value);
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::Length);
        }
        let text = std::str::from_utf8(digits).map_err(|_| FramingError::Length)?;
        let length = text.parse().map_err(|_| FramingError::Length)?;
        match self.length.replace(length) {
            Some(_) => Err(FramingError::Length),
            None => Ok(()),
        }
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), FramingError> {
        let coding = value.strip_prefix(b" ").unwrap_or(value);
        if self.chunked || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(FramingError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn body(&self, version: Version) -> Result<BodyLength, FramingError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(FramingError::BothLengths),
            (None, true) if version == Version::Http10 => Err(FramingError::TransferEncoding),
            (None, true) => Ok(BodyLength::Chunked),
            (Some(length), false) => Ok(BodyLength::Known(length)),
            (None, false) => Ok(BodyLength::Known(0)),
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// A byte of a token.
const fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN[byte as usize]
}

/// Looked up for every byte of every field name of every request.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let as_byte = byte as u8;
        table[byte] = as_byte.is_ascii_alphanumeric()
            || matches!(
                as_byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
