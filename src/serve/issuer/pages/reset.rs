//! The page of a reset link.
//!
//! Owns the form that sets a password by a link, which is its own proof: no session is needed, and
//! none is started. A link that is unknown, used or expired is one answer. Never shows the link: the
//! form posts to the address that the browser already has, and no page names it in a link or title.

use askama::Template;

use crate::base::secret::Secret;
use crate::issue::form::Form;
use crate::issue::intent::passwords::UseReset;
use crate::issue::password::check_new;
use crate::issue::rows::{Person, Reset, SecretDigest};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, notice, refused, sentence};
use crate::serve::issuer::pages::browser::{Browser, shown_name};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about};
use crate::serve::issuer::pages::sign_in::proved;

#[derive(Template)]
#[template(path = "reset.html")]
struct Page<'a> {
    frame: &'a Frame,
    login: &'a str,
    csrf: &'a str,
    mistakes: &'a [Mistake],
}

impl Page<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

impl Issuer {
    pub(super) async fn reset(&self, browser: &Browser<'_>, token: &str, is_post: bool) -> Shown {
        let digest = SecretDigest::of_secret(token);
        let person = self.person_of_link(browser, &digest).await?;
        let login = shown_name(&person);
        if !is_post {
            return reset_page(browser, &login, token, &[]);
        }
        let form = browser.form()?;
        browser.check(&form, &purpose(token))?;
        let new = match new_password(&form, &login) {
            Ok(new) => Secret::new(new.to_owned()),
            Err(mistake) => return reset_page(browser, &login, token, &[mistake]),
        };
        let hash = self.passwords.hash(new, &proved(&person.id)).await;
        let hash = hash.map_err(|_| Trouble::unavailable())?;
        let hash = hash.map_err(|error| Trouble::fault(&error))?;
        let done = self.store.run(UseReset { token: digest, hash }, browser.acting(&person.id));
        done.await?.outcome.map_err(|refusal| Trouble::from(&refusal))?;
        let said = ("Password set", "Your password was set, and every session of yours has ended.");
        let link = ("Sign in", browser.at("/sign-in"));
        let mut response = notice(&browser.settings, &browser.frame(), said, Some(&link))?;
        // Failures of others at this address do not keep the person out after this.
        self.set_known(&mut response, &browser.settings, &person.id)?;
        Ok(response)
    }

    /// The person of a link that still sets a password.
    async fn person_of_link(
        &self,
        browser: &Browser<'_>,
        digest: &SecretDigest,
    ) -> Result<Person, Trouble> {
        let gone =
            || Trouble::stale("This link was used before, or has expired. Ask for a new one.");
        let reset = self.find::<Reset>("digest", digest).await?.pop();
        let reset = reset.filter(|reset| reset.is_good(browser.now)).ok_or_else(gone)?;
        let person = self.find::<Person>("id", &reset.person).await?.pop();
        person.filter(|one| one.ended.is_none() && one.disabled.is_none()).ok_or_else(gone)
    }
}

fn new_password<'f>(form: &'f Form, login: &str) -> Result<&'f str, Mistake> {
    let wrong = |field, text: String| Err(Mistake { field, text });
    let Some(new) = form.value("new") else {
        return wrong("new", "Enter a password.".to_owned());
    };
    if form.value("again") != Some(new) {
        return wrong("again", "The two passwords differ.".to_owned());
    }
    match check_new(new, login) {
        Ok(()) => Ok(new),
        Err(error) => wrong("new", format!("{}.", sentence(&error.to_string()))),
    }
}

fn reset_page(browser: &Browser<'_>, login: &str, token: &str, mistakes: &[Mistake]) -> Shown {
    let (frame, csrf) = (browser.frame(), browser.token(&purpose(token)));
    let page = Page { frame: &frame, login, csrf: &csrf, mistakes };
    match mistakes {
        [] => html(&browser.settings, Forms::Here, &page),
        _ => refused(&browser.settings, Forms::Here, &page),
    }
}

fn purpose(token: &str) -> String {
    format!("reset\n{token}")
}
