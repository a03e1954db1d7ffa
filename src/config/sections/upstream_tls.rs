//! `tls` of an upstream.
//!
//! Owns the name that the certificate of an upstream must be for: never an empty one, which would
//! leave nothing to verify. Never opens a file.

use rustls::pki_types::ServerName;

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Nested, Parsed};
use crate::config::model::{CertificateFiles, UpstreamTls};
use crate::config::sections::file::{FILE, FileName, place_of};
use crate::decide::policy::upstream::UpstreamAddress;

/// `tls` of an upstream.
pub(super) static TLS: Key<Nested> =
    Key::new("tls", Nested(&SECTION), "TLS settings of an https upstream");

static SECTION: Section =
    Section::new("tls of an upstream", &[&CA_FILE, &CERTIFICATE, &PRIVATE_KEY, &SERVER_NAME]);

static CA_FILE: Key<FileName> = Key::new(
    "ca_file",
    FILE,
    "the authorities that the certificate must come from, in PEM; absent: those of the system",
);

static CERTIFICATE: Key<FileName> =
    Key::new("certificate", FILE, "the certificate that gatepost presents, with its chain in PEM");

static PRIVATE_KEY: Key<FileName> = Key::new(
    "private_key",
    FILE,
    "its private key in PEM, without a passphrase; only its owner and group may read it",
);

static SERVER_NAME: Key<Parsed<ServerName<'static>>> = Key::new(
    "server_name",
    Parsed(server_name),
    "the DNS name or address that the certificate must be for; absent: the host of url",
);

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| format!("{text:?} is not a DNS name or an IP address"))
}

/// TLS of an upstream at this address; `None` without, and after a mistake.
pub(super) fn of(
    upstream: &Mapping<'_>,
    address: &UpstreamAddress,
    is_https: bool,
) -> Option<UpstreamTls> {
    let value = upstream.find(&TLS);
    if let (Some(value), false) = (&value, is_https) {
        value.mistake("TLS needs an https url");
        return None;
    }
    let UpstreamAddress::Tcp { host, .. } = address else { return None };
    if !is_https {
        return None;
    }
    let section = value.as_ref().map(|value| value.section(&SECTION));
    // A section with a mistake.
    let section = section.map_or(Some(None), |section| section.map(Some))?;
    let section = section.as_ref();
    let named = section.filter(|section| section.has(&SERVER_NAME));
    let server_name = match named {
        Some(section) => section.read(&SERVER_NAME)?,
        None => own_name(upstream, host)?,
    };
    let ca_file = section.and_then(|section| section.read(&CA_FILE));
    let identity = section.map_or(Some(None), identity)?;
    Some(UpstreamTls { server_name, ca_file, identity, named_at: place_of(upstream.value()) })
}

/// The host of the url: its name, or the address literal.
fn own_name(upstream: &Mapping<'_>, host: &str) -> Option<ServerName<'static>> {
    let name = server_name(host.trim_end_matches('.'));
    name.map_err(|error| upstream.value().mistake(format!("{error}: set tls.server_name"))).ok()
}

/// `Some(None)` without a certificate.
fn identity(section: &Mapping<'_>) -> Option<Option<CertificateFiles>> {
    let (certificate, private_key) = (section.read(&CERTIFICATE), section.read(&PRIVATE_KEY));
    match (section.has(&CERTIFICATE), section.has(&PRIVATE_KEY)) {
        (false, false) => Some(None),
        (true, true) => {
            Some(Some(CertificateFiles { certificate: certificate?, private_key: private_key? }))
        }
        (true, false) | (false, true) => {
            section.value().mistake("certificate and private_key go together: write both or none");
            None
        }
    }
}
