//! YAML to [`Node`]: strict, bounded, with a place for everything.
//!
//! Owns the only code that knows the YAML parser. It reads the parser's events and not serde's
//! data model, because that gives a plain scalar a type (`1.10` would become `1.1`) and forgets
//! its quotes. Anchors, aliases, merge keys, tags and directives are refused: no line
//! refers to text written elsewhere, so that a reviewer sees the meaning of a line and the
//! key commands can edit one entry without reading the others. Never expands, never interprets.

use std::borrow::Cow;

use serde_yaml::granit_parser::{self as granit, Event, ScalarStyle, Span};

use crate::config::language::node::{Entry, Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;

/// The maximum size of a document. A file over budget is a mistake before it costs memory.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of text.
    pub bytes: usize,
    /// Scalars, lists and mappings together, keys included.
    pub nodes: usize,
    /// The maximum nesting of lists and mappings.
    pub depth: usize,
}

impl Budget {
    /// For the configuration: some ten thousand routes, and far below what hurts.
    pub const CONFIGURATION: Self = Self { bytes: 8 << 20, nodes: 1 << 20, depth: 64 };
    /// For a key file: more than a million keys.
    pub const KEY_FILE: Self = Self { bytes: 256 << 20, nodes: 32 << 20, depth: 64 };
}

/// Reads the one document of a file. Mistakes go to `report`; `None` means that there is nothing
/// to walk. A tree may come back beside mistakes, so that what follows finds the rest of them.
#[must_use]
pub fn parse<'t>(report: &Report, bytes: &'t [u8], budget: &Budget) -> Option<Node<'t>> {
    if bytes.len() > budget.bytes {
        let message =
            format!("the file has {} bytes; at most {} are accepted", bytes.len(), budget.bytes);
        report.add(Place::default(), "", message);
        return None;
    }
    let text = decode(report, bytes)?;
    let mut tree = Tree { report, budget, stack: Vec::new(), root: None, documents: 0, nodes: 0 };
    let options = granit::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: budget.depth + 1,
        block_nesting_limit: budget.depth + 1,
    };
    for next in granit::Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => tree.accept(event, &span)?,
            Err(error) => {
                let message = format!("not valid YAML: {}", error.info());
                report.add(place(error.marker()), tree.path(), message);
                return None;
            }
        }
    }
    match tree.root {
        Some(root) if !root.is_null() => Some(root),
        Some(_) | None => {
            report.add(Place { line: 1, column: 1 }, "", "the document is empty");
            None
        }
    }
}

/// The bytes as text, without a byte order mark.
fn decode<'t>(report: &Report, bytes: &'t [u8]) -> Option<&'t str> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let column = good.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
            report.add(Place { line: narrow(line), column: narrow(column) }, "", "not UTF-8 text");
            None
        }
    }
}

fn place(marker: &granit::Marker) -> Place {
    Place { line: narrow(marker.line()), column: narrow(marker.col() + 1) }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A list or mapping that is still open.
enum Open<'t> {
    Sequence(Place, Vec<Node<'t>>),
    /// With the key whose value comes next.
    Mapping(Place, Vec<Entry<'t>>, Option<(Cow<'t, str>, Place)>),
}

/// The tree as far as it is built. An explicit stack instead of recursion: depth costs no call
/// stack, however a file is nested.
struct Tree<'r, 't> {
    report: &'r Report,
    budget: &'r Budget,
    stack: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    documents: usize,
    nodes: usize,
}

