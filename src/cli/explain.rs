//! `gatepost explain`: the decision about one request and each step that led to it.
//!
//! Owns the request head made of the arguments, and the text form of the decision. Asks the gate
//! that the server asks. Never prints a credential: the account holds none.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::base::clock::Clock;
use crate::cli::admin_client::AdminClient;
use crate::cli::answer::account_text;
use crate::cli::{ConfigFile, Exit, Failure, Outcome, loading, print};
use crate::config::snapshot::{Retained, Snapshot};
use crate::decide::api_key::KeyError;
use crate::decide::gate::{self, Charging, Decision, Verdict};
use crate::decide::jwt::JwtError;
use crate::decide::rejection::Rejection;
use crate::decide::request::address::Peer;
use crate::decide::revocation::RevocationSet;
use crate::serve::account::Account;
use crate::serve::revocation_log;

pub(super) const EXAMPLE: &str = "\
Examples:
  gatepost explain -c gatepost.yaml --method GET --path /api/orders --header 'X-API-Key: ...'
  printf 'Authorization: Bearer %s' \"$TOKEN\" |
    gatepost explain -c gatepost.yaml --method GET --path /api/orders --header @-

Exit 0 when the request would be admitted, 1 when it would be refused.";

/// The start of personal access tokens.
const PAT_PREFIX: &[u8] = b"gp_pat_";

/// Maximum size of all header lines; the listener refuses larger heads.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// Request method
    #[arg(long, value_name = "M")]
    method: String,
    /// Request path as sent; a query is accepted and ignored
    #[arg(long, value_name = "P")]
    path: String,
    /// Header field; `@FILE` reads fields from a file, `@-` from standard input, one per line
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE | @FILE | @-")]
    headers: Vec<String>,
    /// Address of the client: an IP address, or `unix`
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", value_parser = parse_peer)]
    peer: Peer,
    /// Client certificate in PEM, with its chain, as presented in the TLS handshake
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Host, short for a Host header
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Ask the running process, with its current limits; charges nothing
    #[arg(long)]
    live: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Explain) -> Outcome {
    let request = Request::from_arguments(arguments)?;
    let (account, raw) =
        if arguments.live { ask(arguments, &request)? } else { decide(arguments, &request)? };
    if arguments.json {
        print(&format!("{raw}\n"))?;
    } else {
        print(&account_text(&account))?;
    }
    Ok(if account.verdict == "admitted" { Exit::Success } else { Exit::Negative })
}

/// The request to decide about.
struct Request {
    method: Method,
    path: String,
    host: Option<HeaderValue>,
    headers: HeaderMap,
    peer: Peer,
    /// The certificate of the client, in PEM.
    certificate: Option<String>,
}

impl Request {
    fn from_arguments(arguments: &Explain) -> Result<Self, Failure> {
        let wrong = |text: &str| {
            Failure::usage(format!(
                "--method {text:?}: invalid method: expected a token such as GET"
            ))
        };
        let method = Method::from_bytes(arguments.method.as_bytes());
        let method = method.map_err(|_| wrong(&arguments.method))?;
        let path = arguments.path.split('?').next().unwrap_or_default().to_owned();
        if path.is_empty() {
            return Err(Failure::usage("--path is empty: expected a path such as /api/orders"));
        }
        let mut headers = HeaderMap::new();
        for text in &arguments.headers {
            read_fields(text, &mut headers)?;
        }
        if let Some(host) = &arguments.host {
            if headers.contains_key(header::HOST) {
                return Err(Failure::usage("--host and a Host header exclude each other"));
            }
            let value = HeaderValue::try_from(host.as_str());
            let wrong = || Failure::usage(format!("--host {host:?}: invalid host"));
            headers.insert(header::HOST, value.map_err(|_| wrong())?);
        }
        let host = headers.get(header::HOST).cloned();
        let certificate = arguments.client_certificate.as_deref().map(read_certificate);
        let certificate = certificate.transpose()?;
        Ok(Self { method, path, host, headers, peer: arguments.peer, certificate })
    }

    /// As `POST /explain` takes it.
    fn to_json(&self) -> Result<Bytes, Failure> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let text = value.to_str().map_err(|_| {
                Failure::usage(format!("header {name}: --live takes visible ASCII only"))
            })?;
            headers.push([name.as_str(), text]);
        }
        let peer = match self.peer {
            Peer::Ip(ip) | Peer::Unstated(Some(ip)) => ip.to_string(),
            Peer::Unix | Peer::Unstated(None) => "unix".to_owned(),
        };
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        let document = serde_json::json!({
            "method": self.method.as_str(),
            "path": self.path,
            "host": host,
            "headers": headers,
            "peer": peer,
            "client_certificate": self.certificate,
        });
        Ok(Bytes::from(document.to_string()))
    }
}

fn parse_peer(text: &str) -> Result<Peer, String> {
    if text == "unix" {
        return Ok(Peer::Unix);
    }
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(Peer::Ip).map_err(|_| "write an IP address, or unix".to_owned())
}

/// One `Name: value`, or a file of such lines. A mistake names the place, never the value: it may
/// be a credential.
fn read_fields(text: &str, headers: &mut HeaderMap) -> Result<(), Failure> {
    let Some(source) = text.strip_prefix('@') else {
        return push_field(text, "--header", headers);
    };
    let content = read_source(source)
        .map_err(|error| Failure::usage(format!("--header @{source}: {error}")))?;
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        push_field(line, &format!("--header @{source}: line {}", index + 1), headers)?;
    }
    Ok(())
}

