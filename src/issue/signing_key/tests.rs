//! Keys of both algorithms, beside `jsonwebtoken`.

use std::sync::LazyLock;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::Value;

use super::*;
use crate::decide::jwt::{KeyFileFormat, KeySet};

static RSA: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).expect("a key"));
static P256: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::Es256).expect("a key"));

/// One of each algorithm.
pub(crate) fn keys() -> [&'static SigningKey; 2] {
    [&RSA, &P256]
}

#[test]
fn contract_signing_keys_the_kid_is_the_thumbprint() {
    for key in keys() {
        let jwk: Jwk = serde_json::from_str(&key.jwk().to_string()).unwrap();
        assert_eq!(jwk.common.key_id.as_deref(), Some(key.kid()));
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), key.kid());
    }
}

/// The example of RFC 7638 section 3.1.
#[test]
fn the_thumbprint_of_the_rfc() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let required = [("e", "AQAB".to_owned()), ("kty", "RSA".to_owned()), ("n", n.to_owned())];
    assert_eq!(thumbprint(&required), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_key_survives_pkcs8() {
    for key in keys() {
        let der = key.to_pkcs8().unwrap();
        let back = SigningKey::from_pkcs8(key.algorithm(), der.expose()).unwrap();
        assert_eq!((back.kid(), back.jwk()), (key.kid(), key.jwk()));
        let other =
            if key.algorithm() == Algorithm::Rs256 { Algorithm::Es256 } else { Algorithm::Rs256 };
        let error = SigningKey::from_pkcs8(other, der.expose()).map(drop);
        assert_eq!(error, Err(KeyError::Malformed(other)));
        assert!(SigningKey::from_pkcs8(key.algorithm(), &der.expose()[1..]).is_err());
    }
    let refused = KeyError::Algorithm(Algorithm::Hs256);
    assert_eq!(SigningKey::generate(Algorithm::Hs256).map(drop), Err(refused));
    assert_eq!(SigningKey::from_pkcs8(Algorithm::Hs256, b"").map(drop), Err(refused));
}

#[test]
fn r1114_a_jwk_set_has_public_members_alone() {
    let set: Value = serde_json::from_str(&jwks(keys())).unwrap();
    let names =
        |at: usize| set["keys"][at].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(0), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(names(1), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(
        (&set["keys"][0]["alg"], &set["keys"][1]["alg"]),
        (&"RS256".into(), &"ES256".into())
    );
    assert_eq!(jwks([]), r#"{"keys":[]}"#);
    // The gate reads it.
    let listed = [Algorithm::Rs256, Algorithm::Es256];
    let read = KeySet::parse(jwks(keys()).as_bytes(), KeyFileFormat::JwksOrPem, &listed).unwrap();
    assert_eq!((read.len(), read.skipped().len()), (2, 0));
}

#[test]
fn r902_debug_shows_no_private_part() {
    let shown = format!("{:?}", keys()[1]);
    assert_eq!(shown, format!("SigningKey(ES256 {})", keys()[1].kid()));
}
