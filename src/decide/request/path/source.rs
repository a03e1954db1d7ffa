//! The texts that readings of a path start from.
//!
//! Owns the ways an upstream may transform the whole text of a path before it splits segments:
//! decode it once or twice, cut parameters before that, normalise it to NFKC, take other characters
//! for a slash. Patterns are transformed by the same functions. Never decides.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use crate::decide::request::path::triplet;

/// The text that a reading starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The path itself.
    AsIs,
    /// Decoded once.
    Once,
    /// Decoded twice.
    Twice,
    /// Decoded once and normalised to NFKC, where a full-width solidus is a slash.
    Nfkc,
    /// Decoded twice and normalised to NFKC.
    TwiceNfkc,
    /// The same as [`Self::Nfkc`] with backslashes and what looks like a slash as slashes. (Raw
    /// and encoded backslashes never come this far.)
    Backslash,
    /// Decoded twice, with backslashes and what looks like a slash as slashes.
    TwiceBackslash,
    /// Decoded, normalised to NFKC and decoded again: a full-width percent sign is one.
    NfkcOnce,
    /// `;` and what follows cut before decoding, as servlet containers do.
    CutOnce,
    /// Cut, then decoded twice.
    CutTwice,
    /// Cut, decoded, normalised to NFKC.
    CutNfkc,
    /// Cut, decoded twice, normalised to NFKC.
    CutTwiceNfkc,
    /// Cut, decoded, backslashes as slashes.
    CutBackslash,
    /// Cut, decoded twice, backslashes as slashes.
    CutTwiceBackslash,
    /// Decoded, cut, normalised to NFKC: slashes that NFKC makes of the cut part are gone.
    OnceCutNfkc,
    /// Decoded twice, cut, normalised to NFKC.
    TwiceCutNfkc,
    /// Decoded, cut, backslashes as slashes.
    OnceCutBackslash,
    /// Decoded twice, cut, backslashes as slashes.
    TwiceCutBackslash,
}

/// The number of sources.
pub(crate) const SOURCES: usize = Source::ALL.len();

impl Source {
    /// Each after the one it is made of.
    pub(crate) const ALL: [Self; 18] = [
        Self::AsIs,
        Self::Once,
        Self::Twice,
        Self::Nfkc,
        Self::TwiceNfkc,
        Self::Backslash,
        Self::TwiceBackslash,
        Self::NfkcOnce,
        Self::CutOnce,
        Self::CutTwice,
        Self::CutNfkc,
        Self::CutTwiceNfkc,
        Self::CutBackslash,
        Self::CutTwiceBackslash,
        Self::OnceCutNfkc,
        Self::TwiceCutNfkc,
        Self::OnceCutBackslash,
        Self::TwiceCutBackslash,
    ];

    /// Returns whether parameters are cut on the way.
    pub(crate) fn cuts(self) -> bool {
        self as usize >= Self::CutOnce as usize
    }

    /// The other source it is made from, and the transformation.
    fn steps(self) -> (Self, &'static [Transform]) {
        match self {
            Self::AsIs => (Self::AsIs, &[]),
            Self::Once => (Self::AsIs, &[Transform::Decode]),
            Self::Twice => (Self::Once, &[Transform::Decode]),
            Self::Nfkc => (Self::Once, &[Transform::Nfkc]),
            Self::TwiceNfkc => (Self::Twice, &[Transform::Nfkc]),
            Self::Backslash => (Self::Once, &[Transform::Slashed]),
            Self::TwiceBackslash => (Self::Twice, &[Transform::Slashed]),
            Self::NfkcOnce => (Self::Backslash, &[Transform::Decode, Transform::Slashed]),
            Self::CutOnce => (Self::AsIs, &[Transform::Cut, Transform::Decode]),
            Self::CutTwice => (Self::CutOnce, &[Transform::Decode]),
            Self::CutNfkc => (Self::CutOnce, &[Transform::Nfkc]),
            Self::CutTwiceNfkc => (Self::CutTwice, &[Transform::Nfkc]),
            Self::CutBackslash => (Self::CutOnce, &[Transform::Slashed]),
            Self::CutTwiceBackslash => (Self::CutTwice, &[Transform::Slashed]),
            Self::OnceCutNfkc => (Self::Once, &[Transform::Cut, Transform::Nfkc]),
            Self::TwiceCutNfkc => (Self::Twice, &[Transform::Cut, Transform::Nfkc]),
            Self::OnceCutBackslash => (Self::Once, &[Transform::Cut, Transform::Slashed]),
            Self::TwiceCutBackslash => (Self::Twice, &[Transform::Cut, Transform::Slashed]),
        }
    }
}

