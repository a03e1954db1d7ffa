//! Path patterns of routes.
//!
//! Owns the pattern language and its normal form, in which a pattern is compared with a canonical
//! path segment by segment. Never matches itself: the route table walks an index of patterns.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use thiserror::Error;

pub use crate::decide::policy::host::{HostPattern, normalize_host};
use crate::decide::request::path::view::{self, Texts};
use crate::decide::request::path::{CanonicalPath, PathError};

/// A text that is not a pattern; the message says what is accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PatternError(pub String);

/// A path pattern: literal segments, `*` for exactly one non-empty segment, `/**` at the end for
/// that path and everything below it. Two patterns are equal when they match the same paths the
/// same way (`/a` and `/a/`, `/é` and `/%c3%a9`).
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    is_deep: bool,
}

/// One segment of a pattern, without the final `/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// These bytes; hexadecimal digits of percent-encodings in upper case. Never empty, and never
    /// empty or several segments under another reading.
    Literal(Box<str>),
    /// `*`.
    Any,
}

impl Segment {
    /// The literal; `None` is `*`.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(literal) => Some(literal),
            Self::Any => None,
        }
    }
}

impl PathPattern {
    /// Reads a pattern. Non-ASCII letters and space may be written as they are.
    ///
    /// # Errors
    /// [`PatternError`] with the mistake and what is accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (segments, is_deep) =
            parse_segments(text).map_err(|why| PatternError(format!("{text:?} {why}")))?;
        Ok(Self { text: text.into(), segments: segments.into(), is_deep })
    }

    /// As configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns whether the pattern ends with `/**`.
    pub(crate) fn is_deep(&self) -> bool {
        self.is_deep
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.segments == other.segments && self.is_deep == other.is_deep
    }
}

impl Eq for PathPattern {}

impl Hash for PathPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.segments.hash(state);
        self.is_deep.hash(state);
    }
}

/// The segments before a final `/**`, and whether there is one.
fn parse_segments(text: &str) -> Result<(Vec<Segment>, bool), &'static str> {
    let normal = encode(text);
    let path = CanonicalPath::parse(normal.as_bytes()).map_err(refusal)?;
    if path.has_encoded_slash() {
        return Err(
            "has an encoded slash, which no literal segment matches; `*` does, on a route with `insecure_path: [encoded_slash]`",
        );
    }
    if normal.to_ascii_lowercase().contains("%2e") {
        return Err("has an encoded dot; write the dot itself");
    }
    if path.as_str() != normal {
        return Err("has `.` or `..` segments, which no request has; write the path without them");
    }
    let body = normal.strip_prefix('/').filter(|body| !body.is_empty());
    let mut segments = Vec::new();
    let mut is_deep = false;
    for segment in
        body.into_iter().flat_map(|body| body.strip_suffix('/').unwrap_or(body).split('/'))
    {
        if is_deep {
            return Err("has something after `/**`, which is accepted only at the end");
        }
        match segment {
            "" => return Err("has an empty segment; write single slashes"),
            "**" => is_deep = true,
            "*" => segments.push(Segment::Any),
            literal => segments.push(literal_segment(literal)?),
        }
    }
    Ok((segments, is_deep))
}

/// The form in which requests send the segment: non-ASCII, and bytes that no path has raw, are
/// percent-encoded.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | 0x80.. => {
                write!(out, "%{byte:02X}").expect("writing to a String does not fail");
            }
            _ => out.push(char::from(byte)),
        }
    }
    view::upper_hex(&out).into_owned()
}

