//! The form with which a developer changes an application.
//!
//! Owns what a change may touch: the same fields as the registration, but for the type, of which
//! the secrets depend. A form that was opened before another change is refused: it would undo that
//! change. Never sets what is for operators.

use http::StatusCode;

use crate::decide::scope::ScopeSet;
use crate::issue::application::Author;
use crate::issue::error::ErrorCode;
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::application_update::{Changes, UpdateApplication};
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::rows::Application;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Shown, Trouble, see_other, sentence};
use crate::serve::issuer::pages::application_form::{Target, describe};
use crate::serve::issuer::pages::application_view::{is_fixed, may_register, purpose, version};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::Mistake;
use crate::serve::issuer::pages::scopes::held;

impl Issuer {
    pub(super) async fn edit_application(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        id: &str,
    ) -> Shown {
        let row = self.own_application(signed_in, id).await?;
        check_own_to_change(browser, signed_in, &row)?;
        let form = as_form(&row, &held(browser, signed_in));
        self.application_page(browser, signed_in, (&form, edit(&row)), &[])
    }

    pub(super) async fn change_application(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        id: &str,
    ) -> Shown {
        let row = self.own_application(signed_in, id).await?;
        check_own_to_change(browser, signed_in, &row)?;
        let form = browser.form()?;
        let seen = form.value("seen").unwrap_or_default();
        browser.check(&form, &purpose(&format!("edit\n{seen}"), &row.id))?;
        if seen != version(&row) {
            return Err(changed_before(browser, id));
        }
        let (described, mut mistakes) = describe(browser, signed_in, &form, edit(&row))?;
        if mistakes.is_empty() {
            mistakes.extend(self.confirm(browser, signed_in, &form).await?);
        }
        let Some(described) = described.filter(|_| mistakes.is_empty()) else {
            return self.application_page(browser, signed_in, (&form, edit(&row)), &mistakes);
        };
        let changes = changes(&row, described, &held(browser, signed_in));
        let application = row.id.clone();
        let intent = UpdateApplication { application, changes, author: Author::Developer };
        let done = self.store.run(intent, browser.acting(&signed_in.person.id)).await?;
        match done.outcome {
            Ok(_) => {
                let back = browser.at(&format!("/applications/{id}?done=changed"));
                see_other(&browser.settings, &back)
            }
            Err(Refusal::Application(text)) => {
                let mistakes = [Mistake { field: "name", text: format!("{}.", sentence(&text)) }];
                self.application_page(browser, signed_in, (&form, edit(&row)), &mistakes)
            }
            Err(refusal) => Err(Trouble::from(&refusal)),
        }
    }
}

fn edit(row: &Application) -> Target<'_> {
    Target::Edit(row)
}

fn check_own_to_change(
    browser: &Browser<'_>,
    signed_in: &SignedIn,
    row: &Application,
) -> Result<(), Trouble> {
    let text = match (is_fixed(row), may_register(browser, signed_in)) {
        (false, true) => return Ok(()),
        (true, _) => {
            "An operator of this service set up this application. Only an operator can change it."
        }
        (false, false) => {
            "Your account may not change applications. Ask an operator for the role developer."
        }
    };
    let back = browser.at(&format!("/applications/{}", row.id));
    Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::AccessDenied, text)
        .with_link("Back to the application", back))
}

fn changed_before(browser: &Browser<'_>, id: &str) -> Trouble {
    let text = "The application was changed after this form was opened, perhaps in another tab. \
                Nothing was changed now. Open the form again to see its current values.";
    Trouble::new(StatusCode::CONFLICT, ErrorCode::InvalidRequest, text)
        .with_link("Open the form again", browser.at(&format!("/applications/{id}/edit")))
}

/// The current values, as the form has them.
fn as_form(row: &Application, held: &ScopeSet) -> Form {
    let [.., device] = GRANT_TYPES;
    let uris: Vec<_> = row.redirect_uris.0.iter().map(AsRef::as_ref).collect();
    let mut pairs = vec![
        ("name".to_owned(), row.name.to_string()),
        ("site".to_owned(), row.site.as_deref().unwrap_or_default().to_owned()),
        ("profile".to_owned(), row.profile.as_str().to_owned()),
        ("redirect_uris".to_owned(), uris.join("\n")),
    ];
    if row.grants.contains(device) {
        pairs.push(("device".to_owned(), "on".to_owned()));
    }
    let is_given = |scope: &str| row.scopes.as_ref().is_none_or(|given| given.contains(scope));
    let given = held.iter().enumerate().filter(|(_, scope)| is_given(scope));
    pairs.extend(given.map(|(at, _)| (format!("scope-{at}"), "on".to_owned())));
    Form::of(pairs)
}

/// The changes that a form makes. Scopes that the person does not hold stay as they are.
fn changes(row: &Application, described: Application, held: &ScopeSet) -> Changes {
    let ticked = described.scopes.unwrap_or_default();
    let scopes = match &row.scopes {
        None if ticked == *held => None,
        None => Some(ticked),
        Some(before) => {
            let beyond = before.iter().filter(|scope| !held.contains(scope));
            let all = ScopeSet::from_tokens(ticked.iter().chain(beyond));
            Some(all.unwrap_or_else(|_| before.clone()))
        }
    };
    Changes {
        name: Some(described.name),
        site: Some(described.site),
        profile: Some(described.profile),
        redirect_uris: Some(described.redirect_uris),
        grants: Some(described.grants),
        scopes: Some(scopes),
        ..Changes::default()
    }
}
