//! What remembers verified tokens best: moka alone, moka behind a small table for each thread, or
//! quick_cache; and whether tokens are compared by all their bytes or by a 256-bit keyed hash.
//!
//! The pattern is that of the gate: nearly only reads, of tokens of 700 bytes, by as many threads
//! as there are cores. What was chosen, and the figures it was chosen by, are in `benches/runs/`.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use criterion::{Criterion, criterion_group, criterion_main};
use foldhash::quality::RandomState;
use moka::sync::Cache;

const TOKEN_BYTES: usize = 700;
const CAPACITY: u64 = 40_000;
/// Of the table of one thread.
const SLOTS: usize = 1024;

type Value = Arc<u64>;

/// One way to remember.
trait Remembers: Sync {
    fn keep(&self, token: &str, value: Value);
    fn find(&self, token: &str) -> Option<Value>;
}

struct Moka(Cache<Box<str>, Value, RandomState>);

impl Moka {
    fn new() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).build_with_hasher(RandomState::default()))
    }
}

impl Remembers for Moka {
    fn keep(&self, token: &str, value: Value) {
        self.0.insert(token.into(), value);
    }

    fn find(&self, token: &str) -> Option<Value> {
        self.0.get(token)
    }
}

/// Keyed by HMAC-SHA-256 of the token.
struct MokaDigest(Cache<[u8; 32], Value, RandomState>, hmac::Key);

impl MokaDigest {
    fn new() -> Self {
        let cache = Cache::builder().max_capacity(CAPACITY);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        Self(cache.build_with_hasher(RandomState::default()), key)
    }

    fn digest(&self, token: &str) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.1, token.as_bytes()).as_ref());
        digest
    }
}

impl Remembers for MokaDigest {
    fn keep(&self, token: &str, value: Value) {
        self.0.insert(self.digest(token), value);
    }

    fn find(&self, token: &str) -> Option<Value> {
        self.0.get(&self.digest(token))
    }
}

/// Moka behind a direct-mapped table for each thread.
struct Layered(Moka, RandomState);

type Slot = Option<(Box<str>, Value)>;

thread_local! {
    static NEAR: RefCell<Vec<Slot>> = RefCell::new(vec![None; SLOTS]);
}

impl Remembers for Layered {
    fn keep(&self, token: &str, value: Value) {
        self.0.keep(token, value);
    }

    fn find(&self, token: &str) -> Option<Value> {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the slot")]
        let slot = self.1.hash_one(token) as usize % SLOTS;
        NEAR.with_borrow_mut(|near| match &near[slot] {
            Some((known, value)) if **known == *token => Some(Arc::clone(value)),
            Some(_) | None => {
                let value = self.0.find(token)?;
                near[slot] = Some((token.into(), Arc::clone(&value)));
                Some(value)
            }
        })
    }
}

struct Quick(quick_cache::sync::Cache<Box<str>, Value, quick_cache::UnitWeighter, RandomState>);

impl Quick {
    fn new() -> Self {
        Self(quick_cache::sync::Cache::with(
            usize::try_from(CAPACITY).unwrap_or(usize::MAX),
            CAPACITY,
            quick_cache::UnitWeighter,
            RandomState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        ))
    }
}

impl Remembers for Quick {
    fn keep(&self, token: &str, value: Value) {
        self.0.insert(token.into(), value);
    }

    fn find(&self, token: &str) -> Option<Value> {
        self.0.get(token)
    }
}

/// Tokens of one issuer: the first half is alike.
fn tokens(count: usize) -> Vec<String> {
    let token = |at: usize| {
        let unique = format!("{at:032x}").repeat(TOKEN_BYTES / 64);
        format!("{}.{unique}", "eyJhbGciOiJSUzI1NiIs".repeat(TOKEN_BYTES / 40))
    };
    (0..count).map(token).collect()
}

/// The time of `rounds` look-ups on each of `threads`, all at once.
fn read(cache: &dyn Remembers, tokens: &[String], threads: usize, rounds: u64) -> Duration {
    let started = AtomicUsize::new(0);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|reader| {
                let started = &started;
                scope.spawn(move || {
                    started.fetch_add(1, Ordering::AcqRel);
                    while started.load(Ordering::Acquire) < threads {
                        std::hint::spin_loop();
                    }
                    #[expect(clippy::disallowed_methods, reason = "this measures time")]
                    let began = Instant::now();
                    let mut at = reader * 7919;
                    for _ in 0..rounds {
                        // A walk without a pattern that a processor could guess.
                        at = (at * 25_173 + 13_849) % (1 << 16);
                        black_box(cache.find(&tokens[at % tokens.len()]));
                    }
                    began.elapsed()
                })
            })
            .collect();
        readers.into_iter().map(|one| one.join().expect("no panic")).max().unwrap_or_default()
    })
}

fn compare(c: &mut Criterion) {
    let caches: [(&str, Box<dyn Remembers>); 4] = [
        ("moka", Box::new(Moka::new())),
        ("moka_by_hmac", Box::new(MokaDigest::new())),
        ("thread_table_and_moka", Box::new(Layered(Moka::new(), RandomState::default()))),
        ("quick_cache", Box::new(Quick::new())),
    ];
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for count in [1, 500, 20_000] {
        let tokens = tokens(count);
        for (name, cache) in &caches {
            for token in &tokens {
                cache.keep(token, Arc::new(1));
            }
            for threads in [1, cores] {
                let id = format!("token_cache/{name}/{count}_tokens/{threads}_threads");
                c.bench_function(&id, |b| {
                    b.iter_custom(|rounds| read(&**cache, &tokens, threads, rounds));
                });
            }
        }
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
