//! Reading a tree of nodes into types, with a mistake for everything that does not fit.
//!
//! Owns [`Value`] (a node that knows its path) and [`Mapping`] (a section whose keys were
//! checked against its table). A reader that meets a mistake records it and returns `None`; the
//! caller goes on with the rest. Never stops, never reads a file, never shows a value that came
//! from the environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::language::Section;
use crate::config::node::{Entry, Node, NodeKind, Place, Scalar, Style};
use crate::config::report::Report;
use crate::config::yaml::join;
use crate::time;

/// A node, where it stands and where its mistakes go.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    report: &'a Report,
    node: &'a Node<'a>,
    up: Option<&'a Self>,
    step: Step<'a>,
}

/// How a value is reached from the one above.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Value<'a> {
    /// The whole document.
    #[must_use]
    pub fn root(report: &'a Report, node: &'a Node<'a>) -> Self {
        Self { report, node, up: None, step: Step::Root }
    }

    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &'a Node<'a> {
        self.node
    }

    /// Where it begins.
    #[must_use]
    pub fn place(&self) -> Place {
        self.node.place
    }

    /// The report mistakes go to.
    #[must_use]
    pub fn report(&self) -> &'a Report {
        self.report
    }

    /// Its path in the document: `routes[2].access.scopes[0]`.
    #[must_use]
    pub fn path(&self) -> String {
        let above = self.up.map(Value::path).unwrap_or_default();
        match self.step {
            Step::Root => above,
            Step::Key(key) => join(&above, key),
            Step::Index(index) => format!("{above}[{index}]"),
        }
    }

    /// Records a mistake about this value.
    pub fn mistake(&self, message: impl Into<String>) {
        self.report.add(self.node.place, self.path(), self.mask(message.into()));
    }

    /// Puts what was written in the place of what the environment made of it: a message may end
    /// up in a log, and the environment may hold secrets.
    fn mask(&self, message: String) -> String {
        let NodeKind::Scalar(Scalar { text, written: Some(written), .. }) = &self.node.kind else {
            return message;
        };
        let quoted = format!("{text:?}");
        if message.contains(&quoted) {
            message.replace(&quoted, &format!("{written:?}"))
        } else if text.len() >= 4 {
            message.replace(text.as_ref(), written)
        } else {
            message
        }
    }

    /// A scalar that is not null.
    pub fn scalar(&self) -> Option<&'a Scalar<'a>> {
        match &self.node.kind {
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            NodeKind::Scalar(_) => {
                self.mistake("has no value; give it one, or remove the key");
                None
            }
            NodeKind::Sequence(_) => {
                self.mistake("is a list; one value is accepted");
                None
            }
            NodeKind::Mapping(_) => {
                self.mistake("is a mapping; one value is accepted");
                None
            }
        }
    }

    /// A text that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.scalar()?.text.as_ref();
        if text.is_empty() {
            self.mistake("is empty");
            return None;
        }
        Some(text)
    }

    /// A text that `read` understands; its error is the message.
    pub fn parse<T, E: Display>(&self, read: impl FnOnce(&'a str) -> Result<T, E>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(error.to_string());
                None
            }
        }
    }

    /// `true` or `false`, without quotes.
    pub fn truth(&self) -> Option<bool> {
        let scalar = self.scalar()?;
        match scalar.text.as_ref() {
            "true" if scalar.is_bare() => Some(true),
            "false" if scalar.is_bare() => Some(false),
            other => {
                self.mistake(format!("{other:?} is not a boolean; accepted: true, false"));
                None
            }
        }
    }

    /// A whole number within bounds, in decimal, without quotes.
    pub fn number(&self, accepted: RangeInclusive<u64>) -> Option<u64> {
        let scalar = self.scalar()?;
        let text = scalar.text.as_ref();
        let digits = scalar.is_bare() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && accepted.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (low, high) = accepted.into_inner();
                self.mistake(format!("{text:?} is not a whole number from {low} to {high}"));
                None
            }
        }
    }

    /// A duration within bounds.
    pub fn duration(&self, accepted: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = self.parse(time::parse_duration)?;
        if accepted.contains(&duration) {
            return Some(duration);
        }
        let text = self.text()?;
        let (low, high) = accepted.into_inner();
        self.mistake(format!("{text:?} is out of bounds: {low:?} to {high:?} is accepted"));
        None
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            self.mistake(format!("{text:?} is not accepted here; {}", suggest(text, names)));
        }
        found
    }

    /// Whether it is this word, without quotes or with.
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.node.kind, NodeKind::Scalar(scalar) if scalar.text == word)
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.node.kind, NodeKind::Sequence(_))
    }

    /// Whether it is a mapping.
    #[must_use]
    pub fn is_mapping(&self) -> bool {
        matches!(self.node.kind, NodeKind::Mapping(_))
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Value<'_>>> {
        match &self.node.kind {
            NodeKind::Sequence(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| self.below(node, Step::Index(index)))
                    .collect(),
            ),
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if scalar.is_null() => {
                self.mistake("has no value; an empty list is written []");
                None
            }
            NodeKind::Scalar(_) | NodeKind::Mapping(_) => {
                self.mistake("is not a list; write [a, b], or one item a line after `- `");
                None
            }
        }
    }

    /// The items of a list, or the one value that stands in place of a list of one.
    pub fn one_or_many(&self) -> Option<Vec<Value<'_>>> {
        match &self.node.kind {
            NodeKind::Sequence(_) => self.items(),
            NodeKind::Scalar(_) | NodeKind::Mapping(_) => Some(vec![*self]),
        }
    }

    /// What each item of a list, or the one value in its place, reads as; mistakes are left out.
    /// `accepted` bounds how many there may be.
    pub fn each<T>(
        &self,
        accepted: RangeInclusive<usize>,
        read: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.one_or_many()?;
        self.check_count(items.len(), &accepted)?;
        Some(items.iter().filter_map(read).collect())
    }

    /// Records a mistake when there are too few or too many of something.
    pub fn check_count(&self, count: usize, accepted: &RangeInclusive<usize>) -> Option<()> {
        if accepted.contains(&count) {
            return Some(());
        }
        let message = match (count, accepted.start(), accepted.end()) {
            (0, 1, _) => "is empty; at least one is needed".to_owned(),
            (_, low, high) => format!("has {count} members; {low} to {high} are accepted"),
        };
        self.mistake(message);
        None
    }

    /// The keys and values of a mapping with names of the operator's choice.
    pub fn table(&self) -> Option<Vec<(&'a str, Value<'_>)>> {
        let entries = self.entries()?;
        Some(
            entries
                .iter()
                .map(|entry| (entry.key.as_ref(), self.below(&entry.value, Step::Key(&entry.key))))
                .collect(),
        )
    }

    /// A mapping with the keys of `section`; unknown and unavailable ones are recorded here.
    pub fn section(&self, section: &'static Section) -> Option<Mapping<'a>> {
        let mapping = Mapping { value: *self, entries: self.entries()?, section };
        mapping.check_keys();
        Some(mapping)
    }

    fn entries(&self) -> Option<&'a [Entry<'a>]> {
        match &self.node.kind {
            NodeKind::Mapping(entries) => Some(entries),
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if scalar.is_null() => {
                self.mistake("has no value; an empty mapping is written {}");
                None
            }
            NodeKind::Scalar(_) | NodeKind::Sequence(_) => {
                self.mistake("is not a mapping; write `key: value`");
                None
            }
        }
    }

    fn below<'s>(&'s self, node: &'s Node<'s>, step: Step<'s>) -> Value<'s> {
        Value { report: self.report, node, up: Some(self), step }
    }
}

