//! `gatepost key ... --config`: API keys in the store of the issuer.
//!
//! Owns the same words as for key files, on another place. Never opens the store by itself.

use std::path::Path;

use serde_json::json;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::cli::key::acts::read_key;
use crate::cli::key::{Entry, Expiry, Failure as KeyFailure, Find, Import, KeyCommand, KeyPlace};
use crate::cli::manage::{expiry, print_one, segment};
use crate::cli::stored::Output;
use crate::cli::token::{New, list};
use crate::cli::user::Common;
use crate::cli::{Exit, Failure, Outcome, escape, print};
use crate::decide::api_key::Digest;

/// The outcome of a command whose keys are in the store; `None` for one about a key file.
pub(in crate::cli) fn run(command: &KeyCommand) -> Option<Outcome> {
    let place = command.place();
    let config = place.config.as_deref()?;
    Some(on_the_store(command, place, config).map(|()| Exit::Success))
}

fn on_the_store(command: &KeyCommand, place: &KeyPlace, config: &Path) -> Result<(), Failure> {
    let output = place.output.unwrap_or_default();
    let common = Common::new(config.to_owned(), output);
    match command {
        KeyCommand::Create(arguments) => {
            let entry = &arguments.entry;
            check_entry(entry)?;
            let owner = owner(arguments.owner.as_deref())?;
            let expires = entry.expires.map(text);
            let (name, scopes) = (arguments.name.as_str(), entry.scopes.as_slice());
            let new = New { owner, name, scopes, expires: expires.as_deref() };
            new.create(&common, "/keys", "key")
        }
        KeyCommand::List(arguments) => {
            let output = if arguments.json { Output::Json } else { output };
            let common = Common::new(config.to_owned(), output);
            list(&common, ("keys", "/keys"), arguments.owner.as_deref(), &arguments.filter)
        }
        KeyCommand::Rotate(arguments) => {
            if arguments.new_id.is_some() {
                return Err(Failure::usage("--new-id is for keys in a file"));
            }
            let now = Clock::start().now().unix;
            let expires =
                arguments.expires.map(|expires| expiry(&text(expires), now)).transpose()?;
            let body =
                json!({ "end_old": now.plus(arguments.grace).to_string(), "expires": expires });
            let made =
                common.desk()?.post(&format!("/keys/{}/rotate", segment(&arguments.id)), &body)?;
            print_one(output, &made, |made| {
                format!("{}\n", made["key"].as_str().map(escape).unwrap_or_default())
            })
        }
        KeyCommand::Disable(one) => turn(&common, &one.id, ("disable", "disabled")),
        KeyCommand::Enable(one) => turn(&common, &one.id, ("enable", "enabled")),
        KeyCommand::Delete(one) => {
            common.desk()?.delete(&format!("/keys/{}", segment(&one.id)))?;
            print(&format!("{}: deleted\n", escape(&one.id)))
        }
        KeyCommand::Import(arguments) => import(&common, arguments),
        KeyCommand::Find(arguments) => find(&common, arguments),
    }
}

fn turn(common: &Common, id: &str, (act, done): (&str, &str)) -> Result<(), Failure> {
    let target = format!("/keys/{}/{act}", segment(id));
    let changed = common.desk()?.post(&target, &json!({}))?;
    print_one(common.output, &changed, |_| format!("{}: {done}\n", escape(id)))
}

/// Stores the digest of a key from standard input, or a digest, and prints the id.
fn import(common: &Common, arguments: &Import) -> Result<(), Failure> {
    let entry = &arguments.entry;
    check_entry(entry)?;
    if arguments.pepper.is_some() {
        let message = "--pepper is for keys in a file: the store keys the digest by itself";
        return Err(Failure::usage(message));
    }
    let owner = owner(arguments.owner.as_deref())?;
    let key = match &arguments.digest {
        Some(_) => None,
        None => Some(from_stdin()?),
    };
    let scopes = (!entry.scopes.is_empty()).then_some(&entry.scopes);
    let body = json!({
        "owner": owner,
        "name": arguments.name.as_deref().unwrap_or("imported"),
        "key": key.as_ref().map(|key| key.expose().as_str()),
        "digest": arguments.digest.as_ref().map(Digest::to_text),
        "scopes": scopes,
        "expires": entry.expires.map(text),
    });
    let made = common.desk()?.post("/keys/import", &body)?;
    print_one(common.output, &made, |made| {
        format!("{}\n", made["id"].as_str().map(escape).unwrap_or_default())
    })
}

/// Finds the entry of a key from standard input.
fn find(common: &Common, arguments: &Find) -> Result<(), Failure> {
    if !arguments.peppers.is_empty() {
        return Err(Failure::usage(
            "--pepper is for keys in a file: the store has no peppers of keys",
        ));
    }
    let key = from_stdin()?;
    let found = common.desk()?.post("/keys/find", &json!({ "key": key.expose() }))?;
    let output = if arguments.json { Output::Json } else { common.output };
    print_one(output, &found, crate::cli::answer::outline)
}

fn from_stdin() -> Result<Secret<String>, Failure> {
    read_key(&mut std::io::stdin()).map_err(KeyFailure::into_failure)
}

fn check_entry(entry: &Entry) -> Result<(), Failure> {
    if entry.subject.is_some() || entry.id.is_some() {
        return Err(Failure::usage("--subject and --id are for keys in a file: use --owner"));
    }
    Ok(())
}

fn owner(given: Option<&str>) -> Result<&str, Failure> {
    given.ok_or_else(|| Failure::usage("--owner is required with --config"))
}

/// `--expires` as it was read.
fn text(expires: Expiry) -> String {
    match expires {
        Expiry::After(after) => Clock::start().now().unix.plus(after).to_string(),
        Expiry::At(at) => at.to_string(),
        Expiry::Never => "never".to_owned(),
    }
}
