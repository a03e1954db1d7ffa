//! Test of a personal access token or API key: the decision of the running gate about a request.
//!
//! Owns the form and the page of the result. The credential is in the body of the form and nowhere
//! else. Only one of the person's own is tested: the page would tell a finder what a credential of
//! another person is good for. Never forwards a request, and never charges a limit.

use askama::Template;

use crate::decide::api_key::format::SecretKind;
use crate::decide::request::credential::CredentialKind as Kind;
use crate::issue::form::Form;
use crate::issue::rows::{Credential, CredentialKind, SecretDigest};
use crate::serve::account::Account;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::enforced::Trial;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused};
use crate::serve::issuer::pages::credential_view::{Desk, Words, secret_kind};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about, date};
use crate::serve::issuer::pages::help::host_of;

/// The methods that the form offers.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The steps of a decision that are about the credential.
const OWN_STEPS: [&str; 2] = ["personal access token", "api key"];

/// The result of a test.
struct Outcome {
    is_admitted: bool,
    request: String,
    text: String,
    /// What the gate knows of the credential.
    known: Vec<String>,
}

#[derive(Template)]
#[template(path = "credential_test.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: Words,
    prefix: &'a str,
    methods: &'a [(&'static str, bool)],
    path: &'a str,
    outcome: Option<&'a Outcome>,
    csrf: &'a str,
    mistakes: &'a [Mistake],
}

impl Page<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

impl Issuer {
    /// The form.
    pub(super) fn test_form(&self, desk: &Desk<'_>) -> Shown {
        self.test_page(desk, &Form::default(), None, &[])
    }

    /// The test.
    pub(super) async fn test_credential(&self, desk: &Desk<'_>) -> Shown {
        let browser = desk.browser;
        let form = browser.form()?;
        browser.check(&form, &purpose(desk.kind))?;
        let mistake = |field, text: String| [Mistake { field, text }];
        let Some(secret) = form.value("secret").map(str::trim).filter(|text| !text.is_empty())
        else {
            let text = format!("Paste the {}.", desk.words.one);
            return self.test_page(desk, &form, None, &mistake("secret", text));
        };
        let Some(row) = self.own_of(desk, secret).await? else {
            let text = format!(
                "You have no {} with this text. Check that all of it was pasted: it begins with {}.",
                desk.words.one,
                secret_kind(desk.kind).prefix()
            );
            return self.test_page(desk, &form, None, &mistake("secret", text));
        };
        let path = form.value("path").map_or_else(|| self.example(desk), str::to_owned);
        let method = form.value("method").unwrap_or(METHODS[0]);
        let (name, before) = desk.header.split_once(": ").unwrap_or((&desk.header, ""));
        let field = format!("{before}{secret}");
        let host = host_of(&browser.settings);
        let Some(trial) = Trial::new((method, host, &path), (name, &field)) else {
            let text = "Enter a path such as /api/products, without spaces.".to_owned();
            return self.test_page(desk, &form, None, &mistake("path", text));
        };
        let account = self.enforced.decide(&trial, browser.caller.address, self.clock.now());
        let request = format!("{method} {}", path.split(['?', '#']).next().unwrap_or_default());
        self.test_page(desk, &form, Some(&outcome(&row, request, &account)), &[])
    }

    /// The person's own credential of this text, revoked or not.
    async fn own_of(&self, desk: &Desk<'_>, secret: &str) -> Result<Option<Credential>, Trouble> {
        let digest = SecretDigest::of_secret(secret);
        let found = self.find::<Credential>("digest", &digest).await?.pop();
        let person = &desk.signed_in.person.id;
        Ok(found.filter(|row| row.kind == desk.kind && row.owner == *person))
    }

    fn example(&self, desk: &Desk<'_>) -> String {
        let kind = match secret_kind(desk.kind) {
            SecretKind::PersonalAccessToken => Kind::Pat,
            _ => Kind::ApiKey,
        };
        let host = host_of(&desk.browser.settings);
        self.enforced.example(host, kind).unwrap_or_else(|| "/".to_owned())
    }

    fn test_page(
        &self,
        desk: &Desk<'_>,
        form: &Form,
        outcome: Option<&Outcome>,
        mistakes: &[Mistake],
    ) -> Shown {
        let browser = desk.browser;
        let chosen = form.value("method").unwrap_or(METHODS[0]);
        let example = self.example(desk);
        let page = Page {
            frame: &browser.frame(),
            words: desk.words,
            prefix: secret_kind(desk.kind).prefix(),
            methods: &METHODS.map(|method| (method, method == chosen)),
            path: form.value("path").unwrap_or(&example),
            outcome,
            csrf: &browser.token(&purpose(desk.kind)),
            mistakes,
        };
        match mistakes {
            [] => html(&browser.settings, Forms::Here, &page),
            _ => refused(&browser.settings, Forms::Here, &page),
        }
    }
}

fn outcome(row: &Credential, request: String, account: &Account) -> Outcome {
    let is_admitted = matches!(&*account.verdict, "admitted" | "would_refuse");
    let known = account.steps.iter().filter(|step| step.passed);
    let known = known.filter(|step| OWN_STEPS.contains(&&*step.question));
    let known = known.map(|step| step.answer.clone()).collect();
    let last = account.steps.iter().rev().find(|step| !step.passed);
    let text = match (is_admitted, row.ended, last) {
        (true, ..) => "The gate admits this request.".to_owned(),
        (false, Some(at), _) => {
            let status = account.status;
            format!("The gate refuses this request with {status}: revoked at {}.", date(at))
        }
        (false, None, Some(step)) => {
            format!("The gate refuses this request with {}: {}.", account.status, step.answer)
        }
        (false, None, None) => format!("The gate refuses this request with {}.", account.status),
    };
    Outcome { is_admitted, request, text, known }
}

/// The purpose of the form.
pub(super) fn purpose(kind: CredentialKind) -> String {
    format!("test\n{}", kind.as_str())
}
