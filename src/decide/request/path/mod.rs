//! The one canonical path of a request, or a refusal.
//!
//! Owns the accepted forms of a path and every other way an upstream might read it. The path this
//! module returns is the path that is matched and the path that is forwarded, byte for byte
//! . Never decodes for the upstream, never touches the query.
//!
//! Accepted bytes are the visible ASCII ones but `\`, `#`, `?`, `<`, `>` and `"`. RFC 3986 has no
//! raw `^`, `` ` ``, `{`, `|`, `}`, `[` and `]` either, but real clients send them and no upstream
//! treats them specially. Dot segments are removed (RFC 3986 section 5.2.4); nothing else
//! changes: not the case of hexadecimal digits, not `//`, not `;`.

mod source;
pub(crate) mod view;

use std::borrow::Cow;

use thiserror::Error;

/// A path that is refused before routing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Does not begin with `/`: empty, `*`, an authority.
    #[error("does not begin with a slash")]
    NotAbsolute,
    /// A byte that no path has: control, space, non-ASCII, backslash, `#`, `<`, `>`, `"`.
    #[error("has a byte that no path may have")]
    Byte,
    /// `%` without two hexadecimal digits.
    #[error("has `%` without two hexadecimal digits")]
    Encoding,
    /// A percent-encoded NUL or other control: `%00`, `%09`, `%0A`, `%0D`, `%7F`.
    #[error("has a percent-encoded control character")]
    Control,
    /// Percent-encodings that decode to bytes that are not UTF-8.
    #[error("has percent-encoded bytes that are not UTF-8")]
    Utf8,
    /// `%5C`, or `%2E` in a dot segment; or `%2F`, `%5C`, `%2E`, a control or overlong UTF-8, encoded
    /// twice.
    #[error("has an encoded backslash, an encoded dot segment or a doubly encoded separator")]
    EncodedSeparator,
    /// `%2F`, encoded once, on a route that does not take it.
    #[error("has an encoded slash (%2F); a route with insecure_path: [encoded_slash] accepts it")]
    EncodedSlash,
    /// `..` above the root.
    #[error("climbs above the root")]
    AboveRoot,
    /// Longer than [`PATH_BYTES_MAX`], or more than [`SEGMENTS_MAX`] segments.
    #[error("is longer than 8192 bytes or 256 segments")]
    TooLong,
}

/// The longest accepted path, in bytes; the whole request target has its own limit.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// The most segments of a path: bounds the cost of a route look-up.
pub const SEGMENTS_MAX: usize = 256;

/// A path that was checked: dot segments removed, nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    raw: &'a str,
    text: Cow<'a, str>,
    has_encoded_slash: bool,
    is_ordinary: bool,
}

impl<'a> CanonicalPath<'a> {
    /// Checks the raw path of a request target (everything before `?`).
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(raw: &'a [u8]) -> Result<Self, PathError> {
        let marks = Marks::read(raw)?;
        let raw = str::from_utf8(raw).map_err(|_| PathError::Byte)?;
        let has_encoded_slash = marks.has_percent && check_percent(raw.as_bytes())?;
        let text = if marks.has_dot_start && has_dot_segment(raw) {
            Cow::Owned(remove_dot_segments(raw).ok_or(PathError::AboveRoot)?)
        } else {
            Cow::Borrowed(raw)
        };
        let is_ordinary = !marks.has_percent && !marks.is_odd && matches!(text, Cow::Borrowed(_));
        Ok(Self { raw, text, has_encoded_slash, is_ordinary })
    }

    /// The path that is matched and forwarded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether it has `%2F`, which only a route with `insecure_path: [encoded_slash]`
    /// accepts.
    #[must_use]
    pub(crate) fn has_encoded_slash(&self) -> bool {
        self.has_encoded_slash
    }

    /// The received path, when dot segments were removed from it.
    #[must_use]
    pub(crate) fn raw_if_different(&self) -> Option<&'a str> {
        matches!(self.text, Cow::Owned(_)).then_some(self.raw)
    }

    /// Returns whether every reading of the path ([`view`]) is the path itself.
    #[must_use]
    pub(crate) fn is_ordinary(&self) -> bool {
        self.is_ordinary
    }
}

