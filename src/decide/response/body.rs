//! Where the body of a response ends.
//!
//! Owns the position within it. Bytes behind the end belong to no answer: the connection they came
//! on is never used again. Never keeps or changes a byte.

use crate::decide::request::framing::{Chunks, FramingError};
use crate::decide::response::head::Framing;

/// The body of a response, as far as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// This many bytes are still to come.
    Known(u64),
    /// The last chunk ends it.
    Chunked(Chunks),
    /// The end of the connection ends it.
    UntilClose,
}

impl From<Framing> for ResponseBody {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Known(0),
            Framing::Known(length) => Self::Known(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

impl ResponseBody {
    /// Returns whether nothing more belongs to it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Known(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Returns whether it may end with the connection, here.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.is_done() || *self == Self::UntilClose
    }

    /// Goes on with what has arrived; calls `on_data` with its content, without chunk framing.
    /// Returns how many bytes of it belong to the body.
    ///
    /// # Errors
    /// [`FramingError::Body`] where a chunk is malformed.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut on_data: impl FnMut(&[u8]),
    ) -> Result<usize, FramingError> {
        match self {
            Self::Known(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                on_data(&bytes[..here]);
                Ok(here)
            }
            Self::Chunked(chunks) => chunks.decode(bytes, on_data),
            Self::UntilClose => {
                on_data(bytes);
                Ok(bytes.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r406_what_follows_a_body_does_not_belong_to_it() {
        for (framing, bytes, end, content) in [
            (Framing::None, "HTTP", 0, ""),
            (Framing::Known(3), "abcHTTP", 3, "abc"),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nHTTP", 13, "abc"),
        ] {
            for cut in 0..=bytes.len() {
                let (mut body, mut data) = (ResponseBody::from(framing), Vec::new());
                let mut took = 0;
                for part in [&bytes[..cut], &bytes[cut..]] {
                    let decoded =
                        body.decode(part.as_bytes(), |run| data.extend_from_slice(run)).unwrap();
                    took += decoded;
                    if decoded < part.len() {
                        break;
                    }
                }
                assert!(body.is_done() && body.may_end());
                assert!(took <= end, "{framing:?} cut at {cut}");
                assert_eq!(data, content.as_bytes(), "{framing:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn r406_only_a_body_without_a_length_may_end_with_the_connection() {
        assert!(ResponseBody::from(Framing::UntilClose).may_end());
        assert!(!ResponseBody::from(Framing::Known(1)).may_end());
        assert!(!ResponseBody::from(Framing::Chunked).may_end());
        let mut body = ResponseBody::from(Framing::Chunked);
        assert_eq!(body.decode(b"1\r\nab", |_| {}), Err(FramingError::Body));
    }
}
