//! `gatepost signing-key`: list, rotate and retire the keys that sign tokens.
//!
//! Owns the arguments and the text of the answers. Never prints a private key, and never opens the
//! store by itself.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::manage::{Desk, print_one, segment};
use crate::cli::stored::{Arguments, table};
use crate::cli::{Exit, Failure, Outcome, escape};

/// The page of the administration.
const ROOT: &str = "/signing-keys";

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
from the next request on. Another key signs at once.";

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
    let (arguments, keys) = match command {
        SigningKeyCommand::List(arguments) => (arguments, desk(arguments)?.get(ROOT)?),
        SigningKeyCommand::Rotate(arguments) => {
            (arguments, desk(arguments)?.post(ROOT, &json!({}))?)
        }
        SigningKeyCommand::Retire { kid, arguments } => {
            let target = format!("{ROOT}/{}/retire", segment(kid));
            (arguments, desk(arguments)?.post(&target, &json!({}))?)
        }
    };
    let keys = &keys["signing_keys"];
    print_one(arguments.output, &json!({ "signing_keys": keys }), as_table)?;
    Ok(Exit::Success)
}

fn desk(arguments: &Arguments) -> Result<Desk, Failure> {
    Desk::open(&arguments.config.path)
}

/// The instant of a stage in words.
fn meaning(stage: &str) -> &'static str {
    match stage {
        "next" => "signs from",
        "active" => "signs since",
        _ => "published until",
    }
}

fn as_table(document: &Value) -> String {
    let keys = document["signing_keys"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |key: &Value| {
        let text = |member: &str| key[member].as_str().map(escape).unwrap_or_default();
        let (state, time) = (text("state"), text("time"));
        let since = format!("{} {time}", meaning(&state));
        vec![text("kid"), text("algorithm"), state, since]
    };
    table(&["KID", "ALGORITHM", "STATE", "TIME"], &keys.iter().map(row).collect::<Vec<_>>())
}
