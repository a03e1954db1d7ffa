//! What is stored instead of a key: `sha256:<hex>` or `hmac-sha256:<pepper>:<hex>`.

/// The digest of a whole key text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// `sha256:<hex>`.
    Sha256([u8; 32]),
    /// `hmac-sha256:<pepper>:<hex>`, keyed with the named pepper.
    HmacSha256 {
        /// The pepper's name in `api_keys.peppers`.
        pepper: Box<str>,
        /// The tag.
        tag: [u8; 32],
    },
}
