//! The bounded table of who used how much.
//!
//! Owns the memory of all limits: a fixed number of buckets of `WAYS` callers each, found by a
//! keyed hash. Whatever callers send, it never grows past its size: a full bucket forgets
//! whoever is nearest to a full allowance. Buckets are made when first used, so an idle process
//! stays small.
//!
//! An attacker would look for two callers that share a slot, to spend somebody else's allowance,
//! or for a way to make the table forget them. Never keeps a subject, an address or a key id;
//! never reads the clock.

use std::fmt;
use std::hash::Hasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::base::clock::Monotonic;
use crate::decide::rate_limit::gcra::{self, Decision};
use crate::decide::rate_limit::{LimitPolicy, Quota, Standing};

/// Callers per bucket. Four cache lines are searched at once, and with sixteen to choose from
/// there is nearly always one whose allowance is full.
const WAYS: usize = 16;

/// Buckets that are made together: a chunk of empty ones takes one KiB.
const CHUNK: usize = 64;

/// The most callers a table is made for: one GiB when full.
const ENTRIES_MAX: usize = 1 << 26;

/// A caller under a limit, as a keyed 128-bit hash: no subject, address or key id is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey(pub u128);

/// One request to be charged to one caller under one limit.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The limit.
    pub policy: Arc<LimitPolicy>,
    /// The quota to apply: the policy's, or a key's own.
    pub quota: Quota,
    /// The caller.
    pub key: LimitKey,
}

/// Who used how much: bounded, shared by all threads, kept over reloads.
pub struct LimitTable {
    chunks: Box<[OnceLock<Chunk>]>,
    seed: [u64; 2],
    taken: AtomicUsize,
}

type Chunk = Box<[Bucket; CHUNK]>;

/// A caller's place, or a free one while `tat` is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u64,
    tat: u64,
}

/// The slots of one bucket, made when the first caller falls into it.
#[derive(Default)]
struct Bucket(Mutex<Option<Box<[Slot; WAYS]>>>);

/// Where a caller's slot is: the half of its hash that picks a bucket, and the other half, which
/// is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    bucket: u64,
    tag: u64,
}

impl LimitTable {
    /// A table for at most `entries` callers, rounded up to a power of two from 1024 to
    /// 67108864; memory is taken as it fills, up to 17 bytes for each.
    /// `seed` keys the hash, so that nobody can aim at a bucket.
    #[must_use]
    pub fn new(entries: usize, seed: [u64; 2]) -> Self {
        let slots = entries.clamp(CHUNK * WAYS, ENTRIES_MAX).next_power_of_two();
        let chunks = (0..slots / (CHUNK * WAYS)).map(|_| OnceLock::new()).collect();
        Self { chunks, seed, taken: AtomicUsize::new(0) }
    }

    /// The key of a caller: `parts` (for example issuer and subject) under the limit of that name.
    /// Parts are kept apart: `["ab", "c"]` and `["a", "bc"]` are two callers.
    #[must_use]
    pub fn key(&self, limit: &str, parts: &[&[u8]]) -> LimitKey {
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        for part in std::iter::once(limit.as_bytes()).chain(parts.iter().copied()) {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        LimitKey(hasher.finish128().as_u128())
    }

    /// Charges all or none: if every limit lets the request through, each is charged once;
    /// otherwise none is. Returns where the caller stands with each, in order; the request passes
    /// when all are `allowed`.
    ///
    /// A caller that is named twice under the same quota is charged once. Callers with different
    /// quotas are counted apart even under one key, so a quota that a reload changed starts
    /// afresh, and no quota's debt is read with the measure of another.
    pub fn charge(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        // One limit needs no look ahead: its own lock makes it all or nothing.
        if let [only] = charges {
            return vec![only.standing(self.charge_one(only, now))];
        }
        let mut standings = self.inspect_all(charges, now);
        if !all_allowed(&standings) {
            return standings;
        }
        self.charge_each(charges, &mut standings, now);
        standings
    }

    /// What [`Self::charge`] would say, charging nothing.
    pub fn peek(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let standings = self.inspect_all(charges, now);
        if !all_allowed(&standings) {
            return standings;
        }
        let charged =
            |charge: &Charge| charge.standing(gcra::charge(self.tat(charge), now.0, &charge.quota));
        charges.iter().map(charged).collect()
    }

    /// What [`Self::peek`] would say of one charge alone.
    pub fn peek_one(&self, charge: &Charge, now: Monotonic) -> Standing {
        let inspected = charge.standing(gcra::inspect(self.tat(charge), now.0, &charge.quota));
        if !inspected.allowed {
            return inspected;
        }
        charge.standing(gcra::charge(self.tat(charge), now.0, &charge.quota))
    }

    /// Callers remembered now. Whose allowance came back in full stays counted until somebody
    /// else needs the place.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most callers that can be remembered.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK * WAYS
    }
}

/// Where the charges of one request go. Each takes one lock for a few nanoseconds, and never two.
impl LimitTable {
    fn inspect_all(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let inspect = |charge: &Charge| gcra::inspect(self.tat(charge), now.0, &charge.quota);
        charges.iter().map(|charge| charge.standing(inspect(charge))).collect()
    }

