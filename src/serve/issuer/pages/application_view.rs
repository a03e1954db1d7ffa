//! The facts about an application that several pages share.
//!
//! Owns what a person may do with an application, and the purposes of the forms. Never reads the
//! store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;

use crate::base::sha256::sha256;
use crate::config::model::issuer::Registration;
use crate::issue::error::ErrorCode;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::person::DEVELOPER;
use crate::issue::rows::{Application, Id};
use crate::serve::issuer::pages::answer::Trouble;
use crate::serve::issuer::pages::browser::{Browser, SignedIn};

/// One secret of an application.
pub(super) struct SecretRow {
    pub(super) id: String,
    pub(super) created: String,
    pub(super) used: String,
    pub(super) ends: String,
    pub(super) can_be_seen: bool,
}

/// Returns whether the person may register applications.
pub(super) fn may_register(browser: &Browser<'_>, signed_in: &SignedIn) -> bool {
    match browser.settings.configured.registration {
        Registration::Anyone => true,
        Registration::Role => signed_in.person.roles.contains(DEVELOPER),
        Registration::Off => false,
    }
}

/// The form was sent before.
pub(super) fn used_before(browser: &Browser<'_>) -> Trouble {
    let text = "This form was sent before, and it did what it says. Nothing was made twice.";
    Trouble::new(StatusCode::CONFLICT, ErrorCode::InvalidRequest, text)
        .with_link("Your applications", browser.at("/applications"))
}

/// The purpose of a form about an application.
pub(super) fn purpose(act: &str, application: &Id) -> String {
    format!("application\n{act}\n{application}")
}

/// Returns whether an operator set up an application further than a developer may: only an operator
/// changes its redirect URIs then.
pub(super) fn is_fixed(row: &Application) -> bool {
    let [_, credentials, ..] = GRANT_TYPES;
    let is_longer = row.access_lifetime.is_some();
    row.first_party || row.introspect || is_longer || row.grants.contains(credentials)
}

/// Names the values that a form was opened with.
pub(super) fn version(row: &Application) -> String {
    let Application { name, site, profile, redirect_uris, grants, scopes, approved, .. } = row;
    let text = format!("{:?}", (name, site, profile, redirect_uris, grants, scopes, approved));
    URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
}
