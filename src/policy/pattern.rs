//! Path and host patterns of routes.

use thiserror::Error;

/// A text that is not a pattern; the message says what is accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PatternError(pub String);

/// A path pattern: literal segments, `*` for one segment, `/**` at the end for that path and
/// everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: Box<str>,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] saying what is wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.into() })
    }

    /// As configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A host pattern: an exact host, or `*.` and a domain for every host below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    text: Box<str>,
}

impl HostPattern {
    /// Reads a pattern; lower-cases it, removes one final dot. A port is refused.
    ///
    /// # Errors
    /// [`PatternError`] saying what is wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.into() })
    }

    /// In normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The host of a request in the form that is matched: lower case, less default port and one final
/// dot. `None` when it is not a host.
#[must_use]
pub fn normalize_host(field: &[u8]) -> Option<String> {
    let _ = field;
    todo!("policy helper")
}
