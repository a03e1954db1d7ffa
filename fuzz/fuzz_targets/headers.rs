//! Whatever bytes come over a connection: a head that is admitted has one reading, its body ends
//! where every reader sees it end, and nothing a client calls by the name of an identity header, in
//! any spelling, survives the stripping. Input: a head, and what follows it.
#![no_main]

use std::sync::LazyLock;

use gatepost::decide::identity::{IdentityHeaderName, IdentityHeaders, IdentityNames};
use gatepost::decide::request::framing::{
    BodyLength, Chunks, Head, authority, head_end, path_and_query,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let end = head_end(data, 0);
    arrives_in_pieces(data, end);
    let Some(end) = end else { return };
    let (head, rest) = data.split_at(end);
    if let Ok(admitted) = Head::parse(head) {
        let fields = one_reading(head, &admitted);
        strips_identity(&fields);
        if admitted.body == BodyLength::Chunked {
            one_end(rest);
        }
        let (path, query) = path_and_query(admitted.target);
        let query_bytes = query.map_or(0, |query| query.len() + 1);
        assert!(path.len() + query_bytes <= admitted.target.len().max(1) + 1);
        assert!(authority(admitted.target).is_none_or(|name| name.len() < admitted.target.len()));
    }
});

/// However the bytes are cut by the network, the head ends at the same place.
fn arrives_in_pieces(data: &[u8], end: Option<usize>) {
    let stop = end.unwrap_or(data.len());
    for searched in (0..stop).step_by(stop / 64 + 1) {
        assert_eq!(head_end(&data[..searched], 0), None, "an end within the head");
        assert_eq!(head_end(data, searched), end, "{searched} bytes came first");
    }
}

type Field = (Vec<u8>, Vec<u8>);

/// Reads the head twice, by the letter and as carelessly as any server has ever done.
fn one_reading(head: &[u8], admitted: &Head<'_>) -> Vec<Field> {
    let mut head = head;
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let strict = by_the_letter(head);
    assert_eq!(strict, carelessly(head), "two readings");
    let (line, fields) = strict.split_first().expect("a request line");
    let parts: Vec<&[u8]> = line.0.split(u8::is_ascii_whitespace).collect();
    let [method, target, version] = parts[..] else { panic!("a request line of {parts:?}") };
    assert_eq!((method, target), (admitted.method, admitted.target));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(field, _)| field == name.as_bytes());
        named.map(|(_, value)| &value[..]).collect()
    };
    let expected = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => BodyLength::Known(0),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            BodyLength::Known(String::from_utf8_lossy(length).parse().expect("a length"))
        }
        ([], [coding]) => {
            let is_new = version.starts_with(b"HTTP/1.") && version != b"HTTP/1.0";
            assert!(coding.eq_ignore_ascii_case(b"chunked") && is_new, "{version:?}");
            BodyLength::Chunked
        }
        (lengths, codings) => panic!("{lengths:?} and {codings:?}"),
    };
    assert_eq!(admitted.body, expected);
    let hosts = values("host");
    assert_eq!(hosts.first().copied(), admitted.host);
    assert!(hosts.len() == 1 || (hosts.is_empty() && version == b"HTTP/1.0"));
    assert_eq!(fields.len(), admitted.fields);
    fields.to_vec()
}

/// Lines end with CR LF, names with the first colon. The request line is a name without a value.
fn by_the_letter(head: &[u8]) -> Vec<Field> {
    let text = head.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines.iter().enumerate().map(|(at, line)| field(line, at == 0)).collect()
}

/// CR and LF each end a line, NUL is nothing, a line that begins with a blank continues the one
/// before it, blanks around names do not count.
fn carelessly(head: &[u8]) -> Vec<Field> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|byte| b"\r\n\x0b\x0c".contains(byte)) {
        let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
        match lines.last_mut() {
            _ if line.is_empty() => {}
            Some(before) if b" \t".contains(&line[0]) => before.extend(line),
            Some(_) | None => lines.push(line),
        }
    }
    let fields = lines.iter().enumerate().map(|(at, line)| field(line, at == 0));
    fields.map(|(name, value)| (name.trim_ascii().to_vec(), value)).collect()
}

