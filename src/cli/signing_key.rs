//! `gatepost signing-key`: list, rotate and retire the keys that sign tokens.
//!
//! Owns the arguments and the text of the answers. Works on the store; a running process has the
//! change within a second. Never prints a private key.

use clap::Subcommand;
use serde_json::json;

use crate::base::clock::UnixTime;
use crate::cli::stored::{Arguments, Output, Stored, table};
use crate::cli::{Exit, Failure, Outcome, print};
use crate::issue::intent::signing_keys::KeyChange;
use crate::issue::rows::{Id, KeyStage};
use crate::serve::issuer::keys::{KeyRow, KeysError};
use crate::serve::issuer::open::OpenStore;

const LIST_EXAMPLE: &str = "\
Example:
  gatepost signing-key list --config gatepost.yaml";

const ROTATE_EXAMPLE: &str = "\
Example:
  gatepost signing-key rotate --config gatepost.yaml

The new key is published now and signs after `signing_keys.publish_before`, so that every resource
server has fetched it by then.";

const RETIRE_EXAMPLE: &str = "\
Example:
  gatepost signing-key retire xTS2GJ1... --config gatepost.yaml

For a key that others may know: it is published no more, and every token that it signed is refused
within a second. Another key signs at once.";

/// `signing-key ...`.
#[derive(Debug, Subcommand)]
pub(super) enum SigningKeyCommand {
    /// List the published keys
    #[command(after_help = LIST_EXAMPLE)]
    List(Arguments),
    /// Publish a new key now, and sign with it later
    #[command(after_help = ROTATE_EXAMPLE)]
    Rotate(Arguments),
    /// End a key with every token that it signed
    #[command(after_help = RETIRE_EXAMPLE)]
    Retire {
        /// Id of the key, as `signing-key list` prints it
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        arguments: Arguments,
    },
}

pub(super) fn run(command: &SigningKeyCommand) -> Outcome {
    match command {
        SigningKeyCommand::List(arguments) => change(arguments, None),
        SigningKeyCommand::Rotate(arguments) => change(arguments, Some(KeyChange::Rotate)),
        SigningKeyCommand::Retire { kid, arguments } => {
            change(arguments, Some(KeyChange::Retire(Id::from(&**kid))))
        }
    }
}

/// Makes a change, and prints the keys from now on.
fn change(arguments: &Arguments, change: Option<KeyChange>) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let OpenStore { store, keys, .. } = stored.open()?;
    let made = match (change, stored.rotation()) {
        (Some(change), Some(rules)) => stored.wait(keys.change(&store, change, &rules)).map(drop),
        (Some(_) | None, _) => Ok(()),
    };
    let listed = keys.list();
    stored.wait(store.close());
    made.map_err(refused)?;
    print(&match arguments.output {
        Output::Table => as_table(&listed),
        Output::Json => as_json(&listed),
    })?;
    Ok(Exit::Success)
}

fn refused(error: KeysError) -> Failure {
    match error {
        KeysError::Refused(refusal) => {
            Failure::negative(format!("{refusal}: `gatepost signing-key list` prints the keys"))
        }
        KeysError::NotStored(_) | KeysError::Generation(_) => Failure::fault(error.to_string()),
    }
}

/// The instant of a stage in words.
fn meaning(stage: KeyStage) -> &'static str {
    match stage {
        KeyStage::Next => "signs from",
        KeyStage::Active => "signs since",
        KeyStage::Retired => "published until",
    }
}

fn as_table(keys: &[KeyRow]) -> String {
    let row = |key: &KeyRow| {
        let since = format!("{} {}", meaning(key.stage), UnixTime(key.at));
        vec![key.kid.to_string(), key.algorithm.to_string(), key.stage.as_str().to_owned(), since]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    table(&["KID", "ALGORITHM", "STATE", "TIME"], &rows)
}

fn as_json(keys: &[KeyRow]) -> String {
    let key = |key: &KeyRow| {
        json!({
            "kid": key.kid, "algorithm": key.algorithm, "state": key.stage.as_str(),
            "time": UnixTime(key.at).to_string(),
        })
    };
    format!("{:#}\n", json!({ "signing_keys": keys.iter().map(key).collect::<Vec<_>>() }))
}
