//! `tls` of a listener.
//!
//! Owns the two spellings: a list of certificates, or one pair of files. Never opens a file.

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{List, NestedAs, Words};
use crate::config::model::tls::{CertificateFiles, ClientAuthorities, ListenerTls, TlsVersion};
use crate::config::sections::file::{FILE, FileName};

/// `tls` of a listener.
pub(super) static TLS: Key<NestedAs<ListenerTls>> = Key::new(
    "tls",
    NestedAs(&SECTION, tls),
    "TLS on this listener; its files and versions are reloaded, and adding or removing it needs a restart",
);

static SECTION: Section = Section::new(
    "tls",
    &[&CERTIFICATES, &CERTIFICATE, &PRIVATE_KEY, &MIN_VERSION, &CLIENT_CA, &CLIENT_AUTH],
);

static CERTIFICATES: Key<List<NestedAs<CertificateFiles>>> = Key::new(
    "certificates",
    List(NestedAs(&PAIR, pair), 1, 100),
    "certificates, chosen by server name; the first is served where none matches",
);

static CERTIFICATE: Key<FileName> =
    Key::new("certificate", FILE, "short for certificates with one entry: its chain in PEM");

static PRIVATE_KEY: Key<FileName> =
    Key::new("private_key", FILE, "short for certificates with one entry: its key in PEM");

static PAIR: Section = Section::new("a certificate", &[&PAIR_CERTIFICATE, &PAIR_KEY]);

static PAIR_CERTIFICATE: Key<FileName> =
    Key::required("certificate", FILE, "the chain in PEM, the certificate of the key first");

static PAIR_KEY: Key<FileName> = Key::required(
    "private_key",
    FILE,
    "the private key in PEM, without a passphrase; only its owner and group may read it",
);

const VERSIONS: Words<TlsVersion> = Words(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]);

static MIN_VERSION: Key<Words<TlsVersion>> =
    Key::new("min_version", VERSIONS, "the oldest version of TLS that is accepted").or("1.2");

static CLIENT_CA: Key<FileName> = Key::new(
    "client_ca",
    FILE,
    "the authorities that client certificates must come from, in PEM; absent: none is asked for",
);

/// True is `required`.
static CLIENT_AUTH: Key<Words<bool>> = Key::new(
    "client_auth",
    Words(&[("required", true), ("optional", false)]),
    "with client_ca: `optional` completes handshakes without a certificate, too; one that is presented must verify",
)
.or("required");

fn tls(section: &Mapping<'_>) -> Option<ListenerTls> {
    let min_version = section.read(&MIN_VERSION);
    let clients = clients(section);
    let certificates = certificates(section)?;
    Some(ListenerTls { certificates, min_version: min_version?, clients: clients? })
}

/// `Some(None)` where no certificate is asked for.
fn clients(section: &Mapping<'_>) -> Option<Option<ClientAuthorities>> {
    let (client_ca, is_required) = (section.read(&CLIENT_CA), section.read(&CLIENT_AUTH));
    if section.has(&CLIENT_CA) {
        return Some(Some(ClientAuthorities { client_ca: client_ca?, is_required: is_required? }));
    }
    if let Some(value) = section.find(&CLIENT_AUTH) {
        value.mistake("needs client_ca, the authorities that client certificates must come from");
    }
    Some(None)
}

fn certificates(section: &Mapping<'_>) -> Option<Vec<CertificateFiles>> {
    let (certificate, private_key) = (section.read(&CERTIFICATE), section.read(&PRIVATE_KEY));
    let has = (section.has(&CERTIFICATES), section.has(&CERTIFICATE), section.has(&PRIVATE_KEY));
    match has {
        (true, false, false) => {
            let certificates = section.read(&CERTIFICATES)?;
            // One with a mistake is missing here.
            Some(certificates).filter(|certificates| !certificates.is_empty())
        }
        (false, true, true) => {
            Some(vec![CertificateFiles { certificate: certificate?, private_key: private_key? }])
        }
        (true, _, _) => {
            section.value().mistake(
                "has certificates and certificate or private_key: list every pair in certificates",
            );
            None
        }
        (false, _, _) => {
            section.value().mistake(
                "has no certificate with its key: write \
                 certificates: [{ certificate: FILE, private_key: FILE }]",
            );
            None
        }
    }
}

fn pair(section: &Mapping<'_>) -> Option<CertificateFiles> {
    let (certificate, private_key) = (section.read(&PAIR_CERTIFICATE), section.read(&PAIR_KEY));
    Some(CertificateFiles { certificate: certificate?, private_key: private_key? })
}
