//! From the start to the end of a process: notifications to its manager, the lame-duck delay, and what
//! is left behind.

use std::os::unix::net::UnixDatagram;

use crate::support::{Client, PATIENCE, Recorder, Reply, Sidecar, eventually, standard};

const ROUTES: &str = "routes: [{ path: /**, access: anonymous }]\n";

fn started(upstream: &Recorder, settings: &str) -> Sidecar {
    let (sandbox, config) = standard(upstream.url());
    sandbox.start(&format!("{settings}{config}{ROUTES}"))
}

#[test]
fn contract_lifecycle_lame_duck_readyz_is_red_while_connections_are_still_taken() {
    let upstream = Recorder::start();
    let mut sidecar = started(&upstream, "lame_duck: 5m\n");
    sidecar.signal("TERM");
    eventually("readyz to be red", || {
        (sidecar.admin("GET", "/readyz", &[]).status == 503).then_some(())
    });
    let answer = sidecar.get("/new", &[]);
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    // A second signal ends the wait.
    sidecar.signal("TERM");
    sidecar.wait();
}

#[test]
fn contract_lifecycle_sigterm_ends_with_the_last_request() {
    let (enter, entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (enter, released) = (std::sync::Mutex::new(enter), std::sync::Mutex::new(released));
    let upstream = Recorder::answering(move |_| {
        enter.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        Reply::ok()
    });
    let mut sidecar = started(&upstream, "shutdown_timeout: 1h\n");
    let mut client = sidecar.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    entered.recv_timeout(PATIENCE).unwrap();
    sidecar.signal("TERM");
    let public = format!("unix:{}", sidecar.sandbox.path("public.sock").display());
    eventually("the listener to close", || Client::try_connect(&public).is_err().then_some(()));
    release.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    assert_eq!(sidecar.wait(), Some(0));
}

#[test]
fn contract_lifecycle_what_is_cut_at_the_end_is_recorded() {
    let (sender, pieces) = std::sync::mpsc::channel();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: upgrade\r\n\r\n";
    sender.send(switch.as_bytes().to_vec()).unwrap();
    let pieces = std::sync::Mutex::new(Some(pieces));
    let upstream = Recorder::answering(move |_| {
        pieces.lock().unwrap().take().map_or(Reply::Close, Reply::Pieces)
    });
    let (sandbox, config) = standard(upstream.url());
    let routes = "routes: [{ path: /**, access: anonymous, upgrade: websocket }]\n";
    let mut sidecar = sandbox.start(&format!("shutdown_timeout: 100ms\n{config}{routes}"));
    let mut client = sidecar.connect();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.response_head();
    assert_eq!(response.status, 101);
    sidecar.signal("TERM");
    sidecar.wait();
    let line = sidecar.log_line(&response);
    assert_eq!((&line["outcome"], &line["reason"]), (&"cut".into(), &"shutdown".into()), "{line}");
    drop(sender);
}

#[test]
fn contract_lifecycle_sockets_are_removed_at_a_clean_end() {
    let upstream = Recorder::start();
    let mut sidecar = started(&upstream, "");
    let sockets = ["public.sock", "admin.sock"].map(|name| sidecar.sandbox.path(name));
    assert!(sockets.iter().all(|socket| socket.exists()));
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    assert!(!sockets.iter().any(|socket| socket.exists()), "{sockets:?}");
}

#[test]
fn contract_lifecycle_the_service_manager_is_told() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let manager = UnixDatagram::bind(sandbox.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 64];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let mut sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    assert_eq!(told(), "READY=1");
    sidecar.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(sidecar.wait(), Some(0));
}
