//! `gatepost plugin`: credentials of plugins, made when they are first needed.
//!
//! Owns the environment that a plugin starts with. `run` becomes the plugin's process, so that it
//! gets every signal and its exit code is the command's; the secret is in its environment alone,
//! never in an argument. Never opens the store by itself.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::app::end_after;
use crate::cli::manage::{Paging, print_one, segment};
use crate::cli::user::Common;
use crate::cli::{Exit, Failure, Outcome, escape, print};

/// The columns of a list.
const COLUMNS: [(&str, &str); 4] =
    [("NAME", "plugin"), ("CLIENT_ID", "client_id"), ("SCOPES", "scopes"), ("CREATED", "created")];

/// The variables, and the members of the answer that they have.
const VARIABLES: [(&str, &str); 3] = [
    ("OAUTH_CLIENT_ID", "client_id"),
    ("OAUTH_CLIENT_SECRET", "client_secret"),
    ("API_BASE_URL", "api_base_url"),
];

/// `plugin ...`.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Run a program with the credentials of a plugin in its environment
    #[command(after_help = "Example:\n  gatepost plugin run mailer --config gatepost.yaml \
        --scope read -- node mailer.js")]
    Run(Run),
    /// Print the credentials of a plugin as an environment file
    #[command(
        after_help = "Example:\n  (umask 077; gatepost plugin env mailer --config gatepost.yaml \
        > mailer.env)"
    )]
    Env(One),
    /// List plugins
    #[command(after_help = "Example:\n  gatepost plugin list --config gatepost.yaml")]
    List(List),
    /// Give a plugin a new secret; the one before stays good until the next rotation
    #[command(after_help = "Example:\n  gatepost plugin rotate mailer --config gatepost.yaml \
        --end-old-after 7d")]
    Rotate(Rotate),
    /// End every token and secret of a plugin; its next start gets new ones
    #[command(after_help = "Example:\n  gatepost plugin revoke mailer --config gatepost.yaml")]
    Revoke(One),
    /// Delete a plugin with its tokens
    #[command(after_help = "Example:\n  gatepost plugin delete mailer --config gatepost.yaml")]
    Delete(One),
}

/// Arguments of a command about one plugin.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Name of the plugin
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `plugin list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only the plugin of this name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `plugin run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    one: One,
    /// Scope of the plugin; repeatable [default: every scope, or as before]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Program and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

/// Arguments of `plugin rotate`.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    one: One,
    /// End the secret before after this time
    #[arg(long, value_name = "DURATION")]
    end_old_after: Option<String>,
}

pub(super) fn run(command: &PluginCommand) -> Outcome {
    match command {
        PluginCommand::Run(arguments) => return start(arguments),
        PluginCommand::Env(one) => {
            let known = one.common.desk()?.post(&target(one), &json!({ "create": false }))?;
            print_one(one.common.output, &known, environment)?;
        }
        PluginCommand::List(List { name, paging, common }) => {
            let filters = [("name", name.as_deref())];
            let listed = common.desk()?.list(("plugins", "/plugins"), &filters, paging)?;
            listed.print(common.output, &COLUMNS)?;
        }
        PluginCommand::Rotate(Rotate { one, end_old_after }) => {
            let end_old = end_old_after.as_deref().map(end_after).transpose()?;
            act(
                one,
                ("rotate", "new secret, used from its next start on"),
                &json!({ "end_old": end_old }),
            )?;
        }
        PluginCommand::Revoke(one) => {
            act(one, ("revoke", "every token and secret ended"), &json!({}))?;
        }
        PluginCommand::Delete(one) => {
            one.common.desk()?.delete(&format!("/plugins/{}", segment(&one.name)))?;
            print(&format!("{}: deleted\n", escape(&one.name)))?;
        }
    }
    Ok(Exit::Success)
}

fn target(one: &One) -> String {
    format!("/plugins/{}", segment(&one.name))
}

/// Becomes the program; returns only if that fails. So the program has the process id that a service
/// manager knows, every signal reaches it, and its exit code is that of the command: a process in
/// between could lose both. Makes the plugin if there is none.
fn start(Run { one, scopes, command }: &Run) -> Outcome {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("a program is required behind --"));
    };
    // Before anything is made for a program that is not there.
    find(program)?;
    let scopes = (!scopes.is_empty()).then_some(scopes);
    let started = one.common.desk()?.post(&target(one), &json!({ "scopes": scopes }))?;
    let variables = VARIABLES.map(|(name, member)| (name, started[member].as_str().unwrap_or("")));
    let error = Command::new(program).args(arguments).envs(variables).exec();
    Err(Failure::usage(format!("cannot run {}: {error}", program.display())))
}

/// Finds a program as `exec` does: by its path, or in the folders of `PATH`.
fn find(program: &OsStr) -> Result<(), Failure> {
    let is_program = |path: &Path| {
        let file = path.metadata();
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let named = Path::new(program);
    let is_path = program.as_encoded_bytes().contains(&b'/');
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = match is_path {
        true => is_program(named),
        false => std::env::split_paths(&folders).any(|folder| is_program(&folder.join(named))),
    };
    let place = if is_path { "" } else { " in PATH" };
    let shown = named.display();
    let missing = || Failure::usage(format!("cannot run {shown}: no such program{place}"));
    found.then_some(()).ok_or_else(missing)
}

/// One variable a line, as shells and service managers read it.
fn environment(started: &Value) -> String {
    let line = |(name, member): (&str, &str)| {
        format!("{name}={}\n", started[member].as_str().map(escape).unwrap_or_default())
    };
    VARIABLES.map(line).concat()
}

/// Does something, and confirms it.
fn act(one: &One, (act, done): (&str, &str), body: &Value) -> Result<(), Failure> {
    let target = format!("/plugins/{}/{act}", segment(&one.name));
    let mut changed = one.common.desk()?.post(&target, body)?;
    // A rotation is no reason to show the secret: the next start has it.
    if let Some(members) = changed.as_object_mut() {
        members.remove("client_secret");
    }
    print_one(one.common.output, &changed, |_| format!("{}: {done}\n", escape(&one.name)))
}
