//! `gatepost safe-store`: status, rotation and loss of the peppers.
//!
//! Owns the arguments and the text of the answers. Works on the store, beside a process that runs on
//! it. Never prints a secret, a share or a pepper.

use clap::Subcommand;
use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::stored::{Arguments, Output, Stored, table};
use crate::cli::{Exit, Failure, Outcome, print};
use crate::serve::issuer::forget::forget;
use crate::serve::issuer::rotate::{PepperUse, rotate, status};

const STATUS_EXAMPLE: &str = "\
Example:
  gatepost safe-store status --config gatepost.yaml";

const ROTATE_EXAMPLE: &str = "\
Example:
  head -c 32 /dev/urandom > pepper-2.key && chmod 600 pepper-2.key
  # name it in issuer.safe_store.peppers, and make it active
  gatepost safe-store rotate --config gatepost.yaml

Seals every share and every record again under the active pepper. It may be interrupted and run
again. A pepper that nothing is sealed under any more may be removed from the configuration.";

const FORGET_EXAMPLE: &str = "\
Example:
  gatepost safe-store forget p1 --config gatepost.yaml

For a pepper whose file is lost, while no server runs. Prints what is unreadable from now on. The
next start makes new signing keys: every access token ends.";

/// `safe-store ...`.
#[derive(Debug, Subcommand)]
pub(super) enum SafeStoreCommand {
    /// Show what is sealed under each pepper
    #[command(after_help = STATUS_EXAMPLE)]
    Status(Arguments),
    /// Seal everything under the active pepper
    #[command(after_help = ROTATE_EXAMPLE)]
    Rotate(Arguments),
    /// Give up what is sealed under a pepper that is lost
    #[command(after_help = FORGET_EXAMPLE)]
    Forget {
        /// Id of the pepper
        #[arg(value_name = "PEPPER")]
        pepper: String,
        #[command(flatten)]
        arguments: Arguments,
    },
}

pub(super) fn run(command: &SafeStoreCommand) -> Outcome {
    match command {
        SafeStoreCommand::Status(arguments) => show(arguments),
        SafeStoreCommand::Rotate(arguments) => turn(arguments),
        SafeStoreCommand::Forget { pepper, arguments } => give_up(pepper, arguments),
    }
}

fn show(arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let open = stored.open()?;
    let uses = stored.wait(status(&open));
    stored.wait(open.store.close());
    let uses = uses.map_err(|error| Failure::fault(error.to_string()))?;
    print(&match arguments.output {
        Output::Table => as_table(&uses),
        Output::Json => as_json(&uses),
    })?;
    Ok(Exit::Success)
}

fn give_up(pepper: &str, arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    if stored.has_pepper(pepper) {
        let remedy = "the pepper is not lost: use `gatepost safe-store rotate`";
        return Err(Failure::negative(format!("{pepper}: {remedy}")));
    }
    let store = stored.open_sealed()?;
    let lost = stored.wait(forget(&store, pepper, Clock::start().now().unix));
    stored.wait(store.close());
    let lost = lost.map_err(|error| Failure::fault(format!("{error}; run the command again")))?;
    print(&match arguments.output {
        Output::Table if lost.is_empty() => "nothing is sealed under it\n".to_owned(),
        Output::Table => lost.iter().map(|one| format!("unreadable: {one}\n")).collect(),
        Output::Json => format!("{:#}\n", json!({ "unreadable": lost })),
    })?;
    Ok(Exit::Success)
}

fn as_table(uses: &[PepperUse]) -> String {
    let state = |one: &PepperUse| if one.is_active { "active" } else { "old" }.to_owned();
    let row = |one: &PepperUse| {
        vec![one.id.to_string(), state(one), one.shares.to_string(), one.records.to_string()]
    };
    table(&["PEPPER", "STATE", "SHARES", "RECORDS"], &uses.iter().map(row).collect::<Vec<_>>())
}

fn as_json(uses: &[PepperUse]) -> String {
    let pepper = |one: &PepperUse| {
        json!({
            "id": one.id, "active": one.is_active, "shares": one.shares, "records": one.records,
        })
    };
    format!("{:#}\n", json!({ "peppers": uses.iter().map(pepper).collect::<Vec<_>>() }))
}

/// Alone: a process that runs holds the peppers of its start, and would seal under the old one.
fn turn(arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let open = stored.open_alone()?;
    let mut progress = |rows: usize| {
        if rows.is_multiple_of(10_000) {
            eprintln!("gatepost: {rows} rows are sealed under the active pepper");
        }
    };
    let done = stored.wait(rotate(&open, &mut progress));
    stored.wait(open.store.close());
    let again = |error| Failure::fault(format!("{error}; run the command again"));
    let done = done.map_err(again)?;
    print(&match arguments.output {
        Output::Table => {
            let mut text =
                format!("{} shares and {} records sealed again\n", done.shares, done.records);
            for id in &done.ended {
                text.push_str(&format!("pepper {id}: nothing is sealed under it any more\n"));
            }
            text
        }
        Output::Json => {
            let document = json!({
                "shares": done.shares, "records": done.records, "unreadable": done.unreadable,
                "ended": done.ended,
            });
            format!("{document:#}\n")
        }
    })?;
    if done.unreadable > 0 {
        let records = done.unreadable;
        let message = format!("{records} records cannot be opened and stay as they are");
        return Err(Failure::negative(message));
    }
    Ok(Exit::Success)
}
