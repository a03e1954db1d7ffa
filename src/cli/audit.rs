//! `gatepost audit`: the audit log of the issuer.
//!
//! Owns the arguments and the text form of a line. Never opens the store by itself.

use clap::Args;

use crate::cli::manage::Paging;
use crate::cli::user::Common;
use crate::cli::{Exit, Outcome};

pub(super) const EXAMPLE: &str = "\
Examples:
  gatepost audit --config gatepost.yaml --since 2027-01-01T00:00:00Z
  gatepost audit --config gatepost.yaml --subject ada --output json
  gatepost audit --config gatepost.yaml --subject CLIENT_ID --limit 100";

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
    /// Only lines about this person, by login or id, or about this application, by client id
    #[arg(long, value_name = "PERSON|CLIENT_ID")]
    subject: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Audit) -> Outcome {
    let Audit { since, subject, paging, common } = arguments;
    let filters = [("since", since.as_deref()), ("subject", subject.as_deref())];
    let listed = common.desk()?.list(("audit", "/audit"), &filters, paging)?;
    listed.print(common.output, &COLUMNS)?;
    Ok(Exit::Success)
}
