//! Names of routes: the label of their metrics.
//!
//! Owns the name of a route that states none, and that two routes never share one. Never bounds how
//! many routes there are.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::config::language::walk::Value;
use crate::decide::policy::{HostPattern, Methods, PathPattern, Route};

/// A metric label.
const LABEL_BYTES_MAX: usize = 256;

/// Two routes with one name would share their metrics.
pub(super) fn check_names(routes: &[Arc<Route>], places: &[&Value<'_>]) {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        let Some(first) = seen.insert(&route.name, index) else { continue };
        let (Some(place), Some(other)) = (places.get(index), places.get(first)) else { continue };
        // Routes that tie have one default name; the table says so better.
        let tie = |other: &Route| {
            other.path == route.path && other.hosts == route.hosts && other.methods == route.methods
        };
        if !tie(&routes[first]) {
            place.mistake(format!("{} has the name {:?} already", other.path(), route.name));
        }
    }
}

/// The name, written or made of methods, hosts and path.
pub(super) fn name_of(
    name: Option<Box<str>>,
    hosts: &[HostPattern],
    methods: &Methods,
    path: &PathPattern,
) -> Arc<str> {
    name.unwrap_or_else(|| label(hosts, methods, path)).into()
}

/// The metric label without `name`: `GET,HEAD api.example.com/api/**`.
fn label(hosts: &[HostPattern], methods: &Methods, path: &PathPattern) -> Box<str> {
    let methods = match methods {
        Methods::Any => String::new(),
        Methods::Only(listed) => {
            listed.iter().map(Method::as_str).collect::<Vec<_>>().join(",") + " "
        }
    };
    let hosts = hosts.iter().map(HostPattern::as_str).collect::<Vec<_>>().join(",");
    format!("{methods}{hosts}{}", path.as_str()).into()
}

/// A name as it is written.
///
/// # Errors
/// It is too long, or has control characters.
pub(super) fn route_name(text: &str) -> Result<Box<str>, String> {
    if text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "a route's name has at most {LABEL_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(text.into())
}
