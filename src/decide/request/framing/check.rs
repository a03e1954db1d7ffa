//! The limits of a request head, and the method that is never forwarded.
//!
//! Owns the whole check of a head that arrived, the same for the listener and for `explain`. Never
//! decides who may do what.

use thiserror::Error;

use super::{FIELDS_MAX, FramingError, HEAD_BYTES_MAX, Head, TARGET_BYTES_MAX};

/// A head that is refused before any decision.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadRefused {
    /// It has no reading, or two.
    #[error("{0}")]
    Malformed(#[from] FramingError),
    /// The target exceeds `TARGET_BYTES_MAX`.
    #[error("request target longer than {TARGET_BYTES_MAX} bytes")]
    TargetTooLong,
    /// There are more fields than `FIELDS_MAX`.
    #[error("more than {FIELDS_MAX} fields")]
    TooManyFields,
    /// The head exceeds `HEAD_BYTES_MAX`.
    #[error("head larger than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    /// CONNECT.
    #[error("CONNECT")]
    Connect,
}

impl<'a> Head<'a> {
    /// Parses a whole head, its empty line included, and checks its limits.
    ///
    /// # Errors
    /// [`HeadRefused`].
    pub fn check(head: &'a [u8]) -> Result<Self, HeadRefused> {
        if head.len() > HEAD_BYTES_MAX {
            return Err(too_large(head));
        }
        let head = Self::parse(head)?;
        if head.target.len() > TARGET_BYTES_MAX {
            return Err(HeadRefused::TargetTooLong);
        }
        if head.fields > FIELDS_MAX {
            return Err(HeadRefused::TooManyFields);
        }
        if head.method == b"CONNECT" {
            return Err(HeadRefused::Connect);
        }
        Ok(head)
    }
}

/// The refusal of a head that is too large, ended or not: by the part of it that is.
#[must_use]
pub fn too_large(received: &[u8]) -> HeadRefused {
    let line = received.iter().position(|byte| *byte == b'\n').unwrap_or(HEAD_BYTES_MAX);
    if line > TARGET_BYTES_MAX { HeadRefused::TargetTooLong } else { HeadRefused::TooLarge }
}
