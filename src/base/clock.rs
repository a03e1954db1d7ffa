//! Time as an argument: wall-clock seconds for credentials, monotonic nanoseconds for limits.
//!
//! Owns the only place that reads a clock ([`Clock::now`]) and the spelling of durations and
//! instants in configuration, key files and on the command line. Never decides anything.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

/// Seconds since the Unix epoch, as in a JWT `NumericDate` (RFC 7519 section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This instant plus `duration`, in whole seconds; saturates at the end of time.
    #[must_use]
    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

/// RFC 3339 in UTC, whole seconds: `2026-11-21T20:26:12Z`.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        match time::OffsetDateTime::from_unix_timestamp(seconds) {
            Ok(at) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second()
            ),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

/// Milliseconds since the Unix epoch, for timestamps of logs and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The whole seconds of it.
    #[must_use]
    pub fn seconds(self) -> UnixTime {
        UnixTime(self.0 / 1000)
    }
}

impl UnixMillis {
    /// RFC 3339 in UTC with milliseconds, digit by digit: every line of a log has one. `None`
    /// beyond the year 9999.
    #[must_use]
    pub fn digits(self) -> Option<[u8; 24]> {
        let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(self.0 / 1000).ok()?);
        let at = at.ok()?;
        let year = u64::try_from(at.year()).ok().filter(|year| *year <= 9999)?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], u8::from(at.month()).into());
        put_digits(&mut text[8..10], at.day().into());
        put_digits(&mut text[11..13], at.hour().into());
        put_digits(&mut text[14..16], at.minute().into());
        put_digits(&mut text[17..19], at.second().into());
        put_digits(&mut text[20..23], self.0 % 1000);
        Some(text)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T20:26:12.345Z`.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digits() {
            Some(digits) => f.write_str(std::str::from_utf8(&digits).unwrap_or_default()),
            None => write!(f, "@{}.{:03}Z", self.0 / 1000, self.0 % 1000),
        }
    }
}

/// The last digits of a number, as many as there is room for.
fn put_digits(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Nanoseconds on a clock that never steps. Limits use it so that a stepped wall clock neither
/// resets nor freezes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

/// The two readings every decision is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Wall clock, for `exp`, `nbf`, key expiry.
    pub unix: UnixTime,
    /// Steady clock, for rate limits.
    pub monotonic: Monotonic,
}

/// The process clock. Everything below the shell gets a [`Now`] from its caller instead.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts the clock; [`Monotonic`] counts from an hour before here, so that "long ago" can be
    /// said without wrapping.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Now { unix: UnixTime(unix), monotonic: self.monotonic() }
    }

    /// Reads the steady clock alone, for measuring durations.
    #[must_use]
    pub fn monotonic(&self) -> Monotonic {
        let elapsed = self.origin.elapsed() + Duration::from_secs(3600);
        Monotonic(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads the wall clock for logs: decisions use [`Self::now`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn unix_millis() -> UnixMillis {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        UnixMillis(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A text that is neither a duration nor an instant.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TimeError {
    /// Not `<number><unit>`.
    #[error(
        "{0:?} is not a duration: write a whole number and a unit, such as 250ms, 30s, 5m, 24h or 90d"
    )]
    Duration(String),
    /// Not an RFC 3339 timestamp.
    #[error("{0:?} is not a point in time: write RFC 3339, such as 2027-01-31T00:00:00Z")]
    Instant(String),
}

/// Reads `250ms`, `30s`, `5m`, `24h`, `90d`: one whole number, one unit, nothing else.
///
/// # Errors
/// [`TimeError::Duration`] with the text, when it has another form or overflows.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, TimeError> {
    let wrong = || TimeError::Duration(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads an RFC 3339 timestamp at or after 1970, to the second.
///
/// # Errors
/// [`TimeError::Instant`] with the text, when it is not one.
pub(crate) fn parse_instant(text: &str) -> Result<UnixTime, TimeError> {
    let wrong = || TimeError::Instant(text.to_owned());
    let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
        .map_err(|_| wrong())?;
    u64::try_from(at.unix_timestamp()).map(UnixTime).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        assert_eq!(parse_duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "s", "5", "5 s", "-5s", "1.5s", "5S", "1h30m", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn instants_are_rfc_3339_and_print_the_same_way() {
        let at = parse_instant("2026-11-21T20:26:12Z").unwrap();
        assert_eq!(at.to_string(), "2026-11-21T20:26:12Z");
        assert_eq!(parse_instant("2026-11-21T22:26:12+02:00"), Ok(at));
        assert_eq!(UnixMillis(at.0 * 1000 + 7).to_string(), "2026-11-21T20:26:12.007Z");
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis(951_827_696_999).to_string(), "2000-02-29T12:34:56.999Z");
        assert_eq!(UnixMillis(253_402_300_799_999).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(UnixMillis(253_402_300_800_000).to_string(), "@253402300800.000Z");
        assert_eq!(UnixMillis(u64::MAX).to_string(), "@18446744073709551.615Z");
        for wrong in ["", "2026-11-21", "yesterday", "1969-12-31T23:59:59Z"] {
            assert!(parse_instant(wrong).is_err(), "{wrong:?}");
        }
    }
}
