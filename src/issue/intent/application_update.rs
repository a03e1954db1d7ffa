//! Changes of an application's description.
//!
//! Owns what may be changed after the registration. Every rule is checked on the result, inside the
//! transaction. The approval of an operator is of the facts that people see: a developer who changes
//! one of them loses it. Never touches a secret, and never ends a token.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::application::{Author, ClientType, Description};
use crate::issue::consent;
use crate::issue::intent::applications::{check_not_declared, find};
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, or_refuse};
use crate::issue::rows::{Application, Id, Profile, Words};

/// Changes of an application; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The name on the consent page.
    pub name: Option<Box<str>>,
    /// The home page, or none.
    pub site: Option<Option<Box<str>>>,
    /// The rules of the code flow.
    pub profile: Option<Profile>,
    /// All redirect URIs.
    pub redirect_uris: Option<Words>,
    /// All grant types.
    pub grants: Option<Words>,
    /// The most that it may get, or every scope. Tokens keep what they have.
    pub scopes: Option<Option<ScopeSet>>,
    /// Lifetime of its access tokens in seconds, or that of its profile.
    pub access_lifetime: Option<Option<u64>>,
    /// No consent page.
    pub first_party: Option<bool>,
    /// May ask the introspection endpoint.
    pub introspect: Option<bool>,
}

impl Changes {
    fn of(&self, row: Application) -> Application {
        fn or<T: Clone>(change: Option<&T>, before: T) -> T {
            change.cloned().unwrap_or(before)
        }
        Application {
            name: or(self.name.as_ref(), row.name),
            site: or(self.site.as_ref(), row.site),
            profile: self.profile.unwrap_or(row.profile),
            redirect_uris: or(self.redirect_uris.as_ref(), row.redirect_uris),
            grants: or(self.grants.as_ref(), row.grants),
            scopes: or(self.scopes.as_ref(), row.scopes),
            access_lifetime: self.access_lifetime.unwrap_or(row.access_lifetime),
            first_party: self.first_party.unwrap_or(row.first_party),
            introspect: self.introspect.unwrap_or(row.introspect),
            ..row
        }
    }
}

/// Changes the description of an application. Its tokens and secrets stay.
#[derive(Clone, Debug)]
pub struct UpdateApplication {
    /// The application.
    pub application: Id,
    /// The changes.
    pub changes: Changes,
    /// The author, who may set more as an operator.
    pub author: Author,
}

impl Intent for UpdateApplication {
    type Answer = Application;
    const NAME: &'static str = "update_application";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<Application>, Need> {
        let before = or_refuse!(find(rows, &self.application)?);
        or_refuse!(check_not_declared(&before));
        let mut row = self.changes.of(before.clone());
        if row == before {
            return Ok(Decision::ok(row));
        }
        let is_reviewed_anew = is_shown_otherwise(&before, &row) || is_wider(&before, &row);
        if self.author == Author::Developer && is_reviewed_anew {
            row.approved = None;
        }
        or_refuse!(check_description(&row, self.author));
        let act = Act::new("application.update").application(&row.id);
        Ok(Decision::ok(row.clone()).write(&row).act(act))
    }
}

/// Returns whether people see other facts on the consent page than before.
fn is_shown_otherwise(before: &Application, row: &Application) -> bool {
    before.site != row.site || consent::shown(before) != consent::shown(row)
}

/// Returns whether it may do what it might not before: without PKCE, by another grant, with more scopes.
fn is_wider(before: &Application, row: &Application) -> bool {
    let has_grants = row.grants.0.iter().all(|grant| before.grants.contains(grant));
    let has_scopes = match (&before.scopes, &row.scopes) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(had), Some(now)) => had.contains_all(now),
    };
    before.profile != row.profile || !has_grants || !has_scopes
}

