//! `gatepost key ... --config`: API keys in the store of the issuer.
//!
//! Owns the same words as for key files, on another place. Never opens the store by itself.

use std::path::Path;

use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::key::{Expiry, KeyCommand, KeyPlace};
use crate::cli::manage::{expiry, print_one, segment};
use crate::cli::stored::Output;
use crate::cli::token::{New, list};
use crate::cli::user::Common;
use crate::cli::{Exit, Failure, Outcome, escape, print};

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
            if entry.subject.is_some() || entry.id.is_some() {
                return Err(Failure::usage(
                    "--subject and --id are for keys in a file: use --owner",
                ));
            }
            let owner = arguments.owner.as_deref();
            let owner = owner.ok_or_else(|| Failure::usage("--owner is required with --config"))?;
            let expires = entry.expires.map(text);
            let (name, scopes) = (arguments.name.as_str(), entry.scopes.as_slice());
            let new = New { owner, name, scopes, expires: expires.as_deref() };
            new.create(&common, "/keys", "key")
        }
        KeyCommand::List(arguments) => {
            let output = if arguments.json { Output::Json } else { output };
            let common = Common::new(config.to_owned(), output);
            list(&common, ("keys", "/keys"), None)
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
        KeyCommand::Disable(one) => turn(&common, &one.id, "disable"),
        KeyCommand::Enable(one) => turn(&common, &one.id, "enable"),
        KeyCommand::Delete(one) => {
            common.desk()?.delete(&format!("/keys/{}", segment(&one.id)))?;
            print(&format!("{}: deleted\n", escape(&one.id)))
        }
        KeyCommand::Import(_) | KeyCommand::Find(_) => {
            Err(Failure::usage("keys are imported to and found in key files: use --file"))
        }
    }
}

fn turn(common: &Common, id: &str, act: &str) -> Result<(), Failure> {
    let target = format!("/keys/{}/{act}", segment(id));
    let changed = common.desk()?.post(&target, &json!({}))?;
    print_one(common.output, &changed, |_| format!("{}: {act}\n", escape(id)))
}

/// `--expires` as it was read.
fn text(expires: Expiry) -> String {
    match expires {
        Expiry::After(after) => Clock::start().now().unix.plus(after).to_string(),
        Expiry::At(at) => at.to_string(),
    }
}
