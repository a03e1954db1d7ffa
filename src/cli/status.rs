//! `gatepost status`: the status of the running process.
//!
//! Owns its arguments. Never computes a value of its own.

use clap::Args;

use crate::cli::admin_client::AdminClient;
use crate::cli::answer::{outline, show};
use crate::cli::{ConfigFile, Outcome};

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost status --config gatepost.yaml";

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Status) -> Outcome {
    let response = AdminClient::from_config(&arguments.config.path)?.fetch("/status")?;
    show(&response, arguments.json, outline)
}
