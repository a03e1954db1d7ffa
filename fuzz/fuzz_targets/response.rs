//! Whatever an upstream sends: a response head that is accepted has one reading, its body ends where
//! every reader sees it end, and no field that concerns one connection is forwarded. Input: one byte
//! that says whether the request was HEAD, a head, and what follows it.
#![no_main]

use gatepost::decide::response::{Framing, ResponseBody, ResponseHead};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let end = ResponseHead::end(data, 0);
    arrives_in_pieces(data);
    let Ok(Some(end)) = end else { return };
    let (head, rest) = data.split_at(end);
    let to_head = first % 2 == 1;
    let Ok(accepted) = ResponseHead::parse(head, to_head) else { return };
    one_reading(head, &accepted, to_head);
    one_end(rest, accepted.framing);
});

/// However the bytes are cut by the network, the head ends at the same place.
fn arrives_in_pieces(data: &[u8]) {
    let whole = ResponseHead::end(data, 0);
    for searched in (0..data.len()).step_by(data.len() / 32 + 1) {
        if let (Ok(None), Ok(Some(end))) = (ResponseHead::end(&data[..searched], 0), &whole) {
            assert_eq!(ResponseHead::end(data, searched), Ok(Some(*end)), "{searched} came first");
        }
    }
}

type Field = (Vec<u8>, Vec<u8>);

/// Reads the head as carelessly as any client ever did, and finds the same.
fn one_reading(head: &[u8], accepted: &ResponseHead<'_>, to_head: bool) {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|byte| b"\r\n\x0b\x0c".contains(byte)) {
        let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
        match lines.last_mut() {
            _ if line.is_empty() => {}
            Some(before) if b" \t".contains(&line[0]) => before.extend(line),
            Some(_) | None => lines.push(line),
        }
    }
    let (line, lines) = lines.split_first().expect("a status line");
    let status = std::str::from_utf8(&line[9..12]).expect("digits");
    assert_eq!(status.parse(), Ok(accepted.status));
    let fields: Vec<Field> = lines.iter().map(|line| field(line)).collect();
    assert_eq!(fields.len(), accepted.fields);
    let values = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(field, _)| field == name.as_bytes());
        named.map(|(_, value)| &value[..]).collect()
    };
    let has_no_body = to_head || matches!(accepted.status, 100..200 | 204 | 304);
    let expected = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        _ if has_no_body => Framing::None,
        ([], []) => Framing::UntilClose,
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            Framing::Known(String::from_utf8_lossy(length).parse().expect("a length"))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        (lengths, codings) => panic!("{lengths:?} and {codings:?}"),
    };
    assert_eq!(accepted.framing, expected);
    forwards(accepted, &values("connection"));
}

fn field(line: &[u8]) -> Field {
    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
    (line[..colon].trim_ascii().to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
}

/// Nothing of one connection, nothing that `Connection` names but what frames the body.
fn forwards(accepted: &ResponseHead<'_>, connection: &[&[u8]]) {
    let nominated: Vec<_> = connection
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    for (name, value) in accepted.forwarded() {
        let name = name.to_ascii_lowercase();
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
        let frames = name == b"content-length" || name == b"transfer-encoding";
        assert!(!frames || (accepted.status >= 200 && accepted.status != 204));
        assert!(frames || !nominated.contains(&name), "{}", name.escape_ascii());
        let names = [&b"connection"[..], b"keep-alive", b"upgrade", b"te", b"proxy-connection"];
        assert!(!names.contains(&&*name));
    }
    if accepted.is_persistent {
        assert!(!nominated.iter().any(|option| option == b"close"));
    }
}

/// Read at once or byte by byte: the same content, and the body ends at one place.
fn one_end(rest: &[u8], framing: Framing) {
    let read = |piece: usize| {
        let (mut body, mut content, mut took) = (ResponseBody::from(framing), Vec::new(), 0);
        for part in rest.chunks(piece) {
            match body.decode(part, |run| content.extend_from_slice(run)) {
                Ok(count) => took += count,
                Err(_) => return (None, content),
            }
            if body.is_done() {
                break;
            }
        }
        (Some((body.is_done(), took)), content)
    };
    let (at_once, slowly) = (read(rest.len().max(1)), read(1));
    assert_eq!(at_once, slowly);
    if let (Framing::Known(length), Some((true, took))) = (framing, at_once.0) {
        assert_eq!(took as u64, length);
    }
}
