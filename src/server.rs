//! Stub until the shell is merged.
use std::path::PathBuf;
use crate::cli::{Failure, Logging};
/// Stub.
#[derive(Debug)]
pub struct Options { /** Stub. */ pub config: PathBuf, /** Stub. */ pub logging: Logging }
/// Stub.
/// # Errors
/// Stub.
pub fn run(options: Options) -> Result<(), Failure> { Err(Failure::fault(format!("stub {options:?}"))) }
