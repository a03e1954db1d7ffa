//! Help: endpoints, permissions and ready commands of this host.
//!
//! Owns the page. Everything on it comes from the configuration.

use askama::Template;

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
            scopes: words.map(|scope| (&*scope.name, &*scope.text)).collect(),
        };
        html(settings, Forms::Here, &page)
    }
}

impl Settings {
    /// Scheme, host and port of the API.
    pub(super) fn api_base(&self) -> &str {
        crate::issue::metadata::origin_of(&self.url)
    }
}
