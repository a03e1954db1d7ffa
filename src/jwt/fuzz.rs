//! What the fuzz target `jwt` runs, built only for it and for tests.
//!
//! Random bytes never get past a signature, so they are also signed here: header and payload are
//! theirs, the key is ours. Whatever is accepted must satisfy the oracle in this file, which
//! reads the payload a second time with a lenient parser.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::jwt::{Algorithm, IssuerSettings, Issuers, KeyFileFormat, KeySet};
use crate::time::UnixTime;

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
        introspection: None,
    };
    Issuers::new(vec![(Arc::new(settings), Arc::new(keys))])
});

/// A token of its own for each number, and what verifying it comes to.
///
/// # Panics
/// When the issuer of this module does not accept its own token.
#[cfg(test)]
pub(crate) fn verified(number: usize) -> (String, crate::jwt::VerifiedToken) {
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
/// When a token is accepted that must not be.
pub fn verify(bytes: &[u8]) {
    for format in [KeyFileFormat::JwksOrPem, KeyFileFormat::Secret] {
        let _ = KeySet::parse(bytes, format, &Algorithm::ALL);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = ISSUERS.verify(text, NOW);
    let (header, payload) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, text));
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let mac = hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
    if let Ok(verified) = ISSUERS.verify(&token, NOW) {
        let header: Value = serde_json::from_str(header).unwrap_or_default();
        let claims: Value = serde_json::from_str(payload).unwrap_or_default();
        assert!(header["alg"] == "HS256" && header.get("crit").is_none());
        assert!(claims["iss"] == "i" && claims["sub"] == verified.principal().subject());
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp > 1_799_999_970.0));
        assert!(
            claims["aud"] == "a"
                || claims["aud"].as_array().is_some_and(|all| all.contains(&"a".into()))
        );
    }
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
