//! Entries against their readers and against `config/reference.yaml`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::Config;
use crate::config::language::walk::key::{Facts, visit};
use crate::config::language::walk::trace::{self, Trace, Written};
use crate::config::sections::TOP;

const REFERENCE: &str = include_str!("../../../config/reference.yaml");

/// Every entry of the configuration with the name of its section and its path.
fn entries() -> Vec<(&'static str, String, Facts)> {
    let mut all = Vec::new();
    visit(&TOP, "", &mut |path, section, key| {
        all.push((section.name, path.to_owned(), key.facts()));
    });
    all
}

fn trace_of(text: &str) -> Trace {
    let _ = trace::take();
    Config::parse(Path::new("reference.yaml"), text, &|_| None)
        .unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    trace::take()
}

#[test]
fn sections_have_names_of_their_own_and_keys_in_them_as_well() {
    let mut sections: Vec<(&str, usize)> = Vec::new();
    let mut keys = BTreeSet::new();
    visit(&TOP, "", &mut |_, section, key| {
        let (name, address) = (section.name, std::ptr::from_ref(section).addr());
        assert!(sections.iter().all(|(other, at)| (*other == name) == (*at == address)), "{name}");
        sections.push((name, address));
        keys.insert((name, key.facts().name));
        assert_eq!(section.keys().filter(|one| one.facts().name == key.facts().name).count(), 1);
    });
    assert!(keys.len() > 100, "{}", keys.len());
}

#[test]
fn a_reader_looks_for_every_entry_and_reads_every_default() {
    let mut read = trace_of(REFERENCE);
    // Sections with the keys that they need, and no others: every default is read.
    let minimal = "\
listeners: [{ address: '127.0.0.1:1', tls: { certificate: c, private_key: k } }]
upstreams: { app: { url: 'http://127.0.0.1:2' } }
issuers:
  - { issuer: a, audiences: a, algorithms: [ES256], keys: { url: 'https://a' }, name: a }
  - { issuer: b, audiences: a, introspection: { url: 'https://b', client_id: c, client_secret_file: f } }
limits: { a: { rate: 1/s } }
issuer: { url: 'https://c', scopes: { s: { text: t } }, applications: [{ id: a, secret_files: [f], grants: client_credentials }] }
routes:
  - { path: /a, access: { issuers: [a] }, cors: { origins: ['*'] } }
  - { path: /b, access: anonymous, end_streams: {} }
";
    let rest = [
        "api_keys: { files: [k] }",
        "api_keys: { files: [k], from: [{ header: A }] }\ndefaults: { upstream: app }",
    ];
    let mut absent = trace::Keys::new();
    for rest in rest {
        let trace = trace_of(&format!("{minimal}{rest}\n"));
        read.found.extend(&trace.found);
        absent.extend(trace.defaults);
    }
    for (section, path, facts) in entries().iter().filter(|(_, _, facts)| facts.available) {
        assert!(read.found.contains(&(section, facts.name)), "{path} has an entry and no reader");
        if facts.default.is_some_and(|default| !matches!(default, "[]" | "{}")) {
            assert!(absent.contains(&(section, facts.name)), "the default of {path} is not read");
        }
    }
}

#[test]
fn the_reference_has_every_key() {
    let written = trace_of(REFERENCE).written;
    for (section, path, facts) in entries() {
        let is_written =
            written.iter().any(|one| (one.section, &*one.key) == (section, facts.name));
        // `header` is short for `from`, and the two exclude each other.
        if facts.available && path != ".api_keys.header" {
            assert!(is_written, "{path} is missing");
        } else {
            assert!(REFERENCE.contains(facts.name), "{path} is not mentioned");
        }
    }
}

/// The comments about the key that a line begins with: at the end of the line, in the lines that
/// continue it, and in the lines above. Other keys of the line have none.
fn comments(lines: &[&str], one: &Written) -> String {
    let (at, indent) = (one.place.line as usize - 1, one.place.column as usize - 1);
    if !lines[at].trim_start().trim_start_matches("- ").starts_with(&*one.key) {
        return String::new();
    }
    let column_of = |line: &str| line.find('#').filter(|_| line.trim_start().starts_with('#'));
    // Lines above an item of a list are about the item.
    let is_item = lines[at].trim_start().starts_with("- ");
    let is_above = |line: &&&str| column_of(line).is_some_and(|at| !is_item && at <= indent);
    let above = lines[..at].iter().rev().take_while(is_above);
    let mut about: Vec<&str> = above.copied().collect();
    about.reverse();
    if let Some(start) = lines[at].find(" # ") {
        about.push(&lines[at][start..]);
        let below = lines[at + 1..].iter();
        about
            .extend(below.take_while(|line| column_of(line).is_some_and(|at| at > start)).copied());
    }
    let texts = about.iter().map(|line| line.trim_start().trim_start_matches('#').trim());
    texts.collect::<Vec<_>>().join(" ")
}

/// The text after `Default: `, up to the end of the sentence.
fn stated_default(comments: &str) -> Option<&str> {
    let (_, rest) = comments.split_once("Default: ")?;
    let end = [". ", "; ", ", ", " ("].iter().filter_map(|end| rest.find(end)).min();
    // A list has commas of its own.
    let end = if rest.starts_with('[') { rest.find(']').map(|at| at + 1) } else { end };
    Some(rest[..end.unwrap_or(rest.len())].trim_end_matches('.'))
}

/// True if the comments about a key of the reference state its default, false if they state none.
/// A wrong one is an error.
fn states_default(written: &[Written], one: &Written, facts: &Facts) -> Result<bool, String> {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let about = comments(&lines, one);
    let parent = one.path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let parent = written.iter().find(|other| other.path == parent);
    let in_group = parent.is_some_and(|parent| comments(&lines, parent).ends_with("The defaults:"));
    let is_value = about.contains("This is the default") || in_group;
    if is_value && facts.default != Some(&one.value) {
        return Err(format!("{:?} is not the default, {:?}", one.value, facts.default));
    }
    let Some(stated) = stated_default(&about) else { return Ok(is_value) };
    let is_none = stated == "none" && matches!(facts.default, Some("[]" | "{}"));
    let words = ["none", "the ", "those ", "that ", "one ", "all", "any ", "no "];
    let is_prose = words.iter().any(|word| stated.starts_with(word)) && facts.default.is_none();
    if is_none || is_prose || facts.default == Some(stated) {
        return Ok(true);
    }
    Err(format!("says {stated:?}; the default is {:?}", facts.default))
}

#[test]
fn the_reference_states_the_default_of_every_key() {
    let written = trace_of(REFERENCE).written;
    let mut wrong: Vec<String> = Vec::new();
    for (_, path, facts) in entries().into_iter().filter(|(.., facts)| facts.available) {
        // Routes and defaults share entries.
        let identity = |facts: &Facts| (facts.name, facts.about, facts.default);
        let same = |other: &Facts| identity(other) == identity(&facts);
        let sections: Vec<&str> = entries()
            .iter()
            .filter(|(.., other)| same(other))
            .map(|(section, ..)| *section)
            .collect();
        let is_here = |one: &&Written| sections.contains(&one.section) && one.key == facts.name;
        let mut is_stated =
            facts.default.is_none_or(|default| default == "{}") || path == ".api_keys.header";
        for one in written.iter().filter(is_here) {
            match states_default(&written, one, &facts) {
                Ok(states) => is_stated |= states,
                Err(error) => wrong.push(format!("line {}: {path} {error}", one.place.line)),
            }
        }
        if !is_stated {
            wrong.push(format!("{path} states no default"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}
