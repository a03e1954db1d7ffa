//! SHA-256 (FIPS 180-4).
//!
//! Owns the conversion of the library's digests to arrays. Never compares: secrets are compared in
//! constant time by the code that holds them.

use aws_lc_rs::digest::{self, Context};

/// The bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 32;

/// The digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    to_array(&digest::digest(&digest::SHA256, bytes))
}

/// A digest over input that arrives in pieces.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "its state is as secret as its input")]
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Appends a piece of the input.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> [u8; DIGEST_BYTES] {
        to_array(&self.0.finish())
    }
}

fn to_array(digest: &digest::Digest) -> [u8; DIGEST_BYTES] {
    digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, one block: "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn at_once_and_in_pieces_it_is_the_published_digest() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(sha256(b"abc")), ABC);
        let mut pieces = Sha256::default();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(hex(pieces.finish()), ABC);
    }
}
