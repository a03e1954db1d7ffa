//! Lines as they are written, and what a slow, full or moved target costs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::queue::QUEUE_BYTES_MAX;
use super::*;
use crate::decide::rejection::Fault;
use crate::serve::fixture::{self, MemoryDisk};
use crate::serve::observe::line::naughty;
use crate::serve::observe::record::Outcome;

/// Long enough for any disk; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn json(record: &Record<'_>) -> Value {
    let line = line::format(record, LineFormat::Json, Vec::new());
    assert_clean(&line);
    serde_json::from_slice(&line).unwrap()
}

#[track_caller]
fn assert_clean(line: &[u8]) {
    let (last, rest) = line.split_last().unwrap();
    assert_eq!(*last, b'\n');
    let text = String::from_utf8_lossy(rest);
    assert!(rest.iter().all(|byte| (b' '..=b'~').contains(byte)), "{text:?}");
}

#[test]
fn a_line_says_who_did_what_and_how_it_ended() {
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/api/a", &[("x-api-key", fixture::KEY)]);
    let line = json(&fixture::record(&decision, "/api/a?secret=1"));
    let expected = serde_json::json!({
        "time": "2027-01-15T08:00:00.123Z",
        "request_id": "r-1",
        "address": "192.0.2.7",
        "method": "GET",
        "host": "api.example.com",
        "path": "/api/a",
        "route": "api",
        "outcome": "admitted",
        "status": 200,
        "subject": "alice",
        "issuer": "urn:gatepost:api-key",
        "credential": "api_key",
        "credential_id": "k1",
        "upstream": "app",
        "duration_ms": 1.5,
        "deciding_ms": 0.012,
        "upstream_ms": 0.9,
        "bytes_in": 3,
        "bytes_out": 5,
        "generation": 1,
    });
    assert_eq!(line, expected);
    let text =
        line::format(&fixture::record(&decision, "/api/a?secret=1"), LineFormat::Text, Vec::new());
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("time=2027-01-15T08:00:00.123Z request_id=r-1 address=192.0.2.7 "));
    assert!(text.contains(" path=/api/a route=api outcome=admitted status=200 subject=alice "));
}

#[test]
fn a_refusal_has_its_reason_and_the_kind_of_credential() {
    let opened = fixture::open(&MemoryDisk::filled());
    let bearer = format!("Bearer {}", fixture::TOKEN);
    let decision = fixture::decide(&opened.snapshot, "/api/a", &[("authorization", &bearer)]);
    let line = json(&fixture::record(&decision, "/api/a"));
    assert_eq!(line["outcome"], "refused");
    assert_eq!(line["reason"], "token_malformed");
    assert_eq!(line["credential"], "jwt");
    assert!(line.get("subject").is_none() && line.get("upstream").is_none());
    let record = fixture::record(&decision, "/api/a");
    let fault = Record { outcome: Outcome::Fault(Fault::UpstreamConnect), ..record };
    assert_eq!(json(&fault)["reason"], "upstream_connect");
}

#[test]
fn r902_no_credential_and_no_query_is_written() {
    let opened = fixture::open(&MemoryDisk::filled());
    let bearer = format!("Bearer {}", fixture::TOKEN);
    let basic = format!("Basic {}", fixture::KEY);
    for fields in [
        [("authorization", &*bearer), ("x-api-key", fixture::KEY)],
        [("authorization", &*basic), ("x-api-key", "canary")],
        [("authorization", "Bearer canary"), ("cookie", "session=canary")],
    ] {
        for path in ["/open/a", "/api/a", "/admin/a", "/nowhere"] {
            let decision = fixture::decide(&opened.snapshot, path, &fields);
            let path = format!("{path}?key={}", fixture::KEY);
            for format in [LineFormat::Json, LineFormat::Text] {
                let line = line::format(&fixture::record(&decision, &path), format, Vec::new());
                let line = String::from_utf8(line).unwrap();
                assert!(!line.contains("canary") && !line.contains("eyJ"), "{line}");
                assert!(!line.contains("key="), "{line}");
            }
        }
    }
}

#[test]
fn r903_every_naughty_text_leaves_one_clean_line() {
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    for text in naughty::STRINGS {
        let record = Record {
            request_id: text,
            peer_request_id: Some(text),
            method: text,
            path: text,
            host: text,
            ..fixture::record(&decision, "/open/a")
        };
        let line = json(&record);
        assert_eq!(line["host"], *text);
        assert_eq!(line["outcome"], "admitted");
        assert_clean(&line::format(&record, LineFormat::Text, Vec::new()));
    }
}

#[test]
fn values_are_bounded() {
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    let long = "\u{1b}x".repeat(50_000);
    let record = Record {
        method: &long,
        path: &long,
        host: &long,
        peer_request_id: Some(&long),
        ..fixture::record(&decision, "/open/a")
    };
    assert!(line::format(&record, LineFormat::Json, Vec::new()).len() < 3000);
    assert!(line::format(&record, LineFormat::Text, Vec::new()).len() < 3000);
}

fn start(path: &Path, json: Option<bool>) -> AccessLog {
    let settings = config::AccessLog { target: AccessLogTarget::File(path.to_owned()), json };
    AccessLog::start(&settings, LineFormat::Text, fixture::counter()).unwrap()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn lines_are_appended_and_a_file_that_was_moved_away_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "before\n").unwrap();
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    let record = fixture::record(&decision, "/open/a");
    let log = start(&path, Some(true));
    (0..1000).for_each(|_| log.record(&record));
    assert!(log.flush(PATIENCE));
    assert_eq!(lines(&path), 1001);
    let moved = folder.path().join("access.log.1");
    fs::rename(&path, &moved).unwrap();
    log.record(&record);
    log.reopen();
    assert!(log.flush(PATIENCE));
    assert_eq!((lines(&moved), lines(&path)), (1002, 0));
    log.record(&record);
    assert!(log.flush(PATIENCE));
    assert_eq!((lines(&moved), lines(&path)), (1002, 1));
    assert_eq!(log.dropped(), 0);
    let line = fs::read_to_string(&path).unwrap();
    assert!(serde_json::from_str::<Value>(&line).is_ok());
}

#[test]
fn a_full_disk_is_counted_and_nothing_else_happens() {
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    let log = start(Path::new("/dev/full"), None);
    (0..10).for_each(|_| log.record(&fixture::record(&decision, "/open/a")));
    assert!(log.flush(PATIENCE));
    assert_eq!(log.dropped(), 10);
}

#[test]
fn a_writer_that_is_stuck_costs_lines_and_never_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Held open for reading so that it can be opened, and never read.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = start(&path, None);
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    let record = fixture::record(&decision, "/open/a");
    (0..QUEUE_BYTES_MAX / 50).for_each(|_| log.record(&record));
    assert!(log.dropped() > 0);
    assert!(!log.flush(Duration::from_millis(20)), "and a flush gives up");
    drop(reader);
}

#[test]
fn a_target_that_cannot_be_opened_is_an_error_at_the_start() {
    let settings = config::AccessLog {
        target: AccessLogTarget::File("/nowhere/at/all/access.log".into()),
        json: None,
    };
    assert!(AccessLog::start(&settings, LineFormat::Text, fixture::counter()).is_err());
    let off = AccessLog::off(fixture::counter());
    assert!(off.flush(Duration::ZERO));
}
