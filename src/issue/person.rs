//! The rules of a person: logins, names, roles and subjects.
//!
//! Owns which subject an external sign-in may bring, so that no person is taken for an application,
//! a key or a local person. Never checks a password.

use thiserror::Error;

/// The longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// The longest login, in bytes.
const LOGIN_BYTES_MAX: usize = 128;

/// The longest full name or e-mail address, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The longest role, in bytes.
const ROLE_BYTES_MAX: usize = 64;

/// The most roles of a person.
pub const ROLES_MAX: usize = 64;

/// May register applications.
pub const DEVELOPER: &str = "developer";

/// Administers the issuer.
pub const OPERATOR: &str = "operator";

/// Beginnings of subjects that gatepost gives out itself.
const RESERVED: [&str; 5] = ["usr_", "app_", "app:", "key:", "urn:"];

/// A text that a person cannot have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PersonError {
    #[error("a subject has 1 to {SUBJECT_BYTES_MAX} bytes without control characters")]
    Subject,
    #[error("a subject must not begin with usr_, app_, app:, key: or urn:")]
    SubjectReserved,
    #[error(
        "a login has 1 to {LOGIN_BYTES_MAX} bytes without spaces and control characters, and does \
         not begin with usr_"
    )]
    Login,
    #[error("a name has 1 to {TEXT_BYTES_MAX} bytes without control characters")]
    Name,
    #[error(
        "an e-mail address has one @ with text on both sides, and at most {TEXT_BYTES_MAX} bytes"
    )]
    Email,
    #[error("a role has 1 to {ROLE_BYTES_MAX} letters, digits, '.', ':', '_' or '-'")]
    Role,
    #[error("at most {ROLES_MAX} roles are accepted")]
    Roles,
}

/// Checks the subject of a person that the application in front of the issuer signs in.
///
/// # Errors
/// [`PersonError`].
pub fn check_external_subject(subject: &str) -> Result<(), PersonError> {
    if !is_text(subject, SUBJECT_BYTES_MAX) {
        return Err(PersonError::Subject);
    }
    if RESERVED.iter().any(|prefix| subject.starts_with(prefix)) {
        return Err(PersonError::SubjectReserved);
    }
    Ok(())
}

/// Checks a login. One that looks like an id would name two people.
///
/// # Errors
/// [`PersonError::Login`].
pub fn check_login(login: &str) -> Result<(), PersonError> {
    let fits = is_text(login, LOGIN_BYTES_MAX)
        && !login.contains(char::is_whitespace)
        && !login.starts_with("usr_");
    if fits { Ok(()) } else { Err(PersonError::Login) }
}

/// Checks a full name.
///
/// # Errors
/// [`PersonError::Name`].
pub fn check_name(name: &str) -> Result<(), PersonError> {
    if is_text(name, TEXT_BYTES_MAX) { Ok(()) } else { Err(PersonError::Name) }
}

/// Checks an e-mail address: it is shown, and nothing is sent to it.
///
/// # Errors
/// [`PersonError::Email`].
pub fn check_email(email: &str) -> Result<(), PersonError> {
    let parts = email
        .split_once('@')
        .filter(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    let fits = is_text(email, TEXT_BYTES_MAX) && !email.contains(char::is_whitespace);
    if fits && parts.is_some() { Ok(()) } else { Err(PersonError::Email) }
}

/// Checks a list of roles.
///
/// # Errors
/// [`PersonError`].
pub fn check_roles<'a>(roles: impl IntoIterator<Item = &'a str>) -> Result<(), PersonError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    for (at, role) in roles.into_iter().enumerate() {
        if at == ROLES_MAX {
            return Err(PersonError::Roles);
        }
        if !(1..=ROLE_BYTES_MAX).contains(&role.len()) || !role.bytes().all(is_fit) {
            return Err(PersonError::Role);
        }
    }
    Ok(())
}

fn is_text(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_people_an_external_subject_is_taken_for_nothing_else() {
        for good in ["7", "auth0|abc", "ada@example.com", "user_1", "URN:x", &"x".repeat(256)] {
            assert_eq!(check_external_subject(good), Ok(()), "{good}");
        }
        for bad in ["usr_1", "app_1", "app:shop", "key:ci", "urn:x"] {
            assert_eq!(check_external_subject(bad), Err(PersonError::SubjectReserved), "{bad}");
        }
        for bad in ["", "a\nb", "a\u{0}", "a\u{9f}b", &"x".repeat(257)] {
            assert_eq!(check_external_subject(bad), Err(PersonError::Subject), "{bad}");
        }
    }

    #[test]
    fn texts_of_a_person_have_bounds() {
        for good in ["ada", "ada@example.com", "Ådа.1", &"x".repeat(128)] {
            assert_eq!(check_login(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a\t", "usr_1", "a\u{a0}b", &"x".repeat(129)] {
            assert_eq!(check_login(bad), Err(PersonError::Login), "{bad}");
        }
        assert_eq!(check_name("Ada Lovelace"), Ok(()));
        for bad in ["", "a\r\nb", &"x".repeat(257)] {
            assert_eq!(check_name(bad), Err(PersonError::Name), "{bad}");
        }
        assert_eq!(check_email("ada@example.com"), Ok(()));
        for bad in ["", "ada", "@a", "a@", "a@b@c", "a b@c", "a@b\n", &"x@".repeat(130)] {
            assert_eq!(check_email(bad), Err(PersonError::Email), "{bad}");
        }
    }

    #[test]
    fn roles_are_words() {
        assert_eq!(check_roles([DEVELOPER, OPERATOR, "shop:admin-1.x_y"]), Ok(()));
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(check_roles([bad]), Err(PersonError::Role), "{bad}");
        }
        assert_eq!(check_roles(["a"; ROLES_MAX]), Ok(()));
        assert_eq!(check_roles(["a"; ROLES_MAX + 1]), Err(PersonError::Roles));
    }
}
