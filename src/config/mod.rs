//! From text to [`Config`]: every mistake at once, each with its place and its remedy.
//!
//! Owns the configuration language: YAML with positions ([`yaml`]), `${NAME}` ([`expand`]), every
//! key and its default ([`keys`]), what the keys mean ([`sections`]) and the files they name
//! ([`materials`]). YAML types stay in here. Never touches what runs: a [`Config`] is only data,
//! and a snapshot makes something of its dynamic part.
//!
//! ```text
//! bytes -> yaml::parse -> expand -> Value::section(&keys::TOP) -> sections::* -> Config
//!                                                           Config -> materials::load -> Materials
//! ```

pub mod disk;
pub mod expand;
pub mod json;
pub mod key_edit;
pub mod key_file;
pub mod key_url;
pub mod keys;
pub mod language;
pub mod materials;
pub mod mistake;
pub mod model;
pub mod node;
pub mod parse;
pub mod report;
pub mod revocation_file;
pub mod schema;
pub mod sections;
pub mod suggest;
pub mod walk;
pub mod yaml;

pub use key_url::KeyUrl;
pub use materials::{IntrospectionFiles, Materials};
pub use mistake::Mistake;
pub use model::{
    AccessLog, AccessLogTarget, Admin, ApiKeySettings, ClientAuthentication, Config,
    ConnectionCaps, Dynamic, FileReference, IntrospectionEndpoint, IssuerSource, KeyLocation,
    KeySource, ListenAddress, Listener, RemoteKeys, Startup,
};

#[cfg(test)]
mod tests;
