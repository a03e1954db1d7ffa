use super::chunks::CHUNK_TEXT_BYTES_MAX;
use super::*;

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[track_caller]
fn refused(head: impl AsRef<[u8]>, why: FramingError) {
    let head = head.as_ref();
    assert_eq!(Head::parse(head).err(), Some(why), "{}", head.escape_ascii());
}

#[track_caller]
fn body(fields: &str, expected: BodyLength) {
    assert_eq!(Head::parse(&get(fields)).map(|head| head.body), Ok(expected), "{fields:?}");
}

#[test]
fn a_plain_head_is_read() {
    let head =
        b"\r\nPOST /a?b=%20c HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nx:\ty \r\n\r\n";
    let expected = Head {
        method: b"POST",
        target: b"/a?b=%20c",
        host: Some(b"a.example:80"),
        body: BodyLength::Known(5),
        fields: 3,
        is_http11: true,
        connection: ConnectionOptions::default(),
        expects: false,
        upgrade: None,
        lines: b"Host: a.example:80\r\nContent-Length: 5\r\nx:\ty \r\n\r\n",
    };
    let fields: Vec<_> = expected.iter().collect();
    assert_eq!(
        fields,
        [(&b"Host"[..], &b"a.example:80"[..]), (b"Content-Length", b"5"), (b"x", b"y")]
    );
    assert_eq!(Head::parse(head), Ok(expected));
    assert_eq!(Head::parse(b"GET / HTTP/1.0\r\n\r\n").map(|head| head.host), Ok(None));
}

#[test]
fn r402_every_line_ends_with_cr_lf() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx: b\rc: d\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a",
        "",
        "\r\n\r\n",
    ] {
        refused(head, FramingError::LineEnd);
    }
}

#[test]
fn r401_controls_folds_and_odd_names_are_refused() {
    refused(get("x: a\0b\r\n"), FramingError::Control);
    refused(get("x: a\x7fb\r\n"), FramingError::Control);
    refused(get("x\x01: a\r\n"), FramingError::Control);
    refused(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", FramingError::Control);
    refused(b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", FramingError::Control);
    refused(get("x: a\r\n b\r\n"), FramingError::Folded);
    refused(get("x: a\r\n\tb\r\n"), FramingError::Folded);
    refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", FramingError::Folded);
    for field in ["x : a", "x", ": a", "x y: a", "x(: a", "x\u{e9}: a", "\"x\": a"] {
        refused(get(&format!("{field}\r\n")), FramingError::FieldName);
    }
}

#[test]
fn r401_a_length_is_one_plain_number() {
    for field in [
        "+5",
        "-5",
        "0x5",
        " 5, 5",
        " 5,5",
        "",
        " ",
        " 5a",
        " 1e1",
        " 18446744073709551616",
        " 5;",
        " \u{663}",
    ] {
        refused(get(&format!("Content-Length:{field}\r\n")), FramingError::Length);
    }
    refused(get("Content-Length: 5\r\nContent-Length: 5\r\n"), FramingError::Length);
    refused(get("Content-Length: 5\r\ncontent-length: 6\r\n"), FramingError::Length);
    // Blanks around a value are no part of it (RFC 9110 section 5.5).
    for field in [" 5", "5", "  5", " 5 ", " 5\t", "\t5", "\t 5 \t"] {
        body(&format!("Content-Length:{field}\r\n"), BodyLength::Known(5));
    }
    body("content-length:18446744073709551615\r\n", BodyLength::Known(u64::MAX));
    body("", BodyLength::Known(0));
}

#[test]
fn r103_r401_a_transfer_coding_is_exactly_chunked() {
    for field in [
        " gzip",
        " gzip, chunked",
        " chunked, gzip",
        " chunked,",
        " chunked, chunked",
        " xchunked",
        " chunked ",
        "  chunked",
        " \tchunked",
        " chunked;q=1",
        " \"chunked\"",
        "",
        " identity",
        " chunked\u{b}",
        " Chunke\u{212a}",
    ] {
        let head = get(&format!("Transfer-Encoding:{field}\r\n"));
        let error = Head::parse(&head).err();
        let expected = if field.contains('\u{b}') {
            FramingError::Control
        } else {
            FramingError::TransferEncoding
        };
        assert_eq!(error, Some(expected), "{field:?}");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    refused(get(twice), FramingError::TransferEncoding);
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        FramingError::TransferEncoding,
    );
    body("Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
    body("transfer-encoding:Chunked\r\n", BodyLength::Chunked);
}

#[test]
fn r106_both_lengths_are_refused_in_either_order() {
    let te = "Transfer-Encoding: chunked\r\n";
    let cl = "Content-Length: 5\r\n";
    refused(get(&format!("{te}{cl}")), FramingError::BothLengths);
    refused(get(&format!("{cl}{te}")), FramingError::BothLengths);
    refused(get(&format!("Content-Length: 0\r\n{te}")), FramingError::BothLengths);
}

#[test]
fn r401_there_is_one_host() {
    refused("GET / HTTP/1.1\r\n\r\n", FramingError::HostMissing);
    refused(get("Host: a\r\n"), FramingError::HostMissing);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", FramingError::HostMissing);
    for host in ["a b", "u@a", "a, b", "a,b", "\u{e9}"] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), FramingError::HostInvalid);
    }
}

