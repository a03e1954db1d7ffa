//! `gatepost user`: people of the issuer.
//!
//! Owns the arguments and the text form of the answers. Never opens the store by itself.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use crate::base::secret::Secret;
use crate::cli::manage::{Desk, Paging, State, print_one, segment};
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
    /// Set the password of a person, and end their sessions
    #[command(after_help = "Examples:\n  gatepost user password ada --config gatepost.yaml\n  \
        gatepost user password ada --password-stdin --config gatepost.yaml < password.txt")]
    Password(Password),
    /// Print a link that sets the password of a person once, good for an hour
    #[command(after_help = "Example:\n  gatepost user reset ada --config gatepost.yaml")]
    Reset(One),
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
    /// Read the password from standard input: one line
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only the person with this name at sign-in
    #[arg(long)]
    login: Option<String>,
    /// Only those with this full name
    #[arg(long)]
    name: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only people who ask for the role developer on their page and do not have it
    #[arg(long)]
    asked: bool,
    #[command(flatten)]
    paging: Paging,
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

/// Arguments of `user password`.
#[derive(Debug, Args)]
pub(super) struct Password {
    #[command(flatten)]
    one: One,
    /// Read the password from standard input: one line
    #[arg(long)]
    password_stdin: bool,
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
        UserCommand::List(List { login, name, state, asked, paging, common }) => {
            let (login, name, state) = (login.as_deref(), name.as_deref(), state.map(State::word));
            let asked = asked.then_some("true");
            let filters = [("login", login), ("name", name), ("state", state), ("asked", asked)];
            let listed = common.desk()?.list(("users", "/users"), &filters, paging)?;
            listed.print(common.output, &COLUMNS)?;
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
        UserCommand::Password(arguments) => password(arguments)?,
        UserCommand::Reset(One { person, common }) => {
            let target = format!("/users/{}/reset", segment(person));
            let made = common.desk()?.post(&target, &json!({}))?;
            print_one(common.output, &made, |made| {
                format!("{}\n", made["link"].as_str().map(escape).unwrap_or_default())
            })?;
        }
        UserCommand::Disable(one) => turn(one, ("disable", "disabled"), &json!({}))?,
        UserCommand::Enable(one) => turn(one, ("enable", "enabled"), &json!({}))?,
        UserCommand::Delete(arguments) => delete(arguments)?,
    }
    Ok(Exit::Success)
}

fn add(arguments: &Add) -> Result<(), Failure> {
    let Add { login, name, email, roles, password_stdin, common } = arguments;
    let mut body = json!({ "login": login, "name": name, "email": email, "roles": roles });
    if *password_stdin {
        body["password"] = json!(read_password(true)?.expose());
    }
    let made = common.desk()?.post("/users", &body)?;
    print_one(common.output, &made, |made| {
        format!("{}\n", made["id"].as_str().map(escape).unwrap_or_default())
    })
}

fn password(arguments: &Password) -> Result<(), Failure> {
    let Password { one, password_stdin } = arguments;
    let password = read_password(*password_stdin)?;
    let target = format!("/users/{}/password", segment(&one.person));
    let changed = one.common.desk()?.post(&target, &json!({ "password": password.expose() }))?;
    print_one(one.common.output, &changed, |_| format!("{}: password set\n", escape(&one.person)))
}

/// One line of standard input. On a terminal it is not shown while it is typed.
fn read_password(is_piped: bool) -> Result<Secret<String>, Failure> {
    let stdin = io::stdin();
    let is_asked = !is_piped && stdin.is_terminal();
    let echo = if is_asked { without_echo() } else { None };
    if is_asked {
        eprint!("Password: ");
    }
    let mut text = String::new();
    let read = stdin.lock().take(PASSWORD_BYTES_MAX).read_line(&mut text);
    if let Some(echo) = echo {
        let _ = tcsetattr(stdin, OptionalActions::Now, &echo);
        eprintln!();
    }
    read.map_err(|error| Failure::fault(format!("standard input: {error}")))?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.is_empty() {
        return Err(Failure::usage("no password: one line of standard input is expected"));
    }
    Ok(Secret::new(text))
}

/// Stops a terminal from showing what is typed; returns its settings from before.
fn without_echo() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &quiet).ok()?;
    Some(before)
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
