//! A mistake of the operator, with its place and the remedy.

use std::fmt;
use std::path::PathBuf;

/// `file:line:column: path: what is wrong, and what is accepted`. Never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: u64,
    /// Column from 1; 0 when the file as a whole is meant.
    pub column: u64,
    /// The path in the document: `routes[2].access.scopes[0]`; empty for the whole document.
    pub path: String,
    /// The mistake, and what is accepted.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line.max(1), self.column.max(1))?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
