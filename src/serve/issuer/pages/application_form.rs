//! The form with which a developer registers or changes an application.
//!
//! Owns what the form accepts: the rules of a description by a developer, and permissions that the
//! person holds. The form names the id of the application, so that a reload makes no second one.
//! Never sets what is for operators.

use askama::Template;

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::application::{Author, ClientType, Description, Mistake as Rule, is_reviewed};
use crate::issue::credential::IdKind;
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::applications::CreateApplication;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::rows::{Application, Id, Profile};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused, sentence};
use crate::serve::issuer::pages::application_secrets::reveal;
use crate::serve::issuer::pages::application_view::{
    may_register, purpose as purpose_of, used_before, version,
};
use crate::serve::issuer::pages::authorize::{Line, lines};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about};
use crate::serve::issuer::pages::scopes::{held, ticked};
use crate::serve::issuer::vault::fill;

/// The application that a form is about.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A new one, of this id.
    New(&'a Id),
    /// One that exists.
    Edit(&'a Application),
}

impl Target<'_> {
    fn id(&self) -> &Id {
        match self {
            Self::New(id) => id,
            Self::Edit(row) => &row.id,
        }
    }

    /// The type, which does not change: secrets and tokens depend on it.
    fn client_type(&self, form: &Form) -> Option<ClientType> {
        let kind = match self {
            Self::Edit(row) if row.confidential => Some("confidential"),
            Self::Edit(_) => Some("public"),
            Self::New(_) => form.value("type"),
        };
        match kind? {
            "confidential" => Some(ClientType::Confidential),
            "public" => Some(ClientType::Public),
            _ => None,
        }
    }
}

/// One permission of the form.
struct Choice {
    field: String,
    line: Line,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "application_new.html")]
struct New<'a> {
    frame: &'a Frame,
    /// An application that exists is changed.
    is_edit: bool,
    /// The name in force.
    before: &'a str,
    is_reviewed: bool,
    /// Names the values that the form was opened with.
    seen: &'a str,
    name: &'a str,
    site: &'a str,
    kind: &'a str,
    profile: &'a str,
    redirect_uris: &'a str,
    has_device: bool,
    choices: &'a [Choice],
    has_compat: bool,
    must_confirm: bool,
    id: &'a str,
    csrf: &'a str,
    mistakes: &'a [Mistake],
}

impl New<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

impl Issuer {
    pub(super) fn new_application(&self, browser: &Browser<'_>, signed_in: &SignedIn) -> Shown {
        check_may_register(browser, signed_in)?;
        let id = IdKind::Application.generate(&mut fill).map_err(|error| Trouble::fault(&error))?;
        self.application_page(browser, signed_in, (&Form::default(), Target::New(&id)), &[])
    }

