//! Access tokens: JWTs as in RFC 9068.
//!
//! Owns header and claims, byte for byte, and their order. Never decides what a token grants, and
//! keeps nothing about it: its `jti` is GRANT.SERIAL, so ending a grant ends every token of it.

use std::time::Duration;

use serde::Serialize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::jwt::{Algorithm, IssuerSettings, TokenShape};
use crate::decide::scope::ScopeSet;
use crate::issue::signing_key::{SignError, SigningKey};

/// `typ` of the header (RFC 9068 section 2.1).
const TYPE: &str = "at+jwt";

/// The name of the issuer in `access.issuers`, metrics and commands.
pub const ISSUER_NAME: &str = "gatepost";

/// The usual leeway of every issuer, for `iat`: the clock may have stepped back since.
const LEEWAY: Duration = Duration::from_secs(30);

/// How long after `exp` the gate accepts a token. A client counts `expires_in` from the moment at
/// which the answer arrived; `exp` counts from the beginning of the second in which the token was
/// issued. One second for that, one for the way of the answer and of the request.
const EXP_LEEWAY: Duration = Duration::from_secs(2);

/// The claims of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// `iss`: `issuer.url`, byte for byte.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// `iat`.
    pub issued: UnixTime,
    /// Seconds from `iat` to `exp`.
    pub lifetime: u64,
    /// The first part of `jti`: the grant, or the generation of the application.
    pub grant: &'a str,
    /// The second part of `jti`.
    pub serial: u64,
    /// `client_id`.
    pub client: &'a str,
    /// `scope`.
    pub scopes: &'a ScopeSet,
    /// `auth_time`, where a person signed in.
    pub auth_time: Option<UnixTime>,
}

/// The rules by which access tokens of this issuer are verified: `at+jwt` alone, signed with RS256
/// or ES256.
#[must_use]
pub fn verification(issuer: &str, audience: &str) -> IssuerSettings {
    IssuerSettings {
        issuer: issuer.into(),
        name: ISSUER_NAME.into(),
        audiences: vec![audience.into()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        types: vec![Some(TYPE.into())],
        audience_claim: "aud".into(),
        scope_claims: vec!["scope".into()],
        scopes_cap: None,
        leeway: LEEWAY,
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: TokenShape {
            client_claims: vec!["client_id".into()],
            exp_leeway: Some(EXP_LEEWAY),
            ..TokenShape::of_rfc9068()
        },
        introspection: None,
    }
}

/// `typ` first: tokens begin with `eyJ0`.
#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
    iat: u64,
    jti: &'a str,
    client_id: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
}

impl Claims<'_> {
    /// `jti`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.grant, self.serial)
    }

    /// The token, signed.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, key: &SigningKey) -> Result<Secret<String>, SignError> {
        let header = Header { typ: TYPE, alg: key.algorithm().as_str(), kid: key.kid() };
        let payload = Payload {
            iss: self.issuer,
            sub: self.subject,
            aud: self.audience,
            exp: self.issued.0.saturating_add(self.lifetime),
            iat: self.issued.0,
            jti: &self.id(),
            client_id: self.client,
            scope: &self.scopes.to_string(),
            auth_time: self.auth_time.map(|at| at.0),
        };
        let mut token = String::with_capacity(1024);
        push_json(&mut token, &header)?;
        token.push('.');
        push_json(&mut token, &payload)?;
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

