//! `gatepost token`: personal access tokens.
//!
//! Owns the arguments and the text form of the answers. A token is the first line of standard
//! output and nothing else. Never opens the store by itself.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::manage::{Paging, State, expiry, print_one, segment};
use crate::cli::user::Common;
use crate::cli::{Exit, Failure, Outcome, escape, print};

/// The columns of a list.
const COLUMNS: [(&str, &str); 8] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("OWNER", "owner"),
    ("SCOPES", "scopes"),
    ("LAST4", "hint"),
    ("EXPIRES", "expires"),
    ("LAST_USED", "last_used"),
    ("DISABLED", "disabled"),
];

/// `token ...`.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a personal access token and print it once
    #[command(after_help = "Example:\n  gatepost token create --config gatepost.yaml --user ada \
        --name laptop --scope read --expires 90d")]
    Create(Create),
    /// List personal access tokens
    #[command(
        after_help = "Example:\n  gatepost token list --config gatepost.yaml --user ada --state active"
    )]
    List(List),
    /// Revoke a personal access token
    #[command(after_help = "Example:\n  gatepost token revoke TOKEN_ID --config gatepost.yaml")]
    Revoke(Revoke),
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Person, by login or id
    #[arg(long, value_name = "PERSON")]
    user: String,
    /// Label
    #[arg(long)]
    name: String,
    /// Granted scope; repeatable [default: all that the person may have]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Expiry: a duration (90d), or RFC 3339 [default: as configured]
    #[arg(long, value_name = "90d|RFC3339")]
    expires: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this person, by login or id
    #[arg(long, value_name = "PERSON")]
    user: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

/// The filters of a list of credentials.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only those with this label
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    pub(super) state: Option<State>,
    #[command(flatten)]
    pub(super) paging: Paging,
}

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Id of the token, as listed by `token list`
    #[arg(value_name = "TOKEN_ID")]
    id: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(command: &TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(arguments) => {
            let new = New {
                owner: &arguments.user,
                name: &arguments.name,
                scopes: &arguments.scopes,
                expires: arguments.expires.as_deref(),
            };
            new.create(&arguments.common, "/tokens", "token")?;
        }
        TokenCommand::List(List { user, filter, common }) => {
            list(common, ("tokens", "/tokens"), user.as_deref(), filter)?;
        }
        TokenCommand::Revoke(Revoke { id, common }) => {
            common.desk()?.delete(&format!("/tokens/{}", segment(id)))?;
            print(&format!("{}: revoked\n", escape(id)))?;
        }
    }
    Ok(Exit::Success)
}

/// A new personal access token or API key.
pub(super) struct New<'a> {
    pub(super) owner: &'a str,
    pub(super) name: &'a str,
    pub(super) scopes: &'a [String],
    pub(super) expires: Option<&'a str>,
}

impl New<'_> {
    /// Creates it and prints `member`.
    pub(super) fn create(&self, common: &Common, root: &str, member: &str) -> Result<(), Failure> {
        let now = Clock::start().now().unix;
        let expires = self.expires.map(|text| expiry(text, now)).transpose()?;
        let scopes = (!self.scopes.is_empty()).then_some(self.scopes);
        let (owner, name) = (self.owner, self.name);
        let body = json!({ "owner": owner, "name": name, "scopes": scopes, "expires": expires });
        let made = common.desk()?.post(root, &body)?;
        print_one(common.output, &made, |made| {
            format!("{}\n", made[member].as_str().map(escape).unwrap_or_default())
        })
    }
}

/// Prints a list of credentials.
pub(super) fn list(
    common: &Common,
    list: (&str, &str),
    owner: Option<&str>,
    filter: &Filter,
) -> Result<(), Failure> {
    let (name, state) = (filter.name.as_deref(), filter.state.map(State::word));
    let filters = [("owner", owner), ("name", name), ("state", state)];
    common.desk()?.list(list, &filters, &filter.paging)?.print(common.output, &COLUMNS)
}
