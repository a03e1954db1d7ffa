//! Deadlines, each on its own: only time passes.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::rig::{Asked, GET, MINUTE, Rig};
use crate::config::ConnectionCaps;
use crate::decide::request::framing::BodyLength;
use crate::serve::downstream::connections::Connections;
use crate::serve::exchange::client::Patience;
use crate::serve::exchange::relay::Stop;
use crate::serve::observe::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);
const FLOOR: Patience = Patience { min_body_rate: NonZeroU64::new(1024), ..GET.patience };
const BODIES: [BodyLength; 2] = [BodyLength::Known(1 << 30), BodyLength::Chunked];

fn connections(total: usize) -> Arc<Connections> {
    let caps = ConnectionCaps { total, per_address: total };
    Arc::new(Connections::new(caps, Metrics::new().connections()))
}

async fn awaiting(body: BodyLength, patience: Patience, connections: Arc<Connections>) -> Rig {
    let asked = Asked { body, patience, ..GET };
    let start: &[u8] = if body == BodyLength::Chunked { b"fffffff\r\n" } else { b"" };
    Rig::among(connections, asked, start).await
}

/// Sends `bytes` of a body every `every`. Returns after how long the exchange ends, at most ten
/// minutes.
async fn dripping(mut rig: Rig, bytes: usize, every: Duration) -> Option<Duration> {
    let began = Instant::now();
    let mut room = vec![0; 1 << 16];
    let (piece, mut next) = (vec![b'x'; bytes], began + every);
    while !rig.is_over() && began.elapsed() < Duration::from_secs(600) {
        tokio::select! {
            _ = rig.upstream.read(&mut room) => {}
            () = tokio::time::sleep_until(next) => {
                let _ = rig.client.write_all(&piece).await;
                next += every;
            }
            () = tokio::time::sleep(SECOND / 4) => {}
        }
    }
    if !rig.is_over() {
        return None;
    }
    let (elapsed, done) = (began.elapsed(), rig.done().await);
    assert!(matches!(done.ended, Err(Stop::BodyTooSlow)), "{:?}", done.ended);
    Some(elapsed)
}

