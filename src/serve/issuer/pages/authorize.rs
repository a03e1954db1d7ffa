//! The authorization endpoint and the consent page (RFC 6749 section 4.1, RFC 9207).
//!
//! Owns the order: client and redirect URI, then the person, then the rest of the request, then
//! consent. Until client and redirect URI are good and a person has signed in, nothing is sent
//! anywhere but a page. A GET never decides: it gives a code only where the person consented to
//! exactly this before. Never writes for a caller who is not signed in: the request travels in the
//! form, sealed for one session.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, header};

use crate::decide::api_key::format::{SecretKind, generate};
use crate::decide::request::framing::TARGET_BYTES_MAX;
use crate::decide::scope::ScopeSet;
use crate::issue::application::is_reviewed;
use crate::issue::authorization::{Prompt, Target, Wanted, client, query};
use crate::issue::consent;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::{Form, check_query};
use crate::issue::intent::Refusal;
use crate::issue::intent::code::{Given, GrantCode};
use crate::issue::rows::{Application, Code, Person, RecordedConsent, Sealed, SecretDigest};
use crate::issue::safe_store::Context;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, see_other};
use crate::serve::issuer::pages::browser::{Browser, SignedIn, shown_name};
use crate::serve::issuer::pages::frame::{Frame, date};
use crate::serve::issuer::pages::sign_in::Return;
use crate::serve::issuer::vault::{context, fill};

/// `result` of a success, and of a request that a person is asked about.
const OK: &str = "ok";
const PAGE: &str = "page";

/// One scope of the consent page.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) is_new: bool,
}

/// What the consent page says about an application.
pub(super) struct About {
    pub(super) name: String,
    pub(super) registered_by: String,
    pub(super) since: String,
    pub(super) site: Option<String>,
    pub(super) is_reviewed: bool,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Page<'a> {
    frame: &'a Frame,
    about: &'a About,
    host: &'a str,
    is_native: bool,
    lines: &'a [Line],
    person: &'a str,
    lasts: &'a str,
    request: &'a str,
    csrf: &'a str,
}

/// An authorization request of a person who is signed in.
struct Asked<'a> {
    form: &'a Form,
    application: &'a Application,
    target: &'a Target,
    signed_in: &'a SignedIn,
}

/// What a consent page showed, as its form brings it back.
struct Sheet<'t> {
    /// The digest of the application.
    shown: &'t str,
    scopes: ScopeSet,
    /// The authorization request.
    request: &'t str,
}

impl<'t> Sheet<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (shown, rest) = text.split_once('\n')?;
        let (scopes, request) = rest.split_once('\n')?;
        Some(Self { shown, scopes: ScopeSet::parse(scopes).ok()?, request })
    }
}

impl Issuer {
    /// GET or POST of the endpoint: an authorization request either way.
    pub(super) async fn authorize(&self, browser: &Browser<'_>) -> Shown {
        let shown = self.authorize_uncounted(browser).await;
        let result = match &shown {
            Err(error) => error.code.as_str(),
            Ok(response) => match response.extensions().get::<ErrorCode>() {
                Some(code) => code.as_str(),
                None if response.headers().contains_key(header::LOCATION) => OK,
                None => PAGE,
            },
        };
        self.people.authorizations.with_label_values(&[result]).inc();
        shown
    }

    async fn authorize_uncounted(&self, browser: &Browser<'_>) -> Shown {
        let form = request_form(browser)?;
        // The GET brings the session cookie, which a POST of another site lacks.
        if let Some(again) = as_get(browser).filter(|_| browser.is_new()) {
            return see_other(&browser.settings, &again);
        }
        let application = self.application_of(&form).await?;
        let target = self.target_of(browser, &form, &application)?;
        let prompt = match Prompt::read(&form) {
            Ok(prompt) => prompt,
            Err(error) => return self.refuse_request(browser, &application, &target, &error),
        };
        let Some(signed_in) = browser.person().filter(|_| !prompt.login) else {
            if prompt.none {
                if let Some(known) = self.signed_in_there(browser).await? {
                    return self.start_external(browser, &known, &own_path(browser, &form)).await;
                }
                let error = OAuthError::new(ErrorCode::LoginRequired, "no person is signed in");
                return self.refuse_request(browser, &application, &target, &error);
            }
            return self.sign_in_again(browser, &form, prompt.login).await;
        };
        let asked = Asked { form: &form, application: &application, target: &target, signed_in };
        self.answer_request(browser, &asked, prompt).await
    }

