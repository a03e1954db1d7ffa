//! The other readings of a path.
//!
//! Owns every way an upstream might read a path that was forwarded unchanged: the text it starts
//! from ([`Source`]) and the transformations of its segments (the [`CUT`], [`TAIL`], [`LOWER`],
//! [`MERGE`] and [`QUERY`] bits, in every combination). An attacker would look for a path that
//! matches a lenient route here and is served as one of a strict route there. Patterns are folded
//! by the same functions. Never decides: [`crate::decide::policy::RouteTable`] looks each reading
//! up.

use std::borrow::Cow;

use crate::decide::request::path::source::cut_parameters;
pub(crate) use crate::decide::request::path::source::{SOURCES, Source, TEXTS_MAX, Texts};

/// `;` and what follows it in a segment is cut.
pub(crate) const CUT: u8 = 1;
/// Dots and white space (also `%20`) at the end of a segment are cut.
pub(crate) const TAIL: u8 = 2;
/// Letters without case.
pub(crate) const LOWER: u8 = 4;
/// Empty segments are dropped.
pub(crate) const MERGE: u8 = 8;
/// A decoded `?` or `#` and all that follows it is cut.
pub(crate) const QUERY: u8 = 16;
/// The number of combinations of the bits.
pub(crate) const MASKS: u8 = 32;

/// `//host/path` taken for a target without scheme: `/path`.
pub(crate) fn without_authority(text: &str) -> Option<&str> {
    let after = text.strip_prefix("//")?.trim_start_matches('/');
    Some(after.find('/').map_or("/", |at| &after[at..]))
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

/// The bits that can change a path: all others leave it unchanged, alone and together with these.
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

/// The bits that can change a segment, or be needed once another bit has emptied it.
pub(crate) fn segment_marks(segment: &str) -> u8 {
    let cut = cut_parameters(segment);
    let trimmed = trim_tail(cut);
    let mut marks = 0;
    if segment.contains(is_query) {
        // The text before it may end in anything.
        marks |= QUERY | TAIL | MERGE;
    }
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
    if segment.chars().any(|letter| !is_lower(letter)) {
        marks |= LOWER;
    }
    marks
}

/// Writes `path` as read under the bits of `mask`.
pub(crate) fn fold(path: &str, mask: u8, out: &mut String) {
    let path = if mask & QUERY == 0 { path } else { cut_query(path) };
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

/// Writes one segment as read under the bits of `mask`.
pub(crate) fn fold_segment(segment: &str, mask: u8, out: &mut String) {
    let mut part = if mask & QUERY == 0 { segment } else { cut_query(segment) };
    if mask & CUT != 0 {
        part = cut_parameters(part);
    }
    if mask & TAIL != 0 {
        part = trim_tail(part);
    }
    if mask & LOWER != 0 {
        // Letter by letter, so that a segment folds alike in every position.
        part.chars().for_each(|letter| without_case(letter, out));
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

/// Returns whether a letter is the same without case.
fn is_lower(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_uppercase();
    }
    let mut text = String::new();
    without_case(letter, &mut text);
    text.chars().eq([letter])
}

/// In lower case after upper case, for upstreams that compare in either: the dotless i is an `I`
/// to some, the long s an `S`, and the dotted capital an `i`.
fn without_case(letter: char, out: &mut String) {
    match letter {
        _ if letter.is_ascii() => out.push(letter.to_ascii_lowercase()),
        '\u{130}' => out.push('i'),
        _ => {
            let upper = letter.to_lowercase().flat_map(char::to_uppercase);
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

fn is_query(letter: char) -> bool {
    matches!(letter, '?' | '#')
}

fn cut_query(text: &str) -> &str {
    text.find(is_query).map_or(text, |at| &text[..at])
}

/// Cuts dots and white space from the end; what is a dot segment without its spaces stays one.
fn trim_tail(segment: &str) -> &str {
    let mut part = segment;
    while let Some(shorter) = part.strip_suffix("%20").or_else(|| strip_space(part)) {
        part = shorter;
    }
    if part == "." || part == ".." {
        return part;
    }
    while let Some(shorter) =
        part.strip_suffix("%20").or_else(|| part.strip_suffix('.')).or_else(|| strip_space(part))
    {
        part = shorter;
    }
    part
}

fn strip_space(text: &str) -> Option<&str> {
    text.strip_suffix(char::is_whitespace)
}

/// The name of a reading for log, `why` and `explain`.
pub(crate) fn name(source: Source, mask: u8) -> &'static str {
    match (source, mask) {
        (Source::AsIs, 0) => "dot_segments",
        (Source::AsIs, CUT) | (Source::CutOnce, 0) => "semicolon_cut",
        (Source::AsIs, TAIL) => "trailing_dot_or_space_cut",
        (Source::AsIs, LOWER) => "lower_case",
        (Source::AsIs, MERGE) => "slashes_merged",
        (Source::Once, 0) => "decoded_once",
        (Source::Twice, 0) => "decoded_twice",
        (Source::Nfkc, 0) => "nfkc",
        (Source::Once | Source::Twice, QUERY) => "query_cut",
        (Source::Backslash, 0) => "backslash_as_slash",
        (_, _) => "combined",
    }
}
