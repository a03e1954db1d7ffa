//! `issuers[].keys`.
//!
//! Owns the sources of an issuer's keys. Never reads a file and never fetches anything.

use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::language::walk::key::{AnyKey, Key, Section};
use crate::config::language::walk::types::{Insecure, Lasting, Text, Truth};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{KeyLocation, KeySource, RemoteKeys};
use crate::config::sections::file::{FILE as FILE_NAME, FileName, file_at};
use crate::decide::jwt::Algorithm;

/// `issuers[].keys`.
pub(in crate::config) static SECTION: Section = Section::new(
    "keys",
    &[
        &FILE,
        &SECRET_FILE,
        &URL,
        &DISCOVERY,
        &CA_FILE,
        &BEARER_FILE,
        &KUBERNETES,
        &TIMEOUT,
        &REFRESH,
        &STALE_FOR,
        &INSECURE_HTTP,
    ],
);

/// Keys that apply to fetched key sets only.
static REMOTE_ONLY: [&dyn AnyKey; 6] =
    [&CA_FILE, &BEARER_FILE, &TIMEOUT, &REFRESH, &STALE_FOR, &INSECURE_HTTP];

/// Keys that `kubernetes: true` replaces or excludes.
static NOT_IN_CLUSTER: [&dyn AnyKey; 7] =
    [&FILE, &SECRET_FILE, &URL, &DISCOVERY, &CA_FILE, &BEARER_FILE, &INSECURE_HTTP];

static FILE: Key<FileName> = Key::new("file", FILE_NAME, "a JWK set, one JWK, or PEM");

static SECRET_FILE: Key<FileName> = Key::new(
    "secret_file",
    FILE_NAME,
    "an HMAC secret: the bytes of the file less one final newline",
);

static URL: Key<Text> =
    Key::new("url", Text, "a JWK set that is fetched: https, or http on loopback");

pub(super) static DISCOVERY: Key<Truth> = Key::new(
    "discovery",
    Truth,
    "fetch the JWK set that the issuer's metadata names (OpenID Connect, RFC 8414)",
)
.or("false");

static CA_FILE: Key<FileName> = Key::new(
    "ca_file",
    FILE_NAME,
    "trusted certificates in PEM for the key server; absent means those of the system",
);

static BEARER_FILE: Key<FileName> = Key::new(
    "bearer_file",
    FILE_NAME,
    "a file with the bearer token for the key server of `url`, read again for each refresh",
);

static KUBERNETES: Key<Truth> = Key::new(
    "kubernetes",
    Truth,
    "fetch the key set of the cluster with the certificates and the token of the service account",
)
.or("false");

// A refresh is in the background: a longer timeout only keeps a connection.
static TIMEOUT: Key<Lasting> = Key::new(
    "timeout",
    Lasting(Duration::from_millis(100), Duration::from_secs(30)),
    "the timeout of a refresh as a whole",
)
.or("5s");

// Below a minute the key server gets too many requests; above a day a withdrawn key stays in force
// for too long.
static REFRESH: Key<Lasting> = Key::new(
    "refresh",
    Lasting(Duration::from_secs(60), Duration::from_secs(86_400)),
    "the longest time between two refreshes; Cache-Control may shorten it",
)
.or("1h");

// The longest time that keys are used without confirmation.
static STALE_FOR: Key<Lasting> = Key::new(
    "stale_for",
    Lasting(Duration::from_secs(60), Duration::from_secs(30 * 86_400)),
    "the maximum age of keys whose refresh fails; afterwards tokens of the issuer get 503",
)
.or("24h");

static INSECURE_HTTP: Key<Insecure> =
    Key::insecure("insecure_http", "fetch over plain HTTP from beyond loopback");

/// The key set of the cluster of a pod.
const CLUSTER_URL: &str = "https://kubernetes.default.svc/openid/v1/jwks";
/// The certificates of the cluster and the token of the service account, in every pod.
const CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The key source of an issuer. `iss` is the issuer, as far as it could be read.
pub(super) fn key_source(
    value: &Value<'_>,
    iss: Option<&str>,
    algorithms: &[Algorithm],
) -> Option<KeySource> {
    let section = value.section(&SECTION)?;
    let (is_cluster, is_discovered) = (section.read(&KUBERNETES)?, section.read(&DISCOVERY)?);
    if is_cluster {
        return cluster_keys(&section, algorithms);
    }
    let (file, secret, url) = (section.find(&FILE), section.find(&SECRET_FILE), section.find(&URL));
    match (file, secret, url, is_discovered) {
        (Some(_), None, None, false) => {
            refuse_remote_settings(&section);
            section.read(&FILE).map(KeySource::File)
        }
        (None, Some(file), None, false) => {
            refuse_remote_settings(&section);
            check_secret_algorithms(&file, algorithms);
            section.read(&SECRET_FILE).map(KeySource::SecretFile)
        }
        (None, None, Some(_), false) | (None, None, None, true) => {
            check_public_algorithms(value, algorithms);
            remote(&section, iss).map(|remote| KeySource::Remote(Arc::new(remote)))
        }
        (None, None, None, false) => {
            value.mistake(
                "names no keys; write { file: FILE }, { secret_file: FILE }, { url: URL }, \
                 { discovery: true } or { kubernetes: true }",
            );
            None
        }
        (..) => {
            value.mistake("has several of file, secret_file, url and discovery; exactly one of them is accepted");
            None
        }
    }
}

