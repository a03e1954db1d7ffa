//! The bounded table of rate limit state.
//!
//! Owns the memory of all limits: a fixed number of buckets of `WAYS` callers each, found by a
//! keyed hash. It never grows past its size: a full bucket forgets the caller whose
//! allowance is closest to full. Buckets are allocated on first use, so an idle process stays
//! small.
//!
//! An attacker would look for two callers that share a slot, to spend the allowance of another
//! caller, or for a way to make the table forget them. Never stores a subject, an address or a key
//! id; never reads the clock.

use std::fmt;
use std::hash::Hasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::base::clock::Monotonic;
use crate::decide::rate_limit::gcra::{self, Outcome};
use crate::decide::rate_limit::{LimitPolicy, Quota, Standing};

/// Callers per bucket. Four cache lines are searched at once, and with sixteen to choose from
/// there is nearly always one whose allowance is full.
const WAYS: usize = 16;

/// Buckets that are allocated together: a chunk of empty ones takes one KiB.
const CHUNK: usize = 64;

/// The most callers of a table: one GiB when full.
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

/// Rate limit state by caller: bounded, shared by all threads, kept over reloads.
pub struct LimitTable {
    chunks: Box<[OnceLock<Chunk>]>,
    seed: [u64; 2],
    taken: AtomicUsize,
}

type Chunk = Box<[Bucket; CHUNK]>;

/// The state of a caller; free while `tat` is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u64,
    tat: u64,
}

/// The slots of one bucket, allocated for the first caller that falls into it.
#[derive(Default)]
struct Bucket(Mutex<Option<Box<[Slot; WAYS]>>>);

/// The key of a slot: the half of the caller's hash that selects a bucket, and the other half,
/// which is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SlotKey {
    bucket: u64,
    tag: u64,
}

impl LimitTable {
    /// A table for at most `entries` callers, rounded up to a power of two from 1024 to 67108864;
    /// memory grows with use, up to 17 bytes for each. `seed` keys the hash, so that buckets cannot
    /// be targeted.
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

    /// Charges all or none: if every limit admits the request, each is charged once; otherwise none
    /// is. Returns the state of the caller under each, in order; the request passes when all are
    /// `allowed`.
    ///
    /// A caller that occurs twice under the same quota is charged once. Callers with different
    /// quotas are counted separately even under one key, so that a quota changed by a reload starts
    /// from zero, and the debt of one quota is never applied to another.
    pub fn charge(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        // One limit needs no look ahead: its lock alone makes the charge all or nothing.
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

    /// The result of [`Self::charge`], charging nothing.
    pub(crate) fn peek(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let standings = self.inspect_all(charges, now);
        if !all_allowed(&standings) {
            return standings;
        }
        let charged =
            |charge: &Charge| charge.standing(gcra::charge(self.tat(charge), now.0, &charge.quota));
        charges.iter().map(charged).collect()
    }

    /// The result of [`Self::peek`] for one charge alone.
    pub(crate) fn peek_one(&self, charge: &Charge, now: Monotonic) -> Standing {
        let inspected = charge.standing(gcra::inspect(self.tat(charge), now.0, &charge.quota));
        if !inspected.allowed {
            return inspected;
        }
        charge.standing(gcra::charge(self.tat(charge), now.0, &charge.quota))
    }

    /// The number of callers in the table. Callers whose allowance is full again count until
    /// another caller takes the slot.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Returns whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most callers that the table holds.
    #[must_use]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK * WAYS
    }
}

/// Charging. Each charge takes one lock for a few nanoseconds, and never two.
impl LimitTable {
    fn inspect_all(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let inspect = |charge: &Charge| gcra::inspect(self.tat(charge), now.0, &charge.quota);
        charges.iter().map(|charge| charge.standing(inspect(charge))).collect()
    }

    /// Charges one after the other. Another request may have been faster since `standings` were
    /// looked up: then the charges so far are refunded.
    fn charge_each(&self, charges: &[Charge], standings: &mut [Standing], now: Monotonic) {
        for (index, charge) in charges.iter().enumerate() {
            if let Some(same) = earlier(charges, index) {
                standings[index] = charge.standing_like(&standings[same]);
                continue;
            }
            let decision = self.charge_one(charge, now);
            standings[index] = charge.standing(decision);
            if !decision.allowed {
                // This one remains refused, even if an allowance was returned meanwhile.
                self.refund_all(&charges[..index], standings, now);
                return;
            }
        }
    }

