//! The access requirements of a route.

use thiserror::Error;

use crate::decide::policy::certificate::{CertificateDenied, CertificateRequirement};
use crate::decide::principal::Principal;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// The access requirement of a route. Never a boolean: a route without one cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Credentials are neither read nor removed.
    Anonymous,
    /// A client certificate is required. Credentials are neither read nor removed.
    Certificate(CertificateRequirement),
    /// A valid credential is required that meets the requirement.
    Authenticated(Requirement),
    /// Requests without a credential pass as anonymous; a presented one must be valid, and of these
    /// kinds and issuers. Scopes and claims cannot be required here; a client certificate can.
    Optional(Requirement),
}

/// The conditions on a credential; all of them must be met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Accepted kinds, sorted; never empty.
    pub credentials: Vec<CredentialKind>,
    /// Accepted issuers by `iss`, sorted; `None` is any configured one. API keys have the issuer
    /// [`crate::decide::principal::API_KEY_ISSUER`].
    pub issuers: Option<Vec<Box<str>>>,
    /// All of these.
    pub scopes: ScopeSet,
    /// At least one of these, unless empty.
    pub any_scope: ScopeSet,
    /// Each claim must have one of its values; an absent claim fails. Sorted by claim.
    pub claims: Vec<(Box<str>, Vec<Box<str>>)>,
    /// A client certificate beside the credential.
    pub certificate: Option<CertificateRequirement>,
}

/// A requirement that a principal does not meet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessDenied {
    /// The kind of credential is not accepted.
    #[error("credentials of kind {} are not accepted here", .0.as_str())]
    Kind(CredentialKind),
    /// The issuer is not accepted.
    #[error("the credential's issuer is not accepted here")]
    Issuer,
    /// Scopes are missing; `needed` is the wire form for the challenge.
    #[error("missing scope: requires {needed:?}")]
    Scope {
        /// The required scopes.
        needed: String,
    },
    /// A claim is absent or has another value.
    #[error("claim {0:?} does not have an accepted value")]
    Claim(Box<str>),
    /// The client certificate is missing, or not enough.
    #[error("{0}")]
    Certificate(#[from] CertificateDenied),
}

impl Requirement {
    /// Checks that credentials of this kind are accepted.
    ///
    /// # Errors
    /// [`AccessDenied::Kind`].
    pub(crate) fn accepts(&self, kind: CredentialKind) -> Result<(), AccessDenied> {
        if self.credentials.contains(&kind) { Ok(()) } else { Err(AccessDenied::Kind(kind)) }
    }

    /// Checks that `principal` meets every condition.
    ///
    /// # Errors
    /// The first condition that is not met, in the order kind, issuer, scopes, any scope, claims.
    pub(crate) fn authorize(&self, principal: &Principal) -> Result<(), AccessDenied> {
        self.accepts(principal.credential())?;
        if !principal.issuers().any(|one| self.takes_issuer(one)) {
            return Err(AccessDenied::Issuer);
        }
        self.authorize_rights(principal)
    }

    /// The same for an API key of the store of the issuer with this URL: where routes name issuers,
    /// its keys belong to it, not to the key files.
    ///
    /// # Errors
    /// As for [`authorize`](Self::authorize).
    pub(crate) fn authorize_key_of(
        &self,
        url: &str,
        principal: &Principal,
    ) -> Result<(), AccessDenied> {
        self.accepts(principal.credential())?;
        if !self.takes_issuer(url) {
            return Err(AccessDenied::Issuer);
        }
        self.authorize_rights(principal)
    }

    /// Returns whether credentials of this issuer are accepted.
    #[must_use]
    pub fn takes_issuer(&self, url: &str) -> bool {
        self.issuers.as_ref().is_none_or(|issuers| issuers.iter().any(|issuer| **issuer == *url))
    }

    fn authorize_rights(&self, principal: &Principal) -> Result<(), AccessDenied> {
        if !principal.scopes().contains_all(&self.scopes) {
            return Err(AccessDenied::Scope { needed: self.scopes.to_string() });
        }
        if !self.any_scope.is_empty() && !principal.scopes().contains_any(&self.any_scope) {
            return Err(AccessDenied::Scope { needed: self.any_scope.to_string() });
        }
        for (claim, accepted) in &self.claims {
            let texts = principal.claims().texts(claim);
            if !texts.iter().any(|text| accepted.iter().any(|value| **value == **text)) {
                return Err(AccessDenied::Claim(claim.clone()));
            }
        }
        Ok(())
    }

