use std::num::NonZeroU64;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::config::ConnectionCaps;
use crate::serve::observe::metrics::Metrics;

const KEEPALIVE: Duration = Duration::from_secs(75);

fn connections(total: usize) -> Arc<Connections> {
    let caps = ConnectionCaps { total, per_address: total };
    Arc::new(Connections::new(caps, Metrics::new().connections()))
}

fn pair() -> (tokio::io::DuplexStream, Connection) {
    pair_of(connections(100))
}

fn pair_of(connections: Arc<Connections>) -> (tokio::io::DuplexStream, Connection) {
    let (client, server) = tokio::io::duplex(1 << 17);
    (client, Connection::new(Box::new(server), KEEPALIVE, connections))
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

const PATIENCE: Patience =
    Patience { body: Duration::from_secs(60), write: Duration::from_secs(60), min_body_rate: None };

const FLOOR: Patience = Patience { min_body_rate: NonZeroU64::new(1024), ..PATIENCE };

/// A connection that has delivered the head of a request with this body.
async fn awaiting(
    body: BodyLength,
    patience: Patience,
    connections: Arc<Connections>,
) -> (tokio::io::DuplexStream, Connection) {
    let (mut client, mut connection) = pair_of(connections);
    client.write_all(b"POST / \r\n\r\n").await.unwrap();
    assert!(connection.wait().await);
    assert_eq!(connection.read_head().await, HeadRead::Complete(11));
    connection.deliver(11, body, Monotonic(0));
    connection.set_patience(patience);
    read_some(&mut connection).await;
    (client, connection)
}

/// Reads a body of which `bytes` come every `every`. Returns after how long the connection ends it,
/// at most ten minutes.
async fn dripping(
    (mut client, mut connection): (tokio::io::DuplexStream, Connection),
    bytes: usize,
    every: Duration,
) -> Option<Duration> {
    if connection.chunks.is_some() {
        client.write_all(b"fffffff\r\n").await.unwrap();
    }
    let drip = tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if client.write_all(&vec![b'x'; bytes]).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let mut out = vec![0; 1 << 16];
    let ended = loop {
        if began.elapsed() > Duration::from_secs(600) {
            break None;
        }
        match connection.read(&mut out).await {
            Ok(1..) => {}
            Ok(0) => panic!("the client is there"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert_eq!(connection.missed_deadline(), Some(Cut::BodyTooSlow));
                break Some(began.elapsed());
            }
        }
    };
    drip.abort();
    ended
}

const BODIES: [BodyLength; 2] = [BodyLength::Known(1 << 30), BodyLength::Chunked];

#[tokio::test(start_paused = true)]
async fn contract_timeouts_a_slow_upload_has_no_floor_unless_configured() {
    let second = Duration::from_secs(1);
    for body in BODIES {
        let slow = awaiting(body, PATIENCE, connections(100)).await;
        assert_eq!(dripping(slow, 60, 5 * second).await, None, "60 bytes every 5 s");
        let paused = awaiting(body, PATIENCE, connections(100)).await;
        assert_eq!(dripping(paused, 1 << 10, 61 * second).await, Some(60 * second));
        for bytes in [1, 512, 1000] {
            let below = awaiting(body, FLOOR, connections(100)).await;
            let ended = dripping(below, bytes, second).await;
            assert!(ended.is_some_and(|ended| ended.as_secs() == 10), "{bytes}: {ended:?}");
        }
        let above = awaiting(body, FLOOR, connections(100)).await;
        assert_eq!(dripping(above, 2048, second).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_a_body_has_a_floor_while_connections_are_scarce() {
    let connections = connections(4);
    let open: Vec<_> = (0..4).map(|_| connections.enter(None).unwrap()).collect();
    let second = Duration::from_secs(1);
    for body in BODIES {
        let slow = awaiting(body, PATIENCE, Arc::clone(&connections)).await;
        let ended = dripping(slow, 60, second).await;
        assert!(ended.is_some_and(|ended| ended.as_secs() == 10), "{ended:?}");
    }
    let waiting = awaiting(BodyLength::Known(9), PATIENCE, Arc::clone(&connections)).await;
    drop(open);
    assert_eq!(dripping(waiting, 0, 300 * second).await, Some(60 * second), "scarce no more");
}

#[tokio::test(start_paused = true)]
async fn r1001_connections_that_become_scarce_are_noticed_while_a_body_is_waited_for() {
    let connections = connections(4);
    let waiting = awaiting(BodyLength::Known(9), PATIENCE, Arc::clone(&connections)).await;
    let scarce = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let open: Vec<_> = (0..4).map(|_| connections.enter(None).unwrap()).collect();
        tokio::time::sleep(Duration::from_secs(300)).await;
        drop(open);
    });
    let ended = dripping(waiting, 0, Duration::from_secs(300)).await.unwrap();
    assert!((20..=25).contains(&ended.as_secs()), "{ended:?}");
    scarce.abort();
}

#[tokio::test(start_paused = true)]
async fn r1001_a_fast_body_may_pause_and_time_of_the_upstream_does_not_count() {
    let (mut client, mut connection) =
        awaiting(BodyLength::Known(1 << 20), FLOOR, connections(100)).await;
    // The upstream takes nothing of the body.
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
async fn r1001_a_client_that_reads_nothing_is_cut() {
    for (patience, seconds) in [(None, 10), (Some(PATIENCE), 60)] {
        let (_client, mut connection) = pair();
        patience.into_iter().for_each(|patience| connection.set_patience(patience));
        let began = Instant::now();
        assert!(connection.write_all(&vec![b'x'; 1 << 18]).await.is_err());
        assert_eq!(began.elapsed(), Duration::from_secs(seconds));
        assert_eq!(connection.missed_deadline(), Some(Cut::ReaderStalled));
    }
}

#[tokio::test(start_paused = true)]
async fn r1002_an_idle_connection_ends() {
    let (_client, mut connection) = pair();
    let began = Instant::now();
    assert!(!connection.wait().await);
    assert_eq!(began.elapsed(), KEEPALIVE);
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
