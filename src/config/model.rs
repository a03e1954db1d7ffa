//! The parsed configuration: types that cannot be wrong.
//!
//! Split by what a reload may change: [`Startup`] needs a restart, [`Dynamic`] does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Mistake;
use crate::config::key_url::KeyUrl;
use crate::decide::identity::{IdentityHeaderName, IdentityHeaders};
use crate::decide::jwt::IssuerSettings;
use crate::decide::policy::RouteTable;
use crate::decide::policy::upstream::Upstream;
use crate::decide::rate_limit::{LimitPolicy, Quota};
use crate::decide::request::address::TrustedProxies;
use crate::decide::request::credential::CredentialSources;

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// What needs a restart.
    pub startup: Startup,
    /// What a reload publishes.
    pub dynamic: Dynamic,
}

/// A file that the configuration names, and where it does so: what cannot be read is a mistake
/// there. Two are equal when they name the same file.
#[derive(Clone, Debug)]
pub struct FileReference {
    /// The file, resolved against the folder of the file that names it.
    pub path: PathBuf,
    /// Where it is named, as a mistake without a message.
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

/// Where something listens.
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
    /// Where it listens.
    pub address: ListenAddress,
    /// How long a client connection may be idle.
    pub keepalive: Duration,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// The file with the bearer token it demands; required beyond loopback. Read by
    /// [`crate::config::files::admin_token`].
    pub token_file: Option<FileReference>,
}

/// Where the access log goes.
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
    /// Where it goes.
    pub target: AccessLogTarget,
    /// JSON or text; `None` follows `--log-format`.
    pub json: Option<bool>,
}

/// How many downstream connections may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCaps {
    /// In all.
    pub total: usize,
    /// From one address (IPv6: one /64).
    pub per_address: usize,
}

/// What needs a restart: a reload that finds another one publishes the rest and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// Public listeners; never empty.
    pub listeners: Vec<Listener>,
    /// The admin listener; absent means off.
    pub admin: Option<Admin>,
    /// Where metrics and probes are served besides, to everybody.
    pub metrics: Option<ListenAddress>,
    /// Worker threads; `None` is one per core.
    pub threads: Option<usize>,
    /// How long new connections are still taken after SIGTERM.
    pub lame_duck: Duration,
    /// How long active requests may finish after that.
    pub shutdown_timeout: Duration,
    /// How many connections may be open.
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
}

/// Where the keys of an issuer come from. Paths are resolved against the configuration's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// JWKS, JWK or PEM.
    File(FileReference),
    /// An HMAC secret.
    SecretFile(FileReference),
    /// A JWK set that is fetched.
    Remote(Arc<RemoteKeys>),
    /// Its tokens are opaque: it has no keys, and is asked.
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
    /// Where they are.
    pub location: KeyLocation,
    /// The certificates that the server's must come from; `None` is the system's.
    pub ca_file: Option<FileReference>,
    /// The file with the bearer token that the server demands.
    pub bearer_file: Option<FileReference>,
    /// How long one refresh may take as a whole.
    pub timeout: Duration,
    /// The longest time between two refreshes.
    pub refresh: Duration,
    /// How old keys may be that cannot be refreshed.
    pub stale_for: Duration,
    /// Whether plain HTTP beyond loopback is allowed.
    pub insecure_http: bool,
}

/// Where a JWK set is. Another location is another source: its keys have not been had yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyLocation {
    /// At this address.
    Url(KeyUrl),
    /// Where the issuer's metadata says.
    Discovery,
}

/// One issuer and where its keys come from.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerSource {
    /// What is demanded of its tokens.
    pub settings: Arc<IssuerSettings>,
    /// Its keys.
    pub keys: KeySource,
    /// Where it is asked about opaque tokens.
    pub introspection: Option<Arc<IntrospectionEndpoint>>,
}

/// Where an issuer is asked about opaque tokens (RFC 7662), and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionEndpoint {
    /// Its address.
    pub url: KeyUrl,
    /// Who asks.
    pub client_id: Box<str>,
    /// The file with the secret of who asks, less one final newline.
    pub client_secret: FileReference,
    /// How the secret is presented.
    pub authentication: ClientAuthentication,
    /// How long one question may take.
    pub timeout: Duration,
    /// The certificates that the endpoint's must come from; `None` is the system's.
    pub ca_file: Option<FileReference>,
}

/// How a client says who it is (RFC 6749 section 2.3.1).
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

/// What a reload publishes. Everything in it is compiled and checked but for the files it names,
/// which [`crate::config::files`] reads.
#[derive(Debug)]
pub struct Dynamic {
    /// Whose forwarded fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// Upstreams in the order of the file.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Issuers in the order of the file.
    pub issuers: Vec<IssuerSource>,
    /// API keys.
    pub api_keys: ApiKeySettings,
    /// What is revoked, besides what the admin listener is told.
    pub revocation_files: Vec<FileReference>,
    /// Where credentials are read from.
    pub credentials: CredentialSources,
    /// What failed credentials may cost an address.
    pub failed_credentials: Quota,
    /// Limits in the order of the file.
    pub limits: Vec<Arc<LimitPolicy>>,
    /// Identity headers.
    pub identity: IdentityHeaders,
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// `realm` of every challenge; visible ASCII without quotes.
    pub realm: Box<str>,
    /// Whether secret files may be readable by others (`insecure_file_modes`).
    pub insecure_file_modes: bool,
    /// Every `insecure_...` setting in force, by its path, for the start-up log and the metric.
    pub insecure: Vec<String>,
}

impl Dynamic {
    /// Every file that is read for this configuration, for those who watch them.
    pub fn files(&self) -> impl Iterator<Item = &FileReference> {
        let key_sets = self.issuers.iter().filter_map(|issuer| issuer.keys.file());
        let asked = self.issuers.iter().filter_map(|issuer| issuer.introspection.as_deref());
        let asked = asked.flat_map(|one| std::iter::once(&one.client_secret).chain(&one.ca_file));
        let peppers = self.api_keys.peppers.iter().map(|(_, file)| file);
        let revoked = &self.revocation_files;
        key_sets.chain(asked).chain(&self.api_keys.files).chain(peppers).chain(revoked)
    }
}
