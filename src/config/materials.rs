//! The files a configuration names, each at its last good version.

use std::sync::Arc;

use crate::api_key::KeyRing;
use crate::jwt::KeySet;

/// Everything read from the files a [`crate::config::Dynamic`] names.
#[derive(Debug, Default)]
pub struct Materials {
    /// The key set of each issuer, in the order of the configuration.
    pub key_sets: Vec<Arc<KeySet>>,
    /// All API keys.
    pub key_ring: Arc<KeyRing>,
}
