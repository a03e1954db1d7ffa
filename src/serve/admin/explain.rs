//! `POST /explain`: the decision of the running process about a request, charging nothing.
//!
//! Owns the format of the question. The gate is the one that serves, with its current limits.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;

use crate::decide::gate::{self, Charging};
use crate::decide::request::address::Peer;
use crate::serve::account::Account;
use crate::serve::shared::Shared;

/// A request to decide about.
pub(super) struct Question {
    method: Method,
    path: String,
    headers: HeaderMap,
    peer: Peer,
    /// The certificate of the client, in PEM.
    certificate: Option<String>,
}

/// The JSON of a question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    method: String,
    path: String,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    client_certificate: Option<String>,
}

impl Question {
    /// Reads a question. Messages name the place, never a value: it may be a credential.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| {
            // The category, not the message: that could quote a value.
            format!(
                "invalid JSON or unknown member: line {} column {}",
                error.line(),
                error.column()
            )
        })?;
        let method = Method::from_bytes(wire.method.as_bytes());
        let method = method.map_err(|_| "method: expected a token such as GET".to_owned())?;
        let mut headers = fields(&wire.headers)?;
        if let Some(host) = &wire.host
            && !headers.contains_key(header::HOST)
        {
            let host = HeaderValue::from_str(host).map_err(|_| "host: invalid host".to_owned())?;
            headers.insert(header::HOST, host);
        }
        let path = wire.path.split('?').next().unwrap_or("").to_owned();
        let peer = match wire.peer.as_deref() {
            None => Peer::Ip(IpAddr::from([127, 0, 0, 1])),
            Some("unix") => Peer::Unix,
            Some(text) => Peer::Ip(
                text.parse().map_err(|_| "peer: expected an IP address, or unix".to_owned())?,
            ),
        };
        Ok(Self { method, path, headers, peer, certificate: wire.client_certificate })
    }

    /// Asks the gate in force.
    ///
    /// # Errors
    /// No listener accepts the certificate of the client.
    pub(super) fn ask(&self, shared: &Shared) -> Result<Account, String> {
        let snapshot = shared.snapshots.load();
        let head = gate::written(&self.method, &self.path, &self.headers);
        let now = shared.clock.now();
        let verify = |pem: &String| snapshot.materials.client_certificate(pem.as_bytes(), now.unix);
        let certificate = self.certificate.as_ref().map(verify).transpose();
        let certificate = certificate.map_err(|error| format!("client_certificate: {error}"))?;
        let of = (self.peer, certificate.as_ref());
        let decision = snapshot.gate.explain(&head, of, now, Charging::Peek);
        Ok(Account::new(&decision, &snapshot.dynamic.realm, Some(snapshot.generation)))
    }
}

fn fields(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (index, (name, value)) in pairs.iter().enumerate() {
        let wrong = |_| format!("headers[{index}]: invalid header field");
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong(()))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong(()))?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r902_a_mistaken_question_is_not_repeated() {
        for body in [
            r#"{"method":"GET","path":"/","headers":[["authorization","Bearer canary\n"]]}"#,
            r#"{"method":"GET","path":"/","headers":["canary"]}"#,
            r#"{"method":"GET","path":"/","canary":1}"#,
            r#"{"method":"GET canary","path":"/"}"#,
            r#"{"method":"GET","path":"/","peer":"canary"}"#,
            r#"{"method":"GET","path":"/","host":"canary\n"}"#,
            r#"{"method":"GET"}"#,
            "canary",
            "",
        ] {
            let message = Question::parse(body.as_bytes()).err().expect(body);
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn the_query_has_no_influence_and_the_peer_is_loopback_unless_given() {
        let question = Question::parse(br#"{"method":"GET","path":"/a?token=x"}"#).unwrap();
        assert_eq!(question.path, "/a");
        assert_eq!(question.peer, Peer::Ip(IpAddr::from([127, 0, 0, 1])));
    }
}
