//! The log on a real disk: what it keeps, and what a crash or a full disk leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use prometheus::IntCounter;
use tempfile::TempDir;

use super::*;
use crate::base::clock::Now;
use crate::decide::jwt::{Algorithm, IssuerSettings};
use crate::decide::revocation::{Kind, RevocationSet, Target, TokenFacts};

const NOW: UnixTime = UnixTime(1_800_000_000);

/// This many seconds later, on both clocks.
fn at(seconds: u64) -> Moment<'static> {
    moment(seconds, seconds, &[])
}

fn moment<'a>(wall: u64, steady: u64, issuers: &'a [&'a IssuerSettings]) -> Moment<'a> {
    let monotonic = Monotonic((3_600 + steady) * 1_000_000_000);
    Moment { now: Now { unix: UnixTime(NOW.0 + wall), monotonic }, issuers }
}

fn writes() -> WriteSeries {
    let counter = || IntCounter::new("writes_total", "Writes.").unwrap();
    WriteSeries { ok: counter(), failed: counter() }
}

fn open(folder: &Path) -> Result<RevocationLog, LogError> {
    RevocationLog::open(folder, Arc::default(), writes(), at(0).now.monotonic)
}

fn jti(value: &str) -> Entry {
    Entry::new(Target::token(Kind::Jti, "https://login.example.com".into(), value), NOW)
}

fn has(log: &RevocationLog, entry: &Entry) -> bool {
    log.published.load().find(entry.target().as_ref()).is_some()
}

/// Ids of everything that is kept, the newest first.
fn kept(log: &RevocationLog) -> Vec<EntryId> {
    let page = log.page(None, usize::MAX, NOW).unwrap();
    page.entries.iter().map(|entry| entry.id()).collect()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn log(&self) -> PathBuf {
        LogFile::path_in(&self.state())
    }
}

#[test]
fn contract_revocation_what_was_acknowledged_is_there_again() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    assert!(!folder.state().exists(), "made on first use");
    let entries = [
        jti("a"),
        jti("b \u{e9}\"\\").ending(Some(UnixTime(NOW.0 + 9))).because(Some("found".into())),
        Entry::new(Target::token(Kind::IssuedBefore, "i".into(), ""), NOW).before(Some(NOW)),
        Entry::new(Target::key("k"), NOW),
    ];
    for entry in &entries {
        let done = log.revoke(entry.clone(), &at(0)).unwrap();
        assert!(done.is_news && *done.entry == *entry && has(&log, entry));
        assert!(!log.revoke(entry.clone(), &at(0)).unwrap().is_news, "the same again");
    }
    assert_eq!(log.delete(entries[0].id(), &at(0)).unwrap().unwrap().id(), entries[0].id());
    assert!(log.delete(entries[0].id(), &at(0)).unwrap().is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.state()), mode(&folder.log())), (0o700, 0o600));
    let before = kept(&log);
    drop(log);
    let log = open(&folder.state()).unwrap();
    assert_eq!(kept(&log), before);
    for entry in &entries[1..] {
        assert_eq!(**log.published.load().find(entry.target().as_ref()).unwrap(), *entry);
    }
    assert!(!has(&log, &entries[0]));
    assert_eq!(peek(&folder.state()).unwrap().len(), 3, "for those who only ask");
}

#[test]
fn contract_revocation_a_write_that_was_cut_off_at_any_byte_loses_nothing_else() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("a"), &at(0)).unwrap();
    let first = fs::metadata(folder.log()).unwrap().len() as usize;
    log.revoke(jti("b"), &at(0)).unwrap();
    drop(log);
    let whole = fs::read(folder.log()).unwrap();
    for length in first..=whole.len() {
        fs::write(folder.log(), &whole[..length]).unwrap();
        let log = open(&folder.state()).unwrap();
        assert!(has(&log, &jti("a")), "{length}");
        // A line that is whole but for its end says all there is to say.
        assert_eq!(has(&log, &jti("b")), length + 1 >= whole.len(), "{length}");
        log.revoke(jti("c"), &at(0)).unwrap();
        drop(log);
        let log = open(&folder.state()).unwrap();
        assert!(has(&log, &jti("a")) && has(&log, &jti("c")), "{length}");
    }
    // A page that did not reach the disk reads as zeros.
    for hole in [&b"\0\0\0\0"[..], b"\0\0\0\0\"}}\n"] {
        fs::write(folder.log(), [&whole, hole].concat()).unwrap();
        let log = open(&folder.state()).unwrap();
        assert!(has(&log, &jti("b")));
        assert_eq!(fs::read(folder.log()).unwrap(), whole);
    }
}