    /// A request whose client and redirect URI are good, of a person who is signed in.
    async fn answer_request(
        &self,
        browser: &Browser<'_>,
        asked: &Asked<'_>,
        prompt: Prompt,
    ) -> Shown {
        let wanted = match self.wanted(browser, asked) {
            Ok(wanted) => wanted,
            Err(error) => {
                return self.refuse_request(browser, asked.application, asked.target, &error);
            }
        };
        let known = self.consent_of(&asked.signed_in.person, asked.application).await?;
        let registered = &asked.target.registered;
        let is_needed =
            consent::is_needed(asked.application, registered, known.as_ref(), &wanted.scopes);
        if !is_needed && !prompt.consent {
            let first_party = asked.application.first_party;
            let given = if first_party { Given::FirstParty } else { Given::Before };
            return self.give_code(browser, asked, wanted, given).await;
        }
        if prompt.none {
            let error = OAuthError::new(ErrorCode::ConsentRequired, "consent is required");
            return self.refuse_request(browser, asked.application, asked.target, &error);
        }
        self.consent_page(browser, asked, &wanted, known.as_ref()).await
    }

    /// The scopes that the person may allow.
    fn wanted(&self, browser: &Browser<'_>, asked: &Asked<'_>) -> Result<Wanted, OAuthError> {
        let scopes = &browser.settings.rules.scopes;
        let wanted = Wanted::read(asked.form, asked.application, scopes)?;
        let left = scopes.still(&wanted.scopes, asked.application, &asked.signed_in.person);
        if left.is_empty() && !wanted.scopes.is_empty() {
            let description = "none of the scopes is allowed to this person";
            return Err(OAuthError::new(ErrorCode::InvalidScope, description));
        }
        Ok(Wanted { scopes: left, ..wanted })
    }

    /// The sign-in page, also for a person who is to sign in again.
    async fn sign_in_again(&self, browser: &Browser<'_>, form: &Form, fresh: bool) -> Shown {
        let back = Return::to(browser, &own_path(browser, form), fresh);
        self.sign_in_form(browser, back).await
    }

    /// The application of a request.
    async fn application_of(&self, form: &Form) -> Result<Application, Trouble> {
        let id = client(form)?;
        let found = self.find::<Application>("id", &id).await?.pop();
        found.filter(|one| one.ended.is_none() && one.disabled.is_none()).ok_or_else(|| {
            Trouble::stale("The application that sent you here is not known. Check client_id.")
        })
    }

    async fn consent_of(
        &self,
        person: &Person,
        application: &Application,
    ) -> Result<Option<RecordedConsent>, Trouble> {
        let id = consent::id(&person.id, &application.id);
        Ok(self.find::<RecordedConsent>("id", &id).await?.pop())
    }

    /// An error: to the redirect URI of an application that an operator approved, else on a page.
    fn refuse_request(
        &self,
        browser: &Browser<'_>,
        application: &Application,
        target: &Target,
        error: &OAuthError,
    ) -> Shown {
        let may_redirect = browser.person().is_some() || error.code() == ErrorCode::LoginRequired;
        let uri = target.with_error(error, &browser.settings.url);
        if may_redirect && is_reviewed(application) {
            let mut response = see_other(&browser.settings, &uri)?;
            response.extensions_mut().insert(error.code());
            return Ok(response);
        }
        let error = Trouble::from(error.clone());
        let is_web = target.registered.origin().is_some();
        let is_shown = browser.person().is_some() && is_web;
        Err(if is_shown { error.with_link("Back to the application", uri) } else { error })
    }