    /// Charges one after the other, though somebody else may have been faster since `standings`
    /// was looked up: then what was taken is given back.
    fn charge_each(&self, charges: &[Charge], standings: &mut [Standing], now: Monotonic) {
        for (index, charge) in charges.iter().enumerate() {
            if let Some(same) = earlier(charges, index) {
                standings[index] = charge.standing_like(&standings[same]);
                continue;
            }
            let decision = self.charge_one(charge, now);
            standings[index] = charge.standing(decision);
            if !decision.allowed {
                // This one stays refused, whatever has been given back meanwhile.
                self.refund_all(&charges[..index], standings, now);
                return;
            }
        }
    }

    fn charge_one(&self, charge: &Charge, now: Monotonic) -> Decision {
        let place = charge.place();
        let mut bucket = self.bucket(place).lock();
        let tat = bucket.as_deref().map_or(0, |slots| find(slots, place));
        let decision = gcra::charge(tat, now.0, &charge.quota);
        if decision.allowed {
            let slots = bucket.get_or_insert_default();
            if remember(slots, Slot { tag: place.tag, tat: decision.tat }, now.0) {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
        }
        decision
    }

    fn refund_all(&self, charges: &[Charge], standings: &mut [Standing], now: Monotonic) {
        for (index, charge) in charges.iter().enumerate() {
            if earlier(charges, index).is_none() {
                self.refund_one(charge);
            }
            let decision = gcra::inspect(self.tat(charge), now.0, &charge.quota);
            standings[index] = charge.standing(decision);
        }
    }

    fn refund_one(&self, charge: &Charge) {
        let place = charge.place();
        let mut bucket = self.bucket(place).lock();
        let slot =
            bucket.as_deref_mut().and_then(|slots| slots.iter_mut().find(|slot| slot.holds(place)));
        if let Some(slot) = slot {
            // A slot that is in use never reads as free.
            slot.tat = gcra::refund(slot.tat, &charge.quota).max(1);
        }
    }

    /// The theoretical arrival time of a caller; 0 when it is not remembered.
    fn tat(&self, charge: &Charge) -> u64 {
        let place = charge.place();
        self.bucket(place).lock().as_deref().map_or(0, |slots| find(slots, place))
    }

    fn bucket(&self, place: Place) -> &Bucket {
        // The number of buckets is a power of two, so this is the low bits of the hash.
        let buckets = (self.chunks.len() * CHUNK) as u64;
        let index = (place.bucket & (buckets - 1)) as usize;
        let chunk = self.chunks[index / CHUNK]
            .get_or_init(|| Box::new(std::array::from_fn(|_| Bucket::default())));
        &chunk[index % CHUNK]
    }
}

impl Bucket {
    fn lock(&self) -> MutexGuard<'_, Option<Box<[Slot; WAYS]>>> {
        // Slots are plain numbers: they are whole whenever a panic could have come.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds(&self, place: Place) -> bool {
        self.tag == place.tag && self.tat != 0
    }
}

fn find(slots: &[Slot; WAYS], place: Place) -> u64 {
    slots.iter().find(|slot| slot.holds(place)).map_or(0, |slot| slot.tat)
}

/// Writes a caller down: over itself, else over whom we lose least by forgetting. Says whether a
/// free slot was taken.
fn remember(slots: &mut [Slot; WAYS], caller: Slot, now: u64) -> bool {
    let itself = slots.iter().position(|slot| slot.tag == caller.tag && slot.tat != 0);
    let least = || (0..WAYS).min_by_key(|index| loss(slots[*index], now)).unwrap_or(0);
    let index = itself.unwrap_or_else(least);
    let was_free = slots[index].tat == 0;
    slots[index] = caller;
    was_free
}

/// How long until a caller's allowance is full: what is lost with its slot. Nothing is lost with
/// whoever has a full one, nor with a free slot; those come last, so the full ones are used up
/// first. Whoever is limited is not forgotten before somebody who is not.
fn loss(slot: Slot, now: u64) -> u64 {
    slot.tat.saturating_sub(now)
}

fn all_allowed(standings: &[Standing]) -> bool {
    standings.iter().all(|standing| standing.allowed)
}

/// The first charge before this one that goes to the same place.
fn earlier(charges: &[Charge], index: usize) -> Option<usize> {
    let place = charges[index].place();
    charges[..index].iter().position(|charge| charge.place() == place)
}

impl Charge {
    /// The caller's place under this very quota. The quota is mixed into the tag by two odd
    /// multipliers; only the operator chooses quotas, and the key itself is a keyed hash.
    fn place(&self) -> Place {
        let quota = self.quota.per_request_ns.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ u64::from(self.quota.burst.get()).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let [bucket, tag] = [self.key.0 as u64, (self.key.0 >> 64) as u64];
        Place { bucket, tag: tag ^ quota }
    }

    fn standing(&self, decision: Decision) -> Standing {
        Standing {
            policy: Arc::clone(&self.policy),
            quota: self.quota,
            remaining: decision.remaining,
            reset_after: decision.reset_after,
            retry_after: decision.retry_after,
            allowed: decision.allowed,
        }
    }

    fn standing_like(&self, other: &Standing) -> Standing {
        Standing { policy: Arc::clone(&self.policy), ..other.clone() }
    }
}

/// The seed stays out: with it, callers could be aimed at one another.
impl fmt::Debug for LimitTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitTable")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
