//! The chunked transfer coding (RFC 9112 section 7.1), followed byte by byte.
//!
//! Owns where a chunked request body ends, so that the next request is not taken for a part of it.
//! Accepts what the grammar accepts and nothing else: sizes of at most 16 hexadecimal digits, chunk
//! extensions, CR LF, and trailer fields that are field lines and do not concern framing. Never
//! changes or keeps a byte of the body.

use super::token::is_token_byte;
use super::{FIELDS_MAX, FramingError};

/// The longest line of a chunk extension, and the longest trailer section, in bytes. Extensions may
/// also exceed twice the data they came with by no more than this in the whole body.
pub(super) const CHUNK_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Trailer fields that would change framing, routing or the connection (RFC 9110 section 6.5.1).
const FORBIDDEN_TRAILERS: [&[u8]; 9] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];
/// The longest of [`FORBIDDEN_TRAILERS`], in bytes.
const FORBIDDEN_BYTES_MAX: usize = 17;

/// A chunked body, as far as it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Bytes of extensions and trailers beyond twice the bytes of data, at most
    /// [`CHUNK_TEXT_BYTES_MAX`].
    text_bytes: usize,
    trailers: usize,
    name: TrailerName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The size as far as it was read, and its number of digits.
    Size(u64, u8),
    /// In the extensions of a chunk of this size.
    Extension(u64, Extension),
    SizeLf(u64),
    /// The number of bytes of the chunk that are still to come.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line or the empty line.
    LineStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, RFC 9112 section 7.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// White space that must be followed by `;`.
    Gap,
    /// After `;`.
    Start,
    Name,
    /// White space after a name.
    NameGap,
    /// After `=`.
    Equals,
    Token,
    Quoted,
    /// After a backslash within quotes.
    Escaped,
    QuotedEnd,
}

/// The first bytes of a trailer's name in lower case, enough to tell [`FORBIDDEN_TRAILERS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TrailerName {
    bytes: [u8; FORBIDDEN_BYTES_MAX],
    length: usize,
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            // An upstream may take an underscore for a hyphen.
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        }
        self.length = self.length.saturating_add(1);
    }

    fn is_forbidden(&self) -> bool {
        let name = self.bytes.get(..self.length);
        name.is_some_and(|name| FORBIDDEN_TRAILERS.contains(&name))
    }
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size(0, 0), text_bytes: 0, trailers: 0, name: TrailerName::default() }
    }
}

impl Chunks {
    /// Returns whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes of data that the current chunk still has to bring, as its size line says.
    #[must_use]
    pub fn announced(&self) -> u64 {
        match self.state {
            State::Size(size, _)
            | State::Extension(size, _)
            | State::SizeLf(size)
            | State::Data(size) => size,
            State::DataCr
            | State::DataLf
            | State::LineStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf
            | State::Done => 0,
        }
    }

    /// Goes on with what has arrived. Returns how many bytes of it belong to the body.
    ///
    /// # Errors
    /// [`FramingError::Body`] at the first byte that does not fit.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        self.decode(bytes, |_| {})
    }

    /// As [`Self::follow`], and calls `on_data` with each run of data, in order.
    ///
    /// # Errors
    /// [`FramingError::Body`] at the first byte that does not fit; data before it was passed on.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut on_data: impl FnMut(&[u8]),
    ) -> Result<usize, FramingError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let State::Data(left) = self.state {
                let here = left.min((bytes.len() - at) as u64);
                self.state = match left - here {
                    0 => State::DataCr,
                    rest => State::Data(rest),
                };
                let here = usize::try_from(here).map_err(|_| FramingError::Body)?;
                self.text_bytes = self.text_bytes.saturating_sub(here.saturating_mul(2));
                on_data(&bytes[at..at + here]);
                at += here;
            } else {
                self.state = self.after(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn after(&mut self, byte: u8) -> Result<State, FramingError> {
        use State as S;
        match (self.state, byte) {
            (S::Size(size, digits @ 0..16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(FramingError::Body)?;
                Ok(S::Size(size << 4 | u64::from(digit), digits + 1))
            }
            (S::Size(size, 1..), b'\r') => Ok(S::SizeLf(size)),
            (S::Size(size, 1..), _) => self.extension(size, Extension::Gap, byte),
            (S::Extension(size, at), _) => self.extension(size, at, byte),
            (S::SizeLf(0) | S::TrailerLf, b'\n') => Ok(S::LineStart),
            (S::SizeLf(size), b'\n') => Ok(S::Data(size)),
            (S::DataCr, b'\r') => Ok(S::DataLf),
            (S::DataLf, b'\n') => Ok(S::Size(0, 0)),
            (S::LineStart, b'\r') => Ok(S::EndLf),
            (S::LineStart | S::TrailerName | S::TrailerValue, _) => self.trailer(byte),
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

    fn extension(&mut self, size: u64, at: Extension, byte: u8) -> Result<State, FramingError> {
        self.count_text()?;
        match at.after(byte) {
            Some(next) => Ok(State::Extension(size, next)),
            None if byte == b'\r' && at.may_end() => Ok(State::SizeLf(size)),
            None => Err(FramingError::Body),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, FramingError> {
        self.count_text()?;
        match (self.state, byte) {
            (State::LineStart, _) if is_token_byte(byte) => {
                self.trailers += 1;
                self.name = TrailerName::default();
                self.name.push(byte);
                (self.trailers <= FIELDS_MAX).then_some(State::TrailerName)
            }
            (State::TrailerName, b':') => {
                (!self.name.is_forbidden()).then_some(State::TrailerValue)
            }
            (State::TrailerName, _) if is_token_byte(byte) => {
                self.name.push(byte);
                Some(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Some(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => Some(State::TrailerValue),
            _ => None,
        }
        .ok_or(FramingError::Body)
    }

    fn count_text(&mut self) -> Result<(), FramingError> {
        self.text_bytes += 1;
        if self.text_bytes <= CHUNK_TEXT_BYTES_MAX { Ok(()) } else { Err(FramingError::Body) }
    }
}

impl Extension {
    /// The place after this byte; `None` where the grammar has no such byte.
    fn after(self, byte: u8) -> Option<Self> {
        let is_space = matches!(byte, b' ' | b'\t');
        let is_token = is_token_byte(byte);
        match (self, byte) {
            (Self::Gap | Self::Name | Self::NameGap | Self::Token | Self::QuotedEnd, b';') => {
                Some(Self::Start)
            }
            (Self::Gap | Self::Token | Self::QuotedEnd, _) if is_space => Some(Self::Gap),
            (Self::Start | Self::Equals, _) if is_space => Some(self),
            (Self::Start | Self::Name, _) if is_token => Some(Self::Name),
            (Self::Name | Self::NameGap, b'=') => Some(Self::Equals),
            (Self::Name | Self::NameGap, _) if is_space => Some(Self::NameGap),
            (Self::Equals, b'"') => Some(Self::Quoted),
            (Self::Quoted, b'"') => Some(Self::QuotedEnd),
            (Self::Equals | Self::Token, _) if is_token => Some(Self::Token),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) if is_text(byte) => Some(Self::Quoted),
            _ => None,
        }
    }

    /// Returns whether the line may end here.
    const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::QuotedEnd)
    }
}

/// A byte of a field value or a quoted string: no control character but the tab.
const fn is_text(byte: u8) -> bool {
    !byte.is_ascii_control() || byte == b'\t'
}
