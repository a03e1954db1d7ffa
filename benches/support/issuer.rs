//! An issuer beside the gate of a bench: credentials of its store, and revocations.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use gatepost::base::clock::UnixTime;
use gatepost::base::sha256::sha256;
use gatepost::decide::api_key::format::{SecretKind, generate};
use gatepost::decide::gate::Stored;
use gatepost::decide::jwt::{Algorithm, FollowedKeys, KeyFileFormat, KeySet};
use gatepost::decide::live::{Application, Change, Credential, Kind, Live, Method, Person, State};
use gatepost::decide::revocation::{self, Entry, Published, RevocationSet, Target};
use gatepost::decide::scope::ScopeSet;
use gatepost::issue::access_token::Claims;
use gatepost::issue::signing_key::{SigningKey, jwks};

use super::NOW;

const URL: &str = "https://api.example.com";
/// The issuers whose tokens the cases send.
const ISSUERS: [&str; 2] = [URL, "https://login.example.com"];
const KINDS: [revocation::Kind; 5] = [
    revocation::Kind::Jti,
    revocation::Kind::Subject,
    revocation::Kind::Client,
    revocation::Kind::IssuedBefore,
    revocation::Kind::Kid,
];

/// Entries of all kinds together, unless GATEPOST_REVOKED says how many: valgrind takes half a minute
/// for a million.
const REVOKED: usize = 24_000;

/// The store of an issuer and the revocations, as the gate has them.
pub struct World {
    live: Arc<Live>,
    key: SigningKey,
    revoked: Arc<Published>,
}

impl World {
    pub fn new(is_revoked: bool) -> Self {
        let live = Arc::new(Live::default());
        live.change([
            Change::Person(Person {
                id: "usr_ada".into(),
                login: Some("ada".into()),
                roles: Box::default(),
                enabled: true,
            }),
            Change::Application(Application {
                id: "sync".into(),
                plugin: None,
                generation: "gr_1".into(),
                origins: Box::default(),
                enabled: true,
            }),
            credential(Kind::Key, &key()),
            credential(Kind::Pat, &pat()),
        ]);
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let revoked: Arc<Published> = Arc::default();
        if is_revoked {
            revoked.store(Arc::new(entries(count() / 2)));
            let grants = count() / 2;
            live.change((0..grants).map(|number| Change::EndGrant(format!("gr_x{number}").into())));
        }
        Self { live, key, revoked }
    }

    pub fn stored(&self) -> Stored {
        let listed = [Algorithm::Es256];
        let keys = KeySet::parse(jwks([&self.key]).as_bytes(), KeyFileFormat::JwksOrPem, &listed);
        let keys = Arc::new(FollowedKeys::from_pointee(keys.unwrap()));
        // As a process has it, whether a key was imported or not.
        let imported = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        Stored::new(URL, Arc::clone(&self.live), keys).with_imported(imported)
    }

    pub fn revoked(&self) -> Arc<Published> {
        Arc::clone(&self.revoked)
    }

    /// An access token of the issuer.
    pub fn token(&self) -> String {
        let claims = Claims {
            issuer: URL,
            subject: "app:sync",
            audience: URL,
            issued: UnixTime(NOW - 60),
            lifetime: 3_600,
            grant: "gr_1",
            serial: 42,
            client: "sync",
            scopes: &ScopeSet::parse("read").unwrap(),
            auth_time: None,
        };
        claims.sign(&self.key).unwrap().expose().clone()
    }
}

/// Entries of the log, a share of each kind; none is of what a case sends.
fn entries(count: usize) -> RevocationSet {
    let mut set = RevocationSet::default();
    let issuers = ISSUERS.map(Arc::<str>::from);
    for number in 0..count {
        let value = format!("revoked-{number}");
        let target = match KINDS.get(number % (KINDS.len() + 1)) {
            Some(kind) => Target::token(*kind, Arc::clone(&issuers[number % 2]), &value),
            None => Target::key(&value),
        };
        let before = (target.kind() == revocation::Kind::IssuedBefore).then_some(UnixTime(NOW));
        set.add(Entry::new(target, UnixTime(NOW - 60)).before(before));
    }
    assert!(revocation::Kind::ALL.iter().all(|kind| set.count(*kind) > 0));
    set
}

fn count() -> usize {
    let asked = std::env::var("GATEPOST_REVOKED").ok().and_then(|count| count.parse().ok());
    asked.unwrap_or(REVOKED)
}

fn credential(kind: Kind, text: &str) -> Change {
    Change::Credential(Credential {
        id: "cred_1".into(),
        kind,
        owner: "usr_ada".into(),
        digest: sha256(text.as_bytes()),
        method: Method::Made,
        scopes: ScopeSet::parse("read").unwrap(),
        expires: Some(UnixTime(NOW + 3_600)),
        state: State::Active,
    })
}

pub fn key() -> String {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| made(SecretKind::ApiKey)).clone()
}

pub fn pat() -> String {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| made(SecretKind::PersonalAccessToken)).clone()
}

fn made(kind: SecretKind) -> String {
    let text = generate(kind, &mut |bytes| {
        bytes.fill(7);
        Ok(())
    });
    text.unwrap().expose().clone()
}
