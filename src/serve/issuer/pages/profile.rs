//! A person's profile, and the change of the password.
//!
//! Owns the form. The old password is asked for, and the new one ends every session. Never shows a
//! password again.

use askama::Template;

use crate::base::secret::Secret;
use crate::issue::form::Form;
use crate::issue::intent::passwords::ChangePassword;
use crate::issue::password::check_new;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{
    Forms, Shown, Trouble, html, refused, see_other, sentence,
};
use crate::serve::issuer::pages::browser::{Browser, SignedIn, shown_name};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about, date};
use crate::serve::issuer::pages::sign_in::proved;

#[derive(Template)]
#[template(path = "profile.html")]
struct Page<'a> {
    frame: &'a Frame,
    login: &'a str,
    id: &'a str,
    name: &'a str,
    email: &'a str,
    roles: &'a str,
    since: &'a str,
    csrf: &'a str,
    mistakes: &'a [Mistake],
}

impl Page<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

impl Issuer {
    pub(super) async fn profile(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        is_post: bool,
    ) -> Shown {
        if !is_post {
            return profile_page(browser, signed_in, &[]);
        }
        let form = browser.form()?;
        browser.check(&form, "profile")?;
        let mistakes = match self.change_password(browser, signed_in, &form).await? {
            Ok(()) => return see_other(&browser.settings, &browser.at("/sign-in")),
            Err(mistake) => [mistake],
        };
        profile_page(browser, signed_in, &mistakes)
    }

    async fn change_password(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        form: &Form,
    ) -> Result<Result<(), Mistake>, Trouble> {
        let wrong = |field, text: &str| Ok(Err(Mistake { field, text: text.to_owned() }));
        let (old, new) = (form.value("old"), form.value("new"));
        let (Some(old), Some(new)) = (old, new) else {
            let field = if old.is_none() { "old" } else { "new" };
            return wrong(field, "Enter the password.");
        };
        if form.value("again") != Some(new) {
            return wrong("again", "The two new passwords differ.");
        }
        if let Err(error) = check_new(new, &shown_name(&signed_in.person)) {
            return wrong("new", &format!("{}.", sentence(&error.to_string())));
        }
        let Some(kept) = self.password_of(&signed_in.person.id).await? else {
            return wrong("old", "There is no password to change. Ask for a reset link.");
        };
        let person = &signed_in.person.id;
        if !self.is_own_password(browser, person, old, Some(kept.clone())).await? {
            return wrong("old", "The password is wrong.");
        }
        let hash = self.passwords.hash(Secret::new(new.to_owned()), &proved(person)).await;
        let hash = hash.map_err(|_| Trouble::unavailable())?;
        let hash = hash.map_err(|error| Trouble::fault(&error))?;
        let person = signed_in.person.id.0.clone();
        let intent = ChangePassword { person, old: kept, hash };
        self.act(browser, &signed_in.person.id, intent).await?;
        Ok(Ok(()))
    }
}

fn profile_page(browser: &Browser<'_>, signed_in: &SignedIn, mistakes: &[Mistake]) -> Shown {
    let (frame, person) = (browser.frame(), &signed_in.person);
    let page = Page {
        frame: &frame,
        login: &shown_name(person),
        id: person.id.as_str(),
        name: person.name.as_deref().unwrap_or("not given"),
        email: person.email.as_deref().unwrap_or("not given"),
        roles: &person.roles.0.join(", "),
        since: &date(person.created),
        csrf: &browser.token("profile"),
        mistakes,
    };
    match mistakes {
        [] => html(&browser.settings, Forms::Here, &page),
        _ => refused(&browser.settings, Forms::Here, &page),
    }
}
