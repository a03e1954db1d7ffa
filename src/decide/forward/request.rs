//! The upstream's request, made of the client's.
//!
//! Owns what a client could pass for a word of gatepost, which is removed, and the identity
//! that is set behind it, so that no `Connection` option removes it. Never reads a body.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use crate::base::field_name::{self, fold};
use crate::decide::api_key;
use crate::decide::gate::{Gate, Permit};
use crate::decide::identity::IdentityHeaders;
use crate::decide::policy::upstream::UpstreamAddress;
use crate::decide::policy::{Access, ClientCertificate};
use crate::decide::request::address::{self, Peer};
use crate::decide::request::credential;
use crate::decide::request::framing::{self, BodyLength, Head};
use crate::decide::request::own_cookie;

/// An admitted request, and everything its fields are made of.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "its fields hold credentials")]
pub struct RequestFields<'a> {
    /// The request as received.
    pub head: &'a Head<'a>,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The right to forward it.
    pub permit: &'a Permit,
    /// Which places credentials are read from, and whose forwarding fields are believed.
    pub gate: &'a Gate,
    /// The identity headers.
    pub identity: &'a IdentityHeaders,
    /// The connected peer.
    pub peer: Peer,
    /// The certificate of the client.
    pub certificate: Option<&'a ClientCertificate>,
    /// `http` or `https`, of the client's connection.
    pub scheme: &'static str,
    /// The id on the wire.
    pub request_id: &'a str,
    /// The upstream is asked for WebSocket.
    pub upgrades: bool,
}