#[track_caller]
fn about(ended: Option<Duration>, seconds: u64) {
    assert!(ended.is_some_and(|ended| ended.as_secs() == seconds), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn contract_timeouts_a_slow_upload_has_no_floor_unless_configured() {
    for body in BODIES {
        let slow = awaiting(body, GET.patience, connections(100)).await;
        assert_eq!(dripping(slow, 60, 5 * SECOND).await, None, "60 bytes every 5 s");
        let paused = awaiting(body, GET.patience, connections(100)).await;
        about(dripping(paused, 1 << 10, 61 * SECOND).await, 60);
        for bytes in [1, 512, 1000] {
            let below = awaiting(body, FLOOR, connections(100)).await;
            about(dripping(below, bytes, SECOND).await, 10);
        }
        let above = awaiting(body, FLOOR, connections(100)).await;
        assert_eq!(dripping(above, 2048, SECOND).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn r1001_a_body_has_a_floor_while_connections_are_scarce() {
    let connections = connections(4);
    let open: Vec<_> = (0..4).map(|_| connections.enter(None).unwrap()).collect();
    for body in BODIES {
        let slow = awaiting(body, GET.patience, Arc::clone(&connections)).await;
        about(dripping(slow, 60, SECOND).await, 10);
    }
    let waiting = awaiting(BodyLength::Known(9), GET.patience, Arc::clone(&connections)).await;
    drop(open);
    about(dripping(waiting, 0, 300 * SECOND).await, 60);
}

#[tokio::test(start_paused = true)]
async fn r1001_connections_that_become_scarce_are_noticed_while_a_body_is_waited_for() {
    let connections = connections(4);
    let waiting = awaiting(BodyLength::Known(9), GET.patience, Arc::clone(&connections)).await;
    let scarce = tokio::spawn(async move {
        tokio::time::sleep(20 * SECOND).await;
        let open: Vec<_> = (0..4).map(|_| connections.enter(None).unwrap()).collect();
        tokio::time::sleep(300 * SECOND).await;
        drop(open);
    });
    let ended = dripping(waiting, 0, 300 * SECOND).await.unwrap();
    assert!((20..=25).contains(&ended.as_secs()), "{ended:?}");
    scarce.abort();
}

#[tokio::test(start_paused = true)]
async fn r1001_a_fast_body_may_pause_and_time_of_the_upstream_does_not_count() {
    let asked = Asked { body: BodyLength::Known(1 << 30), patience: FLOOR, room: 1 << 10, ..GET };
    let mut rig = Rig::start(asked, b"").await;
    // The upstream takes nothing of the body for a while.
    let send = vec![b'x'; 20 * 1024];
    let (mut received, mut room) = (0, vec![0; 1 << 16]);
    let late = Instant::now() + 50 * SECOND;
    let mut sent = 0;
    while received < super::rig::HEAD.len() + send.len() {
        let is_late = Instant::now() >= late;
        tokio::select! {
            count = rig.client.write(&send[sent..]), if sent < send.len() => sent += count.unwrap(),
            count = rig.upstream.read(&mut room), if is_late => received += count.unwrap(),
            () = tokio::time::sleep_until(late), if !is_late => {}
        }
    }
    let began = Instant::now();
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::BodyTooSlow)), "{:?}", done.ended);
    assert_eq!((done.bytes_in, began.elapsed().as_secs()), (20 * 1024, 20));
}

#[tokio::test(start_paused = true)]
async fn r1001_a_client_that_reads_nothing_is_cut_and_an_upstream_is_not_late_meanwhile() {
    let mut rig = Rig::start(Asked { room: 1 << 10, ..GET }, b"").await;
    rig.upstream_sends("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    let began = Instant::now();
    let flood = vec![b'x'; 1 << 20];
    let write = tokio::time::timeout(30 * SECOND, rig.upstream.write_all(&flood)).await;
    assert!(write.is_err(), "nobody reads");
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::ReaderStalled)), "{:?}", done.ended);
    assert_eq!((done.status, began.elapsed().as_secs()), (200, 60));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_nothing_is_late_from_the_end_of_the_request_on() {
    let rig = Rig::start(GET, b"").await;
    let began = Instant::now();
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::UpstreamLate("response"))), "{:?}", done.ended);
    assert_eq!((done.status, began.elapsed()), (0, 2 * MINUTE));
    let mut rig = Rig::start(Asked { body: BodyLength::Known(1), ..GET }, b"").await;
    tokio::time::sleep(50 * SECOND).await;
    rig.client_sends("x").await;
    let began = Instant::now();
    assert!(matches!(rig.done().await.ended, Err(Stop::UpstreamLate("response"))));
    assert_eq!(began.elapsed(), 2 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn contract_timeouts_response_counts_to_the_end_of_the_head() {
    let mut rig = Rig::start(GET, b"").await;
    let began = Instant::now();
    rig.upstream_sends("HTTP/1.1 200 OK\r\n").await;
    while !rig.is_over() && began.elapsed() < 10 * MINUTE {
        tokio::time::sleep(10 * SECOND).await;
        // The exchange may be over.
        let _ = rig.upstream.write_all(b"A: b\r\n").await;
    }
    let elapsed = began.elapsed();
    assert!(matches!(rig.done().await.ended, Err(Stop::UpstreamLate("response"))));
    assert_eq!(elapsed, 2 * MINUTE + 10 * SECOND, "noticed with the next piece");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_shows_life_is_not_late_and_one_that_does_not_is() {
    let mut rig = Rig::start(GET, b"").await;
    rig.upstream_sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..5 {
        tokio::time::sleep(50 * SECOND).await;
        rig.upstream_sends("x").await;
    }
    let began = Instant::now();
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::UpstreamLate("idle"))), "{:?}", done.ended);
    assert_eq!((done.status, began.elapsed()), (200, MINUTE));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_of_a_body_is_late() {
    let asked = Asked { body: BodyLength::Known(1 << 20), room: 1 << 10, ..GET };
    let mut rig = Rig::start(asked, b"").await;
    let began = Instant::now();
    let flood = vec![b'x'; 1 << 20];
    let write = tokio::time::timeout(59 * SECOND, rig.client.write_all(&flood)).await;
    assert!(write.is_err());
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::UpstreamLate("idle"))), "{:?}", done.ended);
    assert_eq!(began.elapsed().as_secs(), 60);
}

/// It may still read. Whether it does, writing the answer tells.
#[tokio::test(start_paused = true)]
async fn r211_a_client_that_ended_its_side_is_gone_ten_seconds_after_it_was_last_written_to() {
    let mut rig = Rig::start(GET, b"").await;
    rig.client.shutdown().await.unwrap();
    let began = Instant::now();
    tokio::time::sleep(9 * SECOND).await;
    rig.upstream_sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::ClientGone)), "{:?}", done.ended);
    assert_eq!(began.elapsed(), 19 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_a_100_is_not_slow() {
    let asked = Asked { body: BodyLength::Known(3), expects: true, ..GET };
    let mut rig = Rig::start(asked, b"").await;
    tokio::time::sleep(90 * SECOND).await;
    rig.upstream_sends("HTTP/1.1 100 Continue\r\n\r\n").await;
    rig.client_gets("HTTP/1.1 100 Continue\r\n\r\n").await;
    // From now on it is waited for.
    let began = Instant::now();
    let done = rig.done().await;
    assert!(matches!(done.ended, Err(Stop::BodyTooSlow)), "{:?}", done.ended);
    assert_eq!(began.elapsed(), MINUTE);
}
