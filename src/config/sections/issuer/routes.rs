//! The routes of the issuer.
//!
//! Owns which paths its endpoints have, and that nothing else takes them. Never answers on one.

use std::collections::HashSet;
use std::iter;
use std::sync::Arc;

use crate::config::language::walk::{Mapping, Value};
use crate::config::model::issuer::{IssuerSettings, IssuerStartup};
use crate::config::sections::issuer::address::{ACCOUNT, PREFIXES, host_of};
use crate::config::{ListenAddress, Listener};
use crate::decide::policy::{Endpoint, HostPattern, PathPattern, Route, takes};
use crate::issue::metadata::{self, JWKS_PATH};

/// The routes of the issuer, on each of its hosts. The pages are on a host of their own as well.
pub(in crate::config) fn routes(
    startup: &IssuerStartup,
    settings: &IssuerSettings,
    listeners: &[Listener],
) -> Vec<Route> {
    let pages = settings.pages.as_deref().and_then(host_of);
    let route = |(endpoint, path): (Endpoint, String)| {
        let (is_page, is_folder) = match endpoint {
            Endpoint::Account => (true, true),
            Endpoint::Authorize | Endpoint::Device => (true, false),
            _ => (false, false),
        };
        let path = if is_folder { format!("{path}/**") } else { path };
        let mut hosts = settings.hosts.clone();
        let further = pages.clone().filter(|pages| is_page && !hosts.contains(pages));
        hosts.extend(further);
        let hosts = on_every_port(hosts, listeners);
        // The paths were checked when they were read.
        PathPattern::parse(&path).ok().map(|path| Route::of_issuer(endpoint, hosts, path))
    };
    // A path that two endpoints have is a mistake that is reported elsewhere.
    let mut seen = HashSet::new();
    let paths = paths_of(startup).into_iter().filter(|(_, path)| seen.insert(path.clone()));
    paths.filter_map(route).collect()
}

/// The hosts as they are, without a port, and with the ports of the listeners. A client that leaves
/// the port out, or reaches a listener beside the balancer, must not send its secret to an upstream
/// that a route for every host has.
fn on_every_port(mut hosts: Vec<HostPattern>, listeners: &[Listener]) -> Vec<HostPattern> {
    let ports = listeners.iter().filter_map(|listener| match listener.address {
        ListenAddress::Tcp(address) => Some(address.port()).filter(|port| *port != 0),
        ListenAddress::Unix(_) => None,
    });
    let ports: Vec<_> = ports.collect();
    for at in 0..hosts.len() {
        let host = hosts[at].clone();
        let bare = host.without_port();
        let further = ports.iter().map(|port| format!("{bare}:{port}"));
        let further = iter::once(bare.to_owned()).chain(further);
        for host in further.filter_map(|host| HostPattern::parse(&host).ok()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    hosts
}

/// Every path of every endpoint; that of the account pages includes all below it.
pub(super) fn paths_of(startup: &IssuerStartup) -> Vec<(Endpoint, String)> {
    let below = [
        (Endpoint::Authorize, "authorize"),
        (Endpoint::Token, "token"),
        (Endpoint::Revoke, "revoke"),
        (Endpoint::Introspect, "introspect"),
        (Endpoint::DeviceCode, "device/code"),
        (Endpoint::Device, "device"),
    ];
    let prefixes = startup.prefixes.iter();
    let mut paths: Vec<_> = prefixes
        .flat_map(|prefix| below.map(|(endpoint, name)| (endpoint, format!("{prefix}/{name}"))))
        .collect();
    let documents = metadata::paths(&startup.url).into_iter();
    paths.extend(documents.map(|path| (Endpoint::Metadata, path)));
    paths.push((Endpoint::Jwks, JWKS_PATH.to_owned()));
    paths.push((Endpoint::Account, startup.account.to_string()));
    paths
}

/// Returns whether no configured route takes a path or a label of the issuer.
pub(in crate::config) fn check_configured(
    routes: &[Arc<Route>],
    places: &[&Value<'_>],
    own: &[Route],
) -> bool {
    let mut is_good = true;
    for (route, place) in routes.iter().zip(places) {
        if let Some(taken) = own.iter().find(|own| takes(route, own)) {
            is_good = false;
            place.mistake(format!(
                "{} is a path of the issuer or lies below one ({}): use another path, or change \
                 issuer.prefixes or issuer.account",
                route.path.as_str(),
                taken.path.as_str()
            ));
        }
        if own.iter().any(|own| own.name == route.name) {
            is_good = false;
            place.mistake(format!("{:?} is the label of a route of the issuer", route.name));
        }
    }
    is_good
}

/// Every endpoint has a path of its own, and the pages have a folder of their own.
pub(super) fn check_paths(section: &Mapping<'_>, startup: &IssuerStartup) {
    let prefixes = section.find(&PREFIXES).unwrap_or(*section.value());
    let mut seen = HashSet::new();
    for (_, path) in paths_of(startup) {
        if !seen.insert(path.clone()) {
            prefixes.mistake(format!("two endpoints have the path {path}: change the prefixes"));
        }
    }
    let account = section.find(&ACCOUNT).unwrap_or(*section.value());
    let others = startup.prefixes.iter().map(AsRef::as_ref).chain(["/.well-known"]);
    for other in others {
        if is_below(other, &startup.account) || is_below(&startup.account, other) {
            account.mistake(format!(
                "account {} and {other} contain each other: the pages need a folder of their own",
                startup.account
            ));
        }
    }
}

/// Returns whether `path` is `folder` or lies below it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
