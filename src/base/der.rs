//! Reading DER (X.690), element by element.
//!
//! Owns [`Reader`]: definite, shortest lengths of at most 64 KiB, and nothing else. Never knows the
//! structure of what it reads.

/// Not the element that was expected, or not DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The bytes left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The tag of the next element; `None` at the end.
    pub(crate) fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (&found, rest) = self.0.split_first().ok_or(Malformed)?;
        let (&first, rest) = rest.split_first().ok_or(Malformed)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) =
                    rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
                let length = bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                let shortest = if first == 0x81 { 0x80 } else { 0x100 };
                if length < shortest {
                    return Err(Malformed);
                }
                (length, rest)
            }
            // Indefinite, or longer than 64 KiB: no key and no certificate is.
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        if found != tag {
            return Err(Malformed);
        }
        self.0 = rest;
        Ok(content)
    }

    /// The next element with its tag and length.
    pub(crate) fn element(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let before = self.0;
        self.take(tag)?;
        Ok(&before[..before.len() - self.0.len()])
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
