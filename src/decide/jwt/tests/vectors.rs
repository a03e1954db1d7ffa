//! Tokens and keys of another implementation (`tests/vectors/make_jwt_vectors.py`).

use std::sync::Arc;

use serde_json::Value;

use super::fixture::*;
use crate::decide::jwt::{Algorithm, Issuers, JwtError, KeyFileFormat, KeySet};

#[track_caller]
fn check(key_file: &str, algorithm: Algorithm, token: &str) {
    let listed = [algorithm];
    let keys = KeySet::parse(key_file.as_bytes(), KeyFileFormat::JwksOrPem, &listed).unwrap();
    let issuers = Issuers::new(vec![(Arc::new(settings(&listed)), Arc::new(keys))]);
    let verified = issuers.verify(token, NOW).unwrap();
    assert_eq!(verified.principal().credential_id(), Some("vector"));
    assert_eq!(verified.principal().scopes().to_string(), "read write");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{flipped}{}", &signature[1..]);
    assert_eq!(issuers.verify(&forged, NOW).err(), Some(JwtError::SignatureBad));
}

#[test]
fn tokens_and_keys_of_pyjwt_verify_from_every_form_of_the_key() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../../tests/vectors/jwt.json")).unwrap();
    assert_eq!(vectors.len(), 10);
    for vector in &vectors {
        let algorithm = Algorithm::from_name(vector["alg"].as_str().unwrap()).unwrap();
        let token = vector["token"].as_str().unwrap();
        check(&vector["jwk"].to_string(), algorithm, token);
        for pem in vector["pems"].as_array().unwrap() {
            check(pem.as_str().unwrap(), algorithm, token);
        }
    }
}
