//! The response fields of rate limits.
//!
//! Owns `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, structured fields
//! of RFC 9651) and the seconds of `Retry-After` (RFC 9110 section 10.2.3). Reveals nothing about
//! other callers.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::decide::rate_limit::{LimitHeaders, Standing};

/// The largest integer of a structured field (RFC 9651 section 3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// The field with the remaining allowance.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The field with the quota.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// [`limit_fields`] by name, for an answer; empty when no limit sends fields.
pub fn fields(standings: &[Standing], refused: bool) -> Vec<(HeaderName, HeaderValue)> {
    match limit_fields(standings, refused) {
        Some(told) => vec![(RATE_LIMIT, told.rate_limit), (RATE_LIMIT_POLICY, told.policy)],
        None => Vec::new(),
    }
}
/// The usual size of one limit in either field; longer names cost another allocation.
const FIELD_BYTES: usize = 48;

/// The two fields of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFields {
    /// `RateLimit`: `"per-caller";r=199;t=1`, with `t` the seconds until the whole burst is
    /// available.
    pub rate_limit: HeaderValue,
    /// `RateLimit-Policy`: `"per-caller";q=200;w=2`, with `q` the burst and `w` the seconds until a
    /// used burst is available again.
    pub policy: HeaderValue,
}

/// The fields for a request that was charged to `standings`; `None` when no limit sends fields.
/// `refused` says whether the request was refused by one of them.
#[must_use]
pub fn limit_fields(standings: &[Standing], refused: bool) -> Option<LimitFields> {
    let room = || Vec::with_capacity(standings.len() * FIELD_BYTES);
    let (mut rate_limit, mut policy) = (room(), room());
    for standing in standings.iter().filter(|standing| is_told(standing, refused)) {
        for field in [&mut rate_limit, &mut policy] {
            if !field.is_empty() {
                field.extend_from_slice(b", ");
            }
            push_string(field, &standing.policy.name);
        }
        push_parameter(&mut rate_limit, b";r=", standing.remaining.into());
        push_parameter(&mut rate_limit, b";t=", seconds_up(standing.reset_after));
        push_parameter(&mut policy, b";q=", standing.quota.burst.get().into());
        push_parameter(&mut policy, b";w=", seconds_up(standing.quota.window()).max(1));
    }
    if policy.is_empty() {
        return None;
    }
    Some(LimitFields { rate_limit: visible(rate_limit)?, policy: visible(policy)? })
}

/// The tightest state of each limit, for the fields a caller sees: with a token and a key together
/// a limit is checked twice.
#[must_use]
pub fn tightest(standings: &[Standing]) -> Cow<'_, [Standing]> {
    if let [] | [_] = standings {
        return Cow::Borrowed(standings);
    }
    let mut seen: Vec<Standing> = Vec::with_capacity(standings.len());
    for standing in standings {
        match seen.iter_mut().find(|have| have.policy.name == standing.policy.name) {
            Some(have) if standing.remaining < have.remaining => *have = standing.clone(),
            Some(_) => {}
            None => seen.push(standing.clone()),
        }
    }
    Cow::Owned(seen)
}

/// `Retry-After` for a refused request, in whole seconds: after that time, every limit that refused
/// would admit one request. At least 1, so that no client retries at once.
#[must_use]
pub fn retry_after_secs(standings: &[Standing]) -> u64 {
    standings
        .iter()
        .filter(|standing| !standing.allowed)
        .map(|standing| seconds_up(standing.retry_after))
        .fold(1, u64::max)
}

fn is_told(standing: &Standing, refused: bool) -> bool {
    match standing.policy.headers {
        LimitHeaders::Always => true,
        LimitHeaders::Refused => refused,
        LimitHeaders::Off => false,
    }
}

/// Appends a structured-field string (RFC 9651 section 3.3.3), which holds printable ASCII only;
/// other bytes of a name are percent-encoded.
fn push_string(field: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    field.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => field.extend([b'\\', byte]),
            b' '..=b'~' => field.push(byte),
            _ => field.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    field.push(b'"');
}

fn push_parameter(field: &mut Vec<u8>, name: &[u8], value: u64) {
    field.extend_from_slice(name);
    field.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn seconds_up(duration: Duration) -> u64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(partial).min(INTEGER_MAX)
}

