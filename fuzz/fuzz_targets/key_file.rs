//! Any bytes as a key file, in both of its forms: mistakes with a place, or keys. What is read can be
//! written and reads back the same; an edit of one key changes no other; a key admits the principal of
//! its entry and no other.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use gatepost::base::clock::UnixTime;
use gatepost::base::secret::Secret;
use gatepost::config::Mistake;
use gatepost::config::key_file::edit::{self, Edit, empty_file};
use gatepost::config::key_file::{self, Format, SpannedKey};
use gatepost::decide::api_key::{Digest, KeyEntry, KeyError, KeyRing, KeySegment, Peppers};
use libfuzzer_sys::fuzz_target;

const PEPPER: &[u8] = b"pepper";
/// Keys that a client might present; the digests of the first two are in the seeds.
const PRESENTED: [&str; 4] =
    ["an-existing-key-of-some-length", "short", "a-key-that-nobody-has-registered", ""];
const TIMES: [u64; 4] = [0, 1_000_000_000, 1_800_000_000, 4_000_000_000];
/// The number of keys of a file that are edited.
const EDITED_MAX: usize = 4;

fuzz_target!(|data: &[u8]| {
    for name in ["keys.yaml", "keys.jsonl"] {
        let file = Path::new(name);
        let read = key_file::parse(file, data, &["p1"]);
        if Format::of(file) == Format::JsonLines {
            let packed = key_file::pack_lines(file, &mut &*data, 0, &["p1"]).expect("no disk");
            let lengths =
                (packed.ok().map(|packed| packed.len()), read.as_ref().ok().map(Vec::len));
            assert_eq!(lengths.0, lengths.1, "read at once and line by line");
        }
        match read {
            Ok(keys) => accepted(file, data, keys),
            Err(mistakes) => refused(&mistakes),
        }
    }
});

fn refused(mistakes: &[Mistake]) {
    assert!(!mistakes.is_empty(), "a refusal says why");
    for mistake in mistakes {
        assert!(!mistake.to_string().contains('\n'), "one mistake is one line");
    }
}

fn accepted(file: &Path, data: &[u8], keys: Vec<SpannedKey>) {
    let any_pepper = key_file::parse_any_pepper(file, data).expect("it knows more peppers");
    let entries = entries(&keys);
    assert_eq!(self::entries(&any_pepper), entries);
    for (at, entry) in entries.iter().enumerate() {
        assert!(key_file::is_key_id(&entry.id));
        let is_same = |other: &KeyEntry| other.id == entry.id || other.digest == entry.digest;
        assert!(!entries[..at].iter().any(is_same), "twice in one file");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        for edit in edits(&entries) {
            edited(file, text, &keys, &edit);
        }
    }
    for format in [Format::Yaml, Format::JsonLines] {
        round_trip(format, &entries);
    }
    let segment = key_file::pack(file, keys).expect("the keys of one small file");
    lets_in(segment, &entries);
}

fn entries(keys: &[SpannedKey]) -> Vec<KeyEntry> {
    keys.iter().map(|key| key.entry.clone()).collect()
}

fn name(format: Format) -> &'static Path {
    Path::new(match format {
        Format::Yaml => "f.yaml",
        Format::JsonLines => "f.jsonl",
    })
}

/// All of it written down key by key reads as what was read.
fn round_trip(format: Format, entries: &[KeyEntry]) {
    let mut text = empty_file(format).to_owned();
    for entry in entries.iter().take(EDITED_MAX) {
        let before = key_file::parse_any_pepper(name(format), text.as_bytes()).expect("our own");
        let add = Edit::Add(Box::new(entry.clone()));
        text = edit::apply(format, &text, &before, &add).expect("what was read is written");
    }
    let again = key_file::parse_any_pepper(name(format), text.as_bytes()).expect("our own");
    assert_eq!(self::entries(&again), entries[..entries.len().min(EDITED_MAX)]);
}

