//! `${NAME}` in scalars.
//!
//! Owns the expansion, which happens after parsing: a value from the environment can never add a
//! key, end a quote or begin a list, and keys are never expanded (the contract, "Reading it").
//! Never reads the environment itself: the caller passes a look-up.

use crate::config::language::node::{Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
use crate::config::language::yaml::join;

/// The most text that expansion may produce in one file, in bytes: `${A}` is four bytes and can
/// expand to many more.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Looks a variable up.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Expands every scalar below `root` but the keys. `$$` is one `$`; a `$` before anything but `{`
/// and `$` stays.
pub fn expand(report: &Report, root: &mut Node<'_>, environment: Environment<'_>) {
    Expansion { report, environment, bytes: 0 }.node(root, String::new());
}

struct Expansion<'r, 'e> {
    report: &'r Report,
    environment: Environment<'e>,
    bytes: usize,
}

impl Expansion<'_, '_> {
    // Recursion is bounded by the depth of the parser's budget.
    fn node(&mut self, node: &mut Node<'_>, path: String) {
        match &mut node.kind {
            NodeKind::Scalar(scalar) => self.scalar(scalar, node.place, path),
            NodeKind::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, format!("{path}[{index}]"));
                }
            }
            NodeKind::Mapping(entries) => {
                for entry in entries {
                    self.node(&mut entry.value, join(&path, &entry.key));
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar<'_>, place: Place, path: String) {
        if !scalar.text.contains('$') {
            return;
        }
        match self.text(&scalar.text) {
            Ok(text) => {
                scalar.style = match scalar.style {
                    Style::Plain | Style::Expanded => Style::Expanded,
                    Style::Quoted | Style::QuotedExpanded => Style::QuotedExpanded,
                    Style::Unknown => Style::Unknown,
                };
                scalar.written = Some(scalar.text.as_ref().into());
                scalar.text = text.into();
            }
            Err(message) => {
                scalar.style = Style::Unknown;
                self.report.add(place, path, message);
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (name, after) = variable(after)?;
                let value = (self.environment)(name).ok_or_else(|| {
                    format!("the environment has no {name:?}; `$$` writes a plain `$`")
                })?;
                self.bytes = self.bytes.saturating_add(value.len());
                if self.bytes > EXPANDED_BYTES_MAX {
                    return Err(format!(
                        "`${{NAME}}` gives more than {EXPANDED_BYTES_MAX} bytes in this file"
                    ));
                }
                expanded.push_str(&value);
                rest = after;
            } else {
                expanded.push('$');
                rest = after;
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// The name before `}` and what comes after.
fn variable(text: &str) -> Result<(&str, &str), String> {
    let named = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match text.split_once('}') {
        Some((name, after)) if named(name) => Ok((name, after)),
        Some((name, _)) => Err(format!(
            "{name:?} is not the name of a variable: letters, digits and _ are accepted; `$$` writes a plain `$`"
        )),
        None => Err("`${` has no `}`; `$$` writes a plain `$`".to_owned()),
    }
}
