//! One JSON Web Key (RFC 7517, RFC 7518 section 6, RFC 8037).
//!
//! Owns which members are believed: `kty`, `crv`, the public numbers, `kid`, `x5t`, `x5t#S256`,
//! `alg`, `use` and `key_ops`. Never keeps a private part: who gives us one has given it to too many.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::decide::jwt::Algorithm;
use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::compact;
use crate::decide::jwt::header::KID_BYTES_MAX;
use crate::decide::jwt::key::{Curve, PublicKey, Thumbprints};

/// A JWK as read, not yet bound to an algorithm.
pub(super) struct Jwk {
    pub(super) kid: Option<Box<str>>,
    pub(super) stated: Option<Algorithm>,
    pub(super) thumbprints: Thumbprints,
    /// The `issuer` member, a convention of providers with many tenants.
    pub(super) issuer: Option<Box<str>>,
    pub(super) material: JwkMaterial,
}

pub(super) enum JwkMaterial {
    Public(PublicKey),
    Secret(Zeroizing<Vec<u8>>),
}

impl JwkMaterial {
    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::Public(key) => key.kind(),
            Self::Secret(_) => KeyKind::Secret,
        }
    }
}

impl Jwk {
    /// Reads one. The error says what is wrong and what is accepted, and quotes no key material.
    pub(super) fn parse(members: &Map<String, Value>) -> Result<Self, String> {
        check_purpose(members)?;
        let stated = match string(members, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).ok_or_else(|| {
                format!("alg {name:.40?} is not a signature algorithm known here")
            })?),
        };
        let kid = string(members, "kid")?;
        if kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(format!("kid is longer than {KID_BYTES_MAX} bytes"));
        }
        let (thumbprints, material) = (thumbprints(members), material(members)?);
        // Of another type, it is the issuer of no token: nothing that restricts is ignored.
        let issuer = members.get("issuer").map(|issuer| issuer.as_str().unwrap_or_default().into());
        Ok(Self { kid: kid.map(Box::from), stated, thumbprints, issuer, material })
    }
}

/// Returns whether an object is meant as a JWK or a JWK set.
pub(super) fn looks_like_one(members: &Map<String, Value>) -> bool {
    members.contains_key("kty") || members.contains_key("keys")
}

/// Only names for the key: one of another form is ignored, because nothing depends on it.
fn thumbprints(members: &Map<String, Value>) -> Thumbprints {
    let text = |name| {
        let text = members.get(name)?.as_str()?;
        (1..=KID_BYTES_MAX).contains(&text.len()).then(|| Box::from(text))
    };
    Thumbprints { sha1: text("x5t"), sha256: text("x5t#S256") }
}

fn check_purpose(members: &Map<String, Value>) -> Result<(), String> {
    match string(members, "use")? {
        None | Some("sig") => {}
        Some(other) => {
            return Err(format!(
                "use is {other:.40?}: only keys for signatures (\"sig\") are accepted"
            ));
        }
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => Ok(()),
        Some(_) => Err("key_ops does not list \"verify\"".to_owned()),
    }
}

fn material(members: &Map<String, Value>) -> Result<JwkMaterial, String> {
    let kty = string(members, "kty")?.ok_or("kty is missing: RSA, EC, OKP or oct is accepted")?;
    if kty != "oct" {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if let Some(part) = PRIVATE.into_iter().find(|&part| members.contains_key(part)) {
            return Err(format!("has the private part {part}: give the public half only"));
        }
    }
    let public = match kty {
        "RSA" => PublicKey::Rsa {
            modulus: without_leading_zeros(bytes(members, "n")?),
            exponent: without_leading_zeros(bytes(members, "e")?),
        },
        "EC" => elliptic(members)?,
        "OKP" => octet_pair(members)?,
        "oct" => return Ok(JwkMaterial::Secret(Zeroizing::new(bytes(members, "k")?))),
        other => return Err(format!("kty {other:.40?} is not RSA, EC, OKP or oct")),
    };
    Ok(JwkMaterial::Public(public))
}

fn elliptic(members: &Map<String, Value>) -> Result<PublicKey, String> {
    let (curve, length) = match string(members, "crv")? {
        Some("P-256") => (Curve::P256, 32),
        Some("P-384") => (Curve::P384, 48),
        Some("P-521") => (Curve::P521, 66),
        Some(_) | None => return Err("crv is not P-256, P-384 or P-521".to_owned()),
    };
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = bytes(members, name)?;
        if coordinate.len() != length {
            return Err(format!("{name} has {} bytes: the curve needs {length}", coordinate.len()));
        }
        point.extend(coordinate);
    }
    Ok(PublicKey::Ec { curve, point })
}

fn octet_pair(members: &Map<String, Value>) -> Result<PublicKey, String> {
    if string(members, "crv")? != Some("Ed25519") {
        return Err("crv is not Ed25519, the only one accepted with OKP".to_owned());
    }
    let key = bytes(members, "x")?;
    key.try_into()
        .map(PublicKey::Ed25519)
        .map_err(|key: Vec<u8>| format!("x has {} bytes: Ed25519 needs 32", key.len()))
}

fn string<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = string(members, name)?.ok_or_else(|| format!("{name} is missing"))?;
    compact::decode(text).ok_or_else(|| format!("{name} is not base64url without padding"))
}

/// Some libraries prefix a zero octet (RFC 7518 section 6.3.1.1); the number is the same.
fn without_leading_zeros(number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    if zeros == 0 { number } else { number[zeros..].to_vec() }
}
