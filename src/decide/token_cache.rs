//! The caches of verified tokens and of tokens that failed recently.
//!
//! Owns look-up and memory bounds of both. A hit saves the signature check and the parsing of the
//! claims, and nothing else: the gate checks epoch, dates, audience, revocation and the route's
//! requirements each time. An attacker would want one token to be taken for another: a
//! token is found only by all of its bytes. Bad tokens have a small cache of their
//! own, so that a flood of them evicts no good one. Never keeps a token that was not
//! verified, and shows none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};

use crate::base::clock::Monotonic;
use crate::decide::jwt::{Epoch, JwtError, VerifiedToken};

/// The size of a verified token besides three times its text and that of the issuer's answer:
/// principal, header values, claims.
const ENTRY_BYTES: u64 = 1024;
/// The size of a token with few claims; an estimate for sizing the table, not a bound.
const USUAL_BYTES: u64 = 3 * 700 + ENTRY_BYTES;
/// Capacity for bad tokens: enough for clients that repeat one in a loop.
const BAD_MAX: usize = 4096;
/// Lifetime of bad tokens. Their keys may be fetched meanwhile.
const BAD_FOR: Duration = Duration::from_secs(5);
/// Longer tokens are not cached as bad ones.
const BAD_BYTES_MAX: usize = 2048;

/// Shared by every snapshot. `benches/token_cache.rs` has the comparison with other caches.
pub struct TokenCache {
    good: Option<Cache<Box<str>, VerifiedToken, Weigh, RandomState>>,
    bad: Cache<Box<str>, Bad, UnitWeighter, RandomState>,
}

/// The approximate size of an entry.
#[derive(Clone)]
struct Weigh;

impl Weighter<Box<str>, VerifiedToken> for Weigh {
    fn weight(&self, token: &Box<str>, verified: &VerifiedToken) -> u64 {
        3 * (token.len() + verified.answer_bytes()) as u64 + ENTRY_BYTES
    }
}

/// A token with an invalid signature, or one that its issuer does not know.
#[derive(Clone)]
struct Bad {
    error: JwtError,
    /// The issuer that was asked. The entry does not apply where another issuer would be asked.
    asked: Option<Arc<str>>,
    /// The issuers at that time.
    epoch: Epoch,
    since: Monotonic,
}

