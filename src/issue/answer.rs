//! The successful answers of the token, introspection and device endpoints.
//!
//! Owns the members and their order. An answer holds secrets: it has no Debug that shows them.
//! Never writes a status line or a header.

use serde::Serialize;
use zeroize::Zeroize as _;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::scope::ScopeSet;

/// The answer of the token endpoint (RFC 6749 section 5.1).
#[derive(Clone, Debug)]
pub struct TokenAnswer {
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// The access token.
    pub access_token: Secret<String>,
    /// The refresh token, where there is one.
    pub refresh_token: Option<Secret<String>>,
    /// The granted scopes.
    pub scopes: ScopeSet,
}

#[derive(Serialize)]
struct TokenMembers<'a> {
    token_type: &'a str,
    expires_in: u64,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
}

impl TokenAnswer {
    /// The JSON, in the order of the contract.
    #[must_use]
    pub fn to_json(&self) -> Secret<String> {
        json(&TokenMembers {
            token_type: "Bearer",
            expires_in: self.expires_in,
            access_token: self.access_token.expose(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().as_str()),
            scope: &self.scopes.to_string(),
        })
    }
}

/// The answer of the device authorization endpoint (RFC 8628 section 3.2).
#[derive(Clone, Debug)]
pub struct DeviceAnswer {
    /// For the device.
    pub device_code: Secret<String>,
    /// For the person, as it is shown.
    pub user_code: Secret<String>,
    /// The page on which the person types it.
    pub verification_uri: Box<str>,
    /// Seconds until both codes end.
    pub expires_in: u64,
    /// Seconds between two questions.
    pub interval: u64,
}

#[derive(Serialize)]
struct DeviceMembers<'a> {
    device_code: &'a str,
    user_code: &'a str,
    verification_uri: &'a str,
    verification_uri_complete: &'a str,
    expires_in: u64,
    interval: u64,
}

impl DeviceAnswer {
    /// The JSON.
    #[must_use]
    pub fn to_json(&self) -> Secret<String> {
        let code = self.user_code.expose();
        let complete = Secret::new(format!("{}?user_code={code}", self.verification_uri));
        json(&DeviceMembers {
            device_code: self.device_code.expose(),
            user_code: code,
            verification_uri: &self.verification_uri,
            verification_uri_complete: complete.expose(),
            expires_in: self.expires_in,
            interval: self.interval,
        })
    }
}

/// The members that an introspection reveals about a token that is active (RFC 7662 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// Granted scopes.
    pub scopes: ScopeSet,
    /// The application, where the token belongs to one.
    pub client: Option<Box<str>>,
    /// The person's login, where there is one.
    pub username: Option<Box<str>>,
    /// The end, where there is one.
    pub expires: Option<UnixTime>,
    /// Time of issue.
    pub issued: UnixTime,
    /// `sub`.
    pub subject: Box<str>,
    /// `aud`.
    pub audience: Box<str>,
    /// `iss`.
    pub issuer: Box<str>,
    /// The id of the token.
    pub id: Box<str>,
}

#[derive(Serialize)]
struct ActiveMembers<'a> {
    active: bool,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    iat: u64,
    sub: &'a str,
    aud: &'a str,
    iss: &'a str,
    jti: &'a str,
}

impl ActiveToken {
    /// The JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let members = ActiveMembers {
            active: true,
            scope: &self.scopes.to_string(),
            client_id: self.client.as_deref(),
            username: self.username.as_deref(),
            token_type: "Bearer",
            exp: self.expires.map(|at| at.0),
            iat: self.issued.0,
            sub: &self.subject,
            aud: &self.audience,
            iss: &self.issuer,
            jti: &self.id,
        };
        json(&members).expose().clone()
    }
}

/// The answer for every token that is not active: unknown, ended, malformed or not for the caller.
pub const INACTIVE: &str = r#"{"active":false}"#;

/// Serialization of strings and numbers does not fail.
fn json(members: &impl Serialize) -> Secret<String> {
    let mut bytes = serde_json::to_vec(members).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    bytes.zeroize();
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn contract_token_answer_has_its_members_in_this_order() {
        let answer = TokenAnswer {
            expires_in: 31_536_000,
            access_token: secret("eyJ0"),
            refresh_token: Some(secret("gp_rt_1")),
            scopes: ScopeSet::parse("write read").unwrap(),
        };
        assert_eq!(
            answer.to_json().expose(),
            r#"{"token_type":"Bearer","expires_in":31536000,"access_token":"eyJ0","refresh_token":"gp_rt_1","scope":"read write"}"#
        );
        assert!(!format!("{answer:?}").contains("eyJ0"));
    }

    #[test]
    fn contract_token_answer_without_a_refresh_token_and_with_an_empty_scope() {
        let answer = TokenAnswer {
            expires_in: 60,
            access_token: secret("t"),
            refresh_token: None,
            scopes: ScopeSet::default(),
        };
        assert_eq!(
            answer.to_json().expose(),
            r#"{"token_type":"Bearer","expires_in":60,"access_token":"t","scope":""}"#
        );
    }

    #[test]
    fn a_device_answer_names_both_uris() {
        let answer = DeviceAnswer {
            device_code: secret("gp_dc_1"),
            user_code: secret("WDJB-MJHT"),
            verification_uri: "https://a.example/oauth/device".into(),
            expires_in: 600,
            interval: 5,
        };
        assert_eq!(
            answer.to_json().expose(),
            r#"{"device_code":"gp_dc_1","user_code":"WDJB-MJHT","verification_uri":"https://a.example/oauth/device","verification_uri_complete":"https://a.example/oauth/device?user_code=WDJB-MJHT","expires_in":600,"interval":5}"#
        );
    }

    #[test]
    fn an_active_token_is_described_without_what_is_absent() {
        let token = ActiveToken {
            scopes: ScopeSet::parse("read").unwrap(),
            client: None,
            username: Some("a\"da".into()),
            expires: None,
            issued: UnixTime(7),
            subject: "usr_1".into(),
            audience: "https://a.example".into(),
            issuer: "https://a.example".into(),
            id: "pat_1".into(),
        };
        assert_eq!(
            token.to_json(),
            r#"{"active":true,"scope":"read","username":"a\"da","token_type":"Bearer","iat":7,"sub":"usr_1","aud":"https://a.example","iss":"https://a.example","jti":"pat_1"}"#
        );
        let whole =
            ActiveToken { client: Some("shop".into()), expires: Some(UnixTime(9)), ..token };
        assert!(
            whole.to_json().contains(r#""client_id":"shop""#)
                && whole.to_json().contains(r#""exp":9"#)
        );
    }
}