    async fn give_code(
        &self,
        browser: &Browser<'_>,
        asked: &Asked<'_>,
        wanted: Wanted,
        given: Given,
    ) -> Shown {
        let text = generate(SecretKind::AuthorizationCode, &mut fill)
            .map_err(|error| Trouble::fault(&error))?;
        let lifetime = browser.settings.configured.codes.as_secs();
        let code = Code {
            digest: SecretDigest::of_secret(text.expose()),
            application: asked.application.id.clone(),
            person: asked.signed_in.person.id.clone(),
            redirect_uri: asked.target.presented.clone(),
            challenge: wanted.challenge,
            scopes: wanted.scopes,
            auth_time: asked.signed_in.session.auth_time,
            expires: browser.now,
            grant_id: None,
            ended: None,
        };
        let caller = browser.acting(&code.person);
        let done = self.store.run(GrantCode { code, given, lifetime }, caller).await?;
        match done.outcome {
            Ok(()) => {
                let uri = asked.target.with_code(text.expose(), &browser.settings.url);
                see_other(&browser.settings, &uri)
            }
            Err(Refusal::Stale(_)) => {
                let again =
                    format!("{}/authorize?{}", browser.settings.prefix, query(asked.form, true));
                let text = "The application has changed since the page was shown. Nothing was \
                            allowed.";
                Err(Trouble::stale(text).with_link("Look at the request again", again))
            }
            Err(refusal) => {
                let error = OAuthError::from(&refusal);
                self.refuse_request(browser, asked.application, asked.target, &error)
            }
        }
    }

    async fn consent_page(
        &self,
        browser: &Browser<'_>,
        asked: &Asked<'_>,
        wanted: &Wanted,
        known: Option<&RecordedConsent>,
    ) -> Shown {
        let shown = consent::shown(asked.application);
        let text = format!("{shown}\n{}\n{}", wanted.scopes, query(asked.form, true));
        let sealed = self.vault.seal_own(&request_place(asked.signed_in)?, text.as_bytes());
        let request = sealed.map_err(|error| Trouble::fault(&error))?.0;
        let known = known.filter(|known| known.is_of(asked.application));
        let (about, frame) = (self.about(asked.application).await?, browser.frame());
        let page = Page {
            frame: &frame,
            about: &about,
            host: consent::host_of(&asked.target.uri),
            is_native: asked.target.registered.is_native(),
            lines: &lines(browser, &wanted.scopes, known.map(|known| &known.scopes)),
            person: &shown_name(&asked.signed_in.person),
            lasts: &lasts(browser, asked.application),
            request: &request,
            csrf: &browser.token(&purpose(&request)),
        };
        html(&browser.settings, Forms::Leave, &page)
    }

    /// The facts of the consent page.
    pub(super) async fn about(&self, application: &Application) -> Result<About, Trouble> {
        let owner = match &application.owner {
            Some(owner) => self.find::<Person>("id", owner).await?.pop(),
            None => None,
        };
        let registered_by = match (&application.owner, owner) {
            (None, _) => "the operator of this service".to_owned(),
            (Some(_), Some(person)) => shown_name(&person),
            (Some(id), None) => id.to_string(),
        };
        Ok(About {
            name: application.name.to_string(),
            registered_by,
            since: date(application.created),
            site: application.site.as_deref().map(str::to_owned),
            is_reviewed: is_reviewed(application),
        })
    }