/// A transformation of a whole text.
#[derive(Clone, Copy, Debug)]
enum Transform {
    Decode,
    Cut,
    Nfkc,
    Slashed,
}

const STEPS: usize = 4;

impl Transform {
    /// Applies it; `None` when it changes nothing.
    fn apply(self, text: &str) -> Option<String> {
        match self {
            Self::Decode => decode(text),
            Self::Cut => cut(text),
            Self::Nfkc => nfkc(text),
            Self::Slashed => slashed(text),
        }
    }
}

/// The most texts there can be: one for each step of a source.
pub(crate) const TEXTS_MAX: usize = 2 * SOURCES;

/// The text of a path, or of a literal segment of a pattern, from every source; each text once,
/// and each step done once on it.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    texts: Vec<Cow<'a, str>>,
    /// The text of each source.
    of: [u8; SOURCES],
    /// For each text the results of the transformations, where they are known.
    next: [[Option<u8>; STEPS]; TEXTS_MAX],
}

impl<'a> Texts<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let texts = vec![Cow::Borrowed(text)];
        let mut all = Self { texts, of: [0; SOURCES], next: [[None; STEPS]; TEXTS_MAX] };
        if text.bytes().any(|byte| matches!(byte, b'%' | b';')) {
            for source in Source::ALL {
                let (origin, steps) = source.steps();
                let at = steps.iter().fold(all.of[origin as usize], |at, step| all.step(at, *step));
                all.of[source as usize] = at;
            }
        }
        all
    }

    /// The number of the text that a transformation yields.
    fn step(&mut self, at: u8, step: Transform) -> u8 {
        let (from, step_at) = (usize::from(at), step as usize);
        if let Some(known) = self.next[from][step_at] {
            return known;
        }
        let next = step.apply(&self.texts[from]).map_or(at, |text| {
            let known = self.texts.iter().position(|known| *known == text);
            let next = known.unwrap_or(self.texts.len());
            if known.is_none() {
                self.texts.push(Cow::Owned(text));
            }
            u8::try_from(next).expect("there are at most TEXTS_MAX texts")
        });
        self.next[from][step_at] = Some(next);
        next
    }

    /// The number of the text of a source, below [`TEXTS_MAX`]; equal for equal texts.
    pub(crate) fn number(&self, source: Source) -> usize {
        usize::from(self.of[source as usize])
    }

    pub(crate) fn text(&self, number: usize) -> &str {
        &self.texts[number]
    }

    /// Each text with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.texts.iter().enumerate().map(|(number, text)| (number, &**text))
    }
}

/// Percent-decodes, also the `%uXXXX` that comes up the second time. Bytes that are not UTF-8 can
/// only come up then, too; they become replacement characters, in patterns as in paths.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
        } else if let Some(value) = triplet(tail) {
            out.push(value);
            rest = &tail[2..];
        } else if let Some(letter) = wide(tail) {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &tail[5..];
        } else {
            out.push(byte);
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The character of the `uXXXX` at the start of what follows a `%`.
pub(super) fn wide(text: &[u8]) -> Option<char> {
    let digits = text.strip_prefix(b"u").or_else(|| text.strip_prefix(b"U"))?;
    let code = u32::from(triplet(digits)?) << 8 | u32::from(triplet(&digits[2..])?);
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn cut(text: &str) -> Option<String> {
    text.contains(';').then(|| {
        let segments: Vec<&str> = text.split('/').map(cut_parameters).collect();
        segments.join("/")
    })
}

/// The segment without its parameters: everything before the first `;`.
pub(super) fn cut_parameters(segment: &str) -> &str {
    segment.find(';').map_or(segment, |at| &segment[..at])
}

/// NFKC without invisible characters, which many comparisons of names drop.
fn nfkc(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let out: String = text.chars().filter(|&letter| !is_ignorable(letter)).nfkc().collect();
    (out != text).then_some(out)
}

/// NFKC with backslashes as slashes, and with what code pages take for either: fraction and
/// division slash, set minus, the yen and won signs.
fn slashed(text: &str) -> Option<String> {
    let is_slash = |letter: char| {
        matches!(
            letter,
            '\\' | '\u{a5}'
                | '\u{2044}'
                | '\u{20a9}'
                | '\u{2215}'
                | '\u{2216}'
                | '\u{29f5}'
                | '\u{29f8}'
                | '\u{29f9}'
        )
    };
    if text.is_ascii() && !text.contains('\\') {
        return None;
    }
    let out = text.replace(is_slash, "/");
    let out = nfkc(&out).unwrap_or(out).replace('\\', "/");
    (out != text).then_some(out)
}

/// Unicode's `Default_Ignorable_Code_Point`.
fn is_ignorable(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}
