//! The verification keys of one issuer, found by key id.
//!
//! Owns the reading of key files (JWK set, JWK, PEM, secret), the binding of each key to exactly
//! one algorithm, and the choice of a key for a token (RFC 7517 section 5, the contract's "Keys
//! of a JWT"). Members are read one by one, so that one bad member is one mistake. Never fetches
//! anything, and never lets a public key pass for a secret.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::jwt::Algorithm;
use crate::jwt::algorithm::KeyKind;
use crate::jwt::der;
use crate::jwt::json::{self, JsonFault, Origin};
use crate::jwt::jwk::{self, Jwk, JwkMaterial};
use crate::jwt::key::VerifyingKey;
use crate::jwt::pem;

/// No issuer signs with more keys at a time; hundreds are a mistake or an attack on memory.
pub(super) const KEYS_MAX: usize = 100;
/// [`KEYS_MAX`] keys with a chain of certificates each fit.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// How the bytes of a key file are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileFormat {
    /// `keys: { file }`: a JWK set, one JWK, or PEM, told apart by their content.
    JwksOrPem,
    /// `keys: { secret_file }`: an HMAC secret, the bytes of the file less one final newline.
    Secret,
}

/// What is wrong with a key file, for the operator. Never quotes key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMistake {
    /// Line in the file, from 1, where it can be told.
    pub line: Option<u64>,
    /// Which member (`keys[2]`), or empty for the file as a whole.
    pub place: String,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// The keys of one issuer, each bound to exactly one algorithm.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    by_kid: HashMap<Box<str>, usize>,
}

impl KeySet {
    /// Reads a local key file. In a local file every unusable member is a mistake.
    ///
    /// # Errors
    /// Every mistake in the file, at most one for each member.
    pub fn parse(
        bytes: &[u8],
        format: KeyFileFormat,
        algorithms: &[Algorithm],
    ) -> Result<Self, Vec<KeyMistake>> {
        let mut members = match read(bytes, format, algorithms) {
            Ok(members) => members,
            Err(whole_file) => return Err(vec![whole_file]),
        };
        check_together(&mut members);
        let mut keys = Vec::with_capacity(members.len());
        let mut mistakes = Vec::new();
        for member in members {
            match member.key {
                Ok(key) => keys.push(key),
                Err(message) => {
                    mistakes.push(KeyMistake { line: member.line, place: member.place, message });
                }
            }
        }
        if mistakes.is_empty() { Ok(Self::new(keys)) } else { Err(mistakes) }
    }

    fn new(keys: Vec<VerifyingKey>) -> Self {
        let by_kid = keys
            .iter()
            .enumerate()
            .filter_map(|(index, key)| Some((Box::from(key.kid()?), index)))
            .collect();
        Self { keys, by_kid }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// Whether the file these keys came from must not be readable by others.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.keys.iter().any(|key| key.algorithm().key_kind() == KeyKind::Secret)
    }

    /// The one key a token may be verified with. A token with a `kid` gets the key of that `kid`,
    /// or the only key there is if that has none; a token without gets the only key of its
    /// algorithm. What the caller must still check is that the key is bound to that algorithm.
    pub(super) fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let Some(kid) = kid else {
            return only(
                self.keys.iter().filter(|key| key.algorithm().is_same_signature(algorithm)),
            );
        };
        match self.by_kid.get(kid) {
            Some(&index) => self.keys.get(index),
            None => only(self.keys.iter()).filter(|key| key.kid().is_none()),
        }
    }
}

fn only<T>(mut from: impl Iterator<Item = T>) -> Option<T> {
    let first = from.next()?;
    from.next().is_none().then_some(first)
}

/// One key of a file, or what is wrong with it. A remote set may skip what a local file may not
/// hold, so this is decided by who asks.
struct Member {
    line: Option<u64>,
    place: String,
    key: Result<VerifyingKey, String>,
}

fn whole_file(message: impl Into<String>) -> KeyMistake {
    KeyMistake { line: None, place: String::new(), message: message.into() }
}

fn read(
    bytes: &[u8],
    format: KeyFileFormat,
    algorithms: &[Algorithm],
) -> Result<Vec<Member>, KeyMistake> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(whole_file("is longer than 1 MiB"));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(whole_file("is empty"));
    }
    match format {
        KeyFileFormat::Secret => {
            let key = secret(bytes, algorithms).map_err(whole_file)?;
            Ok(vec![Member { line: None, place: String::new(), key: Ok(key) }])
        }
        KeyFileFormat::JwksOrPem => {
            let members = match std::str::from_utf8(bytes) {
                Ok(text) if text.trim_start().starts_with('{') => jwks(bytes, algorithms)?,
                Ok(text) if pem::looks_like_one(text) => pem_members(text, algorithms),
                Ok(_) | Err(_) => {
                    return Err(whole_file(
                        "is neither a JWK set, a JWK nor PEM with public keys (an HMAC secret goes into secret_file)",
                    ));
                }
            };
            match members.len() {
                0 => Err(whole_file("holds no key")),
                1..=KEYS_MAX => Ok(members),
                many => {
                    Err(whole_file(format!("holds {many} keys: at most {KEYS_MAX} are accepted")))
                }
            }
        }
    }
}

