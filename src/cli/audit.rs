//! `gatepost audit`: the audit log of the issuer.
//!
//! Owns the arguments and the text form of a line. Never opens the store by itself.

use clap::Args;

use crate::cli::manage::{print_list, segment};
use crate::cli::user::Common;
use crate::cli::{Exit, Outcome};

pub(super) const EXAMPLE: &str = "\
Examples:
  gatepost audit --config gatepost.yaml --since 2027-01-01T00:00:00Z
  gatepost audit --config gatepost.yaml --subject ada --output json";

/// The columns of a list.
const COLUMNS: [(&str, &str); 8] = [
    ("TIME", "time"),
    ("ACT", "act"),
    ("ACTOR", "actor"),
    ("SUBJECT", "subject"),
    ("APPLICATION", "application"),
    ("CREDENTIAL", "credential"),
    ("ADDRESS", "address"),
    ("REQUEST", "request"),
];

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only lines from this time on: RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines about this person, by login or id
    #[arg(long, value_name = "PERSON")]
    subject: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Audit) -> Outcome {
    let Audit { since, subject, common } = arguments;
    let pairs = [("since", since), ("subject", subject)];
    let pairs = pairs.into_iter().filter_map(|(name, value)| {
        value.as_ref().map(|value| format!("{name}={}", segment(value)))
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let target = if query.is_empty() { "/audit".to_owned() } else { format!("/audit?{query}") };
    print_list(common.output, &common.desk()?.list("audit", &target)?, &COLUMNS)?;
    Ok(Exit::Success)
}
