//! "Try the code flow": the real flow for a developer's own application, in the developer's browser.
//!
//! Owns a redirect URI below the account that counts for one trial alone: of the owner, signed in,
//! with the `state` that this browser was given. Nothing registers it. The code is redeemed at the
//! token endpoint as a client does, the answer is shown with its tokens masked, and the grant ends
//! before the page is sent. An attacker would want a code at a place that the owner did not choose:
//! the URI is fixed, and the state is an HMAC of the session cookie.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::issue::authorization::Target;
use crate::issue::error::OAuthError;
use crate::issue::form::{Form, encode};
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::rows::{self, Application};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, see_other};
use crate::serve::issuer::pages::application_view::purpose;
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::Frame;

/// Characters of a token that the page shows.
const SHOWN_CHARS: usize = 12;

/// One step of a trial.
#[derive(Clone, Copy, Default)]
struct Step<'a> {
    /// The flow cannot be tried, and why.
    obstacle: Option<&'a str>,
    /// The parameters that came back to the redirect URI, the code masked.
    returned: &'a [(&'static str, String)],
    /// The code, for the form that redeems it.
    code: Option<&'a str>,
    /// The answer of the token endpoint, masked.
    answer: Option<&'a str>,
    /// The answer has tokens.
    is_token: bool,
}

#[derive(Template)]
#[template(path = "application_try.html")]
struct Page<'a> {
    frame: &'a Frame,
    id: &'a str,
    name: &'a str,
    redirect_uri: &'a str,
    step: Step<'a>,
    csrf: &'a str,
}

impl Issuer {
    pub(super) async fn try_flow(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        path: (&str, &[&str]),
        is_post: bool,
    ) -> Shown {
        let row = self.own_application(signed_in, path.0).await?;
        match (path.1, is_post) {
            ([], false) => {
                let obstacle = self.obstacle(browser, &row).await?;
                trial_page(browser, &row, Step { obstacle, ..Step::default() })
            }
            ([], true) => {
                browser.check(&browser.form()?, &purpose("try", &row.id))?;
                let obstacle = self.obstacle(browser, &row).await?;
                if obstacle.is_some() {
                    return trial_page(browser, &row, Step { obstacle, ..Step::default() });
                }
                see_other(&browser.settings, &authorize_uri(browser, &row))
            }
            (["callback"], false) => returned(browser, &row),
            (["redeem"], true) => self.redeem_trial(browser, &row).await,
            _ => Err(Trouble::not_found()),
        }
    }

    /// The reason why the flow of an application cannot be tried.
    async fn obstacle(
        &self,
        browser: &Browser<'_>,
        row: &Application,
    ) -> Result<Option<&'static str>, Trouble> {
        let [code, ..] = GRANT_TYPES;
        if !row.grants.contains(code) {
            return Ok(Some(
                "This application has no redirect URI: it uses no authorization code.",
            ));
        }
        if row.confidential && self.live_secret(browser, row).await?.is_none() {
            return Ok(Some(
                "None of its client secrets can be opened here. Add one on the page of the \
                 application.",
            ));
        }
        Ok(None)
    }

    /// A client secret that has not ended, opened.
    async fn live_secret(
        &self,
        browser: &Browser<'_>,
        row: &Application,
    ) -> Result<Option<Secret<String>>, Trouble> {
        let mut secrets = self.find::<rows::Secret>("application", &row.id).await?;
        secrets.retain(|one| one.ends.is_none_or(|end| browser.now < end));
        let sealed = secrets.into_iter().find(|one| one.sealed.is_some());
        let Some(sealed) = sealed else { return Ok(None) };
        self.open_secret(row, &sealed).await.map(Some)
    }

    /// The place of an authorization request: that of a trial, or a registered one.
    pub(super) fn target_of(
        &self,
        browser: &Browser<'_>,
        form: &Form,
        application: &Application,
    ) -> Result<Target, OAuthError> {
        let uri = redirect_uri(browser, application);
        let is_trial = form.value("redirect_uri") == Some(&uri)
            && browser
                .person()
                .is_some_and(|one| Some(&one.person.id) == application.owner.as_ref())
            && is_state(browser, application, form.value("state"));
        if !is_trial {
            return Target::of(form, application);
        }
        let redirect_uris = [&*uri].into_iter().collect();
        Target::of(form, &Application { redirect_uris, ..application.clone() })
    }

    /// Redeems the code as a client does, and ends what it gave.
    async fn redeem_trial(&self, browser: &Browser<'_>, row: &Application) -> Shown {
        let form = browser.form()?;
        browser.check(&form, &purpose("redeem", &row.id))?;
        let code = form.value("code").unwrap_or_default();
        let secret = match row.confidential {
            true => self.live_secret(browser, row).await?,
            false => None,
        };
        let client = client_of(row, secret.as_ref());
        let uri = encode(&redirect_uri(browser, row));
        let verifier = verifier(browser, row);
        let body = format!(
            "grant_type=authorization_code&code={}&redirect_uri={uri}&code_verifier={verifier}&{client}",
            encode(code)
        );
        let answer = match self.token(&request(body), browser.caller).await {
            Ok(response) => response.into_body(),
            Err(failed) => failed.error.to_json().into(),
        };
        let mut answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let refresh = answer["refresh_token"].as_str().map(str::to_owned);
        let is_token = answer["access_token"].is_string();
        for token in refresh.iter().map(String::as_str).chain(answer["access_token"].as_str()) {
            let body = format!("token={}&{client}", encode(token));
            if self.revoke(&request(body), browser.caller).await.is_err() {
                tracing::warn!(application = %row.id, "issuer: the grant of a trial was not ended");
            }
        }
        for member in ["access_token", "refresh_token"] {
            if let Some(text) = answer[member].as_str() {
                answer[member] = masked(text).into();
            }
        }
        let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
        trial_page(browser, row, Step { answer: Some(&text), is_token, ..Step::default() })
    }
}

