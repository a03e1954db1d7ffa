use tokio::io::AsyncWriteExt;

use super::*;

fn pair() -> (tokio::io::DuplexStream, Connection) {
    let (client, server) = tokio::io::duplex(1 << 17);
    (client, Connection::new(Box::new(server)))
}

async fn read_some(connection: &mut Connection) -> Vec<u8> {
    let mut out = BytesMut::with_capacity(1 << 16);
    connection.read_buf(&mut out).await.unwrap();
    out.to_vec()
}

#[tokio::test]
async fn r402_one_request_is_delivered_and_the_next_is_kept() {
    let (mut client, mut connection) = pair();
    client.write_all(b"POST / \r\n\r\nabcGET / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, BodyLength::Known(3), Monotonic(0));
    assert_eq!(read_some(&mut connection).await, b"POST / \r\n\r\nabc");
    assert!(connection.is_at_a_boundary());
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(10));
}

#[tokio::test]
async fn a_body_that_comes_later_ends_where_it_ends() {
    let (mut client, mut connection) = pair();
    client.write_all(b"POST / \r\n\r\nab").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, BodyLength::Known(5), Monotonic(0));
    assert_eq!(read_some(&mut connection).await.len(), 13);
    assert!(!connection.is_at_a_boundary());
    client.write_all(b"cdeGET").await.unwrap();
    assert_eq!(read_some(&mut connection).await, b"cde");
    assert!(connection.is_at_a_boundary());
}

