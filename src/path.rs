//! The one canonical path of a request, or a refusal.
//!
//! Owns what a path may look like and every other way an upstream might read it. The path this
//! module returns is the path that is matched and the path that is forwarded, byte for byte
//! . Never decodes for the upstream, never touches the query.

use std::borrow::Cow;

use thiserror::Error;

/// Why a path is refused before any route is looked up.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Does not begin with `/`.
    #[error("does not begin with a slash")]
    NotAbsolute,
    /// A byte that no path has: control, space, non-ASCII that is not UTF-8, backslash, `#`.
    #[error("has a byte that no path has")]
    Byte,
    /// `%` without two hexadecimal digits, or that decodes to NUL, a control or bad UTF-8.
    #[error("has a bad percent-encoding")]
    Encoding,
    /// `%2F` or `%5C` (the former can be allowed by the route), or `%2E`.
    #[error("has an encoded backslash or dot")]
    EncodedSeparator,
    /// `..` above the root.
    #[error("climbs above the root")]
    AboveRoot,
    /// Longer than [`PATH_BYTES_MAX`], or more than [`SEGMENTS_MAX`] segments.
    #[error("is too long")]
    TooLong,
}

/// The longest accepted path, in bytes; the whole request target has its own limit.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// The most segments a path may have: it bounds what a route look-up can cost.
pub const SEGMENTS_MAX: usize = 256;

/// A path that was checked: dot segments removed, nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    text: Cow<'a, str>,
    has_encoded_slash: bool,
}

impl<'a> CanonicalPath<'a> {
    /// Checks the raw path of a request target (everything before `?`).
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(raw: &'a [u8]) -> Result<Self, PathError> {
        let _ = raw;
        todo!("path helper")
    }

    /// What is matched and forwarded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has `%2F`, which only a route with `insecure_path: [encoded_slash]` takes.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.has_encoded_slash
    }
}