/// The page of what came back to the redirect URI.
fn returned(browser: &Browser<'_>, row: &Application) -> Shown {
    let query = Form::decode(browser.request.uri().query().unwrap_or_default().as_bytes())?;
    if !is_state(browser, row, query.value("state")) {
        let text = "This answer does not belong to a trial of this browser: its state differs. \
                    Nothing was changed.";
        let back = browser.at(&format!("/applications/{}/try", row.id));
        return Err(Trouble::stale(text).with_link("Start the trial again", back));
    }
    let known = ["code", "state", "iss", "error", "error_description"];
    let shown = |name: &&'static str| {
        let value = query.value(name)?;
        let value = if *name == "code" { masked(value) } else { value.to_owned() };
        Some((*name, value))
    };
    let returned: Vec<_> = known.iter().filter_map(shown).collect();
    let code = query.value("code");
    trial_page(browser, row, Step { returned: &returned, code, ..Step::default() })
}

fn trial_page(browser: &Browser<'_>, row: &Application, step: Step<'_>) -> Shown {
    let act = if step.code.is_some() { "redeem" } else { "try" };
    let page = Page {
        frame: &browser.frame(),
        id: row.id.as_str(),
        name: &row.name,
        redirect_uri: &redirect_uri(browser, row),
        step,
        csrf: &browser.token(&purpose(act, &row.id)),
    };
    html(&browser.settings, Forms::Here, &page)
}

/// The redirect URI of a trial. Nothing registers it.
fn redirect_uri(browser: &Browser<'_>, row: &Application) -> String {
    let page = browser.at(&format!("/applications/{}/try/callback", row.id));
    format!("{}{page}", browser.settings.pages_origin())
}

/// `state` of a trial: bound to the session and the application.
fn state(browser: &Browser<'_>, row: &Application) -> String {
    browser.token(&purpose("state of a trial", &row.id))
}

fn is_state(browser: &Browser<'_>, row: &Application, sent: Option<&str>) -> bool {
    sent.is_some_and(|sent| sent.as_bytes().ct_eq(state(browser, row).as_bytes()).into())
}

/// `code_verifier` of a trial: 43 characters of the base64url alphabet (RFC 7636 section 4.1).
fn verifier(browser: &Browser<'_>, row: &Application) -> String {
    browser.token(&purpose("verifier of a trial", &row.id))
}

/// The authorization request of a trial, as the application would send it.
fn authorize_uri(browser: &Browser<'_>, row: &Application) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier(browser, row).as_bytes()));
    let (id, uri) = (encode(row.id.as_str()), encode(&redirect_uri(browser, row)));
    format!(
        "{}/authorize?response_type=code&client_id={id}&redirect_uri={uri}&state={}\
         &code_challenge={challenge}&code_challenge_method=S256",
        browser.settings.prefix,
        state(browser, row)
    )
}

/// The parameters that authenticate the client.
fn client_of(row: &Application, secret: Option<&Secret<String>>) -> String {
    let id = format!("client_id={}", encode(row.id.as_str()));
    match secret {
        Some(secret) => format!("{id}&client_secret={}", encode(secret.expose())),
        None => id,
    }
}

/// A request of a client.
fn request(body: String) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    request
}

/// The beginning of a secret.
fn masked(secret: &str) -> String {
    let shown: String = secret.chars().take(SHOWN_CHARS).collect();
    format!("{shown}\u{2026}")
}
