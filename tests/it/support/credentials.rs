//! Tokens signed by PyJWT and openssl, and an API key.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::python;

/// An API key of another maker, long enough for a bare digest.
pub const KEY: &str = "an-existing-key-of-another-maker-0123456789";

/// A key file with [`KEY`] as `existing`, which may read.
pub fn api_key_file() -> String {
    let digest = digest_of(KEY);
    format!(
        "keys:\n  - {{ id: existing, name: Existing, digest: \"sha256:{digest}\", scopes: [read] }}\n"
    )
}

/// SHA-256 as Python prints it.
pub fn digest_of(text: &str) -> String {
    signer().ask_text(&json!(["digest", text]))
}

/// HMAC-SHA-256 as Python prints it.
pub fn peppered_digest_of(text: &str, pepper: &str) -> String {
    signer().ask_text(&json!(["digest", text, pepper]))
}

/// Whether there is an `openssl` to ask.
pub fn has_openssl() -> bool {
    Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok()
}

/// Runs openssl with something on standard input.
#[track_caller]
pub fn openssl(arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Claims the tests' issuers accept: one hour from now, subject `ada`, scope `read`.
pub fn claims() -> Value {
    json!({
        "iss": "https://login.example.com",
        "aud": "orders-api",
        "sub": "ada",
        "exp": now() + 3600,
        "iat": now(),
        "jti": "token-1",
        "client_id": "shop",
        "scope": "read",
    })
}

#[expect(clippy::disallowed_methods, reason = "the tokens are for the real clock of a process")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The Python process that holds the keys.
pub struct Signer {
    child: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// One for all tests: its keys are made once.
pub fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let mut command = python("signer.py");
        // A static is never dropped: the end of its standard input ends this one.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Signer { child: Mutex::new((child, stdout)) }
    })
}

impl Signer {
    #[track_caller]
    fn ask(&self, request: &Value) -> Value {
        let mut guard = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (child, stdout) = &mut *guard;
        writeln!(child.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "tests/support/signer.py failed on {request}");
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn ask_text(&self, request: &Value) -> String {
        self.ask(request).as_str().unwrap().to_owned()
    }

    /// A token signed by PyJWT. Keys: rsa, other-rsa, p256, other-p256, p384, p521, ed25519,
    /// secret. The key's name is its kid.
    #[track_caller]
    pub fn sign(&self, key: &str, algorithm: &str, claims: &Value) -> String {
        self.sign_with(key, algorithm, &json!({ "kid": key }), claims)
    }

    /// As [`Self::sign`], with other header parameters.
    #[track_caller]
    pub fn sign_with(&self, key: &str, algorithm: &str, header: &Value, claims: &Value) -> String {
        self.ask_text(&json!(["sign", key, algorithm, header, claims]))
    }

    /// Two JSON texts as they are, signed with Ed25519 (ed25519) or HMAC-SHA-256 (secret).
    #[track_caller]
    pub fn sign_text(&self, key: &str, header: &str, payload: &str) -> String {
        self.ask_text(&json!(["sign_text", key, header, payload]))
    }

    /// HS256 with any text as the secret.
    #[track_caller]
    pub fn hmac_with(&self, secret: &str, header: &Value, claims: &Value) -> String {
        self.ask_text(&json!(["hmac_with", secret, header, claims]))
    }

    /// A public key as PEM.
    pub fn pem(&self, key: &str) -> String {
        self.ask_text(&json!(["pem", key]))
    }

    /// A private key as PEM.
    pub fn private_pem(&self, key: &str) -> String {
        self.ask_text(&json!(["pem", key, true]))
    }

    /// The HMAC secret.
    pub fn secret(&self) -> String {
        self.ask_text(&json!(["secret"]))
    }

    /// A public key as JWK, with `alg` where one is given.
    pub fn jwk(&self, key: &str, algorithm: Option<&str>) -> Value {
        let mut jwk = self.ask(&json!(["jwk", key]));
        if let Some(algorithm) = algorithm {
            jwk["alg"] = algorithm.into();
        }
        jwk
    }

    /// A JWKS.
    pub fn jwks(&self, keys: &[(&str, &str)]) -> String {
        let keys: Vec<_> = keys.iter().map(|(key, alg)| self.jwk(key, Some(alg))).collect();
        json!({ "keys": keys }).to_string()
    }
}

/// The part of a token that is signed.
pub fn signing_input(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token of a signing input and a signature.
pub fn compact(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
