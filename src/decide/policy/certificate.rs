//! Client certificates: their facts, and what a route demands of them.
//!
//! Owns [`ClientCertificate`], which only a handshake that verified it makes, and
//! [`CertificateRequirement`]. Never verifies a chain: that is rustls's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::base::clock::UnixTime;
use crate::base::der::Malformed;
use crate::base::sha256::sha256;
use crate::base::x509::{AlternativeName, alternative_names, not_after};

/// The most names of a certificate that are listed in an explanation.
const NAMES_SHOWN: usize = 4;

/// The certificate of a client, which was verified in the handshake of its connection.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Box<[u8]>,
    fingerprint: Fingerprint,
    names: Vec<AlternativeName>,
    expires: UnixTime,
}

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Parses 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints them: in any case,
    /// with colons between bytes or without.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let has_pairs = text.split(':').count() == 32 && text.split(':').all(|one| one.len() == 2);
        let digits = if has_pairs { text.replace(':', "") } else { text.to_owned() };
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ClientCertificate {
    /// Reads a certificate that was verified.
    ///
    /// # Errors
    /// It is not DER, or larger than 64 KiB.
    pub fn of_verified(der: &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            der: der.into(),
            fingerprint: Fingerprint(sha256(der)),
            names: alternative_names(der)?,
            expires: not_after(der)?,
        })
    }

    /// The instant after which it is not valid.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The value of `Client-Cert` (RFC 9440 section 2.1).
    #[must_use]
    pub fn field(&self) -> String {
        format!(":{}:", STANDARD.encode(&self.der))
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.names.iter().take(NAMES_SHOWN) {
            write!(f, "{name:?}, ")?;
        }
        if self.names.len() > NAMES_SHOWN {
            f.write_str("..., ")?;
        }
        write!(f, "SHA-256 {}, expires {}", self.fingerprint, self.expires)
    }
}

/// Without its bytes.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The conditions on a client certificate; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CertificateRequirement {
    /// At least one of these subject alternative names, unless empty. Sorted.
    pub names: Vec<AlternativeName>,
    /// One of these certificates, unless empty. Sorted.
    pub fingerprints: Vec<Fingerprint>,
}

/// The reason why a client certificate is not enough.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CertificateDenied {
    /// The connection has none.
    #[error("no client certificate presented on this connection")]
    Missing,
    /// None of its names is listed.
    #[error(
        "no subject alternative name of the client certificate is in access.client_certificate.san"
    )]
    Name,
    /// It is not one of those listed.
    #[error("the client certificate is not in access.client_certificate.fingerprint")]
    Fingerprint,
    /// It was verified in the handshake and would not be now.
    #[error("the client certificate, verified in the handshake, {0}")]
    Ended(&'static str),
}

impl CertificateRequirement {
    /// Checks a certificate.
    ///
    /// # Errors
    /// The first condition that it does not meet.
    pub(crate) fn check(
        &self,
        certificate: Option<&ClientCertificate>,
    ) -> Result<(), CertificateDenied> {
        let certificate = certificate.ok_or(CertificateDenied::Missing)?;
        let mut names = certificate.names.iter();
        if !self.names.is_empty() && !names.any(|name| self.names.contains(name)) {
            return Err(CertificateDenied::Name);
        }
        let is_listed = self.fingerprints.contains(&certificate.fingerprint);
        if !self.fingerprints.is_empty() && !is_listed {
            return Err(CertificateDenied::Fingerprint);
        }
        Ok(())
    }

    /// Returns whether every certificate that meets this meets `other`; `false` in case of doubt.
    pub(super) fn implies(&self, other: &Self) -> bool {
        is_stricter(&self.names, &other.names)
            && is_stricter(&self.fingerprints, &other.fingerprints)
    }
}

/// An empty list is no condition.
fn is_stricter<T: PartialEq>(own: &[T], other: &[T]) -> bool {
    let is_part = || !own.is_empty() && own.iter().all(|one| other.contains(one));
    other.is_empty() || is_part()
}

impl fmt::Display for CertificateRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client certificate")?;
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            write!(f, " for [{}]", names.join(", "))?;
        }
        if !self.fingerprints.is_empty() {
            write!(f, " of {} listed", self.fingerprints.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[AlternativeName], fingerprint: u8) -> ClientCertificate {
        ClientCertificate {
            der: Box::new(*b"der"),
            fingerprint: Fingerprint([fingerprint; 32]),
            names: names.to_vec(),
            expires: UnixTime(1),
        }
    }

    fn dns(text: &str) -> AlternativeName {
        AlternativeName::dns(text).unwrap()
    }

    fn requirement(names: &[&str], fingerprints: &[u8]) -> CertificateRequirement {
        CertificateRequirement {
            names: names.iter().map(|name| dns(name)).collect(),
            fingerprints: fingerprints.iter().map(|one| Fingerprint([*one; 32])).collect(),
        }
    }

    #[test]
    fn all_that_is_given_must_hold() {
        let one = certificate(&[dns("a.example"), dns("B.example")], 7);
        for (names, fingerprints, expected) in [
            (&[][..], &[][..], Ok(())),
            (&["b.example", "c"], &[], Ok(())),
            (&["A.EXAMPLE"], &[7], Ok(())),
            (&["c"], &[7], Err(CertificateDenied::Name)),
            (&["example"], &[], Err(CertificateDenied::Name)),
            (&["a.example"], &[6, 8], Err(CertificateDenied::Fingerprint)),
        ] {
            let requirement = requirement(names, fingerprints);
            assert_eq!(requirement.check(Some(&one)), expected, "{requirement:?}");
            assert_eq!(requirement.check(None), Err(CertificateDenied::Missing));
        }
        // The kinds of names are not mixed up.
        let uri = certificate(&[AlternativeName::uri("a:b").unwrap()], 7);
        assert!(requirement(&["a"], &[]).check(Some(&uri)).is_err());
    }

    #[test]
    fn fewer_names_are_a_stricter_requirement() {
        let any = requirement(&[], &[]);
        let (one, two) = (requirement(&["a"], &[]), requirement(&["a", "b"], &[]));
        let exact = requirement(&["a"], &[1]);
        for (more, less) in [(&one, &any), (&two, &any), (&one, &two), (&exact, &one)] {
            assert!(more.implies(less) && !less.implies(more), "{more:?} {less:?}");
            assert!(more.implies(more));
        }
        assert!(!exact.implies(&requirement(&["a"], &[2])));
    }

    #[test]
    fn a_fingerprint_is_64_digits_with_colons_or_without() {
        let plain = "0123456789abcdef".repeat(4);
        let colons = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let colons = colons.collect::<Vec<_>>().join(":");
        for text in [plain.clone(), plain.to_uppercase(), colons.clone()] {
            assert_eq!(Fingerprint::parse(&text).unwrap().to_string(), plain);
        }
        for text in [
            "",
            "ab",
            &plain[1..],
            &format!("{plain}0"),
            &colons[1..],
            &format!("g{}", &plain[1..]),
            &plain.replace('a', "é"),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