/// Converts text of printable ASCII, so there is always a value.
fn visible(text: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};
    use std::sync::Arc;

    use super::*;
    use crate::decide::rate_limit::{LimitBy, LimitPolicy, Quota};

    fn standing(name: &str, rate: &str, burst: u32, headers: LimitHeaders) -> Standing {
        let quota = Quota::parse(rate, NonZeroU32::new(burst)).unwrap();
        let policy =
            LimitPolicy { name: name.into(), index: 0, quota, by: LimitBy::Principal, headers };
        Standing {
            policy: Arc::new(policy),
            quota,
            remaining: burst - 1,
            reset_after: Duration::from_nanos(quota.per_request_ns.get()),
            retry_after: Duration::ZERO,
            allowed: true,
        }
    }

    #[track_caller]
    fn check(standings: &[Standing], refused: bool, expected: Option<(&str, &str)>) {
        let fields = limit_fields(standings, refused);
        let shown = fields
            .as_ref()
            .map(|fields| (fields.rate_limit.to_str().unwrap(), fields.policy.to_str().unwrap()));
        assert_eq!(shown, expected);
    }

    #[test]
    fn contract_answers_the_fields_follow_the_draft() {
        let caller = standing("per-caller", "100/s", 200, LimitHeaders::Always);
        let address = standing("per-address", "20/m", 40, LimitHeaders::Always);
        check(
            std::slice::from_ref(&caller),
            false,
            Some(("\"per-caller\";r=199;t=1", "\"per-caller\";q=200;w=2")),
        );
        check(
            &[caller, address],
            true,
            Some((
                "\"per-caller\";r=199;t=1, \"per-address\";r=39;t=3",
                "\"per-caller\";q=200;w=2, \"per-address\";q=40;w=120",
            )),
        );
        check(&[], true, None);
    }

    #[test]
    fn contract_answers_a_limit_can_be_silent() {
        let always = standing("a", "1/s", 1, LimitHeaders::Always);
        let refused = standing("b", "1/s", 1, LimitHeaders::Refused);
        let off = standing("c", "1/s", 1, LimitHeaders::Off);
        let all = [off.clone(), refused.clone(), always];
        check(&all, false, Some(("\"a\";r=0;t=1", "\"a\";q=1;w=1")));
        check(&all, true, Some(("\"b\";r=0;t=1, \"a\";r=0;t=1", "\"b\";q=1;w=1, \"a\";q=1;w=1")));
        check(&[refused.clone(), off.clone()], false, None);
        check(&[off], true, None);
    }

    #[test]
    fn contract_answers_of_a_limit_that_was_asked_twice_the_tightest_is_told() {
        let left = |name: &str, remaining: u32, reset_s: u64| Standing {
            remaining,
            reset_after: Duration::from_secs(reset_s),
            ..standing(name, "1/s", 9, LimitHeaders::Always)
        };
        let asked =
            [left("a", 5, 1), left("b", 3, 2), left("a", 2, 3), left("a", 7, 4), left("b", 3, 5)];
        let told: Vec<_> = tightest(&asked).iter().map(|one| one.reset_after.as_secs()).collect();
        assert_eq!(told, [3, 2], "a with 2 left, and b as it was asked first");
        assert!(matches!(tightest(&asked[..1]), Cow::Borrowed([_])));
    }

    #[test]
    fn contract_answers_seconds_are_rounded_up() {
        let mut whole = standing("a", "3/s", 3, LimitHeaders::Always);
        whole.reset_after = Duration::ZERO;
        check(&[whole.clone()], true, Some(("\"a\";r=2;t=0", "\"a\";q=3;w=1")));
        whole.reset_after = Duration::from_nanos(1_000_000_001);
        check(&[whole], true, Some(("\"a\";r=2;t=2", "\"a\";q=3;w=1")));
        let brief = standing("a", "1000000/s", 1, LimitHeaders::Always);
        check(&[brief], true, Some(("\"a\";r=0;t=1", "\"a\";q=1;w=1")));
    }

    #[test]
    fn contract_answers_names_cannot_add_to_the_field() {
        let quoted = standing("a\"b\\c\r\n\u{e9}", "1/s", 1, LimitHeaders::Always);
        check(
            &[quoted],
            false,
            Some(("\"a\\\"b\\\\c%0D%0A%C3%A9\";r=0;t=1", "\"a\\\"b\\\\c%0D%0A%C3%A9\";q=1;w=1")),
        );
    }

    #[test]
    fn contract_answers_numbers_stay_within_structured_fields() {
        let mut longest = standing("a", "1/d", 1, LimitHeaders::Always);
        longest.quota = Quota { burst: NonZeroU32::MAX, per_request_ns: NonZeroU64::MAX };
        longest.reset_after = Duration::MAX;
        check(
            &[longest],
            true,
            Some(("\"a\";r=0;t=999999999999999", "\"a\";q=4294967295;w=999999999999999")),
        );
    }

    #[test]
    fn contract_answers_retry_after_waits_for_every_limit_that_refused() {
        let wait = |millis: u64, allowed| Standing {
            retry_after: Duration::from_millis(millis),
            allowed,
            ..standing("a", "1/s", 1, LimitHeaders::Off)
        };
        assert_eq!(retry_after_secs(&[wait(1, false)]), 1);
        assert_eq!(retry_after_secs(&[wait(1_000, false)]), 1);
        assert_eq!(retry_after_secs(&[wait(1_001, false), wait(1, false)]), 2);
        assert_eq!(retry_after_secs(&[wait(9_000, true), wait(10, false)]), 1);
        assert_eq!(retry_after_secs(&[wait(0, false)]), 1);
        assert_eq!(retry_after_secs(&[]), 1);
    }

    #[test]
    fn contract_answers_of_a_limit_that_is_asked_twice_the_tighter_standing_is_told() {
        let of = |name: &str, remaining| Standing {
            remaining,
            ..standing(name, "1/s", 10, LimitHeaders::Always)
        };
        let told = |standings: &[Standing]| {
            let told = tightest(standings).into_owned();
            told.iter().map(|one| (one.policy.name.to_string(), one.remaining)).collect::<Vec<_>>()
        };
        let expected = [("a".to_owned(), 2), ("b".to_owned(), 7)];
        assert_eq!(told(&[of("a", 2), of("b", 7), of("a", 5)]), expected);
        assert_eq!(told(&[of("a", 5), of("b", 7), of("a", 2)]), expected);
        assert_eq!(told(&[of("a", 5), of("a", 0)]), [("a".to_owned(), 0)]);
        assert_eq!(told(&[of("a", 5)]), [("a".to_owned(), 5)]);
        assert_eq!(told(&[]), []);
    }
}
