//! Loading of a configuration and the files it names, for the commands that do not serve.
//!
//! Calls the function that `run` calls, so that `run` accepts every configuration that `check`
//! accepts.

use std::path::Path;

use crate::base::secret::Secret;
use crate::cli::Failure;
use crate::config::{Config, ListenAddress, LoadedStartup, Materials, Startup, files};
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

/// The way to the admin listener of the running process.
#[derive(Debug)]
pub(super) struct AdminWay {
    /// The address.
    pub(super) address: ListenAddress,
    /// The token that it demands.
    pub(super) token: Option<Secret<String>>,
    /// The owner of a token that was made, which no other user's process may be sent.
    pub(super) for_owner: Option<u32>,
}

/// The admin listener and its token; `None` without one. Reads no other file, and needs no more of
/// the configuration than these settings: `status` and `revoke` must work beside a broken key file,
/// and beside mistakes that an editor has just made.
pub(super) fn load_admin(path: &Path) -> Result<Option<AdminWay>, Failure> {
    let sources = Sources::of_the_process();
    let startup = Config::load_startup(path, &*sources.disk, &sources.environment);
    let LoadedStartup { startup, insecure_file_modes, mistakes } =
        startup.map_err(Failure::Mistakes)?;
    if !mistakes.is_empty() {
        let (file, count) = (path.display(), mistakes.len());
        let plural = if count == 1 { "mistake" } else { "mistakes" };
        eprintln!(
            "gatepost: warning: {file} has {count} {plural}, which `gatepost check` prints: the \
             running process has another version"
        );
    }
    admin_way(&startup, insecure_file_modes, &sources)
}

/// The way to the admin listener of these settings.
pub(super) fn admin_way(
    startup: &Startup,
    insecure_file_modes: bool,
    sources: &Sources,
) -> Result<Option<AdminWay>, Failure> {
    let Some(listener) = &startup.admin else { return Ok(None) };
    let token = files::admin_token(listener, insecure_file_modes, &*sources.disk);
    let token = token.map_err(|mistake| Failure::Mistakes(vec![mistake]))?;
    let address = listener.address.clone();
    if token.is_some() {
        return Ok(Some(AdminWay { address, token, for_owner: None }));
    }
    // With an issuer the process demands a token that it has made.
    let made = admin::token::read(&startup.state_dir).ok();
    let (token, for_owner) = made.map(|made| (made.token, made.owner)).unzip();
    Ok(Some(AdminWay { address, token, for_owner }))
}