impl<'t> Tree<'_, 't> {
    /// Takes one event; `None` ends the reading.
    fn accept(&mut self, event: Event<'t>, span: &Span) -> Option<()> {
        let place = place(&span.start);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.mistake(place, "a second document begins here; one is accepted");
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.check_properties(place, anchor, tag.is_some());
                self.count(place)?;
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                // The parser writes `~` for an absent value; only its empty span shows the difference.
                let text = if span.is_empty() { Cow::Borrowed("") } else { text };
                let scalar = Scalar { text, style, written: None };
                self.close(Node { place, kind: NodeKind::Scalar(scalar) });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.mistake(place, "aliases (*name) are not accepted; write the value out");
                self.count(place)?;
                let scalar = Scalar { text: "*".into(), style: Style::Unknown, written: None };
                self.close(Node { place, kind: NodeKind::Scalar(scalar) });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_properties(place, anchor, tag.is_some());
                self.open(Open::Sequence(place, Vec::new()), place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_properties(place, anchor, tag.is_some());
                self.open(Open::Mapping(place, Vec::new(), None), place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close_innermost(),
            // Start and end of stream and document; anchors and comments are not asked for.
            _ => {}
        }
        Some(())
    }

    fn check_properties(&self, place: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.mistake(place, "anchors (&name) are not accepted; write the value out");
        }
        if tagged {
            self.mistake(place, "tags (!name) are not accepted; quotes make a string");
        }
    }

    fn count(&mut self, place: Place) -> Option<()> {
        self.nodes += 1;
        if self.nodes > self.budget.nodes {
            self.mistake(place, format!("more than {} values in one file", self.budget.nodes));
            return None;
        }
        Some(())
    }

    fn open(&mut self, open: Open<'t>, place: Place) -> Option<()> {
        self.count(place)?;
        if self.stack.len() >= self.budget.depth {
            self.mistake(place, format!("nested more than {} levels deep", self.budget.depth));
            return None;
        }
        self.stack.push(open);
        Some(())
    }

    fn close_innermost(&mut self) {
        match self.stack.pop() {
            Some(Open::Sequence(place, items)) => {
                self.close(Node { place, kind: NodeKind::Sequence(items) });
            }
            Some(Open::Mapping(place, mut entries, _)) => {
                self.drop_repeated(&mut entries);
                self.close(Node { place, kind: NodeKind::Mapping(entries) });
            }
            None => {}
        }
    }

    /// Puts a finished value where it belongs: into a list, a key or its value, or the root.
    fn close(&mut self, node: Node<'t>) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries, pending)) => match pending.take() {
                Some((key, place)) => {
                    // Nothing after the colon has no place of its own: the key's serves.
                    let nothing = node.is_null()
                        && matches!(&node.kind, NodeKind::Scalar(s) if s.text.is_empty());
                    let value = if nothing { Node { place, ..node } } else { node };
                    entries.push(Entry { key, place, value });
                }
                None => {
                    let key = self.key(node);
                    if let Some(Open::Mapping(_, _, pending)) = self.stack.last_mut() {
                        *pending = Some(key);
                    }
                }
            },
        }
    }

    fn key(&self, node: Node<'t>) -> (Cow<'t, str>, Place) {
        let null = node.is_null();
        match node.kind {
            NodeKind::Scalar(scalar) if !null => {
                if scalar.text == "<<" {
                    self.mistake(
                        node.place,
                        "merge keys (<<) are not accepted; write the keys out",
                    );
                }
                (scalar.text, node.place)
            }
            NodeKind::Scalar(_) | NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                self.mistake(node.place, "a key must be a word");
                (Cow::Borrowed(""), node.place)
            }
        }
    }

    /// Reports every key that was there before, and keeps the first of each.
    fn drop_repeated(&self, entries: &mut Vec<Entry<'t>>) {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|&a, &b| entries[a].key.cmp(&entries[b].key).then(a.cmp(&b)));
        let mut repeated: Vec<usize> = order
            .windows(2)
            .filter(|pair| entries[pair[0]].key == entries[pair[1]].key)
            .map(|pair| pair[1])
            .collect();
        if repeated.is_empty() {
            return;
        }
        repeated.sort_unstable();
        let parent = self.path();
        let mut index = 0;
        entries.retain(|entry| {
            let again = repeated.binary_search(&index).is_ok();
            index += 1;
            if again {
                let message = format!("key {:?} is here twice", entry.key);
                self.report.add(entry.place, join(&parent, &entry.key), message);
            }
            !again
        });
    }

    fn mistake(&self, place: Place, message: impl Into<String>) {
        self.report.add(place, self.path(), message);
    }

    /// The path of the value that is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match open {
                Open::Sequence(_, items) => path.push_str(&format!("[{}]", items.len())),
                Open::Mapping(_, _, Some((key, _))) => path = join(&path, key),
                Open::Mapping(_, _, None) => {}
            }
        }
        path
    }
}

