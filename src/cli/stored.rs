//! The store of the issuer, opened by a command.
//!
//! Owns the configuration that names it, and the errors of a store that a command cannot open. Never
//! makes a store: that is for `run` and `demo`.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::runtime::Runtime;

use crate::base::clock::Clock;
use crate::cli::{ConfigFile, Exit, Failure, loading};
use crate::config::Config;
use crate::config::model::issuer::StoreLocation;
use crate::issue::signing_key::life::Rotation;
use crate::serve::issuer::open::{OpenStore, Opening, StartError};
use crate::serve::issuer::{forget, pepper_file};
use crate::serve::store::sqlite::{OpenError, Role};
use crate::serve::store::{Store, Watch};

/// Arguments of every command on the store.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

/// A configuration with an issuer.
pub(super) struct Stored {
    config: Config,
    runtime: Runtime,
}

impl Stored {
    /// Reads the configuration, but none of the files of credentials.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let config = loading::load_config(path)?;
        if config.startup.issuer.is_none() || config.dynamic.issuer.is_none() {
            let path = path.display();
            return Err(Failure::negative(format!("{path}: no issuer configured: add `issuer:`")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::fault(format!("runtime: {error}")))?;
        Ok(Self { config, runtime })
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The database.
    pub(super) fn file(&self) -> PathBuf {
        match self.config.startup.issuer.as_ref().map(|issuer| &issuer.store) {
            Some(StoreLocation::Sqlite(path)) => path.clone(),
            None => PathBuf::new(),
        }
    }

    /// The rules of signing keys.
    pub(super) fn rotation(&self) -> Option<Rotation> {
        self.config.dynamic.issuer.as_ref().map(|issuer| issuer.rotation)
    }

    /// Opens the store without its secrets, while no server runs.
    pub(super) fn open_sealed(&self) -> Result<Store, Failure> {
        let Some(startup) = &self.config.startup.issuer else {
            return Err(Failure::negative("no issuer configured"));
        };
        let opened = forget::open_sealed(startup, Clock::start());
        opened.map_err(|error| open_failure(&error))
    }

    /// Returns whether there is a pepper of this id: its file is named and there, or is in
    /// `state_dir`.
    pub(super) fn has_pepper(&self, id: &str) -> bool {
        let configured = self.config.startup.issuer.as_ref().and_then(|one| one.peppers.as_ref());
        match configured {
            Some(peppers) => {
                let mut named = peppers.files.iter().filter(|(known, _)| **known == *id);
                named.any(|(_, file)| file.path.exists())
            }
            None => pepper_file::is_there(&self.config.startup.state_dir, id),
        }
    }

    /// Waits for a future.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Opens the store beside a process that may run on it.
    pub(super) fn open(&self) -> Result<OpenStore, Failure> {
        self.open_as(Role::Command)
    }

    /// Opens the store while no process runs on it.
    pub(super) fn open_alone(&self) -> Result<OpenStore, Failure> {
        self.open_as(Role::Run)
    }

    /// Makes the store, as the first start does.
    pub(super) fn create(&self) -> Result<(), Failure> {
        let open = self.open_or_create(Role::Run)?;
        self.wait(open.store.close());
        Ok(())
    }

    fn open_as(&self, role: Role) -> Result<OpenStore, Failure> {
        let file = self.file();
        if !file.exists() {
            return Err(no_store(&file));
        }
        self.open_or_create(role)
    }

    fn open_or_create(&self, role: Role) -> Result<OpenStore, Failure> {
        let (Some(startup), Some(rotation)) = (&self.config.startup.issuer, self.rotation()) else {
            return Err(Failure::negative("no issuer configured"));
        };
        let opening = Opening {
            startup,
            rotation,
            state_dir: &self.config.startup.state_dir,
            insecure_file_modes: self.config.dynamic.insecure_file_modes,
            clock: Clock::start(),
            role,
            watch: Watch::default(),
            new_store: false,
        };
        self.wait(opening.open()).map_err(start_failure)
    }
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Mistakes(mistakes) => Failure::Mistakes(mistakes),
        StartError::Open(error) => open_failure(&error),
        error if error.is_mistake() => Failure::Message(Exit::Configuration, error.to_string()),
        error => Failure::fault(error.to_string()),
    }
}

/// There is no store yet.
pub(super) fn no_store(file: &Path) -> Failure {
    let remedy = "no store: `gatepost run` makes it at its first start";
    Failure::negative(format!("{}: {remedy}", file.display()))
}

/// A store of another user is a refusal, which names the user to run as.
pub(super) fn open_failure(error: &OpenError) -> Failure {
    match error {
        OpenError::Owner { .. }
        | OpenError::Taken(_)
        | OpenError::Missing(_)
        | OpenError::Exists(_) => Failure::negative(error.to_string()),
        error if error.is_mistake() => Failure::Message(Exit::Configuration, error.to_string()),
        error => Failure::fault(error.to_string()),
    }
}

/// The output of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// Aligned columns
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// Columns, aligned; the last one is not padded.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