#[tokio::test]
async fn r107_a_head_is_bounded() {
    let (mut client, mut connection) = pair();
    client.write_all(&vec![b'a'; HEAD_BYTES_MAX + READ_BYTES]).await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn r1001_a_head_has_a_deadline_however_steadily_it_drips() {
    let (mut client, mut connection) = pair();
    client.write_all(b"G").await.unwrap();
    assert!(connection.wait().await);
    let began = Instant::now();
    let drip = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if client.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    assert_eq!(connection.read_head().await, HeadRead::Gone);
    assert_eq!(began.elapsed(), HEAD_MAX);
    drip.abort();
}

/// A body of which `bytes` come each second: after how long it ends the connection, at most
/// a minute.
async fn dripping(bytes: usize, body: BodyLength) -> Option<Duration> {
    let (mut client, mut connection) = pair();
    client.write_all(b"POST / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, body, Monotonic(0));
    read_some(&mut connection).await;
    if matches!(body, BodyLength::Chunked) {
        client.write_all(b"fffffff\r\n").await.unwrap();
    }
    let drip = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if client.write_all(&vec![b'x'; bytes]).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let mut out = vec![0; 1 << 16];
    let ended = loop {
        if began.elapsed() > Duration::from_secs(60) {
            break None;
        }
        match connection.read(&mut out).await {
            Ok(1..) => {}
            Ok(0) => panic!("the client is there"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                break Some(began.elapsed());
            }
        }
    };
    drip.abort();
    ended
}

#[tokio::test(start_paused = true)]
async fn r1001_a_body_has_a_floor_however_steadily_it_drips() {
    for body in [BodyLength::Known(1 << 30), BodyLength::Chunked] {
        for bytes in [1, 512, 1000] {
            let ended = dripping(bytes, body).await;
            assert!(ended.is_some_and(|ended| ended.as_secs() == 10), "{bytes}: {ended:?}");
        }
        assert_eq!(dripping(2048, body).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_who_brought_much_may_pause_and_time_that_is_ours_does_not_count() {
    let (mut client, mut connection) = pair();
    client.write_all(b"POST / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, BodyLength::Known(1 << 20), Monotonic(0));
    read_some(&mut connection).await;
    // Nobody asked: the upstream was busy.
    tokio::time::sleep(Duration::from_secs(100)).await;
    client.write_all(&[b'x'; 20 * 1024]).await.unwrap();
    assert_eq!(read_some(&mut connection).await.len(), 20 * 1024);
    let began = Instant::now();
    assert!(connection.read(&mut [0; 1]).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn r1001_once_a_body_has_ended_its_caller_owes_nothing() {
    for (body, bytes) in [(BodyLength::Known(3), "abc"), (BodyLength::Chunked, "0\r\n\r\n")] {
        let (mut client, mut connection) = pair();
        client.write_all(b"POST / \r\n\r\n").await.unwrap();
        assert!(connection.wait().await);
        assert_eq!(connection.read_head().await, HeadRead::Complete(11));
        connection.deliver(11, body, Monotonic(0));
        client.write_all(bytes.as_bytes()).await.unwrap();
        while !connection.is_at_a_boundary() {
            read_some(&mut connection).await;
        }
        let mut out = [0; 1];
        let read = connection.read(&mut out);
        assert!(tokio::time::timeout(Duration::from_secs(100), read).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_who_reads_nothing_is_gone_after_ten_seconds() {
    let (_client, mut connection) = pair();
    let began = Instant::now();
    assert!(connection.write_all(&vec![b'x'; 1 << 18]).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn r1002_an_idle_connection_ends() {
    let (_client, mut connection) = pair();
    assert!(!connection.wait().await);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_shows_life_is_not_late_and_one_that_does_not_is() {
    let (mut client, mut connection) = pair();
    client.write_all(b"GET / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(10));
    connection.deliver(10, BodyLength::Known(0), Monotonic(0));
    read_some(&mut connection).await;
    connection.expect_upstream_within(Duration::from_secs(2));
    let began = Instant::now();
    let mut out = [0; 1];
    let early = tokio::time::timeout(Duration::from_secs(1), connection.read(&mut out)).await;
    assert!(early.is_err());
    connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    assert!(connection.read(&mut out).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert!(connection.upstream_is_late());
}

/// A connection whose peer sent a request and ended its side.
async fn half_closed() -> (tokio::io::DuplexStream, Connection) {
    let (mut client, mut connection) = pair();
    client.write_all(b"GET / \r\n\r\n").await.unwrap();
    AsyncWriteExt::shutdown(&mut client).await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(10));
    connection.deliver(10, BodyLength::Known(0), Monotonic(0));
    read_some(&mut connection).await;
    (client, connection)
}

/// It may still read. Whether it does, writing the answer tells.
#[tokio::test(start_paused = true)]
async fn a_peer_that_ended_its_side_is_answered_while_the_upstream_is_not_late() {
    let (_client, mut connection) = half_closed().await;
    connection.expect_upstream_within(Duration::from_secs(2));
    let (began, mut out) = (Instant::now(), [0; 1]);
    let early = tokio::time::timeout(Duration::from_secs(1), connection.read(&mut out)).await;
    assert!(early.is_err(), "not taken for gone");
    assert!(connection.read(&mut out).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(connection.upstream_is_late());
    connection.write_all(b"HTTP/1.1 504 Gateway Timeout\r\n").await.unwrap();
    assert!(!connection.wait().await, "and there is no next request");
}

#[tokio::test(start_paused = true)]
async fn r211_a_peer_that_ended_its_side_is_gone_ten_seconds_after_it_was_last_written_to() {
    let (_client, mut connection) = half_closed().await;
    connection.expect_upstream_within(Duration::from_secs(60));
    let (began, mut out) = (Instant::now(), [0; 1]);
    let early = tokio::time::timeout(Duration::from_secs(9), connection.read(&mut out)).await;
    assert!(early.is_err());
    connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    assert_eq!(connection.read(&mut out).await.unwrap(), 0);
    assert_eq!(began.elapsed(), Duration::from_secs(19));
    assert!(!connection.upstream_is_late());
}

#[tokio::test]
async fn a_chunked_body_is_delivered_and_what_follows_it_is_kept() {
    for cut in 11..34 {
        let (mut client, mut connection) = pair();
        let bytes = b"POST / \r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / \r\n\r\n";
        client.write_all(&bytes[..cut]).await.unwrap();
        assert!(connection.wait().await);
        assert_eq!(connection.read_head().await, HeadRead::Complete(11));
        connection.deliver(11, BodyLength::Chunked, Monotonic(0));
        client.write_all(&bytes[cut..]).await.unwrap();
        let mut delivered = read_some(&mut connection).await;
        while !connection.is_at_a_boundary() {
            delivered.extend(read_some(&mut connection).await);
        }
        assert_eq!(delivered, &bytes[..24], "{cut}");
        assert!(connection.wait().await);
        assert_eq!(connection.read_head().await, HeadRead::Complete(10));
    }
}

#[tokio::test]
async fn r402_a_malformed_chunk_ends_the_reading() {
    let (mut client, mut connection) = pair();
    client.write_all(b"POST / \r\n\r\n3\nabc\r\n0\r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, BodyLength::Chunked, Monotonic(0));
    assert_eq!(read_some(&mut connection).await, b"POST / \r\n\r\n");
    assert!(connection.body_is_malformed());
    assert!(connection.read(&mut [0; 9]).await.is_err());
}

#[tokio::test]
async fn a_tunnel_passes_everything_on() {
    let (mut client, mut connection) = pair();
    client.write_all(b"GET / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(10));
    connection.deliver(10, BodyLength::Known(0), Monotonic(0));
    read_some(&mut connection).await;
    connection.open_tunnel();
    client.write_all(b"frame").await.unwrap();
    assert_eq!(read_some(&mut connection).await, b"frame");
    assert!(!connection.is_at_a_boundary());
}