#[test]
fn contract_revocation_a_damaged_log_refuses_the_start() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    for value in ["a", "b", "c"] {
        log.revoke(jti(value), &at(0)).unwrap();
    }
    drop(log);
    let whole = fs::read_to_string(folder.log()).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    for (number, bad) in [
        (1, "{\"revoke\":{\"by\":\"jti\",".to_owned()),
        (2, String::new()),
        (2, lines[1].replace("\"by\":\"jti\"", "\"by\":\"jtj\"")),
        (2, lines[1].replace("\"revoked\"", "\"more\":1,\"revoked\"")),
        (2, lines[1].replace("\"issuer\":\"https://login.example.com\",", "")),
        (2, "{\"delete\":\"x\"}".to_owned()),
        // Its end was written, so it may have been acknowledged.
        (3, "{\"revoke\":".to_owned()),
    ] {
        let mut damaged: Vec<&str> = lines.clone();
        damaged[number - 1] = &bad;
        let text = damaged.join("\n") + "\n";
        fs::write(folder.log(), &text).unwrap();
        let error = open(&folder.state()).unwrap_err().to_string();
        let start = format!("{}:{number}:1: ", folder.log().display());
        assert!(error.starts_with(&start), "{bad}: {error}");
        assert_eq!(fs::read_to_string(folder.log()).unwrap(), text, "left as it is");
    }
}

#[test]
fn contract_revocation_one_process_has_the_log() {
    let folder = Folder::new();
    let (first, second) = (open(&folder.state()).unwrap(), open(&folder.state()).unwrap());
    first.revoke(jti("a"), &at(0)).unwrap();
    let error = second.revoke(jti("b"), &at(0)).unwrap_err();
    assert!(matches!(error, LogError::Taken(_)), "{error}");
    assert!(!has(&second, &jti("b")));
    assert!(matches!(open(&folder.state()), Err(LogError::Taken(_))));
    drop(first);
    second.revoke(jti("b"), &at(0)).unwrap();
    assert!(has(&second, &jti("a")), "what the other one acknowledged holds here, too");
}

#[test]
fn contract_revocation_what_cannot_be_written_is_not_acknowledged() {
    let folder = Folder::new();
    fs::write(folder.state(), "a file").unwrap();
    let log = open(&folder.state()).unwrap();
    assert!(matches!(log.revoke(jti("a"), &at(0)), Err(LogError::Disk { .. })));
    assert!(!has(&log, &jti("a")));
    assert_eq!((log.writes.ok.get(), log.writes.failed.get()), (0, 1));
    fs::remove_file(folder.state()).unwrap();
    log.revoke(jti("a"), &at(0)).unwrap();
    // A file that takes nothing any more, as on a full disk.
    let full = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let whole = {
        let mut state = log.lock();
        std::mem::replace(state.file.as_mut().unwrap().handle(), full)
    };
    drop(whole);
    assert!(matches!(log.revoke(jti("b"), &at(0)), Err(LogError::Disk { .. })));
    assert!(!has(&log, &jti("b")) && has(&log, &jti("a")));
    // Once there is room again, the file is written again, with exactly the entries in force.
    log.revoke(jti("c"), &at(0)).unwrap();
    drop(log);
    let log = open(&folder.state()).unwrap();
    assert!(has(&log, &jti("a")) && has(&log, &jti("c")) && !has(&log, &jti("b")));
    assert_eq!(fs::read_to_string(folder.log()).unwrap().lines().count(), 2);
}

#[test]
fn r804_a_deletion_that_was_not_acknowledged_never_counts() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("a"), &at(0)).unwrap();
    log.revoke(jti("b"), &at(0)).unwrap();
    drop(log);
    let before = fs::read(folder.log()).unwrap();
    let log = open(&folder.state()).unwrap();
    log.delete(jti("a").id(), &at(0)).unwrap();
    drop(log);
    let whole = fs::read(folder.log()).unwrap();
    // Whatever reached the disk of a deletion whose write, and whose undoing failed. From where the
    // second line says all it has to say, it may have been acknowledged.
    for length in before.len()..=whole.len() {
        fs::write(folder.log(), &whole[..length]).unwrap();
        let was_acknowledged = length + 1 >= whole.len();
        for round in 0..2 {
            let log = open(&folder.state()).unwrap();
            assert_eq!(has(&log, &jti("a")), !was_acknowledged, "{length}, round {round}");
            assert_eq!(peek(&folder.state()).unwrap().len(), log.published.load().len());
            // What is written behind it does not make it count.
            log.revoke(jti("c"), &at(0)).unwrap();
            assert!(has(&log, &jti("b")));
        }
    }
}

