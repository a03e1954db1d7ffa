//! The parsed configuration: types that cannot be wrong.
//!
//! Split by what a reload may change: [`Startup`] needs a restart, [`Dynamic`] does not.

pub mod issuer;
pub mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Mistake;
use crate::config::key_url::KeyUrl;
use crate::decide::identity::{IdentityHeaderName, IdentityHeaders};
use crate::decide::jwt;
use crate::decide::policy::upstream::Upstream;
use crate::decide::policy::{Route, RouteTable};
use crate::decide::rate_limit::{LimitPolicy, Quota};
use crate::decide::request::address::TrustedProxies;
use crate::decide::request::credential::CredentialSources;
use crate::decide::request::proxy_protocol::ProxyProtocol;

pub use issuer::{IssuerSettings, IssuerStartup};
pub use tls::{
    CertificateFiles, ClientAuthorities, ListenerKey, ListenerTls, TlsVersion, UpstreamTls,
};

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Settings that need a restart.
    pub startup: Startup,
    /// Settings that a reload publishes.
    pub dynamic: Dynamic,
}

/// A file that the configuration names, and where it does so: what cannot be read is a mistake
/// there. Two are equal when they name the same file.
#[derive(Clone, Debug)]
pub struct FileReference {
    /// The file, resolved against the folder of the file that names it.
    pub path: PathBuf,
    /// The place that names it, as a mistake without a message.
    pub named_at: Arc<Mistake>,
}

impl FileReference {
    /// A mistake at the place where the file is named.
    #[must_use]
    pub fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), ..Mistake::clone(&self.named_at) }
    }
}

impl PartialEq for FileReference {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for FileReference {}

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address.
    pub address: ListenAddress,
    /// The maximum idle time of a client connection.
    pub keepalive: Duration,
    /// TLS as the file has it. [`Dynamic::tls`] has what a reload publishes.
    pub tls: Option<ListenerTls>,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
}

impl Listener {
    /// Returns whether clients may present a certificate.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.clients.is_some())
    }

    /// Returns whether a running listener serves as `other` without a restart: TLS settings are
    /// reloaded, but for whether there is TLS.
    #[must_use]
    pub fn serves_as(&self, other: &Self) -> bool {
        let Self { address, keepalive, tls, proxy_protocol } = self;
        *address == other.address
            && *proxy_protocol == other.proxy_protocol
            && *keepalive == other.keepalive
            && tls.is_some() == other.tls.is_some()
    }
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its address.
    pub address: ListenAddress,
    /// The file with the bearer token it demands; required beyond loopback. Read by
    /// [`crate::config::files::admin_token`].
    pub token_file: Option<FileReference>,
}

/// The destination of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file, opened for appending and again on SIGHUP.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The destination.
    pub target: AccessLogTarget,
    /// JSON or text; `None` follows `--log-format`.
    pub json: Option<bool>,
}

/// Limits on open downstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCaps {
    /// In all.
    pub total: usize,
    /// From one address (IPv6: one /64).
    pub per_address: usize,
}

/// Settings that need a restart: a reload with other values publishes the rest and reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// Public listeners; never empty.
    pub listeners: Vec<Listener>,
    /// The admin listener; absent means off.
    pub admin: Option<Admin>,
    /// A second listener for metrics and probes, without authentication.
    pub metrics: Option<ListenAddress>,
    /// Worker threads; `None` is one per core.
    pub threads: Option<usize>,
    /// The time after SIGTERM in which new connections are accepted.
    pub lame_duck: Duration,
    /// The time that active requests have to finish after that.
    pub shutdown_timeout: Duration,
    /// Limits on open connections.
    pub connections: ConnectionCaps,
    /// The access log.
    pub access_log: AccessLog,
    /// The most callers the limits remember.
    pub limit_entries: usize,
    /// The most upstream connections kept for re-use, per worker thread.
    pub upstream_pool: usize,
    /// The folder for what must survive a restart: fetched key sets, revocations. Made when
    /// something is first kept; only the owner may reach it.
    pub state_dir: PathBuf,
    /// The most memory for verified tokens, in bytes; 0 keeps none.
    pub token_cache: u64,
    /// The built-in issuer; absent means off.
    pub issuer: Option<Arc<IssuerStartup>>,
}

/// The source of the keys of an issuer. Paths are resolved against the configuration's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// JWKS, JWK or PEM.
    File(FileReference),
    /// An HMAC secret.
    SecretFile(FileReference),
    /// A JWK set that is fetched.
    Remote(Arc<RemoteKeys>),
    /// None: its tokens are opaque and introspected.
    Nowhere,
}

impl KeySource {
    /// The file the keys are in, or the certificates their server is known by.
    #[must_use]
    pub fn file(&self) -> Option<&FileReference> {
        match self {
            Self::File(file) | Self::SecretFile(file) => Some(file),
            Self::Remote(remote) => remote.ca_file.as_ref(),
            Self::Nowhere => None,
        }
    }
}

/// Keys that are fetched, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteKeys {
    /// Their location.
    pub location: KeyLocation,
    /// The certificates that the server's must come from; `None` is the system's.
    pub ca_file: Option<FileReference>,
    /// The file with the bearer token that the server demands.
    pub bearer_file: Option<FileReference>,
    /// The timeout of a refresh as a whole.
    pub timeout: Duration,
    /// The longest time between two refreshes.
    pub refresh: Duration,
    /// The maximum age of keys whose refresh fails.
    pub stale_for: Duration,
    /// True if plain HTTP beyond loopback is allowed.
    pub insecure_http: bool,
}