fn literal_segment(literal: &str) -> Result<Segment, &'static str> {
    if literal.contains('*') {
        return Err(
            "has `*` inside a segment; `*` matches one whole segment, `/**` at the end everything below",
        );
    }
    if literal.contains(['{', '}']) {
        return Err("has `{` or `}`; a segment that varies is written `*`");
    }
    let mut folded = String::new();
    for (_, text) in Texts::of(literal).iter() {
        let marks = view::segment_marks(text);
        for mask in (0..view::MASKS).filter(|mask| mask & !marks == 0) {
            folded.clear();
            view::fold_segment(text, mask, &mut folded);
            if folded.is_empty() || folded == "." || folded == ".." || folded.contains(['/', '\\'])
            {
                return Err(
                    "has a segment that another reading drops or splits (only dots and spaces, a leading `;`, `?` or `#`, a letter that reads as a slash or dots); write it as `*`",
                );
            }
        }
    }
    Ok(Segment::Literal(literal.into()))
}

fn refusal(error: PathError) -> &'static str {
    match error {
        PathError::NotAbsolute => {
            "does not begin with `/`; a pattern is `/`, literal segments, `*` for one segment and `/**` at the end"
        }
        PathError::Byte => {
            "has a control character, `\\`, `?` or `#`; a pattern matches the path only, never the query or the fragment"
        }
        PathError::Encoding | PathError::Control | PathError::Utf8 => {
            "has a bad percent-encoding; accepted is `%` and two hexadecimal digits, of UTF-8 without control characters"
        }
        PathError::EncodedSeparator | PathError::EncodedSlash => {
            "has an encoded dot, slash or backslash, which every request is refused for"
        }
        PathError::AboveRoot => "climbs above the root, which every request is refused for",
        PathError::TooLong => "is longer than 8192 bytes or 256 segments",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, why: &str) {
        let message = PathPattern::parse(text).expect_err(text).0;
        assert!(message.contains(why) && message.contains(&format!("{text:?}")), "{message}");
    }

    #[test]
    fn contract_which_route_patterns_have_a_normal_form() {
        for (text, same) in [
            ("/", "/"),
            ("/a/", "/a"),
            ("/a/**/", "/a/**"),
            ("/caf\u{e9}", "/caf%c3%a9"),
            ("/a b", "/a%20b"),
            ("/%5bx", "/%5Bx"),
        ] {
            let (one, two) = (PathPattern::parse(text).unwrap(), PathPattern::parse(same).unwrap());
            assert_eq!(one, two);
            assert_eq!(one.as_str(), text);
        }
        for (text, other) in
            [("/a", "/A"), ("/a", "/a/**"), ("/a", "/%61"), ("/*", "/**"), ("/", "/**")]
        {
            assert_ne!(PathPattern::parse(text).unwrap(), PathPattern::parse(other).unwrap());
        }
    }

    #[test]
    fn r205_a_pattern_matches_a_path_and_nothing_else() {
        for text in ["/a?b", "/a?", "/a#b", "/a\\b", "/a\tb", "/\0"] {
            refuse(text, "never the query or the fragment");
        }
        for text in ["", "a", "*", "**", "http://a/b", "app.example.com/a"] {
            refuse(text, "does not begin with `/`");
        }
    }

    #[test]
    fn contract_which_route_what_is_no_pattern_says_what_is_accepted() {
        for text in ["/a*", "/*a", "/a/***", "/**a", "/a**/b"] {
            refuse(text, "one whole segment");
        }
        refuse("/**/a", "only at the end");
        refuse("/**/**", "only at the end");
        for text in ["//", "/a//b", "//a", "/a//"] {
            refuse(text, "single slashes");
        }
        for text in ["/.", "/a/../b", "/a/./b", "/a/.."] {
            refuse(text, "`.` or `..` segments");
        }
        refuse("/..", "climbs above the root");
        refuse("/users/{id}", "written `*`");
        refuse("/a%2Fb", "encoded slash");
        refuse("/a%2eb", "an encoded dot");
        refuse("/a%252fb", "an encoded dot");
        refuse("/a%zzb", "bad percent-encoding");
        refuse("/a%ffb", "bad percent-encoding");
        for text in
            ["/...", "/a/;v=1", "/a/%20", "/a/\u{ff0f}b", "/\u{ff0e}\u{ff0e}/b", "/\u{2100}"]
        {
            refuse(text, "drops or splits");
        }
        refuse(&"/a".repeat(257), "longer than");
    }
}
