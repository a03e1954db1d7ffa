//! The store of the demo's issuer: a person with a key and tokens, an application, a plugin.
//!
//! Owns what is made before the sidecar starts, by the calls that the commands make. Never signs a
//! token: that is for the endpoints, once they answer.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::secret::Secret;
use crate::cli::Failure;
use crate::cli::manage::Desk;
use crate::cli::stored::Stored;

/// The plugin of the demo.
pub(super) const PLUGIN: &str = "reporter";

/// The credentials that the store knows.
pub(super) struct Issued {
    /// The application, which may use client credentials and introspection.
    pub(super) client_id: String,
    /// Its secret.
    pub(super) client_secret: Secret<String>,
    /// A personal access token of ada.
    pub(super) token: Secret<String>,
    /// Another one, to revoke.
    pub(super) token_to_revoke: Secret<String>,
    /// An API key of ada.
    pub(super) key: Secret<String>,
}

impl Issued {
    /// Makes the store of a configuration, and everything in it.
    pub(super) fn create(config: &Path) -> Result<Self, Failure> {
        Stored::of(config)?.create()?;
        let desk = Desk::open(config)?;
        let ada = json!({ "login": "ada", "name": "Ada Lovelace", "roles": ["developer"] });
        desk.post("/users", &ada)?;
        let application = desk.post("/apps", &application())?;
        desk.post(&format!("/plugins/{PLUGIN}"), &json!({ "scopes": ["read"] }))?;
        let of_ada = |root: &str, member: &str, name: &str| {
            secret(&desk.post(root, &json!({ "owner": "ada", "name": name }))?, member)
        };
        Ok(Self {
            client_id: application["client_id"].as_str().unwrap_or_default().to_owned(),
            client_secret: secret(&application, "client_secret")?,
            token: of_ada("/tokens", "token", "laptop")?,
            token_to_revoke: of_ada("/tokens", "token", "lost laptop")?,
            key: of_ada("/keys", "key", "ci")?,
        })
    }
}

fn application() -> Value {
    json!({
        "name": "Stock sync", "owner": "ada", "profile": "strict", "introspect": true,
        "grants": ["client_credentials"],
    })
}

fn secret(made: &Value, member: &str) -> Result<Secret<String>, Failure> {
    let text = made[member].as_str().ok_or_else(|| Failure::fault(format!("demo: no {member}")))?;
    Ok(Secret::new(text.to_owned()))
}
