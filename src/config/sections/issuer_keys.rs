//! `issuers[].keys`.
//!
//! Owns where the keys of an issuer may come from. Never reads a file and never fetches anything.

use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{KeyLocation, KeySource, RemoteKeys};
use crate::config::sections::Reading;
use crate::decide::jwt::Algorithm;

/// What is said about keys that are fetched, and makes no sense for others.
const REMOTE_ONLY: [&str; 6] =
    ["ca_file", "bearer_file", "timeout", "refresh", "stale_for", "insecure_http"];
/// The key set of the cluster that a pod runs in.
const CLUSTER_URL: &str = "https://kubernetes.default.svc/openid/v1/jwks";
/// Where a pod finds the certificates of the cluster and its token.
const CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// A refresh is in the background: longer than this only keeps a connection.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// More often than each minute asks too much of a key server; less often than each day leaves a
/// withdrawn key in force for too long.
const REFRESH: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
/// The longest that keys may be believed which nobody could confirm.
const STALE_FOR_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Where the keys are. `iss` is the issuer, as far as it could be read.
pub(super) fn key_source(
    value: &Value<'_>,
    reading: &Reading<'_>,
    iss: Option<&str>,
    algorithms: &[Algorithm],
) -> Option<KeySource> {
    let section = value.section(&keys::ISSUER_KEYS)?;
    let discovery = section.find("discovery").and_then(|value| value.truth()).unwrap_or(false);
    let (file, secret, url) =
        (section.find("file"), section.find("secret_file"), section.find("url"));
    if let Some(cluster) = section.find("kubernetes").filter(|value| value.truth() == Some(true)) {
        return cluster_keys(&section, &cluster, reading, algorithms);
    }
    let is_remote = url.is_some() || discovery;
    match (file, secret, url, discovery) {
        (Some(file), None, None, false) => {
            refuse_remote_settings(&section, is_remote);
            reading.file(&file).map(KeySource::File)
        }
        (None, Some(file), None, false) => {
            refuse_remote_settings(&section, is_remote);
            check_secret_algorithms(&file, algorithms);
            reading.file(&file).map(KeySource::SecretFile)
        }
        (None, None, Some(_), false) | (None, None, None, true) => {
            check_public_algorithms(value, algorithms);
            remote(&section, reading, iss).map(|remote| KeySource::Remote(Arc::new(remote)))
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

/// `{ kubernetes: true }`: the values of the cluster, which nothing else may stand beside but how
/// often it is asked.
fn cluster_keys(
    section: &Mapping<'_>,
    cluster: &Value<'_>,
    reading: &Reading<'_>,
    algorithms: &[Algorithm],
) -> Option<KeySource> {
    let others =
        ["file", "secret_file", "url", "discovery", "ca_file", "bearer_file", "insecure_http"];
    for value in others.into_iter().filter_map(|name| section.find(name)) {
        value.mistake(
            "kubernetes: true stands for url, ca_file and bearer_file; remove one of them",
        );
    }
    check_public_algorithms(cluster, algorithms);
    let file = |path: &str| reading.file_at(cluster, path);
    let location = KeyLocation::Url(KeyUrl::parse(CLUSTER_URL, false).ok()?);
    let (ca_file, bearer_file) = (Some(file(CLUSTER_CA)), Some(file(CLUSTER_TOKEN)));
    let times = times(section);
    let remote = RemoteKeys { location, ca_file, bearer_file, insecure_http: false, ..times };
    Some(KeySource::Remote(Arc::new(remote)))
}

fn remote(section: &Mapping<'_>, reading: &Reading<'_>, iss: Option<&str>) -> Option<RemoteKeys> {
    let insecure_http = reading.insecure_switch(section.find("insecure_http")).unwrap_or(false);
    let location = match section.find("url") {
        Some(url) => url.parse(|text| KeyUrl::parse(text, insecure_http)).map(KeyLocation::Url),
        None => discovered(section, iss, insecure_http),
    };
    let ca_file = section.find("ca_file").map(|value| reading.file(&value));
    let ca_file = match ca_file {
        Some(file) => Some(file?),
        None => None,
    };
    let bearer_file = match section.find("bearer_file") {
        Some(value) if !section.has("url") => {
            value.mistake(
                "a bearer token is sent to a url that is configured, not to a discovered one",
            );
            None
        }
        Some(value) => Some(reading.file(&value)?),
        None => None,
    };
    let times = times(section);
    Some(RemoteKeys { location: location?, ca_file, bearer_file, insecure_http, ..times })
}

/// How often and how long a key server is asked.
fn times(section: &Mapping<'_>) -> RemoteKeys {
    let duration = |name, (low, high), default_s| {
        let read = section.find(name).and_then(|value| value.duration(low..=high));
        read.unwrap_or(Duration::from_secs(default_s))
    };
    let timeout = duration("timeout", TIMEOUT, 5);
    let refresh = duration("refresh", REFRESH, 3_600);
    let stale_for = duration("stale_for", (REFRESH.0, STALE_FOR_MAX), 86_400);
    if stale_for < refresh {
        let about = section.find("stale_for").or_else(|| section.find("refresh"));
        about.unwrap_or(*section.value()).mistake(
            "stale_for is shorter than refresh: keys would be given up before they are asked for \
             again",
        );
    }
    RemoteKeys {
        location: KeyLocation::Discovery,
        ca_file: None,
        bearer_file: None,
        timeout,
        refresh,
        stale_for,
        insecure_http: false,
    }
}

fn discovered(section: &Mapping<'_>, iss: Option<&str>, allows_http: bool) -> Option<KeyLocation> {
    match KeyUrl::of_metadata(iss?, allows_http) {
        Ok(_) => Some(KeyLocation::Discovery),
        Err(message) => {
            let message = format!("the issuer cannot be discovered: it is {message}");
            section.find("discovery").unwrap_or(*section.value()).mistake(message);
            None
        }
    }
}

fn refuse_remote_settings(section: &Mapping<'_>, is_remote: bool) {
    for name in REMOTE_ONLY.into_iter().filter(|_| !is_remote) {
        if let Some(value) = section.find(name) {
            value.mistake(format!("{name} is about keys that are fetched: url or discovery"));
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

/// What anybody can fetch is no secret.
fn check_public_algorithms(value: &Value<'_>, algorithms: &[Algorithm]) {
    if let Some(symmetric) = algorithms.iter().find(|one| is_symmetric(**one)) {
        value.mistake(format!(
            "{symmetric} needs a secret, and what anybody can fetch is none: remove it from \
             `algorithms`, or write {{ secret_file: FILE }}"
        ));
    }
}

/// True for HMAC algorithms, where the verification key can also sign.
fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
}
