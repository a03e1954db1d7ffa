//! What passes, what is refused, and how the connections are left.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Asked, Done, GET, HEAD, Rig};
use crate::decide::request::framing::BodyLength;
use crate::decide::response::ResponseError;
use crate::serve::exchange::relay::{End, Stop, UpstreamStop};

const SENT: &str = "POST / HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GOT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: id\r\n\r\nok";
const BOTH: End = End { keep_upstream: true, keep_client: true };

const POST: Asked = Asked { body: BodyLength::Known(5), ..GET };
const CHUNKED: Asked = Asked { body: BodyLength::Chunked, ..GET };

#[track_caller]
fn ended(done: &Done, expected: End) {
    assert!(done.ended.as_ref().is_ok_and(|end| *end == expected), "{:?}", done.ended);
}

/// A response, and what the client gets of it.
async fn answered(asked: Asked, response: &str, expected: &str) -> Done {
    let mut rig = Rig::start(asked, b"").await;
    rig.upstream_gets(SENT).await;
    for piece in response.as_bytes().chunks(7) {
        rig.upstream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    rig.upstream.shutdown().await.unwrap();
    rig.client_gets(expected).await;
    rig.done().await
}

#[tokio::test(start_paused = true)]
async fn contract_proxying_a_response_passes_and_both_connections_stay() {
    let done = answered(GET, OK, GOT).await;
    ended(&done, BOTH);
    assert_eq!((done.status, done.bytes_out), (200, 2));
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n";
    let got = chunked.replace("chunked\r\n", "chunked\r\nX-Request-Id: id\r\n");
    let done = answered(GET, chunked, &got).await;
    ended(&done, BOTH);
    assert_eq!(done.bytes_out, 2);
    for (status, asked) in [(304, GET), (200, Asked { is_head: true, ..GET })] {
        let response = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\n");
        let got = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nX-Request-Id: id\r\n\r\n");
        ended(&answered(asked, &response, &got).await, BOTH);
    }
}

/// The body may follow, and would be read as the answer to the next request.
#[tokio::test(start_paused = true)]
async fn r406_a_204_that_announces_a_body_makes_its_connection_unfit() {
    for (framing, keep_upstream) in [
        ("", true),
        ("Content-Length: 0\r\n", true),
        ("Content-Length: 2\r\n", false),
        ("Transfer-Encoding: chunked\r\n", false),
    ] {
        let response = format!("HTTP/1.1 204 x\r\n{framing}\r\n");
        let done = answered(GET, &response, "HTTP/1.1 204 x\r\nX-Request-Id: id\r\n\r\n").await;
        ended(&done, End { keep_upstream, keep_client: true });
    }
}

#[tokio::test(start_paused = true)]
async fn r406_what_follows_a_response_makes_its_connection_unfit() {
    for (asked, response) in [
        (GET, format!("{OK}HTTP/1.1 200 OK\r\n")),
        (Asked { is_head: true, ..GET }, OK.to_owned()),
        (GET, "HTTP/1.1 204 x\r\n\r\nx".to_owned()),
        (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx".to_owned()),
        (GET, OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
        (GET, OK.replace("HTTP/1.1", "HTTP/1.0")),
    ] {
        let mut rig = Rig::start(asked, b"").await;
        rig.upstream_sends(&response).await;
        let done = rig.done().await;
        ended(&done, End { keep_upstream: false, keep_client: true });
    }
}

#[tokio::test(start_paused = true)]
async fn r406_a_broken_response_is_noticed_before_a_byte_of_it_is_passed_on() {
    let length = "Content-Length: 2\r\n";
    for (response, why) in [
        ("SSH-2.0-x\r\n".to_owned(), ResponseError::StatusLine),
        (format!("HTTP/1.1 200 OK\r\n{length}{length}\r\nok"), ResponseError::Length),
        (
            format!("HTTP/1.1 200 OK\r\n{length}Transfer-Encoding: chunked\r\n\r\n"),
            ResponseError::BothLengths,
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101)),
            ResponseError::TooManyFields { fields: 101 },
        ),
    ] {
        let mut rig = Rig::start(GET, b"").await;
        rig.upstream_sends(&response).await;
        let done = rig.done().await;
        let Err(Stop::Upstream(UpstreamStop::Response(error))) = done.ended else {
            panic!("{:?}", done.ended)
        };
        assert_eq!((error, done.status), (why, 0));
    }
    let done = answered(GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "HTTP").await;
    assert!(matches!(done.ended, Err(Stop::Upstream(UpstreamStop::Closed))), "{:?}", done.ended);
    assert_eq!(done.status, 200);
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx";
    let done = answered(GET, chunk, "").await;
    assert!(matches!(done.ended, Err(Stop::Upstream(UpstreamStop::Chunk))), "{:?}", done.ended);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_with_the_connection_reaches_the_client_in_chunks() {
    let response = "HTTP/1.0 200 OK\r\n\r\nok";
    let head = "HTTP/1.1 200 OK\r\nX-Request-Id: id\r\n";
    let got = format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let mut rig = Rig::start(GET, b"").await;
    rig.upstream_sends(response).await;
    rig.upstream.shutdown().await.unwrap();
    rig.client_gets(&got).await;
    let done = rig.done().await;
    ended(&done, End { keep_upstream: false, keep_client: true });
    // HTTP/1.0 has no chunks: the end of the connection ends it there, too.
    let old = Asked { is_http11: false, ..GET };
    let got = format!("{head}Connection: close\r\n\r\nok");
    let none = End { keep_upstream: false, keep_client: false };
    ended(&answered(old, response, &got).await, none);
}

#[tokio::test(start_paused = true)]
async fn an_http10_client_gets_neither_chunks_nor_interim_responses() {
    let old = Asked { is_http11: false, ..GET };
    let response = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n";
    let got = "HTTP/1.1 200 OK\r\nX-Request-Id: id\r\nConnection: close\r\n\r\nok";
    let done = answered(old, response, got).await;
    ended(&done, End { keep_upstream: true, keep_client: false });
    let got = GOT.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
    ended(&answered(old, OK, &got).await, BOTH);
}

#[tokio::test(start_paused = true)]
async fn interim_responses_pass_and_are_bounded() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let done = answered(GET, &[early, early, OK].concat(), &[early, early, GOT].concat()).await;
    ended(&done, BOTH);
    let mut rig = Rig::start(GET, b"").await;
    rig.upstream_sends(&early.repeat(101)).await;
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::Upstream(UpstreamStop::Interim))), "{:?}", done.ended);
}

