//! The code of the fuzz target `jwt`, built only for it and for tests.
//!
//! Random bytes never get past a signature, so they are also signed here: header and payload are
//! theirs, the key is ours. Whatever is accepted must satisfy the oracles in this file: the crate
//! `jsonwebtoken`, and a second, lenient reading of header and payload.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use crate::base::clock::UnixTime;
use crate::decide::jwt::{Algorithm, IssuerSettings, Issuers, KeyFileFormat, KeySet};

const SECRET: &[u8] = b"a secret that everybody may know";
const NOW: UnixTime = UnixTime(1_800_000_000);

static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    let listed = [Algorithm::Hs256];
    let keys = KeySet::parse(SECRET, KeyFileFormat::Secret, &listed).unwrap_or_default();
    let settings = IssuerSettings {
        issuer: "i".into(),
        name: "i".into(),
        audiences: vec!["a".into()],
        algorithms: listed.to_vec(),
        types: vec![Some("jwt".into()), None],
        audience_claim: "aud".into(),
        scope_claims: vec!["scope".into()],
        scopes_cap: None,
        leeway: Duration::from_secs(30),
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    };
    Issuers::new(vec![(Arc::new(settings), Arc::new(keys))])
});

/// A token of its own for each number, and what verifying it comes to.
///
/// # Panics
/// If the issuer of this module does not accept its own token.
#[cfg(test)]
pub(crate) fn verified(number: usize) -> (String, crate::decide::jwt::VerifiedToken) {
    let payload = format!(r#"{{"iss":"i","sub":"s-{number}","aud":"a","exp":{}}}"#, NOW.0 + 300);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let mac = hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
    let verified = ISSUERS.verify(&token, NOW).expect("its own token");
    (token, verified)
}

/// One input, read as a token, as a signed `header` LF `payload`, and as a key file.
///
/// # Panics
/// If a token is accepted that must not be.
pub fn verify(bytes: &[u8]) {
    for format in [KeyFileFormat::JwksOrPem, KeyFileFormat::Secret] {
        let _ = KeySet::parse(bytes, format, &Algorithm::ALL);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check(text);
    let (header, payload) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, text));
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let mac = hmac::sign(&key, signed.as_bytes());
    check(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac)));
}

/// Panics when a token is accepted that an oracle refuses.
fn check(token: &str) {
    let Ok(verified) = ISSUERS.verify(token, NOW) else { return };
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
    });
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    assert!(is_vouched_for(token, &header), "{header} {claims}");
    assert!(header["alg"] == "HS256" && header.get("crit").is_none());
    assert!(claims["iss"] == "i" && claims["sub"] == verified.principal().subject());
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > 1_799_999_970.0));
    for start in ["nbf", "iat"].into_iter().filter_map(|name| claims.get(name)) {
        assert!(start.as_f64().is_some_and(|start| start <= 1_800_000_030.0));
    }
    let named = claims["aud"].as_array().is_some_and(|all| all.contains(&"a".into()));
    assert!(claims["aud"] == "a" || named);
}

/// Returns whether `jsonwebtoken` accepts a token, apart from its dates: it reads another clock.
fn is_vouched_for(token: &str, header: &Value) -> bool {
    let key = DecodingKey::from_secret(SECRET);
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["a"]);
    validation.set_issuer(&["i"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_exp = false;
    if jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok() {
        return true;
    }
    // It reads header parameters that are nothing to us, and refuses a token for them.
    let is_read = |name: &String| ["alg", "kid", "typ"].contains(&name.as_str());
    let has_others = header.as_object().is_some_and(|members| !members.keys().all(is_read));
    let holds = |(signed, signature): (&str, &str)| {
        let algorithm = jsonwebtoken::Algorithm::HS256;
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, algorithm)
    };
    has_others && token.rsplit_once('.').is_some_and(|parts| holds(parts).is_ok_and(|held| held))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"iss":"i","sub":"s","aud":["a"],"exp":1900000000,"scope":"x"}"#;

    proptest! {
        #[test]
        fn r314_no_input_panics_or_is_let_in(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            text in "[ -~]{0,4}",
        ) {
            verify(&bytes);
            let mut changed = format!("{{\"alg\":\"HS256\"}}\n{GOOD}");
            changed.insert_str(at.index(changed.len()), &text);
            verify(changed.as_bytes());
        }
    }

    #[test]
    fn seeds_run_and_the_oracle_is_reached() {
        for seed in
            ["", "a.b.c", "\n", GOOD, "{\"alg\":\"none\"}\n{}", "-----BEGIN PUBLIC KEY-----"]
        {
            verify(seed.as_bytes());
        }
        verify(&[0xff, 0x00]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            URL_SAFE_NO_PAD.encode(GOOD)
        );
        let mac = hmac::sign(&key, signed.as_bytes());
        assert!(ISSUERS.verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac)), NOW).is_ok());
    }
}
