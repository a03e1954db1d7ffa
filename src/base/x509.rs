//! Facts of an X.509 certificate.
//!
//! Owns reading the end of `Validity` (RFC 5280 section 4.1.2.5) and the subject alternative names
//! (section 4.2.1.6). Never decides whether a certificate is accepted: that is rustls's.

use std::net::IpAddr;

use time::{Date, Month, Time, UtcDateTime};

use crate::base::clock::UnixTime;
use crate::base::der::{Malformed, Reader};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the version of a certificate.
const VERSION: u8 = 0xa0;

/// `subjectAltName`.
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[3] EXPLICIT`, the extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[1]` and `[2] IMPLICIT`, the unique identifiers of issuer and subject.
const UNIQUE_IDENTIFIERS: [u8; 2] = [0x81, 0x82];

/// A subject alternative name of a kind that is compared. The others are of no use here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlternativeName {
    /// `dNSName`, in lower case.
    Dns(Box<str>),
    /// `uniformResourceIdentifier`, such as a SPIFFE ID.
    Uri(Box<str>),
    /// `rfc822Name` with exactly one `@`, its domain in lower case.
    Email(Box<str>),
    /// `iPAddress`.
    Ip(IpAddr),
}

impl std::fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => f.write_str(text),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl AlternativeName {
    /// A DNS name. Wildcards are names, too.
    #[must_use]
    pub fn dns(text: &str) -> Option<Self> {
        let fits =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
        let is_name = (1..=253).contains(&text.len()) && text.bytes().all(fits);
        is_name.then(|| Self::Dns(text.to_ascii_lowercase().into()))
    }

    /// A URI.
    #[must_use]
    pub fn uri(text: &str) -> Option<Self> {
        let (scheme, _) = text.split_once(':')?;
        let is_shown = text.bytes().all(|byte| byte.is_ascii_graphic());
        (!scheme.is_empty() && is_shown).then(|| Self::Uri(text.into()))
    }

    /// An e-mail address.
    #[must_use]
    pub fn email(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let is_address = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let is_shown = text.bytes().all(|byte| byte.is_ascii_graphic());
        let lower = || format!("{local}@{}", domain.to_ascii_lowercase());
        (is_address && is_shown).then(|| Self::Email(lower().into()))
    }

