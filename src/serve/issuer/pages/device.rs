//! The page for the user code of a device (RFC 8628 section 3.3).
//!
//! Owns the two steps: the code, then consent, every time. A code in the address only fills the
//! field. An attacker would want a person to approve a device of the attacker's: the page names the
//! application and says that only the person who started this is to go on; and would want to guess
//! codes: attempts of a person and wrong codes from an address have a budget.

use askama::Template;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};

use crate::decide::scope::ScopeSet;
use crate::issue::consent;
use crate::issue::credential::UserCode;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::device::DecideDevice;
use crate::issue::rows::{Application, Device, DeviceState};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, notice, refused};
use crate::serve::issuer::pages::authorize::{About, Line, lines};
use crate::serve::issuer::pages::browser::{Browser, SignedIn, shown_name};
use crate::serve::issuer::pages::frame::Frame;

/// The account that wrong codes of an address are charged to.
const CODES: &str = "user-codes";

#[derive(Template)]
#[template(path = "device.html")]
struct Enter<'a> {
    frame: &'a Frame,
    code: &'a str,
    csrf: &'a str,
    mistake: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "device_consent.html")]
struct Consent<'a> {
    frame: &'a Frame,
    about: &'a About,
    lines: &'a [Line],
    person: &'a str,
    address: Option<&'a str>,
    code: &'a str,
    csrf: &'a str,
}

impl Issuer {
    /// The form for the code, and its POST.
    pub(super) async fn device(&self, browser: &Browser<'_>) -> Shown {
        if browser.request.method() == Method::POST {
            return self.entered(browser).await;
        }
        let uri = browser.request.uri();
        if browser.person().is_none() {
            let next = uri.path_and_query().map_or("", PathAndQuery::as_str);
            return self.sign_in_first(browser, next).await;
        }
        let form = Form::decode(uri.query().unwrap_or_default().as_bytes())?;
        let code = form.value("user_code").and_then(UserCode::parse);
        let code = code.map(|code| code.shown().expose().clone()).unwrap_or_default();
        self.enter_page(browser, &code, None)
    }

    fn enter_page(&self, browser: &Browser<'_>, code: &str, mistake: Option<&str>) -> Shown {
        let (frame, csrf) = (browser.frame(), browser.token("device"));
        let page = Enter { frame: &frame, code, csrf: &csrf, mistake };
        match mistake {
            None => html(&browser.settings, Forms::Here, &page),
            Some(_) => refused(&browser.settings, Forms::Here, &page),
        }
    }

    /// A code: the consent page of its application.
    async fn entered(&self, browser: &Browser<'_>) -> Shown {
        let form = browser.form()?;
        let signed_in = browser.require()?;
        browser.check(&form, "device")?;
        let typed = form.value("user_code").unwrap_or_default();
        let Some(code) = UserCode::parse(typed) else {
            let text = "A code has eight letters, such as BCDF-GHJK.";
            return self.enter_page(browser, typed, Some(text));
        };
        let now = self.clock.now().monotonic;
        let attempts = format!("device:{}", signed_in.person.id);
        self.guesses.charge_at(&attempts, &[], now).map_err(too_many)?;
        let Some((device, application)) = self.open_device(browser, &code).await? else {
            self.guesses.charge(CODES, browser.caller.address, now).map_err(too_many)?;
            let text = "This code is unknown, was used, or has expired. Check it, or start again \
                        on the device.";
            return self.enter_page(browser, typed, Some(text));
        };
        self.device_consent(browser, signed_in, (&device, &application), &code).await
    }

