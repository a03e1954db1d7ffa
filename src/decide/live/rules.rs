//! The scopes that roles allow.
//!
//! Owns the cut of a credential's scopes to its owner's roles. Never grants a scope.

use std::collections::HashMap;

use crate::decide::scope::ScopeSet;

/// Scopes that need a role; all others need none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleRules(HashMap<Box<str>, Box<[Box<str>]>>);

impl RoleRules {
    /// Any one of the roles allows the scope.
    pub fn new(rules: impl IntoIterator<Item = (Box<str>, Box<[Box<str>]>)>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Returns whether a holder of these roles may have a scope.
    #[must_use]
    pub fn allow(&self, scope: &str, roles: &[Box<str>]) -> bool {
        let needed = self.0.get(scope);
        needed.is_none_or(|needed| needed.iter().any(|role| roles.contains(role)))
    }

    /// The scopes that are left of `scopes`; `None` if all are.
    #[must_use]
    pub fn cut(&self, scopes: &ScopeSet, roles: &[Box<str>]) -> Option<ScopeSet> {
        if scopes.iter().all(|scope| self.allow(scope, roles)) {
            return None;
        }
        let left = scopes.iter().filter(|scope| self.allow(scope, roles));
        // Tokens of a set are scope tokens.
        Some(ScopeSet::from_tokens(left).unwrap_or_default())
    }
}
