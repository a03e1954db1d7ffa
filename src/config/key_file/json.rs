//! One JSON text on one line to `Node`: strict (RFC 8259), bounded, with a place for everything.
//!
//! Owns the reader for lines of a JSON Lines file. It makes the nodes that `config::language::yaml`
//! makes, so that the same readers with the same messages follow. Strings are quoted scalars;
//! numbers, `true`, `false` and `null` plain ones, as they are written. `serde_json` reads; the place of
//! a value is where its text begins in the line. Never gives a value a type, never stops at a
//! repeated key.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::language::node::{Entry, Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
use crate::config::language::yaml::join;

/// Reads the one value of a line. Mistakes go to `report`; `None` means that there is nothing to
/// walk. `depth` bounds how lists and mappings are nested.
#[must_use]
pub fn parse<'t>(report: &Report, line: u32, text: &'t str, depth: usize) -> Option<Node<'t>> {
    let reader = Reader { report, line, text, is_ascii: text.is_ascii(), depth };
    let read = reader.read(text).and_then(|raw: &RawValue| reader.value(raw, None, depth));
    match read {
        Ok(node) => Some(node),
        Err(Wrong { at, message }) => {
            report.add(reader.place(at), "", format!("not valid JSON: {message}"));
            None
        }
    }
}

/// The reason why a line cannot be read on, and where.
struct Wrong {
    at: usize,
    message: String,
}

/// The key a value belongs to, and those above it.
#[derive(Clone, Copy)]
struct Above<'a> {
    key: &'a str,
    above: Option<&'a Self>,
}

impl Above<'_> {
    fn path(&self) -> String {
        join(&self.above.map(Self::path).unwrap_or_default(), self.key)
    }
}

struct Reader<'r, 't> {
    report: &'r Report,
    line: u32,
    text: &'t str,
    is_ascii: bool,
    depth: usize,
}

impl<'t> Reader<'_, 't> {
    /// A value. Recursion is bounded by `depth`, how much deeper it may go.
    fn value(
        &self,
        raw: &'t RawValue,
        above: Option<&Above<'_>>,
        depth: usize,
    ) -> Result<Node<'t>, Wrong> {
        let (text, at) = (raw.get(), self.offset(raw.get()));
        let kind = match text.as_bytes().first() {
            Some(b'{' | b'[') if depth == 0 => {
                let message = format!("nested more than {} levels deep", self.depth);
                return Err(Wrong { at, message });
            }
            Some(b'{') => NodeKind::Mapping(self.object(text, above, depth - 1)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = self.read(text)?;
                let items = items.into_iter().map(|item| self.value(item, above, depth - 1));
                NodeKind::Sequence(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => NodeKind::Scalar(scalar(self.string(text)?, Style::Quoted)),
            Some(_) | None => NodeKind::Scalar(scalar(Cow::Borrowed(text), Style::Plain)),
        };
        Ok(Node { place: self.place(at), kind })
    }

    fn object(
        &self,
        text: &'t str,
        above: Option<&Above<'_>>,
        depth: usize,
    ) -> Result<Vec<Entry<'t>>, Wrong> {
        let Pairs(pairs) = self.read(text)?;
        let mut entries: Vec<Entry<'t>> = Vec::with_capacity(pairs.len());
        for (raw, value) in pairs {
            let key = self.string(raw.get())?;
            let here = Above { key: &key, above };
            let value = self.value(value, Some(&here), depth)?;
            let place = self.place(self.offset(raw.get()));
            // The keys of one section are few; a table of claims is bounded by its line.
            if entries.iter().any(|entry| entry.key == key) {
                self.report.add(place, here.path(), format!("key {key:?} is here twice"));
            } else {
                entries.push(Entry { key, place, value });
            }
        }
        Ok(entries)
    }

    /// A string. One without escapes is not copied.
    fn string(&self, text: &'t str) -> Result<Cow<'t, str>, Wrong> {
        if text.contains('\\') {
            return self.read(text).map(Cow::Owned);
        }
        self.read(text).map(Cow::Borrowed)
    }

    /// Reads a part of the line.
    fn read<T: Deserialize<'t>>(&self, part: &'t str) -> Result<T, Wrong> {
        serde_json::from_str(part).map_err(|error| {
            // The column of a line that has ended is that of its last byte.
            let column = error.column() + usize::from(error.is_eof());
            let text = error.to_string();
            let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
            let at = self.offset(part) + column.saturating_sub(1).min(part.len());
            Wrong { at, message: message.to_owned() }
        })
    }

    /// The offset in the line at which a part of it begins.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }

    fn place(&self, at: usize) -> Place {
        let before = if self.is_ascii {
            at
        } else {
            self.text.get(..at).map_or(at, |it| it.chars().count())
        };
        Place { line: self.line, column: u32::try_from(before + 1).unwrap_or(u32::MAX) }
    }
}

