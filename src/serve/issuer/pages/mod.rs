//! The pages for people: sign-in, consent, device, account.
//!
//! Owns which page a path has, and what every page does first: the host, the browser, the session.
//! The decisions themselves are intents. Never decides anything on a GET.

mod answer;
mod application_edit;
mod application_form;
mod application_secrets;
mod application_try;
mod application_view;
mod applications;
mod assets;
mod authorize;
mod authorized;
mod browser;
mod credential_form;
mod credential_test;
mod credential_view;
mod credentials;
mod device;
mod device_qr;
mod frame;
mod help;
mod profile;
mod reset;
mod scopes;
mod sessions;
mod sign_in;
mod sign_in_app;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, header};

use crate::decide::policy::Endpoint;
use crate::issue::intent::{Intent, Query};
use crate::issue::rows::{Column, CredentialKind, Id, Row};
use crate::serve::issuer::pages::answer::{Shown, Trouble, see_other, trouble};
use crate::serve::issuer::pages::browser::Browser;
use crate::serve::issuer::pages::frame::Frame;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::{Caller, Issuer};
use crate::serve::store::Failure;

impl Issuer {
    /// Answers a request for a page.
    pub(super) async fn page(
        &self,
        endpoint: Endpoint,
        request: &Request<Bytes>,
        caller: &Caller,
    ) -> Response<Bytes> {
        let settings = self.settings.load_full();
        // Before the session: the page of an outage has a style, too.
        if let Some(asset) = asset(&settings, request) {
            return asset;
        }
        let browser = match self.browser(request, caller).await {
            Ok(browser) => browser,
            Err(error) => {
                let account = settings.account.to_string();
                return trouble(&settings, &Frame { account, ..Frame::default() }, &error);
            }
        };
        let shown = match elsewhere(&browser, endpoint) {
            Some(target) => see_other(&settings, &target),
            None => self.show(endpoint, &browser).await,
        };
        let response = shown.unwrap_or_else(|error| trouble(&settings, &browser.frame(), &error));
        browser.finish(response)
    }

    async fn show(&self, endpoint: Endpoint, browser: &Browser<'_>) -> Shown {
        match endpoint {
            Endpoint::Authorize => self.authorize(browser).await,
            Endpoint::Device => self.device(browser).await,
            _ => self.account(browser).await,
        }
    }

    async fn account(&self, browser: &Browser<'_>) -> Shown {
        let path = browser.request.uri().path();
        let path = path.strip_prefix(&*browser.settings.account).unwrap_or_default();
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_post = browser.request.method() == Method::POST;
        match (&*segments, is_post) {
            (["sign-in"], false) => self.sign_in_first(browser, &browser.at("/")).await,
            (["sign-in"], true) => self.sign_in(browser).await,
            (["sign-in", "app"], true) => self.sign_in_by_button(browser).await,
            (["continue", sealed], false) => self.come_back(browser, sealed).await,
            (["sign-out"], true) => self.sign_out(browser).await,
            (["consent"], true) => self.consent(browser).await,
            (["device", "qr"], false) => self.device_qr(browser),
            (["device"], true) => self.device(browser).await,
            (["device", "decide"], true) => self.decide_device(browser).await,
            (["reset", token], is_post) => self.reset(browser, token, is_post).await,
            (
                ["sign-out" | "consent" | "device"] | ["device", "decide"] | ["sign-in", "app"],
                false,
            ) => Err(Trouble::not_found()),
            (_, false) if browser.person().is_none() => {
                let target = browser.request.uri().path_and_query().map(PathAndQuery::as_str);
                self.sign_in_first(browser, target.unwrap_or_default()).await
            }
            _ => self.own(browser, &segments, is_post).await,
        }
    }

