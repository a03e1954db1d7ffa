//! The keys that tests saw written and read.
//!
//! Owns a record per thread. Exists in tests only.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::config::language::node::{Node, NodeKind, Place};

/// A key in a document.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The name of the section.
    pub(crate) section: &'static str,
    /// The name of the key.
    pub(crate) key: String,
    /// The path in the document.
    pub(crate) path: String,
    /// The place of the key.
    pub(crate) place: Place,
    /// The value, spelled as a default is.
    pub(crate) value: String,
}

/// Names of sections and their keys.
pub(crate) type Keys = BTreeSet<(&'static str, &'static str)>;

/// The record since the last [`take`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// The keys in documents.
    pub(crate) written: Vec<Written>,
    /// The keys that a reader looked for.
    pub(crate) found: Keys,
    /// The keys whose default was read.
    pub(crate) defaults: Keys,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// Takes the trace of this thread.
pub(crate) fn take() -> Trace {
    TRACE.take()
}

pub(super) fn record(add: impl FnOnce(&mut Trace)) {
    TRACE.with_borrow_mut(add);
}

/// A value as a default is spelled.
pub(crate) fn spelled(node: &Node<'_>) -> String {
    match &node.kind {
        NodeKind::Scalar(scalar) => scalar.text.to_string(),
        NodeKind::Sequence(items) => {
            format!("[{}]", items.iter().map(spelled).collect::<Vec<_>>().join(", "))
        }
        NodeKind::Mapping(members) if members.is_empty() => "{}".to_owned(),
        NodeKind::Mapping(members) => {
            let members = members.iter().map(|one| format!("{}: {}", one.key, spelled(&one.value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}