impl TokenCache {
    /// Takes about `bytes` for verified tokens at most; 0 disables the cache.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        let good = || {
            Cache::with(usual, bytes, Weigh, RandomState::default(), DefaultLifecycle::default())
        };
        let bad = if bytes == 0 { 0 } else { BAD_MAX };
        Self {
            good: (bytes > 0).then(good),
            bad: Cache::with(
                bad,
                bad as u64,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    /// A token that was verified before. The caller must call
    /// [`Issuers::recheck`](crate::decide::jwt::Issuers::recheck).
    pub(crate) fn find(&self, token: &str) -> Option<VerifiedToken> {
        self.good.as_ref()?.get(token)
    }

    /// Keeps a verified token.
    pub(crate) fn keep(&self, token: &str, verified: &VerifiedToken) {
        if let Some(good) = &self.good {
            good.insert(token.into(), verified.clone());
        }
    }

    /// Removes a token: its issuer's answer has changed.
    pub(crate) fn forget(&self, token: &str) {
        if let Some(good) = &self.good {
            good.remove(token);
        }
    }

    /// The error of a recent refusal of this token, under the same issuers and with the same issuer
    /// asked, if any.
    pub(crate) fn find_bad(
        &self,
        token: &str,
        asked: Option<&Arc<str>>,
        epoch: Epoch,
        now: Monotonic,
    ) -> Option<JwtError> {
        let age = |since: Monotonic| Duration::from_nanos(now.0.saturating_sub(since.0));
        let bad = self.bad.get(token)?;
        let is_same = bad.epoch == epoch && bad.asked.as_ref() == asked;
        (is_same && age(bad.since) < BAD_FOR).then_some(bad.error)
    }

    /// Caches a bad token, if the check was expensive. `asked` is the issuer whose answer it was;
    /// `None` where its keys decided.
    pub(crate) fn keep_bad(
        &self,
        token: &str,
        error: &JwtError,
        asked: Option<&Arc<str>>,
        epoch: Epoch,
        now: Monotonic,
    ) {
        let is_expensive = matches!(error, JwtError::SignatureBad | JwtError::Inactive);
        if is_expensive && token.len() <= BAD_BYTES_MAX {
            let bad = Bad { error: error.clone(), asked: asked.cloned(), epoch, since: now };
            self.bad.insert(token.into(), bad);
        }
    }

    /// The approximate number of verified tokens.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.good.as_ref().map_or(0, Cache::len)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.entries()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(1 << 40);

    fn bad() -> JwtError {
        JwtError::SignatureBad
    }

    fn token(at: usize) -> String {
        format!("e30.{at:0700}.AA")
    }

    #[test]
    fn r801_an_entry_is_found_by_all_of_its_token() {
        let cache = TokenCache::new(1 << 20);
        let epoch = Epoch::default();
        cache.keep_bad(&token(1), &bad(), None, epoch, NOW);
        assert_eq!(cache.find_bad(&token(1), None, epoch, NOW), Some(bad()));
        assert_eq!(cache.find_bad(&token(1), Some(&"i".into()), epoch, NOW), None);
        for other in [&token(1)[1..], &token(1)[..703], &format!("{}A", token(1)), ""] {
            assert_eq!(cache.find_bad(other, None, epoch, NOW), None, "{other}");
        }
        // What costs nothing to find out is not kept, nor is what is too long.
        cache.keep_bad("e30", &JwtError::Malformed("short"), None, epoch, NOW);
        cache.keep_bad(&"A".repeat(BAD_BYTES_MAX + 1), &bad(), None, epoch, NOW);
        assert_eq!(cache.bad.len(), 1);
    }

    #[test]
    fn a_cache_counts_the_good_tokens_it_keeps_and_without_room_keeps_none() {
        let (cache, none) = (TokenCache::new(1 << 20), TokenCache::new(0));
        for at in 0..3 {
            let (text, verified) = crate::decide::jwt::fuzz::verified(at);
            assert_eq!((cache.entries(), none.entries()), (at, 0));
            cache.keep(&text, &verified);
            none.keep(&text, &verified);
            assert!(cache.find(&text).is_some() && none.find(&text).is_none());
        }
        none.keep_bad(&token(1), &bad(), None, Epoch::default(), NOW);
        assert_eq!((none.entries(), none.bad.len()), (0, 0));
    }

    #[test]
    fn r806_bad_tokens_push_no_good_one_out_and_are_bounded() {
        let cache = TokenCache::new(1 << 20);
        let good = |at| crate::decide::jwt::fuzz::verified(at);
        for at in 0..50 {
            let (text, verified) = good(at);
            cache.keep(&text, &verified);
        }
        for at in 0..200_000 {
            cache.keep_bad(&token(at), &bad(), None, Epoch::default(), NOW);
        }
        assert!(cache.bad.len() <= BAD_MAX, "{}", cache.bad.len());
        assert!((0..50).all(|at| cache.find(&good(at).0).is_some()));
        // Good ones are bounded by what they weigh.
        for at in 0..5_000 {
            let (text, verified) = good(at);
            cache.keep(&text, &verified);
        }
        let weight = cache.good.as_ref().map_or(0, Cache::weight);
        assert!(cache.entries() < 5_000 && weight <= 1 << 20, "{} {weight}", cache.entries());
    }

    #[test]
    fn r808_two_hundred_thousand_pairs_that_differ_in_one_byte() {
        let cache = TokenCache::new(1 << 20);
        let epoch = Epoch::default();
        for at in 0..200_000 {
            let one = token(at);
            let mut other = one.clone().into_bytes();
            other[4 + at % 699] ^= 1;
            let other = String::from_utf8(other).unwrap();
            cache.keep_bad(&one, &bad(), None, epoch, Monotonic(at as u64));
            let found = cache.bad.get(&*other);
            assert!(found.is_none_or(|found| found.since.0 != at as u64), "{at}");
        }
    }
}