/// Checks the rules of every application.
fn check_description(row: &Application, author: Author) -> Result<(), Refusal> {
    let words = |words: &'_ Words| words.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (uris, grants) = (words(&row.redirect_uris), words(&row.grants));
    let description = Description {
        name: &row.name,
        site: row.site.as_deref(),
        client_type: match row.confidential {
            true => ClientType::Confidential,
            false => ClientType::Public,
        },
        profile: row.profile,
        redirect_uris: &uris.iter().map(String::as_str).collect::<Vec<_>>(),
        grants: &grants.iter().map(String::as_str).collect::<Vec<_>>(),
        first_party: row.first_party,
        introspect: row.introspect,
    };
    let mistakes: Vec<_> = description.mistakes(author).iter().map(ToString::to_string).collect();
    if mistakes.is_empty() { Ok(()) } else { Err(Refusal::Application(mistakes.join("; ").into())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::intent::memory::Memory;

    const NOW: UnixTime = UnixTime(1_000);

    fn application() -> Application {
        Application {
            id: Id::from("app_1"),
            owner: Some(Id::from("usr_ada")),
            name: "Shop".into(),
            site: Some("https://shop.example".into()),
            confidential: true,
            profile: Profile::Strict,
            redirect_uris: ["https://shop.example/cb"].into_iter().collect(),
            grants: ["authorization_code"].into_iter().collect(),
            scopes: None,
            first_party: false,
            introspect: false,
            access_lifetime: None,
            plugin: None,
            approved: Some(NOW),
            generation: Id::from("gen_1"),
            created: NOW,
            disabled: None,
            ended: None,
        }
    }

    fn update(memory: &mut Memory, changes: Changes) -> Result<Application, Refusal> {
        let application = Id::from("app_1");
        memory.run(&UpdateApplication { application, changes, author: Author::Operator }, NOW)
    }

    #[test]
    fn contract_applications_are_updated_by_the_rules_of_the_registration() {
        let mut memory = Memory::default();
        let application = application();
        memory.insert(&application);
        assert_eq!(update(&mut memory, Changes::default()).unwrap(), application);
        let changes = Changes {
            name: Some("Store".into()),
            site: Some(None),
            access_lifetime: Some(Some(60)),
            introspect: Some(true),
            ..Changes::default()
        };
        let changed = update(&mut memory, changes).unwrap();
        let expected = Application {
            name: "Store".into(),
            site: None,
            access_lifetime: Some(60),
            introspect: true,
            ..application
        };
        assert_eq!(changed, expected);
        let none = Changes { redirect_uris: Some(Words::default()), ..Changes::default() };
        let refused = update(&mut memory, none).unwrap_err().to_string();
        assert_eq!(refused, "authorization_code needs a redirect URI");
        let back = Changes { access_lifetime: Some(None), ..Changes::default() };
        assert_eq!(update(&mut memory, back).unwrap().access_lifetime, None);
    }

    /// Else an approved application could turn into another one, with the trust of the first.
    #[test]
    fn r1101_an_approval_ends_when_its_developer_changes_what_people_see() {
        let changed = |changes: Changes, author: Author| {
            let mut memory = Memory::default();
            memory.insert(&application());
            let application = Id::from("app_1");
            memory.run(&UpdateApplication { application, changes, author }, NOW).unwrap()
        };
        let uris = |uri: &'static str| Changes {
            redirect_uris: Some([uri].into_iter().collect()),
            ..Changes::default()
        };
        let path = uris("https://shop.example/other");
        assert_eq!(changed(path, Author::Developer).approved, Some(NOW));
        let name = Changes { name: Some("Bank".into()), ..Changes::default() };
        let site = Changes { site: Some(None), ..Changes::default() };
        for changes in [name, site, uris("https://evil.example/cb")] {
            assert_eq!(changed(changes.clone(), Author::Developer).approved, None);
            assert_eq!(changed(changes, Author::Operator).approved, Some(NOW));
        }
    }

    #[test]
    fn r1101_an_approval_ends_when_an_application_may_do_more() {
        let scopes = |text: &str| Some(ScopeSet::parse(text).unwrap());
        let changed = |changes: Changes| {
            let mut memory = Memory::default();
            memory.insert(&Application { scopes: scopes("read write"), ..application() });
            let (application, author) = (Id::from("app_1"), Author::Developer);
            memory.run(&UpdateApplication { application, changes, author }, NOW).unwrap().approved
        };
        let of_scopes = |text| Changes { scopes: Some(scopes(text)), ..Changes::default() };
        assert_eq!(changed(of_scopes("read")), Some(NOW), "less");
        let grants = ["authorization_code", "refresh_token"].into_iter().collect();
        for wider in [
            of_scopes("read write admin"),
            Changes { scopes: Some(None), ..Changes::default() },
            Changes { profile: Some(Profile::Compat), ..Changes::default() },
            Changes { grants: Some(grants), ..Changes::default() },
        ] {
            assert_eq!(changed(wider.clone()), None, "{wider:?}");
        }
    }
}