    fn charge_one(&self, charge: &Charge, now: Monotonic) -> Outcome {
        let slot_key = charge.slot_key();
        let mut bucket = self.bucket(slot_key).lock();
        let tat = bucket.as_deref().map_or(0, |slots| find(slots, slot_key));
        let decision = gcra::charge(tat, now.0, &charge.quota);
        if decision.allowed {
            let slots = bucket.get_or_insert_default();
            if remember(slots, Slot { tag: slot_key.tag, tat: decision.tat }, now.0) {
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
        let slot_key = charge.slot_key();
        let mut bucket = self.bucket(slot_key).lock();
        let slot = bucket
            .as_deref_mut()
            .and_then(|slots| slots.iter_mut().find(|slot| slot.holds(slot_key)));
        if let Some(slot) = slot {
            // A slot in use never reads as free.
            slot.tat = gcra::refund(slot.tat, &charge.quota).max(1);
        }
    }

    /// The theoretical arrival time of a caller; 0 when it is not remembered.
    fn tat(&self, charge: &Charge) -> u64 {
        let slot_key = charge.slot_key();
        self.bucket(slot_key).lock().as_deref().map_or(0, |slots| find(slots, slot_key))
    }

    fn bucket(&self, slot_key: SlotKey) -> &Bucket {
        // The number of buckets is a power of two, so this is the low bits of the hash.
        let buckets = (self.chunks.len() * CHUNK) as u64;
        let index = (slot_key.bucket & (buckets - 1)) as usize;
        let chunk = self.chunks[index / CHUNK]
            .get_or_init(|| Box::new(std::array::from_fn(|_| Bucket::default())));
        &chunk[index % CHUNK]
    }
}

impl Bucket {
    fn lock(&self) -> MutexGuard<'_, Option<Box<[Slot; WAYS]>>> {
        // Slots are plain numbers: a panic cannot leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds(&self, slot_key: SlotKey) -> bool {
        self.tag == slot_key.tag && self.tat != 0
    }
}

fn find(slots: &[Slot; WAYS], slot_key: SlotKey) -> u64 {
    slots.iter().find(|slot| slot.holds(slot_key)).map_or(0, |slot| slot.tat)
}

/// Stores a caller: in its own slot, else in the slot with the least loss. Returns whether a free
/// slot was taken.
fn remember(slots: &mut [Slot; WAYS], caller: Slot, now: u64) -> bool {
    let itself = slots.iter().position(|slot| slot.tag == caller.tag && slot.tat != 0);
    let least = || (0..WAYS).min_by_key(|index| loss(slots[*index], now)).unwrap_or(0);
    let index = itself.unwrap_or_else(least);
    let was_free = slots[index].tat == 0;
    slots[index] = caller;
    was_free
}

/// Time until a caller's allowance is full: the loss of evicting it. Evicting a caller with a full
/// allowance loses nothing, nor does taking a free slot; free slots come last, so full ones are
/// reused first. A limited caller is not evicted before an unlimited one.
fn loss(slot: Slot, now: u64) -> u64 {
    slot.tat.saturating_sub(now)
}

fn all_allowed(standings: &[Standing]) -> bool {
    standings.iter().all(|standing| standing.allowed)
}

/// The first charge before this one that goes to the same slot_key.
fn earlier(charges: &[Charge], index: usize) -> Option<usize> {
    let slot_key = charges[index].slot_key();
    charges[..index].iter().position(|charge| charge.slot_key() == slot_key)
}

impl Charge {
    /// The slot key of the caller under exactly this quota. The quota is mixed into the tag by two
    /// odd multipliers; only the operator chooses quotas, and the key itself is a keyed hash.
    fn slot_key(&self) -> SlotKey {
        let quota = self.quota.per_request_ns.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ u64::from(self.quota.burst.get()).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let [bucket, tag] = [self.key.0 as u64, (self.key.0 >> 64) as u64];
        SlotKey { bucket, tag: tag ^ quota }
    }

    fn standing(&self, decision: Outcome) -> Standing {
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

/// Without the seed: knowing it, an attacker could target the slots of other callers.
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
