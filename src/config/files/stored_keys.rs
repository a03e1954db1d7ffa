//! Key files against the keys of the issuer's store: both form one ring.
//!
//! Owns the mistakes about a key that both have, by its id or by an equal SHA-256: it would have two
//! owners, and deleting one of them would leave the other. Never reads the store: what is live is in
//! memory.

use std::collections::HashSet;

use super::in_key_file;
use crate::config::language::mistake::Mistake;
use crate::config::language::report::MISTAKES_MAX;
use crate::config::model::FileReference;
use crate::decide::api_key::KeySegment;
use crate::decide::api_key::segment::KeyView;
use crate::decide::live::LiveSet;
use crate::issue::credential::IdKind;

/// The keys of a file that the store has as well, as mistakes; at most [`MISTAKES_MAX`].
pub(super) fn twins(file: &FileReference, keys: &KeySegment, stored: &LiveSet) -> Vec<Mistake> {
    if stored.has_no_credentials() {
        return Vec::new();
    }
    // An id of another form is none of the store: the others are few.
    let is_generated = |id: &str| {
        [IdKind::ApiKey, IdKind::PersonalAccessToken].iter().any(|kind| kind.is_form_of(id))
    };
    let ids: HashSet<_> = keys.keys().map(KeyView::id).filter(|id| is_generated(id)).collect();
    let taken: HashSet<_> = if ids.is_empty() {
        HashSet::new()
    } else {
        stored.ids().filter(|id| ids.contains(id)).collect()
    };
    let twin = |key: KeyView<'_>| {
        let id = key.id();
        if taken.contains(id) {
            return Some(in_key_file(
                file,
                key,
                format!(
                    "key {id:?} has the id of a key in the store of the issuer: give it another id"
                ),
            ));
        }
        let other = stored.id_of(key.sha256()?)?;
        let message = format!(
            "key {id:?} has the digest of key {other:?} in the store of the issuer, live or deleted: \
             remove it here, or give its owner a new key"
        );
        Some(in_key_file(file, key, message))
    };
    keys.keys().filter_map(twin).take(MISTAKES_MAX).collect()
}
