//! `gatepost check`: every mistake of a configuration at once, without network access.
//!
//! Owns the summary of a valid configuration.

use std::path::Path;

use crate::base::clock::Clock;
use crate::cli::{Exit, Outcome, loading, print};
use crate::config::{Config, Materials};

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost check --config gatepost.yaml

Prints every mistake as file:line:column: path: what is wrong, and what is accepted.
Exit 0, or 78 when there are mistakes.";

pub(super) fn run(path: &Path) -> Outcome {
    let (config, materials) = loading::load(path)?;
    for setting in &config.dynamic.insecure {
        eprintln!("gatepost: {}: warning: insecure setting enabled: {setting}", path.display());
    }
    for warning in materials.warnings(&config.dynamic, &[]) {
        eprintln!("gatepost: warning: {warning}");
    }
    print(&format!("{}: ok: {}\n", path.display(), summary(&config, &materials)))?;
    Ok(Exit::Success)
}

fn summary(config: &Config, materials: &Materials) -> String {
    let dynamic = &config.dynamic;
    let keys = materials.key_ring.count(Clock::start().now().unix).iter().sum();
    [
        count(config.startup.listeners.len(), "listener"),
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
