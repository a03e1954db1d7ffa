//! People whom the protected application signs in: the answers of `whoami` and `person`.
//!
//! Owns which answer names a person. The subject is checked, so that no external person is taken
//! for a local one; a login, a name or an address that cannot be shown is dropped, and a role that
//! is no role gives nothing. Never sends a request.

use serde::Deserialize;
use thiserror::Error;

use crate::base::clock::UnixTime;
use crate::issue::person::{
    PersonError, ROLES_MAX, check_email, check_external_subject, check_login, check_name,
    check_roles,
};
use crate::issue::rows::{Id, Words};

/// Seconds that a clock of the application may be ahead.
const AHEAD_MAX: u64 = 60;

/// The beginning of ids of local people, which no external subject has.
const LOCAL: &str = "usr_";

/// A person as the application describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalPerson {
    /// The subject.
    pub id: Id,
    /// The name at sign-in.
    pub login: Option<Box<str>>,
    /// The full name.
    pub name: Option<Box<str>>,
    /// E-mail address.
    pub email: Option<Box<str>>,
    /// Roles; `None` keeps those that an operator gave.
    pub roles: Option<Words>,
    /// Time of their sign-in there, if it is known.
    pub auth_time: Option<UnixTime>,
}

/// An answer that names no person.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ExternalError {
    /// Not the expected JSON. The text is not quoted: it may contain anything.
    #[error("the answer is not a JSON object with the member \"sub\", a string: {0}")]
    Json(Box<str>),
    /// The subject is not accepted.
    #[error("the answer names no person: {0}")]
    Subject(#[from] PersonError),
}

#[derive(Deserialize)]
struct Answer {
    sub: Box<str>,
    #[serde(default)]
    login: Option<Box<str>>,
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    email: Option<Box<str>>,
    #[serde(default)]
    roles: Option<Vec<Box<str>>>,
    #[serde(default)]
    auth_time: Option<u64>,
}

impl ExternalPerson {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`ExternalError`].
    pub fn parse(body: &[u8], now: UnixTime) -> Result<Self, ExternalError> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            ExternalError::Json(format!("line {line}, column {column}").into())
        })?;
        check_external_subject(&answer.sub)?;
        // A time in the future would make every sign-in a recent one: milliseconds, for example.
        let is_past = |at: &u64| *at > 0 && *at <= now.0.saturating_add(AHEAD_MAX);
        Ok(Self {
            id: Id(answer.sub),
            login: answer.login.filter(|text| check_login(text).is_ok()),
            name: answer.name.filter(|text| check_name(text).is_ok()),
            email: answer.email.filter(|text| check_email(text).is_ok()),
            roles: answer.roles.map(|roles| accepted(&roles)),
            auth_time: answer.auth_time.filter(is_past).map(|at| UnixTime(at.min(now.0))),
        })
    }
}

/// Returns whether the application signs in the person of this id.
#[must_use]
pub fn is_external(id: &Id) -> bool {
    !id.as_str().starts_with(LOCAL)
}

/// The roles that are roles, each once.
fn accepted(roles: &[Box<str>]) -> Words {
    let mut known: Vec<&str> = Vec::new();
    for role in roles.iter().map(AsRef::as_ref).filter(|role| check_roles([*role]).is_ok()) {
        if known.len() < ROLES_MAX && !known.contains(&role) {
            known.push(role);
        }
    }
    known.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn parse(text: &str) -> Result<ExternalPerson, ExternalError> {
        ExternalPerson::parse(text.as_bytes(), NOW)
    }

    #[test]
    fn contract_sign_in_app_an_answer_names_a_person() {
        let person = parse(
            r#"{"sub":"7","login":"ada","name":"Ada","email":"a@b.c","roles":["operator","operator","x y"],"auth_time":1799999990,"more":[1]}"#,
        )
        .unwrap();
        assert_eq!((person.id.as_str(), person.login.as_deref()), ("7", Some("ada")));
        assert_eq!((person.name.as_deref(), person.email.as_deref()), (Some("Ada"), Some("a@b.c")));
        assert_eq!(person.roles, Some(["operator"].into_iter().collect()));
        assert_eq!(person.auth_time, Some(UnixTime(1_799_999_990)));
        let least = parse(r#"{"sub":"7","login":null,"email":"","name":"a\nb"}"#).unwrap();
        assert_eq!((&least.login, &least.email, &least.name), (&None, &None, &None));
        assert_eq!((least.roles, least.auth_time), (None, None));
    }

    #[test]
    fn contract_sign_in_app_any_other_answer_names_none() {
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"sub":7}"#,
            r#"{"sub":null}"#,
            r#"{"sub":"1","sub":"2"}"#,
            r#"{"sub":"1"} {"sub":"2"}"#,
            r#"{"sub":"1","roles":"operator"}"#,
            r#"{"sub":"1","auth_time":-1}"#,
            "<html>",
        ] {
            assert!(matches!(parse(bad), Err(ExternalError::Json(_))), "{bad}");
        }
        for bad in ["usr_1", "app_1", "app:shop", "key:ci", "urn:x", ""] {
            let answer = parse(&format!(r#"{{"sub":"{bad}"}}"#));
            assert!(matches!(answer, Err(ExternalError::Subject(_))), "{bad}");
        }
        let long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(257));
        assert!(parse(&long).is_err() && parse("{\"sub\":\"a\\u0000\"}").is_err());
    }

    #[test]
    fn contract_sign_in_app_a_time_in_the_future_is_no_recent_sign_in() {
        let at = |text: &str| parse(&format!(r#"{{"sub":"7","auth_time":{text}}}"#)).unwrap();
        assert_eq!(at("1800000030").auth_time, Some(NOW));
        for bad in ["1800000061", "1800000000000", "0"] {
            assert_eq!(at(bad).auth_time, None, "{bad}");
        }
    }

    #[test]
    fn local_people_are_not_external() {
        assert!(!is_external(&Id::from("usr_1")) && is_external(&Id::from("7")));
    }
}