    /// Returns whether every principal that meets this meets `other`; `false` in case of doubt.
    fn implies(&self, other: &Self) -> bool {
        let issuers = match (&self.issuers, &other.issuers) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => is_subset(ours, theirs),
        };
        let any_scope = other.any_scope.is_empty()
            || self.scopes.contains_any(&other.any_scope)
            || (!self.any_scope.is_empty() && other.any_scope.contains_all(&self.any_scope));
        let claims = other.claims.iter().all(|(claim, accepted)| {
            self.claims.iter().any(|(own, values)| own == claim && is_subset(values, accepted))
        });
        let certificate = match (&self.certificate, &other.certificate) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(other)) => own.implies(other),
        };
        is_subset(&self.credentials, &other.credentials)
            && certificate
            && issuers
            && self.scopes.contains_all(&other.scopes)
            && any_scope
            && claims
    }
}

impl Access {
    /// The requirement that a presented credential must meet; `None` where none is read.
    #[must_use]
    pub fn requirement(&self) -> Option<&Requirement> {
        match self {
            Self::Authenticated(requirement) | Self::Optional(requirement) => Some(requirement),
            Self::Anonymous | Self::Certificate(_) => None,
        }
    }

    /// The requirement on the client certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateRequirement> {
        match self {
            Self::Certificate(requirement) => Some(requirement),
            Self::Authenticated(requirement) | Self::Optional(requirement) => {
                requirement.certificate.as_ref()
            }
            Self::Anonymous => None,
        }
    }

    /// Returns whether this access requires at least as much as `other`: everyone it admits would
    /// be admitted by `other` too. Detects a host-bound route that requires less than a hostless
    /// one.
    #[must_use]
    pub(crate) fn demands_at_least(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Anonymous) => true,
            (own, Self::Certificate(other)) => {
                own.certificate().is_some_and(|own| own.implies(other))
            }
            // These let bad credentials pass, which Optional refuses; all let none pass.
            (
                Self::Anonymous | Self::Certificate(_),
                Self::Optional(_) | Self::Authenticated(_),
            )
            | (Self::Optional(_), Self::Authenticated(_)) => false,
            (Self::Optional(own) | Self::Authenticated(own), Self::Optional(theirs))
            | (Self::Authenticated(own), Self::Authenticated(theirs)) => own.implies(theirs),
        }
    }
}

