use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::*;
use crate::decide::rate_limit::{LimitBy, LimitHeaders};

const START: Monotonic = Monotonic(3_600_000_000_000);

fn after(duration: Duration) -> Monotonic {
    Monotonic(START.0 + u64::try_from(duration.as_nanos()).unwrap())
}

fn table(entries: usize) -> LimitTable {
    LimitTable::new(entries, [1, 2])
}

fn policy(name: &str, rate: &str, burst: u32) -> Arc<LimitPolicy> {
    Arc::new(LimitPolicy {
        name: name.into(),
        index: 0,
        quota: Quota::parse(rate, NonZeroU32::new(burst)).unwrap(),
        by: LimitBy::Principal,
        headers: LimitHeaders::Always,
    })
}

fn charge(table: &LimitTable, policy: &Arc<LimitPolicy>, caller: &str) -> Charge {
    let key = table.key(&policy.name, &[caller.as_bytes()]);
    Charge { policy: Arc::clone(policy), quota: policy.quota, key }
}

/// Charges until refused; how often it passed.
fn drain(table: &LimitTable, charges: &[Charge], now: Monotonic) -> u32 {
    let passes = |_: &u32| all_allowed(&table.charge(charges, now));
    u32::try_from((0..10_000).take_while(passes).count()).unwrap()
}

#[test]
fn contract_limits_each_caller_has_a_burst_of_their_own() {
    let table = table(1);
    let policy = policy("per-caller", "100/s", 200);
    for caller in ["alice", "bob", ""] {
        assert_eq!(drain(&table, &[charge(&table, &policy, caller)], START), 200, "{caller}");
    }
    let alice = [charge(&table, &policy, "alice")];
    assert_eq!(drain(&table, &alice, after(Duration::from_millis(9))), 0);
    assert_eq!(drain(&table, &alice, after(Duration::from_millis(10))), 1);
    assert_eq!(drain(&table, &alice, after(Duration::from_secs(60))), 200);
}

#[test]
fn contract_limits_a_standing_says_what_is_left_and_when() {
    let table = table(1);
    let policy = policy("per-caller", "100/s", 200);
    let [standing] = &table.charge(&[charge(&table, &policy, "alice")], START)[..] else {
        panic!("one standing")
    };
    assert_eq!(standing.policy, policy);
    assert_eq!(standing.remaining, 199);
    assert_eq!(standing.reset_after, Duration::from_millis(10));
    assert_eq!(standing.retry_after, Duration::ZERO);
}

#[test]
fn contract_limits_all_are_charged_or_none() {
    let table = table(1);
    let (wide, narrow) = (policy("wide", "10/s", 10), policy("narrow", "2/s", 2));
    let both = [charge(&table, &wide, "alice"), charge(&table, &narrow, "alice")];
    assert_eq!(drain(&table, &both, START), 2);
    let refused = table.charge(&both, START);
    assert_eq!((refused[0].allowed, refused[0].remaining), (true, 8));
    assert_eq!((refused[1].allowed, refused[1].remaining), (false, 0));
    assert_eq!(refused[1].retry_after, Duration::from_millis(500));
    assert_eq!(drain(&table, &both[..1], START), 8, "what the narrow one refused cost nothing");

    let reversed = [both[1].clone(), both[0].clone()];
    let later = after(Duration::from_millis(500));
    assert_eq!(drain(&table, &both[..1], later), 5);
    assert_eq!(drain(&table, &reversed, later), 0);
    assert_eq!(drain(&table, &reversed[..1], later), 1, "the narrow one was not charged");
}

#[test]
fn contract_limits_a_caller_named_twice_is_charged_once() {
    let table = table(1);
    let policy = policy("per-caller", "10/s", 10);
    let twice = [charge(&table, &policy, "alice"), charge(&table, &policy, "alice")];
    let standings = table.charge(&twice, START);
    assert_eq!(standings[0], standings[1]);
    assert_eq!(standings[0].remaining, 9);
    assert_eq!(drain(&table, &twice, START), 9);
}

#[test]
fn contract_limits_no_limits_refuse_nobody() {
    assert!(table(1).charge(&[], START).is_empty());
}

