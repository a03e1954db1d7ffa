//! The one path from files to a snapshot: start, SIGHUP, file change, `POST /reload` and `check`
//! all use it.
//!
//! Owns which version of the configuration is in force, and that a mistake in one file delays no
//! other: every file keeps its last good version (the contract, "Reload"). The failure to prevent is
//! a half-written file that empties a route table or a key ring. Never publishes and never logs: it
//! returns the snapshot to publish.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::config::files::disk::Disk;
use crate::config::files::{self, FetchedSet, LastGood};
use crate::config::language::yaml::Budget;
use crate::config::snapshot::{Retained, Snapshot};
use crate::config::{
    Config, Dynamic, IntrospectionFiles, IssuerStartup, KeyLocation, KeySource, Listener,
    ListenerKey, Materials, Mistake, RunningIssuer, Startup,
};
use crate::decide::gate::Stored;
use crate::decide::revocation::Published;

/// Returns the value of `${NAME}`.
pub(super) type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The sources of files and of `${NAME}`.
pub(crate) struct Sources {
    /// Files.
    pub disk: Box<dyn Disk + Send + Sync>,
    /// The environment.
    pub environment: Environment,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// A configuration that was read without a mistake.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The content of its files.
    pub materials: Materials,
    /// The token of the admin listener, where one is set.
    pub admin_token: Option<Secret<String>>,
}

/// The first state of a process.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The settings that need a restart to change.
    pub startup: Startup,
    /// The token of the admin listener, where one is set.
    pub admin_token: Option<Secret<String>>,
    /// Generation 1.
    pub snapshot: Snapshot,
    /// For [`crate::serve::reload::Reloader`].
    pub corridor: Corridor,
}

/// A key set that was fetched for an issuer.
#[derive(Clone, Debug)]
pub(crate) struct FetchedKeys {
    /// `iss`.
    pub issuer: Arc<str>,
    /// The location it was fetched from.
    pub location: KeyLocation,
    /// The set; `None` when the last one is too old.
    pub set: Option<FetchedSet>,
}

/// The result of one reload.
#[derive(Debug)]
pub(super) struct Walk {
    /// The snapshot to publish, if anything changed.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) restart_needed: Vec<&'static str>,
}

/// The versions in force.
#[derive(Debug)]
pub(crate) struct Corridor {
    file: PathBuf,
    sources: Sources,
    last_good: LastGood,
    /// The settings the process was started with: only a restart changes them.
    started: Startup,
    admin_token: Option<Secret<String>>,
    /// The startup part of the last good configuration.
    wanted: Startup,
    /// Of the bytes of the last good configuration.
    fingerprint: [u8; 32],
    dynamic: Arc<Dynamic>,
    materials: Arc<Materials>,
    retained: Retained,
    generation: u64,
    watched: BTreeSet<PathBuf>,
}

/// Reads a configuration and every file it names, as `run` does, and stops before anything is
/// published: `gatepost check`.
///
/// # Errors
/// Every mistake in every file.
pub(super) fn load(file: &Path, sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
    read(file, sources, &mut LastGood::default()).map(|(loaded, _)| loaded)
}

impl Corridor {
    /// Reads everything for the first time. `seed` keys the limit table.
    ///
    /// # Errors
    /// Every mistake in every file: a start accepts none.
    pub(crate) fn open(
        file: &Path,
        sources: Sources,
        seed: [u64; 2],
    ) -> Result<Opened, Vec<Mistake>> {
        let mut last_good = LastGood::default();
        let (loaded, fingerprint) = read(file, &sources, &mut last_good)?;
        let Loaded { config: Config { startup, dynamic }, materials, admin_token } = loaded;
        let retained = Retained::new(startup.limit_entries, startup.token_cache, seed);
        let (dynamic, materials) = (Arc::new(dynamic), Arc::new(materials));
        let mut corridor = Self {
            watched: files_of(file, &startup, &dynamic),
            file: file.to_owned(),
            sources,
            last_good,
            started: startup.clone(),
            admin_token: admin_token.clone(),
            wanted: startup.clone(),
            fingerprint,
            dynamic,
            materials,
            retained,
            generation: 1,
        };
        let snapshot = corridor.compile();
        Ok(Opened { startup, admin_token, snapshot, corridor })
    }

