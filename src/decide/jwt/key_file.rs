//! Key files of the operator: a JWK set, a JWK, PEM, or an HMAC secret.
//!
//! Owns telling them apart and binding each key to exactly one algorithm. Members are read one by
//! one, so that one bad member is one warning, or one mistake where none is usable. Never lets a public key pass for a secret,
//! and never quotes key material.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::json::{self, JsonFault, Origin};
use crate::decide::jwt::jwk::{self, Jwk, JwkMaterial};
use crate::decide::jwt::key::VerifyingKey;
use crate::decide::jwt::member::{self, Member};
use crate::decide::jwt::{Algorithm, KeySet, der, pem};

/// No issuer signs with more keys at a time; hundreds are a mistake or an attack on memory.
pub(super) const KEYS_MAX: usize = 100;
/// [`KEYS_MAX`] keys with a chain of certificates each fit.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The format of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileFormat {
    /// `keys: { file }`: a JWK set, one JWK, or PEM, told apart by their content.
    JwksOrPem,
    /// `keys: { secret_file }`: an HMAC secret, the bytes of the file less one final newline.
    Secret,
}

/// A mistake in a key file, for the operator. Never quotes key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMistake {
    /// Line in the file, from 1, where it is known.
    pub line: Option<u64>,
    /// Which member (`keys[2]`), or empty for the file as a whole.
    pub place: String,
    /// The mistake, and what is accepted.
    pub message: String,
}

/// The usable keys of a file, and why its other members are not used.
pub(super) type Sorted = (Vec<VerifyingKey>, Vec<KeyMistake>);

/// The keys of a local file. An unusable member is skipped, as in a fetched set; without a usable
/// one, each member is a mistake.
pub(super) fn keys(
    bytes: &[u8],
    format: KeyFileFormat,
    algorithms: &[Algorithm],
    in_force: &KeySet,
) -> Result<Sorted, Vec<KeyMistake>> {
    let members = read(bytes, format, algorithms).map_err(|whole_file| vec![whole_file])?;
    let (keys, skipped) = sort(members, in_force);
    if keys.is_empty() { Err(skipped) } else { Ok((keys, skipped)) }
}

/// The keys of a fetched JWK set, in which every unusable member is skipped. Nothing in it
/// is believed to be a secret.
pub(super) fn remote_keys(
    bytes: &[u8],
    algorithms: &[Algorithm],
    in_force: &KeySet,
) -> Result<Sorted, KeyMistake> {
    let mut members = remote_members(bytes, algorithms)?;
    for member in &mut members {
        if let Ok(key) = &member.key
            && key.algorithm().key_kind() == KeyKind::Secret
        {
            member.key = Err("is a symmetric key: what anybody can fetch is no secret".to_owned());
        }
    }
    let (keys, skipped) = sort(members, in_force);
    if !keys.is_empty() {
        return Ok((keys, skipped));
    }
    let first = skipped.first().map(|one| format!("; {} {}", one.place, one.message));
    Err(whole_file(format!("holds no usable key{}", first.unwrap_or_default())))
}

fn sort(mut members: Vec<Member>, in_force: &KeySet) -> Sorted {
    member::compare(&mut members, in_force);
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for Member { line, place, key } in members {
        match key {
            Ok(key) => keys.push(key),
            Err(message) => skipped.push(KeyMistake { line, place, message }),
        }
    }
    (keys, skipped)
}

fn remote_members(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Member>, KeyMistake> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(whole_file("is longer than 1 MiB"));
    }
    let document = document(without_mark(bytes))?;
    let Some(Value::Array(keys)) = document.get("keys") else {
        return Err(whole_file("is not a JWK set: it has no array `keys`"));
    };
    match keys.len() {
        0..=KEYS_MAX => Ok(set_members(keys, algorithms)),
        many => Err(whole_file(format!("holds {many} keys: at most {KEYS_MAX} are accepted"))),
    }
}

