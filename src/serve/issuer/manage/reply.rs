//! Answers of the administration, and its errors.
//!
//! Owns status and form: JSON, or a problem (RFC 9457) that names the remedy. Never shows a secret
//! but the one that the request made.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::decide::api_key::format::RandomFault;
use crate::issue::intent::{Limit, Refusal, Thing};
use crate::serve::issuer::manage::ROOTS;
use crate::serve::store::{Failure, NotStored};

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The document: a problem unless the status is a success.
    pub body: Value,
    /// The methods that the path has, where another was used.
    pub allow: Option<&'static str>,
}

/// Never shows the document: it may have a secret that was made.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The result of a call.
pub(super) type Answer = Result<Reply, Refused>;

/// A call that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    code: &'static str,
    detail: String,
    not_stored: bool,
    allow: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), not_stored: false, allow: None }
    }

    /// A body, query or value that is not accepted.
    pub(super) fn mistake(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "mistakes", detail)
    }

    /// Nothing has this id or text.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The id or the secret is taken.
    pub(super) fn exists(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "exists", detail)
    }

    /// The same, after something was done.
    pub(super) fn after(self, done: &str) -> Self {
        Self { detail: format!("{done} ({})", self.detail), ..self }
    }

    pub(super) fn fault(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        let Refused { status, code, detail, not_stored, allow } = refused;
        let title = status.canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "status": status.as_u16(), "title": title, "code": code, "detail": detail,
        });
        if not_stored {
            body["stored"] = json!(false);
        }
        Self { status, body, allow }
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::Unknown(..) => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::Exists(..) => (StatusCode::CONFLICT, "exists"),
            Refusal::Limit(_) => (StatusCode::CONFLICT, "limit"),
            Refusal::Declared(_) => (StatusCode::CONFLICT, "declared"),
            Refusal::Disabled(..)
            | Refusal::Held(..)
            | Refusal::Application(_)
            | Refusal::Lifetime(_)
            | Refusal::Forever
            | Refusal::Scope(_)
            | Refusal::Default(_)
            | Refusal::OwnsApplications(_)
            | Refusal::InvalidClient
            | Refusal::UnauthorizedClient
            | Refusal::InvalidGrant(_)
            | Refusal::AuthorizationPending
            | Refusal::SlowDown(_)
            | Refusal::ExpiredToken
            | Refusal::Stale(_)
            | Refusal::AccessDenied => (StatusCode::UNPROCESSABLE_ENTITY, "mistakes"),
        };
        match remedy(refusal) {
            Some(remedy) => Self::new(status, code, format!("{refusal}: {remedy}")),
            None => Self::new(status, code, refusal.to_string()),
        }
    }
}

/// The command or the change that helps.
fn remedy(refusal: &Refusal) -> Option<String> {
    let text = match refusal {
        Refusal::Unknown(Thing::Person, login) => {
            return Some(format!("gatepost user add --login {login}"));
        }
        Refusal::Unknown(thing, _) => match thing {
            Thing::Application => "gatepost app list prints the ids",
            Thing::Secret => "gatepost app show CLIENT_ID prints the ids",
            Thing::Key => "gatepost key list --config FILE prints the ids",
            Thing::Pat => "gatepost token list prints the ids",
            Thing::Plugin => "gatepost plugin list prints the names, gatepost plugin run makes one",
            Thing::SigningKey => "gatepost signing-key list prints the ids",
            Thing::Person | Thing::Grant | Thing::Device | Thing::Session | Thing::Address => {
                return None;
            }
        },
        Refusal::Limit(Limit { thing: Thing::Secret, .. }) => {
            "end one with gatepost app secret end, or give --end-old-after"
        }
        Refusal::Limit(Limit { thing: Thing::Key, .. }) => {
            "delete one: gatepost key list --config FILE"
        }
        Refusal::Limit(Limit { thing: Thing::Pat, .. }) => "revoke one: gatepost token list --user",
        Refusal::Limit(Limit { thing: Thing::Application, .. }) => "delete one: gatepost app list",
        Refusal::Disabled(Thing::Person, _) => "gatepost user enable",
        Refusal::Declared(_) => "change or remove it there, and reload",
        Refusal::OwnsApplications(_) => "--give-to PERSON or --with-applications",
        Refusal::Forever => {
            "give an end: a personal access token always has one, a key unless issuer.api_keys.forever is true"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

impl From<NotStored> for Refused {
    fn from(error: NotStored) -> Self {
        let detail = match (error.in_force, &error.failure) {
            (true, _) => format!("in force on this node, but not stored: {error}"),
            (false, Failure::Unknown(_)) => error.to_string(),
            (false, _) => format!("nothing was changed: {error}"),
        };
        let refused = match error.failure {
            Failure::Constraint(_) => Self::new(StatusCode::CONFLICT, "exists", detail),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail),
        };
        Self { not_stored: error.in_force, ..refused }
    }
}

impl From<Failure> for Refused {
    fn from(error: Failure) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
    }
}

impl From<RandomFault> for Refused {
    fn from(fault: RandomFault) -> Self {
        Self::fault(fault.to_string())
    }
}

pub(super) fn ok(body: Value) -> Answer {
    Ok(Reply { status: StatusCode::OK, body, allow: None })
}

pub(super) fn created(body: Value) -> Answer {
    Ok(Reply { status: StatusCode::CREATED, body, allow: None })
}

pub(super) fn not_found() -> Refused {
    let roots = ROOTS.map(|root| format!("/{root}")).join(", ");
    Refused::new(StatusCode::NOT_FOUND, "not_found", format!("unknown page; there are {roots}"))
}

/// `accepted` is the list for an `Allow` field; GET brings HEAD.
pub(super) fn wrong_method(accepted: &'static str) -> Refused {
    let detail = format!("accepted here: {accepted}");
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    Refused { allow: Some(accepted), ..refused }
}

/// The JSON object of a body; an empty body is an empty object.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body: {error}");
        Refused::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    })
}
