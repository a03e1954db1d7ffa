//! The other readings of a path.
//!
//! Owns every way an upstream might read a path that was forwarded as it is: where the text comes
//! from ([`Source`]) and what is then done to each segment (the [`CUT`], [`TAIL`], [`LOWER`] and
//! [`MERGE`] bits, in every combination). An attacker would look for a path that falls under a
//! lenient route here and is served as one of a strict route there. Patterns are folded by the
//! same functions. Never decides: [`crate::policy::RouteTable`] asks where each reading leads.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfkc};

use crate::path::triplet;

/// `;` and what follows it in a segment is cut.
pub(crate) const CUT: u8 = 1;
/// Dots and spaces (also `%20`) at the end of a segment are cut.
pub(crate) const TAIL: u8 = 2;
/// Letters in lower case.
pub(crate) const LOWER: u8 = 4;
/// Empty segments are dropped.
pub(crate) const MERGE: u8 = 8;
/// How many combinations of the bits there are.
pub(crate) const MASKS: u8 = 16;

/// Where the text of a reading comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The path itself.
    AsIs,
    /// `//host/path` taken for a target without scheme: `/path`.
    Authority,
    /// Decoded once.
    Once,
    /// Decoded twice.
    Twice,
    /// Decoded once and brought to NFKC, where a full-width solidus is a slash.
    Nfkc,
    /// The same with backslashes as slashes. (Raw and encoded ones never come this far.)
    Backslash,
    /// `;` and what follows cut before decoding, as servlet containers do.
    CutOnce,
}

impl Source {
    pub(crate) const ALL: [Self; 7] = [
        Self::AsIs,
        Self::Authority,
        Self::Once,
        Self::Twice,
        Self::Nfkc,
        Self::Backslash,
        Self::CutOnce,
    ];

    /// The text of a path, or of a literal segment of a pattern, in this reading.
    pub(crate) fn read(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::AsIs => Cow::Borrowed(text),
            Self::Authority => Cow::Borrowed(without_authority(text)),
            Self::Once => decode(text),
            Self::Twice => chain(decode(text), decode),
            Self::Nfkc => chain(decode(text), nfkc),
            Self::Backslash => chain(chain(decode(text), nfkc), slashed),
            Self::CutOnce if text.contains(';') => {
                let cut: Vec<&str> = text.split('/').map(cut_parameters).collect();
                chain(Cow::Owned(cut.join("/")), decode)
            }
            Self::CutOnce => decode(text),
        }
    }
}

/// Applies the next step to the text of the one before.
fn chain<'a>(text: Cow<'a, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match step(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(next) => Cow::Owned(next),
    }
}

fn without_authority(text: &str) -> &str {
    let Some(after) = text.strip_prefix("//") else { return text };
    after.find('/').map_or(text, |at| &after[at..])
}

/// Percent-decodes. Bytes that are not UTF-8 can only come up the second time; they become
/// replacement characters, in patterns as in paths.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let value = if byte == b'%' { triplet(tail) } else { None };
        out.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn nfkc(text: &str) -> Cow<'_, str> {
    if is_nfkc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfkc().collect()) }
}

fn slashed(text: &str) -> Cow<'_, str> {
    if text.contains('\\') { Cow::Owned(text.replace('\\', "/")) } else { Cow::Borrowed(text) }
}

/// Hexadecimal digits of percent-encodings in upper case: the form in which paths and patterns
/// are compared (RFC 3986 section 6.2.2.1).
pub(crate) fn upper_hex(text: &str) -> Cow<'_, str> {
    let is_lower = |at: usize| text.as_bytes()[at + 1..].iter().take(2).any(u8::is_ascii_lowercase);
    if !text.match_indices('%').any(|(at, _)| is_lower(at)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut digits_left = 0;
    for letter in text.chars() {
        out.push(if digits_left > 0 { letter.to_ascii_uppercase() } else { letter });
        digits_left = if letter == '%' { 2 } else { usize::saturating_sub(digits_left, 1) };
    }
    Cow::Owned(out)
}