fn push_json(token: &mut String, members: &impl Serialize) -> Result<(), SignError> {
    let json = serde_json::to_vec(members).map_err(|_| SignError)?;
    URL_SAFE_NO_PAD.encode_string(json, token);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::{DecodingKey, Validation};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::decide::jwt::{Algorithm, Issuers, JwtError, KeyFileFormat, KeySet};
    use crate::issue::signing_key::jwks;
    use crate::issue::signing_key::tests::keys;

    const ISSUER: &str = "https://api.example.com";

    fn claims(scopes: &ScopeSet) -> Claims<'_> {
        Claims {
            issuer: ISSUER,
            subject: "usr_1",
            audience: "https://api.example.com/v3",
            issued: UnixTime(1_800_000_000),
            lifetime: 3_600,
            grant: "gr_1",
            serial: 42,
            client: "app_1",
            scopes,
            auth_time: Some(UnixTime(1_799_999_000)),
        }
    }

    fn part(token: &Secret<String>, at: usize) -> String {
        let part = token.expose().split('.').nth(at).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    /// The rules of the gate for this issuer.
    fn gate(key: &SigningKey) -> Issuers {
        let listed = [key.algorithm()];
        let set = KeySet::parse(jwks([key]).as_bytes(), KeyFileFormat::JwksOrPem, &listed).unwrap();
        let settings = verification(ISSUER, "https://api.example.com/v3");
        Issuers::new(vec![(Arc::new(settings), Arc::new(set))])
    }

    #[test]
    fn contract_access_token_header_and_claims_byte_for_byte() {
        let scopes = ScopeSet::parse("write read").unwrap();
        for key in keys() {
            let token = claims(&scopes).sign(key).unwrap();
            assert!(token.expose().starts_with("eyJ0"));
            let (alg, kid) = (key.algorithm(), key.kid());
            assert_eq!(
                part(&token, 0),
                format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{kid}"}}"#)
            );
            assert_eq!(
                part(&token, 1),
                r#"{"iss":"https://api.example.com","sub":"usr_1","aud":"https://api.example.com/v3","exp":1800003600,"iat":1800000000,"jti":"gr_1.42","client_id":"app_1","scope":"read write","auth_time":1799999000}"#
            );
        }
    }

    #[test]
    fn contract_access_token_of_client_credentials_has_no_auth_time() {
        let none = ScopeSet::default();
        let claims = Claims { auth_time: None, subject: "app:app_1", ..claims(&none) };
        let token = claims.sign(keys()[1]).unwrap();
        assert!(part(&token, 1).ends_with(r#""client_id":"app_1","scope":""}"#));
    }

    #[test]
    fn the_gate_and_jsonwebtoken_accept_what_is_signed() {
        let scopes = ScopeSet::parse("read").unwrap();
        for key in keys() {
            let token = claims(&scopes).sign(key).unwrap();
            let at =
                |seconds: u64| gate(key).verify(token.expose(), UnixTime(1_800_000_000 + seconds));
            let verified = at(0).unwrap();
            assert_eq!(verified.principal().subject(), "usr_1");
            assert_eq!(verified.principal().scopes(), &scopes);
            assert_eq!(verified.kid(), Some(key.kid()));
            assert!(oracle(token.expose(), key));
        }
        // Signed by the other key.
        let [rsa, ec] = keys();
        let token = claims(&scopes).sign(rsa).unwrap();
        assert!(gate(ec).verify(token.expose(), UnixTime(1_800_000_000)).is_err());
    }

    /// A client that renews its token when `expires_in` is over, and not before, sees no 401.
    #[test]
    fn contract_access_token_is_accepted_until_expires_in_is_over_for_its_client() {
        let scopes = ScopeSet::parse("read").unwrap();
        let [key, _] = keys();
        let token = claims(&scopes).sign(key).unwrap();
        let at = |seconds: u64| gate(key).verify(token.expose(), UnixTime(1_800_000_000 + seconds));
        // Issued at the end of a second, answered in the next one.
        assert!(at(3_599).is_ok() && at(3_601).is_ok());
        assert!(matches!(at(3_602), Err(JwtError::Expired(_))));
    }

    /// The clock of the store never goes back, that of the gate may.
    #[test]
    fn contract_access_token_is_accepted_after_the_clock_stepped_back_a_little() {
        let scopes = ScopeSet::parse("read").unwrap();
        let [key, _] = keys();
        let token = claims(&scopes).sign(key).unwrap();
        let at = |seconds: u64| gate(key).verify(token.expose(), UnixTime(1_800_000_000 - seconds));
        assert!(at(30).is_ok());
        assert!(matches!(at(31), Err(JwtError::NotYetValid(_))));
    }

    fn oracle(token: &str, key: &SigningKey) -> bool {
        let jwk = serde_json::from_str(&key.jwk().to_string()).unwrap();
        let named = match key.algorithm() {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            _ => jsonwebtoken::Algorithm::ES256,
        };
        let mut validation = Validation::new(named);
        validation.set_audience(&["https://api.example.com/v3"]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation)
            .is_ok()
    }

    proptest! {
        #[test]
        fn whatever_the_texts_are_the_gate_reads_them_back(
            subject in "[^\\pC]{1,40}",
            client in "[!-~]{1,20}",
            serial in any::<u64>(),
        ) {
            let scopes = ScopeSet::parse("read").unwrap();
            let claims = Claims { subject: &subject, client: &client, serial, ..claims(&scopes) };
            let key = keys()[1];
            let token = claims.sign(key).unwrap();
            let verified = gate(key).verify(token.expose(), UnixTime(1_800_000_000)).unwrap();
            prop_assert_eq!(verified.principal().subject(), &*subject);
            prop_assert!(oracle(token.expose(), key));
        }
    }
}