#[test]
fn r804_a_deletion_that_failed_leaves_it_revoked() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("a"), &at(0)).unwrap();
    let full = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    drop(std::mem::replace(log.lock().file.as_mut().unwrap().handle(), full));
    assert!(matches!(log.delete(jti("a").id(), &at(0)), Err(LogError::Disk { .. })));
    assert!(has(&log, &jti("a")));
    // The next good write says so.
    log.revoke(jti("b"), &at(0)).unwrap();
    drop(log);
    let log = open(&folder.state()).unwrap();
    assert!(has(&log, &jti("a")) && has(&log, &jti("b")));
}

#[test]
fn contract_revocation_there_is_a_bound() {
    let folder = Folder::new();
    let mut log = open(&folder.state()).unwrap();
    log.most = 2;
    let ending = jti("a").ending(Some(UnixTime(NOW.0 + 5)));
    log.revoke(ending.clone(), &at(0)).unwrap();
    log.revoke(jti("b"), &at(0)).unwrap();
    assert!(matches!(log.revoke(jti("c"), &at(0)), Err(LogError::Full)));
    assert!(!has(&log, &jti("c")));
    assert!(!log.revoke(jti("b"), &at(0)).unwrap().is_news, "what is there needs no room");
    // One that has ended makes room.
    assert!(log.revoke(jti("c"), &at(5)).unwrap().is_news);
    assert!(!has(&log, &ending) && has(&log, &jti("c")));
}

#[test]
fn contract_revocation_the_log_does_not_grow_with_what_is_over() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("stays"), &at(0)).unwrap();
    let lines = || fs::read_to_string(folder.log()).unwrap().lines().count();
    for number in 0..LINES_MIN {
        let entry = jti(&number.to_string()).ending(Some(UnixTime(NOW.0 + 1)));
        log.revoke(entry, &at(number as u64)).unwrap();
    }
    assert!(lines() < 10, "{} lines", lines());
    drop(log);
    let log = open(&folder.state()).unwrap();
    assert!(has(&log, &jti("stays")));
}

/// An issuer with this `max_lifetime` in seconds.
fn issuer(max_lifetime: Option<u64>) -> IssuerSettings {
    IssuerSettings {
        issuer: "https://login.example.com".into(),
        name: "corp".into(),
        audiences: vec!["a".into()],
        algorithms: vec![Algorithm::Es256],
        types: vec![None],
        audience_claim: "aud".into(),
        scope_claims: Vec::new(),
        scopes_cap: None,
        leeway: Duration::ZERO,
        max_lifetime: max_lifetime.map(Duration::from_secs),
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    }
}

/// Returns whether a token of `jti`, issued at `issued`, is refused.
fn refuses(log: &RevocationLog, jti: &str, issued: UnixTime, now: UnixTime) -> bool {
    let facts = TokenFacts {
        issuer: "https://login.example.com",
        template: None,
        subject: "ada",
        client: None,
        jti: Some(jti),
        kid: None,
        issued: Some(issued),
    };
    log.published.load().find_token(&facts, now).is_some()
}

const HOUR: u64 = 3_600;

#[test]
fn r804_a_max_lifetime_that_is_raised_later_lets_no_revoked_token_in_again() {
    let (short, long) = (issuer(Some(HOUR)), issuer(Some(1_000 * HOUR)));
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("stolen"), &moment(0, 0, &[&short])).unwrap();
    let of_ada = Entry::new(Target::token(Kind::IssuedBefore, short.issuer.clone(), "ada"), NOW);
    log.revoke(of_ada.before(Some(NOW)), &moment(0, 0, &[&short])).unwrap();
    for number in 0..10 {
        let minutes = 60 * number;
        log.revoke(jti(&number.to_string()), &moment(minutes, minutes, &[&short])).unwrap();
    }
    let bounded = [&short];
    let much_later = moment(9 * HOUR, 9 * HOUR, &bounded);
    log.forget(&mut log.lock(), &much_later, Sweep::Surely);
    assert_eq!(kept(&log).len(), 1, "in the place of all of them");
    let later = much_later.now.unix;
    let check = |log: &RevocationLog| {
        assert!(refuses(log, "stolen", UnixTime(NOW.0 - 60), later));
        assert!(refuses(log, "stolen", UnixTime(NOW.0 + 299), later), "a clock that is ahead");
        assert!(!refuses(log, "fresh", UnixTime(later.0 - HOUR), later), "and nobody else");
    };
    check(&log);
    drop(log);
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("more"), &moment(9 * HOUR, 0, &[&long])).unwrap();
    log.forget(&mut log.lock(), &moment(9 * HOUR, HOUR, &[&long]), Sweep::Surely);
    check(&log);
}

