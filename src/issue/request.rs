//! Requests at the token, revocation and introspection endpoints, parsed.
//!
//! Owns which parameters a grant needs and their syntax (RFC 6749, RFC 7009, RFC 7662,
//! RFC 8628 section 3.4). Secrets become digests here, so that nothing after it sees
//! them. Never decides whether a client may do what it asks for.

use crate::base::secret::Secret;
use crate::decide::api_key::format::{Form as TextForm, SecretKind, check};
use crate::decide::scope::ScopeSet;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::Form;
use crate::issue::intent::code::Verifier;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::rows::SecretDigest;

/// The longest `scope`, in bytes.
const SCOPE_BYTES_MAX: usize = 4 * 1024;

/// The longest token that is revoked or introspected, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token request, by its grant type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRequest {
    /// RFC 6749 section 4.4.
    ClientCredentials {
        /// `scope`.
        scope: Option<ScopeSet>,
    },
    /// RFC 6749 section 4.1.3.
    AuthorizationCode {
        /// Digest of `code`.
        code: SecretDigest,
        /// `redirect_uri`.
        redirect_uri: Option<Box<str>>,
        /// `code_verifier`.
        verifier: Option<Verifier>,
    },
    /// RFC 6749 section 6.
    RefreshToken {
        /// Digest of `refresh_token`.
        token: SecretDigest,
        /// `scope`.
        scope: Option<ScopeSet>,
    },
    /// RFC 8628 section 3.4.
    DeviceCode {
        /// Digest of `device_code`.
        code: SecretDigest,
    },
}

impl TokenRequest {
    /// Reads a token request.
    ///
    /// # Errors
    /// `unsupported_grant_type`, `invalid_request` or `invalid_scope`.
    pub fn read(form: &Form) -> Result<Self, OAuthError> {
        let [code, credentials, refresh, device] = GRANT_TYPES;
        match form.required("grant_type")? {
            grant if grant == credentials => Ok(Self::ClientCredentials { scope: scope(form)? }),
            grant if grant == code => Ok(Self::AuthorizationCode {
                code: digest(form, "code")?,
                redirect_uri: form.value("redirect_uri").map(Box::from),
                verifier: form.value("code_verifier").map(Verifier::from),
            }),
            grant if grant == refresh => Ok(Self::RefreshToken {
                token: digest(form, "refresh_token")?,
                scope: scope(form)?,
            }),
            grant if grant == device => Ok(Self::DeviceCode { code: digest(form, "device_code")? }),
            _ => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                format!("unsupported grant_type: accepted are {}", GRANT_TYPES.join(", ")),
            )),
        }
    }
}

/// A presented token, by its form. `token_type_hint` is not needed: the forms differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresentedToken {
    /// `gp_rt_`.
    Refresh(SecretDigest),
    /// `gp_pat_`.
    PersonalAccessToken(SecretDigest),
    /// Perhaps a JWT of the issuer: to be verified.
    Jwt,
    /// No token of the issuer by its form.
    Other,
}

impl PresentedToken {
    /// The kind of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let digest = || SecretDigest::of_secret(token);
        match check(token) {
            TextForm::Good(SecretKind::RefreshToken) => Self::Refresh(digest()),
            TextForm::Good(SecretKind::PersonalAccessToken) => Self::PersonalAccessToken(digest()),
            TextForm::NotOurs if token.bytes().filter(|byte| *byte == b'.').count() == 2 => {
                Self::Jwt
            }
            TextForm::Good(_) | TextForm::Bad(_) | TextForm::NotOurs => Self::Other,
        }
    }
}

/// The `token` of a revocation or an introspection; `None` if it is absent or empty, which a
/// revocation by bearer is.
///
/// # Errors
/// `invalid_request`: longer than any token.
pub fn presented_token(form: &Form) -> Result<Option<Secret<String>>, OAuthError> {
    let token = form.value("token");
    if token.is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err(OAuthError::invalid_request("token is longer than 16 KiB"));
    }
    Ok(token.map(|token| Secret::new(token.to_owned())))
}

/// `scope`; an absent or empty one is none.
///
/// # Errors
/// `invalid_scope`.
pub fn scope(form: &Form) -> Result<Option<ScopeSet>, OAuthError> {
    let Some(text) = form.value("scope") else { return Ok(None) };
    if text.len() > SCOPE_BYTES_MAX {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "scope is longer than 4 KiB"));
    }
    let read = ScopeSet::parse(text)
        .map_err(|_| OAuthError::new(ErrorCode::InvalidScope, "scope is malformed"))?;
    Ok(Some(read).filter(|scopes| !scopes.is_empty()))
}

