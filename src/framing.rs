//! Whether a message head can be read in only one way (RFC 9112).
//!
//! Owns the look at the raw bytes of an HTTP/1 head before anything else believes in them: pingora
//! accepts several forms that a balancer in front of us or the upstream behind us may read
//! differently (R-106, R-110, R-401, R-402). Never repairs anything: doubt is a refusal and a close.

use thiserror::Error;

/// The longest accepted request target, in bytes: more is 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// The largest accepted head, in bytes: more is 431 (R-107).
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most fields a head may have: more is 431 (R-107).
pub const FIELDS_MAX: usize = 100;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingError {
    /// A line ends with LF alone, or has a CR in its middle.
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// NUL or another control in the head.
    #[error("a control character")]
    Control,
    /// A line that continues the one before it (obs-fold).
    #[error("a folded line")]
    Folded,
    /// Space before a colon, no colon, or a byte no field name has.
    #[error("a malformed field name")]
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
    #[error("a malformed request line")]
    RequestLine,
    /// `Connection` nominates what it must not, or cannot be read.
    #[error("a malformed Connection field")]
    Connection,
    /// The body is not framed as its head says.
    #[error("a malformed body")]
    Body,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 when there is no body.
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
    /// How many fields there are.
    pub fields: usize,
}

/// Finds the end of the first head in what has arrived: the index after its empty line. Lines
/// that end with LF alone count, so that [`Head::parse`] sees and refuses them. `searched` is how
/// much an earlier call has looked at.
#[must_use]
pub fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = leading_empty_lines(bytes);
    // An end may have begun in the last three bytes that were looked at.
    let mut at = searched.saturating_sub(3).max(start);
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == b'\n') {
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
    /// Reads a whole head, its empty line included.
    ///
    /// # Errors
    /// [`FramingError`], for the first thing in it that two readers could take differently.
    pub fn parse(head: &'a [u8]) -> Result<Self, FramingError> {
        let mut lines = Lines(&head[leading_empty_lines(head)..]);
        let line = RequestLine::parse(lines.next_line()?)?;
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
        let RequestLine { method, target, .. } = line;
        Ok(Self { method, target, host: fields.host, body, fields: fields.count })
    }
}

/// The lines of a head, each without its CR LF.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<&'a [u8], FramingError> {
        let end = self.0.iter().position(|byte| *byte == b'\n').ok_or(FramingError::LineEnd)?;
        let line = self.0[..end].strip_suffix(b"\r").ok_or(FramingError::LineEnd)?;
        if line.contains(&b'\r') {
            return Err(FramingError::LineEnd);
        }
        self.0 = &self.0[end + 1..];
        Ok(line)
    }
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
        if line.iter().any(u8::is_ascii_control) {
            return Err(FramingError::Control);
        }
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
        let is_plain = !target.is_empty() && target.iter().all(|byte| is_target_byte(*byte));
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

/// Visible ASCII, without what no URI has and pingora would escape (R-110), and without the
/// fragment, which it would drop.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'#')
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

/// What follows the scheme of an absolute-form target.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn authority_len(rest: &[u8]) -> usize {
    rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())
}

/// What the fields of a head say about framing.
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
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(FramingError::Control);
        }
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

/// The longest chunk extension or trailer section, in bytes.
const CHUNK_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Follows a chunked body to its end (RFC 9112 section 7.1), so that what comes after it is not
/// taken for a part of it. Stricter than its readers: hexadecimal digits, CR LF, no controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    state: ChunkState,
    /// Of the extensions and trailers so far; bounded by [`CHUNK_TEXT_BYTES_MAX`].
    text_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// So much of the size was read, in so many digits.
    Size(u64, u8),
    Extension(u64),
    SizeLf(u64),
    /// So many bytes of the chunk are still to come.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line or the empty line.
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: ChunkState::Size(0, 0), text_bytes: 0 }
    }
}

