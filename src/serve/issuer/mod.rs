//! The endpoints of the issuer: requests with a bounded body in, answers out.
//!
//! Owns [`Issuer::answer`], which the data path calls for a route of the issuer, and the order of
//! what every endpoint does: query, body, client, intent, answer. Runs on a runtime of its own, so
//! that a signature or a slow disk holds up no proxied request, and a request whose caller is gone
//! ends as it would have. Never reads a socket, and never decides what a client may get: that is
//! [`crate::issue::intent`].

mod access_token;
mod cors;
mod declared;
mod device_code;
mod documents;
mod enforced;
mod existence;
mod failures;
pub(crate) mod forget;
mod introspect;
pub(crate) mod keys;
pub(crate) mod manage;
pub(crate) mod open;
mod pages;
pub(crate) mod passwords;
pub(crate) mod pepper_file;
mod respond;
mod revoke;
pub(crate) mod rotate;
pub(crate) mod running;
mod secret_uses;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod token_keys;
pub(crate) mod vault;
mod whoami;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use prometheus::IntCounterVec;
use tokio::runtime::Handle;

use crate::base::clock::{Clock, UnixTime};
use crate::config::snapshot::Snapshots;
use crate::decide::jwt::VerifiedToken;
use crate::decide::live::Live;
use crate::decide::policy::Endpoint;
use crate::decide::request::address::Peer;
use crate::issue::client_auth::{Method as AuthMethod, Presented};
use crate::issue::error::{Challenge, ErrorCode, OAuthError};
use crate::issue::form::{self, Form};
use crate::issue::intent::client::Client;
use crate::issue::intent::{Intent, Refusal};
use crate::serve::issuer::enforced::Enforced;
use crate::serve::issuer::failures::Failures;
use crate::serve::issuer::passwords::Passwords;
use crate::serve::issuer::respond::{error_answer, methods_answer};
use crate::serve::issuer::secret_uses::SecretUses;
use crate::serve::issuer::vault::Vault;
use crate::serve::issuer::whoami::Application;
use crate::serve::store::{self, Committed, NotStored, Store};

pub(crate) use settings::{Addresses, Settings};
pub(crate) use token_keys::TokenKeys;

/// The caller of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The client address, where there is one.
    pub address: Option<IpAddr>,
    /// The request id.
    pub request: Box<str>,
}

impl Caller {
    /// This caller in the audit log, acting as a client or a person.
    fn acting(&self, actor: &str) -> store::Caller {
        store::Caller {
            actor: actor.into(),
            address: self.address.map(|address| address.to_string().into()),
            request: Some(self.request.clone()),
        }
    }
}

/// The revocations that the gate looks at, beside what has ended in the store.
pub(crate) trait Revoked: Send + Sync {
    /// Returns whether this access token is revoked.
    fn has_token(&self, token: &VerifiedToken, now: UnixTime) -> bool;

    /// Returns whether the key or personal access token of this id is revoked.
    fn has_key(&self, id: &str, now: UnixTime) -> bool;

    /// Returns whether everything of this person is revoked.
    fn has_person(&self, issuer: &str, subject: &str, now: UnixTime) -> bool;

    /// Returns whether an address is one caller's, not that of a balancer with many behind it.
    fn is_single_caller(&self, address: IpAddr) -> bool;

    /// Returns whether the gate accepts personal access tokens.
    fn takes_personal_access_tokens(&self) -> bool;
}

impl Revoked for Arc<Snapshots> {
    fn has_token(&self, token: &VerifiedToken, now: UnixTime) -> bool {
        self.load().gate.revocations.find_token(token, now).is_some()
    }

    fn has_key(&self, id: &str, now: UnixTime) -> bool {
        self.load().gate.revocations.find_key(id, now).is_some()
    }

    fn has_person(&self, issuer: &str, subject: &str, now: UnixTime) -> bool {
        self.load().gate.revocations.find_subject(issuer, subject, now).is_some()
    }

    fn is_single_caller(&self, address: IpAddr) -> bool {
        let peer = Peer::Ip(address);
        self.load().gate.trusted_proxies.single_caller(peer).is_some()
    }

