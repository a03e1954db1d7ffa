//! One JSON text on one line to `Node`: strict (RFC 8259), bounded, with a place for everything.
//!
//! Owns the reader for lines of a JSON Lines file. It makes the nodes that `config::language::yaml`
//! makes, so that the same readers with the same messages follow. Strings are quoted scalars;
//! numbers, `true`, `false` and `null` plain ones, as they are written. Never gives a value a
//! type, never stops at a repeated key.

use std::borrow::Cow;

use crate::config::language::node::{Entry, Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
use crate::config::language::yaml::join;

/// Reads the one value of a line. Mistakes go to `report`; `None` means that there is nothing to
/// walk. `depth` bounds how lists and mappings are nested.
#[must_use]
pub fn parse<'t>(report: &Report, line: u32, text: &'t str, depth: usize) -> Option<Node<'t>> {
    let is_ascii = text.is_ascii();
    let mut reader = Reader { report, line, text, is_ascii, at: 0, depth };
    let read = reader.value(None, depth).and_then(|node| {
        reader.skip_space();
        if reader.at < text.len() {
            return Err(reader.wrong("the line goes on behind its value"));
        }
        Ok(node)
    });
    match read {
        Ok(node) => Some(node),
        Err(Wrong { at, message }) => {
            report.add(reader.place(at), "", format!("not valid JSON: {message}"));
            None
        }
    }
}

/// Why a line cannot be read on, and where.
struct Wrong {
    at: usize,
    message: Cow<'static, str>,
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
    at: usize,
    depth: usize,
}

impl<'t> Reader<'_, 't> {
    /// A value. Recursion is bounded by `depth`, how much deeper it may go.
    fn value(&mut self, above: Option<&Above<'_>>, depth: usize) -> Result<Node<'t>, Wrong> {
        self.skip_space();
        let at = self.at;
        let kind = match self.peek() {
            Some(b'{' | b'[') if depth == 0 => {
                return Err(self.wrong(format!("nested more than {} levels deep", self.depth)));
            }
            Some(b'{') => NodeKind::Mapping(self.object(above, depth - 1)?),
            Some(b'[') => NodeKind::Sequence(self.array(above, depth - 1)?),
            Some(b'"') => NodeKind::Scalar(scalar(self.string()?, Style::Quoted)),
            Some(_) => NodeKind::Scalar(scalar(Cow::Borrowed(self.word()?), Style::Plain)),
            None => return Err(self.wrong("expected a value, found the end of the line")),
        };
        Ok(Node { place: self.place(at), kind })
    }

    fn object(&mut self, above: Option<&Above<'_>>, depth: usize) -> Result<Vec<Entry<'t>>, Wrong> {
        let mut entries: Vec<Entry<'t>> = Vec::new();
        self.at += 1;
        if self.closes(b'}') {
            return Ok(entries);
        }
        loop {
            self.skip_space();
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in double quotes is due"));
            }
            let key = self.string()?;
            self.expect(b':', "`:` is due behind a key")?;
            let here = Above { key: &key, above };
            let value = self.value(Some(&here), depth)?;
            let place = self.place(at);
            // The keys of one section are few; a table of claims is bounded by its line.
            if entries.iter().any(|entry| entry.key == key) {
                self.report.add(place, here.path(), format!("key {key:?} is here twice"));
            } else {
                entries.push(Entry { key, place, value });
            }
            if self.closes(b'}') {
                return Ok(entries);
            }
            self.expect(b',', "`,` or `}` is due behind a value")?;
        }
    }

    fn array(&mut self, above: Option<&Above<'_>>, depth: usize) -> Result<Vec<Node<'t>>, Wrong> {
        let mut items = Vec::new();
        self.at += 1;
        if self.closes(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(above, depth)?);
            if self.closes(b']') {
                return Ok(items);
            }
            self.expect(b',', "`,` or `]` is due behind a value")?;
        }
    }

    /// A string. One without escapes is not copied.
    fn string(&mut self) -> Result<Cow<'t, str>, Wrong> {
        let open = self.at;
        self.at += 1;
        let start = self.at;
        let mut copy: Option<String> = None;
        let mut from = start;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match copy {
                        None => Cow::Borrowed(rest),
                        Some(copy) => Cow::Owned(copy + rest),
                    });
                }
                Some(b'\\') => {
                    let copy = copy.get_or_insert_default();
                    copy.push_str(&self.text[from..self.at]);
                    copy.push(self.escape()?);
                    from = self.at;
                }
                Some(0..0x20) => {
                    return Err(self.wrong("a control character inside a string; escape it"));
                }
                Some(_) => self.at += 1,
                None => {
                    let message = "a string that begins here does not end".into();
                    return Err(Wrong { at: open, message });
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        let at = self.at;
        let unknown = || Wrong { at, message: "an unknown escape in a string".into() };
        self.at += 2;
        Ok(match self.text.as_bytes().get(at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex().ok_or_else(unknown)?;
                match char::from_u32(high) {
                    Some(character) => character,
                    None => self.low_surrogate(high).ok_or_else(unknown)?,
                }
            }
            Some(_) | None => return Err(unknown()),
        })
    }

    /// The character of a pair `\uD8xx\uDCxx`, half of which was read.
    fn low_surrogate(&mut self, high: u32) -> Option<char> {
        if !self.text[self.at..].starts_with("\\u") || high >= 0xdc00 {
            return None;
        }
        self.at += 2;
        let low = self.hex().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }

    /// `true`, `false`, `null` or a number, as it is written.
    fn word(&mut self) -> Result<&'t str, Wrong> {
        let rest = &self.text[self.at..];
        let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        if matches!(word, "true" | "false" | "null") || is_number(word) {
            self.at += length;
            return Ok(word);
        }
        Err(self
            .wrong("expected a value: a string in double quotes, a number, true, false, [ or {"))
    }

    fn closes(&mut self, close: u8) -> bool {
        self.skip_space();
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    fn expect(&mut self, due: u8, message: &'static str) -> Result<(), Wrong> {
        if self.closes(due) { Ok(()) } else { Err(self.wrong(message)) }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, message: impl Into<Cow<'static, str>>) -> Wrong {
        Wrong { at: self.at, message: message.into() }
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

fn scalar(text: Cow<'_, str>, style: Style) -> Scalar<'_> {
    Scalar { text, style, written: None }
}

/// RFC 8259 section 6.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (rest, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((rest, exponent)) => (rest, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (rest, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
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
            (r#""a"#, 1),
            ("\"a\tb\"", 3),
            (r#""\x""#, 2),
            (r#""\u12g4""#, 2),
            (r#""\ud800""#, 2),
            (r#""\ud800\u0041""#, 2),
            (r#""\udc00\ud800""#, 2),
            ("01", 1),
            ("1.", 1),
            (".5", 1),
            ("+1", 1),
            ("1e", 1),
            ("0x10", 1),
            ("NaN", 1),
            ("True", 1),
            ("nul", 1),
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
