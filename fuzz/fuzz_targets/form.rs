//! Any bytes as a form body and as a query. The oracle decodes the body a second time, naively:
//! what is read is what it finds, and every name comes once.
#![no_main]

use std::collections::BTreeMap;

use gatepost::issue::form::{Form, check_query};
use libfuzzer_sys::fuzz_target;

/// A second reading: `None` where a percent-encoding is incomplete or the bytes are no text.
fn naive(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let mut pieces = spaced.split(|byte| *byte == b'%');
    let mut bytes = pieces.next()?.to_vec();
    // A percent-encoding is read from the text as it was sent: `%+1` is none.
    for (piece, sent) in pieces.zip(text.split(|byte| *byte == b'%').skip(1)) {
        let digits = std::str::from_utf8(sent.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(&piece[2..]);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn parameters(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next()?, parts.next().unwrap_or_default());
        if all.insert(naive(name)?, naive(value)?).is_some() {
            return None;
        }
    }
    Some(all).filter(|all| all.len() <= 64)
}

fuzz_target!(|data: &[u8]| {
    let expected = parameters(data).filter(|_| data.len() <= 64 * 1024);
    match (Form::decode(data), expected) {
        (Ok(form), Some(expected)) => {
            for (name, value) in &expected {
                let value = Some(value.as_str()).filter(|value| !value.is_empty());
                assert_eq!(form.value(name), value, "{name}");
            }
            assert_eq!(form.value("no parameter of a fuzzer has this name"), None);
        }
        (Err(error), None) => assert_eq!(error.status(), 400),
        (read, expected) => panic!("{read:?} {expected:?}"),
    }
    let Ok(query) = std::str::from_utf8(data) else { return };
    let names = query.split('&').filter_map(|pair| naive(pair.split('=').next()?.as_bytes()));
    let has_secret = names.into_iter().any(|name| name == "client_secret" || name == "code");
    assert!(!has_secret || check_query(Some(query)).is_err());
});
