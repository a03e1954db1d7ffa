//! The request line and its target.
//!
//! Owns the bytes a target may have, its authority, path and query. The query is the application's:
//! it is carried, never inspected. Never normalizes anything.

use super::FramingError;
use super::token::{is_token, no_control};
use crate::base::bytes::all;

/// A version whose messages can be read: a higher minor version is read as HTTP/1.1 (RFC 9110
/// section 2.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

impl Version {
    fn parse(text: &[u8]) -> Result<Self, FramingError> {
        match text {
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Self::Http11),
            [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9'] => {
                Err(FramingError::Version)
            }
            _ => Err(FramingError::RequestLine),
        }
    }
}

pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: Version,
}

impl<'a> RequestLine<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, FramingError> {
        no_control(line, |_| false)?;
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FramingError::RequestLine);
        };
        let version = Version::parse(version)?;
        let is_plain = !target.is_empty() && is_plain(target);
        if !is_token(method) || !is_plain || (target == b"*" && method != b"OPTIONS") {
            return Err(FramingError::RequestLine);
        }
        Ok(Self { method, target, version })
    }

    /// HTTP/1.1 needs one `Host`; an absolute-form target must name the very same one, because
    /// each reader may believe another of the two.
    pub(super) fn check_host(&self, host: Option<&[u8]>) -> Result<(), FramingError> {
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

/// Returns whether a target has only bytes that every reader takes alike: no control character, no space
/// and no `#`; before the query visible ASCII without what no URI has.
fn is_plain(target: &[u8]) -> bool {
    let query = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(query);
    all(path, is_path_byte) && all(query, |byte| (byte > b' ') & (byte != 0x7f) & (byte != b'#'))
}

fn is_path_byte(byte: u8) -> bool {
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
