//! The verification keys of one issuer, found by key id.

use crate::jwt::Algorithm;

/// How the bytes of a key file are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileFormat {
    /// `keys: { file }`: a JWK set, one JWK, or PEM, told apart by their content.
    JwksOrPem,
    /// `keys: { secret_file }`: an HMAC secret, the bytes of the file less one final newline.
    Secret,
}

/// What is wrong with a key file, for the operator. Never quotes key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMistake {
    /// Line in the file, from 1, where it can be told.
    pub line: Option<u64>,
    /// Which member (`keys[2]`), or empty for the file as a whole.
    pub place: String,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// The keys of one issuer, each bound to exactly one algorithm.
#[derive(Debug, Default)]
pub struct KeySet {}

impl KeySet {
    /// Reads a local key file. In a local file every unusable member is a mistake.
    ///
    /// # Errors
    /// Every mistake in the file.
    pub fn parse(
        bytes: &[u8],
        format: KeyFileFormat,
        algorithms: &[Algorithm],
    ) -> Result<Self, Vec<KeyMistake>> {
        let _ = (bytes, format, algorithms);
        todo!("jwt helper")
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!("jwt helper")
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
