//! The document as a tree: every scalar with its text, its style and its place.
//!
//! Owns [`Node`]. Never gives a scalar a type: `1.10` stays `1.10` and `no` stays `no`, and the
//! reader that wants a number or a boolean says what it accepts ([`crate::config::language::walk`]).

use std::borrow::Cow;

/// A position in a file: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column from 1; 0 when the file as a whole is meant.
    pub column: u32,
}

/// A value of the document and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'t> {
    /// Its first character.
    pub place: Place,
    /// Its kind.
    pub kind: NodeKind<'t>,
}

/// The kind of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind<'t> {
    /// A scalar.
    Scalar(Scalar<'t>),
    /// A list.
    Sequence(Vec<Node<'t>>),
    /// Keys and values, in the order of the file.
    Mapping(Vec<Entry<'t>>),
}

/// A key of a mapping and its value. Keys are scalars, and unique in their mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    /// The key's text.
    pub key: Cow<'t, str>,
    /// The first character of the key.
    pub place: Place,
    /// The value.
    pub value: Node<'t>,
}

/// The style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: the only style that can be null, a boolean or a number.
    Plain,
    /// In quotes, or as a block: always a string.
    Quoted,
    /// Without quotes and with `${NAME}` in it: a boolean or a number, but never null.
    Expanded,
    /// In quotes and with `${NAME}` in it: always a string.
    QuotedExpanded,
    /// It has no value because of a mistake that is already recorded: readers pass over it.
    Unknown,
}

/// A scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar<'t> {
    /// The text after escapes and `${NAME}`.
    pub text: Cow<'t, str>,
    /// The style.
    pub style: Style,
    /// The text for messages if the scalar came from the environment, which may hold
    /// secrets: the text before `${NAME}` was replaced.
    pub written: Option<Box<str>>,
}

impl Scalar<'_> {
    /// True for null: nothing, `~` or `null` without quotes.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain
            && matches!(self.text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// True if it may be a boolean or a number.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        matches!(self.style, Style::Plain | Style::Expanded)
    }
}

impl Node<'static> {
    /// The default of a key as a node: a plain scalar, `{}`, or `[a, b]`.
    #[must_use]
    pub fn default_value(text: &'static str, place: Place) -> Self {
        let list = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let kind = match (list, text) {
            (None, "{}") => NodeKind::Mapping(Vec::new()),
            (None, _) => {
                NodeKind::Scalar(Scalar { text: text.into(), style: Style::Plain, written: None })
            }
            (Some(""), _) => NodeKind::Sequence(Vec::new()),
            (Some(items), _) => NodeKind::Sequence(
                items.split(", ").map(|item| Self::default_value(item, place)).collect(),
            ),
        };
        Self { place, kind }
    }
}

impl Node<'_> {
    /// True for null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar(scalar) => scalar.is_null(),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => false,
        }
    }
}