/// The members of an object in their order, with those that are there twice.
struct Pairs<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for Pairs<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'t> Visitor<'t> for Members {
            type Value = Pairs<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

fn scalar(text: Cow<'_, str>, style: Style) -> Scalar<'_> {
    Scalar { text, style, written: None }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Map, Number, Value};

    use super::*;

    const DEPTH: usize = 8;

    fn read(text: &str) -> (Option<Node<'_>>, Vec<String>) {
        let report = Report::new(Path::new("f.jsonl"));
        let root = parse(&report, 7, text, DEPTH);
        (root, report.into_mistakes().iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (_, mistakes) = read(text);
        assert_eq!(mistakes.len(), expected.len(), "{text:?}: {mistakes:?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{text:?}: {mistake}");
        }
    }

    /// The JSON value of a node.
    fn value(node: &Node<'_>) -> Value {
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.style == Style::Quoted => {
                Value::String(scalar.text.to_string())
            }
            NodeKind::Scalar(scalar) => match scalar.text.as_ref() {
                "true" => true.into(),
                "false" => false.into(),
                "null" => Value::Null,
                number => number.parse::<Number>().unwrap().into(),
            },
            NodeKind::Sequence(items) => items.iter().map(value).collect(),
            NodeKind::Mapping(entries) => {
                let pairs = entries.iter();
                pairs.map(|it| (it.key.to_string(), value(&it.value))).collect::<Map<_, _>>().into()
            }
        }
    }

    #[test]
    fn values_keep_their_text_and_their_place() {
        let (root, mistakes) = read(r#" {"ä": [1.10, "no\n", null] , "b":{"c":true}}"#);
        assert_eq!(mistakes, [""; 0]);
        let NodeKind::Mapping(entries) = root.unwrap().kind else { panic!("a mapping") };
        assert_eq!(entries[0].place, Place { line: 7, column: 3 });
        let NodeKind::Sequence(items) = &entries[0].value.kind else { panic!("a list") };
        let columns: Vec<_> = items.iter().map(|item| item.place.column).collect();
        assert_eq!(columns, [9, 15, 23]);
        let NodeKind::Scalar(first) = &items[0].kind else { panic!("a scalar") };
        assert_eq!((first.text.as_ref(), first.style), ("1.10", Style::Plain));
        assert!(items[2].is_null());
    }

    #[test]
    fn contract_reading_a_repeated_key_is_a_mistake_and_the_rest_is_read() {
        check(
            r#"{"a":1,"a":2,"b":{"c":1,"\u0063":2}}"#,
            &["f.jsonl:7:8: a: key \"a\" is here twice", "f.jsonl:7:25: b.c: key \"c\" is here"],
        );
    }

    #[test]
    fn what_is_not_json_is_refused_at_its_place() {
        for (text, column) in [
            ("", 1),
            ("{", 2),
            (r#"{"a""#, 5),
            (r#"{"a" 1}"#, 6),
            (r#"{"a":1"#, 7),
            (r#"{"a":1,}"#, 8),
            (r#"{"a":1 "b":2}"#, 8),
            ("{a:1}", 2),
            ("{'a':1}", 2),
            ("[1,]", 4),
            ("[1 2]", 4),
            ("[1", 3),
            ("[}", 2),
            (r#""a"#, 3),
            ("\"a\tb\"", 2),
            (r#""\x""#, 3),
            (r#""\u12g4""#, 7),
            (r#""\ud800""#, 8),
            (r#""\ud800\u0041""#, 13),
            (r#""\udc00\ud800""#, 7),
            ("01", 2),
            ("1.", 2),
            (".5", 1),
            ("+1", 1),
            ("1e", 2),
            ("0x10", 2),
            ("NaN", 1),
            ("True", 1),
            ("nul", 4),
            ("{} {}", 4),
            ("{}, ", 3),
            ("[[[[[[[[[1]]]]]]]]]", 9),
        ] {
            check(text, &[&format!("f.jsonl:7:{column}: not valid JSON")]);
        }
        let ends = "é".repeat(3) + "x";
        check(&format!("\"{ends}\" x"), &["f.jsonl:7:8: not valid JSON"]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|it: f64| Value::from(it)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_reads_as_what_serde_json_reads(json in json()) {
            let text = json.to_string();
            let (root, mistakes) = read(&text);
            prop_assert_eq!(mistakes, [""; 0]);
            prop_assert_eq!(value(&root.unwrap()), serde_json::from_str::<Value>(&text).unwrap());
        }

        /// Whatever is cut out of a JSON text or put into one: both say the same of it.
        #[test]
        fn both_refuse_the_same(json in json(), at in 0_usize..60, cut in 0_usize..3, put in "[\\[\\]{},:\"0-9a-z\\\\. -]{0,2}") {
            let mut text = json.to_string();
            let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            let end = (at..=(at + cut).min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap();
            text.replace_range(at..end, &put);
            let (root, mistakes) = read(&text);
            match serde_json::from_str::<Value>(&text) {
                // Deeper, a repeated key, or a number that no machine has.
                Ok(_) => prop_assert!(root.is_some() || mistakes[0].contains("levels deep")),
                Err(error) => prop_assert!(root.is_none() || error.to_string().contains("out of range"), "{text}: {error}"),
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = read(&text);
            let _ = read(&format!("{{\"a\":\"{text}"));
        }
    }
}
