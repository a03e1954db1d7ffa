//! Where the text of a reading comes from.
//!
//! Owns what an upstream may do to the whole text of a path before it looks at segments: decode
//! it once or twice, cut parameters before that, bring it to NFKC, take other characters for a
//! slash. Patterns are read by the same functions. Never decides.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use crate::path::{triplet, view};

/// Where the text of a reading comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The path itself.
    AsIs,
    /// Decoded once.
    Once,
    /// Decoded twice.
    Twice,
    /// Decoded once and brought to NFKC, where a full-width solidus is a slash.
    Nfkc,
    /// Decoded twice and brought to NFKC.
    TwiceNfkc,
    /// The same as [`Self::Nfkc`] with backslashes and what looks like a slash as slashes. (Raw
    /// and encoded backslashes never come this far.)
    Backslash,
    /// Decoded twice, with backslashes and what looks like a slash as slashes.
    TwiceBackslash,
    /// Decoded, brought to NFKC and decoded again: a full-width percent sign is one.
    NfkcOnce,
    /// `;` and what follows cut before decoding, as servlet containers do.
    CutOnce,
    /// Cut, then decoded twice.
    CutTwice,
    /// Cut, decoded, brought to NFKC.
    CutNfkc,
    /// Cut, decoded twice, brought to NFKC.
    CutTwiceNfkc,
    /// Cut, decoded, backslashes as slashes.
    CutBackslash,
    /// Cut, decoded twice, backslashes as slashes.
    CutTwiceBackslash,
    /// Decoded, cut, brought to NFKC: slashes that NFKC makes of what was cut are gone.
    OnceCutNfkc,
    /// Decoded twice, cut, brought to NFKC.
    TwiceCutNfkc,
    /// Decoded, cut, backslashes as slashes.
    OnceCutBackslash,
    /// Decoded twice, cut, backslashes as slashes.
    TwiceCutBackslash,
}

/// How many sources there are.
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

    /// Whether parameters are cut on the way.
    pub(crate) fn cuts(self) -> bool {
        self as usize >= Self::CutOnce as usize
    }

    /// What is done to the text of which other source.
    fn steps(self) -> (Self, &'static [Step]) {
        match self {
            Self::AsIs => (Self::AsIs, &[]),
            Self::Once => (Self::AsIs, &[decode]),
            Self::Twice => (Self::Once, &[decode]),
            Self::Nfkc => (Self::Once, &[nfkc]),
            Self::TwiceNfkc => (Self::Twice, &[nfkc]),
            Self::Backslash => (Self::Once, &[slashed]),
            Self::TwiceBackslash => (Self::Twice, &[slashed]),
            Self::NfkcOnce => (Self::Backslash, &[decode, slashed]),
            Self::CutOnce => (Self::AsIs, &[cut, decode]),
            Self::CutTwice => (Self::CutOnce, &[decode]),
            Self::CutNfkc => (Self::CutOnce, &[nfkc]),
            Self::CutTwiceNfkc => (Self::CutTwice, &[nfkc]),
            Self::CutBackslash => (Self::CutOnce, &[slashed]),
            Self::CutTwiceBackslash => (Self::CutTwice, &[slashed]),
            Self::OnceCutNfkc => (Self::Once, &[cut, nfkc]),
            Self::TwiceCutNfkc => (Self::Twice, &[cut, nfkc]),
            Self::OnceCutBackslash => (Self::Once, &[cut, slashed]),
            Self::TwiceCutBackslash => (Self::Twice, &[cut, slashed]),
        }
    }
}

/// The text of a path, or of a literal segment of a pattern, from every source; each text once.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    texts: Vec<Cow<'a, str>>,
    /// The text of each source.
    of: [u8; SOURCES],
}

impl<'a> Texts<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let mut all = Self { texts: vec![Cow::Borrowed(text)], of: [0; SOURCES] };
        if text.bytes().any(|byte| matches!(byte, b'%' | b';')) {
            for source in Source::ALL {
                all.add(source);
            }
        }
        all
    }

    fn add(&mut self, source: Source) {
        let (origin, steps) = source.steps();
        let mut same = self.of[origin as usize];
        let mut text = Cow::Borrowed(&*self.texts[usize::from(same)]);
        for step in steps {
            if let Some(next) = step(&text) {
                text = Cow::Owned(next);
            }
        }
        if let Cow::Owned(text) = text {
            let known = self.texts.iter().position(|known| *known == text);
            let at = known.unwrap_or(self.texts.len());
            if known.is_none() {
                self.texts.push(Cow::Owned(text));
            }
            same = u8::try_from(at).expect("there are no more texts than sources");
        }
        self.of[source as usize] = same;
    }

    /// The number of the text of a source, below [`SOURCES`]; equal for equal texts.
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

/// `None` when it changes nothing.
type Step = fn(&str) -> Option<String>;

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
        let segments: Vec<&str> = text.split('/').map(view::cut_parameters).collect();
        segments.join("/")
    })
}

/// NFKC without what nobody sees, which many that compare names drop.
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
