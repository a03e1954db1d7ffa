//! Stub until the shell is merged.
use crate::cli::{Failure, Logging};
use std::path::PathBuf;
/// Stub.
#[derive(Debug)]
pub struct Options {
    /** Stub. */
    pub config: PathBuf,
    /** Stub. */
    pub logging: Logging,
}
/// Stub.
/// # Errors
/// Stub.
pub fn run(options: Options) -> Result<(), Failure> {
    Err(Failure::fault(format!("stub {options:?}")))
}