fn read_certificate(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = fs::File::open(file);
    let read = read.and_then(|read| read.take(HEADER_BYTES_MAX).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| {
        Failure::usage(format!("--client-certificate {}: {error}", file.display()))
    })
}

fn read_source(source: &str) -> io::Result<String> {
    let mut content = String::new();
    let mut read = |from: &mut dyn Read| from.take(HEADER_BYTES_MAX).read_to_string(&mut content);
    match source {
        "-" => read(&mut io::stdin().lock())?,
        file => read(&mut fs::File::open(file)?)?,
    };
    Ok(content)
}

fn push_field(line: &str, place: &str, headers: &mut HeaderMap) -> Result<(), Failure> {
    let wrong = || Failure::usage(format!("{place}: invalid header field: expected 'Name: value'"));
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name).map_err(|_| wrong())?;
    let value = HeaderValue::try_from(value.trim_matches([' ', '\t'])).map_err(|_| wrong())?;
    headers.append(name, value);
    Ok(())
}

/// Decides in this process, with the configuration on disk and unused limits.
fn decide(arguments: &Explain, request: &Request) -> Result<(Account, String), Failure> {
    let (config, materials) = loading::load(&arguments.config.path)?;
    let revoked = revoked(&config.startup.state_dir);
    let realm = config.dynamic.realm.clone();
    let issuer = config.startup.issuer.clone();
    // Limits for one request: the hash seed is not security relevant here.
    let retained = Retained::new(1, 0, [0, 0]);
    retained.revoked.store(Arc::new(revoked));
    let now = Clock::start().now();
    let certificate = request.certificate.as_ref();
    let certificate =
        certificate.map(|pem| materials.client_certificate(pem.as_bytes(), now.unix)).transpose();
    let certificate =
        certificate.map_err(|error| Failure::negative(format!("--client-certificate: {error}")))?;
    let snapshot = Snapshot::compile(Arc::new(config.dynamic), Arc::new(materials), &retained, 0);
    let head = gate::written(&request.method, &request.path, &request.headers);
    let decision =
        snapshot.gate.explain(&head, (request.peer, certificate.as_ref()), now, Charging::Charge);
    if issuer.is_some_and(|issuer| is_of_store(&decision, &request.headers, &issuer.url)) {
        return Err(Failure::negative(
            "the credential may be one of the issuer's store, which is not read here: use --live",
        ));
    }
    let account = Account::new(&decision, &realm, None);
    let raw = serde_json::to_string(&account);
    Ok((account, raw.map_err(|error| Failure::fault(error.to_string()))?))
}

/// Returns whether only the store of the issuer can tell what a refused credential is.
fn is_of_store(decision: &Decision, headers: &HeaderMap, url: &str) -> bool {
    let (Verdict::Reject(rejection) | Verdict::Observe(_, rejection)) = &decision.verdict else {
        return false;
    };
    let is_pat = |value: &HeaderValue| {
        value.as_bytes().windows(PAT_PREFIX.len()).any(|text| text == PAT_PREFIX)
    };
    match rejection {
        Rejection::Key(KeyError::Unknown | KeyError::Misplaced) => true,
        Rejection::Token(JwtError::IssuerUnknown(issuer)) => issuer == url,
        _ => headers.get_all(header::AUTHORIZATION).iter().any(is_pat),
    }
}

/// The revocations of the running process, if this user may read them.
fn revoked(folder: &Path) -> RevocationSet {
    match revocation_log::peek(folder) {
        Ok(book) => book.set().clone(),
        Err(error) => {
            eprintln!(
                "gatepost: warning: revocations not read: {error}; use --live to include them"
            );
            RevocationSet::default()
        }
    }
}

/// Asks the running process.
fn ask(arguments: &Explain, request: &Request) -> Result<(Account, String), Failure> {
    let client = AdminClient::from_config(&arguments.config.path)?;
    let response = client.post("/explain", request.to_json()?)?;
    let raw = String::from_utf8_lossy(&response.body).trim_end().to_owned();
    if response.status != StatusCode::OK {
        return Err(Failure::fault(format!(
            "unexpected answer from the admin listener: {}: {raw}",
            response.status
        )));
    }
    let account = serde_json::from_str(&raw);
    let account = account.map_err(|error| {
        Failure::fault(format!("answer of another version of gatepost: {error}"))
    })?;
    Ok((account, raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_name_a_colon_and_a_value() {
        let mut headers = HeaderMap::new();
        push_field("X-API-Key:  abc ", "here", &mut headers).unwrap();
        push_field("Accept:", "here", &mut headers).unwrap();
        assert_eq!(headers["x-api-key"], "abc");
        assert_eq!(headers["accept"], "");
        for wrong in ["", "abc", ": b", "a b: c", "a\u{e9}: c"] {
            assert!(push_field(wrong, "here", &mut headers).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn r902_a_mistaken_header_line_is_not_repeated() {
        let failure = push_field("Bearer canary", "--header", &mut HeaderMap::new()).unwrap_err();
        assert!(!format!("{failure:?}").contains("canary"));
    }

    #[test]
    fn a_peer_is_an_address_or_unix() {
        assert_eq!(parse_peer("unix"), Ok(Peer::Unix));
        assert_eq!(parse_peer("::1"), Ok(Peer::Ip("::1".parse().unwrap())));
        for wrong in ["", "localhost", "10.0.0.0/8", "10.0.0.1:80"] {
            assert!(parse_peer(wrong).is_err(), "{wrong:?}");
        }
    }
}
