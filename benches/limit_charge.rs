//! What one admitted request pays for its limits: keys, charges, the fields of the answer, and
//! what a client's header names cost to look through.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use gatepost::base::clock::Monotonic;
use gatepost::decide::identity::{IdentityHeaders, IdentityNames};
use gatepost::decide::rate_limit::{
    Charge, LimitBy, LimitHeaders, LimitPolicy, LimitTable, Quota, limit_fields,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const CALLERS: u64 = 10_000;

fn policy(name: &str) -> Arc<LimitPolicy> {
    let quota = Quota::parse("1000000/s", NonZeroU32::new(1_000_000));
    Arc::new(LimitPolicy {
        name: name.into(),
        index: 0,
        quota: quota.expect("a rate"),
        by: LimitBy::Principal,
        headers: LimitHeaders::Always,
    })
}

fn charges(table: &LimitTable, policies: &[Arc<LimitPolicy>], caller: u64) -> Vec<Charge> {
    let issuer = b"https://login.example.com";
    let charge = |policy: &Arc<LimitPolicy>| Charge {
        policy: Arc::clone(policy),
        quota: policy.quota,
        key: table.key(&policy.name, &[issuer, &caller.to_le_bytes()]),
    };
    policies.iter().map(charge).collect()
}

fn limits(criterion: &mut Criterion) {
    let table = LimitTable::new(1 << 20, [1, 2]);
    let policies = ["per-caller", "per-address", "per-client"].map(policy);
    let mut now = 3_600_000_000_000;
    for caller in 0..CALLERS {
        table.charge(&charges(&table, &policies, caller), Monotonic(now));
    }
    let callers: Vec<_> = (0..CALLERS).map(|caller| charges(&table, &policies, caller)).collect();
    let mut next = 0;
    let mut pick = || {
        next = (next + 7_919) % callers.len();
        now += 100_000;
        (&callers[next], Monotonic(now))
    };

    criterion.bench_function("limit_key", |bencher| {
        let issuer = b"https://login.example.com";
        bencher.iter(|| table.key("per-caller", &[issuer, black_box(b"user-1234567890")]));
    });
    criterion.bench_function("limit_charge/one", |bencher| {
        bencher.iter(|| {
            let (charges, now) = pick();
            table.charge(black_box(&charges[..1]), now)
        });
    });
    criterion.bench_function("limit_charge/three", |bencher| {
        bencher.iter(|| {
            let (charges, now) = pick();
            table.charge(black_box(charges), now)
        });
    });
    let standings = table.charge(&callers[0], Monotonic(now));
    criterion.bench_function("limit_fields/three", |bencher| {
        bencher.iter(|| limit_fields(black_box(&standings), false));
    });
    contended(criterion, &table, &callers[0], now);
}

/// One caller on two threads: the worst a bucket's lock can meet here.
fn contended(criterion: &mut Criterion, table: &LimitTable, charges: &[Charge], now: u64) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                black_box(table.charge(&charges[..1], Monotonic(now)));
            }
        });
        criterion.bench_function("limit_charge/one_contended", |bencher| {
            bencher.iter(|| table.charge(black_box(&charges[..1]), Monotonic(now)));
        });
        stop.store(true, Ordering::Relaxed);
    });
}

fn identity(criterion: &mut Criterion) {
    let names = IdentityNames::parse([
        "X-Auth-Subject",
        "X-Auth-Issuer",
        "X-Auth-Client-Id",
        "X-Auth-Scopes",
        "X-Auth-Credential",
        "X-Auth-Credential-Id",
    ]);
    let identity = IdentityHeaders::new(names.expect("six names"), Vec::new(), &[]);
    let headers: HeaderMap = [
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-type",
        "cookie",
        "origin",
        "referer",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
        "traceparent",
        "X_Auth_Subject",
    ]
    .iter()
    .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    .map(|name| (name, HeaderValue::from_static("value")))
    .collect();
    criterion.bench_function("identity_strip/twenty_fields", |bencher| {
        bencher.iter(|| identity.to_strip(black_box(&headers)).count());
    });
}

criterion_group!(benches, limits, identity);
criterion_main!(benches);
