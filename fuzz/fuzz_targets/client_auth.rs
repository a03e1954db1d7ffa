//! An `Authorization` field, LF, and a form body. Whatever is read: one method, an id and a secret
//! within their bounds, and exactly what a second reading of field and form finds.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost::issue::client_auth::{Method, Presented};
use gatepost::issue::form::Form;
use gatepost::issue::rows::SecretDigest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == b'\n');
    let (field, body) = at.map_or((None, data), |at| (Some(&data[..at]), &data[at + 1..]));
    // An empty field names no method.
    let field = field.filter(|field| !field.trim_ascii().is_empty());
    let Ok(form) = Form::decode(body) else { return };
    let stated = (form.value("client_id"), form.value("client_secret"));
    match Presented::read(field, &form) {
        Ok(client) => {
            assert!((1..=128).contains(&client.id.as_str().len()));
            let secret = client.secret.as_ref().map(|secret| secret.expose().as_str());
            match client.method {
                Method::Basic => {
                    assert!(field.is_some() && stated.1.is_none());
                    assert!(stated.0.is_none_or(|id| id == client.id.as_str()));
                    again(client.id.as_str(), secret.unwrap_or_default());
                }
                Method::Post | Method::None => {
                    assert!(field.is_none());
                    assert_eq!((Some(client.id.as_str()), secret), stated);
                    assert_eq!(secret.is_some(), client.method == Method::Post);
                }
            }
            let digest = client.digest().unwrap_or_else(|| SecretDigest::of_secret(""));
            assert!(digest.is_one_of(&[digest]) && !digest.is_one_of(&[]));
        }
        Err(error) => {
            assert!([400, 401].contains(&error.status()));
            let has_challenge = error.challenge().is_some();
            assert_eq!(has_challenge, field.is_some() && error.status() == 401);
            // A body that states both, without a field, is refused for its lengths alone.
            if let (None, (Some(id), Some(secret))) = (field, stated) {
                let has_assertion = form.value("client_assertion").is_some()
                    || form.value("client_assertion_type").is_some();
                let is_long = id.len() > 128 || secret.len() > 512;
                assert!(has_assertion || is_long || id.chars().any(char::is_control));
            }
        }
    }
});

/// Written as a field again, it reads as the same.
fn again(id: &str, secret: &str) {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let field = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))));
    let client = Presented::read([field.as_bytes()], &Form::default()).expect("it was read before");
    assert_eq!(client.id.as_str(), id);
    let read = client.secret.as_ref().map(|secret| secret.expose().as_str());
    assert_eq!(read.unwrap_or_default(), secret);
}