    /// The form; with the values that were sent.
    pub(super) fn application_page(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        (form, target): (&Form, Target<'_>),
        mistakes: &[Mistake],
    ) -> Shown {
        let held = held(browser, signed_in);
        let choice = |(at, line)| {
            let field = format!("scope-{at}");
            let is_chosen = form.value(&field).is_some();
            Choice { field, line, is_chosen }
        };
        let choices: Vec<_> =
            lines(browser, &held, None).into_iter().enumerate().map(choice).collect();
        let (frame, id) = (browser.frame(), target.id());
        let edited = match target {
            Target::New(_) => None,
            Target::Edit(row) => Some((row, version(row))),
        };
        let seen = edited.as_ref().map_or("", |(_, seen)| seen);
        let purpose = match edited {
            None => purpose(id),
            Some(_) => purpose_of(&format!("edit\n{seen}"), id),
        };
        let page = New {
            frame: &frame,
            is_edit: edited.is_some(),
            before: edited.as_ref().map_or("", |(row, _)| &row.name),
            is_reviewed: edited.as_ref().is_some_and(|(row, _)| is_reviewed(row)),
            seen,
            name: form.value("name").unwrap_or_default(),
            site: form.value("site").unwrap_or_default(),
            kind: match target.client_type(form) {
                Some(ClientType::Confidential) => "confidential",
                Some(ClientType::Public) => "public",
                None => "",
            },
            profile: form.value("profile").unwrap_or_default(),
            redirect_uris: form.value("redirect_uris").unwrap_or_default(),
            has_device: form.value("device").is_some(),
            choices: &choices,
            has_compat: may_be_compat(browser, target),
            must_confirm: browser.must_confirm(),
            id: id.as_str(),
            csrf: &browser.token(&purpose),
            mistakes,
        };
        match mistakes {
            [] => html(&browser.settings, Forms::Here, &page),
            _ => refused(&browser.settings, Forms::Here, &page),
        }
    }

    pub(super) async fn register(&self, browser: &Browser<'_>, signed_in: &SignedIn) -> Shown {
        check_may_register(browser, signed_in)?;
        let form = browser.form()?;
        let id = Id::from(form.value("id").unwrap_or_default());
        browser.check(&form, &purpose(&id))?;
        let (row, mut mistakes) = describe(browser, signed_in, &form, Target::New(&id))?;
        if mistakes.is_empty() {
            mistakes.extend(self.confirm(browser, signed_in, &form).await?);
        }
        let Some(row) = row.filter(|_| mistakes.is_empty()) else {
            return self.application_page(browser, signed_in, (&form, Target::New(&id)), &mistakes);
        };
        let (secret, text) = if row.confidential {
            let secret_id = IdKind::ClientSecret.generate(&mut fill);
            let secret_id = secret_id.map_err(|error| Trouble::fault(&error))?;
            let made = self.new_client_secret(&signed_in.person.id, secret_id).await?;
            (Some(made.0), Some(made.1))
        } else {
            (None, None)
        };
        let intent = CreateApplication { application: row, secret };
        let done = self.store.run(intent, browser.acting(&signed_in.person.id)).await?;
        match done.outcome {
            Ok(row) => reveal(browser, &row, text.as_ref().map(|text| text.expose().as_str())),
            Err(Refusal::Exists(..)) => Err(used_before(browser)),
            Err(refusal @ Refusal::Limit(_)) => {
                let text = format!("{}.", sentence(&refusal.to_string()));
                let mistakes = [Mistake { field: "name", text }];
                self.application_page(browser, signed_in, (&form, Target::New(&id)), &mistakes)
            }
            Err(refusal) => Err(Trouble::from(&refusal)),
        }
    }
}

/// The row that a form describes, and every rule that it breaks.
pub(super) fn describe(
    browser: &Browser<'_>,
    signed_in: &SignedIn,
    form: &Form,
    target: Target<'_>,
) -> Result<(Option<Application>, Vec<Mistake>), Trouble> {
    let mut mistakes = Vec::new();
    let mut choose = |field: &'static str, text: &str| {
        mistakes.push(Mistake { field, text: text.to_owned() });
    };
    let client_type = target.client_type(form);
    let profile = match form.value("profile") {
        Some("strict") => Some(Profile::Strict),
        Some("compat") if may_be_compat(browser, target) => Some(Profile::Compat),
        _ => None,
    };
    if client_type.is_none() {
        choose("type", "Choose whether the application can keep a secret.");
    }
    if profile.is_none() {
        choose("profile", "Choose whether the application sends PKCE.");
    }
    let scopes = ticked(&held(browser, signed_in), form);
    if scopes.is_empty() {
        choose("scopes", "Choose at least one permission.");
    }
    let (Some(client_type), Some(profile)) = (client_type, profile) else {
        return Ok((None, mistakes));
    };
    let uris = form.value("redirect_uris").unwrap_or_default().lines().map(str::trim);
    let uris: Vec<_> = uris.filter(|uri| !uri.is_empty()).collect();
    let [code, _, refresh, device] = GRANT_TYPES;
    let wants_device = form.value("device").is_some();
    let code = (!uris.is_empty() || !wants_device).then_some(code);
    let grants: Vec<_> =
        code.into_iter().chain([refresh]).chain(wants_device.then_some(device)).collect();
    let name = form.value("name").unwrap_or_default().trim();
    let description = Description {
        name,
        site: form.value("site"),
        client_type,
        profile,
        redirect_uris: &uris,
        grants: &grants,
        first_party: false,
        introspect: false,
    };
    mistakes.extend(description.mistakes(Author::Developer).iter().map(mistake));
    let row = row(&description, scopes, &signed_in.person.id, target.id())?;
    Ok((Some(row), mistakes))
}

/// The row of a described application: its owner's, and not reviewed.
fn row(
    described: &Description<'_>,
    scopes: ScopeSet,
    owner: &Id,
    id: &Id,
) -> Result<Application, Trouble> {
    Ok(Application {
        id: id.clone(),
        owner: Some(owner.clone()),
        name: described.name.into(),
        site: described.site.map(Box::from),
        confidential: described.client_type == ClientType::Confidential,
        profile: described.profile,
        redirect_uris: described.redirect_uris.iter().copied().collect(),
        grants: described.grants.iter().copied().collect(),
        scopes: Some(scopes),
        first_party: false,
        introspect: false,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: IdKind::Grant.generate(&mut fill).map_err(|error| Trouble::fault(&error))?,
        created: UnixTime(0),
        disabled: None,
        ended: None,
    })
}

/// A broken rule beside its field.
fn mistake(rule: &Rule) -> Mistake {
    let field = match rule {
        Rule::Name => "name",
        Rule::Site => "site",
        Rule::CompatPublic => "profile",
        Rule::NoRedirectUri
        | Rule::TooManyRedirectUris
        | Rule::RedirectUri(..)
        | Rule::RedirectUriTwice(_) => "redirect_uris",
        _ => "type",
    };
    Mistake { field, text: format!("{}.", sentence(&rule.to_string())) }
}

/// Returns whether the profile without PKCE may be chosen: where it is on, or is what it was.
fn may_be_compat(browser: &Browser<'_>, target: Target<'_>) -> bool {
    let is_kept = matches!(target, Target::Edit(row) if row.profile == Profile::Compat);
    is_kept || browser.settings.configured.compat
}

fn check_may_register(browser: &Browser<'_>, signed_in: &SignedIn) -> Result<(), Trouble> {
    if may_register(browser, signed_in) { Ok(()) } else { Err(Trouble::not_found()) }
}

fn purpose(id: &Id) -> String {
    format!("application\nnew\n{id}")
}
