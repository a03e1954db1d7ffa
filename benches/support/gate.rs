//! A compiled gate, and the requests that the benches of decisions ask it about.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

mod issuer;

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

use issuer::World;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const KEY: &str = "an-existing-key-of-some-length";

/// What is added for the cases with an issuer.
const ISSUER: &str = "
state_dir: /var/lib/gatepost
issuer: { url: https://api.example.com }
";

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
fn snapshot(token_cache: u64, world: Option<&World>) -> Snapshot {
    let hex: String =
        digest(&SHA256, KEY.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let keys = format!("keys:\n  - {{ id: one, digest: \"sha256:{hex}\", scopes: [read] }}\n");
    let files = Files(HashMap::from([
        (PathBuf::from("/etc/hs.key"), SECRET.to_vec()),
        (PathBuf::from("/etc/keys.yaml"), keys.into_bytes()),
    ]));
    let text = format!("{CONFIG}{}", if world.is_some() { ISSUER } else { "" });
    let config = Config::parse(Path::new("/etc/g.yaml"), &text, &|_| None).unwrap();
    let (materials, mistakes) = files::load(&config.dynamic, &mut LastGood::default(), &files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mut retained = Retained::new(1024, token_cache, [1, 2]);
    if let Some(world) = world {
        retained.stored = Some(world.stored());
        retained.revoked = world.revoked();
    }
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
    snapshot: Snapshot,
    path: &'static str,
    headers: HeaderMap,
    tick: u64,
}

/// The credential of a request.
#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    /// A token of another issuer with this scope.
    Token(&'static str),
    Forged,
    Key,
    /// An access token, an API key and a personal access token of the issuer itself.
    OwnToken,
    StoredKey,
    StoredPat,
}

/// The state around the gate.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    /// Files alone.
    Files,
    /// The issuer is on, and nothing is revoked.
    Issuer,
    /// The same with revocations of every kind; none is of what the case sends.
    Revoked,
}

/// Name, path, whether verified tokens are kept, credential, whether it is admitted, state.
type Row = (&'static str, &'static str, bool, Sent, bool, Around);

use Around::{Files as F, Issuer as I, Revoked as R};
use Sent::{Forged, Key, Nothing, OwnToken, StoredKey, StoredPat, Token};

/// Every outcome that is measured.
const ROWS: [Row; 22] = [
    ("admitted/anonymous", "/public/x", false, Nothing, true, F),
    ("admitted/jwt_hs256_uncached", "/api/x", false, Token("read"), true, F),
    ("admitted/jwt_cached", "/api/x", true, Token("read"), true, F),
    ("admitted/jwt_cached_and_limit", "/limited/x", true, Token("read"), true, F),
    ("admitted/api_key", "/api/x", false, Key, true, F),
    ("admitted/api_key_and_limit", "/limited/x", false, Key, true, F),
    ("refused/credential_missing", "/api/x", false, Nothing, false, F),
    ("refused/token_signature_bad", "/api/x", false, Forged, false, F),
    ("refused/token_signature_bad_again", "/api/x", true, Forged, false, F),
    ("refused/scope_missing", "/api/x", false, Token("other"), false, F),
    ("refused/route_unknown", "/nowhere", false, Nothing, false, F),
    ("issuer/anonymous", "/public/x", false, Nothing, true, I),
    ("issuer/jwt_cached", "/api/x", true, Token("read"), true, I),
    ("issuer/api_key", "/api/x", false, Key, true, I),
    ("issuer/own_token_cached", "/api/x", true, OwnToken, true, I),
    ("issuer/stored_key", "/api/x", false, StoredKey, true, I),
    ("issuer/stored_pat", "/api/x", false, StoredPat, true, I),
    ("revoked/jwt_cached", "/api/x", true, Token("read"), true, R),
    ("revoked/api_key", "/api/x", false, Key, true, R),
    ("revoked/own_token_cached", "/api/x", true, OwnToken, true, R),
    ("revoked/stored_key", "/api/x", false, StoredKey, true, R),
    ("revoked/stored_pat", "/api/x", false, StoredPat, true, R),
];

/// The names of all cases.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.0)
}

/// The case of a name. Its state takes a while to make.
pub fn case(name: &str) -> Case {
    let (name, path, keeps, sent, admitted, around) =
        *ROWS.iter().find(|row| row.0 == name).unwrap();
    let world = (around != F).then(|| World::new(around == R));
    let mut headers = HeaderMap::new();
    headers.insert("host", "api.example.com".parse().unwrap());
    headers.insert("user-agent", "bench/1.0".parse().unwrap());
    headers.insert("accept", "*/*".parse().unwrap());
    if let Some((name, value)) = field(sent, world.as_ref()) {
        headers.insert(name, value.parse().unwrap());
    }
    let snapshot = snapshot(if keeps { 1 << 20 } else { 0 }, world.as_ref());
    let mut case = Case { snapshot, path, headers, tick: 1 << 40 };
    let verdict = case.decide().verdict;
    assert_eq!(matches!(verdict, Verdict::Permit(_)), admitted, "{name}: {verdict:?}");
    case
}

fn field(sent: Sent, world: Option<&World>) -> Option<(&'static str, String)> {
    let bearer = |token: String| Some(("authorization", format!("Bearer {token}")));
    match sent {
        Nothing => None,
        Token(scope) => bearer(token(scope)),
        Forged => {
            let good = token("read");
            bearer(format!("{}AAAA", &good[..good.len() - 4]))
        }
        Key => Some(("x-api-key", KEY.to_owned())),
        OwnToken => bearer(world?.token()),
        StoredKey => Some(("x-api-key", issuer::key())),
        StoredPat => bearer(issuer::pat()),
    }
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
            certificate: None,
        };
        self.snapshot.gate.admit(&head, now, Charging::Charge)
    }
}
