//! What one decision costs, by outcome: `Gate::admit` over a compiled configuration.
//!
//! `cargo bench --no-default-features --features mimalloc --bench gate_admit`, with the allocator
//! of the binary.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::collections::HashMap;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use gatepost::address::Peer;
use gatepost::api_key::format::{Kind, RandomFault, generate};
use gatepost::config::Config;
use gatepost::config::disk::{Content, Disk};
use gatepost::config::materials::{self, LastGood};
use gatepost::gate::{Charging, RequestHead, Verdict};
use gatepost::rate_limit::LimitTable;
use gatepost::snapshot::{Retained, Snapshot};
use gatepost::time::{Monotonic, Now, UnixTime};
use http::{HeaderMap, Method};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const KEY: &str = "an-existing-key-of-some-length";

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { url: http://127.0.0.1:3000 } }
issuers:
  - { issuer: https://login.example.com, audiences: [api], algorithms: [HS256], keys: { secret_file: hs.key } }
api_keys: { header: X-API-Key, files: [keys.jsonl] }
limits: { per-caller: { rate: 1000000/s, burst: 4000000000, by: principal } }
defaults: { upstream: app }
routes:
  - { path: /public/**, access: anonymous }
  - { path: /api/**, access: { scopes: [read] } }
  - { path: /limited/**, access: { scopes: [read] }, limits: [per-caller] }
";

/// The files of the configuration.
struct Files(HashMap<PathBuf, Vec<u8>>);

impl Disk for Files {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<Content> {
        let bytes = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Content { bytes, mode: Some(0o600) })
    }
}

/// A line of a key file.
fn line(id: usize, key: &str) -> String {
    let hex: String =
        digest(&SHA256, key.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("{{\"id\":\"k{id}\",\"digest\":\"sha256:{hex}\",\"scopes\":[\"read\"]}}\n")
}

fn snapshot(keys: String) -> Snapshot {
    let files = Files(HashMap::from([
        (PathBuf::from("/etc/hs.key"), SECRET.to_vec()),
        (PathBuf::from("/etc/keys.jsonl"), keys.into_bytes()),
    ]));
    let config = Config::parse(Path::new("/etc/g.yaml"), CONFIG, &|_| None).unwrap();
    let (materials, mistakes) = materials::load(&config.dynamic, &mut LastGood::default(), &files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let retained = Retained { limits: Arc::new(LimitTable::new(1024, [1, 2])) };
    Snapshot::compile(Arc::new(config.dynamic), Arc::new(materials.unwrap()), &retained, 1)
}

fn token(scope: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt"}"#);
    let payload = format!(
        r#"{{"iss":"https://login.example.com","sub":"user-1","aud":"api","exp":{},"scope":"{scope}","jti":"t-1"}}"#,
        NOW + 300
    );
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Name, path, the credential's field, and whether it is admitted.
type Case<'a> = (&'a str, &'a str, Option<(&'static str, &'a str)>, bool);

fn admit(c: &mut Criterion) {
    let snapshot = snapshot(line(1, KEY));
    let good = format!("Bearer {}", token("read"));
    let scopeless = format!("Bearer {}", token("other"));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let cases: [Case<'_>; 8] = [
        ("admitted/anonymous", "/public/x", None, true),
        ("admitted/jwt_hs256_uncached", "/api/x", Some(("authorization", &good)), true),
        ("admitted/api_key", "/api/x", Some(("x-api-key", KEY)), true),
        ("admitted/api_key_and_limit", "/limited/x", Some(("x-api-key", KEY)), true),
        ("refused/credential_missing", "/api/x", None, false),
        ("refused/token_signature_bad", "/api/x", Some(("authorization", &forged)), false),
        ("refused/scope_missing", "/api/x", Some(("authorization", &scopeless)), false),
        ("refused/route_unknown", "/nowhere", None, false),
    ];
    for (name, path, field, admitted) in cases {
        let mut headers = HeaderMap::new();
        headers.insert("host", "api.example.com".parse().unwrap());
        headers.insert("user-agent", "bench/1.0".parse().unwrap());
        headers.insert("accept", "*/*".parse().unwrap());
        if let Some((name, value)) = field {
            headers.insert(name, value.parse().unwrap());
        }
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example.com"),
            path: path.as_bytes(),
            headers: &headers,
            peer: Peer::Ip([127, 0, 0, 1].into()),
        };
        let mut tick = 1 << 40;
        let mut decide = || {
            tick += 1_000_000;
            let now = Now { unix: UnixTime(NOW), monotonic: Monotonic(tick) };
            snapshot.gate.admit(black_box(&head), now, Charging::Charge)
        };
        let verdict = decide().verdict;
        assert_eq!(matches!(verdict, Verdict::Permit(_)), admitted, "{name}: {verdict:?}");
        c.bench_function(&format!("admit/{name}"), |b| b.iter(&mut decide));
    }
}

/// Keys that are taken in turn, so that one hot cache line flatters nobody.
const TAKEN: usize = 1024;

/// One of our keys among a million of them.
fn admit_among_many(c: &mut Criterion) {
    let mut state = 1_u64;
    let mut fill = |bytes: &mut [u8]| -> Result<(), RandomFault> {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
        Ok(())
    };
    let mut file = String::new();
    let mut taken = Vec::new();
    for id in 0..1_000_000 {
        let key = generate(Kind::ApiKey, &mut fill).unwrap();
        file.push_str(&line(id, key.expose()));
        if id % (1_000_000 / TAKEN) == 0 {
            let mut headers = HeaderMap::new();
            headers.insert("host", "api.example.com:8080".parse().unwrap());
            headers.insert("x-api-key", key.expose().parse().unwrap());
            taken.push(headers);
        }
    }
    let snapshot = snapshot(file);
    let mut taken = taken.iter().cycle();
    let mut decide = || {
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example.com:8080"),
            path: b"/api/x",
            headers: taken.next().unwrap(),
            peer: Peer::Ip([192, 0, 2, 1].into()),
        };
        let now = Now { unix: UnixTime(NOW), monotonic: Monotonic(1 << 40) };
        snapshot.gate.admit(black_box(&head), now, Charging::Charge)
    };
    assert!(matches!(decide().verdict, Verdict::Permit(_)));
    c.bench_function("admit/admitted/api_key_among_a_million", |b| b.iter(&mut decide));
}

criterion_group!(benches, admit, admit_among_many);
criterion_main!(benches);
