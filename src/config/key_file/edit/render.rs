//! An entry as the fields of a YAML mapping, each on one line, or as those of a JSON object.
//!
//! Owns how we write a key. Never reads; [`super::verify`] makes sure that it reads back.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::decide::api_key::KeyEntry;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

/// Words that some reader of YAML takes for something else than a text.
const NOT_TEXT: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Names and values of an entry's fields, in the order of the contract, without what is default.
pub(super) fn fields(entry: &KeyEntry) -> Vec<(&'static str, String)> {
    let mut fields = vec![("id", scalar(&entry.id))];
    fields.extend(entry.name.as_deref().map(|name| ("name", scalar(name))));
    fields.push(("digest", entry.digest.to_text()));
    if entry.subject.strip_prefix("key:") != Some(&entry.id) {
        fields.push(("subject", scalar(&entry.subject)));
    }
    if !entry.scopes.is_empty() {
        fields.push(("scopes", scopes(&entry.scopes)));
    }
    if !entry.claims.as_map().is_empty() {
        // JSON is YAML, too.
        fields.push(("claims", Value::from(entry.claims.as_map().clone()).to_string()));
    }
    fields.extend(entry.not_before.map(|at| ("not_before", at.to_string())));
    fields.extend(entry.expires.map(|at| ("expires", at.to_string())));
    if !entry.enabled {
        fields.push(("enabled", "false".to_owned()));
    }
    if !entry.limits.is_empty() {
        fields.push(("limits", limits(&entry.limits)));
    }
    fields.extend(entry.replaces.as_deref().map(|id| ("replaces", scalar(id))));
    fields
}

/// The same as values of JSON.
pub(super) fn values(entry: &KeyEntry) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::from(text);
    let limit = |(name, quota): &(Box<str>, Quota)| {
        (name.to_string(), json!({ "rate": rate(*quota), "burst": quota.burst.get() }))
    };
    let value = |name| match name {
        "id" => text(&entry.id),
        "name" => text(entry.name.as_deref().unwrap_or_default()),
        "digest" => text(&entry.digest.to_text()),
        "subject" => text(&entry.subject),
        "scopes" => entry.scopes.iter().collect(),
        "claims" => entry.claims.as_map().clone().into(),
        "not_before" => entry.not_before.map(|at| at.to_string()).into(),
        "expires" => entry.expires.map(|at| at.to_string()).into(),
        "enabled" => entry.enabled.into(),
        "limits" => entry.limits.iter().map(limit).collect::<Map<_, _>>().into(),
        _ => entry.replaces.as_deref().into(),
    };
    fields(entry).into_iter().map(|(name, _)| (name, value(name))).collect()
}

/// A text as a plain scalar where every reader takes it for one, and in double quotes elsewhere.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/@+:-".contains(&byte))
        && !text.ends_with(':')
        && !NOT_TEXT.iter().any(|word| text.eq_ignore_ascii_case(word));
    // The escapes of JSON are escapes of YAML's double quotes too.
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

fn scopes(scopes: &ScopeSet) -> String {
    let tokens: Vec<_> = scopes.iter().map(scalar).collect();
    format!("[{}]", tokens.join(", "))
}

fn limits(limits: &[(Box<str>, Quota)]) -> String {
    let mut text = String::from("{ ");
    for (index, (name, quota)) in limits.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let (name, burst) = (scalar(name), quota.burst);
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{name}: {{ rate: {}, burst: {burst} }}", rate(*quota));
    }
    text.push_str(" }");
    text
}

/// A rate that reads as this quota: the one in the shortest unit that has one.
fn rate(quota: Quota) -> String {
    const SECOND_NS: u64 = 1_000_000_000;
    let per = quota.per_request_ns.get();
    let units = [
        ("s", SECOND_NS),
        ("m", 60 * SECOND_NS),
        ("h", 3_600 * SECOND_NS),
        ("d", 86_400 * SECOND_NS),
    ];
    let exact = units.into_iter().find(|(_, period)| {
        let count = period / per;
        count > 0 && period / count == per
    });
    let (unit, period) = exact.unwrap_or(units[3]);
    format!("{}/{unit}", (period / per).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_whenever_it_could_be_read_otherwise() {
        for plain in ["ci", "key:ci", "team-a/ci@example.com", "a.b_c+d"] {
            assert_eq!(scalar(plain), plain);
        }
        for (text, quoted) in [
            ("", r#""""#),
            ("true", r#""true""#),
            ("Off", r#""Off""#),
            ("1", r#""1""#),
            ("1.10", r#""1.10""#),
            ("a b", r#""a b""#),
            ("a:", r#""a:""#),
            ("a: b", r#""a: b""#),
            ("a #b", r#""a #b""#),
            ("- a", r#""- a""#),
            ("~", r#""~""#),
            ("say \"hi\" \\", r#""say \"hi\" \\""#),
            ("Zoë", r#""Zoë""#),
        ] {
            assert_eq!(scalar(text), quoted);
        }
    }

    #[test]
    fn a_rate_reads_back_as_the_quota_it_was() {
        for text in ["1/s", "100/s", "7/m", "60/m", "1000/h", "3/d", "86400/d", "1000000/s"] {
            let quota = Quota::parse(text, None).unwrap();
            assert_eq!(Quota::parse(&rate(quota), Some(quota.burst)), Ok(quota), "{text}");
        }
    }
}
