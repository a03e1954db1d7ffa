//! `gatepost store`: status, check, backup, restore and finish-upgrade of the store of the issuer.
//!
//! Owns the arguments and the text of the answers. Works on the file, beside a process that runs on
//! it. Never prints a value of a row.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use crate::base::clock::Clock;
use crate::cli::stored::{Arguments, Output, Stored, no_store, open_failure};
use crate::cli::{Exit, Failure, Outcome, print};
use crate::serve::store::sqlite::OpenError;
use crate::serve::store::sqlite::maintain::{Status, StoreFile};
use crate::serve::store::sqlite::restore::restore;

const STATUS_EXAMPLE: &str = "\
Example:
  gatepost store status --config gatepost.yaml";

const CHECK_EXAMPLE: &str = "\
Example:
  gatepost store check --config gatepost.yaml

Reads every page, reference and value. Exit 0 when everything reads, 1 when something does not.";

const BACKUP_EXAMPLE: &str = "\
Example:
  gatepost store backup /var/backups/gatepost-1.db --config gatepost.yaml

The copy is consistent while the server runs, and is a store by itself. Its secrets are sealed: keep
the peppers apart from it, and keep them.";

const RESTORE_EXAMPLE: &str = "\
Example:
  gatepost store restore /var/backups/gatepost-1.db --config gatepost.yaml

What has ended since the backup ends again, as far as the replaced store reads; it is kept beside the
new one. Tokens that were issued since are refused. Codes, and tokens of public clients, end. Prints
the people, applications and credentials that are gone.";

const FINISH_EXAMPLE: &str = "\
Example:
  gatepost store finish-upgrade --config gatepost.yaml

Deletes the copies from before migrations. After that, the release before cannot be restored from
them.";

