//! Keys of tokens that are unknown and new: a rotation, until the issuer's keys were refreshed.
//!
//! Owns since when each unknown `kid` is presented. Tokens of a key that the issuer has just begun
//! to sign with are honest, and cost no signature work. Bounded, so that invented names are counted
//! as guesses again after a few. Never decides whether a token is accepted.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::base::clock::Monotonic;

/// The time for which an unknown key is new: a refresh is asked for at most once in 30 s and takes at most
/// 30 s.
const WINDOW: Duration = Duration::from_secs(60);
/// New keys at a time, of all issuers together; more are invented.
const NEW_MAX: usize = 256;

/// Shared by every snapshot. Names are kept as hashes under a random key.
#[derive(Debug, Default)]
pub struct NewKeys {
    since: Mutex<HashMap<u64, Monotonic>>,
    hasher: RandomState,
}

impl NewKeys {
    /// Returns whether a token of this unknown key may be the first one after a rotation.
    pub(super) fn is_new(&self, issuer: &str, kid: &str, now: Monotonic) -> bool {
        let is_young =
            |since: Monotonic| Duration::from_nanos(now.0.saturating_sub(since.0)) < WINDOW;
        let name = self.hasher.hash_one((issuer, kid));
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since.get(&name) {
            return is_young(*since);
        }
        if since.len() >= NEW_MAX {
            since.retain(|_, since| is_young(*since));
        }
        let has_room = since.len() < NEW_MAX;
        if has_room {
            since.insert(name, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn contract_failed_credentials_a_key_is_new_for_a_refresh_and_then_a_guess() {
        let keys = NewKeys::default();
        assert!((10..70).all(|second| keys.is_new("corp", "k", at(second))));
        assert!(!keys.is_new("corp", "k", at(70)));
        assert!(!keys.is_new("corp", "k", at(7000)), "still unknown, long after");
        assert!(keys.is_new("other", "k", at(70)), "of another issuer");
    }

    #[test]
    fn r1005_more_new_keys_than_any_rotation_brings_are_guesses() {
        let keys = NewKeys::default();
        let new = (0..1000).filter(|kid| keys.is_new("corp", &kid.to_string(), at(1)));
        assert_eq!(new.count(), NEW_MAX);
        assert!(keys.is_new("corp", "0", at(60)), "the first ones stay new");
        assert!(keys.is_new("corp", "late", at(61)), "and make room when they are old");
    }
}