#[test]
fn contract_explain_peeking_says_the_same_and_charges_nothing() {
    let table = table(1);
    let (wide, narrow) = (policy("wide", "10/s", 10), policy("narrow", "2/s", 2));
    let both = [charge(&table, &wide, "alice"), charge(&table, &narrow, "alice")];
    for _ in 0..4 {
        let peeked = table.peek(&both, START);
        assert_eq!(peeked, table.peek(&both, START));
        assert_eq!(peeked, table.charge(&both, START));
    }
    assert!(table.peek(&[charge(&table, &wide, "bob")], START)[0].allowed);
    assert_eq!(drain(&table, &[charge(&table, &wide, "bob")], START), 10);
}

#[test]
fn contract_reload_a_changed_quota_starts_afresh() {
    let table = table(1);
    let (slow, quick) = (policy("per-caller", "1/d", 100), policy("per-caller", "100/s", 100));
    assert_eq!(drain(&table, &[charge(&table, &slow, "alice")], START), 100);
    assert_eq!(drain(&table, &[charge(&table, &quick, "alice")], START), 100);
    let soon = after(Duration::from_millis(10));
    assert_eq!(drain(&table, &[charge(&table, &quick, "alice")], soon), 1);
    assert_eq!(drain(&table, &[charge(&table, &slow, "alice")], soon), 0, "nothing was forgiven");
}

#[test]
fn r706_parts_and_limits_are_kept_apart() {
    let table = table(1);
    let keys = [
        table.key("a", &[b"ab", b"c"]),
        table.key("a", &[b"a", b"bc"]),
        table.key("a", &[b"abc"]),
        table.key("a", &[b"abc", b""]),
        table.key("a", &[]),
        table.key("aa", &[b"b", b"c"]),
        table.key("", &[b"a", b"ab", b"c"]),
        LimitTable::new(1, [1, 3]).key("a", &[b"ab", b"c"]),
    ];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    assert_eq!(table.key("a", &[b"ab", b"c"]), keys[0]);
}

#[test]
fn r706_every_bit_of_a_callers_key_and_of_a_quota_counts() {
    let at = |key: u128, rate: &str, burst: u32| {
        let policy = policy("l", rate, burst);
        Charge { quota: policy.quota, key: LimitKey(key), policy }.slot_key()
    };
    for key in [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
        for bit in 0..128 {
            assert!(at(key, "1/s", 1) != at(key ^ (1 << bit), "1/s", 1), "{bit}");
        }
        assert!(at(key, "1/s", 1) != at(key, "1/s", 2) && at(key, "1/s", 1) != at(key, "2/s", 1));
    }
}

#[test]
fn r707_memory_is_bounded_under_a_flood_of_callers() {
    let table = table(1_024);
    let policy = policy("per-caller", "1/d", 10);
    for caller in 0..100_000_u32 {
        let key = table.key("per-caller", &[&caller.to_le_bytes()]);
        let charge = Charge { policy: Arc::clone(&policy), quota: policy.quota, key };
        assert!(table.charge(&[charge], START)[0].allowed);
    }
    assert_eq!(table.capacity(), 1_024);
    assert_eq!(table.len(), 1_024);
}

#[test]
fn r707_memory_is_taken_as_it_fills() {
    let table = table(1_000_000);
    assert_eq!(table.capacity(), 1 << 20);
    assert!(table.is_empty() && table.chunks.iter().all(|chunk| chunk.get().is_none()));
    let policy = policy("per-caller", "1/s", 1);
    table.charge(&[charge(&table, &policy, "alice")], START);
    assert_eq!(table.len(), 1);
    assert_eq!(table.chunks.iter().filter(|chunk| chunk.get().is_some()).count(), 1);
    assert_eq!(size_of::<Bucket>(), 16);
    assert_eq!(size_of::<Slot>() * WAYS, 256);
}

#[test]
fn r707_sizes_are_clamped() {
    assert_eq!(table(0).capacity(), 1_024);
    assert_eq!(table(1_025).capacity(), 2_048);
    assert_eq!(table(usize::MAX).capacity(), 67_108_864);
}

#[test]
fn r707_a_limited_caller_survives_a_flood_of_fresh_ones() {
    let table = table(1_024);
    let policy = policy("per-address", "1/s", 5);
    let attacker = [charge(&table, &policy, "attacker")];
    assert_eq!(drain(&table, &attacker, START), 5);
    for caller in 0..100_000_u32 {
        let flood = charge(&table, &policy, &format!("flood {caller}"));
        table.charge(&[flood], START);
    }
    assert_eq!(drain(&table, &attacker, START), 0, "the flood washed the debt away");
}

