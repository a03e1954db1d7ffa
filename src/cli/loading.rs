//! Reading a configuration and the files it names, for the commands that do not serve.
//!
//! Owns nothing of its own: the same functions as `run` and a reload are called, so that a
//! configuration `check` accepts is one `run` accepts.

use std::path::Path;
use std::sync::Arc;

use crate::cli::Failure;
use crate::config::{Admin, Config, Materials};
use crate::secret::Secret;

/// A configuration and what it names.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) materials: Arc<Materials>,
}

pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    Err(Failure::fault(format!("stub {}", path.display())))
}

/// The admin listener and its token, without the other files: a broken key file is no reason not
/// to be told about it.
pub(super) fn load_admin(path: &Path) -> Result<(Option<Admin>, Option<Secret<String>>), Failure> {
    load(path).map(|loaded| (loaded.config.startup.admin, None))
}
