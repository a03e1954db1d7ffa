//! The accepted values of each reader, and its messages about others.

use std::path::Path;

use super::*;
use crate::config::language::expand::expand;
use crate::config::language::walk::key::Absent;
use crate::config::language::walk::types::{Lasting, List, Number, OneOrMany, Table, Text, Truth};
use crate::config::language::yaml::{self, Budget};

static SECTION: Section = Section::new(
    "a test",
    &[&NAME, &TRUTH, &NUMBER, &DURATION, &LIST, &MANY, &TABLE, &MUST, &LATER],
);

static NAME: Key<Text> = Key::new("name", Text, "a text");
static TRUTH: Key<Truth> = Key::new("truth", Truth, "a boolean");
static NUMBER: Key<Number> = Key::new("number", Number(1, 10), "a number");
static DURATION: Key<Lasting> =
    Key::new("duration", Lasting(Duration::from_secs(1), Duration::from_secs(60)), "a duration");
static LIST: Key<List<Text>> = Key::new("list", List(Text, 0, 3), "a list");
static MANY: Key<OneOrMany<Text>> = Key::new("many", OneOrMany(Text, 1, 3), "one or many");
static TABLE: Key<Table<Text>> = Key::new("table", Table(Text, 0, 3), "a table");
static MUST: Key<Text> = Key::required("must", Text, "it must");
static LATER: Key<Absent> = Key::unavailable("later", "not yet");

