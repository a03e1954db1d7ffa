//! Reading a configuration and the files it names, for the commands that do not serve.
//!
//! Owns nothing of its own: the same functions as `run` and a reload are called, so that a
//! configuration `check` accepts is one `run` accepts.

use std::path::Path;
use std::sync::Arc;

use crate::cli::Failure;
use crate::config::{Config, Materials};

/// A configuration and what it names.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) materials: Arc<Materials>,
}

pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    Err(Failure::fault(format!("stub {}", path.display())))
}

pub(super) fn load_startup(path: &Path) -> Result<crate::config::Startup, Failure> {
    load(path).map(|loaded| loaded.config.startup)
}
