//! What a section of a file may contain, as data.
//!
//! Owns [`Section`], [`Key`] and [`Shape`]. The same tables say which keys are accepted
//! ([`crate::config::language::walk`]), what the JSON Schema says ([`crate::config::schema`]) and what
//! `config/reference.yaml` must document, so that the three cannot drift apart. Never reads.

/// A mapping with a fixed set of keys.
#[derive(Debug)]
pub struct Section {
    /// What messages call it: `a route`.
    pub name: &'static str,
    /// Every key there is.
    pub keys: &'static [Key],
}

impl Section {
    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What holds without it, as it would be written; empty when there is nothing to write.
    pub default: &'static str,
    /// What it means, in one sentence without a full stop.
    pub about: &'static str,
    /// Whether this version has it. A key that is known and not built yet is refused by name.
    pub available: bool,
}

impl Key {
    /// An optional key.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, required: false, default: "", about, available: true }
    }

    /// A key that must be there.
    #[must_use]
    pub const fn required(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, required: true, default: "", about, available: true }
    }

    /// A key of the contract that this version refuses.
    #[must_use]
    pub const fn unavailable(name: &'static str, about: &'static str) -> Self {
        Self { name, shape: Shape::Text, required: false, default: "", about, available: false }
    }

    /// The same key with a default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}

/// What a value looks like: as much as an editor can check.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any text.
    Text,
    /// `true` or `false`.
    Truth,
    /// A whole number within these bounds.
    Number(u64, u64),
    /// `250ms`, `30s`, `5m`, `24h`, `90d`.
    Duration,
    /// A number of bytes with an optional suffix.
    Size,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Self),
    /// One value or a list of them.
    OneOrMany(&'static Self),
    /// A mapping from names of the operator's choice.
    Table(&'static Self),
    /// A mapping with fixed keys.
    Section(&'static Section),
    /// Any of these.
    Either(&'static [Self]),
    /// Anything: claims.
    Any,
}

/// Calls `see` with every key of `section` and below, and its path: `.routes[].access.scopes`.
pub fn visit(section: &'static Section, path: &str, see: &mut dyn FnMut(&str, &'static Key)) {
    for key in section.keys {
        let path = format!("{path}.{}", key.name);
        see(&path, key);
        visit_shape(&key.shape, &path, see);
    }
}

// The tables are finite and do not refer to themselves, so this ends.
fn visit_shape(shape: &'static Shape, path: &str, see: &mut dyn FnMut(&str, &'static Key)) {
    match shape {
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Table(inner) => {
            visit_shape(inner, &format!("{path}[]"), see);
        }
        Shape::Section(section) => visit(section, path, see),
        Shape::Either(shapes) => {
            for inner in *shapes {
                visit_shape(inner, path, see);
            }
        }
        Shape::Text
        | Shape::Truth
        | Shape::Number(..)
        | Shape::Duration
        | Shape::Size
        | Shape::Word(_)
        | Shape::Any => {}
    }
}
