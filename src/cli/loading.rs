//! Reading a configuration and the files it names, for the commands that do not serve.
//!
//! Owns nothing of its own: the same functions as `run` and a reload are called, so that a
//! configuration `check` accepts is one `run` accepts.

use std::path::Path;
use std::sync::Arc;

use crate::cli::Failure;
use crate::config::disk::{Disk, LocalDisk};
use crate::config::materials::{self, LastGood};
use crate::config::{Admin, Config, Materials, Mistake};
use crate::secret::Secret;

/// A configuration and what it names.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) materials: Arc<Materials>,
}

pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    let config = parse(path)?;
    let (materials, mistakes) =
        materials::load(&config.dynamic, &mut LastGood::default(), &LocalDisk);
    match materials {
        Some(materials) if mistakes.is_empty() => {
            Ok(Loaded { config, materials: Arc::new(materials) })
        }
        Some(_) | None => Err(Failure::Mistakes(mistakes)),
    }
}

/// The admin listener and its token, without the other files: a broken key file is no reason not
/// to be told about it.
pub(super) fn load_admin(path: &Path) -> Result<(Option<Admin>, Option<Secret<String>>), Failure> {
    let config = parse(path)?;
    let Some(admin) = config.startup.admin else { return Ok((None, None)) };
    let token = materials::admin_token(&admin, config.dynamic.insecure_file_modes, &LocalDisk);
    let token = token.map_err(|mistake| Failure::Mistakes(vec![mistake]))?;
    Ok((Some(admin), token))
}

fn parse(path: &Path) -> Result<Config, Failure> {
    let content = LocalDisk.read(path, 1 << 20).map_err(|error| {
        let message = error.to_string();
        let file = path.to_owned();
        Failure::Mistakes(vec![Mistake { file, line: 0, column: 0, path: String::new(), message }])
    })?;
    Config::parse_bytes(path, &content.bytes, &|name| std::env::var(name).ok())
        .map_err(Failure::Mistakes)
}