    /// The acknowledged revocations, for every snapshot.
    #[must_use]
    pub(crate) fn revoked(&self) -> Arc<Published> {
        Arc::clone(&self.retained.revoked)
    }

    /// Takes over the credentials of a store. Returns the snapshot to publish.
    ///
    /// # Errors
    /// The keys that a key file has as well.
    pub(super) fn follow_store(&mut self, stored: Stored) -> Result<Snapshot, Vec<Mistake>> {
        let set = stored.live().load();
        let twins = files::twins_of_store(&self.dynamic, &self.materials.key_ring, &set);
        if !twins.is_empty() {
            return Err(twins);
        }
        self.last_good.compare_with(Arc::clone(stored.live()));
        self.retained.stored = Some(stored);
        Ok(self.compile())
    }

    /// The configuration file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Every file the configuration names, also a refused configuration.
    pub(super) fn watched(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    /// Reads everything again.
    pub(super) fn walk(&mut self) -> Walk {
        let mut mistakes = Vec::new();
        self.watched = files_of(&self.file, &self.wanted, &self.dynamic);
        let fresh = self.fresh_config(&mut mistakes);
        let mut changed = false;
        let adopted = match fresh {
            Some((config, fingerprint)) => self.adopt(config, fingerprint, &mut mistakes),
            None => false,
        };
        changed |= adopted;
        if !adopted {
            changed |= self.refresh_materials(&mut mistakes);
        }
        let restart_needed = self.restart_needed(&mut mistakes);
        mistakes.sort();
        mistakes.dedup();
        let snapshot = changed.then(|| {
            self.generation += 1;
            self.compile()
        });
        Walk { snapshot, mistakes, restart_needed }
    }

    /// Takes over fetched keys of an issuer, or none because they are too old. Returns the snapshot to
    /// publish, unless nothing changed or the issuer's keys are configured differently by now.
    pub(super) fn take_remote(&mut self, fetched: &FetchedKeys) -> Option<Snapshot> {
        let dynamic = Arc::clone(&self.dynamic);
        let index = dynamic.issuers.iter().position(|source| {
            source.settings.issuer == fetched.issuer
                && matches!(&source.keys, KeySource::Remote(remote) if remote.location == fetched.location)
        })?;
        let settings = &dynamic.issuers[index].settings;
        let set = fetched.set.as_ref();
        let keys = self.last_good.take_remote(settings, &fetched.location, set);
        if Arc::ptr_eq(&keys, &self.materials.key_sets[index]) {
            return None;
        }
        let mut materials = Materials::clone(&self.materials);
        materials.key_sets[index] = keys;
        self.materials = Arc::new(materials);
        self.generation += 1;
        Some(self.compile())
    }

    /// The configuration, if it changed and has no mistake.
    fn fresh_config(&self, mistakes: &mut Vec<Mistake>) -> Option<(Config, [u8; 32])> {
        let bytes =
            read_config(&self.file, &self.sources).map_err(|one| mistakes.push(one)).ok()?;
        let fingerprint = sha256(&bytes);
        if fingerprint == self.fingerprint {
            return None;
        }
        let started = self.started.issuer.as_deref().zip(self.dynamic.issuer.as_deref());
        let (running, environment) = (RunningIssuer::Started(started), &self.sources.environment);
        match Config::parse_beside(&self.file, &bytes, environment, running) {
            Ok(config) => Some((config, fingerprint)),
            Err(found) => {
                mistakes.extend(found);
                None
            }
        }
    }

    /// Puts a new configuration into force with its files, unless one of them was never good.
    fn adopt(
        &mut self,
        config: Config,
        fingerprint: [u8; 32],
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        let Config { startup, dynamic } = config;
        self.watched.extend(files_of(&self.file, &startup, &dynamic));
        let (materials, found) = files::load(&dynamic, &mut self.last_good, &*self.sources.disk);
        mistakes.extend(found);
        let Some(mut materials) = materials else { return false };
        materials.keep_listeners(&self.materials, &ListenerKey::of(&self.started.listeners));
        self.fingerprint = fingerprint;
        self.wanted = startup;
        self.dynamic = Arc::new(dynamic);
        self.materials = Arc::new(materials);
        true
    }

    /// Reads the files of the configuration in force again. Returns whether one changed.
    fn refresh_materials(&mut self, mistakes: &mut Vec<Mistake>) -> bool {
        let (materials, found) =
            files::load(&self.dynamic, &mut self.last_good, &*self.sources.disk);
        mistakes.extend(found);
        let Some(mut materials) = materials else { return false };
        materials.keep_listeners(&self.materials, &ListenerKey::of(&self.started.listeners));
        if same(&materials, &self.materials) {
            return false;
        }
        self.materials = Arc::new(materials);
        true
    }

    /// The settings on disk that differ from those the process was started with.
    fn restart_needed(&self, mistakes: &mut Vec<Mistake>) -> Vec<&'static str> {
        let mut needed = differences(&self.started, &self.wanted);
        let Some(admin) = &self.started.admin else { return needed };
        let insecure_modes = self.dynamic.insecure_file_modes;
        match files::admin_token(admin, insecure_modes, &*self.sources.disk) {
            Ok(token) if !same_token(token.as_ref(), self.admin_token.as_ref()) => {
                needed.push("admin.token_file");
            }
            Ok(_) => {}
            Err(mistake) => mistakes.push(mistake),
        }
        needed
    }

