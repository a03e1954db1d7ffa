//! `gatepost user`: people of the issuer.
//!
//! Owns the arguments and the text form of the answers. Never opens the store by itself.

use std::io::{self, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::manage::{Desk, print_list, print_one, segment};
use crate::cli::stored::Output;
use crate::cli::{ConfigFile, Exit, Failure, Outcome, escape, print};

/// The most bytes that are read as a password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// The columns of a list.
const COLUMNS: [(&str, &str); 5] = [
    ("ID", "id"),
    ("LOGIN", "login"),
    ("NAME", "name"),
    ("ROLES", "roles"),
    ("DISABLED", "disabled"),
];

/// `user ...`.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a local person and print the id
    #[command(after_help = "Example:\n  gatepost user add --config gatepost.yaml --login ada \
        --name 'Ada Lovelace' --role operator")]
    Add(Add),
    /// List people
    #[command(after_help = "Example:\n  gatepost user list --config gatepost.yaml --output json")]
    List(List),
    /// Show one person
    #[command(after_help = "Example:\n  gatepost user show ada --config gatepost.yaml")]
    Show(One),
    /// Replace the roles of a person
    #[command(
        after_help = "Example:\n  gatepost user roles ada --role operator --config gatepost.yaml"
    )]
    Roles(Roles),
    /// Refuse all credentials of a person, and end their OAuth tokens for good
    #[command(after_help = "Example:\n  gatepost user disable ada --config gatepost.yaml")]
    Disable(One),
    /// Accept the API keys and personal access tokens of a person again
    #[command(after_help = "Example:\n  gatepost user enable ada --config gatepost.yaml")]
    Enable(One),
    /// Delete a person with all credentials
    #[command(after_help = "Examples:\n  gatepost user delete ada --config gatepost.yaml\n  \
        gatepost user delete ada --give-to bob --config gatepost.yaml")]
    Delete(Delete),
}

/// The configuration and the form of the output.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

impl Common {
    /// These arguments.
    pub(super) fn new(path: PathBuf, output: Output) -> Self {
        Self { config: ConfigFile { path }, output }
    }

    /// The administration of this configuration.
    pub(super) fn desk(&self) -> Result<Desk, Failure> {
        Desk::open(&self.config.path)
    }
}

/// Arguments of `user add`.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name at sign-in
    #[arg(long)]
    login: String,
    /// Full name
    #[arg(long)]
    name: Option<String>,
    /// E-mail address
    #[arg(long)]
    email: Option<String>,
    /// Role of the person; repeatable
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Read a password from standard input; not stored yet, see the warning
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

/// Arguments of a command about one person.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Login or id
    #[arg(value_name = "PERSON")]
    person: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user roles`.
#[derive(Debug, Args)]
pub(super) struct Roles {
    #[command(flatten)]
    one: One,
    /// Role of the person; repeatable, none removes all
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

/// Arguments of `user delete`.
#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    one: One,
    /// Give the applications of the person to this one
    #[arg(long, value_name = "PERSON", conflicts_with = "with_applications")]
    give_to: Option<String>,
    /// Delete the applications of the person as well
    #[arg(long)]
    with_applications: bool,
}

pub(super) fn run(command: &UserCommand) -> Outcome {
    match command {
        UserCommand::Add(arguments) => add(arguments)?,
        UserCommand::List(List { common }) => {
            print_list(common.output, &common.desk()?.list("users", "/users")?, &COLUMNS)?;
        }
        UserCommand::Show(One { person, common }) => {
            let shown = common.desk()?.get(&format!("/users/{}", segment(person)))?;
            print_one(common.output, &shown, crate::cli::answer::outline)?;
        }
        UserCommand::Roles(Roles { one, roles }) => {
            let all = if roles.is_empty() { "none".to_owned() } else { roles.join(" ") };
            let body = json!({ "roles": roles });
            turn(one, ("roles", &format!("roles {}", escape(&all))), &body)?;
        }
        UserCommand::Disable(one) => turn(one, ("disable", "disabled"), &json!({}))?,
        UserCommand::Enable(one) => turn(one, ("enable", "enabled"), &json!({}))?,
        UserCommand::Delete(arguments) => delete(arguments)?,
    }
    Ok(Exit::Success)
}

fn add(arguments: &Add) -> Result<(), Failure> {
    let Add { login, name, email, roles, password_stdin, common } = arguments;
    if *password_stdin {
        // Read, so that the program that writes it is not stopped by a closed pipe.
        let _ = io::copy(&mut io::stdin().lock().take(PASSWORD_BYTES_MAX), &mut io::sink());
        eprintln!(
            "gatepost: warning: the password is not stored: sign-in is not available in this version"
        );
    }
    let body = json!({ "login": login, "name": name, "email": email, "roles": roles });
    let made = common.desk()?.post("/users", &body)?;
    print_one(common.output, &made, |made| {
        format!("{}\n", made["id"].as_str().map(escape).unwrap_or_default())
    })
}

/// Does something, and confirms it.
fn turn(one: &One, (act, done): (&str, &str), body: &serde_json::Value) -> Result<(), Failure> {
    let target = format!("/users/{}/{act}", segment(&one.person));
    let changed = one.common.desk()?.post(&target, body)?;
    print_one(one.common.output, &changed, |_| format!("{}: {done}\n", escape(&one.person)))
}

fn delete(arguments: &Delete) -> Result<(), Failure> {
    let Delete { one, give_to, with_applications } = arguments;
    let mut target = format!("/users/{}", segment(&one.person));
    if let Some(heir) = give_to {
        target.push_str(&format!("?give_to={}", segment(heir)));
    } else if *with_applications {
        target.push_str("?with_applications=true");
    }
    one.common.desk()?.delete(&target)?;
    print(&format!("{}: deleted\n", escape(&one.person)))
}