/// The values of a section, and its mistakes.
fn read(text: &str) -> (Vec<String>, Vec<String>) {
    let report = Report::new(Path::new("f"));
    let mut seen = Vec::new();
    if let Some(mut root) = yaml::parse(&report, text.as_bytes(), &Budget::CONFIGURATION) {
        let environment = |name: &str| match name {
            "PASSWORD" => Some("hunter2!".to_owned()),
            "TRUE" => Some("true".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(&report, &mut root, &environment);
        if let Some(section) = Value::root(&report, &root).section(&SECTION) {
            read_section(&section, &mut seen);
        }
    }
    (seen, report.into_mistakes().iter().map(ToString::to_string).collect())
}

fn read_section(section: &Mapping<'_>, seen: &mut Vec<String>) {
    seen.extend(section.read(&NAME).map(|text| format!("name {text}")));
    seen.extend(section.read(&TRUTH).map(|truth| format!("truth {truth}")));
    seen.extend(section.read(&NUMBER).map(|number| format!("number {number}")));
    seen.extend(section.read(&DURATION).map(|duration| format!("duration {duration:?}")));
    let texts = |name: &str, texts: Option<Vec<Box<str>>>| -> Vec<String> {
        texts.unwrap_or_default().iter().map(|text| format!("{name} {text}")).collect()
    };
    seen.extend(texts("list", section.read(&LIST)));
    seen.extend(texts("many", section.read(&MANY)));
    for (name, text) in section.read(&TABLE).unwrap_or_default() {
        seen.push(format!("table {name} {text}"));
    }
    let _ = section.read(&MUST);
}

#[track_caller]
fn good(text: &str, expected: &[&str]) {
    let (seen, mistakes) = read(&format!("must: x\n{text}"));
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(seen, expected);
}

#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let (_, mistakes) = read(&format!("must: x\n{text}"));
    assert_eq!(mistakes, expected);
}

#[test]
fn each_reader_takes_its_own() {
    good("name: 1.10", &["name 1.10"]);
    good("name: 'true'", &["name true"]);
    good("name: off", &["name off"]);
    good("truth: true", &["truth true"]);
    good("number: 10", &["number 10"]);
    good("duration: 1m", &["duration 60s"]);
    good("list: [a, b]\nmany: c\ntable: {d: e}", &["list a", "list b", "many c", "table d e"]);
    good("list: []\nmany: [c, d]\ntable: {}", &["many c", "many d"]);
}

#[test]
fn an_absent_key_has_its_default_and_a_mistaken_one_as_well() {
    static SECTION: Section = Section::new("a test of defaults", &[&TEXT, &LIST, &EMPTY, &TIME]);
    static TEXT: Key<Text> = Key::new("text", Text, "a text").or("a b");
    static LIST: Key<OneOrMany<Text>> =
        Key::new("list", OneOrMany(Text, 1, 3), "a list").or("[a, b c]");
    static EMPTY: Key<Table<Text>> = Key::new("empty", Table(Text, 0, 1), "a table").or("{}");
    static TIME: Key<Lasting> =
        Key::new("time", Lasting(Duration::ZERO, Duration::from_secs(9)), "a time").or("5s");
    let read = |text: &str| {
        let report = Report::new(Path::new("f"));
        let root = yaml::parse(&report, text.as_bytes(), &Budget::CONFIGURATION).unwrap();
        let section = Value::root(&report, &root).section(&SECTION).unwrap();
        let text = section.read(&TEXT).unwrap().to_string();
        let list: Vec<String> =
            section.read(&LIST).unwrap().iter().map(ToString::to_string).collect();
        let time = (section.read(&TIME), section.written(&TIME));
        assert_eq!(section.read(&EMPTY).map(|table| table.len()), Some(0));
        (text, list.join("|"), time, report.len())
    };
    let (five, one) = (Some(Duration::from_secs(5)), Some(Duration::from_secs(1)));
    assert_eq!(read("{}"), ("a b".into(), "a|b c".into(), (five, None), 0));
    assert_eq!(read("{text: x, list: y, time: 1s}"), ("x".into(), "y".into(), (one, one), 0));
    assert_eq!(
        read("{text: [], list: [], time: 1d}"),
        ("a b".into(), "a|b c".into(), (five, None), 3)
    );
}

#[test]
fn contract_reading_only_true_and_false_are_booleans() {
    for word in ["yes", "no", "on", "off", "True", "1", "'true'"] {
        let (_, mistakes) = read(&format!("must: x\ntruth: {word}"));
        assert_eq!(mistakes.len(), 1, "{word}");
        assert!(mistakes[0].contains("is not a boolean; accepted: true, false"), "{word}");
    }
}

#[test]
fn each_mistake_says_where_what_and_what_is_accepted() {
    bad("number: 11", &["f:2:9: number: \"11\" is not a whole number from 1 to 10"]);
    bad("number: '5'", &["f:2:9: number: \"5\" is not a whole number from 1 to 10"]);
    bad("number: -1", &["f:2:9: number: \"-1\" is not a whole number from 1 to 10"]);
    bad("number: +5", &["f:2:9: number: \"+5\" is not a whole number from 1 to 10"]);
    bad("number: 1e1", &["f:2:9: number: \"1e1\" is not a whole number from 1 to 10"]);
    bad("duration: 2h", &["f:2:11: duration: \"2h\" is out of bounds: 1s to 1m is accepted"]);
    bad("name:", &["f:2:1: name: has no value; give it one, or remove the key"]);
    bad("name: ''", &["f:2:7: name: is empty"]);
    bad("name: [a]", &["f:2:7: name: is a list; one value is accepted"]);
    bad("list: a", &["f:2:7: list: is not a list; write [a, b], or one item a line after `- `"]);
    bad("list: [a, {}]", &["f:2:11: list[1]: is a mapping; one value is accepted"]);
    bad("table: {a: []}", &["f:2:12: table.a: is a list; one value is accepted"]);
    bad("later: 1", &["f:2:1: later: \"later\" is not available in this version; remove it"]);
}

#[test]
fn an_unknown_key_gets_the_nearest_and_all_accepted_ones() {
    let accepted = "accepted: name, truth, number, duration, list, many, table, must";
    let near = |what: &str, hint: &str| {
        bad(
            &format!("{what}: 1"),
            &[&format!("f:2:1: {what}: {what:?} is not a key of a test; {hint}{accepted}")],
        );
    };
    near("nmae", "did you mean \"name\"? ");
    near("Number", "did you mean \"number\"? ");
    near("durations", "did you mean \"duration\"? ");
    near("issuers", "");
}

#[test]
fn reading_goes_on_after_every_mistake() {
    let (seen, mistakes) = read("nam: 1\ntruth: x\nnumber: 3\nlist: 1\n");
    assert_eq!(seen, ["number 3"]);
    assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    assert_eq!(mistakes[0], "f:1:1: \"must\" is missing: it must");
}

#[test]
fn contract_reading_the_environment_expands_inside_scalars_only() {
    good("name: a-${PASSWORD}-$$-$x-$${B}", &["name a-hunter2!-$-$x-${B}"]);
    good("truth: ${TRUE}", &["truth true"]);
    bad("truth: '${TRUE}'", &["f:2:8: truth: \"${TRUE}\" is not a boolean; accepted: true, false"]);
    bad("name: ${EMPTY}", &["f:2:7: name: is empty"]);
    bad(
        "name: ${MISSING}",
        &["f:2:7: name: the environment has no \"MISSING\"; `$$` writes a plain `$`"],
    );
    bad("name: ${OPEN", &["f:2:7: name: `${` has no `}`; `$$` writes a plain `$`"]);
    let (_, mistakes) = read("must: x\n'${TRUE}': 1\nname: ${A-b}\n");
    assert!(mistakes[0].starts_with("f:2:1: ${TRUE}: \"${TRUE}\" is not a key"));
    assert!(mistakes[1].contains("\"A-b\" is not the name of a variable"));
}

#[test]
fn r902_a_message_shows_what_was_written_not_what_the_environment_holds() {
    bad(
        "number: ${PASSWORD}",
        &["f:2:9: number: \"${PASSWORD}\" is not a whole number from 1 to 10"],
    );
    let (_, mistakes) = read("must: x\nduration: ${PASSWORD}1\n");
    assert!(!mistakes[0].contains("hunter2"), "{mistakes:?}");
}
