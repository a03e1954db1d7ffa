//! Bytes that must never be printed.
//!
//! Owns the wrapper for secrets in memory. Never implements Display or Serialize, and its Debug
//! shows no byte of the value.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A secret value: redacted in Debug, wiped when dropped, read only through [`Secret::expose`].
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The secret itself. Review every call: the value must not reach a log, an error, a label or a
    /// header other than the intended one.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