impl Chunks {
    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Goes on with what has arrived. How many bytes of it belong to the body.
    ///
    /// # Errors
    /// [`FramingError::Body`] at the first byte that does not fit.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let ChunkState::Data(left) = self.state {
                let here = left.min((bytes.len() - at) as u64);
                self.state = match left - here {
                    0 => ChunkState::DataCr,
                    rest => ChunkState::Data(rest),
                };
                at += usize::try_from(here).map_err(|_| FramingError::Body)?;
            } else {
                self.state = self.after(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn after(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        use ChunkState as S;
        match (self.state, byte) {
            (S::Size(size, digits @ 0..16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(FramingError::Body)?;
                Ok(S::Size(size << 4 | u64::from(digit), digits + 1))
            }
            (S::Size(size, 1..) | S::Extension(size), b'\r') => Ok(S::SizeLf(size)),
            (S::Size(size, 1..), b';' | b' ' | b'\t') | (S::Extension(size), _) => {
                self.text(byte, S::Extension(size))
            }
            (S::SizeLf(0) | S::TrailerLf, b'\n') => Ok(S::LineStart),
            (S::SizeLf(size), b'\n') => Ok(S::Data(size)),
            (S::DataCr, b'\r') => Ok(S::DataLf),
            (S::DataLf, b'\n') => Ok(S::Size(0, 0)),
            (S::LineStart, b'\r') => Ok(S::EndLf),
            (S::Trailer, b'\r') => Ok(S::TrailerLf),
            (S::LineStart | S::Trailer, _) => self.text(byte, S::Trailer),
            (S::EndLf, b'\n') => Ok(S::Done),
            (
                S::Size(..)
                | S::SizeLf(_)
                | S::Data(_)
                | S::DataCr
                | S::DataLf
                | S::TrailerLf
                | S::EndLf
                | S::Done,
                _,
            ) => Err(FramingError::Body),
        }
    }

    fn text(&mut self, byte: u8, next: ChunkState) -> Result<ChunkState, FramingError> {
        self.text_bytes += 1;
        let is_plain = !byte.is_ascii_control() || byte == b'\t';
        if is_plain && self.text_bytes <= CHUNK_TEXT_BYTES_MAX {
            Ok(next)
        } else {
            Err(FramingError::Body)
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
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
mod tests {
    use super::*;

    fn get(fields: &str) -> Vec<u8> {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    }

    #[track_caller]
    fn refused(head: impl AsRef<[u8]>, why: FramingError) {
        let head = head.as_ref();
        assert_eq!(Head::parse(head).err(), Some(why), "{}", head.escape_ascii());
    }

    #[track_caller]
    fn body(fields: &str, expected: BodyLength) {
        assert_eq!(Head::parse(&get(fields)).map(|head| head.body), Ok(expected), "{fields:?}");
    }

    #[test]
    fn a_plain_head_is_read() {
        let head = b"\r\nPOST /a?b=%20c HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nx:\ty \r\n\r\n";
        let expected = Head {
            method: b"POST",
            target: b"/a?b=%20c",
            host: Some(b"a.example:80"),
            body: BodyLength::Known(5),
            fields: 3,
        };
        assert_eq!(Head::parse(head), Ok(expected));
        assert_eq!(Head::parse(b"GET / HTTP/1.0\r\n\r\n").map(|head| head.host), Ok(None));
    }

    #[test]
    fn r402_every_line_ends_with_cr_lf() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: b\rc: d\r\n\r\n",
            "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a",
            "",
            "\r\n\r\n",
        ] {
            refused(head, FramingError::LineEnd);
        }
    }

    #[test]
    fn r401_controls_folds_and_odd_names_are_refused() {
        refused(get("x: a\0b\r\n"), FramingError::Control);
        refused(get("x: a\x7fb\r\n"), FramingError::Control);
        refused(get("x\x01: a\r\n"), FramingError::Control);
        refused(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", FramingError::Control);
        refused(b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", FramingError::Control);
        refused(get("x: a\r\n b\r\n"), FramingError::Folded);
        refused(get("x: a\r\n\tb\r\n"), FramingError::Folded);
        refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", FramingError::Folded);
        for field in ["x : a", "x", ": a", "x y: a", "x(: a", "x\u{e9}: a", "\"x\": a"] {
            refused(get(&format!("{field}\r\n")), FramingError::FieldName);
        }
    }

    #[test]
    fn r401_a_length_is_one_plain_number() {
        for field in [
            "+5",
            "-5",
            "0x5",
            "  5",
            " 5 ",
            " 5\t",
            "\t5",
            " 5, 5",
            " 5,5",
            "",
            " ",
            " 5a",
            " 1e1",
            " 18446744073709551616",
            " 5;",
            " \u{663}",
        ] {
            refused(get(&format!("Content-Length:{field}\r\n")), FramingError::Length);
        }
        refused(get("Content-Length: 5\r\nContent-Length: 5\r\n"), FramingError::Length);
        refused(get("Content-Length: 5\r\ncontent-length: 6\r\n"), FramingError::Length);
        body("Content-Length: 5\r\n", BodyLength::Known(5));
        body("content-length:18446744073709551615\r\n", BodyLength::Known(u64::MAX));
        body("", BodyLength::Known(0));
    }

    #[test]
    fn r103_r401_a_transfer_coding_is_exactly_chunked() {
        for field in [
            " gzip",
            " gzip, chunked",
            " chunked, gzip",
            " chunked,",
            " chunked, chunked",
            " xchunked",
            " chunked ",
            "  chunked",
            " \tchunked",
            " chunked;q=1",
            " \"chunked\"",
            "",
            " identity",
            " chunked\u{b}",
            " Chunke\u{212a}",
        ] {
            let head = get(&format!("Transfer-Encoding:{field}\r\n"));
            let error = Head::parse(&head).err();
            let expected = if field.contains('\u{b}') {
                FramingError::Control
            } else {
                FramingError::TransferEncoding
            };
            assert_eq!(error, Some(expected), "{field:?}");
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        refused(get(twice), FramingError::TransferEncoding);
        refused(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            FramingError::TransferEncoding,
        );
        body("Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
        body("transfer-encoding:Chunked\r\n", BodyLength::Chunked);
    }

    #[test]
    fn r106_both_lengths_are_refused_in_either_order() {
        let te = "Transfer-Encoding: chunked\r\n";
        let cl = "Content-Length: 5\r\n";
        refused(get(&format!("{te}{cl}")), FramingError::BothLengths);
        refused(get(&format!("{cl}{te}")), FramingError::BothLengths);
        refused(get(&format!("Content-Length: 0\r\n{te}")), FramingError::BothLengths);
    }

    #[test]
    fn r401_there_is_one_host() {
        refused("GET / HTTP/1.1\r\n\r\n", FramingError::HostMissing);
        refused(get("Host: a\r\n"), FramingError::HostMissing);
        refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", FramingError::HostMissing);
        for host in ["a b", "u@a", "a, b", "a,b", "\u{e9}"] {
            refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), FramingError::HostInvalid);
        }
    }

    #[test]
    fn r401_a_request_line_has_three_parts() {
        for line in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / b HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "G(T / HTTP/1.1",
            " / HTTP/1.1",
            "GET  HTTP/1.1",
            "GET a HTTP/1.1",
            "GET ftp://a/ HTTP/1.1",
            "GET http:/a/ HTTP/1.1",
        ] {
            refused(format!("{line}\r\nHost: a\r\n\r\n"), FramingError::RequestLine);
        }
    }

    #[test]
    fn r110_targets_that_would_be_escaped_or_cut_are_refused() {
        for target in ["/\u{e9}", "/a\"b", "/<a>", "/a?b=\"c\"", "/a#b", "/a?b#c", "/\u{2f00}"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            refused(head, FramingError::RequestLine);
        }
        for target in ["/a?$filter=stock%20gt%200", "/a|b", "/{a}?b=\\^`", "/a;b", "*", "/%ff"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(Head::parse(head.as_bytes()).is_ok(), "{target}");
        }
    }

    #[test]
    fn r111_an_absolute_target_names_the_host() {
        for target in ["http://b/", "http://a:80/", "http://u@a/", "http:///", "http://A/"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            refused(head, FramingError::HostInvalid);
        }
        for target in ["http://a/", "HTTP://a", "https://a?b", "http://a/b?c"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(Head::parse(head.as_bytes()).is_ok(), "{target}");
        }
        assert_eq!(path_and_query(b"http://a"), (&b"/"[..], None));
        assert_eq!(path_and_query(b"https://a?b/c"), (&b"/"[..], Some(&b"b/c"[..])));
        assert_eq!(path_and_query(b"http://a/b?c?d"), (&b"/b"[..], Some(&b"c?d"[..])));
        assert_eq!(path_and_query(b"/b?"), (&b"/b"[..], Some(&b""[..])));
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_arrives() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut more = head.to_vec();
        more.extend_from_slice(b"GET /next HTTP/1.1\r\n\r\n");
        for cut in 0..head.len() {
            assert_eq!(head_end(&head[..cut], 0), None, "{cut}");
            assert_eq!(head_end(&more, cut), Some(head.len()), "{cut}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\n\nx", 0), Some(16));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\nx", 0), Some(17));
        assert_eq!(head_end(b"", 0), None);
    }

    #[test]
    fn r402_a_chunked_body_is_followed_to_its_end_however_it_arrives() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;x=y\r\n0123456789\r\n00\r\n\r\n",
            "3 \r\nab\n\r\n0\r\nx-trailer: y\r\nz: \r\n\r\n",
        ] {
            let next = format!("{body}GET / HTTP/1.1\r\n");
            for cut in 0..=next.len() {
                let mut chunks = Chunks::default();
                let first = chunks.follow(&next.as_bytes()[..cut]).unwrap();
                let second = chunks.follow(&next.as_bytes()[cut..]).unwrap();
                assert_eq!(first + second, body.len(), "{body:?} cut at {cut}");
                assert!(chunks.is_done());
            }
            assert!(!{
                let mut chunks = Chunks::default();
                chunks.follow(&body.as_bytes()[..body.len() - 1]).unwrap();
                chunks.is_done()
            });
        }
    }

    #[test]
    fn r402_a_chunked_body_with_two_readings_is_refused() {
        let long = format!("1;{}", "x".repeat(CHUNK_TEXT_BYTES_MAX + 1));
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            ";\r\n",
            "1\n",
            "1\r\r\n",
            "2;\nxx",
            "1;x\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r0",
            "0\r\n\n",
            "0\r\nx\n\r\n",
            "0\r\nx\ry",
            "00000000000000001\r\n",
            &long,
        ] {
            let followed = Chunks::default().follow(body.as_bytes());
            assert_eq!(followed, Err(FramingError::Body), "{body:?}");
        }
    }
}