    fn compile(&mut self) -> Snapshot {
        let (dynamic, materials) = (Arc::clone(&self.dynamic), Arc::clone(&self.materials));
        let snapshot = Snapshot::compile(dynamic, materials, &self.retained, self.generation);
        self.retained.issuers = Arc::clone(&snapshot.gate.issuers);
        // With its rules, so that the principals that were made with them serve on.
        self.retained.stored = snapshot.gate.stored.clone();
        snapshot
    }
}

fn read(
    file: &Path,
    sources: &Sources,
    last_good: &mut LastGood,
) -> Result<(Loaded, [u8; 32]), Vec<Mistake>> {
    let bytes = read_config(file, sources).map_err(|mistake| vec![mistake])?;
    let config = Config::parse_bytes(file, &bytes, &sources.environment)?;
    let (materials, mut mistakes) = files::load(&config.dynamic, last_good, &*sources.disk);
    let insecure_modes = config.dynamic.insecure_file_modes;
    let admin_token = config
        .startup
        .admin
        .as_ref()
        .map_or(Ok(None), |admin| files::admin_token(admin, insecure_modes, &*sources.disk));
    let admin_token = admin_token.unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        None
    });
    match materials {
        Some(materials) if mistakes.is_empty() => {
            Ok((Loaded { config, materials, admin_token }, sha256(&bytes)))
        }
        Some(_) | None => Err(mistakes),
    }
}

fn read_config(file: &Path, sources: &Sources) -> Result<Vec<u8>, Mistake> {
    let content = sources.disk.read(file, Budget::CONFIGURATION.bytes);
    content.map(|content| content.bytes).map_err(|error| Mistake {
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: String::new(),
        message: format!("cannot be read: {error}"),
    })
}

/// Every file a configuration names, and itself.
fn files_of(file: &Path, startup: &Startup, dynamic: &Dynamic) -> BTreeSet<PathBuf> {
    let token = startup.admin.iter().filter_map(|admin| admin.token_file.as_ref());
    let named = dynamic.files().chain(token);
    let named = named.map(|reference| reference.path.clone());
    named.chain([file.to_owned()]).collect()
}

