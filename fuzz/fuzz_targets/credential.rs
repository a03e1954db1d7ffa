//! Reads credentials out of arbitrary header fields: it never panics, and what it reads is fit to
//! be verified. Input: one `name: value` per line.

#![no_main]

use gatepost::decide::request::credential::{CredentialSources, KeySource, Reading};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = halves.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let key = |header, scheme: Option<&str>| {
        KeySource::new(HeaderName::from_static(header), scheme.map(Box::from))
    };
    for keys in [
        vec![],
        vec![key("x-api-key", None)],
        vec![key("authorization", Some("Bearer")), key("x-api-key", None)],
        vec![key("authorization", Some("ApiKey")), key("x-token", Some("Key"))],
        vec![key("authorization", None)],
        vec![key("authorization", Some("Basic"))],
    ] {
        let reading = Reading::default();
        let Ok(presented) = CredentialSources::new(keys).read(&headers, &reading) else { continue };
        for text in [presented.jwt, presented.key].into_iter().flatten() {
            assert!(!text.is_empty());
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
        }
        assert!(headers.get_all("authorization").iter().count() <= 1, "a repeated field was read");
        let given = headers.contains_key("authorization");
        assert!(
            !given || presented.jwt.is_some() || presented.key.is_some(),
            "a bad one is not none"
        );
    }
});