/// A mapping whose keys were checked.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    value: Value<'a>,
    entries: &'a [Entry<'a>],
    section: &'static Section,
}

impl<'a> Mapping<'a> {
    /// The mapping as a value, for mistakes about it as a whole.
    #[must_use]
    pub fn value(&self) -> &Value<'a> {
        &self.value
    }

    /// The value of an optional key.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Value<'_>> {
        debug_assert!(self.section.key(name).is_some(), "{name} is not in the section's table");
        self.entries
            .iter()
            .find(|entry| entry.key == name)
            .map(|entry| self.value.below(&entry.value, Step::Key(&entry.key)))
    }

    /// The value of a key that must be there.
    pub fn require(&self, name: &str) -> Option<Value<'_>> {
        let found = self.find(name);
        if found.is_none() {
            let about = self.section.key(name).map_or("", |key| key.about);
            self.value.mistake(format!("{name:?} is missing: {about}"));
        }
        found
    }

    /// Whether a key is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn check_keys(&self) {
        for entry in self.entries {
            if self.value.report.is_full() {
                return;
            }
            let message = match self.section.key(&entry.key) {
                Some(key) if key.available => continue,
                Some(_) => {
                    format!("{:?} is not available in this version; remove it", entry.key)
                }
                None => {
                    let accepted =
                        self.section.keys.iter().filter(|key| key.available).map(|key| key.name);
                    let name = self.section.name;
                    let hint = suggest(&entry.key, accepted);
                    format!("{:?} is not a key of {name}; {hint}", entry.key)
                }
            };
            self.value.report.add(entry.place, join(&self.value.path(), &entry.key), message);
        }
    }
}

/// `did you mean "x"? accepted: x, y, z`, or just what is accepted.
pub fn suggest<'n>(text: &str, accepted: impl Iterator<Item = &'n str>) -> String {
    let accepted: Vec<&str> = accepted.collect();
    if accepted.is_empty() {
        return "nothing is accepted, because there is none".to_owned();
    }
    let list = accepted.iter().take(50).copied().collect::<Vec<_>>().join(", ");
    let near = accepted
        .iter()
        .map(|name| (distance(text, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3);
    match near {
        Some((_, name)) => format!("did you mean {name:?}? accepted: {list}"),
        None => format!("accepted: {list}"),
    }
}

/// How many letters must be added, removed, changed or swapped with their neighbour, without
/// regard to case. Long texts are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).take(65).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).take(65).collect();
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::expand::expand;
    use crate::config::language::{Key, Shape};
    use crate::config::yaml::{self, Budget};

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
        bad(
            "list: a",
            &["f:2:7: list: is not a list; write [a, b], or one item a line after `- `"],
        );
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
        bad(
            "truth: '${TRUE}'",
            &["f:2:8: truth: \"${TRUE}\" is not a boolean; accepted: true, false"],
        );
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
}