    /// A person's decision.
    pub(super) async fn consent(&self, browser: &Browser<'_>) -> Shown {
        let form = browser.form()?;
        let signed_in = browser.require()?;
        let sealed = form.value("request").unwrap_or_default();
        browser.check(&form, &purpose(sealed))?;
        let opened = self.vault.open_own(&request_place(signed_in)?, &Sealed(sealed.into()));
        let text = opened.ok().and_then(|text| String::from_utf8(text.expose().clone()).ok());
        let Some(sheet) = text.as_deref().and_then(Sheet::parse) else {
            return Err(Trouble::stale(
                "This form belongs to an earlier request. Nothing was allowed. Go back to the \
                 application and start again.",
            ));
        };
        let request = Form::decode(sheet.request.as_bytes())?;
        let application = self.application_of(&request).await?;
        let target = self.target_of(browser, &request, &application)?;
        let asked = Asked { form: &request, application: &application, target: &target, signed_in };
        let shown = self.decide_request(browser, &asked, form.value("decision"), &sheet).await;
        let result = match &shown {
            Err(error) => error.code.as_str(),
            Ok(response) => {
                response.extensions().get::<ErrorCode>().map_or(OK, |code| code.as_str())
            }
        };
        self.people.authorizations.with_label_values(&[result]).inc();
        shown
    }

    async fn decide_request(
        &self,
        browser: &Browser<'_>,
        asked: &Asked<'_>,
        decision: Option<&str>,
        sheet: &Sheet<'_>,
    ) -> Shown {
        let error = match (decision, self.wanted(browser, asked)) {
            (Some("allow"), Ok(wanted)) => {
                // What the application may ask for since the page was shown was not allowed.
                let scopes = wanted.scopes.intersection(&sheet.scopes);
                let (wanted, given) = (Wanted { scopes, ..wanted }, Given::Now(sheet.shown.into()));
                return self.give_code(browser, asked, wanted, given).await;
            }
            (Some("allow"), Err(error)) => error,
            (Some("deny"), _) => OAuthError::from(&Refusal::AccessDenied),
            _ => return Err(Trouble::stale("Choose Allow or Deny.")),
        };
        self.refuse_request(browser, asked.application, asked.target, &error)
    }
}

/// Path and query of the same request, to come back to.
fn own_path(browser: &Browser<'_>, form: &Form) -> String {
    format!("{}?{}", browser.request.uri().path(), query(form, true))
}

/// A request that was sent by POST as path and query, where they are not too long for one.
pub(super) fn as_get(browser: &Browser<'_>) -> Option<String> {
    let is_post = browser.request.method() == Method::POST;
    let form = is_post.then(|| request_form(browser).ok()).flatten()?;
    let target = format!("{}?{}", browser.request.uri().path(), query(&form, false));
    (target.len() <= TARGET_BYTES_MAX).then_some(target)
}

/// The parameters: in the query of a GET, in the body of a POST.
fn request_form(browser: &Browser<'_>) -> Result<Form, Trouble> {
    let request = browser.request;
    if request.method() == Method::POST {
        check_query(request.uri().query())?;
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        return Ok(Form::parse(content_type, request.body())?);
    }
    check_query(request.uri().query())?;
    Ok(Form::decode(request.uri().query().unwrap_or_default().as_bytes())?)
}

/// The scopes with their words; those that were not allowed before are marked.
pub(super) fn lines(
    browser: &Browser<'_>,
    scopes: &ScopeSet,
    known: Option<&ScopeSet>,
) -> Vec<Line> {
    let words = &browser.settings.configured.scopes;
    let line = |name: &str| {
        let text = words.iter().find(|one| *one.name == *name);
        Line {
            name: name.to_owned(),
            text: text.map_or_else(|| name.to_owned(), |one| one.text.to_string()),
            is_new: known.is_some_and(|known| !known.contains(name)),
        }
    };
    scopes.iter().map(line).collect()
}

/// How long the application keeps access, in words.
fn lasts(browser: &Browser<'_>, application: &Application) -> String {
    let lifetimes = &browser.settings.rules.lifetimes;
    let seconds = if application.grants.contains("refresh_token") {
        lifetimes.refresh(application)
    } else {
        lifetimes.access(application)
    };
    match seconds {
        0..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn purpose(request: &str) -> String {
    format!("consent\n{request}")
}

/// Good in the session in which the page was shown.
fn request_place(signed_in: &SignedIn) -> Result<Context, Trouble> {
    let row = URL_SAFE_NO_PAD.encode(signed_in.session.digest.0);
    context("pages", "request", &row).map_err(|error| Trouble::fault(&error))
}
