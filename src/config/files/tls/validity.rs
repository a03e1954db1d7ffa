//! The time in which a certificate is valid.
//!
//! Owns reading `Validity` (RFC 5280 section 4.1.2.5) of a certificate of the operator. Never decides
//! whether a peer's certificate is accepted: that is rustls's.

use time::{Date, Month, Time, UtcDateTime};

use crate::base::clock::UnixTime;
use crate::base::der::{Malformed, Reader};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the version of a certificate.
const VERSION: u8 = 0xa0;

/// The instant after which a certificate is not valid.
pub(super) fn not_after(der: &[u8]) -> Result<UnixTime, Malformed> {
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
    instant(&mut validity)
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