fn field(line: &[u8], is_first: bool) -> Field {
    let colon = line.iter().position(|byte| *byte == b':').filter(|_| !is_first);
    let Some(colon) = colon else { return (line.to_vec(), Vec::new()) };
    (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
}

/// Read at once, byte by byte, or by another parser: the body ends at one place.
fn one_end(body: &[u8]) {
    let mut at_once = Chunks::default();
    let read = at_once.follow(body);
    let mut slowly = Chunks::default();
    let mut bytes = body.iter();
    let steps = bytes.by_ref().take_while(|byte| {
        slowly.follow(std::slice::from_ref(byte)).is_ok_and(|took| took == 1) && !slowly.is_done()
    });
    let steps = steps.count() + usize::from(slowly.is_done());
    assert_eq!(at_once.is_done(), slowly.is_done());
    if at_once.is_done() {
        assert_eq!(read, Ok(steps));
        assert_eq!(chunked_end(body), Some(steps), "another reader sees another end");
    }
}

fn chunked_end(body: &[u8]) -> Option<usize> {
    let line_at = |at: usize| {
        let rest = body.get(at..)?;
        rest.windows(2).position(|pair| pair == b"\r\n").map(|length| &rest[..length])
    };
    let mut at = 0;
    loop {
        let line = line_at(at)?;
        at += line.len() + 2;
        let digits = line.split(|byte| b"; \t".contains(byte)).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
        if body.get(at - 2..at)? != b"\r\n" {
            return None;
        }
    }
    loop {
        let line = line_at(at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(at);
        }
    }
}

static IDENTITY: LazyLock<IdentityHeaders> = LazyLock::new(|| {
    let name = |text| IdentityHeaderName::parse(text).expect("a name");
    let names = IdentityNames::parse([
        "X-User",
        "X-Auth-Issuer",
        "X-Auth-Client-Id",
        "X-Auth-Scopes",
        "X-Auth-Credential",
        "X-Auth-Credential-Id",
    ])
    .expect("six names");
    let claims = vec![name("X-Auth-Email"), name("Remote-Groups")];
    // The last two must stay without effect: they are set here.
    let passed = ["x-auth-token", "x_user", "x-auth-email"].map(HeaderName::from_static);
    IdentityHeaders::new(names, claims, &passed)
});

fn strips_identity(fields: &[Field]) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().take(100) {
        let name = HeaderName::from_bytes(name).expect("an admitted name");
        headers.append(name, HeaderValue::from_bytes(value).expect("an admitted value"));
    }
    let stripped: Vec<_> = IDENTITY.to_strip(&headers).collect();
    for name in stripped {
        headers.remove(name);
    }
    for name in headers.keys().filter(|name| *name != "x-auth-token") {
        let variable = variable(name.as_str());
        let is_identity = variable == "X_AUTH" || variable.starts_with("X_AUTH_");
        assert!(!is_identity, "{name} survived");
        assert!(!["X_USER", "REMOTE_GROUPS"].contains(&&*variable), "{name} survived");
    }
    for (name, value) in IDENTITY.to_set(None) {
        headers.insert(name.name(), value.clone());
    }
    let credentials = headers.keys().filter(|name| variable(name.as_str()) == "X_AUTH_CREDENTIAL");
    assert_eq!(credentials.count(), 1, "the upstream sees ours alone");
}

/// What CGI and its kin call a field, runs of separators as one.
fn variable(name: &str) -> String {
    let mut variable = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            variable.push(letter.to_ascii_uppercase());
        } else if !variable.is_empty() && !variable.ends_with('_') {
            variable.push('_');
        }
    }
    variable.trim_end_matches('_').to_owned()
}