#[test]
fn r401_a_request_line_has_three_parts() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / b HTTP/1.1",
        "GET * HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "G(T / HTTP/1.1",
        " / HTTP/1.1",
        "GET  HTTP/1.1",
        "GET a HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:/a/ HTTP/1.1",
    ] {
        refused(format!("{line}\r\nHost: a\r\n\r\n"), FramingError::RequestLine);
    }
}

#[test]
fn a_minor_version_is_read_as_http11_and_another_major_one_is_not_supported() {
    for version in ["HTTP/1.1", "HTTP/1.2", "HTTP/1.9"] {
        let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(Head::parse(head.as_bytes()).map(|head| head.is_http11), Ok(true), "{version}");
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        refused(format!("GET / {version}\r\nHost: a\r\n\r\n"), FramingError::Version);
    }
    refused("PRI * HTTP/2.0\r\n\r\n", FramingError::Version);
}

#[test]
fn r603_connection_nominates_nothing_that_gatepost_reads_or_sets() {
    let options = |value: &str| {
        let head = get(&format!("Connection: {value}\r\n"));
        Head::parse(&head).map(|head| head.connection)
    };
    for value in
        ["host", "Content-Length", "close, X-Forwarded-For", "Expect", "a b", "\"x\"", ":path"]
    {
        assert_eq!(options(value), Err(FramingError::Connection), "{value}");
    }
    assert_eq!(options(&["x"; 10].join(",")), Err(FramingError::Connection));
    let two = get("Connection: Close, X-One\r\nconnection: ,UPGRADE,Keep-Alive\r\n");
    let head = Head::parse(&two).unwrap();
    let read = head.connection;
    assert!(read.close && read.keep_alive && read.upgrade && read.nominates);
    assert_eq!(head.nominated(), [&b"Close"[..], b"X-One", b"UPGRADE", b"Keep-Alive"]);
    assert!(!head.is_persistent());
}

#[test]
fn r405_only_a_websocket_handshake_asks_for_websocket() {
    let asks = |line: &str, fields: &str| {
        let head = format!("{line}\r\nHost: a\r\n{fields}\r\n");
        Head::parse(head.as_bytes()).unwrap().asks_for_websocket()
    };
    let both = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
    assert!(asks("GET / HTTP/1.1", both));
    assert!(!asks("GET / HTTP/1.0", both));
    assert!(!asks("POST / HTTP/1.1", both));
    assert!(!asks("GET / HTTP/1.1", &format!("{both}Content-Length: 1\r\n")));
    assert!(!asks("GET / HTTP/1.1", "Upgrade: websocket\r\n"));
    assert!(!asks("GET / HTTP/1.1", "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n"));
}

