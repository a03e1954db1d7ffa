//! Stub until the key commands are merged.
use crate::cli::{Exit, Outcome};
/// Stub.
#[derive(Debug, clap::Subcommand)]
pub enum KeyCommand {
    /// Stub.
    #[command(after_help = "Example:\n  gatepost key")]
    Create,
}
/// Stub.
/// # Errors
/// Stub.
pub fn run(command: &KeyCommand) -> Outcome {
    let _ = command;
    Ok(Exit::No)
}
