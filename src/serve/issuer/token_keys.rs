//! The signing keys, as the endpoints use them.
//!
//! Owns the interface alone. Never makes, keeps or rotates a key.

use std::sync::Arc;

use bytes::Bytes;

use crate::decide::jwt::KeySet;
use crate::issue::signing_key::SigningKey;

/// The public parts of the next, the active and the retired keys.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// The JWK set.
    pub jwks: Bytes,
    /// The same keys, to verify with.
    pub verifying: Arc<KeySet>,
}

/// The keys of the issuer at this instant.
pub(crate) trait TokenKeys: Send + Sync + 'static {
    /// The key that signs; `None` if it was ended and the store takes no other.
    fn active(&self) -> Option<Arc<SigningKey>>;
    /// The keys that verify.
    fn published(&self) -> Arc<Published>;
}
