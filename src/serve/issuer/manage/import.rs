//! `/keys/import` and `/keys/find`: API keys that exist already.
//!
//! Owns which digest an imported key is stored under. A key that people chose could be found from its
//! SHA-256 by trying, so it is HMAC under a key of the SafeStore; of a digest that another system
//! kept, the key is not known. Never stores a key, and never shows one.

use serde::Deserialize;

use crate::decide::api_key::Digest;
use crate::decide::api_key::digest::{BARE_KEY_BYTES_MIN, KEY_BYTES_MAX};
use crate::decide::api_key::format::{Form, SecretKind, check};
use crate::decide::gate::imported_digests;
use crate::issue::credential::IdKind;
use crate::issue::intent::Query;
use crate::issue::intent::credentials::{CreateCredential, Lifetimes, NewSecret};
use crate::issue::rows::{Credential, CredentialKind, DigestMethod, Row, SecretDigest};
use crate::serve::issuer::manage::credentials::{check_name, ending, hint, show};
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok};
use crate::serve::issuer::manage::{Manager, fill};
use crate::serve::store::Failure;

/// A key, or its digest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    owner: Box<str>,
    name: Box<str>,
    key: Option<Box<str>>,
    /// `sha256:`, as in key files.
    digest: Option<Box<str>>,
    scopes: Option<Vec<Box<str>>>,
    /// RFC 3339, or `never`.
    expires: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    key: Box<str>,
}

impl Manager {
    pub(super) async fn import_key(&self, new: Import, lifetimes: Lifetimes) -> Answer {
        let owner = self.person(&new.owner).await?;
        check_name(&new.name)?;
        let (digest, method, shown) = match (&new.key, &new.digest) {
            (Some(key), None) => {
                self.refuse_known(key).await?;
                let (digest, method) = self.digest_to_store(key)?;
                (digest, method, shown_of(key))
            }
            (None, Some(digest)) => (bare(digest)?, DigestMethod::Sha256, ""),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Refused::mistake("either key or digest is required"));
            }
        };
        self.refuse_stored(&digest).await?;
        self.refuse_filed(&digest)?;
        let scopes = self.scopes_of(&owner, new.scopes.as_deref())?;
        let secret =
            NewSecret { id: IdKind::ApiKey.generate(&mut fill)?, digest, hint: shown.into() };
        let (owner, ending) = (owner.id.0, ending(new.expires.as_deref())?);
        let (kind, name) = (CredentialKind::Key, new.name);
        let intent =
            CreateCredential { kind, secret, method, owner, name, scopes, ending, lifetimes };
        created(show(&self.run(intent).await?))
    }

    pub(super) async fn find_key(&self, asked: Find) -> Answer {
        check_key(&asked.key)?;
        match self.known_key(&asked.key).await? {
            Some(row) => ok(show(&row)),
            None => Err(Refused::not_found("the store has no such key")),
        }
    }

    async fn refuse_known(&self, key: &str) -> Result<(), Refused> {
        check_key(key)?;
        let known = self.known_key(key).await?;
        known.map_or(Ok(()), |row| {
            Err(Refused::exists(format!("the store has this key as {}", row.id)))
        })
    }

    /// The digest of a row, ended or not: what ended does not come back under another id.
    async fn refuse_stored(&self, digest: &SecretDigest) -> Result<(), Refused> {
        let query = Query::all::<Credential>("digest", digest);
        let row = self.store.read(query).await?.pop().map(Credential::of);
        let Some(row) = row.transpose().map_err(Failure::from)? else { return Ok(()) };
        let state = if row.ended.is_some() { "was revoked: create a new key" } else { "is there" };
        Err(Refused::exists(format!("the store has this key as {}, which {state}", row.id)))
    }

    /// A key of both would have two owners.
    fn refuse_filed(&self, digest: &SecretDigest) -> Result<(), Refused> {
        let filed = self.filed.id_of_sha256(&digest.0);
        filed.map_or(Ok(()), |id| {
            Err(Refused::exists(format!(
                "a key file has this key as {id:?}: delete it there first"
            )))
        })
    }

    /// Those that gatepost made have 256 random bits.
    fn digest_to_store(&self, key: &str) -> Result<(SecretDigest, DigestMethod), Refused> {
        // The ring of the key files must not have its SHA-256 either.
        self.refuse_filed(&SecretDigest::of_secret(key))?;
        Ok(match check(key) {
            // Another place may know it by another digest: its end is kept as that of any import.
            Form::Good(_) => (SecretDigest::of_secret(key), DigestMethod::Sha256),
            Form::Bad(_) | Form::NotOurs => (self.vault.keyed_digest(key), DigestMethod::Hmac),
        })
    }

    /// The live key of this text.
    async fn known_key(&self, key: &str) -> Result<Option<Credential>, Refused> {
        for digest in imported_digests(key, Some(self.vault.digest_key())).into_iter().flatten() {
            let query = Query::all::<Credential>("digest", &SecretDigest(digest));
            let row = self.store.read(Query { live: true, ..query }).await?.pop();
            let row = row.map(Credential::of).transpose().map_err(Failure::from)?;
            if let Some(row) = row.filter(|row| row.kind == CredentialKind::Key) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// A key that can be presented in a header.
fn check_key(key: &str) -> Result<(), Refused> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !key.bytes().all(fits) {
        let detail = format!("key: 1 to {KEY_BYTES_MAX} visible ASCII characters without commas");
        return Err(Refused::mistake(detail));
    }
    match check(key) {
        Form::Good(SecretKind::ApiKey) | Form::NotOurs => Ok(()),
        Form::Good(_) => Err(Refused::mistake("key: a credential of gatepost that is no API key")),
        Form::Bad(_) => {
            Err(Refused::mistake("key: checksum mismatch: it is truncated or mistyped"))
        }
    }
}

/// Of a short key, four characters are too much to show.
fn shown_of(key: &str) -> &str {
    if key.len() < BARE_KEY_BYTES_MIN { "" } else { hint(key) }
}

fn bare(digest: &str) -> Result<SecretDigest, Refused> {
    match Digest::parse(digest).map_err(|error| Refused::mistake(format!("digest: {error}")))? {
        Digest::Sha256(digest) => Ok(SecretDigest(digest)),
        Digest::Sha512(_) | Digest::HmacSha256 { .. } => Err(Refused::mistake(
            "digest: the store takes sha256: alone; put a key with another digest into a key file",
        )),
    }
}