impl RequestFields<'_> {
    /// Appends the head of an HTTP/1.1 request. A body of unknown length is chunked.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (path, query) = framing::path_and_query(self.head.target);
        out.extend_from_slice(self.head.method);
        out.push(b' ');
        // The query is as it came, byte for byte.
        out.extend_from_slice(self.permit.rewritten_path().map_or(path, str::as_bytes));
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.each(&mut |name, value| super::response::push(out, name, value));
        if self.head.body == BodyLength::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if self.upgrades {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Calls `push` with every field but those that frame a chunked body or change the protocol.
    pub fn each(&self, push: &mut impl FnMut(&[u8], &[u8])) {
        self.passed(push);
        if self.head.host.is_none() {
            push(b"Host", &self.missing_host());
        }
        let is_trusted = self.gate.trusted_proxies.trusts(self.peer);
        let host = self.head.host.or_else(|| framing::authority(self.head.target));
        let host = host.and_then(|host| HeaderValue::from_bytes(host).ok());
        let believed = is_trusted.then_some(self.headers);
        let forwarded = address::forwarded_values(self.peer, believed, self.scheme, host);
        for (name, value) in forwarded.iter() {
            push(name.as_bytes(), value.as_bytes());
        }
        let route = self.permit.route();
        // The API behind an observed route reads credentials itself: no identity is set.
        if !route.insecure_observe {
            let principal = self.permit.principal().map(|principal| &**principal);
            for (name, value) in self.identity.to_set(principal) {
                push(name.spelling_bytes(), value.as_bytes());
            }
        }
        let certificate = self.certificate.filter(|_| route.forward_client_certificate);
        if let Some(certificate) = certificate {
            push(b"Client-Cert", certificate.field().as_bytes());
        }
        push(b"X-Request-Id", self.request_id.as_bytes());
    }

    /// The client's own fields that reach the upstream, as they came.
    fn passed(&self, push: &mut impl FnMut(&[u8], &[u8])) {
        let route = self.permit.route();
        let reads = match route.access {
            Access::Anonymous | Access::Certificate(_) => false,
            Access::Authenticated(_) | Access::Optional(_) => true,
        };
        // An observed route leaves good credentials where they are: the API behind it checks them.
        let takes_credential = reads && !route.insecure_observe && !route.forward_credential;
        let is_trusted = self.gate.trusted_proxies.trusts(self.peer);
        let credentials = &self.gate.credentials;
        let nominated = self.head.nominated();
        for (name, value) in self.head.iter() {
            let lower = lower(name);
            let Ok(text) = std::str::from_utf8(&lower) else { continue };
            if self.is_of_this_connection(text, &nominated)
                || self.is_unwanted(text, is_trusted, takes_credential)
                || self.is_of_the_store(text, value)
            {
                continue;
            }
            let others = self.without_own_cookies(text, value);
            if others.as_deref().is_some_and(<[u8]>::is_empty) {
                continue;
            }
            let value = others.as_deref().unwrap_or(value);
            match credentials.lists().find(|list| list.as_str() == text) {
                // The consumed member goes, and on every route what could be taken for it.
                Some(list) => {
                    let rest = credentials.rest_of_list(list, value, !takes_credential);
                    if !rest.is_empty() {
                        push(name, &rest);
                    }
                }
                None => push(name, value),
            }
        }
    }

    /// The cookies of the application, where there are those of the issuer's pages beside them.
    fn without_own_cookies(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let has_pages = self.gate.stored.is_some() && name == "cookie";
        let forwards = self.permit.route().forward_credential;
        let has_credential = |pair: &[u8]| !forwards && api_key::has_secret(pair);
        has_pages.then(|| own_cookie::without_own(value, has_credential))?
    }

    /// A credential of the form that the issuer makes: it works here, and reaches no upstream, not on
    /// anonymous and observed routes either, unless the route says `forward_credential`.
    fn is_of_the_store(&self, name: &str, value: &[u8]) -> bool {
        if self.gate.stored.is_none() || self.permit.route().forward_credential {
            return false;
        }
        let is_place = name == "authorization" || self.gate.credentials.is_place_text(name);
        if credential::is_basic_with(value, api_key::is_reserved) {
            return is_place;
        }
        let text = value.rsplit(u8::is_ascii_whitespace).find(|part| !part.is_empty());
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        is_place && (text.is_some_and(api_key::is_reserved) || api_key::has_secret(value))
    }

    /// Fields that concern the client's connection only (RFC 9110 section 7.6.1).
    fn is_of_this_connection(&self, name: &str, nominated: &[&[u8]]) -> bool {
        let is_hop_by_hop = match name {
            "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade" => true,
            // HTTP/1.0 does not know it (RFC 9110 section 10.1.1).
            "expect" => !self.head.is_http11,
            _ => false,
        };
        is_hop_by_hop || nominated.iter().any(|one| one.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Fields that an upstream could take for a word of gatepost or of a proxy, and the credential.
    fn is_unwanted(&self, name: &str, is_trusted: bool, takes_credential: bool) -> bool {
        let route = self.permit.route();
        let credentials = &self.gate.credentials;
        // Folded once: all that is asked is what an upstream might take the name for.
        let folded = fold(name);
        let is_disguised = folded != name;
        self.identity.is_stripped_text(name, &folded)
            || folded == "x-request-id"
            || matches!(&*folded, "client-cert" | "client-cert-chain")
            || matches!(name, "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host")
            || (address::is_folded_forwarding_field(&folded) && (!is_trusted || is_disguised))
            || (!route.insecure_method_override && field_name::is_method_override(&folded))
            || (is_disguised && field_name::is_framing(&folded))
            || credentials.is_twin_of_place_text(name, &folded)
            || (takes_credential
                && credentials.is_place_text(name)
                && !(route.passes_authorization && name == "authorization"))
    }

    /// The upstream's request has a `Host` (HTTP/1.1). Where the client's has none (HTTP/1.0), it is
    /// the authority that was decided on, else the upstream's own name: never the upstream's guess.
    fn missing_host(&self) -> Cow<'_, [u8]> {
        if let Some(authority) = framing::authority(self.head.target) {
            return authority.into();
        }
        match self.permit.route().upstream().map(|upstream| &upstream.address) {
            Some(UpstreamAddress::Tcp { host, port }) => {
                format!("{host}:{port}").into_bytes().into()
            }
            Some(UpstreamAddress::Unix(_)) | None => (&b"localhost"[..]).into(),
        }
    }
}

/// A name in lower case; nearly all are short.
fn lower(name: &[u8]) -> impl std::ops::Deref<Target = [u8]> {
    Lower::new(name)
}

/// Lower-case names without an allocation for those of ordinary length.
enum Lower {
    Short([u8; 40], usize),
    Long(Vec<u8>),
}

impl Lower {
    fn new(name: &[u8]) -> Self {
        let mut short = [0; 40];
        match short.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name);
                room.make_ascii_lowercase();
                Self::Short(short, name.len())
            }
            None => Self::Long(name.to_ascii_lowercase()),
        }
    }
}

impl std::ops::Deref for Lower {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes, length) => &bytes[..*length],
            Self::Long(bytes) => bytes,
        }
    }
}
