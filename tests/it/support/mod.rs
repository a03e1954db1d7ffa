//! The fixtures of the end-to-end tests: a sidecar, a raw client, upstreams that record, and
//! signers that share no code with gatepost.

mod client;
mod credentials;
mod key_server;
mod person;
mod process;
mod shop;
mod sidecar;
mod tls;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use client::{Client, Response, head};
pub use credentials::{
    KEY, api_key_file, claims, compact, digest_of, has_openssl, now, openssl, peppered_digest_of,
    signer, signing_input,
};
pub use key_server::{KeyServer, TlsKeyServer};
pub use person::{Browser, encode, hidden};
pub use process::{HeldPort, Process};
pub use shop::{Shop, answer};
pub use sidecar::{Run, Sandbox, Sidecar};
pub use tls::TlsClient;
pub use upstream::{Recorded, Recorder, Reply, Wsgi};

/// The longest a test waits for anything. Reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `look` finds something.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one bounded wait of all tests")]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "still waiting after {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python that has what tests/requirements.txt names.
pub fn python(script: &str) -> Command {
    let packages = root().join(".venv");
    assert!(
        packages.join(".installed").exists(),
        "run `make test` once: it installs tests/requirements.txt"
    );
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).arg(root().join("tests/support").join(script));
    command
}

/// Every file below a folder whose name ends so.
pub fn files_below(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A sandbox with an issuer, an API key and one upstream, and the configuration of all three:
/// what is missing are limits and routes.
pub fn standard(upstream: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let keys = [("rsa", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")];
    sandbox.write("jwks.json", &signer().jwks(&keys));
    sandbox.write("keys.yaml", &api_key_file());
    let config = format!(
        // A busy machine may need more than the default second to connect.
        "upstreams: {{ app: {{ url: \"{upstream}\", timeouts: {{ connect: 15s }} }} }}\n\
         issuers:\n\
         \x20 - issuer: https://login.example.com\n\
         \x20   name: corp\n\
         \x20   audiences: [orders-api]\n\
         \x20   algorithms: [RS256, ES256, EdDSA]\n\
         \x20   keys: {{ file: jwks.json }}\n\
         api_keys: {{ header: X-API-Key, files: [keys.yaml] }}\n\
         defaults: {{ upstream: app }}\n"
    );
    (sandbox, config)
}

/// `Bearer` and a token.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