/// `store ...`.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Show schema, size and number of rows
    #[command(after_help = STATUS_EXAMPLE)]
    Status(Arguments),
    /// Check every page, reference and value
    #[command(after_help = CHECK_EXAMPLE)]
    Check(Arguments),
    /// Copy the store to a new file while the server runs
    #[command(after_help = BACKUP_EXAMPLE)]
    Backup {
        /// New file
        #[arg(value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Put a backup in the place of the store, while no server runs
    #[command(after_help = RESTORE_EXAMPLE)]
    Restore {
        /// Backup
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Delete what only the release before needs
    #[command(after_help = FINISH_EXAMPLE)]
    FinishUpgrade(Arguments),
}

pub(super) fn run(command: &StoreCommand) -> Outcome {
    match command {
        StoreCommand::Status(arguments) => status(arguments),
        StoreCommand::Check(arguments) => check(arguments),
        StoreCommand::Backup { to, arguments } => backup(to, arguments),
        StoreCommand::Restore { from, arguments } => put_back(from, arguments),
        StoreCommand::FinishUpgrade(arguments) => finish_upgrade(arguments),
    }
}

fn status(arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let path = stored.file();
    let status = stored.wait(async {
        let mut file = opened(&path).await?;
        let status = file.status().await.map_err(|error| open_failure(&error));
        file.close().await;
        status
    });
    let status = status?;
    print(&match arguments.output {
        Output::Table => as_text(&path, &status),
        Output::Json => as_json(&path, &status),
    })?;
    Ok(Exit::Success)
}

/// The store of the configuration, to be read.
async fn opened(path: &Path) -> Result<StoreFile, Failure> {
    StoreFile::open(path).await.map_err(|error| match error {
        OpenError::Missing(_) => no_store(path),
        error => open_failure(&error),
    })
}

fn as_text(path: &Path, status: &Status) -> String {
    let reserve = if status.is_reserve_kept { "kept" } else { "not kept" };
    let mut lines = vec![
        ("file", path.display().to_string()),
        ("schema", format!("{}, readable by {} and later", status.schema, status.readable_by)),
        ("size", format!("{} bytes", status.bytes)),
        ("last transaction", format!("{} at {}", status.number, status.at)),
        ("space for revocations", reserve.to_owned()),
    ];
    lines.extend(status.rows.iter().map(|(name, rows)| (*name, format!("{rows} rows"))));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn as_json(path: &Path, status: &Status) -> String {
    let rows: serde_json::Map<_, _> =
        status.rows.iter().map(|(name, rows)| ((*name).to_owned(), json!(rows))).collect();
    let document = json!({
        "file": path.display().to_string(),
        "schema": status.schema,
        "readable_by": status.readable_by,
        "bytes": status.bytes,
        "number": status.number,
        "time": status.at.to_string(),
        "reserve": status.is_reserve_kept,
        "rows": rows,
    });
    format!("{document:#}\n")
}

fn check(arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let path = stored.file();
    let problems = stored.wait(async {
        let mut file = opened(&path).await?;
        let problems = file.problems().await.map_err(|error| open_failure(&error));
        file.close().await;
        problems
    });
    let problems = problems?;
    print(&match arguments.output {
        Output::Table if problems.is_empty() => format!("{}: ok\n", path.display()),
        Output::Table => {
            let lines = problems.iter().map(|one| format!("{}: {one}\n", path.display()));
            lines.collect()
        }
        Output::Json => format!("{:#}\n", json!({ "problems": problems })),
    })?;
    Ok(if problems.is_empty() { Exit::Success } else { Exit::Negative })
}

fn backup(to: &Path, arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let path = stored.file();
    let copied = stored.wait(async {
        let mut file = opened(&path).await?;
        let copied = file.backup(to).await.map_err(|error| open_failure(&error));
        file.close().await;
        copied
    });
    let bytes = copied?;
    let to = to.display();
    print(&match arguments.output {
        Output::Table => format!("{to}: {bytes} bytes\n"),
        Output::Json => format!("{:#}\n", json!({ "file": to.to_string(), "bytes": bytes })),
    })?;
    Ok(Exit::Success)
}

fn put_back(from: &Path, arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let (path, now) = (stored.file(), Clock::start().now().unix);
    let restored = stored.wait(restore(from, &path, now));
    let restored = restored.map_err(|error| match error {
        // The remedy of a damaged store is what failed here.
        OpenError::Damaged { path: file, message } if file == from => {
            Failure::negative(format!("{}: not a backup of a store: {message}", file.display()))
        }
        error => open_failure(&error),
    })?;
    let replaced = restored.replaced.map(|path| path.display().to_string());
    print(&match arguments.output {
        Output::Table => {
            let mut lines = vec![format!("{}: restored", path.display())];
            lines.extend(replaced.map(|replaced| format!("the replaced store is {replaced}")));
            lines.push(format!("{} ends since the backup applied again", restored.ended));
            lines.extend(restored.gone.iter().map(|one| format!("gone: {one}")));
            let alive = restored.alive_again.iter();
            lines.extend(alive.map(|one| format!("alive again, though it may have ended: {one}")));
            let lost = restored.not_applied.iter();
            lines.extend(lost.map(|one| format!("ends not applied, revoke again: {one}")));
            lines.join("\n") + "\n"
        }
        Output::Json => {
            let document = json!({
                "file": path.display().to_string(), "replaced": replaced,
                "ended": restored.ended, "gone": restored.gone,
                "alive_again": restored.alive_again, "not_applied": restored.not_applied,
            });
            format!("{document:#}\n")
        }
    })?;
    Ok(if restored.not_applied.is_empty() { Exit::Success } else { Exit::Negative })
}

/// Deletes `gatepost.before-N`, which migrations have left.
fn finish_upgrade(arguments: &Arguments) -> Outcome {
    let stored = Stored::of(&arguments.config.path)?;
    let path = stored.file();
    let folder = path.parent().unwrap_or(&path);
    let wrong = |error| Failure::fault(format!("{}: {error}", folder.display()));
    let mut deleted = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let copy = entry.map_err(wrong)?.path();
        let name = copy.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("gatepost.before-");
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            fs::remove_file(&copy).map_err(wrong)?;
            deleted.push(copy.display().to_string());
        }
    }
    print(&match arguments.output {
        Output::Table if deleted.is_empty() => "nothing to delete\n".to_owned(),
        Output::Table => deleted.iter().map(|copy| format!("deleted {copy}\n")).collect(),
        Output::Json => format!("{:#}\n", json!({ "deleted": deleted })),
    })?;
    Ok(Exit::Success)
}
