//! The rules of an application: what a developer, an operator or the configuration may set.
//!
//! Owns the form of ids and names, and which type, profile, grants and redirect URIs go together.
//! Every mistake is reported at once. Never looks at rows: the limits on numbers are intents.

use thiserror::Error;

use crate::issue::credential::IdKind;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::redirect::{RedirectError, RedirectUri};
use crate::issue::rows::{Application, Profile};

/// The most redirect URIs of an application.
pub const REDIRECT_URIS_MAX: usize = 20;

/// The longest declared id, in bytes.
const ID_BYTES_MAX: usize = 64;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;

/// The type of a client (RFC 6749 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// Keeps a secret.
    Confidential,
    /// Runs on devices of people and has none.
    Public,
}

/// The author of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The person who owns it.
    Developer,
    /// An operator, or the configuration.
    Operator,
}

/// An application as it is described, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description<'a> {
    /// The name on the consent page.
    pub name: &'a str,
    /// The home page.
    pub site: Option<&'a str>,
    /// Its type.
    pub client_type: ClientType,
    /// The rules of its code flow.
    pub profile: Profile,
    /// Redirect URIs.
    pub redirect_uris: &'a [&'a str],
    /// Grant types.
    pub grants: &'a [&'a str],
    /// No consent page.
    pub first_party: bool,
    /// May ask the introspection endpoint.
    pub introspect: bool,
}

/// A rule that a description breaks.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Mistake {
    #[error(
        "an application id has 1 to {ID_BYTES_MAX} letters, digits, '.', '_' or '-', and does not \
         begin with app_, usr_ or gp_"
    )]
    Id,
    #[error("a name has 1 to {NAME_CHARS_MAX} characters, none of them a control character")]
    Name,
    #[error("site is an https URL without user part")]
    Site,
    #[error("grant type {0:?} is unknown: {accepted} are accepted", accepted = GRANT_TYPES.join(", "))]
    GrantUnknown(String),
    #[error("grant type {0:?} is listed twice")]
    GrantTwice(String),
    #[error("at least one grant type is required")]
    NoGrant,
    #[error("refresh_token needs authorization_code or the device code grant beside it")]
    RefreshAlone,
    #[error("profile compat is for confidential applications: a public one is strict (PKCE)")]
    CompatPublic,
    #[error("client_credentials is for confidential applications")]
    CredentialsPublic,
    #[error("introspect is for confidential applications")]
    IntrospectPublic,
    #[error("{0} is for operators to set")]
    ForOperators(&'static str),
    #[error("authorization_code needs a redirect URI")]
    NoRedirectUri,
    #[error("at most {REDIRECT_URIS_MAX} redirect URIs are accepted")]
    TooManyRedirectUris,
    #[error("redirect URI {0:?}: {1}")]
    RedirectUri(String, RedirectError),
    #[error("redirect URI {0:?} is listed twice")]
    RedirectUriTwice(String),
}

impl Description<'_> {
    /// Every rule that it breaks; none if it is good.
    #[must_use]
    pub fn mistakes(&self, author: Author) -> Vec<Mistake> {
        let mut found = Vec::new();
        if !is_name(self.name) {
            found.push(Mistake::Name);
        }
        if !self.site.is_none_or(is_site) {
            found.push(Mistake::Site);
        }
        found.extend(self.grant_mistakes());
        found.extend(self.type_mistakes());
        found.extend(self.redirect_mistakes());
        if author == Author::Developer {
            found.extend(self.operators_only().map(Mistake::ForOperators));
        }
        found
    }

    fn has_grant(&self, grant: &str) -> bool {
        self.grants.contains(&grant)
    }

    fn grant_mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        for (at, grant) in self.grants.iter().enumerate() {
            if !GRANT_TYPES.contains(grant) {
                found.push(Mistake::GrantUnknown((*grant).to_owned()));
            } else if self.grants[..at].contains(grant) {
                found.push(Mistake::GrantTwice((*grant).to_owned()));
            }
        }
        let [code, _, refresh, device] = GRANT_TYPES;
        if self.grants.is_empty() {
            found.push(Mistake::NoGrant);
        }
        if self.has_grant(refresh) && !self.has_grant(code) && !self.has_grant(device) {
            found.push(Mistake::RefreshAlone);
        }
        found
    }

    fn type_mistakes(&self) -> impl Iterator<Item = Mistake> {
        let is_public = self.client_type == ClientType::Public;
        let rules = [
            (self.profile == Profile::Compat, Mistake::CompatPublic),
            (self.has_grant("client_credentials"), Mistake::CredentialsPublic),
            (self.introspect, Mistake::IntrospectPublic),
        ];
        rules
            .into_iter()
            .filter(move |(is_set, _)| is_public && *is_set)
            .map(|(_, mistake)| mistake)
    }

    fn redirect_mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        if self.has_grant("authorization_code") && self.redirect_uris.is_empty() {
            found.push(Mistake::NoRedirectUri);
        }
        if self.redirect_uris.len() > REDIRECT_URIS_MAX {
            return vec![Mistake::TooManyRedirectUris];
        }
        for (at, uri) in self.redirect_uris.iter().enumerate() {
            let shown = || uri.chars().take(200).collect();
            if let Err(error) = RedirectUri::parse(uri) {
                found.push(Mistake::RedirectUri(shown(), error));
            } else if self.redirect_uris[..at].contains(uri) {
                found.push(Mistake::RedirectUriTwice(shown()));
            }
        }
        found
    }

    fn operators_only(&self) -> impl Iterator<Item = &'static str> {
        let rules = [
            (self.first_party, "first_party"),
            (self.introspect, "introspect"),
            (self.has_grant("client_credentials"), "client_credentials"),
        ];
        rules.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name)
    }
}

