//! The scopes that a form offers to a person.
//!
//! Owns which ones a person holds, and which of them a form has ticked. Never gives one.

use crate::decide::scope::ScopeSet;
use crate::issue::form::Form;
use crate::serve::issuer::pages::browser::{Browser, SignedIn};

/// The scopes that the person holds.
pub(super) fn held(browser: &Browser<'_>, signed_in: &SignedIn) -> ScopeSet {
    let scopes = &browser.settings.rules.scopes;
    let cut = scopes.roles.cut(&scopes.known, &signed_in.person.roles.0);
    cut.unwrap_or_else(|| scopes.known.clone())
}

/// Those of the offered scopes whose box is ticked.
pub(super) fn ticked(offered: &ScopeSet, form: &Form) -> ScopeSet {
    let ticked = offered.iter().enumerate();
    let ticked = ticked.filter(|(at, _)| form.value(&format!("scope-{at}")).is_some());
    // Tokens of a set are scope tokens.
    ScopeSet::from_tokens(ticked.map(|(_, name)| name)).unwrap_or_default()
}