    /// The pages of a person who is signed in.
    async fn own(&self, browser: &Browser<'_>, segments: &[&str], is_post: bool) -> Shown {
        let signed_in = browser.require()?;
        if !is_post && needs_recent_sign_in(segments) && browser.must_sign_in_again() {
            return self.sign_in_recently(browser, browser.request.uri().path());
        }
        match segments {
            ["sign-in", "again"] if !is_post => see_other(&browser.settings, &browser.at("/")),
            [] => see_other(&browser.settings, &self.first_page(browser)),
            ["tokens", rest @ ..] => {
                self.credentials(browser, signed_in, (CredentialKind::Pat, rest), is_post).await
            }
            ["keys", rest @ ..] => {
                self.credentials(browser, signed_in, (CredentialKind::Key, rest), is_post).await
            }
            ["authorized", rest @ ..] => self.authorized(browser, signed_in, rest, is_post).await,
            ["applications", rest @ ..] => {
                self.applications(browser, signed_in, rest, is_post).await
            }
            ["sessions"] => self.sessions(browser, signed_in, is_post).await,
            ["profile"] => self.profile(browser, signed_in, is_post).await,
            ["help"] if !is_post => self.help(browser),
            _ => Err(Trouble::not_found()),
        }
    }

    fn first_page(&self, browser: &Browser<'_>) -> String {
        let has_tokens = browser.settings.configured.personal_access_tokens.is_some();
        browser.at(if has_tokens { "/tokens" } else { "/authorized" })
    }

    /// Rows of the store whose column has a value.
    async fn find<R: Row>(
        &self,
        column: &'static str,
        value: &impl Column,
    ) -> Result<Vec<R>, Trouble> {
        self.rows(Query::all::<R>(column, value)).await
    }

    /// The same, without those that have ended.
    async fn find_live<R: Row>(
        &self,
        column: &'static str,
        value: &impl Column,
    ) -> Result<Vec<R>, Trouble> {
        self.rows(Query { live: true, ..Query::all::<R>(column, value) }).await
    }

    async fn rows<R: Row>(&self, query: Query) -> Result<Vec<R>, Trouble> {
        let rows = self.store.read(query).await?.into_iter();
        Ok(rows.map(R::of).collect::<Result<_, _>>().map_err(Failure::from)?)
    }

    /// Runs an intent of a person.
    async fn act<I: Intent>(
        &self,
        browser: &Browser<'_>,
        person: &Id,
        intent: I,
    ) -> Result<I::Answer, Trouble> {
        let done = self.store.run(intent, browser.acting(person)).await?;
        done.outcome.map_err(|refusal| Trouble::from(&refusal))
    }
}

/// Returns whether a page begins what needs a recent sign-in.
fn needs_recent_sign_in(segments: &[&str]) -> bool {
    matches!(
        segments,
        ["tokens" | "keys" | "applications", "new"]
            | ["tokens" | "keys", _, "rotate"]
            | ["applications", _, "edit"]
            | ["sign-in", "again"]
    )
}

fn is_read(request: &Request<Bytes>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// The style sheet and the script.
fn asset(settings: &Settings, request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let path = request.uri().path().strip_prefix(&*settings.account)?;
    match path {
        "/style.css" if is_read(request) => Some(assets::style(settings)),
        "/script.js" if is_read(request) => Some(assets::script(settings)),
        _ => None,
    }
}

/// The same page on the host of the pages, where they have one of their own.
fn elsewhere(browser: &Browser<'_>, endpoint: Endpoint) -> Option<String> {
    let pages = browser.settings.configured.pages.as_deref()?;
    let host = browser.request.headers().get(header::HOST)?.to_str().ok()?;
    let is_there = pages.split_once("://").is_some_and(|(_, own)| own.eq_ignore_ascii_case(host));
    if is_there {
        return None;
    }
    let sent = (endpoint == Endpoint::Authorize).then(|| authorize::as_get(browser)).flatten();
    let uri = browser.request.uri();
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    Some(format!("{pages}{}", sent.as_deref().unwrap_or(target)))
}
