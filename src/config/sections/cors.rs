//! `cors` and `preflight` of a route.
//!
//! Owns their words and their defaults. Never answers a browser: that is [`crate::decide::request::cors`]'s.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Method};

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::sections::method;
use crate::decide::policy::{Methods, Preflight};
use crate::decide::request::cors::Cors;

const ORIGINS_MAX: usize = 1_000;
const NAMES_MAX: usize = 100;
/// Longer only hides mistakes: no browser keeps an answer for more than a day.
const MAX_AGE_MAX: Duration = Duration::from_secs(86_400);
/// Browsers cap it at two hours or less; ten minutes let a change be seen soon.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(600);

/// `cors`. Without `methods`, those of the route.
pub(super) fn cors(value: &Value<'_>, route: &Methods) -> Option<Arc<Cors>> {
    let section = value.section(&keys::CORS)?;
    let place = section.require("origins")?;
    let origins = place.each(1..=ORIGINS_MAX, |item| item.text().map(str::to_owned))?;
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    let methods =
        section.find("methods").map(|value| value.each(1..=NAMES_MAX, |item| item.parse(method)));
    let methods = methods.unwrap_or_else(|| Some(methods_of(route)))?;
    let headers =
        section.find("headers").map(|value| value.each(0..=NAMES_MAX, |item| item.parse(header)));
    let headers = headers.unwrap_or_else(|| Some(vec![AUTHORIZATION, CONTENT_TYPE]))?;
    let credentials = section.find("credentials").and_then(|value| value.truth()).unwrap_or(false);
    let max_age =
        section.find("max_age").and_then(|value| value.duration(Duration::ZERO..=MAX_AGE_MAX));
    let max_age = max_age.unwrap_or(MAX_AGE_DEFAULT);
    match Cors::new(&origins, methods, headers, credentials, max_age) {
        Ok(cors) => Some(Arc::new(cors)),
        Err(error) => {
            place.mistake(error.to_string());
            None
        }
    }
}

/// `preflight`, and what `cors` makes of preflights.
pub(super) fn preflight(section: &Mapping<'_>, cors: Option<&Arc<Cors>>) -> Preflight {
    let passes = section.find("preflight").and_then(|value| {
        let passes = value.word(&[("answer", false), ("pass", true)]);
        if cors.is_some() && passes == Some(true) {
            value.mistake("cors answers preflights itself: remove preflight, or remove cors and let the upstream answer");
        }
        passes
    });
    match (cors, passes) {
        (Some(cors), _) => Preflight::Answer(Arc::clone(cors)),
        (None, Some(true)) => Preflight::Pass,
        (None, Some(false) | None) => Preflight::Ordinary,
    }
}

fn methods_of(route: &Methods) -> Vec<Method> {
    match route {
        Methods::Only(listed) => listed.clone(),
        Methods::Any => vec![
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ],
    }
}

fn header(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))
}
