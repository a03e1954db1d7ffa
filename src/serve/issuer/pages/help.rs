//! Help: endpoints, permissions and ready commands of this host.
//!
//! Owns the page. Everything on it comes from the configuration.

use askama::Template;

use crate::issue::metadata::{JWKS_PATH, WELL_KNOWN};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, html};
use crate::serve::issuer::pages::browser::Browser;
use crate::serve::issuer::pages::frame::Frame;
use crate::serve::issuer::settings::Settings;

#[derive(Template)]
#[template(path = "help.html")]
struct Page<'a> {
    frame: &'a Frame,
    issuer: &'a str,
    base: &'a str,
    token: &'a str,
    authorize: &'a str,
    device: &'a str,
    qr: &'a str,
    scopes: Vec<(&'a str, &'a str)>,
}

impl Issuer {
    pub(super) fn help(&self, browser: &Browser<'_>) -> Shown {
        let (settings, frame) = (&browser.settings, browser.frame());
        let base = settings.api_base();
        let endpoint = |name: &str| format!("{base}{}/{name}", settings.prefix);
        let words = settings.configured.scopes.iter();
        let page = Page {
            frame: &frame,
            issuer: &settings.url,
            base,
            token: &endpoint("token"),
            authorize: &endpoint("authorize"),
            device: &endpoint("device/code"),
            qr: &format!(
                "{}{}/device/qr?user_code=CODE",
                settings.pages_origin(),
                settings.account
            ),
            scopes: words.map(|scope| (&*scope.name, &*scope.text)).collect(),
        };
        html(settings, Forms::Here, &page)
    }
}

/// The addresses that a client is configured with.
pub(super) fn endpoints(settings: &Settings) -> Vec<(&'static str, String)> {
    let base = settings.api_base();
    let endpoint = |name: &str| format!("{base}{}/{name}", settings.prefix);
    let [document, _] = WELL_KNOWN;
    vec![
        ("Issuer", settings.url.to_string()),
        ("Metadata", format!("{base}/.well-known/{document}")),
        ("Authorization", endpoint("authorize")),
        ("Token", endpoint("token")),
        ("Revocation", endpoint("revoke")),
        ("Device", endpoint("device/code")),
        ("Keys", format!("{base}{JWKS_PATH}")),
    ]
}

/// Host and port of the API.
pub(super) fn host_of(settings: &Settings) -> &str {
    let base = settings.api_base();
    base.split_once("://").map_or(base, |(_, host)| host)
}

impl Settings {
    /// Scheme, host and port of the API.
    pub(super) fn api_base(&self) -> &str {
        crate::issue::metadata::origin_of(&self.url)
    }
}