/// The digest of a code or token. Its form is not looked at: the client is authenticated first.
fn digest(form: &Form, name: &'static str) -> Result<SecretDigest, OAuthError> {
    form.required(name).map(SecretDigest::of_secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::api_key::format::generate;

    fn secret(kind: SecretKind) -> String {
        let mut next = 0_u8;
        let mut fill = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(7);
            }
            Ok(())
        };
        generate(kind, &mut fill).unwrap().expose().clone()
    }

    fn read(body: &str) -> Result<TokenRequest, OAuthError> {
        TokenRequest::read(&Form::decode(body.as_bytes()).unwrap())
    }

    #[track_caller]
    fn refused(body: &str, code: &str, description: &str) {
        let error = read(body).unwrap_err();
        assert_eq!((error.code().as_str(), error.description()), (code, description), "{body}");
    }

    #[test]
    fn contract_token_requests_of_every_grant_type() {
        let scopes = |text| Some(ScopeSet::parse(text).unwrap());
        let credentials = |scope| Ok(TokenRequest::ClientCredentials { scope });
        let begin = "grant_type=client_credentials";
        assert_eq!(read(begin), credentials(None));
        assert_eq!(read(&format!("{begin}&scope=")), credentials(None));
        assert_eq!(read(&format!("{begin}&scope=+")), credentials(None));
        assert_eq!(read(&format!("{begin}&scope=write+read")), credentials(scopes("read write")));

        let code = secret(SecretKind::AuthorizationCode);
        let verifier = "v".repeat(43);
        let body = format!("grant_type=authorization_code&code={code}");
        let digest = SecretDigest::of_secret(&code);
        let plain =
            TokenRequest::AuthorizationCode { code: digest, redirect_uri: None, verifier: None };
        assert_eq!(read(&body), Ok(plain));
        let whole = TokenRequest::AuthorizationCode {
            code: digest,
            redirect_uri: Some("https://a.example/cb".into()),
            verifier: Some(Verifier::from(&*verifier)),
        };
        let more = format!("&redirect_uri=https%3A%2F%2Fa.example%2Fcb&code_verifier={verifier}");
        let read_whole = read(&(body + &more));
        assert!(!format!("{read_whole:?}").contains(&verifier), "no secret in Debug (R-902)");
        assert_eq!(read_whole, Ok(whole));

        let token = secret(SecretKind::RefreshToken);
        let refresh = TokenRequest::RefreshToken {
            token: SecretDigest::of_secret(&token),
            scope: scopes("read"),
        };
        assert_eq!(
            read(&format!("grant_type=refresh_token&refresh_token={token}&scope=read")),
            Ok(refresh)
        );

        let code = secret(SecretKind::DeviceCode);
        let device = TokenRequest::DeviceCode { code: SecretDigest::of_secret(&code) };
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        assert_eq!(read(&format!("grant_type={grant}&device_code={code}")), Ok(device));
    }

    #[test]
    fn contract_token_requests_what_is_missing_or_malformed() {
        refused("", "invalid_request", "missing parameter: grant_type");
        refused("grant_type=authorization_code", "invalid_request", "missing parameter: code");
        refused("grant_type=refresh_token", "invalid_request", "missing parameter: refresh_token");
        for grant in ["password", "implicit", "Client_Credentials", "client_credentials%20"] {
            let error = read(&format!("grant_type={grant}")).unwrap_err();
            assert_eq!(error.code().as_str(), "unsupported_grant_type", "{grant}");
        }
        let begin = "grant_type=client_credentials&scope=";
        refused(&format!("{begin}a%22b"), "invalid_scope", "scope is malformed");
        refused(&format!("{begin}%C3%A9"), "invalid_scope", "scope is malformed");
        let long = "a".repeat(SCOPE_BYTES_MAX + 1);
        refused(&format!("{begin}{long}"), "invalid_scope", "scope is longer than 4 KiB");
    }

    #[test]
    fn a_presented_token_is_known_by_its_form() {
        let (refresh, pat) =
            (secret(SecretKind::RefreshToken), secret(SecretKind::PersonalAccessToken));
        let digest = SecretDigest::of_secret;
        assert_eq!(PresentedToken::of(&refresh), PresentedToken::Refresh(digest(&refresh)));
        assert_eq!(PresentedToken::of(&pat), PresentedToken::PersonalAccessToken(digest(&pat)));
        assert_eq!(PresentedToken::of("eyJ0.e30.AA"), PresentedToken::Jwt);
        let key = secret(SecretKind::ApiKey);
        for other in ["", "abc", "a.b", "a.b.c.d.e", &*key, &format!("{refresh}0"), "gp_rt_a.b.c"] {
            assert_eq!(PresentedToken::of(other), PresentedToken::Other, "{other}");
        }
        let form = |body: &str| Form::decode(body.as_bytes()).unwrap();
        assert!(presented_token(&form("")).unwrap().is_none());
        assert!(presented_token(&form("token=")).unwrap().is_none());
        assert_eq!(presented_token(&form("token=x")).unwrap().unwrap().expose(), "x");
        let long = format!("token={}", "x".repeat(TOKEN_BYTES_MAX + 1));
        assert!(presented_token(&form(&long)).is_err());
    }
}
