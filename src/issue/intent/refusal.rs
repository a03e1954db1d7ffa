//! Refusals of intents.
//!
//! Owns the closed list of reasons, for people and for OAuth clients. Never names a secret, and
//! never carries text of the caller but the id that was asked for.

use std::fmt;

use thiserror::Error;

use crate::decide::scope::ScopeSet;

/// A kind of thing that a refusal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the contract")]
pub enum Thing {
    Person,
    Application,
    Secret,
    Key,
    Pat,
    Plugin,
    Grant,
    Device,
    SigningKey,
    Session,
    Address,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person => "person",
            Self::Application => "application",
            Self::Secret => "client secret",
            Self::Key => "API key",
            Self::Pat => "personal access token",
            Self::Plugin => "plugin",
            Self::Grant => "grant",
            Self::Device => "device code",
            Self::SigningKey => "signing key",
            Self::Session => "session",
            Self::Address => "address",
        })
    }
}

/// Seconds as configurations have them.
fn lasting(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let fits = |(unit, _): &&(u64, &str)| seconds > 0 && seconds.is_multiple_of(*unit);
    let (unit, letter) = units.iter().find(fits).unwrap_or(&(1, "s"));
    format!("{}{letter}", seconds / unit)
}

/// A limit on the number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of these.
    pub thing: Thing,
    /// The largest accepted number of them.
    pub most: usize,
    /// Each of these has.
    pub of: Thing,
}

/// A refused intent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// No row of that id that has not ended.
    #[error("no {0} {1:?}")]
    Unknown(Thing, Box<str>),
    /// The id or the name is taken.
    #[error("the {0} {1:?} exists already")]
    Exists(Thing, Box<str>),
    /// A limit on the number of things.
    #[error("limit reached: at most {} {}s for each {}", .0.most, .0.thing, .0.of)]
    Limit(Limit),
    /// The thing is disabled.
    #[error("the {0} {1:?} is disabled")]
    Disabled(Thing, Box<str>),
    /// An operator disabled it.
    #[error("an operator disabled the {0} {1:?}: only an operator can enable it")]
    Held(Thing, Box<str>),
    /// The configuration declares it: the next reload would undo the change.
    #[error("the application {0:?} is declared in issuer.applications")]
    Declared(Box<str>),
    /// Rules that the description of an application breaks.
    #[error("{0}")]
    Application(Box<str>),
    /// Its lifetime in seconds exceeds what is configured, or is over.
    #[error("the end must be in the future, and at most {} from now", lasting(*.0))]
    Lifetime(u64),
    /// It must have an end.
    #[error("an end is required: forever is off")]
    Forever,
    /// A scope that may not be granted here.
    #[error("scope not allowed: {0}")]
    Scope(Box<str>),
    /// None of `issuer.default_scopes` is among these, which the application may have.
    #[error("scope is required: the application may have none of issuer.default_scopes, only {0}")]
    Default(ScopeSet),
    /// The person owns applications.
    #[error("the person owns {0} applications: give them to another person or end them as well")]
    OwnsApplications(usize),
    /// RFC 6749 section 5.2: `invalid_client`.
    #[error("client authentication failed")]
    InvalidClient,
    /// RFC 6749 section 5.2: `unauthorized_client`.
    #[error("the application may not use this grant type")]
    UnauthorizedClient,
    /// RFC 6749 section 5.2: `invalid_grant`.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// RFC 8628 section 3.5: `authorization_pending`.
    #[error("no person has decided yet")]
    AuthorizationPending,
    /// RFC 8628 section 3.5: `slow_down`, with the new interval in seconds.
    #[error("asked again before {0} s have passed")]
    SlowDown(u64),
    /// RFC 8628 section 3.5: `expired_token`.
    #[error("the device code expired")]
    ExpiredToken,
    /// What a person saw or proved before this transaction has changed since.
    #[error("{0}")]
    Stale(&'static str),
    /// RFC 6749 section 4.1.2.1: `access_denied`.
    #[error("the person refused the request")]
    AccessDenied,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_reads_as_in_the_configuration() {
        for (seconds, text) in [(31_622_400, "366d"), (7_200, "2h"), (90, "90s"), (0, "0s")] {
            assert_eq!(lasting(seconds), text);
        }
        assert!(Refusal::Lifetime(86_400).to_string().contains("at most 1d from now"));
    }
}
