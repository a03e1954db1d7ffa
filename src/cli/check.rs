//! `gatepost check`: every mistake of a configuration at once, without the network.
//!
//! Owns the summary that is printed when there is none.

use std::path::Path;

use crate::cli::loading::{self, Loaded};
use crate::cli::{Exit, Outcome, print};
use crate::time::Clock;

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost check --config gatepost.yaml

Prints every mistake as file:line:column: path: what is wrong, and what is accepted.
Exit 0, or 78 when there are mistakes.";

pub(super) fn run(path: &Path) -> Outcome {
    let loaded = loading::load(path)?;
    for setting in &loaded.config.dynamic.insecure {
        eprintln!("gatepost: {}: {setting} is weaker than the safe default", path.display());
    }
    print(&format!("{}: ok: {}\n", path.display(), summary(&loaded)))?;
    Ok(Exit::Yes)
}

fn summary(loaded: &Loaded) -> String {
    let dynamic = &loaded.config.dynamic;
    let keys = loaded.materials.key_ring.count(Clock::start().now().unix).iter().sum();
    [
        count(loaded.config.startup.listeners.len(), "listener"),
        count(dynamic.upstreams.len(), "upstream"),
        count(dynamic.issuers.len(), "issuer"),
        count(keys, "API key"),
        count(dynamic.limits.len(), "limit"),
        count(dynamic.routes.routes().len(), "route"),
    ]
    .join(", ")
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
