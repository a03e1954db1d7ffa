//! A compiled gate, and the requests that the benches of decisions ask it about.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost::base::clock::{Monotonic, Now, UnixTime};
use gatepost::config::Config;
use gatepost::config::files::disk::{Content, Disk};
use gatepost::config::files::{self, LastGood};
use gatepost::config::snapshot::{Retained, Snapshot};
use gatepost::decide::gate::{Charging, Decision, RequestHead, Verdict};
use gatepost::decide::request::address::Peer;
use http::{HeaderMap, Method};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const KEY: &str = "an-existing-key-of-some-length";

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { url: http://127.0.0.1:3000 } }
issuers:
  - { issuer: https://login.example.com, audiences: [api], algorithms: [HS256], keys: { secret_file: hs.key } }
api_keys: { header: X-API-Key, files: [keys.yaml] }
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

/// `token_cache` is how much memory verified tokens may take.
fn snapshot(token_cache: u64) -> Snapshot {
    let hex: String =
        digest(&SHA256, KEY.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let keys = format!("keys:\n  - {{ id: one, digest: \"sha256:{hex}\", scopes: [read] }}\n");
    let files = Files(HashMap::from([
        (PathBuf::from("/etc/hs.key"), SECRET.to_vec()),
        (PathBuf::from("/etc/keys.yaml"), keys.into_bytes()),
    ]));
    let config = Config::parse(Path::new("/etc/g.yaml"), CONFIG, &|_| None).unwrap();
    let (materials, mistakes) = files::load(&config.dynamic, &mut LastGood::default(), &files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let retained = Retained::new(1024, token_cache, [1, 2]);
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

/// One request to a gate of its own.
pub struct Case {
    pub name: &'static str,
    snapshot: Snapshot,
    path: &'static str,
    headers: HeaderMap,
    tick: u64,
}

/// Name, path, whether verified tokens are kept, the credential's field, whether it is admitted.
type Row<'a> = (&'static str, &'static str, bool, Option<(&'static str, &'a str)>, bool);

/// Every outcome that is measured.
pub fn cases() -> Vec<Case> {
    let good = format!("Bearer {}", token("read"));
    let scopeless = format!("Bearer {}", token("other"));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let key = Some(("x-api-key", KEY));
    let rows: [Row<'_>; 11] = [
        ("admitted/anonymous", "/public/x", false, None, true),
        ("admitted/jwt_hs256_uncached", "/api/x", false, Some(("authorization", &good)), true),
        ("admitted/jwt_cached", "/api/x", true, Some(("authorization", &good)), true),
        ("admitted/jwt_cached_and_limit", "/limited/x", true, Some(("authorization", &good)), true),
        ("admitted/api_key", "/api/x", false, key, true),
        ("admitted/api_key_and_limit", "/limited/x", false, key, true),
        ("refused/credential_missing", "/api/x", false, None, false),
        ("refused/token_signature_bad", "/api/x", false, Some(("authorization", &forged)), false),
        (
            "refused/token_signature_bad_again",
            "/api/x",
            true,
            Some(("authorization", &forged)),
            false,
        ),
        ("refused/scope_missing", "/api/x", false, Some(("authorization", &scopeless)), false),
        ("refused/route_unknown", "/nowhere", false, None, false),
    ];
    rows.map(|(name, path, keeps, field, admitted)| {
        let mut headers = HeaderMap::new();
        headers.insert("host", "api.example.com".parse().unwrap());
        headers.insert("user-agent", "bench/1.0".parse().unwrap());
        headers.insert("accept", "*/*".parse().unwrap());
        if let Some((name, value)) = field {
            headers.insert(name, value.parse().unwrap());
        }
        let snapshot = snapshot(if keeps { 1 << 20 } else { 0 });
        let mut case = Case { name, snapshot, path, headers, tick: 1 << 40 };
        let verdict = case.decide().verdict;
        assert_eq!(matches!(verdict, Verdict::Permit(_)), admitted, "{name}: {verdict:?}");
        case
    })
    .into()
}

impl Case {
    /// Decides once more, a millisecond later.
    pub fn decide(&mut self) -> Decision {
        self.tick += 1_000_000;
        let now = Now { unix: UnixTime(NOW), monotonic: Monotonic(self.tick) };
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example.com"),
            path: self.path.as_bytes(),
            headers: &self.headers,
            peer: Peer::Ip([127, 0, 0, 1].into()),
        };
        self.snapshot.gate.admit(&head, now, Charging::Charge)
    }
}
