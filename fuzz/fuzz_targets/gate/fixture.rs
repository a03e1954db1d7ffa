//! What the target `gate` decides with: two configurations, their files, and tokens made of the
//! fuzzer's text and signed with the fixture's keys or with others.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost::config::files::disk::{Content, Disk};
use gatepost::config::files::{self, LastGood};
use gatepost::config::snapshot::{Retained, Snapshot};
use gatepost::config::{Config, Dynamic, Materials};
use gatepost::decide::api_key::Digest;
use gatepost::decide::api_key::format::{self, SecretKind};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

pub const NOW: u64 = 1_800_000_000;
pub const HS: &str = "https://hs.test";
pub const ES: &str = "https://es.test";
pub const OPAQUE: &str = "https://opaque.test";
/// What each limit lets through at once.
pub const BURSTS: [(&str, usize); 3] = [("few", 2), ("near", 3), ("tenants", 2)];

const SECRET: &[u8] = b"a secret that everybody may know";
const ALIEN: &[u8] = b"a secret that nobody has set here";
pub const FOREIGN: &str = "an-existing-key-of-some-length";
pub const LATE: &str = "a-key-that-has-expired-long-ago";
pub const OFF: &str = "a-key-that-is-switched-off";
const PEPPERED: &str = "a short one";
const PEPPER: &[u8] = b"pepper";

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
trusted_proxies: [10.0.0.0/8]
upstreams: { app: { url: http://127.0.0.1:3000 } }
issuers:
  - issuer: https://hs.test
    audiences: [api]
    algorithms: [HS256]
    keys: { secret_file: hs.key }
  - issuer: https://es.test
    audiences: [api, orders]
    algorithms: [ES256]
    keys: { file: es.json }
    scopes: [read, write]
    max_lifetime: 24h
  - issuer: https://opaque.test
    audiences: [api]
    introspection: { url: https://opaque.test/introspect, client_id: us, client_secret_file: hs.key }
api_keys:
  from: [{ header: X-API-Key }, { header: Authorization, scheme: ApiKey }]
  files: [keys.yaml]
  peppers: { p1: pepper.txt }
failed_credentials: { rate: 1/h, burst: 3 }
limits:
  few: { rate: 1/h, burst: 2, by: principal }
  near: { rate: 1/h, burst: 3, by: address }
  tenants: { rate: 1/h, burst: 2, by: \"claim:tenant\" }
defaults: { upstream: app }
routes:
  - { path: /public/**, access: anonymous, limits: [near] }
  - { path: /me/**, access: authenticated, limits: [few] }
  - { path: /me/key, access: { credentials: [api_key] } }
  - { path: /read/*, methods: [GET, HEAD], access: { scopes: [read] }, limits: [few, near] }
  - { path: /read/*, methods: [POST], access: { scopes: [read, write], credentials: [jwt] } }
  - { path: /any/**, access: { any_scope: [admin, write], issuers: [https://es.test] } }
  - { path: /tenant/**, access: { claims: { tenant: [acme, globex] } }, limits: [tenants] }
  - { path: /maybe/**, access: { optional: true, credentials: [jwt] } }
  - { path: /legacy/**, access: authenticated, preflight: pass }
  - { path: /app/**, access: authenticated, cors: { origins: [https://app.test], methods: [GET] } }
  - { path: /watched/**, access: { scopes: [admin] }, insecure_observe: true }
  - { path: /host/**, hosts: [api.test], access: { scopes: [host] } }
";

/// What the second configuration, after a reload, says differently.
const TIGHTENED: [(&str, &str); 3] = [
    ("audiences: [api]\n    algorithms", "audiences: [others]\n    algorithms"),
    ("scopes: [read, write]\n", "scopes: [write]\n"),
    (
        "/maybe/**, access: { optional: true, credentials: [jwt] }",
        "/maybe/**, access: authenticated",
    ),
];

struct Files(HashMap<PathBuf, Vec<u8>>);

impl Disk for Files {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<Content> {
        let bytes = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Content { bytes, mode: Some(0o600) })
    }
}

type Compiled = (Arc<Dynamic>, Arc<Materials>);

pub struct Fixture {
    first: Compiled,
    second: Compiled,
    pair: EcdsaKeyPair,
    hs: DecodingKey,
    es: DecodingKey,
    own: String,
}

pub static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// A credential that the fixture issued, by a reading that is not the gate's.
pub struct Good {
    pub subject: String,
    pub issuer: String,
    pub scopes: Vec<String>,
    pub claims: Value,
}

impl Fixture {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "kid": "k" });
        let own = format::generate(SecretKind::ApiKey, &mut |bytes| {
            bytes.fill(7);
            Ok(())
        });
        let own = own.expect("a key").expose().to_string();
        let keys = [
            ("own", Digest::sha256(&own), "scopes: [read, host], claims: { tenant: acme }"),
            ("foreign", Digest::sha256(FOREIGN), "subject: bob, scopes: [write]"),
            ("peppered", Digest::hmac_sha256(PEPPERED, "p1", PEPPER), "subject: eve"),
            ("late", Digest::sha256(LATE), "expires: 2020-01-01T00:00:00Z"),
            ("off", Digest::sha256(OFF), "enabled: false"),
        ];
        let keys: String = keys
            .iter()
            .map(|(id, digest, rest)| {
                format!("  - {{ id: {id}, digest: \"{}\", {rest} }}\n", digest.to_text())
            })
            .collect();
        let file = |name: &str, bytes: &[u8]| (PathBuf::from("/etc").join(name), bytes.to_vec());
        let files = Files(HashMap::from([
            file("hs.key", SECRET),
            file("es.json", jwk.to_string().as_bytes()),
            file("keys.yaml", format!("keys:\n{keys}").as_bytes()),
            file("pepper.txt", PEPPER),
        ]));
        let tightened = TIGHTENED.iter().fold(CONFIG.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        Self {
            first: compiled(CONFIG, &files),
            second: compiled(&tightened, &files),
            hs: DecodingKey::from_secret(SECRET),
            es: DecodingKey::from_ec_components(&x, &y).expect("a public key"),
            pair,
            own,
        }
    }

    /// The first configuration, with a token cache of this many bytes.
    pub fn start(&self, cache_bytes: u64) -> (Snapshot, Retained) {
        let retained = Retained::new(64, cache_bytes, [1, 2]);
        let (dynamic, materials) = self.first.clone();
        (Snapshot::compile(dynamic, materials, &retained, 1), retained)
    }

    /// The second one, after `before` or after nothing.
    pub fn reload(&self, before: Option<(&Snapshot, &Retained)>) -> Snapshot {
        let retained = match before {
            Some((snapshot, retained)) => {
                Retained { issuers: Arc::clone(&snapshot.gate.issuers), ..retained.clone() }
            }
            None => Retained::new(64, 0, [1, 2]),
        };
        let (dynamic, materials) = self.second.clone();
        Snapshot::compile(dynamic, materials, &retained, 2)
    }

    /// A token of this header and payload, signed by the chosen signer.
    pub fn token(&self, signer: &str, header: &str, payload: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mac = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
        };
        let signature = match signer {
            "hs" => mac(SECRET),
            "es" => {
                let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            // With the public key for a secret.
            "confused" => mac(self.pair.public_key().as_ref()),
            "alien" => mac(ALIEN),
            _ => Vec::new(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn key(&self, name: &str) -> Option<&str> {
        match name {
            "own" => Some(&self.own),
            "foreign" => Some(FOREIGN),
            "peppered" => Some(PEPPERED),
            "late" => Some(LATE),
            "off" => Some(OFF),
            _ => None,
        }
    }

    /// Whether a key is good, by the list above.
    pub fn good_key(&self, text: &str) -> Option<Good> {
        let good = |subject: &str, scopes: &[&str], claims| Good {
            subject: subject.to_owned(),
            issuer: "urn:gatepost:api-key".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            claims,
        };
        match text {
            FOREIGN => Some(good("bob", &["write"], json!({}))),
            PEPPERED => Some(good("eve", &[], json!({}))),
            _ if text == self.own => {
                Some(good("key:own", &["read", "host"], json!({ "tenant": "acme" })))
            }
            _ => None,
        }
    }

    /// Whether a token is good, by the crate `jsonwebtoken` and a lenient look at its dates.
    pub fn good_token(&self, text: &str, now: u64) -> Option<Good> {
        let mut parts = text.split('.');
        let [header, payload] = [parts.next()?, parts.next()?].map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
        });
        let issuer = payload["iss"].as_str()?.to_owned();
        let issuer = &*issuer;
        let (key, algorithm, audiences): (_, _, &[&str]) = match issuer {
            HS => (&self.hs, jsonwebtoken::Algorithm::HS256, &["api"]),
            ES => (&self.es, jsonwebtoken::Algorithm::ES256, &["api", "orders"]),
            _ => return None,
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(audiences);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The fixture has a clock of its own.
        validation.validate_exp = false;
        let vouched = match jsonwebtoken::decode::<Value>(text, key, &validation) {
            Ok(_) => true,
            // It reads header parameters that we do not look at; the signature must hold anyway.
            Err(_) if has_more_than_we_read(&header) => {
                let (signed, signature) = text.rsplit_once('.')?;
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm)
                    .is_ok_and(|held| held && header["alg"] == format!("{algorithm:?}"))
            }
            Err(_) => false,
        };
        let date =
            |name: &str| payload.get(name).map_or(Some(None), |date| date.as_f64().map(Some));
        let (exp, nbf, iat) = (date("exp")??, date("nbf")?, date("iat")?);
        let has_begun = [nbf, iat].into_iter().flatten().all(|date| date <= (now + 30) as f64);
        let is_short = issuer != ES || iat.is_some_and(|iat| exp - iat <= 86_400.0);
        let is_good = vouched && exp + 30.0 > now as f64 && has_begun && is_short;
        is_good.then(|| Good {
            subject: payload["sub"].as_str().unwrap_or("").to_owned(),
            issuer: issuer.to_owned(),
            scopes: said_scopes(&payload, issuer),
            claims: payload,
        })
    }
}

fn has_more_than_we_read(header: &Value) -> bool {
    let known = |name: &String| ["alg", "kid", "typ"].contains(&name.as_str());
    header.as_object().is_some_and(|members| !members.keys().all(known))
}

pub fn said_scopes(payload: &Value, issuer: &str) -> Vec<String> {
    let mut scopes = Vec::new();
    for claim in [&payload["scope"], &payload["scp"]] {
        match claim {
            Value::Array(items) => scopes.extend(items.iter().filter_map(Value::as_str)),
            other => scopes.extend(other.as_str().unwrap_or("").split(' ')),
        }
    }
    scopes.retain(|scope| issuer != ES || ["read", "write"].contains(scope));
    scopes.into_iter().map(str::to_owned).collect()
}

fn compiled(text: &str, files: &Files) -> Compiled {
    let config = Config::parse(Path::new("/etc/g.yaml"), text, &|_| None)
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let (materials, mistakes) = files::load(&config.dynamic, &mut LastGood::default(), files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    (Arc::new(config.dynamic), Arc::new(materials.expect("all files are good")))
}
