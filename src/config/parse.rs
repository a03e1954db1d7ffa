//! From the text of a configuration to [`Config`], or every mistake in it.
//!
//! Owns the order in which sections are read: what is referred to comes before what refers to
//! it. Never reads the disk or the environment itself: both are arguments, so that fuzzing and
//! tests walk the very path that `run` does.

use std::path::Path;

use http::header::AUTHORIZATION;

use crate::config::files::disk::Disk;
use crate::config::keys;
use crate::config::language::expand::{Environment, expand};
use crate::config::language::mistake::Mistake;
use crate::config::language::node::Place;
use crate::config::language::report::Report;
use crate::config::language::walk::{Mapping, Value};
use crate::config::language::yaml::{self, Budget};
use crate::config::model::{Config, Dynamic, IssuerSource};
use crate::config::sections::{
    Reading, api_keys, identity, issuers, limits, network, revocations, routes, token_places,
    upstreams,
};
use crate::decide::request::credential::{CredentialSources, KeySource, TokenPlace};

impl Config {
    /// Reads the configuration in `file`.
    ///
    /// # Errors
    /// Every mistake, in the order of the file; that it cannot be read is one.
    pub fn load(
        file: &Path,
        disk: &dyn Disk,
        environment: Environment<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        match disk.read(file, Budget::CONFIGURATION.bytes) {
            Ok(content) => Self::parse_bytes(file, &content.bytes, environment),
            Err(error) => {
                let report = Report::new(file);
                report.add(Place::default(), "", format!("cannot read the file: {error}"));
                Err(report.into_mistakes())
            }
        }
    }

    /// Reads a configuration. `file` gives its name and the folder that names in it are relative
    /// to; `environment` is asked for each `${NAME}`.
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse(
        file: &Path,
        text: &str,
        environment: Environment<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        Self::parse_bytes(file, text.as_bytes(), environment)
    }

    /// The same from the bytes of a file, which may not even be text.
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse_bytes(
        file: &Path,
        bytes: &[u8],
        environment: Environment<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        let report = Report::new(file);
        let config = read(&report, file, bytes, environment);
        match config {
            Some(config) if report.is_empty() => Ok(config),
            Some(_) | None => Err(report.into_mistakes()),
        }
    }
}

fn read(
    report: &Report,
    file: &Path,
    bytes: &[u8],
    environment: Environment<'_>,
) -> Option<Config> {
    let mut root = yaml::parse(report, bytes, &Budget::CONFIGURATION)?;
    expand(report, &mut root, environment);
    let top = Value::root(report, &root).section(&keys::TOP)?;
    let reading = Reading::new(file.parent().unwrap_or(Path::new("")));
    let startup = network::startup(&top, &reading, environment);
    let dynamic = dynamic(&top, reading, &startup.listeners);
    Some(Config { startup, dynamic })
}

fn dynamic(
    top: &Mapping<'_>,
    reading: Reading<'_>,
    listeners: &[crate::config::Listener],
) -> Dynamic {
    let trusted_proxies = network::trusted_proxies(top);
    let insecure_file_modes =
        reading.insecure_switch(top.find("insecure_file_modes")).unwrap_or(false);
    let upstreams = upstreams::upstreams(top, &reading);
    let places = api_keys::places(top);
    let token_places = token_places::all(top);
    token_places::check_keys(top, &token_places, &places);
    let (names, taken) = identity::names(top, &places, &token_places);
    let issuers = issuers::issuers(top, &reading, &taken);
    check_bearers(top, &places, &issuers);
    let api_keys = api_keys::settings(top, &reading, &taken);
    let revocation_files = revocations::files(top, &reading);
    let claims = issuers
        .iter()
        .flat_map(|issuer| &issuer.settings.claim_headers)
        .chain(&api_keys.claim_headers)
        .map(|(_, header)| header.clone())
        .collect();
    let identity = identity::headers(top, names, &taken, claims);
    let limits = limits::limits(top, listeners, trusted_proxies.unix);
    let listed = top.find("issuers").and_then(|v| v.items().map(|i| i.len())).unwrap_or(0);
    let known = routes::Known {
        upstreams: &upstreams,
        limits: &limits,
        key_places: &places,
        authenticators: routes::authenticators(&issuers, listed, top.has("api_keys")),
    };
    let routes = routes::routes(top, &reading, known);
    Dynamic {
        trusted_proxies,
        upstreams,
        issuers,
        api_keys,
        revocation_files,
        credentials: match listed {
            0 => CredentialSources::of_keys(places),
            _ => CredentialSources::with_tokens(places, token_places),
        },
        failed_credentials: limits::failed_credentials(top),
        limits,
        identity,
        routes,
        realm: top
            .find("realm")
            .and_then(|value| value.parse(realm))
            .unwrap_or_else(|| "gatepost".into()),
        insecure_file_modes,
        insecure: reading.into_insecure(),
    }
}

/// A bearer that is not a JWT is either an API key or a token to ask about.
fn check_bearers(top: &Mapping<'_>, places: &[KeySource], issuers: &[IssuerSource]) {
    let is_bearer = |place: &KeySource| {
        let scheme = place.scheme.as_deref();
        place.header == AUTHORIZATION
            && scheme.is_some_and(|one| one.eq_ignore_ascii_case("bearer"))
    };
    let asked = issuers.iter().find(|issuer| {
        let places = &issuer.settings.shape.places;
        issuer.introspection.is_some() && places.contains(&TokenPlace::default())
    });
    if let (true, Some(asked), Some(value)) =
        (places.iter().any(is_bearer), asked, top.find("api_keys"))
    {
        value.mistake(format!(
            "takes every bearer that is not a JWT for a key, and issuer {:?} is to be asked about \
             such bearers: give keys a header or a scheme of their own",
            asked.settings.name
        ));
    }
}

/// The realm stands in a quoted string of every challenge (RFC 9110 section 11.5).
fn realm(text: &str) -> Result<Box<str>, String> {
    const BYTES_MAX: usize = 128;
    let quotable = |b: u8| (b == b' ' || b.is_ascii_graphic()) && b != b'"' && b != b'\\';
    if text.len() <= BYTES_MAX && text.bytes().all(quotable) {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not a realm: at most {BYTES_MAX} visible ASCII characters and spaces without \" and \\ are accepted"
    ))
}
