//! How long a presented key takes to be found, among ten, a thousand and a million: the contract
//! wants it to be the same. Also what it costs to refuse one.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use gatepost::base::clock::UnixTime;
use gatepost::base::secret::Secret;
use gatepost::decide::api_key::format::{RandomFault, SecretKind, generate};
use gatepost::decide::api_key::{Digest, KeyEntry, KeyRing, Peppers};
use gatepost::decide::principal::Claims;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// Keys that are taken in turn, so that one hot cache line does not flatter a small ring.
const TAKEN: usize = 1024;

fn entry(id: String, digest: Digest) -> KeyEntry {
    KeyEntry {
        subject: format!("key:{id}").into(),
        id: id.into(),
        name: None,
        digest,
        scopes: Arc::default(),
        claims: Claims::none(),
        not_before: None,
        expires: None,
        enabled: true,
        limits: Box::default(),
        replaces: None,
    }
}

/// The same keys at every run.
fn keys(count: usize) -> Vec<String> {
    let mut state = 1_u64;
    let mut fill = |bytes: &mut [u8]| -> Result<(), RandomFault> {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
        Ok(())
    };
    let key = |_| generate(SecretKind::ApiKey, &mut fill).expect("this source never fails");
    (0..count).map(key).map(|key| key.expose().clone()).collect()
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key_lookup");
    let unknown = keys(1_000_001).pop().expect("a million and one");
    for count in [10, 1_000, 1_000_000] {
        let keys = keys(count);
        let entries = keys.iter().enumerate();
        let entries = entries.map(|(n, key)| entry(format!("k{n}"), Digest::sha256(key)));
        let ring = KeyRing::new(entries.collect(), &Peppers::new(), &[]);
        let step = (count / TAKEN).max(1);
        let mut taken = keys.iter().step_by(step).take(TAKEN).cycle();
        group.bench_function(BenchmarkId::new("known", count), |bencher| {
            bencher.iter(|| ring.verify(black_box(taken.next().expect("a cycle")), NOW));
        });
        group.bench_function(BenchmarkId::new("unknown", count), |bencher| {
            bencher.iter(|| ring.verify(black_box(&unknown), NOW));
        });
    }
    group.finish();
}

fn refusal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key_refusal");
    let own = keys(1).remove(0);
    let peppers: Peppers =
        [("p1".into(), Secret::new(b"a pepper for the benchmark".to_vec()))].into();
    let ring = KeyRing::new(
        vec![
            entry("a".to_owned(), Digest::sha256(&own)),
            entry("b".to_owned(), Digest::hmac_sha256("x", "p1", b"a pepper for the benchmark")),
        ],
        &peppers,
        &[],
    );
    let mistyped = format!("{}!", &own[..own.len() - 1]);
    group.bench_function("bad checksum", |bencher| {
        bencher.iter(|| ring.verify(black_box(&mistyped), NOW));
    });
    group.bench_function("unknown, one pepper in use", |bencher| {
        bencher.iter(|| ring.verify(black_box("a-key-of-somebody-else-entirely"), NOW));
    });
    group.finish();
}

criterion_group!(benches, lookup, refusal);
criterion_main!(benches);