/// Some editors put a byte-order mark in front of UTF-8 (RFC 8259 section 8.1 lets a reader skip
/// it).
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
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
    let bytes = match format {
        KeyFileFormat::Secret => bytes,
        KeyFileFormat::JwksOrPem => without_mark(bytes),
    };
    let members = match (format, std::str::from_utf8(bytes)) {
        (KeyFileFormat::Secret, _) => {
            let key = secret(bytes, algorithms);
            vec![Member { line: None, place: String::new(), key }]
        }
        (KeyFileFormat::JwksOrPem, Ok(text)) if text.trim_start().starts_with('{') => {
            jwks(bytes, algorithms)?
        }
        (KeyFileFormat::JwksOrPem, Ok(text)) if pem::looks_like_one(text) => {
            pem_members(text, algorithms)
        }
        (KeyFileFormat::JwksOrPem, Ok(_) | Err(_)) => {
            return Err(whole_file(
                "is neither a JWK set, a JWK nor PEM with public keys \
                 (an HMAC secret goes into secret_file)",
            ));
        }
    };
    match members.len() {
        0 => Err(whole_file("holds no key")),
        1..=KEYS_MAX => Ok(members),
        many => Err(whole_file(format!("holds {many} keys: at most {KEYS_MAX} are accepted"))),
    }
}

fn document(bytes: &[u8]) -> Result<Map<String, Value>, KeyMistake> {
    json::parse_object(bytes, Origin::KeyFile).map_err(|error| {
        let message = match error.fault {
            JsonFault::Syntax => "is not JSON",
            JsonFault::NotAnObject => "is not a JSON object",
            JsonFault::DuplicateName => "has a name twice in one object",
            JsonFault::TooDeep => "is nested deeper than 32 levels",
            JsonFault::TooManyMembers => "has too many members for a key set",
        };
        KeyMistake { line: u64::try_from(error.line).ok(), ..whole_file(message) }
    })
}

fn set_members(keys: &[Value], algorithms: &[Algorithm]) -> Vec<Member> {
    let member = |(index, key): (usize, &Value)| Member {
        line: None,
        place: format!("keys[{index}]"),
        key: key
            .as_object()
            .ok_or("is not an object".to_owned())
            .and_then(|key| jwk_key(key, algorithms)),
    };
    keys.iter().enumerate().map(member).collect()
}

fn jwks(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Member>, KeyMistake> {
    let document = document(bytes)?;
    match document.get("keys") {
        Some(Value::Array(keys)) => Ok(set_members(keys, algorithms)),
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
    let key = match jwk.material {
        JwkMaterial::Public(key) => VerifyingKey::public(&key, algorithm, jwk.kid)?,
        JwkMaterial::Secret(secret) => {
            refuse_key_document(&secret)?;
            VerifyingKey::secret(&secret, algorithm, jwk.kid)?
        }
    };
    Ok(key.with_thumbprints(jwk.thumbprints).with_issuer(jwk.issuer))
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

/// The bytes less one final newline.
fn secret(bytes: &[u8], algorithms: &[Algorithm]) -> Result<VerifyingKey, String> {
    refuse_key_document(bytes)?;
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let remedy = "list exactly one of them, the one its tokens are signed with";
    let algorithm = bind(KeyKind::Secret, None, algorithms, remedy)?;
    VerifyingKey::secret(secret, algorithm, None)
}

/// A public key in any spelling is no secret: anyone who knows it could sign.
fn refuse_key_document(bytes: &[u8]) -> Result<(), String> {
    let is_text = |text: &str| {
        let encoded: String =
            text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').collect();
        pem::looks_like_one(text)
            || json::parse_object(text.as_bytes(), Origin::KeyFile)
                .is_ok_and(|document| jwk::looks_like_one(&document))
            || [STANDARD_NO_PAD.decode(&encoded), URL_SAFE_NO_PAD.decode(&encoded)]
                .into_iter()
                .flatten()
                .any(|bytes| der::is_public_key(&bytes))
    };
    if der::is_public_key(bytes) || std::str::from_utf8(bytes).is_ok_and(is_text) {
        return Err("is a PEM, DER or JWK key, not an HMAC secret: a public key belongs under \
             keys.file"
            .to_owned());
    }
    Ok(())
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