/// The result of one pass over the bytes.
#[derive(Default)]
struct Marks {
    has_percent: bool,
    /// A segment begins with a dot, so there may be dot segments.
    has_dot_start: bool,
    /// An upper-case letter, `;`, `//`, or a dot that ends a segment: some reading differs.
    is_odd: bool,
}

impl Marks {
    fn read(raw: &[u8]) -> Result<Self, PathError> {
        if raw.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut marks = Self::default();
        let mut segments = 0;
        let mut previous = 0;
        for &byte in raw {
            match byte {
                b'/' => {
                    segments += 1;
                    marks.is_odd |= previous == b'/' || previous == b'.';
                }
                b'.' => marks.has_dot_start |= previous == b'/',
                b'%' => marks.has_percent = true,
                b'A'..=b'Z' | b';' => marks.is_odd = true,
                b'"' | b'#' | b'<' | b'>' | b'?' | b'\\' => return Err(PathError::Byte),
                b'!'..=b'~' => {}
                _ => return Err(PathError::Byte),
            }
            previous = byte;
        }
        marks.is_odd |= previous == b'.';
        if segments > SEGMENTS_MAX { Err(PathError::TooLong) } else { Ok(marks) }
    }
}

/// Checks every percent-encoding of a path, decoded once and twice. Returns whether there is `%2F`.
fn check_percent(raw: &[u8]) -> Result<bool, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let (mut has_encoded_slash, mut has_encoded_dot) = (false, false);
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let value = triplet(tail).ok_or(PathError::Encoding)?;
        match value {
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b'\\' => return Err(PathError::EncodedSeparator),
            b'/' => has_encoded_slash = true,
            b'.' => has_encoded_dot = true,
            _ => {}
        }
        decoded.push(value);
        rest = &tail[2..];
    }
    if str::from_utf8(&decoded).is_err() {
        return Err(PathError::Utf8);
    }
    if hides_separator(&decoded) || (has_encoded_dot && has_dots_alone(&decoded)) {
        return Err(PathError::EncodedSeparator);
    }
    Ok(has_encoded_slash)
}

/// Returns whether there are dots that belong to no name: a run of unreserved characters (RFC 3986 section
/// 2.3) that is dots alone. Where one of a path's dots was encoded, such a run could be a dot segment
/// to a reader that ends segments elsewhere: at `;`, at white space, at a full-width solidus.
fn has_dots_alone(decoded: &[u8]) -> bool {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let runs = decoded.split(|byte| !is_unreserved(byte));
    runs.filter(|run| !run.is_empty()).any(|run| run.iter().all(|byte| *byte == b'.'))
}

/// Returns whether decoding a second time yields a separator or a control: also as `%uXXXX`, and
/// also as overlong UTF-8, which lax decoders read.
fn hides_separator(decoded: &[u8]) -> bool {
    let is_bad = |value| matches!(value, 0..=0x1f | 0x7f | b'\\' | b'.' | b'/');
    let at = decoded.iter().enumerate().filter(|&(_, &byte)| byte == b'%').map(|(at, _)| at + 1);
    let mut encoded = at.map(|at| &decoded[at..]);
    encoded.any(|text| match triplet(text) {
        Some(0xc0 | 0xc1) => matches!(next_triplet(text), Some(0x80..=0xbf)),
        Some(0xe0) => matches!(next_triplet(text), Some(0x80..=0x9f)),
        Some(0xf0) => matches!(next_triplet(text), Some(0x80..=0x8f)),
        Some(value) => is_bad(value),
        None => source::wide(text).is_some_and(|letter| u8::try_from(letter).is_ok_and(is_bad)),
    })
}

/// The byte of the percent-encoding that follows one.
fn next_triplet(text: &[u8]) -> Option<u8> {
    triplet(text.get(2..)?.strip_prefix(b"%")?)
}

/// The value of the two hexadecimal digits at the start of `text`.
fn triplet(text: &[u8]) -> Option<u8> {
    let (&[high, low], _) = text.split_first_chunk::<2>()?;
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Returns whether a segment is `.` or `..`.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Removes dot segments from a path that begins with `/` (RFC 3986 section 5.2.4). `None` when a
/// `..` climbs above the root, which the RFC would let pass.
pub(crate) fn remove_dot_segments(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/')?),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if is_last {
            out.push('/');
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