    fn takes_personal_access_tokens(&self) -> bool {
        let snapshot = self.load();
        let issuer = snapshot.dynamic.issuer.as_ref();
        issuer.is_some_and(|issuer| issuer.personal_access_tokens.is_some())
    }
}

/// The series of people's sign-ins and consents.
#[derive(Clone, Debug)]
pub(crate) struct PeopleSeries {
    /// `gatepost_authorizations_total`.
    pub authorizations: IntCounterVec,
    /// `gatepost_sign_ins_total`.
    pub sign_ins: IntCounterVec,
}

/// The parts that an issuer is made of.
pub(crate) struct Parts {
    /// The database on which intents run.
    pub store: Store,
    /// Live credentials, as the gate sees them.
    pub live: Arc<Live>,
    /// The keys that sign and verify.
    pub keys: Arc<dyn TokenKeys>,
    /// The SafeStore.
    pub vault: Arc<Vault>,
    /// Revocations of the log and of files.
    pub revoked: Box<dyn Revoked>,
    /// The running gate.
    pub enforced: Box<dyn Enforced>,
    /// The configuration.
    pub settings: Settings,
    /// The thread that hashes passwords.
    pub passwords: Arc<Passwords>,
    /// `gatepost_tokens_issued_total`.
    pub issued: IntCounterVec,
    /// `gatepost_authorizations_total` and `gatepost_sign_ins_total`.
    pub people: PeopleSeries,
    /// The process clock.
    pub clock: Clock,
    /// The runtime of the endpoints.
    pub runtime: Handle,
    /// The key of the table of failures.
    pub seed: [u64; 2],
}

/// The endpoints, with everything that they use.
pub(crate) struct Issuer {
    store: Store,
    live: Arc<Live>,
    keys: Arc<dyn TokenKeys>,
    vault: Arc<Vault>,
    revoked: Box<dyn Revoked>,
    enforced: Box<dyn Enforced>,
    settings: ArcSwap<Settings>,
    failures: Failures,
    shared_failures: Failures,
    /// Of user codes.
    guesses: Failures,
    secret_uses: SecretUses,
    passwords: Arc<Passwords>,
    /// The application that signs people in.
    application: Application,
    issued: IntCounterVec,
    people: PeopleSeries,
    clock: Clock,
    runtime: Handle,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("store", &self.store).finish_non_exhaustive()
    }
}

/// An answer, or the error that it tells.
type Answered = Result<Response<Bytes>, Failed>;

/// A request that failed.
#[derive(Debug)]
struct Failed {
    error: OAuthError,
    /// An end that is in force and not stored: the answer says so.
    not_stored: bool,
}

impl From<OAuthError> for Failed {
    fn from(error: OAuthError) -> Self {
        Self { error, not_stored: false }
    }
}

impl From<&Refusal> for Failed {
    fn from(refusal: &Refusal) -> Self {
        OAuthError::from(refusal).into()
    }
}

impl From<NotStored> for Failed {
    fn from(not_stored: NotStored) -> Self {
        let description = match not_stored.in_force {
            true => "in force on this node, but not stored: the store is unavailable",
            false => "the store is unavailable: try again later",
        };
        let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, description);
        Self { error, not_stored: not_stored.in_force }
    }
}

/// A request of a client, with its form.
struct Asked<'a> {
    form: &'a Form,
    client: Presented,
    caller: &'a Caller,
}

