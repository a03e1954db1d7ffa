use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::config::{ConnectionCaps, ServedTls};
use crate::serve::observe::metrics::Metrics;

const KEEPALIVE: Duration = Duration::from_secs(75);

fn pair() -> (DuplexStream, Client) {
    let caps = ConnectionCaps { total: 100, per_address: 100 };
    let connections = Arc::new(Connections::new(caps, Metrics::new().connections()));
    let (client, server) = tokio::io::duplex(1 << 17);
    (client, Client::new(Box::new(server), KEEPALIVE, connections))
}

async fn head(client: &mut Client, expected: &[u8], body: BodyLength) {
    assert!(client.wait().await);
    assert_eq!(client.read_head().await, HeadRead::Complete(expected.len()));
    assert_eq!(client.take_head(expected.len()), expected);
    client.begin(body);
}

async fn body(client: &mut Client, form: BodyForm) -> Vec<u8> {
    let mut out = Vec::new();
    while !client.is_at_a_boundary() {
        poll_fn(|cx| client.poll_body(cx, form, 1 << 16, &mut out)).await.unwrap();
    }
    out
}

#[tokio::test]
async fn r402_one_request_is_read_and_the_next_is_kept() {
    let (mut peer, mut client) = pair();
    peer.write_all(b"POST / \r\n\r\nabcGET / \r\n\r\n").await.unwrap();
    head(&mut client, b"POST / \r\n\r\n", BodyLength::Known(3)).await;
    assert!(!client.is_at_a_boundary());
    assert_eq!(body(&mut client, BodyForm::Data).await, b"abc");
    head(&mut client, b"GET / \r\n\r\n", BodyLength::Known(0)).await;
}

#[tokio::test]
async fn a_body_that_comes_later_ends_where_it_ends() {
    let (mut peer, mut client) = pair();
    peer.write_all(b"POST / \r\n\r\nab").await.unwrap();
    head(&mut client, b"POST / \r\n\r\n", BodyLength::Known(5)).await;
    let mut out = Vec::new();
    assert_eq!(client.take_arrived(BodyForm::Data, &mut out), Ok(2));
    peer.write_all(b"cdeGET / \r\n\r\n").await.unwrap();
    assert_eq!(body(&mut client, BodyForm::Data).await, b"cde");
    head(&mut client, b"GET / \r\n\r\n", BodyLength::Known(0)).await;
}

