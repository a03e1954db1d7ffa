//! Settings of the process: threads, shutdown, connections, the access log, caches, state.
//!
//! Owns the part of the configuration that needs a restart. Never opens a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::language::expand::Environment;
use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, Lasting, Nested, NestedAs, Number, SizeOrOff, Words,
};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{AccessLog, AccessLogTarget, ConnectionCaps, Startup};
use crate::config::sections::file::{FILE, FileName};
use crate::config::sections::issuer;
use crate::config::sections::listeners::{Sockets, sockets};

/// The name of the state folder beside the configuration.
const STATE_DIR_NAME: &str = "gatepost-state";

/// `threads`.
pub(super) static THREADS: Key<Number> = Key::new(
    "threads",
    Number(1, 1_024),
    "worker threads; absent means one per core; a change needs a restart",
);

const PATIENCE: Lasting = Lasting(Duration::ZERO, Duration::from_secs(3_600));

/// `shutdown_timeout`.
pub(super) static SHUTDOWN_TIMEOUT: Key<Lasting> = Key::new(
    "shutdown_timeout",
    PATIENCE,
    "the time that active requests have to finish after SIGTERM and lame_duck; a change needs a restart",
)
.or("30s");

/// `lame_duck`.
pub(super) static LAME_DUCK: Key<Lasting> = Key::new(
    "lame_duck",
    PATIENCE,
    "the time after SIGTERM in which new connections are accepted and readyz fails; a change needs a restart",
)
.or("0s");

/// `connections`.
pub(super) static CONNECTIONS: Key<NestedAs<ConnectionCaps>> = Key::new(
    "connections",
    NestedAs(&CAPS, caps),
    "limits on open client connections; a change needs a restart",
)
.or("{}");

static CAPS: Section = Section::new("connections", &[&TOTAL, &PER_ADDRESS]);

static TOTAL: Key<Number> =
    Key::new("total", Number(1, 1_000_000), "in total; more are closed at once").or("10000");

static PER_ADDRESS: Key<Number> = Key::new(
    "per_address",
    Number(1, 1_000_000),
    "from one address, IPv6 by /64; trusted proxies and Unix peers are exempt",
)
.or("1000");

/// `access_log`.
pub(super) static ACCESS_LOG: Key<Custom<Either<Words<bool>, Nested>, AccessLog>> = Key::new(
    "access_log",
    Custom(Either(LOG_WORDS, Nested(&LOG)), access_log),
    "the destination of the access log, one line per request; a change needs a restart",
)
.or("stdout");

/// True is `off`.
const LOG_WORDS: Words<bool> = Words(&[("off", true), ("stdout", false)]);

static LOG: Section = Section::new("access_log", &[&LOG_FILE, &LOG_FORMAT]);

static LOG_FILE: Key<FileName> =
    Key::new("file", FILE, "a file, appended to; absent means standard output");

/// True is JSON.
static LOG_FORMAT: Key<Words<bool>> = Key::new(
    "format",
    Words(&[("text", false), ("json", true)]),
    "the log format; absent means that of --log-format",
);

/// `limit_entries`.
pub(super) static LIMIT_ENTRIES: Key<Number> = Key::new(
    "limit_entries",
    Number(1_024, 100_000_000),
    "the maximum number of callers in the tables of limits; a change needs a restart",
)
.or("262144");

/// `upstream_pool`.
pub(super) static UPSTREAM_POOL: Key<Number> = Key::new(
    "upstream_pool",
    Number(1, 65_535),
    "the maximum number of idle upstream connections per thread; a change needs a restart",
)
.or("128");

/// `token_cache`.
pub(super) static TOKEN_CACHE: Key<SizeOrOff> = Key::new(
    "token_cache",
    SizeOrOff(1 << 20, 64 << 30),
    "the maximum memory for verified tokens; a change needs a restart",
)
.or("128MiB");

/// `state_dir`.
pub(super) static STATE_DIR: Key<FileName> = Key::new(
    "state_dir",
    FILE,
    "the folder for state that survives a restart: fetched key sets, revocations; a change needs a restart",
);

/// The part that needs a restart.
pub(in crate::config) fn startup(
    top: &Mapping<'_>,
    environment: Environment<'_>,
) -> Option<Startup> {
    let Sockets { listeners, admin, metrics } = sockets(top);
    let state_dir = state_dir(top, environment);
    let issuer = issuer::startup(top, &state_dir).map(Arc::new);
    Some(Startup {
        listeners,
        admin,
        metrics,
        threads: top.read(&THREADS),
        lame_duck: top.read(&LAME_DUCK)?,
        shutdown_timeout: top.read(&SHUTDOWN_TIMEOUT)?,
        connections: top.read(&CONNECTIONS)?,
        access_log: top.read(&ACCESS_LOG)?,
        limit_entries: top.read(&LIMIT_ENTRIES)?,
        upstream_pool: top.read(&UPSTREAM_POOL)?,
        token_cache: top.read(&TOKEN_CACHE)?.unwrap_or(0),
        state_dir,
        issuer,
    })
}

/// The configured folder, else that of the service manager, else one beside the configuration.
fn state_dir(top: &Mapping<'_>, environment: Environment<'_>) -> PathBuf {
    let configured = top.read(&STATE_DIR);
    let provided = || {
        let folders = environment("STATE_DIRECTORY").filter(|folders| !folders.is_empty())?;
        folders.split(':').next().map(PathBuf::from)
    };
    configured
        .map(|folder| folder.path)
        .or_else(provided)
        .unwrap_or_else(|| top.value().folder().join(STATE_DIR_NAME))
}

fn caps(section: &Mapping<'_>) -> Option<ConnectionCaps> {
    let (total, per_address) = (section.read(&TOTAL), section.read(&PER_ADDRESS));
    Some(ConnectionCaps { total: total?, per_address: per_address? })
}

fn access_log(value: &Value<'_>) -> Option<AccessLog> {
    if !value.is_mapping() {
        let is_off = LOG_WORDS.read(value)?;
        let target = if is_off { AccessLogTarget::Off } else { AccessLogTarget::Stdout };
        return Some(AccessLog { target, json: None });
    }
    let section = value.section(&LOG)?;
    let target = match section.read(&LOG_FILE) {
        Some(file) => AccessLogTarget::File(file.path),
        None => AccessLogTarget::Stdout,
    };
    Some(AccessLog { target, json: section.read(&LOG_FORMAT) })
}