/// Which bits can change a path: all others leave it as it is, alone and together with these.
pub(crate) fn marks(path: &str) -> u8 {
    let mut marks = 0;
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        marks |= segment_marks(segment);
        if segment.is_empty() && segments.peek().is_some() {
            marks |= MERGE;
        }
    }
    marks
}

/// Which bits can change a segment, or be needed once another bit has emptied it.
pub(crate) fn segment_marks(segment: &str) -> u8 {
    let cut = cut_parameters(segment);
    let trimmed = trim_tail(cut);
    let mut marks = 0;
    if cut.len() < segment.len() {
        marks |= CUT;
    }
    if trimmed.len() < cut.len() || trim_tail(segment).len() < segment.len() {
        marks |= TAIL;
    }
    if trimmed.is_empty() && !segment.is_empty() {
        marks |= MERGE;
    }
    if matches!(trimmed, "." | "..") {
        // See `cut_dot_segments`.
        marks |= TAIL | MERGE;
    }
    if segment.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        marks |= LOWER;
    }
    marks
}

/// Writes what `path` is under the bits of `mask`.
pub(crate) fn fold(path: &str, mask: u8, out: &mut String) {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let at = out.len();
        out.push('/');
        fold_segment(segment, mask, out);
        let is_empty = out.len() == at + 1;
        if mask & MERGE != 0 && is_empty && segments.peek().is_some() {
            out.truncate(at);
        }
    }
}

/// Writes what one segment is under the bits of `mask`.
pub(crate) fn fold_segment(segment: &str, mask: u8, out: &mut String) {
    let mut part = segment;
    if mask & CUT != 0 {
        part = cut_parameters(part);
    }
    if mask & TAIL != 0 {
        part = trim_tail(part);
    }
    if mask & LOWER != 0 {
        // Letter by letter, so that a segment folds alike wherever it stands.
        out.extend(part.chars().flat_map(char::to_lowercase));
    } else {
        out.push_str(part);
    }
}

/// Dot segments whose dots were cut like any other at the end of a segment.
pub(crate) fn cut_dot_segments(path: &str, mask: u8) -> Option<String> {
    let is_cut = |segment: &&str| !matches!(*segment, "." | "..");
    let (merge, segments) = (mask & MERGE != 0, path.split('/'));
    (mask & TAIL != 0).then(|| match merge {
        true => segments.filter(is_cut).collect::<Vec<_>>().join("/"),
        false => {
            segments.map(|one| if is_cut(&one) { one } else { "" }).collect::<Vec<_>>().join("/")
        }
    })
}

fn cut_parameters(segment: &str) -> &str {
    segment.find(';').map_or(segment, |at| &segment[..at])
}

/// Cuts dots and spaces from the end; what is a dot segment without its spaces stays one.
fn trim_tail(segment: &str) -> &str {
    let mut part = segment;
    while let Some(shorter) = part.strip_suffix("%20").or_else(|| part.strip_suffix(' ')) {
        part = shorter;
    }
    if part == "." || part == ".." {
        return part;
    }
    while let Some(shorter) = part.strip_suffix("%20").or_else(|| part.strip_suffix(['.', ' '])) {
        part = shorter;
    }
    part
}

/// The name of a reading for log, `why` and `explain`.
pub(crate) fn name(source: Source, mask: u8) -> &'static str {
    match (source, mask) {
        (Source::AsIs, 0) => "dot_segments",
        (Source::AsIs, CUT) => "semicolon_cut",
        (Source::AsIs, TAIL) => "trailing_dot_or_space_cut",
        (Source::AsIs, LOWER) => "lower_case",
        (Source::AsIs, MERGE) => "slashes_merged",
        (Source::Authority, 0) => "authority",
        (Source::Once, 0) => "decoded_once",
        (Source::Twice, 0) => "decoded_twice",
        (Source::Nfkc, 0) => "nfkc",
        (Source::Backslash, 0) => "backslash_as_slash",
        (Source::CutOnce, 0) => "semicolon_cut",
        (_, _) => "combined",
    }
}
