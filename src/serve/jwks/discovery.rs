//! The metadata of an issuer (OpenID Connect Discovery 1.0, RFC 8414).
//!
//! Owns the two members that are used: `issuer`, which must match byte for byte, and `jwks_uri`.
//! Never uses another member.

use serde::Deserialize;

use crate::config::KeyUrl;

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The `jwks_uri` of an issuer's metadata.
///
/// # Errors
/// The metadata is malformed, describes another issuer, or names an address that keys must not come
/// from.
pub(super) fn jwks_uri(body: &[u8], issuer: &str, allows_http: bool) -> Result<KeyUrl, String> {
    let metadata: Metadata = serde_json::from_slice(body)
        .map_err(|_| "is not JSON with one issuer and one jwks_uri".to_owned())?;
    if metadata.issuer != issuer {
        return Err(format!("is about another issuer: {:.200?}", metadata.issuer));
    }
    let url = KeyUrl::parse(&metadata.jwks_uri, allows_http)
        .map_err(|message| format!("has a jwks_uri that is {message}"))?;
    // Metadata that came over TLS must not lead away from it.
    let is_verified = issuer.starts_with("https://");
    if is_verified && !url.is_https() && !allows_http {
        return Err("has a jwks_uri that is not https".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, body: &str) -> Result<String, String> {
        jwks_uri(body.as_bytes(), issuer, false).map(|url| url.uri().to_string())
    }

    #[test]
    fn r304_metadata_is_about_this_issuer_byte_for_byte() {
        let iss = "https://a.example/x";
        let good = r#"{"issuer":"https://a.example/x","jwks_uri":"https://k.example/j","x":1}"#;
        assert_eq!(read(iss, good), Ok("https://k.example/j".to_owned()));
        for other in ["https://a.example/x/", "https://A.example/x", "https://a.example", "x"] {
            let body = format!(r#"{{"issuer":"{other}","jwks_uri":"https://k.example/j"}}"#);
            assert!(read(iss, &body).is_err(), "{other}");
        }
        for bad in [
            "",
            "<html>",
            "[]",
            r#"{"jwks_uri":"https://k.example/j"}"#,
            r#"{"issuer":"https://a.example/x"}"#,
            r#"{"issuer":"https://a.example/x","jwks_uri":"http://k.example/j"}"#,
            r#"{"issuer":"https://a.example/x","jwks_uri":"http://127.0.0.1/j"}"#,
            r#"{"issuer":"https://a.example/x","jwks_uri":"file:///j"}"#,
            r#"{"issuer":"https://a.example/x","jwks_uri":7}"#,
            r#"{"issuer":"x","issuer":"https://a.example/x","jwks_uri":"https://k.example/j"}"#,
        ] {
            assert!(read(iss, bad).is_err(), "{bad}");
        }
        let local = r#"{"issuer":"http://127.0.0.1:1","jwks_uri":"http://127.0.0.1:1/j"}"#;
        assert!(read("http://127.0.0.1:1", local).is_ok());
    }
}
