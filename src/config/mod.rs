//! From text to [`Config`]: every mistake at once, each with its place and its remedy.
//!
//! Owns the configuration language (`language`: YAML with positions, `${NAME}`), the entry of every
//! key beside its reader (`sections`) and the files that keys name ([`files`]). YAML types stay in
//! here. Never touches what runs: a [`Config`] is only data, and a snapshot compiles its dynamic part.
//!
//! ```text
//! bytes -> yaml::parse -> expand -> Value::section(&sections::TOP) -> sections::* -> Config
//!                                                               Config -> files::load -> Materials
//! ```

pub mod files;
pub mod key_file;
pub mod key_url;
pub(crate) mod language;
pub mod model;
mod parse;
pub(crate) mod revocation_file;
pub mod schema;
mod sections;
pub mod snapshot;

#[cfg(feature = "server")]
pub(crate) use files::failed_check;
pub use files::{ClientTls, IntrospectionFiles, Materials, ServedTls};
pub use key_url::KeyUrl;
pub use language::mistake::Mistake;
pub use model::{
    AccessLog, AccessLogTarget, Admin, ApiKeySettings, CertificateFiles, ClientAuthentication,
    Config, ConnectionCaps, Dynamic, FileReference, IntrospectionEndpoint, IssuerSettings,
    IssuerSource, IssuerStartup, KeyLocation, KeySource, ListenAddress, Listener, ListenerKey,
    ListenerTls, RemoteKeys, Startup, TlsVersion, UpstreamTls,
};
pub use parse::{LoadedStartup, RunningIssuer};

#[cfg(test)]
mod tests;
