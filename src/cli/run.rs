//! `gatepost run`: the sidecar.
//!
//! Owns the arguments; [`crate::serve`] does the work.

use clap::Args;

use crate::cli::{ConfigFile, Exit, Failure, Logging, Outcome};
use crate::serve;

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost run --config /etc/gatepost/gatepost.yaml

SIGHUP reloads configuration and key files. SIGTERM and SIGQUIT finish requests in flight, then stop.";

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigFile,
    /// Start with a new, empty store where the store of the issuer is missing
    #[arg(long)]
    new_store: bool,
    /// Not available yet.
    #[arg(long, hide = true)]
    upgrade: bool,
}

pub(super) fn run(arguments: Run, logging: Logging) -> Outcome {
    if arguments.upgrade {
        let message = "--upgrade is not available yet: stop the running process first";
        return Err(Failure::usage(message));
    }
    let options = logging.serve(arguments.config.path);
    serve::run(&serve::Options { new_store: arguments.new_store, ..options })?;
    Ok(Exit::Success)
}
