//! `gatepost check`: every mistake of a configuration at once, without network access.
//!
//! Owns the summary of a valid configuration.

use std::path::Path;

use crate::base::clock::Clock;
use crate::cli::{Exit, Failure, Outcome, loading, print};
use crate::config::{Config, Materials};
use crate::serve::issuer::open::{StartError, read_peppers};

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost check --config gatepost.yaml

Prints every mistake as file:line:column: path: what is wrong, and what is accepted.
Exit 0, or 78 when there are mistakes.";

pub(super) fn run(path: &Path) -> Outcome {
    let (config, materials) = loading::load(path)?;
    check_peppers(&config)?;
    for setting in &config.dynamic.insecure {
        eprintln!("gatepost: {}: warning: insecure setting enabled: {setting}", path.display());
    }
    for warning in materials.warnings(&config.dynamic, &[]) {
        eprintln!("gatepost: warning: {warning}");
    }
    for (certificate, file) in materials.expired(Clock::start().now().unix) {
        eprintln!("gatepost: warning: {}: {certificate} expired", file.display());
    }
    print(&format!("{}: ok: {}\n", path.display(), summary(&config, &materials)))?;
    if let Some(issuer) = &config.startup.issuer {
        print(&format!("{}: {}", path.display(), of_issuer(&issuer.url, &config)))?;
    }
    Ok(Exit::Success)
}

/// Reads the peppers of the issuer, as a start does: whether the store needs another one, only the
/// store knows.
fn check_peppers(config: &Config) -> Result<(), Failure> {
    let peppers = config.startup.issuer.as_ref().and_then(|issuer| issuer.peppers.as_ref());
    let insecure = config.dynamic.insecure_file_modes;
    let read = peppers.map(|files| read_peppers(files, insecure)).transpose();
    read.map(drop).map_err(|error| match error {
        StartError::Mistakes(mistakes) => Failure::Mistakes(mistakes),
        other => Failure::fault(other.to_string()),
    })
}

fn summary(config: &Config, materials: &Materials) -> String {
    let dynamic = &config.dynamic;
    let routes = dynamic.routes.routes().iter();
    let keys = materials.key_ring.count(Clock::start().now().unix).iter().sum();
    [
        count(config.startup.listeners.len(), "listener"),
        count(dynamic.upstreams.len(), "upstream"),
        count(dynamic.issuers.len(), "issuer"),
        count(keys, "API key"),
        count(dynamic.limits.len(), "limit"),
        count(routes.filter(|route| route.endpoint().is_none()).count(), "route"),
    ]
    .join(", ")
}

/// The routes that take credentials of the issuer, and those that lose paths to it.
fn of_issuer(url: &str, config: &Config) -> String {
    let routes = config.routes_of_issuer().join(", ");
    let routes = if routes.is_empty() { "none".to_owned() } else { routes };
    let mut text =
        format!("issuer {url}: its credentials are accepted on these routes: {routes}\n");
    for (route, paths) in config.dynamic.routes.lost_to_issuer() {
        let paths = paths.join(", ");
        text.push_str(&format!(
            "  the issuer takes these paths from route {}: {paths}\n",
            route.name
        ));
    }
    text
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