/// `{ kubernetes: true }`: the URL and files of the cluster, which combine only with the times.
fn cluster_keys(section: &Mapping<'_>, algorithms: &[Algorithm]) -> Option<KeySource> {
    for value in NOT_IN_CLUSTER.iter().filter_map(|key| section.find(*key)) {
        value.mistake("kubernetes: true replaces url, ca_file and bearer_file; remove one of them");
    }
    let cluster = section.find(&KUBERNETES)?;
    check_public_algorithms(&cluster, algorithms);
    let location = KeyLocation::Url(KeyUrl::parse(CLUSTER_URL, false).ok()?);
    let ca_file = Some(file_at(&cluster, CLUSTER_CA));
    let bearer_file = Some(file_at(&cluster, CLUSTER_TOKEN));
    let remote = RemoteKeys { location, ca_file, bearer_file, ..times(section)? };
    Some(KeySource::Remote(Arc::new(remote)))
}

fn remote(section: &Mapping<'_>, iss: Option<&str>) -> Option<RemoteKeys> {
    let insecure_http = section.read(&INSECURE_HTTP)?;
    let location = match section.find(&URL) {
        Some(url) => url.parse(|text| KeyUrl::parse(text, insecure_http)).map(KeyLocation::Url),
        None => discovered(section, iss, insecure_http),
    };
    let (ca_file, bearer_file) = (section.read(&CA_FILE), section.read(&BEARER_FILE));
    if let Some(value) = section.find(&BEARER_FILE).filter(|_| !section.has(&URL)) {
        value.mistake("a bearer token is sent to a configured url, not to a discovered one");
    }
    let times = times(section)?;
    Some(RemoteKeys { location: location?, ca_file, bearer_file, insecure_http, ..times })
}

/// The times of fetched keys, with stand-ins for the rest.
fn times(section: &Mapping<'_>) -> Option<RemoteKeys> {
    let timeout = section.read(&TIMEOUT)?;
    let (refresh, stale_for) = (section.read(&REFRESH)?, section.read(&STALE_FOR)?);
    if stale_for < refresh {
        let about = section.find(&STALE_FOR).or_else(|| section.find(&REFRESH));
        about.unwrap_or(*section.value()).mistake(
            "stale_for is shorter than refresh: keys would expire before the next refresh",
        );
    }
    Some(RemoteKeys {
        location: KeyLocation::Discovery,
        ca_file: None,
        bearer_file: None,
        timeout,
        refresh,
        stale_for,
        insecure_http: false,
    })
}

fn discovered(section: &Mapping<'_>, iss: Option<&str>, allows_http: bool) -> Option<KeyLocation> {
    match KeyUrl::of_metadata(iss?, allows_http) {
        Ok(_) => Some(KeyLocation::Discovery),
        Err(message) => {
            let message = format!("the issuer cannot be discovered: it is {message}");
            section.find(&DISCOVERY).unwrap_or(*section.value()).mistake(message);
            None
        }
    }
}

fn refuse_remote_settings(section: &Mapping<'_>) {
    for key in REMOTE_ONLY {
        if let Some(value) = section.find(key) {
            let name = key.facts().name;
            value.mistake(format!("{name} applies to fetched keys only: url or discovery"));
        }
    }
}

/// A secret carries no algorithm of its own, so the list must leave it exactly one.
fn check_secret_algorithms(file: &Value<'_>, algorithms: &[Algorithm]) {
    let fit = match algorithms {
        [] => true,
        [only] => is_symmetric(*only),
        [_, _, ..] => false,
    };
    if !fit {
        file.mistake("a secret is bound to one algorithm: `algorithms` must list exactly one of HS256, HS384, HS512");
    }
}

/// A document that anyone can fetch contains no secret.
fn check_public_algorithms(value: &Value<'_>, algorithms: &[Algorithm]) {
    if let Some(symmetric) = algorithms.iter().find(|one| is_symmetric(**one)) {
        value.mistake(format!(
            "{symmetric} needs a secret, and anyone can fetch this key set: remove it from \
             `algorithms`, or write {{ secret_file: FILE }}"
        ));
    }
}

/// True for HMAC algorithms, where the verification key can also sign.
fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
}
