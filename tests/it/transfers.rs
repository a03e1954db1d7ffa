//! Contract: transfers that end early say why, to the caller where that is still possible.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Recorder, Reply, Sidecar, eventually, head, standard};

const ROUTES: &str = "routes:\n\
    \x20 - { path: /**, name: all, access: anonymous, timeouts: { body: 300ms, write: 300ms } }\n";

fn sidecar(upstream: &Recorder) -> Sidecar {
    let (sandbox, config) = standard(upstream.url());
    sandbox.start(&format!("{config}{ROUTES}"))
}

/// The line of the only request for this path.
#[track_caller]
fn line_of(sidecar: &Sidecar, path: &str) -> Value {
    eventually("the line of the request", || {
        let text = sidecar.stdout();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["path"] == path)
    })
}

#[track_caller]
fn cut(sidecar: &Sidecar, path: &str, reason: &str) -> Value {
    let line = line_of(sidecar, path);
    assert_eq!((&line["outcome"], &line["reason"]), (&"cut".into(), &reason.into()), "{line}");
    let series = format!("gatepost_transfers_cut_total{{reason=\"{reason}\",route=\"all\"}}");
    assert_eq!(sidecar.metric(&series), 1.0, "{series}");
    line
}

#[test]
fn contract_transfers_a_body_that_pauses_is_408() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for (path, framing, body) in [
        ("/known", ("Content-Length", "10"), "ab"),
        ("/chunked", ("Transfer-Encoding", "chunked"), "5\r\nab"),
    ] {
        let mut client = sidecar.connect();
        let answer = client.send(head("POST", path, &[framing])).send(body).response();
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
        let line = line_of(&sidecar, path);
        assert_eq!((&line["outcome"], &line["status"]), (&"cut".into(), &408.into()), "{line}");
        assert_eq!(line["reason"], "body_too_slow");
        let why = sidecar.why(&answer);
        assert!(why.to_string().contains("timeouts.body"), "{why}");
    }
    let series = "gatepost_transfers_cut_total{reason=\"body_too_slow\",route=\"all\"}";
    assert_eq!(sidecar.metric(series), 2.0);
    assert_eq!(upstream.requests().len(), 0, "no whole request reached the upstream");
}

#[test]
fn contract_transfers_a_slow_upload_that_goes_on_is_not_cut() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    client.send(head("POST", "/slow", &[("Content-Length", "8")]));
    let (never, wait) = mpsc::channel::<()>();
    for _ in 0..8 {
        // Half of what is allowed, well above it in all.
        let paused = wait.recv_timeout(Duration::from_millis(150));
        assert_eq!(paused, Err(mpsc::RecvTimeoutError::Timeout));
        client.send("x");
    }
    drop(never);
    assert_eq!(client.response().status, 200);
    assert_eq!(line_of(&sidecar, "/slow")["outcome"], "admitted");
}

#[test]
fn contract_transfers_a_reader_that_stalls_is_cut() {
    let upstream = Recorder::answering(|_| Reply::text(&"x".repeat(64 << 20)));
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    assert_eq!(client.send(head("GET", "/big", &[])).response_head().status, 200);
    let line = cut(&sidecar, "/big", "reader_stalled");
    assert_eq!(line["status"], 200);
    drop(client);
}

#[test]
fn contract_transfers_a_client_that_leaves_is_cut() {
    let upstream = Recorder::answering(|_| Reply::text(&"x".repeat(64 << 20)));
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    assert_eq!(client.send(head("GET", "/left", &[])).response_head().status, 200);
    drop(client);
    cut(&sidecar, "/left", "client_gone");
}

#[test]
fn contract_transfers_an_upstream_that_leaves_is_cut() {
    let upstream = Recorder::answering(|_| {
        let (pieces, reply) = mpsc::channel();
        let piece = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.".to_vec();
        pieces.send(piece).expect("it is waited for");
        Reply::Pieces(reply)
    });
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    assert_eq!(client.send(head("GET", "/part", &[])).response_head().status, 200);
    assert_eq!(client.take(10), b"ten bytes.");
    assert!(client.is_closed(), "the client sees that the answer breaks off");
    cut(&sidecar, "/part", "upstream_gone");
    let failures = "gatepost_upstream_failures_total{kind=\"upstream_broken\",upstream=\"app\"}";
    assert_eq!(sidecar.metric(failures), 1.0);
}

#[test]
fn contract_listeners_keepalive_ends_idle_connections() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let listening = |keepalive: &str| {
        format!(
            "listeners: [{{ address: \"unix:public.sock\", keepalive: {keepalive} }}]\n\
             admin: {{ address: \"unix:admin.sock\" }}\n{config}{ROUTES}"
        )
    };
    sandbox.write("wrong.yaml", &listening("0s"));
    let checked = sandbox.run(&["check", "--config", "wrong.yaml"]);
    assert_eq!(checked.exit, 78, "{}", checked.stderr);
    assert!(checked.stderr.contains("keepalive"), "{}", checked.stderr);
    sandbox.write("gatepost.yaml", &listening("1s"));
    let sidecar = sandbox.start_as_written();
    let mut client = sidecar.connect();
    assert_eq!(client.exchange("GET", "/a", &[]).status, 200);
    assert!(client.is_closed());
}
