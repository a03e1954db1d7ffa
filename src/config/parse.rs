//! From the text of a configuration to [`Config`], or every mistake in it.
//!
//! Owns the order in which sections are read: what is referred to comes before what refers to
//! it. Never reads the disk or the environment itself: both are arguments, so that fuzzing and
//! tests walk the very path that `run` does.

use std::path::Path;
use std::sync::Arc;

use http::header::AUTHORIZATION;

use crate::config::files::disk::Disk;
use crate::config::language::expand::{Environment, expand};
use crate::config::language::mistake::Mistake;
use crate::config::language::node::Place;
use crate::config::language::report::Report;
use crate::config::language::walk::{Mapping, Value};
use crate::config::language::yaml::{self, Budget};
use crate::config::model::{
    Config, Dynamic, IssuerSettings, IssuerSource, IssuerStartup, Listener, ListenerKey,
    ListenerTls, Startup,
};
use crate::config::sections::access::{Authenticators, Own};
use crate::config::sections::{
    self, api_keys, identity, issuer, issuers, limits, listeners, process, revocations, routes,
    token_places, trusted_proxies, upstreams,
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
        Self::parse_beside(file, bytes, environment, RunningIssuer::AsConfigured)
    }

    /// The same for a process that runs: settings of the issuer that need a restart are those of
    /// `running` in the dynamic part, and those of the file in [`Config::startup`].
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse_beside(
        file: &Path,
        bytes: &[u8],
        environment: Environment<'_>,
        running: RunningIssuer<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        let report = Report::new(file);
        let (startup, dynamic) = read(&report, bytes, environment, running);
        match startup.zip(dynamic) {
            Some((startup, dynamic)) if report.is_empty() => Ok(Self { startup, dynamic }),
            Some(_) | None => Err(report.into_mistakes()),
        }
    }

    /// Reads the settings that need a restart, whatever mistakes the rest has, and returns these:
    /// commands that ask a running process need no more than its admin listener.
    ///
    /// # Errors
    /// Every mistake, where the settings cannot be read.
    pub fn load_startup(
        file: &Path,
        disk: &dyn Disk,
        environment: Environment<'_>,
    ) -> Result<LoadedStartup, Vec<Mistake>> {
        let report = Report::new(file);
        let read = match disk.read(file, Budget::CONFIGURATION.bytes) {
            Ok(content) => read(&report, &content.bytes, environment, RunningIssuer::AsConfigured),
            Err(error) => {
                report.add(Place::default(), "", format!("cannot read the file: {error}"));
                (None, None)
            }
        };
        let mistakes = report.into_mistakes();
        let insecure_file_modes = read.1.is_some_and(|dynamic| dynamic.insecure_file_modes);
        match read.0 {
            Some(startup) => Ok(LoadedStartup { startup, insecure_file_modes, mistakes }),
            None => Err(mistakes),
        }
    }
}

/// The settings of a configuration that need a restart, which may have mistakes elsewhere.
#[derive(Debug)]
pub struct LoadedStartup {
    /// The settings.
    pub startup: Startup,
    /// Secret files may be readable by others.
    pub insecure_file_modes: bool,
    /// The mistakes elsewhere.
    pub mistakes: Vec<Mistake>,
}

/// The issuer that the dynamic part of a configuration is read for.
#[derive(Clone, Copy, Debug)]
pub enum RunningIssuer<'a> {
    /// That of the file.
    AsConfigured,
    /// That which the process was started with, as it was read last.
    Started(Option<(&'a IssuerStartup, &'a IssuerSettings)>),
}

fn read(
    report: &Report,
    bytes: &[u8],
    environment: Environment<'_>,
    running: RunningIssuer<'_>,
) -> (Option<Startup>, Option<Dynamic>) {
    let Some(mut root) = yaml::parse(report, bytes, &Budget::CONFIGURATION) else {
        return (None, None);
    };
    expand(report, &mut root, environment);
    let Some(top) = Value::root(report, &root).section(&sections::TOP) else {
        return (None, None);
    };
    let startup = process::startup(&top, environment);
    let listeners = startup.as_ref().map(|startup| startup.listeners.as_slice());
    let configured = startup.as_ref().and_then(|startup| startup.issuer.as_deref());
    let own = match running {
        RunningIssuer::AsConfigured => configured.map(|own| (own, issuer::settings(&top, None))),
        RunningIssuer::Started(started) => started.map(|(own, settings)| {
            // An issuer that the file has no more goes on until the restart, as it is.
            let read = issuer::settings(&top, Some(&own.url));
            (own, if issuer::is_configured(&top) { read } else { Some(settings.clone()) })
        }),
    };
    let own = match own {
        Some((startup, settings)) => settings
            .map_or(OwnIssuer::Mistaken, |settings| OwnIssuer::There(startup, Box::new(settings))),
        None if !issuer::is_configured(&top) => OwnIssuer::Absent,
        None => match running {
            RunningIssuer::AsConfigured => OwnIssuer::Mistaken,
            RunningIssuer::Started(_) => OwnIssuer::Waiting,
        },
    };
    let dynamic = dynamic(&top, listeners.unwrap_or_default(), own);
    let dynamic = dynamic.map(|dynamic| Dynamic { insecure: report.insecure(), ..dynamic });
    (startup, dynamic)
}