#[test]
fn r107_limits_of_a_head() {
    let head = |target: usize, fields: usize| {
        let fields = "x: y\r\n".repeat(fields);
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", "a".repeat(target))
    };
    let refused = |text: String| Head::check(text.as_bytes()).err();
    assert_eq!(refused(head(TARGET_BYTES_MAX - 1, FIELDS_MAX - 1)), None);
    assert_eq!(refused(head(TARGET_BYTES_MAX, 0)), Some(HeadRefused::TargetTooLong));
    assert_eq!(refused(head(0, FIELDS_MAX)), Some(HeadRefused::TooManyFields));
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    assert_eq!(refused(connect), Some(HeadRefused::Connect));
    assert_eq!(too_large(&[b'a'; 70_000]), HeadRefused::TargetTooLong);
    assert_eq!(too_large(b"GET /\r\naa"), HeadRefused::TooLarge);
}

#[test]
fn r110_targets_that_would_be_escaped_or_cut_are_refused() {
    for target in ["/\u{e9}", "/a\"b", "/<a>", "/a#b", "/a?b#c", "/\u{2f00}", "/a?b=\u{7f}"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let why = Head::parse(head.as_bytes()).unwrap_err();
        assert!(matches!(why, FramingError::RequestLine | FramingError::Control), "{target}");
    }
    // The query is the application's.
    for target in ["/a?b=\"c\"", "/?f={\"a\":1}", "/?q=<b>", "/?q=\u{e9}`|\\^"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(Head::parse(head.as_bytes()).is_ok(), "{target}");
    }
    for target in ["/a?$filter=stock%20gt%200", "/a|b", "/{a}?b=\\^`", "/a`b", "/a;b", "/%ff"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(Head::parse(head.as_bytes()).is_ok(), "{target}");
    }
}

#[test]
fn r111_an_absolute_target_names_the_host() {
    for target in ["http://b/", "http://a:80/", "http://u@a/", "http:///", "http://A/"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        refused(head, FramingError::HostInvalid);
    }
    for target in ["http://a/", "HTTP://a", "https://a?b", "http://a/b?c"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(Head::parse(head.as_bytes()).is_ok(), "{target}");
    }
    assert_eq!(path_and_query(b"http://a"), (&b"/"[..], None));
    assert_eq!(path_and_query(b"https://a?b/c"), (&b"/"[..], Some(&b"b/c"[..])));
    assert_eq!(path_and_query(b"http://a/b?c?d"), (&b"/b"[..], Some(&b"c?d"[..])));
    assert_eq!(path_and_query(b"/b?"), (&b"/b"[..], Some(&b""[..])));
}

#[test]
fn the_end_of_a_head_is_found_however_it_arrives() {
    let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut more = head.to_vec();
    more.extend_from_slice(b"GET /next HTTP/1.1\r\n\r\n");
    for cut in 0..head.len() {
        assert_eq!(head_end(&head[..cut], 0), None, "{cut}");
        assert_eq!(head_end(&more, cut), Some(head.len()), "{cut}");
    }
    assert_eq!(head_end(b"GET / HTTP/1.1\n\nx", 0), Some(16));
    assert_eq!(head_end(b"GET / HTTP/1.1\r\n\nx", 0), Some(17));
    assert_eq!(head_end(b"", 0), None);
}

#[test]
fn r402_a_chunked_body_is_followed_to_its_end_however_it_arrives() {
    for body in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "A;x=y\r\n0123456789\r\n00\r\n\r\n",
        "3;x\r\nab\n\r\n0\r\nx-trailer: y\r\nz: \r\n\r\n",
        "1;a;b=c; d = \"e\\\"; f\" ;g\r\nx\r\n0;last\r\n\r\n",
        "1 ; a\r\nx\r\n0\r\nX-Hosts: b\r\nContent-Length-2:1\r\n\r\n",
        "12\r\n0123456789abcdefgh\r\n0\r\n\r\n",
        "001A\r\n0123456789abcdefghijklmnop\r\n0000\r\n\r\n",
    ] {
        let next = format!("{body}GET / HTTP/1.1\r\n");
        for cut in 0..=next.len() {
            let mut chunks = Chunks::default();
            let first = chunks.follow(&next.as_bytes()[..cut]).unwrap();
            let second = chunks.follow(&next.as_bytes()[cut..]).unwrap();
            assert_eq!(first + second, body.len(), "{body:?} cut at {cut}");
            assert!(chunks.is_done());
        }
        assert!(!{
            let mut chunks = Chunks::default();
            chunks.follow(&body.as_bytes()[..body.len() - 1]).unwrap();
            chunks.is_done()
        });
    }
}

