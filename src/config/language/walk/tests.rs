//! What each reader takes, and what it says to the rest.

use std::path::Path;

use super::*;
use crate::config::language::expand::expand;
use crate::config::language::section::{Key, Shape};
use crate::config::language::yaml::{self, Budget};

static SECTION: Section = Section {
    name: "a test",
    keys: &[
        Key::new("name", Shape::Text, "a text"),
        Key::new("truth", Shape::Truth, "a boolean"),
        Key::new("number", Shape::Number(1, 10), "a number"),
        Key::new("duration", Shape::Duration, "a duration"),
        Key::new("list", Shape::List(&Shape::Text), "a list"),
        Key::new("many", Shape::OneOrMany(&Shape::Text), "one or many"),
        Key::new("table", Shape::Table(&Shape::Text), "a table"),
        Key::required("must", Shape::Text, "it must"),
        Key::unavailable("later", "not yet"),
    ],
};

/// What a section reads as, and its mistakes.
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
    let find = |name| section.find(name);
    seen.extend(find("name").and_then(|v| v.text().map(|t| format!("name {t}"))));
    seen.extend(find("truth").and_then(|v| v.truth().map(|t| format!("truth {t}"))));
    seen.extend(find("number").and_then(|v| v.number(1..=10).map(|n| format!("number {n}"))));
    let second = Duration::from_secs(1);
    seen.extend(
        find("duration")
            .and_then(|v| v.duration(second..=60 * second).map(|d| format!("duration {d:?}"))),
    );
    for value in find("list").iter().flat_map(|v| v.items().unwrap_or_default()) {
        seen.extend(value.text().map(|t| format!("list {t}")));
    }
    for value in find("many").iter().flat_map(|v| v.one_or_many().unwrap_or_default()) {
        seen.extend(value.text().map(|t| format!("many {t}")));
    }
    for (name, value) in find("table").iter().flat_map(|v| v.table().unwrap_or_default()) {
        seen.extend(value.text().map(|t| format!("table {name} {t}")));
    }
    let _ = section.require("must").and_then(|v| v.text().map(str::to_owned));
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
    bad("duration: 2h", &["f:2:11: duration: \"2h\" is out of bounds: 1s to 60s is accepted"]);
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