#[test]
fn a_full_allowance_makes_room_before_a_free_slot_does() {
    let table = table(1_024);
    let policy = policy("per-caller", "1000/s", 1);
    for caller in 0..50_000_u64 {
        let charge = charge(&table, &policy, &caller.to_string());
        table.charge(&[charge], Monotonic(START.0 + caller * 1_000_000));
    }
    assert!(
        table.len() <= 64,
        "one at a time needs at most a slot in each bucket: {}",
        table.len()
    );
}

#[test]
fn r708_a_clock_reading_that_goes_back_neither_resets_nor_freezes() {
    let table = table(1);
    let policy = policy("per-caller", "1/s", 3);
    let alice = [charge(&table, &policy, "alice")];
    let hour = Duration::from_secs(3_600);
    assert_eq!(drain(&table, &alice, after(hour)), 3);
    assert_eq!(drain(&table, &alice, START), 0);
    assert_eq!(drain(&table, &alice, after(hour)), 0);
    assert_eq!(drain(&table, &alice, after(hour + Duration::from_secs(1))), 1);
}

#[test]
fn the_seed_is_not_printed() {
    let table = LimitTable::new(1, [0x5eed_5eed, 0x5eed_5eed]);
    let shown = format!("{table:?}");
    assert_eq!(shown, "LimitTable { len: 0, capacity: 1024, .. }");
}

#[test]
fn r702_who_loses_a_race_gets_everything_back_and_stays_refused() {
    let table = table(1);
    let (wide, narrow) = (policy("wide", "10/s", 10), policy("narrow", "2/s", 2));
    let wide = charge(&table, &wide, "alice");
    let narrow = charge(&table, &narrow, "alice");
    let charges = [wide.clone(), wide.clone(), narrow.clone(), wide.clone()];
    for _ in 0..3 {
        table.charge(std::slice::from_ref(&wide), START);
    }
    let mut standings = table.inspect_all(&charges, START);
    assert!(all_allowed(&standings));
    // Another request takes the allowance that was just seen.
    assert_eq!(drain(&table, std::slice::from_ref(&narrow), START), 2);
    table.charge_each(&charges, &mut standings, START);
    let seen: Vec<_> = standings.iter().map(|s| (s.allowed, s.remaining)).collect();
    assert_eq!(seen, [(true, 7), (true, 7), (false, 0), (true, 7)]);
    assert_eq!(drain(&table, std::slice::from_ref(&wide), START), 7);
}

#[test]
fn a_refund_at_the_beginning_of_time_frees_no_slot() {
    let table = table(1);
    let policy = policy("per-caller", "1/s", 3);
    let alice = charge(&table, &policy, "alice");
    assert!(table.charge_one(&alice, Monotonic(0)).allowed);
    table.refund_one(&alice);
    assert_ne!(table.tat(&alice), 0);
    assert!(table.charge_one(&alice, Monotonic(0)).allowed);
    assert_eq!(table.len(), 1);
}

/// `threads` threads try `attempts` times each; how many passed.
fn race(table: &LimitTable, charges: &[Charge], threads: u32, attempts: u32) -> u32 {
    let admitted = AtomicU32::new(0);
    let start = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                for _ in 0..attempts {
                    if all_allowed(&table.charge(charges, START)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    admitted.into_inner()
}

#[test]
fn r702_many_threads_admit_exactly_the_burst() {
    let table = table(1);
    let policy = policy("per-caller", "1/d", 1_000);
    assert_eq!(race(&table, &[charge(&table, &policy, "alice")], 8, 1_000), 1_000);
}

#[test]
fn r702_many_threads_never_pass_the_narrowest_limit_and_cost_the_wide_one_nothing_else() {
    let table = table(1);
    let (wide, narrow) = (policy("wide", "1/d", 5_000), policy("narrow", "1/d", 1_000));
    let both = [charge(&table, &wide, "alice"), charge(&table, &narrow, "alice")];
    assert_eq!(race(&table, &both, 8, 1_000), 1_000);
    assert_eq!(drain(&table, &both[..1], START), 4_000);
}

#[test]
fn contract_limits_one_charge_alone_is_peeked_at_as_all_of_them_are() {
    let table = table(1);
    let policy = policy("per-caller", "1/h", 2);
    assert!(table.is_empty());
    for _ in 0..3 {
        let alice = charge(&table, &policy, "alice");
        let (alone, all) =
            (table.peek_one(&alice, START), table.peek(std::slice::from_ref(&alice), START));
        assert_eq!((alone.allowed, alone.remaining), (all[0].allowed, all[0].remaining));
        let _ = table.charge(&[alice], START);
    }
    assert!(!table.is_empty());
}
