//! `GET /status`: the configuration, keys and limits in force.
//!
//! Owns the format of the page. Lists are bounded; no digest, no key material and no secret is on
//! it.

use std::sync::Arc;

use serde::Serialize;

use crate::config::snapshot::Snapshot;
use crate::config::{IssuerSource, KeySource};
use crate::decide::jwt::VerifyingKey;
use crate::decide::policy::upstream::{Upstream, UpstreamAddress};
use crate::decide::rate_limit::{LimitBy, LimitPolicy};
use crate::serve::admin::Process;
use crate::serve::admin::respond::seconds_since;
use crate::serve::jwks::KeyServer;
use crate::serve::readiness::Ready;
use crate::serve::reload::LoadedKeySet;
use crate::serve::shared::Shared;

/// Bound on the listed members; their number is always shown.
const LISTED_MAX: usize = 1000;

/// The name of the built-in issuer.
const OWN: &str = "gatepost";

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    generation: u64,
    started: String,
    uptime_seconds: u64,
    ready: bool,
    config_file: String,
    last_reload: LastReload,
    restart_needed: Vec<&'static str>,
    insecure: Vec<String>,
    routes: usize,
    upstreams: Vec<UpstreamStatus>,
    issuers: Vec<IssuerStatus>,
    api_keys: ApiKeys,
    revocations: RevocationStatus,
    limits: Limits,
    access_log: AccessLogStatus,
}

#[derive(Debug, Serialize)]
struct LastReload {
    ok: bool,
    time: String,
    mistakes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UpstreamStatus {
    name: String,
    address: String,
}

#[derive(Debug, Serialize)]
struct IssuerStatus {
    name: String,
    issuer: String,
    /// The database of the built-in issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The time the keys were read, fetched or confirmed; absent while there are none.
    loaded: Option<String>,
    age_seconds: Option<u64>,
    keys: usize,
    listed: Vec<KeyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched: Option<FetchedStatus>,
}

/// Keys that are fetched.
#[derive(Debug, Serialize)]
struct FetchedStatus {
    /// Without the query; `discovery` where the issuer's metadata says it.
    from: String,
    skipped: Vec<String>,
    last_refresh: Option<String>,
    last_result: Option<&'static str>,
    last_error: Option<String>,
    next_refresh: Option<String>,
}

#[derive(Debug, Serialize)]
struct KeyStatus {
    kid: Option<String>,
    algorithm: &'static str,
}

#[derive(Debug, Serialize)]
struct ApiKeys {
    files: Vec<String>,
    active: usize,
    disabled: usize,
    expired: usize,
    not_yet_valid: usize,
    listed: Vec<ApiKeyStatus>,
}

#[derive(Debug, Serialize)]
struct ApiKeyStatus {
    id: String,
    name: Option<String>,
    state: &'static str,
    expires: Option<String>,
    last_use: Option<String>,
}

/// The number of revocations.
#[derive(Debug, Serialize)]
struct RevocationStatus {
    log: String,
    files: Vec<String>,
    in_log: usize,
    in_files: usize,
}

#[derive(Debug, Serialize)]
struct Limits {
    entries: usize,
    capacity: usize,
    policies: Vec<LimitStatus>,
}

#[derive(Debug, Serialize)]
struct LimitStatus {
    name: String,
    by: String,
    burst: u32,
    per_second: f64,
}

#[derive(Debug, Serialize)]
struct AccessLogStatus {
    dropped: u64,
}

/// The page as of now.
pub(super) fn of(process: &Process) -> Status {
    let Process { shared, reloader } = process;
    let snapshot = shared.snapshots.load_full();
    let last = reloader.last();
    let dynamic = &snapshot.dynamic;
    let key_sets = reloader.key_sets();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        generation: snapshot.generation,
        started: shared.started.to_string(),
        uptime_seconds: seconds_since(shared.started),
        ready: shared.readiness.state() == Ready::Yes,
        config_file: reloader.file().display().to_string(),
        last_reload: LastReload {
            ok: last.is_success(),
            time: last.time.to_string(),
            mistakes: last.mistakes.iter().map(ToString::to_string).collect(),
        },
        restart_needed: last.restart_needed.clone(),
        insecure: dynamic.insecure.clone(),
        routes: dynamic.routes.routes().len(),
        upstreams: dynamic.upstreams.iter().map(|upstream| upstream_status(upstream)).collect(),
        issuers: issuers(&snapshot, &key_sets, shared),
        api_keys: api_keys(&snapshot, shared),
        revocations: revocations(&snapshot, shared),
        limits: limits(&snapshot),
        access_log: AccessLogStatus { dropped: shared.observers.access_log.dropped() },
    }
}

fn upstream_status(upstream: &Upstream) -> UpstreamStatus {
    let address = match &upstream.address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix(path) => format!("unix:{path}"),
    };
    UpstreamStatus { name: upstream.name.to_string(), address }
}