fn jwks(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Member>, KeyMistake> {
    let document = json::parse_object(bytes, Origin::KeyFile).map_err(|error| {
        let message = match error.fault {
            JsonFault::Syntax => "is not JSON",
            JsonFault::NotAnObject => "is not a JSON object",
            JsonFault::DuplicateName => "has a name twice in one object",
            JsonFault::TooDeep => "is nested deeper than 32 levels",
            JsonFault::TooManyMembers => "has too many members for a key set",
        };
        KeyMistake { line: u64::try_from(error.line).ok(), ..whole_file(message) }
    })?;
    match document.get("keys") {
        Some(Value::Array(keys)) => Ok(keys
            .iter()
            .enumerate()
            .map(|(index, key)| Member {
                line: None,
                place: format!("keys[{index}]"),
                key: key
                    .as_object()
                    .ok_or("is not an object".to_owned())
                    .and_then(|key| jwk_key(key, algorithms)),
            })
            .collect()),
        Some(_) => Err(whole_file("keys is not an array")),
        None if jwk::looks_like_one(&document) => Ok(vec![Member {
            line: None,
            place: String::new(),
            key: jwk_key(&document, algorithms),
        }]),
        None => Err(whole_file("is JSON without keys (a JWK set) or kty (a JWK)")),
    }
}

fn jwk_key(members: &Map<String, Value>, algorithms: &[Algorithm]) -> Result<VerifyingKey, String> {
    let jwk = Jwk::parse(members)?;
    let algorithm = bind(jwk.material.kind(), jwk.stated, algorithms, "give the JWK an alg")?;
    match jwk.material {
        JwkMaterial::Public(key) => VerifyingKey::public(&key, algorithm, jwk.kid),
        JwkMaterial::Secret(secret) => VerifyingKey::secret(&secret, algorithm, jwk.kid),
    }
}

fn pem_members(text: &str, algorithms: &[Algorithm]) -> Vec<Member> {
    let blocks = pem::blocks(text);
    blocks
        .into_iter()
        .enumerate()
        .map(|(index, block)| Member {
            line: Some(block.line),
            place: format!("keys[{index}]"),
            key: block.key.and_then(|key| {
                let algorithm = bind(key.kind(), None, algorithms, "write it as a JWK with alg")?;
                VerifyingKey::public(&key, algorithm, None)
            }),
        })
        .collect()
}

/// The bytes less one final newline, refused when they are a public key in any spelling: whoever
/// knows it could sign.
fn secret(bytes: &[u8], algorithms: &[Algorithm]) -> Result<VerifyingKey, String> {
    if is_key_document(bytes) {
        return Err(
            "is a PEM, DER or JWK key and not an HMAC secret: name it under file".to_owned()
        );
    }
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let algorithm = bind(KeyKind::Secret, None, algorithms, "list one of them")?;
    VerifyingKey::secret(secret, algorithm, None)
}

fn is_key_document(bytes: &[u8]) -> bool {
    if der::is_public_key(bytes) || der::is_public_key(bytes.trim_ascii()) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if pem::looks_like_one(text) {
        return true;
    }
    let jwk = |text: &str| {
        json::parse_object(text.as_bytes(), Origin::KeyFile)
            .is_ok_and(|document| jwk::looks_like_one(&document))
    };
    let encoded: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').collect();
    let der = [STANDARD_NO_PAD.decode(&encoded), URL_SAFE_NO_PAD.decode(&encoded)];
    jwk(text) || der.into_iter().flatten().any(|bytes| der::is_public_key(&bytes))
}

/// The one algorithm of a key: what it states, else the single listed one that fits.
fn bind(
    kind: KeyKind,
    stated: Option<Algorithm>,
    listed: &[Algorithm],
    remedy: &str,
) -> Result<Algorithm, String> {
    if let Some(stated) = stated {
        return if listed.iter().any(|listed| listed.is_same_signature(stated)) {
            Ok(stated)
        } else {
            Err(format!("is bound to {stated}, which the issuer's algorithms do not list"))
        };
    }
    let mut fitting: Vec<Algorithm> =
        listed.iter().copied().filter(|algorithm| algorithm.key_kind() == kind).collect();
    fitting.dedup_by(|one, other| one.is_same_signature(*other));
    match fitting[..] {
        [] => Err(format!("is {kind}, which none of the issuer's algorithms can use")),
        [single] => Ok(single),
        [_, ..] => {
            let names: Vec<_> = fitting.iter().map(|algorithm| algorithm.as_str()).collect();
            Err(format!("is {kind}, and {} all fit: {remedy}", names.join(", ")))
        }
    }
}

/// What no member shows alone: one `kid` twice, secrets beside public keys, keys that no token
/// could ever choose.
fn check_together(members: &mut [Member]) {
    let keys = || {
        members
            .iter()
            .enumerate()
            .filter_map(|(index, member)| Some((index, member.key.as_ref().ok()?)))
    };
    let is_secret = |key: &VerifyingKey| key.algorithm().key_kind() == KeyKind::Secret;
    let mixed = keys().any(|(_, key)| !is_secret(key));
    let mut wrong: Vec<(usize, String)> = Vec::new();
    for (index, key) in keys() {
        let mut others = keys().filter(|&(other, _)| other != index).map(|(_, other)| other);
        if mixed && is_secret(key) {
            wrong.push((
                index,
                "is a secret in a set with public keys: put it into a file of its own".to_owned(),
            ));
        } else if let Some(kid) = key.kid() {
            if keys()
                .take_while(|&(other, _)| other < index)
                .any(|(_, other)| other.kid() == Some(kid))
            {
                wrong.push((index, format!("kid {kid:?} is there twice")));
            }
        } else if others.any(|other| other.algorithm().is_same_signature(key.algorithm())) {
            wrong.push((index, format!("has no kid and is not the only {} key, so no token could choose it: give each a kid", key.algorithm())));
        }
    }
    for (index, message) in wrong {
        members[index].key = Err(message);
    }
}