impl Issuer {
    /// Puts the parts together.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            live: parts.live,
            keys: parts.keys,
            vault: parts.vault,
            revoked: parts.revoked,
            enforced: parts.enforced,
            settings: ArcSwap::from_pointee(parts.settings),
            failures: Failures::new(parts.seed),
            shared_failures: Failures::of_shared(parts.seed),
            guesses: Failures::of_guesses(parts.seed),
            secret_uses: SecretUses::default(),
            passwords: parts.passwords,
            application: Application::new(parts.clock),
            issued: parts.issued,
            people: parts.people,
            clock: parts.clock,
            runtime: parts.runtime,
        }
    }

    /// Puts a reloaded configuration in force.
    pub(crate) fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Answers one request. The work goes on if the future is dropped. The extension [`ErrorCode`]
    /// of the response names the error, where it is one.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        endpoint: Endpoint,
        request: Request<Bytes>,
        caller: Caller,
    ) -> Response<Bytes> {
        let issuer = Arc::clone(self);
        let fields = self.cors_fields(endpoint, request.method(), request.headers());
        let work = async move { issuer.route(endpoint, &request, &caller).await };
        let mut response = self.runtime.spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, endpoint = endpoint.label(), "issuer: request failed");
            error_answer(&OAuthError::new(ErrorCode::ServerError, "internal error"), false)
        });
        response.headers_mut().extend(fields);
        response
    }

    async fn route(
        &self,
        endpoint: Endpoint,
        request: &Request<Bytes>,
        caller: &Caller,
    ) -> Response<Bytes> {
        let methods = endpoint.methods();
        if request.method() == Method::OPTIONS || !methods.covers(request.method()) {
            return methods_answer(&methods, request.method());
        }
        let answered = match endpoint {
            Endpoint::Token => self.token(request, caller).await,
            Endpoint::Revoke => self.revoke(request, caller).await,
            Endpoint::Introspect => self.introspect(request, caller).await,
            Endpoint::Metadata => Ok(self.metadata()),
            Endpoint::Jwks => Ok(self.jwks()),
            Endpoint::DeviceCode => self.device_code(request, caller).await,
            Endpoint::Authorize | Endpoint::Device | Endpoint::Account => {
                return self.page(endpoint, request, caller).await;
            }
        };
        answered.unwrap_or_else(|failed| error_answer(&failed.error, failed.not_stored))
    }

    /// Runs an intent of a client. A failed authentication is charged to the client and the
    /// address, after the secret was compared: right credentials are never refused.
    async fn run<I: Intent>(
        &self,
        intent: I,
        asked: &Asked<'_>,
    ) -> Result<Committed<I::Answer>, Failed> {
        let client = asked.client.id.as_str();
        let done = self.store.run(intent, asked.caller.acting(client)).await?;
        if matches!(done.outcome, Err(Refusal::InvalidClient)) {
            let error = OAuthError::invalid_client();
            let error = match asked.client.method {
                AuthMethod::Basic => error.with_challenge(Challenge::Basic),
                AuthMethod::Post | AuthMethod::None => error,
            };
            return Err(self.failed_attempt(client, asked.caller, error).into());
        }
        if let Some(digest) = asked.client.digest() {
            self.secret_uses.note(digest, self.clock.now().unix);
        }
        Ok(done)
    }

    /// The answer to failed credentials: `error`, or 429 once the budget is exhausted.
    fn failed_attempt(&self, account: &str, caller: &Caller, error: OAuthError) -> OAuthError {
        let now = self.clock.now().monotonic;
        match self.failures.charge(account, caller.address, now) {
            Ok(()) => error,
            Err(wait) => OAuthError::new(ErrorCode::RateLimited, "too many failed attempts")
                .with_retry_after(wait),
        }
    }
}

/// The answer of every endpoint before the issuer is open.
#[must_use]
pub(crate) fn unavailable() -> Response<Bytes> {
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, "the issuer is starting");
    error_answer(&error.with_retry_after(Duration::from_secs(1)), false)
}

/// The answer of an endpoint with JSON errors to a body of more than `limit` bytes.
#[must_use]
pub(crate) fn too_large(limit: u64) -> Response<Bytes> {
    let error = OAuthError::invalid_request(format!("the body exceeds {limit} bytes"));
    error_answer(&error.with_status(413), false)
}

/// An internal fault: logged, and not shown.
fn fault(error: &dyn std::fmt::Display) -> OAuthError {
    tracing::error!(%error, "issuer: request failed");
    OAuthError::new(ErrorCode::ServerError, "internal error")
}

/// The form of a request that authenticates a client.
fn read_form(request: &Request<Bytes>) -> Result<Form, OAuthError> {
    form::check_query(request.uri().query())?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    Form::parse(content_type.and_then(|value| value.to_str().ok()), request.body())
}

fn presented(headers: &HeaderMap, form: &Form) -> Result<Presented, OAuthError> {
    Presented::read(authorization(headers), form)
}

fn authorization(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes)
}

/// The client as intents know it.
fn client(presented: &Presented) -> Client {
    Client { id: presented.id.clone(), secret: presented.digest() }
}