fn is_subset<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    part.iter().all(|item| whole.contains(item))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::principal::{Claims, Established};

    fn requirement() -> Requirement {
        Requirement {
            credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
            issuers: None,
            scopes: ScopeSet::default(),
            any_scope: ScopeSet::default(),
            claims: Vec::new(),
            certificate: None,
        }
    }

    fn scopes(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    fn issuers(list: &[&str]) -> Option<Vec<Box<str>>> {
        Some(list.iter().map(|issuer| Box::from(*issuer)).collect())
    }

    fn claim(name: &str, values: &[&str]) -> Vec<(Box<str>, Vec<Box<str>>)> {
        vec![(name.into(), values.iter().map(|value| Box::from(*value)).collect())]
    }

    #[track_caller]
    fn check(requirement: &Requirement, granted: &str, claims: Value, expected: Result<(), &str>) {
        let Value::Object(claims) = claims else { panic!("an object") };
        let principal = Principal::assertion(Established {
            subject: "alice".into(),
            issuer: "https://a.example".into(),
            issuer_template: None,
            issuer_name: "a".into(),
            client_id: None,
            scopes: std::sync::Arc::new(scopes(granted)),
            credential: CredentialKind::Jwt,
            credential_id: None,
            claims: std::sync::Arc::new(Claims::new(claims)),
            claim_headers: Box::default(),
        });
        let answer = requirement.authorize(&principal).map_err(|denied| denied.to_string());
        assert_eq!(answer, expected.map_err(str::to_owned));
    }

    #[test]
    fn contract_access_all_that_is_given_must_hold() {
        check(&requirement(), "", json!({}), Ok(()));

        let kind = Requirement { credentials: vec![CredentialKind::ApiKey], ..requirement() };
        check(&kind, "", json!({}), Err("credentials of kind jwt are not accepted here"));

        let same = Requirement { issuers: issuers(&["https://a.example"]), ..requirement() };
        check(&same, "", json!({}), Ok(()));
        for other in ["https://a.example/", "https://A.example", "https://a.exampl", "a", ""] {
            let other = Requirement { issuers: issuers(&[other]), ..requirement() };
            check(&other, "", json!({}), Err("the credential's issuer is not accepted here"));
        }

        let all = Requirement { scopes: scopes("read write"), ..requirement() };
        check(&all, "write x read", json!({}), Ok(()));
        for granted in ["", "read", "write", "Read write", "readwrite"] {
            check(&all, granted, json!({}), Err("missing scope: requires \"read write\""));
        }

        let any = Requirement { any_scope: scopes("a b"), ..requirement() };
        check(&any, "b", json!({}), Ok(()));
        for granted in ["", "ab", "B", "c"] {
            check(&any, granted, json!({}), Err("missing scope: requires \"a b\""));
        }
        let both = Requirement { any_scope: scopes("a b"), scopes: scopes("c"), ..requirement() };
        check(&both, "c a", json!({}), Ok(()));
        check(&both, "a b", json!({}), Err("missing scope: requires \"c\""));
        check(&both, "c", json!({}), Err("missing scope: requires \"a b\""));
    }

    #[test]
    fn contract_access_an_absent_claim_fails() {
        let tenant = Requirement { claims: claim("tenant", &["acme", "globex"]), ..requirement() };
        check(&tenant, "", json!({ "tenant": "globex" }), Ok(()));
        check(&tenant, "", json!({ "tenant": ["x", "acme"] }), Ok(()));
        for claims in [
            json!({}),
            json!({ "tenant": null }),
            json!({ "tenant": "" }),
            json!({ "tenant": "ACME" }),
            json!({ "tenant": "acme " }),
            json!({ "tenant": "acme,globex" }),
            json!({ "tenant": [] }),
            json!({ "tenant": { "acme": true } }),
            json!({ "tenants": "acme" }),
        ] {
            check(&tenant, "", claims, Err("claim \"tenant\" does not have an accepted value"));
        }
    }

    #[test]
    fn the_first_demand_that_is_not_met_is_named() {
        let strict = Requirement {
            credentials: vec![CredentialKind::ApiKey],
            issuers: issuers(&["b"]),
            scopes: scopes("s"),
            any_scope: scopes("t"),
            claims: claim("c", &["1"]),
            certificate: None,
        };
        check(&strict, "", json!({}), Err("credentials of kind jwt are not accepted here"));
        let strict = Requirement { credentials: vec![CredentialKind::Jwt], ..strict };
        check(&strict, "", json!({}), Err("the credential's issuer is not accepted here"));
        let strict = Requirement { issuers: None, ..strict };
        check(&strict, "", json!({}), Err("missing scope: requires \"s\""));
        check(&strict, "s", json!({}), Err("missing scope: requires \"t\""));
        check(&strict, "s t", json!({}), Err("claim \"c\" does not have an accepted value"));
        check(&strict, "s t", json!({ "c": 1 }), Ok(()));
    }

    #[test]
    fn contract_which_route_demands_are_a_partial_order() {
        let open = Access::Authenticated(requirement());
        let optional = Access::Optional(requirement());
        for (more, less) in
            [(&open, &optional), (&open, &Access::Anonymous), (&optional, &Access::Anonymous)]
        {
            assert!(more.demands_at_least(less), "{more:?} {less:?}");
            assert!(!less.demands_at_least(more), "{less:?} {more:?}");
            assert!(more.demands_at_least(more));
        }
        assert!(Access::Anonymous.demands_at_least(&Access::Anonymous));
    }

    #[track_caller]
    fn check_order(more: Requirement, less: Requirement) {
        let (more, less) = (Access::Authenticated(more), Access::Authenticated(less));
        assert!(more.demands_at_least(&less), "{more:?}");
        assert!(!less.demands_at_least(&more), "{less:?}");
        assert!(more.demands_at_least(&more) && less.demands_at_least(&less));
    }

    #[test]
    fn each_demand_makes_a_requirement_stricter() {
        let none = requirement;
        check_order(Requirement { scopes: scopes("a"), ..none() }, none());
        check_order(
            Requirement { scopes: scopes("a b"), ..none() },
            Requirement { scopes: scopes("a"), ..none() },
        );
        check_order(Requirement { any_scope: scopes("a b"), ..none() }, none());
        check_order(
            Requirement { any_scope: scopes("a"), ..none() },
            Requirement { any_scope: scopes("a b"), ..none() },
        );
        check_order(
            Requirement { scopes: scopes("a c"), ..none() },
            Requirement { any_scope: scopes("a b"), ..none() },
        );
        check_order(Requirement { credentials: vec![CredentialKind::Jwt], ..none() }, none());
        check_order(Requirement { issuers: issuers(&["a"]), ..none() }, none());
        check_order(
            Requirement { issuers: issuers(&["a"]), ..none() },
            Requirement { issuers: issuers(&["a", "b"]), ..none() },
        );
        check_order(Requirement { claims: claim("t", &["a"]), ..none() }, none());
        check_order(
            Requirement { claims: claim("t", &["a"]), ..none() },
            Requirement { claims: claim("t", &["a", "b"]), ..none() },
        );
        let (one, two) = (
            Access::Authenticated(Requirement { scopes: scopes("a"), ..none() }),
            Access::Authenticated(Requirement { scopes: scopes("b"), ..none() }),
        );
        assert!(!one.demands_at_least(&two) && !two.demands_at_least(&one));
    }
}