/// The built-in issuer of a dynamic part.
enum OwnIssuer<'a> {
    /// None is configured.
    Absent,
    /// It has mistakes, which were reported.
    Mistaken,
    /// It was added since the start.
    Waiting,
    /// It serves.
    There(&'a IssuerStartup, Box<IssuerSettings>),
}

fn dynamic(top: &Mapping<'_>, listeners: &[Listener], own: OwnIssuer<'_>) -> Option<Dynamic> {
    let trusted_proxies = trusted_proxies::trusted_proxies(top);
    listeners::check_proxy_protocol(top, &trusted_proxies);
    let insecure_file_modes = top.read(&sections::INSECURE_FILE_MODES)?;
    let (upstreams, upstream_tls) = upstreams::upstreams(top);
    let places = api_keys::places(top);
    let token_places = issuers::token_places(top);
    token_places::check_keys(top, &token_places, &places);
    let (names, taken) = identity::names(top, &places, &token_places)?;
    let (is_mistaken, is_waiting) =
        (matches!(own, OwnIssuer::Mistaken), matches!(own, OwnIssuer::Waiting));
    let (issuer_startup, own) = match own {
        OwnIssuer::There(startup, settings) => (Some(startup), Some(*settings)),
        OwnIssuer::Absent | OwnIssuer::Mistaken | OwnIssuer::Waiting => (None, None),
    };
    let issuers = issuers::issuers(top, &taken, issuer_startup.map(|startup| &*startup.url));
    check_bearers(top, &places, &issuers, own.as_ref());
    let api_keys = api_keys::settings(top, &taken);
    issuer::check_peppers(top, &api_keys);
    let revocation_files = top.read(&revocations::REVOCATIONS).unwrap_or_default();
    let claims = issuers
        .iter()
        .flat_map(|issuer| &issuer.settings.claim_headers)
        .chain(&api_keys.claim_headers)
        .map(|(_, header)| header.clone())
        .collect();
    let identity = identity::headers(top, names, &taken, claims);
    let limits = limits::limits(top, listeners, trusted_proxies.unix);
    let listed = issuers::listed(top);
    let built_in = issuer_startup.zip(own.as_ref());
    let built_in = built_in.map(|(startup, settings)| Own { url: &startup.url, settings });
    let known = routes::Known {
        upstreams: &upstreams,
        limits: &limits,
        key_places: &places,
        authenticators: Authenticators {
            issuers: &issuers,
            issuers_incomplete: listed != issuers.len() || is_mistaken,
            own_waits: is_waiting,
            key_files: api_keys::has_files(top),
            client_certificates: listeners.iter().any(Listener::asks_for_certificates),
            own: built_in,
        },
    };
    let own_routes = issuer_startup.zip(own.as_ref());
    let own_routes =
        own_routes.map(|(startup, settings)| issuer::routes::routes(startup, settings, listeners));
    let routes = routes::routes(top, known, own_routes.unwrap_or_default());
    let own = own.map(|own| Arc::new(issuer::complete(top, own, &routes)));
    Some(Dynamic {
        tls: tls(listeners),
        trusted_proxies,
        upstreams,
        upstream_tls,
        issuers,
        issuer: own,
        api_keys,
        revocation_files,
        credentials: match token_places.len() {
            0 => CredentialSources::of_keys(places),
            _ => CredentialSources::with_tokens(places, token_places),
        },
        failed_credentials: top.read(&limits::FAILED_CREDENTIALS)?,
        limits,
        identity,
        routes,
        realm: top.read(&sections::REALM)?,
        insecure_file_modes,
        insecure: Vec::new(),
    })
}

fn tls(listeners: &[Listener]) -> Vec<(ListenerKey, ListenerTls)> {
    let keys = ListenerKey::of(listeners).into_iter().zip(listeners);
    keys.filter_map(|(key, listener)| Some((key, listener.tls.clone()?))).collect()
}

/// A bearer that is not a JWT is an API key, a personal access token, or an API key or a token to ask about.
fn check_bearers(
    top: &Mapping<'_>,
    places: &[KeySource],
    issuers: &[IssuerSource],
    own: Option<&IssuerSettings>,
) {
    let is_bearer = |place: &KeySource| {
        let scheme = place.scheme.as_deref();
        place.header == AUTHORIZATION
            && scheme.is_some_and(|one| one.eq_ignore_ascii_case("bearer"))
    };
    let Some(value) = top.find(&api_keys::API_KEYS).filter(|_| places.iter().any(is_bearer)) else {
        return;
    };
    if own.is_some_and(|own| own.personal_access_tokens.is_some()) {
        value.mistake(
            "takes every bearer that is not a JWT for a key, and personal access tokens are such \
             bearers: give keys a header or a scheme of their own, or set \
             issuer.personal_access_tokens: off",
        );
    }
    let asked = issuers.iter().find(|issuer| {
        let places = &issuer.settings.shape.places;
        issuer.introspection.is_some() && places.contains(&TokenPlace::default())
    });
    if let Some(asked) = asked {
        value.mistake(format!(
            "takes every bearer that is not a JWT for a key, and issuer {:?} is to be asked about \
             such bearers: give keys a header or a scheme of their own",
            asked.settings.name
        ));
    }
}
