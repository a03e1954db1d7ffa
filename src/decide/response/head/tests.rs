use super::*;

fn parse(head: &str) -> Result<ResponseHead<'_>, ResponseError> {
    ResponseHead::parse(head.as_bytes(), false)
}

fn ok(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

#[track_caller]
fn framed(status: u16, fields: &str, expected: Framing) {
    let head = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
    assert_eq!(parse(&head).map(|head| head.framing), Ok(expected), "{head:?}");
}

#[track_caller]
fn broken(head: impl AsRef<[u8]>, why: ResponseError) {
    let head = head.as_ref();
    assert_eq!(ResponseHead::parse(head, false).err(), Some(why), "{}", head.escape_ascii());
}

#[test]
fn r406_a_status_line_is_read_strictly() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.0 404 Not Found", 404, "Not Found"),
        ("HTTP/1.1 418 I'm a teapot", 418, "I'm a teapot"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.2 999 caf\u{e9}", 999, "caf\u{e9}"),
    ] {
        let text = format!("{line}\r\n\r\n");
        let head = parse(&text).unwrap();
        assert_eq!((head.status, head.reason), (status, reason.as_bytes()), "{line}");
    }
    for line in [
        "",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 +20",
        "HTTP/1.1 099 x",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.10 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 a\0",
        "ICY 200 OK",
    ] {
        broken(format!("{line}\r\n\r\n"), ResponseError::StatusLine);
    }
    broken("HTTP/1.1 200 OK\n\r\n", ResponseError::StatusLine);
    broken("\r\nHTTP/1.1 200 OK\r\n\r\n", ResponseError::StatusLine);
}

#[test]
fn r406_a_body_ends_where_rfc_9112_says() {
    framed(200, "", Framing::UntilClose);
    framed(200, "Content-Length: 0\r\n", Framing::Known(0));
    framed(200, "content-length:\t 18446744073709551615 \r\n", Framing::Known(u64::MAX));
    framed(200, "Transfer-Encoding: Chunked\r\n", Framing::Chunked);
    for status in [100, 101, 103, 204, 304] {
        framed(status, "Content-Length: 5\r\n", Framing::None);
        framed(status, "Transfer-Encoding: chunked\r\n", Framing::None);
    }
    framed(205, "Content-Length: 5\r\n", Framing::Known(5));
    let to_head = ResponseHead::parse(b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n", true);
    assert_eq!(to_head.unwrap().framing, Framing::None);
}

#[test]
fn r406_an_answer_of_two_readings_is_broken() {
    let (length, coding) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    broken(ok(&format!("{length}{coding}")), ResponseError::BothLengths);
    broken(ok(&format!("{coding}{length}")), ResponseError::BothLengths);
    broken(ok(&format!("{length}{length}")), ResponseError::Length);
    for value in ["5, 5", "+5", "", "5a", "0x5", "18446744073709551616", "-1"] {
        broken(ok(&format!("Content-Length: {value}\r\n")), ResponseError::Length);
    }
    broken(ok(&format!("{coding}{coding}")), ResponseError::TransferEncoding);
    for value in ["gzip, chunked", "chunked, chunked", "identity", "gzip", "", "xchunked"] {
        let head = ok(&format!("Transfer-Encoding: {value}\r\n"));
        broken(head, ResponseError::TransferEncoding);
    }
    broken(format!("HTTP/1.0 200 OK\r\n{coding}\r\n"), ResponseError::TransferEncoding);
    // Whatever the status: a head that cannot be trusted is not half trusted.
    broken(format!("HTTP/1.1 304 x\r\n{length}{coding}\r\n"), ResponseError::BothLengths);
}

#[test]
fn r406_field_lines_are_read_as_strictly_as_those_of_a_request() {
    for (line, why) in [
        ("x : y", FramingError::FieldName),
        ("x", FramingError::FieldName),
        (": y", FramingError::FieldName),
        (" x: y", FramingError::Folded),
        ("x: a\0b", FramingError::Control),
        ("x: a\nb: c", FramingError::LineEnd),
        ("x: a\rb", FramingError::LineEnd),
    ] {
        broken(ok(&format!("{line}\r\n")), ResponseError::Field(why));
    }
    assert!(parse(&ok("X-Thing: caf\u{e9}\tx\r\nempty:\r\n")).is_ok());
}

#[test]
fn r107_a_response_head_over_a_limit_says_which_and_how_large() {
    let many = ok(&"x: y\r\n".repeat(FIELDS_MAX + 1));
    let error = parse(&many).unwrap_err();
    assert_eq!(error, ResponseError::TooManyFields { fields: 101 });
    assert_eq!(error.to_string(), "response head with more than 100 fields: 101 fields");
    assert!(parse(&ok(&"x: y\r\n".repeat(FIELDS_MAX))).is_ok());
    let large = ok(&format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX)));
    let error = ResponseHead::end(large.as_bytes(), 0).unwrap_err();
    assert_eq!(error, ResponseError::HeadTooLarge { bytes: large.len() });
    let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'y'; HEAD_BYTES_MAX]].concat();
    let error = ResponseHead::end(&endless, 0).unwrap_err();
    assert_eq!(error, ResponseError::HeadTooLarge { bytes: endless.len() });
    assert!(error.to_string().contains("65536 bytes: at least"), "{error}");
}

#[test]
fn what_is_no_response_is_noticed_with_its_first_bytes() {
    assert_eq!(ResponseHead::end(b"", 0), Ok(None));
    assert_eq!(ResponseHead::end(b"HTTP/1", 0), Ok(None));
    assert_eq!(ResponseHead::end(b"HTTP/1.1 200 OK\r\n\r\nx", 0), Ok(Some(19)));
    for garbage in [&b"SSH-2.0"[..], b"H2", b"\x15\x03\x01", b"<html>", b"HTTP/2"] {
        assert_eq!(ResponseHead::end(garbage, 0), Err(ResponseError::StatusLine));
    }
}

#[test]
fn contract_proxying_fields_of_one_connection_stay_on_it() {
    let head = ok("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                   Content-Length: 3\r\nUpgrade: h2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
                   Proxy-Authenticate: x\r\nTE: x\r\nProxy-Connection: x\r\nX-Thing:  y \r\n");
    let head = parse(&head).unwrap();
    let kept: Vec<_> = head.forwarded().collect();
    assert_eq!(
        kept,
        [
            (&b"Content-Length"[..], &b"3"[..]),
            (b"Set-Cookie", b"a"),
            (b"Set-Cookie", b"b"),
            (b"X-Thing", b"y"),
        ]
    );
    assert!(head.is_persistent);
    assert_eq!(head.upgrade, Some(&b"h2"[..]));
    // A nomination never takes away what frames the body.
    let nominated = ok("Connection: content-length\r\nContent-Length: 3\r\n");
    assert_eq!(parse(&nominated).unwrap().forwarded().count(), 1);
    let none = "HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(parse(none).unwrap().forwarded().count(), 0);
}

#[test]
fn a_connection_persists_unless_it_is_told_not_to() {
    let persists = |text: &str| parse(text).unwrap().is_persistent;
    assert!(persists("HTTP/1.1 200 x\r\n\r\n"));
    assert!(!persists("HTTP/1.1 200 x\r\nConnection: x, Close\r\n\r\n"));
    assert!(!persists("HTTP/1.0 200 x\r\n\r\n"));
    assert!(!persists("HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n"));
}