#[test]
fn the_data_of_a_chunked_body_is_the_same_however_it_arrives() {
    let body = b"3;x=y\r\nabc\r\n1\r\nd\r\n0A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nx: y\r\n\r\nGET";
    for cut in 0..body.len() {
        let (mut chunks, mut data) = (Chunks::default(), Vec::new());
        for part in [&body[..cut], &body[cut..]] {
            chunks.decode(part, |run| data.extend_from_slice(run)).unwrap();
        }
        assert_eq!(data, b"abcd\r\n\r\n\r\n\r\n\r\n", "cut at {cut}");
    }
}

#[test]
fn a_chunk_says_how_much_it_still_brings() {
    let mut chunks = Chunks::default();
    for (part, announced) in [
        ("f", 15),
        ("f;a=b", 255),
        ("\r\n", 255),
        ("abc", 252),
        (&"d".repeat(252), 0),
        ("\r\n0", 0),
    ] {
        chunks.follow(part.as_bytes()).unwrap();
        assert_eq!(chunks.announced(), announced, "{part}");
    }
}

#[test]
fn r402_a_chunked_body_with_two_readings_is_refused() {
    assert_eq!((TARGET_BYTES_MAX, HEAD_BYTES_MAX, CHUNK_TEXT_BYTES_MAX), (8_192, 65_536, 8_192));
    let long = format!("1;{}", "x".repeat(CHUNK_TEXT_BYTES_MAX + 1));
    let long_in_pieces = "1;abcdefgh=01\r\nx\r\n".repeat(CHUNK_TEXT_BYTES_MAX / 8);
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(FIELDS_MAX + 1));
    for body in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        ";\r\n",
        "1\n",
        "1\r\r\n",
        "2;\nxx",
        "1;x\0\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r0",
        "0\r\n\n",
        "0\r\nx\n\r\n",
        "0\r\nx\ry",
        "00000000000000001\r\n",
        "5;\r\n",
        "5 \r\n",
        "5\t\r\n",
        "5;a=\"b\r\n",
        "5;=\r\n",
        "5;a=\r\n",
        "5;a b\r\n",
        "5;a=b c\r\n",
        "5;a=\"b\"c\r\n",
        "5;a=\"b\\\r\n",
        "5;a \r\n",
        "5;;a\r\n",
        "5 5\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: y\r\n z\r\n\r\n",
        "0\r\nx: \0\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\ntransfer_encoding: chunked\r\n\r\n",
        "0\r\nHOST:a\r\n\r\n",
        "0\r\nx: y\r\nTrailer: z\r\n\r\n",
        &long,
        &long_in_pieces,
        &many_trailers,
    ] {
        let followed = Chunks::default().follow(body.as_bytes());
        assert_eq!(followed, Err(FramingError::Body), "{body:?}");
    }
}

#[test]
fn r402_extensions_of_a_long_upload_are_bounded_by_its_data() {
    let signed = format!("40;chunk-signature={}\r\n{}\r\n", "a".repeat(64), "x".repeat(64));
    let body = format!("{}0\r\n\r\n", signed.repeat(1_000));
    let mut chunks = Chunks::default();
    assert_eq!(chunks.follow(body.as_bytes()), Ok(body.len()));
    assert!(chunks.is_done());
}

#[test]
fn nothing_follows_the_empty_line_of_a_head() {
    for rest in ["x", "\r\n", "\n", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let head = [&*get(""), rest.as_bytes()].concat();
        refused(head, FramingError::LineEnd);
    }
}

#[test]
fn only_options_asks_about_the_server_itself() {
    assert!(Head::parse(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", FramingError::RequestLine);
}
