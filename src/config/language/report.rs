//! The mistakes of one file and its insecure settings, collected while it is read.
//!
//! Owns [`Report`]. Reading never stops at the first mistake: a reader records it here and goes on
//! with the rest.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Mistake;
use crate::config::language::node::Place;

/// The most mistakes that are kept, which bounds the memory that a hostile file can use.
pub const MISTAKES_MAX: usize = 1_000;

/// The most characters of a message or path that are kept: both quote the file.
const TEXT_MAX: usize = 1_000;

/// The mistakes of one file.
#[derive(Debug)]
pub struct Report {
    file: PathBuf,
    mistakes: RefCell<BTreeSet<Mistake>>,
    insecure: RefCell<BTreeSet<String>>,
}

impl Report {
    /// An empty report for `file`, which is only named, never opened.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), mistakes: RefCell::default(), insecure: RefCell::default() }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Records a mistake at a place; `path` is the place in the document (`routes[2].access`).
    pub fn add(&self, place: Place, path: impl Into<String>, message: impl Into<String>) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < MISTAKES_MAX {
            mistakes.insert(Mistake {
                file: self.file.clone(),
                line: u64::from(place.line),
                column: u64::from(place.column),
                path: shorten(path.into()),
                message: shorten(message.into()),
            });
        }
    }

    /// True if no more mistakes are kept, so that a search for them is pointless.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= MISTAKES_MAX
    }

    /// The number of mistakes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mistakes.borrow().len()
    }

    /// True if there is none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All mistakes in the order of the file, each once.
    #[must_use]
    pub fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner().into_iter().collect()
    }

    /// Notes a setting in force that is weaker than the safe default, by its path.
    pub fn note_insecure(&self, path: String) {
        self.insecure.borrow_mut().insert(path);
    }

    /// Every such setting, sorted by path.
    #[must_use]
    pub fn insecure(&self) -> Vec<String> {
        self.insecure.borrow().iter().cloned().collect()
    }
}

/// One line that fits a terminal and a log: no control characters, not endless.
fn shorten(text: String) -> String {
    if text.len() <= TEXT_MAX && !text.contains(char::is_control) {
        return text;
    }
    let mut line = String::with_capacity(text.len().min(2 * TEXT_MAX));
    for (count, c) in text.chars().enumerate() {
        if count == TEXT_MAX {
            line.push_str("...");
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r903_a_mistake_is_one_line_of_bounded_length() {
        let report = Report::new(Path::new("f"));
        report.add(Place { line: 2, column: 1 }, "b\n", "x\u{1b}[2J\r\nß");
        report.add(Place { line: 1, column: 9 }, "a", "é".repeat(5_000));
        report.add(Place { line: 2, column: 1 }, "b\n", "x\u{1b}[2J\r\nß");
        let mistakes = report.into_mistakes();
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].message.chars().count(), TEXT_MAX + 3);
        assert_eq!(mistakes[1].to_string(), r"f:2:1: b\n: x\u{1b}[2J\r\nß");
    }
}