#[test]
fn r804_a_lifetime_that_is_not_known_ends_nothing() {
    let open_ended = issuer(None);
    let folder = Folder::new();
    let mut log = open(&folder.state()).unwrap();
    log.most = 1;
    log.revoke(jti("a"), &moment(0, 0, &[&open_ended])).unwrap();
    for issuers in [&[][..], &[&open_ended][..]] {
        let much_later = moment(1 << 30, 1 << 30, issuers);
        assert!(matches!(log.revoke(jti("b"), &much_later), Err(LogError::Full)));
    }
    assert!(has(&log, &jti("a")));
}

#[test]
fn r804_a_wall_clock_that_is_far_ahead_forgets_nothing_for_good() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    let ending = jti("a").ending(Some(UnixTime(NOW.0 + HOUR)));
    log.revoke(ending.clone(), &at(0)).unwrap();
    drop(log);
    // Decades ahead at a start, and while something is written.
    let decades = 1 << 30;
    let log = open(&folder.state()).unwrap();
    let other = Entry::new(Target::key("k"), UnixTime(NOW.0 + decades));
    log.revoke(other.clone(), &moment(decades, 1, &[])).unwrap();
    log.delete(other.id(), &moment(decades, 1, &[])).unwrap();
    log.forget(&mut log.lock(), &moment(decades, HOUR - 1, &[]), Sweep::Surely);
    assert!(has(&log, &ending));
    drop(log);
    let log = open(&folder.state()).unwrap();
    assert!(refuses(&log, "a", NOW, NOW), "the clock is right again");
    // An hour by the steady clock: it is over for sure.
    log.revoke(jti("b"), &moment(HOUR, HOUR - 1, &[])).unwrap();
    log.forget(&mut log.lock(), &moment(HOUR, HOUR - 1, &[]), Sweep::Surely);
    assert!(has(&log, &ending));
    log.forget(&mut log.lock(), &moment(HOUR, HOUR, &[]), Sweep::Surely);
    assert!(!has(&log, &ending) && has(&log, &jti("b")));
}

#[test]
fn contract_revocation_pages_are_bounded_and_go_on_after_an_id() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    let entries = ["a", "b", "c"].map(jti);
    for entry in &entries {
        log.revoke(entry.clone(), &at(0)).unwrap();
    }
    let ids = |page: Page| page.entries.iter().map(|entry| entry.id()).collect::<Vec<_>>();
    let first = log.page(None, 2, NOW).unwrap();
    assert!(first.more);
    assert_eq!(ids(first), [entries[2].id(), entries[1].id()]);
    let second = log.page(Some(entries[1].id()), 2, NOW).unwrap();
    assert!(!second.more);
    assert_eq!(ids(second), [entries[0].id()]);
    assert!(log.page(Some(jti("d").id()), 2, NOW).is_none());
}

#[test]
fn a_hundred_thousand_entries_are_read_and_one_more_copies_little() {
    let folder = Folder::new();
    fs::create_dir(folder.state()).unwrap();
    let line = |number: usize| {
        let change = Change::Put(Arc::new(jti(&number.to_string())));
        String::from_utf8(line::write(&change).unwrap()).unwrap()
    };
    fs::write(folder.log(), (0..100_000).map(line).collect::<String>()).unwrap();
    let log = open(&folder.state()).unwrap();
    let before: Arc<RevocationSet> = log.published.load_full();
    log.revoke(jti("one more"), &at(0)).unwrap();
    let after = log.published.load_full();
    assert_eq!((before.len(), after.len()), (100_000, 100_001));
    assert_eq!(after.shared_with(&before), 255, "of 256 parts");
}

#[test]
fn contract_revocation_a_log_that_is_taken_away_or_replaced_is_written_anew() {
    let folder = Folder::new();
    let log = open(&folder.state()).unwrap();
    log.revoke(jti("a"), &at(0)).unwrap();
    fs::remove_file(folder.log()).unwrap();
    log.revoke(jti("b"), &at(0)).unwrap();
    let copy = folder.state().join("copy");
    fs::copy(folder.log(), &copy).unwrap();
    fs::rename(&copy, folder.log()).unwrap();
    log.revoke(jti("c"), &at(0)).unwrap();
    drop(log);
    let log = open(&folder.state()).unwrap();
    for value in ["a", "b", "c"] {
        assert!(has(&log, &jti(value)), "{value}");
    }
}
