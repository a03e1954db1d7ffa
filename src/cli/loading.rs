//! Loading of a configuration and the files it names, for the commands that do not serve.
//!
//! Calls the function that `run` calls, so that `run` accepts every configuration that `check`
//! accepts.

use std::path::Path;

use crate::base::secret::Secret;
use crate::cli::Failure;
use crate::config::{Admin, Config, Materials, files};
use crate::serve::admin;
use crate::serve::reload::{self, Sources};

/// A configuration and the content of the files it names.
pub(super) fn load(path: &Path) -> Result<(Config, Materials), Failure> {
    reload::load_for_check(path).map_err(Failure::Mistakes)
}

/// A configuration alone: commands on the store must work beside a broken key file.
pub(super) fn load_config(path: &Path) -> Result<Config, Failure> {
    let sources = Sources::of_the_process();
    Config::load(path, &*sources.disk, &sources.environment).map_err(Failure::Mistakes)
}

/// The admin listener and its token. Reads no other file: `status` must work beside a broken key
/// file.
pub(super) fn load_admin(path: &Path) -> Result<(Option<Admin>, Option<Secret<String>>), Failure> {
    let sources = Sources::of_the_process();
    let config = load_config(path)?;
    let Some(listener) = config.startup.admin else { return Ok((None, None)) };
    let exposed = config.dynamic.insecure_file_modes;
    let token = files::admin_token(&listener, exposed, &*sources.disk);
    let token = token.map_err(|mistake| Failure::Mistakes(vec![mistake]))?;
    // With an issuer the process demands one that it has made.
    let made = || {
        let has_issuer = config.startup.issuer.is_some();
        has_issuer.then(|| admin::token::read(&config.startup.state_dir).ok()).flatten()
    };
    let token = token.or_else(made);
    Ok((Some(listener), token))
}
