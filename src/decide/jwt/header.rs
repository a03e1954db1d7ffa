//! The header of a token (RFC 7515 section 4, RFC 8725).
//!
//! Owns which header parameters are read: `alg`, `kid` and `typ`, to compare with what the operator
//! configured, and `x5t` and `x5t#S256`, to compare with what the issuer's keys state. Never reads
//! `jwk`, `jku`, `x5u` or `x5c`: a token does not bring its own key.

use serde_json::{Map, Value};

use crate::decide::jwt::json::{self, JsonFault, Origin};
use crate::decide::jwt::{Algorithm, IssuerSettings, JwtError};

/// Longer key ids do not occur in practice, and would only fill maps and logs.
pub(super) const KID_BYTES_MAX: usize = 256;

/// The header of a token, unverified.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) x5t: Option<String>,
    pub(super) x5t_s256: Option<String>,
    typ: Option<String>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, JwtError> {
        let mut members =
            json::parse_object(bytes, Origin::Token).map_err(|e| malformed(e.fault))?;
        refuse_extensions(&members)?;
        let algorithm = match members.get("alg") {
            Some(Value::String(name)) => Algorithm::from_name(name).ok_or(
                JwtError::HeaderRefused("alg is none, or not a signature algorithm known here"),
            )?,
            Some(_) => return Err(JwtError::HeaderRefused("alg is not a string")),
            None => return Err(JwtError::HeaderRefused("alg is missing")),
        };
        let kid = take_string(&mut members, "kid", "kid is not a string")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(JwtError::HeaderRefused("kid is longer than 256 bytes"));
        }
        let typ = take_string(&mut members, "typ", "typ is not a string")?;
        let mut name = |name| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        };
        let (x5t, x5t_s256) = (name("x5t"), name("x5t#S256"));
        Ok(Self { algorithm, kid, x5t, x5t_s256, typ })
    }

    /// Compares with what the issuer's tokens may look like.
    pub(super) fn check(&self, settings: &IssuerSettings) -> Result<(), JwtError> {
        if !settings.algorithms.contains(&self.algorithm) {
            return Err(JwtError::HeaderRefused("alg is not among the issuer's algorithms"));
        }
        let typ = self.typ.as_deref().map(without_application);
        let accepted = settings.types.iter().any(|accepted| match (accepted, typ) {
            (None, None) => true,
            (Some(accepted), Some(typ)) => accepted.eq_ignore_ascii_case(typ),
            (None, Some(_)) | (Some(_), None) => false,
        });
        if accepted {
            Ok(())
        } else {
            Err(JwtError::HeaderRefused("typ is not among the issuer's types"))
        }
    }
}

/// `crit` may demand what we do not implement, `b64` changes what is signed, `zip` inflates, and
/// a nested token would be a second one to verify.
fn refuse_extensions(members: &Map<String, Value>) -> Result<(), JwtError> {
    for (name, why) in [
        ("crit", "crit is not accepted"),
        ("b64", "b64 is not accepted"),
        ("zip", "zip is not accepted"),
    ] {
        if members.contains_key(name) {
            return Err(JwtError::HeaderRefused(why));
        }
    }
    match members.get("cty") {
        None => Ok(()),
        Some(Value::String(cty)) if !without_application(cty).eq_ignore_ascii_case("jwt") => Ok(()),
        Some(_) => Err(JwtError::HeaderRefused("cty says a token is nested")),
    }
}

fn take_string(
    members: &mut Map<String, Value>,
    name: &str,
    why: &'static str,
) -> Result<Option<String>, JwtError> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtError::HeaderRefused(why)),
    }
}

/// `application/` may be left out of a media type that has no other slash (RFC 7515 section 4.1.9).
fn without_application(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        Some(_) | None => typ,
    }
}

fn malformed(fault: JsonFault) -> JwtError {
    JwtError::Malformed(match fault {
        JsonFault::Syntax => "the header is not JSON",
        JsonFault::NotAnObject => "the header is not a JSON object",
        JsonFault::DuplicateName => "the header has a name twice",
        JsonFault::TooDeep => "the header is nested deeper than 32 levels",
        JsonFault::TooManyMembers => "the header has more than 1024 members",
    })
}