/// Returns whether an operator approved an application, by a command or in the configuration.
#[must_use]
pub fn is_reviewed(row: &Application) -> bool {
    row.approved.is_some()
}

/// Checks the id of a declared application.
///
/// # Errors
/// [`Mistake::Id`].
pub fn check_declared_id(id: &str) -> Result<(), Mistake> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reserved = [IdKind::Application.prefix(), IdKind::Person.prefix(), "gp_"];
    let fits = (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(is_fit)
        && !reserved.iter().any(|prefix| id.starts_with(prefix));
    if fits { Ok(()) } else { Err(Mistake::Id) }
}

fn is_name(name: &str) -> bool {
    let is_shown = |c: char| !c.is_control() && !is_direction(c);
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
        && name.trim() == name
        && name.chars().all(is_shown)
}

/// Characters that change the direction of what follows: a name could rewrite the sentence that
/// the consent page shows it in.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_site(site: &str) -> bool {
    site.starts_with("https://") && RedirectUri::parse(site).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: Description<'_> = Description {
        name: "Shop",
        site: Some("https://shop.example.com"),
        client_type: ClientType::Confidential,
        profile: Profile::Compat,
        redirect_uris: &["https://shop.example.com/callback"],
        grants: &["authorization_code", "refresh_token"],
        first_party: false,
        introspect: false,
    };

    #[track_caller]
    fn check(description: &Description<'_>, author: Author, expected: &[Mistake]) {
        assert_eq!(description.mistakes(author), expected);
    }

    #[test]
    fn contract_applications_of_both_profiles_and_types() {
        check(&SHOP, Author::Developer, &[]);
        let public = Description {
            client_type: ClientType::Public,
            profile: Profile::Strict,
            redirect_uris: &["com.example.app:/cb", "http://127.0.0.1/cb"],
            ..SHOP
        };
        check(&public, Author::Developer, &[]);
        let service = Description {
            redirect_uris: &[],
            grants: &["client_credentials"],
            introspect: true,
            first_party: true,
            ..SHOP
        };
        check(&service, Author::Operator, &[]);
        let device = Description {
            client_type: ClientType::Public,
            profile: Profile::Strict,
            redirect_uris: &[],
            grants: &["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            ..SHOP
        };
        check(&device, Author::Developer, &[]);
    }

    #[test]
    fn r1102_r1106_a_public_application_is_strict_and_has_no_powers_of_a_confidential_one() {
        let public = Description {
            client_type: ClientType::Public,
            grants: &["client_credentials"],
            introspect: true,
            ..SHOP
        };
        let expected =
            [Mistake::CompatPublic, Mistake::CredentialsPublic, Mistake::IntrospectPublic];
        check(&public, Author::Operator, &expected);
    }

    #[test]
    fn contract_applications_what_is_for_operators() {
        let powerful = Description {
            first_party: true,
            introspect: true,
            grants: &["client_credentials"],
            ..SHOP
        };
        let expected =
            ["first_party", "introspect", "client_credentials"].map(Mistake::ForOperators);
        check(&powerful, Author::Developer, &expected);
        check(&powerful, Author::Operator, &[]);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let bad = Description {
            name: "",
            site: Some("http://shop.example.com"),
            redirect_uris: &["https://a.example/", "https://a.example/", "http://a.example/"],
            grants: &["password", "authorization_code", "authorization_code"],
            ..SHOP
        };
        let expected = [
            Mistake::Name,
            Mistake::Site,
            Mistake::GrantUnknown("password".to_owned()),
            Mistake::GrantTwice("authorization_code".to_owned()),
            Mistake::RedirectUriTwice("https://a.example/".to_owned()),
            Mistake::RedirectUri("http://a.example/".to_owned(), RedirectError::Http),
        ];
        check(&bad, Author::Operator, &expected);
        check(&Description { grants: &[], ..SHOP }, Author::Operator, &[Mistake::NoGrant]);
        let alone = Description { grants: &["refresh_token"], ..SHOP };
        check(&alone, Author::Operator, &[Mistake::RefreshAlone]);
        check(
            &Description { redirect_uris: &[], ..SHOP },
            Author::Operator,
            &[Mistake::NoRedirectUri],
        );
        let many = vec!["https://a.example/"; REDIRECT_URIS_MAX + 1];
        let many = Description { redirect_uris: &many, ..SHOP };
        check(&many, Author::Operator, &[Mistake::TooManyRedirectUris]);
    }

    #[test]
    fn r1109_a_name_cannot_rewrite_the_page_that_shows_it() {
        for bad in
            ["", " Shop", "Shop\n", "a\u{0}b", "\u{202e}pohS", "a\u{2066}b", &"x".repeat(101)]
        {
            check(&Description { name: bad, ..SHOP }, Author::Operator, &[Mistake::Name]);
        }
        for good in ["Café №1", "<script>", &"é".repeat(100)] {
            check(&Description { name: good, ..SHOP }, Author::Operator, &[]);
        }
    }

    #[test]
    fn a_declared_id_is_no_generated_one() {
        for good in ["shop", "a", "Shop-1.x_y", &"a".repeat(64)] {
            assert_eq!(check_declared_id(good), Ok(()), "{good}");
        }
        for bad in ["", "app_1", "usr_1", "gp_x", "a b", "a:b", "é", &"a".repeat(65)] {
            assert_eq!(check_declared_id(bad), Err(Mistake::Id), "{bad}");
        }
    }
}