#[tokio::test]
async fn r107_a_head_is_bounded() {
    let (mut peer, mut client) = pair();
    peer.write_all(&vec![b'a'; HEAD_BYTES_MAX + READ_BYTES]).await.unwrap();
    assert!(client.wait().await);
    assert_eq!(client.read_head().await, HeadRead::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_noticed_with_its_first_byte() {
    for bytes in [&b"\x16\x03\x01\x02\0\x01\0"[..], b"\0", b" GET", b"\xff"] {
        let (mut peer, mut client) = pair();
        peer.write_all(bytes).await.unwrap();
        assert!(client.wait().await);
        let began = Instant::now();
        assert_eq!(client.read_head().await, HeadRead::NoRequest);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_a_head_has_a_deadline_however_steadily_it_drips() {
    let (mut peer, mut client) = pair();
    peer.write_all(b"G").await.unwrap();
    assert!(client.wait().await);
    let began = Instant::now();
    let drip = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if peer.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    assert_eq!(client.read_head().await, HeadRead::Gone);
    assert_eq!(began.elapsed(), HEAD_MAX);
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn r1004_a_handshake_has_a_deadline_however_steadily_it_drips() {
    for first in [&b""[..], b"\x16\x03\x01\x01", b"\x16\x03\x01\x40\x00"] {
        let (mut peer, client) = pair();
        let began = Instant::now();
        let drip = tokio::spawn(async move {
            let _ = peer.write_all(first).await;
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                // Only a handshake that has begun goes on.
                if !first.is_empty() && peer.write_all(b"\x01").await.is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + HANDSHAKE_MAX;
        let secured = client.secure(Arc::new(ServedTls::without_certificates()), deadline).await;
        assert!(matches!(secured, Err(NotSecured::Failed("timed_out", _))));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drip.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn r1002_an_idle_connection_ends() {
    let (_peer, mut client) = pair();
    let began = Instant::now();
    assert!(!client.wait().await);
    assert_eq!(began.elapsed(), KEEPALIVE);
}

#[tokio::test]
async fn r402_a_chunked_body_is_framed_anew_and_what_follows_it_is_kept() {
    let bytes = b"POST / \r\n\r\n3;x=\"y\"\r\nabc\r\n000\r\nX-Trailer: y\r\n\r\nGET / \r\n\r\n";
    for cut in 11..bytes.len() {
        for (form, expected) in
            [(BodyForm::Data, "abc"), (BodyForm::Chunks, "3\r\nabc\r\n0\r\n\r\n")]
        {
            let (mut peer, mut client) = pair();
            peer.write_all(&bytes[..cut]).await.unwrap();
            head(&mut client, b"POST / \r\n\r\n", BodyLength::Chunked).await;
            let mut read = Vec::new();
            client.take_arrived(form, &mut read).unwrap();
            peer.write_all(&bytes[cut..]).await.unwrap();
            read.extend(body(&mut client, form).await);
            let is_split = (21..23).contains(&cut) && form == BodyForm::Chunks;
            if !is_split {
                assert_eq!(read, expected.as_bytes(), "cut at {cut}");
            }
            assert!(!String::from_utf8_lossy(&read).contains(['x', 'X']));
            head(&mut client, b"GET / \r\n\r\n", BodyLength::Known(0)).await;
        }
    }
}

#[tokio::test]
async fn r402_a_malformed_chunk_ends_the_reading() {
    let (mut peer, mut client) = pair();
    peer.write_all(b"POST / \r\n\r\n3\nabc\r\n0\r\n\r\n").await.unwrap();
    head(&mut client, b"POST / \r\n\r\n", BodyLength::Chunked).await;
    let read = client.take_arrived(BodyForm::Chunks, &mut Vec::new());
    assert_eq!(read, Err(BodyStop::Malformed(framing::FramingError::Body)));
}

#[tokio::test]
async fn a_client_that_leaves_within_a_body_is_gone() {
    for length in [BodyLength::Known(5), BodyLength::Chunked] {
        let (mut peer, mut client) = pair();
        peer.write_all(b"POST / \r\n\r\n5").await.unwrap();
        head(&mut client, b"POST / \r\n\r\n", length).await;
        client.take_arrived(BodyForm::Data, &mut Vec::new()).unwrap();
        drop(peer);
        let mut out = Vec::new();
        let read = poll_fn(|cx| client.poll_body(cx, BodyForm::Data, 9, &mut out)).await;
        assert_eq!(read, Err(BodyStop::Gone));
    }
}

#[tokio::test(start_paused = true)]
async fn r101_a_body_is_drained_as_far_as_64_kib_and_5_s() {
    for (length, comes, is_drained) in
        [(65_536, 65_536, true), (65_537, 65_537, false), (10, 9, false), (0, 0, true)]
    {
        let (mut peer, mut client) = pair();
        peer.write_all(b"POST / \r\n\r\n").await.unwrap();
        head(&mut client, b"POST / \r\n\r\n", BodyLength::Known(length)).await;
        peer.write_all(&vec![b'x'; comes]).await.unwrap();
        let began = Instant::now();
        assert_eq!(client.drain().await, is_drained, "{length}");
        assert!(began.elapsed() <= Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_a_client_that_reads_nothing_is_cut() {
    let sixty = Duration::from_secs(60);
    let admitted = Patience { body: sixty, write: sixty, min_body_rate: None };
    for (patience, seconds) in [(Patience::NOT_ADMITTED, 10), (admitted, 60)] {
        let (_peer, mut client) = pair();
        client.set_patience(patience);
        let began = Instant::now();
        assert_eq!(client.send(&vec![b'x'; 1 << 18]).await, Err(send::SendStop::Stalled));
        assert_eq!(began.elapsed(), Duration::from_secs(seconds));
    }
}
