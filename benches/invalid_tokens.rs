//! R-806: what invalid credentials leave behind in memory, which must be nothing.
//!
//! Drives [`Gate::admit`] in process with ever new bad credentials: malformed tokens, tokens of
//! unknown keys and issuers, forged signatures, expired tokens whose signature holds, opaque tokens
//! that their issuer does not know, `gp_` API keys and foreign ones; half of them from addresses
//! that were never seen before. Prints how much memory the process has every 5 %, and fails if
//! that grew by more than [`GROWTH_MAX`] after the first 5 %, or if anything was let in.
//!
//! `make invalid-tokens COUNT=100000000`; as one bench of many it is tried with a few only.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost::base::clock::{Monotonic, Now, UnixTime};
use gatepost::config::Config;
use gatepost::config::files::disk::{Content, Disk};
use gatepost::config::files::{self, LastGood};
use gatepost::config::snapshot::{Retained, Snapshot};
use gatepost::decide::gate::{Charging, Decision, Gate, Introspected, RequestHead, Verdict};
use gatepost::decide::request::address::Peer;
use http::{HeaderMap, HeaderValue, Method};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much the process may grow after the first 5 %: the bounded tables may still be filling (bad
/// tokens at most 8 MiB, limits at most 4.25 MiB), and an allocator rounds. Spread over 100 million
/// credentials it is a sixth of a byte for each.
const GROWTH_MAX: u64 = 16 << 20;
/// As one bench of many.
const FEW: u64 = 20_000;
const THREADS: u64 = 2;
const STEPS: u64 = 20;
/// Of a virtual clock, between two requests: bad tokens are forgotten after 5 s, and addresses have
/// their budget back after 20 s.
const TICK_NS: u64 = 10_000;
const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { url: http://127.0.0.1:3000 } }
issuers:
  - { issuer: https://hs.example, audiences: [api], algorithms: [HS256], keys: { secret_file: hs.key } }
  - { issuer: https://es.example, audiences: [api], algorithms: [ES256], keys: { file: es.json } }
  - issuer: https://opaque.example
    audiences: [api]
    introspection: { url: https://opaque.example/i, client_id: g, client_secret_file: i.secret }
api_keys: { header: X-API-Key, files: [keys.yaml], peppers: { p: pepper } }
routes: [{ path: /**, upstream: app, access: authenticated }]
";

/// The files of the configuration.
struct Files(HashMap<PathBuf, Vec<u8>>);

impl Disk for Files {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<Content> {
        let bytes = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Content { bytes, mode: Some(0o600) })
    }
}

/// Every way to be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bad {
    Malformed,
    UnknownIssuer,
    UnknownKey,
    ForgedHs256,
    ForgedEs256,
    Expired,
    Opaque,
    OurKey,
    ForeignKey,
}

impl Bad {
    const ALL: [Self; 9] = [
        Self::Malformed,
        Self::UnknownIssuer,
        Self::UnknownKey,
        Self::ForgedHs256,
        Self::ForgedEs256,
        Self::Expired,
        Self::Opaque,
        Self::OurKey,
        Self::ForeignKey,
    ];

    /// The reason for which it must be refused.
    fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::UnknownIssuer => "token_issuer_unknown",
            Self::UnknownKey => "token_key_unknown",
            Self::ForgedHs256 | Self::ForgedEs256 => "token_signature_bad",
            Self::Expired => "token_expired",
            Self::Opaque => "token_inactive",
            Self::OurKey | Self::ForeignKey => "key_unknown",
        }
    }
}

fn main() -> ExitCode {
    let count = match std::env::var("COUNT") {
        Ok(count) => count.parse().expect("COUNT is a number"),
        Err(_) => FEW,
    };
    let snapshot = snapshot();
    let per_step = count / STEPS / THREADS;
    let next = AtomicU64::new(0);
    println!("{} invalid credentials, {THREADS} threads", per_step * STEPS * THREADS);
    let mut first = 0;
    for step in 1..=STEPS {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut maker = Maker::new();
                    for _ in 0..per_step {
                        maker.try_one(&snapshot.gate, next.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        let resident = resident();
        first = if step == 1 { resident } else { first };
        println!("{:>3} %  {:>8.1} MiB resident", step * 100 / STEPS, mebibytes(resident));
        if resident > first + GROWTH_MAX {
            eprintln!("invalid_tokens: more than {} MiB over the first 5 %", GROWTH_MAX >> 20);
            return ExitCode::FAILURE;
        }
    }
    let kept = snapshot.gate.tokens.entries();
    println!("{kept} kept as verified; nothing was let in");
    ExitCode::from(u8::from(kept > 0))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the process has in memory, by the system.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this needs Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn snapshot() -> Snapshot {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
    let jwks = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#
    );
    let digest = hex(digest::digest(&digest::SHA256, b"a-key-that-nobody-presents").as_ref());
    let keys = format!(
        "keys:\n  - {{ id: a, digest: 'sha256:{digest}' }}\n  - {{ id: b, digest: 'hmac-sha256:p:{digest}' }}\n"
    );
    let files = Files(HashMap::from(
        [
            ("hs.key", SECRET.to_vec()),
            ("es.json", jwks.into_bytes()),
            ("i.secret", b"a secret of somebody who asks".to_vec()),
            ("keys.yaml", keys.into_bytes()),
            ("pepper", b"a pepper that nobody knows".to_vec()),
        ]
        .map(|(name, bytes)| (Path::new("/etc").join(name), bytes)),
    ));
    let config = Config::parse(Path::new("/etc/g.yaml"), CONFIG, &|_| None).unwrap();
    let (materials, mistakes) = files::load(&config.dynamic, &mut LastGood::default(), &files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    // As large as they are unless configured.
    let retained = Retained::new(262_144, 128 << 20, [1, 2]);
    Snapshot::compile(Arc::new(config.dynamic), Arc::new(materials.unwrap()), &retained, 1)
}

/// Makes bad credentials, no two the same.
struct Maker {
    hs256: hmac::Key,
    es256: EcdsaKeyPair,
    random: SystemRandom,
}

impl Maker {
    /// No issuer has its ES256 key.
    fn new() -> Self {
        Self {
            hs256: hmac::Key::new(hmac::HMAC_SHA256, SECRET),
            es256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            random: SystemRandom::new(),
        }
    }

    fn try_one(&mut self, gate: &Gate, number: u64) {
        let bad = Bad::ALL[usize::try_from(number % 9).unwrap()];
        let (field, text) = self.make(bad, number);
        let headers = HeaderMap::from_iter([
            (http::header::HOST, HeaderValue::from_static("api.example")),
            (field.parse().unwrap(), HeaderValue::from_str(&text).unwrap()),
        ]);
        // Near peers are exempt from the budget of failed credentials, so that each of their requests is
        // looked at; the others fill the table of limits.
        let is_near = (number / 9).is_multiple_of(2);
        let address = u32::try_from(number % (1 << 31)).unwrap() | (0b11 << 29);
        let peer = if is_near { [127, 0, 0, 1] } else { address.to_be_bytes() };
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example"),
            path: b"/api/orders",
            headers: &headers,
            peer: Peer::Ip(peer.into()),
            certificate: None,
        };
        let nanos = (1 << 40) + number * TICK_NS;
        let now = Now { unix: UnixTime(NOW), monotonic: Monotonic(nanos) };
        let decision = gate.admit(&head, now, Charging::Charge);
        let reason = refusal(gate, &head, now, decision);
        let is_right = reason == bad.reason() || reason == "failed_credentials_spent";
        assert!(is_right, "{bad:?} was refused as {reason}");
    }

    fn make(&self, bad: Bad, number: u64) -> (&'static str, String) {
        let hs256 = r#"{"alg":"HS256","typ":"at+jwt"}"#;
        let es256 = r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#;
        let (hs, es) = ("https://hs.example", "https://es.example");
        let later = NOW + 300;
        let token = match bad {
            Bad::Malformed => format!("{}.{number}.x", URL_SAFE_NO_PAD.encode(hs256)),
            Bad::UnknownIssuer => {
                self.hmac(hs256, &format!("https://{number}.example"), number, later)
            }
            Bad::UnknownKey => {
                let header = format!(r#"{{"alg":"ES256","kid":"k-{number}"}}"#);
                self.hmac(&header, es, number, later)
            }
            Bad::ForgedHs256 => {
                let token = self.hmac(hs256, hs, number, later);
                let (signed, _) = token.rsplit_once('.').unwrap();
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
            }
            Bad::ForgedEs256 => {
                let signed = signed(es256, es, number, later);
                let signature = self.es256.sign(&self.random, signed.as_bytes()).unwrap();
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
            Bad::Expired => self.hmac(hs256, hs, number, NOW - 3_600),
            Bad::Opaque => format!("an-opaque-token-{number}"),
            Bad::OurKey => return ("x-api-key", our_key(number)),
            Bad::ForeignKey => return ("x-api-key", format!("a-key-of-another-maker-{number}")),
        };
        ("authorization", format!("Bearer {token}"))
    }

    fn hmac(&self, header: &str, issuer: &str, number: u64, expires: u64) -> String {
        let signed = signed(header, issuer, number, expires);
        let tag = hmac::sign(&self.hs256, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn signed(header: &str, issuer: &str, number: u64, expires: u64) -> String {
    let payload = format!(
        r#"{{"iss":"{issuer}","sub":"s-{number}","aud":"api","exp":{expires},"jti":"j-{number}"}}"#
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// Of our form, with a checksum that holds.
fn our_key(number: u64) -> String {
    use gatepost::decide::api_key::format::{SecretKind, generate};
    let mut source = |bytes: &mut [u8]| {
        let mut rest = number;
        for byte in bytes {
            *byte = u8::try_from(rest % 62).unwrap_or(0);
            rest /= 62;
        }
        Ok(())
    };
    generate(SecretKind::ApiKey, &mut source).unwrap().expose().clone()
}

/// Why it was refused, with the issuer of an opaque token saying no.
fn refusal(gate: &Gate, head: &RequestHead<'_>, now: Now, decision: Decision) -> &'static str {
    let Decision { verdict, evidence } = decision;
    let verdict = match verdict {
        Verdict::Need(need) => {
            let no = Introspected::Answer(br#"{"active":false}"#);
            gate.resume(head, now, need, evidence, no).verdict
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Reject(rejection) => rejection.reason().as_str(),
        verdict => panic!("not refused: {verdict:?}"),
    }
}
