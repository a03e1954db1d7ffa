//! Pages and redirects as HTTP answers.
//!
//! Owns the security fields of every page, and what a request becomes that has no page: a sentence
//! that says what happened. Never writes a value of a person into anything but an escaped template.

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::base::secret::Secret;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::intent::Refusal;
use crate::serve::issuer::pages::frame::Frame;
use crate::serve::issuer::settings::Settings;
use crate::serve::store::{Failure, NotStored};

/// Everything is served by this origin, and nothing is inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// On pages whose forms stay here. Not on sign-in and consent: browsers apply it to the redirects
/// that follow, too.
const FORMS: &str = "; form-action 'self'";
const HSTS: &str = "max-age=31536000";

/// The targets of the forms of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// This origin.
    Here,
    /// A redirect of the answer may leave it.
    Leave,
}

/// A page, or the reason why there is none.
pub(super) type Shown = Result<Response<Bytes>, Trouble>;

/// A request that has no page of its own: the sentence that is shown.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: ErrorCode,
    pub(super) text: String,
    /// Seconds until another attempt may succeed.
    pub(super) retry_after: Option<u64>,
    /// A link to go on: its text and target.
    pub(super) link: Option<(&'static str, String)>,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, code: ErrorCode, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), retry_after: None, link: None }
    }

    /// A form or link that cannot be used any more.
    pub(super) fn stale(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, text)
    }

    pub(super) fn not_found() -> Self {
        let text = "There is no such page.";
        Self::new(StatusCode::NOT_FOUND, ErrorCode::InvalidRequest, text)
    }

    pub(super) fn fault(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "issuer: page failed");
        let text = "An internal error occurred. The server log has the details.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::ServerError, text)
    }

    pub(super) fn unavailable() -> Self {
        let text = "The service is busy or its store is unavailable. Try again in a moment.";
        let code = ErrorCode::TemporarilyUnavailable;
        Self { retry_after: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, text) }
    }

    pub(super) fn with_link(self, text: &'static str, target: String) -> Self {
        Self { link: Some((text, target)), ..self }
    }
}

impl From<NotStored> for Trouble {
    fn from(error: NotStored) -> Self {
        tracing::warn!(%error, "issuer: a page could not store a change");
        Self::unavailable()
    }
}

impl From<Failure> for Trouble {
    fn from(error: Failure) -> Self {
        tracing::warn!(%error, "issuer: a page could not read the store");
        Self::unavailable()
    }
}

impl From<OAuthError> for Trouble {
    fn from(error: OAuthError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        // A page has no challenge to answer.
        let status =
            if status == StatusCode::UNAUTHORIZED { StatusCode::BAD_REQUEST } else { status };
        let text = format!("{}.", sentence(error.description()));
        Self { retry_after: error.retry_after(), ..Self::new(status, error.code(), text) }
    }
}

impl From<&Refusal> for Trouble {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Unknown(..) => Self::not_found(),
            _ => OAuthError::from(refusal).into(),
        }
    }
}

/// The same with a capital letter.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>());
    first.unwrap_or_default() + letters.as_str()
}

/// A page.
pub(super) fn html(settings: &Settings, forms: Forms, page: &impl Template) -> Shown {
    let text = page.render().map_err(|error| Trouble::fault(&error))?;
    let mut response = plain(settings, text, "text/html; charset=utf-8");
    if forms == Forms::Here {
        let policy = HeaderValue::from_str(&format!("{POLICY}{FORMS}"));
        let policy = policy.unwrap_or(HeaderValue::from_static(POLICY));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// A page of a form that was not accepted.
pub(super) fn refused(settings: &Settings, forms: Forms, page: &impl Template) -> Shown {
    let mut response = html(settings, forms, page)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response.extensions_mut().insert(ErrorCode::InvalidRequest);
    Ok(response)
}

/// Any document of the pages, with the fields of all of them.
pub(super) fn plain(
    settings: &Settings,
    body: impl Into<Bytes>,
    content_type: &'static str,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if settings.configured.hsts && settings.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// 303: the browser goes there with GET, whatever it sent (RFC 9700 section 4.12).
pub(super) fn see_other(settings: &Settings, target: &str) -> Shown {
    let target = HeaderValue::from_str(target).map_err(|error| Trouble::fault(&error))?;
    let mut response = plain(settings, Bytes::new(), "text/plain; charset=utf-8");
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, target);
    Ok(response)
}

/// Adds a cookie that scripts cannot read; `age` in seconds, or until the browser ends.
pub(super) fn set_cookie(
    response: &mut Response<Bytes>,
    settings: &Settings,
    (name, value): (&str, &Secret<String>),
    age: Option<u64>,
) {
    let secure = if settings.is_https() { "; Secure" } else { "" };
    let age = age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    let value = value.expose();
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
    if let Ok(mut text) = HeaderValue::try_from(text) {
        text.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, text);
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: &'a Frame,
    title: &'a str,
    text: &'a str,
    link: Option<&'a (&'static str, String)>,
}

/// The page that says why there is no other.
pub(super) fn trouble(settings: &Settings, frame: &Frame, trouble: &Trouble) -> Response<Bytes> {
    let title = match trouble.status {
        StatusCode::NOT_FOUND => "Page not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_server_error() => "Temporarily unavailable",
        _ => "This did not work",
    };
    let page = Message { frame, title, text: &trouble.text, link: trouble.link.as_ref() };
    let mut response = html(settings, Forms::Here, &page)
        .unwrap_or_else(|_| plain(settings, trouble.text.clone(), "text/plain; charset=utf-8"));
    *response.status_mut() = trouble.status;
    if let Some(seconds) = trouble.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(trouble.code);
    response
}

/// A page with one sentence and perhaps a link: a success.
pub(super) fn notice(
    settings: &Settings,
    frame: &Frame,
    (title, text): (&str, &str),
    link: Option<&(&'static str, String)>,
) -> Shown {
    html(settings, Forms::Here, &Message { frame, title, text, link })
}