/// The location of a JWK set. Another location is another source, whose keys are not fetched yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyLocation {
    /// At this address.
    Url(KeyUrl),
    /// At the address in the metadata of the issuer.
    Discovery,
}

/// One issuer and where its keys come from.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerSource {
    /// The requirements on its tokens.
    pub settings: Arc<jwt::IssuerSettings>,
    /// Its keys.
    pub keys: KeySource,
    /// Its endpoint for opaque tokens.
    pub introspection: Option<Arc<IntrospectionEndpoint>>,
}

/// An introspection endpoint (RFC 7662) and the client credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionEndpoint {
    /// Its address.
    pub url: KeyUrl,
    /// The client id.
    pub client_id: Box<str>,
    /// The file with the client secret, less one final newline.
    pub client_secret: FileReference,
    /// The client authentication method.
    pub authentication: ClientAuthentication,
    /// The timeout of a request.
    pub timeout: Duration,
    /// The certificates that the endpoint's must come from; `None` is the system's.
    pub ca_file: Option<FileReference>,
}

/// Client authentication (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// `api_keys:`.
#[derive(Clone, Debug, Default)]
pub struct ApiKeySettings {
    /// Key files.
    pub files: Vec<FileReference>,
    /// Pepper files by name.
    pub peppers: Vec<(Box<str>, FileReference)>,
    /// Claims of a key that become headers.
    pub claim_headers: Vec<(Box<str>, IdentityHeaderName)>,
}

/// Settings that a reload publishes. Everything in it is compiled and checked but for the files it names,
/// which [`crate::config::files`] reads.
#[derive(Debug)]
pub struct Dynamic {
    /// TLS of the listeners that have it.
    pub tls: Vec<(ListenerKey, ListenerTls)>,
    /// The peers whose forwarding fields are trusted.
    pub trusted_proxies: TrustedProxies,
    /// Upstreams in the order of the file.
    pub upstreams: Vec<Arc<Upstream>>,
    /// TLS of the upstreams that have it, by name.
    pub upstream_tls: Vec<(Arc<str>, UpstreamTls)>,
    /// Issuers in the order of the file.
    pub issuers: Vec<IssuerSource>,
    /// The built-in issuer, where [`Startup::issuer`] has one.
    pub issuer: Option<Arc<IssuerSettings>>,
    /// API keys.
    pub api_keys: ApiKeySettings,
    /// Files of revocations, in addition to those of the admin listener.
    pub revocation_files: Vec<FileReference>,
    /// The places that credentials are read from.
    pub credentials: CredentialSources,
    /// The quota of failed credentials of an address.
    pub failed_credentials: Quota,
    /// Limits in the order of the file.
    pub limits: Vec<Arc<LimitPolicy>>,
    /// Identity headers.
    pub identity: IdentityHeaders,
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// `realm` of every challenge; visible ASCII without quotes.
    pub realm: Box<str>,
    /// True if secret files may be readable by others (`insecure_file_modes`).
    pub insecure_file_modes: bool,
    /// Every `insecure_...` setting in force, by its path, for the start-up log and the metric.
    pub insecure: Vec<String>,
}

impl Config {
    /// The routes that take credentials of the built-in issuer, by name.
    #[must_use]
    pub fn routes_of_issuer(&self) -> Vec<&str> {
        self.dynamic.routes_of_issuer(&self.startup)
    }
}

impl Dynamic {
    /// The routes that take credentials of the issuer that the process was started with, by name.
    #[must_use]
    pub fn routes_of_issuer(&self, startup: &Startup) -> Vec<&str> {
        let Some((settings, issuer)) = self.issuer.as_ref().zip(startup.issuer.as_ref()) else {
            return Vec::new();
        };
        let takes = |route: &&Arc<Route>| settings.is_taken_by(&issuer.url, route);
        self.routes.routes().iter().filter(takes).map(|route| &*route.name).collect()
    }

    /// Every file that is read for this configuration, for watchers.
    pub fn files(&self) -> impl Iterator<Item = &FileReference> {
        let key_sets = self.issuers.iter().filter_map(|issuer| issuer.keys.file());
        let asked = self.issuers.iter().filter_map(|issuer| issuer.introspection.as_deref());
        let asked = asked.flat_map(|one| std::iter::once(&one.client_secret).chain(&one.ca_file));
        let peppers = self.api_keys.peppers.iter().map(|(_, file)| file);
        let revoked = &self.revocation_files;
        let applications = self.issuer.iter().flat_map(|issuer| &issuer.applications);
        let secrets = applications.flat_map(|application| &application.secret_files);
        let upstreams = self.upstream_tls.iter().flat_map(|(_, tls)| tls.files());
        let certificates = self.tls.iter().flat_map(|(_, tls)| tls.files()).chain(upstreams);
        key_sets
            .chain(asked)
            .chain(&self.api_keys.files)
            .chain(peppers)
            .chain(revoked)
            .chain(secrets)
            .chain(certificates)
    }
}