/// `a` and `b` as `a.b`; control characters in a key are escaped.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}", key.escape_debug())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SMALL: Budget = Budget { bytes: 1_000, nodes: 20, depth: 4 };

    fn read(bytes: &[u8]) -> (Option<Node<'_>>, Vec<String>) {
        let report = Report::new(Path::new("f.yaml"));
        let root = parse(&report, bytes, &SMALL);
        (root, report.into_mistakes().iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (_, mistakes) = read(text.as_bytes());
        assert_eq!(mistakes.len(), expected.len(), "{text:?}: {mistakes:?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{text:?}: {mistake}");
        }
    }

    #[test]
    fn scalars_keep_text_style_and_place() {
        let (root, mistakes) = read(b"a: 1.10\nb: [no, '~', ~]\nc:\n  d: \"x\\n\"\n");
        assert_eq!(mistakes, [""; 0]);
        let NodeKind::Mapping(entries) = root.unwrap().kind else { panic!("a mapping") };
        let scalar = |node: &Node<'_>| match &node.kind {
            NodeKind::Scalar(scalar) => (scalar.text.to_string(), scalar.style, scalar.is_null()),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => panic!("a scalar"),
        };
        assert_eq!(scalar(&entries[0].value), ("1.10".to_owned(), Style::Plain, false));
        assert_eq!(entries[0].value.place, Place { line: 1, column: 4 });
        let NodeKind::Sequence(items) = &entries[1].value.kind else { panic!("a list") };
        assert_eq!(scalar(&items[0]), ("no".to_owned(), Style::Plain, false));
        assert_eq!(scalar(&items[1]), ("~".to_owned(), Style::Quoted, false));
        assert_eq!(scalar(&items[2]), ("~".to_owned(), Style::Plain, true));
        assert_eq!(items[1].place, Place { line: 2, column: 9 });
        let NodeKind::Mapping(inner) = &entries[2].value.kind else { panic!("a mapping") };
        assert_eq!(inner[0].place, Place { line: 4, column: 3 });
        assert_eq!(scalar(&inner[0].value), ("x\n".to_owned(), Style::Quoted, false));
    }

    #[test]
    fn contract_reading_duplicate_keys_are_mistakes_each_with_its_place() {
        check("a: 1\nb: 2\na: 3\n'a': 4\n", &["f.yaml:3:1: a: ", "f.yaml:4:1: a: "]);
        check("a:\n  - {b: 1, c: 2, b: 3}\n", &["f.yaml:2:18: a[0].b: key \"b\" is here twice"]);
    }

    #[test]
    fn contract_reading_an_empty_document_is_a_mistake() {
        for empty in ["", "\n\n", "# only a comment\n", "---\n", "~", "null\n", "\u{feff}"] {
            check(empty, &["f.yaml:1:1: the document is empty"]);
        }
        check("a: b\n---\nc: d\n", &["f.yaml:2:1: a second document"]);
    }

    #[test]
    fn what_stands_for_something_else_is_refused_and_the_rest_is_read() {
        check(
            "a: &x [1]\nb: *x\nc: !!str 1\nd: {<<: {e: 1}}\n? [k]\n: v\nf: *nobody\n",
            &[
                "f.yaml:1:7: a: anchors",
                "f.yaml:2:4: b: aliases",
                "f.yaml:3:10: c: tags",
                "f.yaml:4:5: d: merge",
                "f.yaml:5:3: a key must be a word",
                "f.yaml:7:4: f: aliases",
            ],
        );
        check("%YAML 1.2\n---\na: 1\n", &["f.yaml:1:1: not valid YAML"]);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        check("a: [1, 2\nb: 3\n", &["f.yaml:2:"]);
        check("a: 'x\n", &["f.yaml:"]);
        check("a:\n\t- b\n", &["f.yaml:2:"]);
        assert_eq!(read(b"a: 1\nb: \xff\n").1, ["f.yaml:2:4: not UTF-8 text"]);
    }

    #[test]
    fn a_document_over_budget_is_one_mistake() {
        check(&"a".repeat(1_001), &["f.yaml:1:1: the file has 1001 bytes"]);
        check(&format!("[{}]", "1,".repeat(30)), &["f.yaml:1:40: [19]: more than 20 values"]);
        check("[[[[[1]]]]]", &["f.yaml:1:5: [0][0][0][0]: nested more than 4 levels"]);
        check("a:\n b:\n  c:\n   d:\n    e: 1\n", &["f.yaml:5:5: a.b.c.d: nested more"]);
    }
}