fn issuers(snapshot: &Snapshot, loaded: &[LoadedKeySet], shared: &Shared) -> Vec<IssuerStatus> {
    let servers = shared.key_servers.all();
    let sources = snapshot.dynamic.issuers.iter().zip(loaded);
    let status = |(source, loaded): (&IssuerSource, &LoadedKeySet)| {
        let server = servers.iter().find(|server| *server.name() == source.settings.name);
        issuer_status(source, loaded, server.map(Arc::as_ref))
    };
    sources.map(status).chain(own_issuer(snapshot, shared)).collect()
}

/// The built-in issuer, with the database that it is kept in.
fn own_issuer(snapshot: &Snapshot, shared: &Shared) -> Option<IssuerStatus> {
    let stored = snapshot.gate.stored.as_ref()?;
    let keys = stored.keys().load_full();
    let running = shared.issuer_store.get();
    Some(IssuerStatus {
        name: OWN.to_owned(),
        issuer: stored.issuer().to_owned(),
        store: Some(running.map_or_else(|| "loading".to_owned(), |one| one.open.store.name())),
        file: None,
        loaded: None,
        age_seconds: None,
        keys: keys.iter().count(),
        listed: keys.iter().take(LISTED_MAX).map(key_status).collect(),
        fetched: None,
    })
}

fn issuer_status(
    source: &IssuerSource,
    loaded: &LoadedKeySet,
    server: Option<&KeyServer>,
) -> IssuerStatus {
    let (file, since) = match &source.keys {
        KeySource::File(file) | KeySource::SecretFile(file) => {
            (Some(file.path.display().to_string()), Some(loaded.since))
        }
        KeySource::Nowhere => (None, None),
        KeySource::Remote(_) => (None, server.and_then(|server| server.standing().fetched)),
    };
    IssuerStatus {
        name: source.settings.name.to_string(),
        issuer: source.settings.issuer.to_string(),
        store: None,
        file,
        loaded: since.map(|since| since.to_string()),
        age_seconds: since.map(seconds_since),
        keys: loaded.keys.len(),
        listed: loaded.keys.iter().take(LISTED_MAX).map(key_status).collect(),
        fetched: server.map(fetched_status),
    }
}

fn fetched_status(server: &KeyServer) -> FetchedStatus {
    let standing = server.standing();
    let last = standing.last.as_ref();
    FetchedStatus {
        from: server.location(),
        skipped: standing.skipped.clone(),
        last_refresh: last.map(|last| last.time.to_string()),
        last_result: last.map(|last| last.result.as_str()),
        last_error: last.and_then(|last| last.error.clone()),
        next_refresh: standing.next.map(|next| next.to_string()),
    }
}

fn key_status(key: &VerifyingKey) -> KeyStatus {
    KeyStatus { kid: key.kid().map(str::to_owned), algorithm: key.algorithm().as_str() }
}

fn api_keys(snapshot: &Snapshot, shared: &Shared) -> ApiKeys {
    let now = shared.clock.now().unix;
    let ring = &snapshot.gate.keys;
    let [active, disabled, expired, not_yet_valid] = ring.count(now);
    let files = &snapshot.dynamic.api_keys.files;
    let listed = ring.summaries(now).take(LISTED_MAX).map(|key| ApiKeyStatus {
        id: key.id.to_owned(),
        name: key.name.map(str::to_owned),
        state: key.state.as_str(),
        expires: key.expires.map(|at| at.to_string()),
        last_use: key.last_use.map(|at| at.to_string()),
    });
    ApiKeys {
        files: files.iter().map(|file| file.path.display().to_string()).collect(),
        active,
        disabled,
        expired,
        not_yet_valid,
        listed: listed.collect(),
    }
}

fn revocations(snapshot: &Snapshot, shared: &Shared) -> RevocationStatus {
    let files = &snapshot.dynamic.revocation_files;
    let in_files = snapshot.materials.revoked.len();
    let all: usize = snapshot.gate.revocations.counts().iter().sum();
    RevocationStatus {
        log: shared.revocations.path().display().to_string(),
        files: files.iter().map(|file| file.path.display().to_string()).collect(),
        in_log: all.saturating_sub(in_files),
        in_files,
    }
}

fn limits(snapshot: &Snapshot) -> Limits {
    let table = &snapshot.gate.limits;
    Limits {
        entries: table.len(),
        capacity: table.capacity(),
        policies: snapshot.dynamic.limits.iter().map(|limit| limit_status(limit)).collect(),
    }
}

fn limit_status(limit: &LimitPolicy) -> LimitStatus {
    let by = match &limit.by {
        LimitBy::Principal => "principal".to_owned(),
        LimitBy::Credential => "credential".to_owned(),
        LimitBy::Client => "client".to_owned(),
        LimitBy::Address => "address".to_owned(),
        LimitBy::Route => "route".to_owned(),
        LimitBy::Claim(name) => format!("claim:{name}"),
    };
    LimitStatus {
        name: limit.name.to_string(),
        by,
        burst: limit.quota.burst.get(),
        per_second: 1e9 / limit.quota.per_request_ns.get() as f64,
    }
}