fn differences(started: &Startup, wanted: &Startup) -> Vec<&'static str> {
    // Named one by one, so that a new setting cannot be forgotten here.
    let Startup {
        listeners,
        admin,
        metrics,
        threads,
        lame_duck,
        shutdown_timeout,
        connections,
        access_log,
        limit_entries,
        upstream_pool,
        state_dir,
        token_cache,
        issuer,
    } = started;
    let compared = [
        ("listeners", same_listeners(listeners, &wanted.listeners)),
        ("admin", *admin == wanted.admin),
        ("metrics", *metrics == wanted.metrics),
        ("threads", *threads == wanted.threads),
        ("lame_duck", *lame_duck == wanted.lame_duck),
        ("shutdown_timeout", *shutdown_timeout == wanted.shutdown_timeout),
        ("connections", *connections == wanted.connections),
        ("access_log", *access_log == wanted.access_log),
        ("limit_entries", *limit_entries == wanted.limit_entries),
        ("upstream_pool", *upstream_pool == wanted.upstream_pool),
        ("state_dir", *state_dir == wanted.state_dir),
        ("token_cache", *token_cache == wanted.token_cache),
    ];
    let compared = compared.into_iter().filter(|(_, same)| !same).map(|(name, _)| name);
    compared.chain(issuer_differences(issuer.as_deref(), wanted.issuer.as_deref())).collect()
}

/// The settings of the issuer that differ; the issuer as a whole where it was added or removed.
fn issuer_differences(
    started: Option<&IssuerStartup>,
    wanted: Option<&IssuerStartup>,
) -> Vec<&'static str> {
    let (Some(started), Some(wanted)) = (started, wanted) else {
        return if started.is_some() == wanted.is_some() { Vec::new() } else { vec!["issuer"] };
    };
    let IssuerStartup { url, prefixes, account, store, peppers } = started;
    let compared = [
        ("issuer.url", *url == wanted.url),
        ("issuer.prefixes", *prefixes == wanted.prefixes),
        ("issuer.account", *account == wanted.account),
        ("issuer.store", *store == wanted.store),
        ("issuer.safe_store", *peppers == wanted.peppers),
    ];
    compared.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

fn same_listeners(started: &[Listener], wanted: &[Listener]) -> bool {
    started.len() == wanted.len()
        && started.iter().zip(wanted).all(|(started, wanted)| started.serves_as(wanted))
}

/// Unchanged files keep their values, so most comparisons are of pointers.
fn same(a: &Materials, b: &Materials) -> bool {
    // Named one by one, so that a new field cannot be forgotten here.
    let Materials {
        tls,
        upstream_tls,
        key_sets,
        authorities,
        introspection,
        key_ring,
        revoked,
        application_secrets,
    } = a;
    let same_tls = |(a, b): (&(_, Arc<_>), &(_, Arc<_>))| Arc::ptr_eq(&a.1, &b.1);
    tls.len() == b.tls.len()
        && tls.iter().zip(&b.tls).all(same_tls)
        && upstream_tls.len() == b.upstream_tls.len()
        && upstream_tls.iter().zip(&b.upstream_tls).all(|(a, b)| Arc::ptr_eq(&a.1, &b.1))
        && key_sets.len() == b.key_sets.len()
        && key_sets.iter().zip(&b.key_sets).all(|(a, b)| Arc::ptr_eq(a, b))
        && *authorities == b.authorities
        && introspection.len() == b.introspection.len()
        && introspection.iter().zip(&b.introspection).all(same_files)
        && Arc::ptr_eq(key_ring, &b.key_ring)
        && Arc::ptr_eq(revoked, &b.revoked)
        && *application_secrets == b.application_secrets
}

fn same_files(
    (a, b): (&Option<Arc<IntrospectionFiles>>, &Option<Arc<IntrospectionFiles>>),
) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            let IntrospectionFiles { client_secret, authorities } = &**a;
            Arc::ptr_eq(client_secret, &b.client_secret) && *authorities == b.authorities
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn same_token(a: Option<&Secret<String>>, b: Option<&Secret<String>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.expose().as_bytes().ct_eq(b.expose().as_bytes()).into(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;