    async fn device_consent(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        (device, application): (&Device, &Application),
        code: &UserCode,
    ) -> Shown {
        let scopes = &browser.settings.rules.scopes;
        let left = scopes.still(&device.scopes, application, &signed_in.person);
        if left.is_empty() && !device.scopes.is_empty() {
            let text = "The device asks for access that your account does not have. Nothing was \
                        allowed. Sign in with another account, or ask an operator for the role.";
            return Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::InvalidScope, text));
        }
        let (about, frame, shown) = (self.about(application).await?, browser.frame(), code.shown());
        let page = Consent {
            frame: &frame,
            about: &about,
            lines: &lines(browser, &left, None),
            person: &shown_name(&signed_in.person),
            address: device.address.as_deref(),
            code: shown.expose(),
            csrf: &browser.token(&purpose(code, application, &left)),
        };
        html(&browser.settings, Forms::Here, &page)
    }

    /// The device of a code that no person has decided about.
    async fn open_device(
        &self,
        browser: &Browser<'_>,
        code: &UserCode,
    ) -> Result<Option<(Device, Application)>, Trouble> {
        let digest = self.vault.keyed_digest(code.letters());
        let device = self.find::<Device>("user_code", &digest).await?.pop();
        let is_open =
            |device: &Device| device.state == DeviceState::Pending && browser.now < device.expires;
        let Some(device) = device.filter(is_open) else { return Ok(None) };
        let application = self.find::<Application>("id", &device.application).await?.pop();
        let is_live = |one: &Application| one.ended.is_none() && one.disabled.is_none();
        Ok(application.filter(is_live).map(|application| (device, application)))
    }

    /// A person's decision.
    pub(super) async fn decide_device(&self, browser: &Browser<'_>) -> Shown {
        let form = browser.form()?;
        let signed_in = browser.require()?;
        let gone = || {
            Trouble::stale("The code was used before or has expired. Start again on the device.")
        };
        let code = form.value("user_code").and_then(UserCode::parse).ok_or_else(gone)?;
        let found = self.open_device(browser, &code).await?;
        // A code that is not open and a form that is not of its page have one answer and one budget: the
        // difference would tell which codes are open.
        // Scopes that the person has since the page was shown were not allowed.
        let scopes = &browser.settings.rules.scopes;
        let left = |(device, application): &(Device, Application)| {
            scopes.still(&device.scopes, application, &signed_in.person)
        };
        let is_shown = |found: &(Device, Application)| {
            browser.check(&form, &purpose(&code, &found.1, &left(found))).is_ok()
        };
        let Some(found) = found.filter(is_shown) else {
            let now = self.clock.now().monotonic;
            self.guesses.charge(CODES, browser.caller.address, now).map_err(too_many)?;
            return Err(gone());
        };
        let allow = match form.value("decision") {
            Some("allow") => Some(left(&found)),
            Some("deny") => None,
            _ => return Err(Trouble::stale("Choose Allow or Deny.")),
        };
        let (is_allowed, (device, application)) = (allow.is_some(), found);
        let intent = DecideDevice {
            user_code: device.user_code,
            person: signed_in.person.id.clone(),
            auth_time: signed_in.session.auth_time,
            allow,
        };
        let done = self.store.run(intent, browser.acting(&signed_in.person.id)).await?;
        match done.outcome {
            Ok(()) => self.decided(browser, is_allowed, &application),
            Err(Refusal::Unknown(..)) => Err(gone()),
            Err(refusal) => Err(OAuthError::from(&refusal).into()),
        }
    }

    fn decided(
        &self,
        browser: &Browser<'_>,
        is_allowed: bool,
        application: &Application,
    ) -> Result<Response<Bytes>, Trouble> {
        let name = &application.name;
        let said = if is_allowed {
            ("Device connected", format!("{name} has access now. Go back to the device."))
        } else {
            ("Request denied", format!("{name} gets no access. You can close this page."))
        };
        let link = ("Authorized applications", browser.at("/authorized"));
        notice(&browser.settings, &browser.frame(), (said.0, &said.1), Some(&link))
    }
}

fn too_many(wait: std::time::Duration) -> Trouble {
    let text = "Too many codes were tried. Wait a minute, then try again.";
    let trouble = Trouble::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, text);
    Trouble { retry_after: Some(wait.as_secs() + 1), ..trouble }
}

/// A consent is for one code and one application, as they were shown.
fn purpose(code: &UserCode, application: &Application, scopes: &ScopeSet) -> String {
    let (letters, shown) = (code.letters(), consent::shown(application));
    format!("device\n{letters}\n{}\n{shown}\n{scopes}", application.id)
}