#[tokio::test(start_paused = true)]
async fn a_100_passes_and_a_request_behind_the_body_waits() {
    let asked = Asked { expects: true, ..POST };
    let mut rig = Rig::start(asked, b"").await;
    rig.upstream_gets(SENT).await;
    rig.upstream_sends("HTTP/1.1 100 Continue\r\n\r\n").await;
    rig.client_gets("HTTP/1.1 100 Continue\r\n\r\n").await;
    rig.client_sends("helloGET /next").await;
    rig.upstream_gets("hello").await;
    rig.upstream_sends(OK).await;
    rig.client_gets(GOT).await;
    let done = rig.done().await;
    ended(&done, BOTH);
    assert_eq!(done.left, b"GET /next");
    // Without a 100 the body waits until the client sends it anyway.
    let mut rig = Rig::start(asked, b"").await;
    rig.upstream_gets(SENT).await;
    rig.client_sends("hello").await;
    rig.upstream_gets("hello").await;
    rig.upstream_sends(OK).await;
    ended(&rig.done().await, BOTH);
    // A final answer instead: the body may come or not.
    let mut rig = Rig::start(asked, b"").await;
    rig.upstream_sends(OK).await;
    let done = rig.done().await;
    ended(&done, End { keep_upstream: false, keep_client: false });
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_body_ends_the_upstream_connection() {
    for (length, keep_client) in [(5, true), (64 * 1024, true), (64 * 1024 + 1, false)] {
        let asked = Asked { body: BodyLength::Known(length), ..GET };
        let mut rig = Rig::start(asked, b"").await;
        rig.upstream_gets(SENT).await;
        rig.upstream_sends(OK).await;
        let close = if keep_client { "\r\n" } else { "\r\nConnection: close\r\n" };
        rig.client_gets(&GOT.replace("\r\n\r\n", &format!("{close}\r\n"))).await;
        let done = rig.done().await;
        ended(&done, End { keep_upstream: false, keep_client });
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_may_answer_while_it_reads() {
    let mut rig = Rig::start(POST, b"").await;
    rig.upstream_sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    rig.upstream_gets(SENT).await;
    for byte in ["h", "e", "l", "l", "o"] {
        rig.client_sends(byte).await;
        rig.upstream_gets(byte).await;
        rig.upstream_sends(&format!("1\r\n{byte}\r\n")).await;
    }
    rig.upstream_sends("0\r\n\r\n").await;
    let done = rig.done().await;
    assert_eq!((done.bytes_in, done.bytes_out), (5, 5));
    assert!(done.ended.is_ok_and(|end| end.keep_upstream));
}

#[tokio::test(start_paused = true)]
async fn r402_a_chunked_request_is_framed_anew() {
    let mut rig = Rig::start(CHUNKED, b"5;x=\"y\"\r\nhel").await;
    rig.upstream_gets(&format!("{SENT}3\r\nhel\r\n")).await;
    rig.client_sends("lo\r\n0\r\nX-Auth-Subject: root\r\n\r\nGET /next").await;
    rig.upstream_gets("2\r\nlo\r\n0\r\n\r\n").await;
    rig.upstream_sends(OK).await;
    let done = rig.done().await;
    ended(&done, BOTH);
    assert_eq!((done.bytes_in, &*done.left), (5, &b"GET /next"[..]));
    let rig = Rig::start(CHUNKED, b"5\nhello").await;
    assert!(matches!(rig.done().await.ended, Err(Stop::BodyMalformed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_cannot_fit_is_refused_with_its_size_line() {
    let limited = Asked { body_limit: Some(10), ..CHUNKED };
    for (sent, is_refused) in [
        ("b\r\n", true),
        ("a\r\n", false),
        ("5\r\nhello\r\n6\r\n", true),
        ("fffffffffffffff\r\n", true),
    ] {
        let rig = Rig::start(limited, sent.as_bytes()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.is_over(), is_refused, "{sent}");
        if is_refused {
            assert!(matches!(rig.done().await.ended, Err(Stop::BodyTooLarge { limit: 10 })));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_again_only_as_long_as_all_of_it_is_there() {
    // Closed before a byte of an answer: POST was taken, GET may be repeated.
    for (asked, sent, may_repeat) in [
        (GET, &b""[..], [false, true]),
        (POST, b"hello", [false, true]),
        (POST, b"he", [false, true]),
        (CHUNKED, b"2\r\nhe", [false, true]),
    ] {
        let mut rig = Rig::start(asked, sent).await;
        let mut room = [0; 512];
        assert!(rig.upstream.read(&mut room).await.unwrap() >= HEAD.len());
        let Rig { client, upstream, .. } = &mut rig;
        let _ = (client, upstream.shutdown().await);
        let done = rig.done().await;
        assert!(matches!(done.ended, Err(Stop::Upstream(_))), "{:?}", done.ended);
        assert_eq!(done.may_repeat, may_repeat, "{}", sent.escape_ascii());
    }
    // A further piece of the body was read: it is gone.
    let mut rig = Rig::start(POST, b"he").await;
    rig.upstream_gets(&format!("{SENT}he")).await;
    rig.client_sends("llo").await;
    rig.upstream_gets("llo").await;
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.done().await.may_repeat, [false, false]);
    // Nothing was taken: the upstream had closed before.
    let mut rig = Rig::start(GET, b"").await.without_upstream();
    let _ = &mut rig;
    assert_eq!(rig.done().await.may_repeat, [true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_no_more_than_its_two_buffers() {
    let room = 1 << 10;
    for is_download in [true, false] {
        let body = if is_download { GET.body } else { BodyLength::Known(1 << 30) };
        let mut rig = Rig::start(Asked { body, room, ..GET }, b"").await;
        if is_download {
            rig.upstream_sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        }
        let piece = [&b"400\r\n"[..], &[b'x'; 1024], b"\r\n"].concat();
        let from = if is_download { &mut rig.upstream } else { &mut rig.client };
        let mut accepted = 0;
        let flood = async {
            loop {
                accepted += from.write(&piece[accepted % piece.len()..]).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(5), flood).await.is_err());
        assert!((1..=128 * 1024 + 2 * room).contains(&accepted), "{accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn r102_only_an_agreed_upgrade_opens_a_tunnel() {
    let asked = Asked { upgrades: true, ..GET };
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    // What the client sent behind its request waits for it.
    let mut rig = Rig::start(asked, b"early").await;
    rig.upstream_gets(SENT).await;
    let early = tokio::time::timeout(Duration::from_secs(60), rig.upstream.read_u8()).await;
    assert!(early.is_err(), "nothing before the 101");
    rig.upstream_sends(&format!("{switch}behind")).await;
    rig.client_gets(
        "HTTP/1.1 101 Switching Protocols\r\nX-Request-Id: id\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\n\r\nbehind",
    )
    .await;
    rig.upstream_gets("early").await;
    // Quiet for as long as its ends like; both halves end one after the other.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    rig.client_sends("ping").await;
    rig.upstream_gets("ping").await;
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.upstream_sends("last").await;
    rig.client_gets("last").await;
    rig.upstream.shutdown().await.unwrap();
    let done = rig.done().await;
    ended(&done, End { keep_upstream: false, keep_client: false });
    assert_eq!((done.status, done.bytes_in, done.bytes_out), (101, 9, 10));
    for (asked, response) in [(GET, switch.to_owned()), (asked, switch.replace("websocket", "h2c"))]
    {
        let mut rig = Rig::start(asked, b"early").await;
        rig.upstream_sends(&response).await;
        let done = rig.done().await;
        assert!(matches!(done.ended, Err(Stop::Upstream(UpstreamStop::Switch))));
        assert_eq!(done.left, b"early");
    }
}