fn edits(entries: &[KeyEntry]) -> Vec<Edit> {
    let mut edits = vec![Edit::Add(Box::new(stranger()))];
    for (at, entry) in entries.iter().enumerate().take(EDITED_MAX) {
        edits.push(Edit::SetEnabled(at, !entry.enabled));
        edits.push(Edit::SetExpires(at, UnixTime(1_900_000_000)));
        edits.push(Edit::Remove(at));
    }
    edits
}

/// A key that no seed has.
fn stranger() -> KeyEntry {
    let line = format!(
        r#"{{"id":"stranger-of-the-target","digest":"{}"}}"#,
        Digest::sha256("the key of the stranger in the target").to_text()
    );
    let keys = key_file::parse_any_pepper(Path::new("f.jsonl"), line.as_bytes());
    keys.expect("a line")[0].entry.clone()
}

/// An edit that is made changes one key, and of JSON Lines one line.
fn edited(file: &Path, text: &str, keys: &[SpannedKey], edit: &Edit) {
    let Ok(after) = edit::apply(Format::of(file), text, keys, edit) else { return };
    let now = entries(&key_file::parse_any_pepper(file, after.as_bytes()).expect("it was made"));
    let mut meant = entries(keys);
    match edit {
        Edit::Add(entry) => meant.push(KeyEntry::clone(entry)),
        Edit::SetEnabled(at, enabled) => meant[*at].enabled = *enabled,
        Edit::SetExpires(at, expires) => meant[*at].expires = Some(*expires),
        Edit::Remove(at) => {
            meant.remove(*at);
        }
    }
    assert_eq!(now, meant, "{edit:?} of {text:?}");
    if Format::of(file) == Format::JsonLines {
        // A last line without an end gets one, of either kind, before another follows it.
        let ends = ["", "\n", "\r\n"].map(|end| format!("{text}{end}"));
        let is_kept = ends.iter().any(|text| touched(text, &after) <= 1);
        assert!(is_kept, "more than one line was touched");
    }
}

/// How many lines are not byte for byte as they were, all of them between others that are.
fn touched(before: &str, after: &str) -> usize {
    let [before, after] =
        [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let rest = before[same..].iter().rev().zip(after[same..].iter().rev());
    let same = same + rest.take_while(|(one, other)| one == other).count();
    before.len().max(after.len()) - same
}

/// A presented key is good exactly as long as the entry that has its digest says so.
fn lets_in(segment: KeySegment, entries: &[KeyEntry]) {
    assert_eq!(segment.len(), entries.len());
    let peppers = Peppers::from([("p1".into(), Secret::new(PEPPER.to_vec()))]);
    let ring = KeyRing::of_segments(vec![Arc::new(segment)], &peppers, &[]);
    for presented in PRESENTED {
        let digests = [
            Digest::sha256(presented),
            Digest::hmac_sha256(presented, "p1", PEPPER),
            Digest::sha512(presented),
        ];
        let is_meant = |entry: &&KeyEntry| match &entry.digest {
            bare @ Digest::Sha256(_) => presented.len() >= 22 && *bare == digests[0],
            bare @ Digest::Sha512(_) => presented.len() >= 22 && *bare == digests[2],
            peppered @ Digest::HmacSha256 { .. } => *peppered == digests[1],
        };
        let meant: Vec<_> = entries.iter().filter(is_meant).collect();
        for now in TIMES.map(UnixTime) {
            let is_good = |entry: &&KeyEntry| {
                entry.enabled
                    && entry.not_before.is_none_or(|begin| begin <= now)
                    && entry.expires.is_none_or(|end| now < end)
            };
            match ring.verify(presented, now) {
                Ok(key) => {
                    let who = key.principal();
                    let id = who.credential_id();
                    let entry = meant.iter().copied().find(|entry| Some(&*entry.id) == id);
                    let entry = entry.filter(is_good).expect("an entry that says so");
                    assert_eq!((who.subject(), who.scopes()), (&*entry.subject, &*entry.scopes));
                }
                Err(KeyError::Unknown) => assert!(meant.is_empty(), "{presented} is there"),
                Err(error) => {
                    assert!(!meant.iter().all(is_good), "{presented}: {error}");
                }
            }
        }
    }
}