    fn read(tag: u8, content: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(content).ok();
        match tag {
            0x81 => Self::email(text()?),
            0x82 => Self::dns(text()?),
            0x86 => Self::uri(text()?),
            0x87 => match content.len() {
                4 => <[u8; 4]>::try_from(content).ok().map(|four| Self::Ip(four.into())),
                16 => <[u8; 16]>::try_from(content).ok().map(|all| Self::Ip(all.into())),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The instant after which a certificate is not valid.
pub(crate) fn not_after(der: &[u8]) -> Result<UnixTime, Malformed> {
    Ok(validity(der)?.0)
}

/// The instant after which a certificate is not valid, and what follows `Validity`.
fn validity(der: &[u8]) -> Result<(UnixTime, Reader<'_>), Malformed> {
    let mut signed = Reader(Reader(Reader(der).take(SEQUENCE)?).take(SEQUENCE)?);
    if signed.tag() == Some(VERSION) {
        signed.take(VERSION)?;
    }
    signed.take(INTEGER)?;
    for _signature_issuer in 0..2 {
        signed.take(SEQUENCE)?;
    }
    let mut validity = Reader(signed.take(SEQUENCE)?);
    instant(&mut validity)?;
    Ok((instant(&mut validity)?, signed))
}

/// The subject alternative names of a certificate, those of other kinds left out.
pub(crate) fn alternative_names(der: &[u8]) -> Result<Vec<AlternativeName>, Malformed> {
    let (_, mut signed) = validity(der)?;
    for _subject_key in 0..2 {
        signed.take(SEQUENCE)?;
    }
    for identifier in UNIQUE_IDENTIFIERS {
        if signed.tag() == Some(identifier) {
            signed.take(identifier)?;
        }
    }
    let mut found = None;
    if signed.tag() == Some(EXTENSIONS) {
        let mut extensions = Reader(Reader(signed.take(EXTENSIONS)?).take(SEQUENCE)?);
        while extensions.tag().is_some() {
            let mut extension = Reader(extensions.take(SEQUENCE)?);
            let id = extension.take(OBJECT_IDENTIFIER)?;
            if extension.tag() == Some(BOOLEAN) {
                extension.take(BOOLEAN)?;
            }
            let value = extension.take(OCTET_STRING)?;
            // Readers differ in which of two they take.
            if id == ALTERNATIVE_NAMES && found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
    }
    signed.end()?;
    found.map_or(Ok(Vec::new()), names)
}

fn names(value: &[u8]) -> Result<Vec<AlternativeName>, Malformed> {
    let mut names = Reader(Reader(value).take(SEQUENCE)?);
    let mut found = Vec::new();
    while let Some(tag) = names.tag() {
        found.extend(AlternativeName::read(tag, names.take(tag)?));
    }
    Ok(found)
}

fn instant(validity: &mut Reader<'_>) -> Result<UnixTime, Malformed> {
    match validity.tag() {
        Some(UTC_TIME) => {
            let text = validity.take(UTC_TIME)?;
            let (year, rest) = text.split_at_checked(2).ok_or(Malformed)?;
            let year = digits(year)?;
            unix(if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        Some(GENERALIZED_TIME) => {
            let text = validity.take(GENERALIZED_TIME)?;
            let (year, rest) = text.split_at_checked(4).ok_or(Malformed)?;
            unix(digits(year)?, rest)
        }
        _ => Err(Malformed),
    }
}

/// `MMDDHHMMSSZ` of a year; an instant before 1970 is 1970.
fn unix(year: u16, text: &[u8]) -> Result<UnixTime, Malformed> {
    let [text @ .., b'Z'] = text else { return Err(Malformed) };
    if text.len() != 10 {
        return Err(Malformed);
    }
    let two = |at: usize| digits(&text[at..at + 2]).map(|number| number as u8);
    let month = Month::try_from(two(0)?).map_err(|_| Malformed)?;
    let date = Date::from_calendar_date(i32::from(year), month, two(2)?).map_err(|_| Malformed)?;
    let time = Time::from_hms(two(4)?, two(6)?, two(8)?).map_err(|_| Malformed)?;
    let seconds = UtcDateTime::new(date, time).unix_timestamp();
    Ok(UnixTime(u64::try_from(seconds).unwrap_or(0)))
}

fn digits(text: &[u8]) -> Result<u16, Malformed> {
    text.iter().try_fold(0, |number: u16, digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + u16::from(digit - b'0')),
        _ => Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as its validity.
    fn certificate(tag: u8, not_after: &str) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8][..], content].concat();
        let validity = [element(UTC_TIME, b"200101000000Z"), element(tag, not_after.as_bytes())];
        let signed = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &validity.concat()),
        ];
        element(SEQUENCE, &element(SEQUENCE, &signed.concat()))
    }

    /// An element of less than 256 bytes.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len() as u8;
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [&head, content].concat()
    }

    /// A certificate with extensions, each its identifier and its value.
    fn extended(extensions: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
        let time = element(UTC_TIME, b"200101000000Z");
        let extensions = extensions.iter().map(|(id, value)| {
            let parts = [element(OBJECT_IDENTIFIER, id), element(BOOLEAN, &[0xff])];
            let value = element(OCTET_STRING, value);
            element(SEQUENCE, &[parts.concat(), value].concat())
        });
        let extensions: Vec<u8> = extensions.flatten().collect();
        let signed = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[time.clone(), time].concat()),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[]),
            element(0x81, &[0]),
            element(EXTENSIONS, &element(SEQUENCE, &extensions)),
        ];
        element(SEQUENCE, &element(SEQUENCE, &signed.concat()))
    }

    #[test]
    fn names_of_the_kinds_that_are_compared_are_read_and_the_others_left_out() {
        let names: Vec<u8> = [
            (0x82, &b"API.example"[..]),
            (0x82, b"evil\0.example"),
            (0x86, b"spiffe://a/B"),
            (0x81, b"Ops@Example.org"),
            (0x81, b"a@b@c"),
            (0x87, &[10, 1, 2, 3]),
            (0x87, &[10, 1, 2, 3, 4]),
            (0xa4, b"x"),
        ]
        .iter()
        .flat_map(|(tag, content)| element(*tag, content))
        .collect();
        let value = element(SEQUENCE, &names);
        let other = (&[0x55, 0x1d, 0x0f][..], vec![1]);
        let read = alternative_names(&extended(&[other, (&ALTERNATIVE_NAMES, value.clone())]));
        let shown = read.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown, ["api.example", "spiffe://a/B", "Ops@example.org", "10.1.2.3"]);
        assert_eq!(alternative_names(&extended(&[])), Ok(Vec::new()));
        let twice = [(&ALTERNATIVE_NAMES[..], value.clone()), (&ALTERNATIVE_NAMES, value)];
        assert_eq!(alternative_names(&extended(&twice)), Err(Malformed));
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        for (tag, text, unix) in [
            (UTC_TIME, "700101000001Z", 1),
            (UTC_TIME, "941106084937Z", 784_111_777),
            (UTC_TIME, "490101000000Z", 2_493_072_000),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
            (GENERALIZED_TIME, "19500101000000Z", 0),
        ] {
            assert_eq!(not_after(&certificate(tag, text)), Ok(UnixTime(unix)), "{text}");
        }
        for (tag, text) in [
            (UTC_TIME, "9411060849Z"),
            (UTC_TIME, "941106084937"),
            (UTC_TIME, "941306084937Z"),
            (UTC_TIME, "94110608493xZ"),
            (GENERALIZED_TIME, "941106084937Z"),
            (SEQUENCE, "941106084937Z"),
        ] {
            assert_eq!(not_after(&certificate(tag, text)), Err(Malformed), "{text}");
        }
    }
}
