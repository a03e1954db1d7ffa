//! `gatepost why`, `status` and `reload`: questions to the running process.
//!
//! Owns the text form of the JSON answers. Never computes a value of its own.

use std::path::Path;

use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use serde_json::Value;

use crate::cli::admin_client::{AdminClient, Response};
use crate::cli::explain::Account;
use crate::cli::{ConfigFile, Exit, Failure, Outcome, escape, print, print_mistakes};

pub(super) const WHY_EXAMPLE: &str = "\
Example:
  gatepost why 0198c0ffee --config gatepost.yaml

The id is in X-Request-Id and in the body of every refusal. Exit 1 when the id is unknown
or no longer in memory.";

pub(super) const STATUS_EXAMPLE: &str = "\
Example:
  gatepost status --config gatepost.yaml";

pub(super) const RELOAD_EXAMPLE: &str = "\
Example:
  gatepost reload --config gatepost.yaml

Exit 0 when the files on disk are in force, 78 when they have mistakes: each file with a mistake
stays at its last good version.";

/// Arguments of `why`.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Request id
    #[arg(value_name = "REQUEST_ID")]
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn why(arguments: &Why) -> Outcome {
    let id = &arguments.id;
    if !is_request_id(id) {
        return Err(Failure::usage(format!(
            "{id:?} is not a request id: 1 to 128 letters, digits, `.`, `_` and `-`"
        )));
    }
    let response =
        AdminClient::from_config(&arguments.config.path)?.fetch(&format!("/why/{id}"))?;
    if response.status == StatusCode::NOT_FOUND {
        return Err(Failure::negative(format!(
            "{id}: unknown request id: only recent refusals are kept, admitted requests are not"
        )));
    }
    show(&response, arguments.json, account)
}

pub(super) fn status(arguments: &Status) -> Outcome {
    let response = AdminClient::from_config(&arguments.config.path)?.fetch("/status")?;
    show(&response, arguments.json, |document| {
        let mut text = String::new();
        outline(document, "", &mut text);
        text
    })
}

pub(super) fn reload(config: &Path) -> Outcome {
    let response = AdminClient::from_config(config)?.post("/reload", Bytes::new())?;
    let answer = document(&response)?;
    if response.status == StatusCode::UNPROCESSABLE_ENTITY {
        let mistakes = answer["mistakes"].as_array().map_or(&[][..], Vec::as_slice);
        print_mistakes(mistakes.iter().map(mistake_text));
        return Ok(Exit::Configuration);
    }
    if response.status != StatusCode::OK {
        return Err(unexpected(&response));
    }
    print(&format!("reloaded: generation {}\n", answer["generation"]))?;
    Ok(Exit::Success)
}

/// The syntax of request ids (contract, "Identity headers"), safe in a path.
fn is_request_id(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(good)
}

fn show(response: &Response, json: bool, text: fn(&Value) -> String) -> Outcome {
    if response.status != StatusCode::OK {
        return Err(unexpected(response));
    }
    let document = document(response)?;
    if json {
        print(&format!("{}\n", String::from_utf8_lossy(&response.body).trim_end()))?;
    } else {
        print(&text(&document))?;
    }
    Ok(Exit::Success)
}

/// The verdict and the steps as in `explain`, then the request.
fn account(document: &Value) -> String {
    let Ok(account) = serde_json::from_value::<Account>(document.clone()) else {
        let mut text = String::new();
        outline(document, "", &mut text);
        return text;
    };
    let mut text = account.to_text();
    for name in ["method", "host", "path", "route", "address", "time", "generation"] {
        let value = scalar(&document[name]).unwrap_or_default();
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

pub(super) fn document(response: &Response) -> Result<Value, Failure> {
    serde_json::from_slice(&response.body).map_err(|_| unexpected(response))
}

pub(super) fn unexpected(response: &Response) -> Failure {
    let body = String::from_utf8_lossy(&response.body);
    let body: String = body.trim_end().chars().take(500).collect();
    Failure::fault(format!(
        "unexpected answer from the admin listener: {}: {}",
        response.status,
        body.escape_debug()
    ))
}

fn mistake_text(mistake: &Value) -> String {
    mistake.as_str().map_or_else(|| mistake.to_string(), str::to_owned)
}

/// JSON as an indented outline. Strings are escaped: they may hold a caller's path with control
/// characters.
fn outline(value: &Value, indent: &str, text: &mut String) {
    let deeper = format!("{indent}  ");
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match scalar(value) {
                    Some(scalar) => text.push_str(&format!("{indent}{name}: {scalar}\n")),
                    None => {
                        text.push_str(&format!("{indent}{name}:\n"));
                        outline(value, &deeper, text);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut lines = String::new();
                match scalar(item).or_else(|| one_line(item)) {
                    Some(line) => lines = format!("{deeper}{line}\n"),
                    None => outline(item, &deeper, &mut lines),
                }
                lines.replace_range(indent.len()..=indent.len(), "-");
                text.push_str(&lines);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&format!("{indent}{}\n", scalar(value).unwrap_or_default()));
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("-".to_owned()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(string) => Some(escape(string)),
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        Value::Object(fields) if fields.is_empty() => Some("none".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A flat object as `name value, name value`.
fn one_line(item: &Value) -> Option<String> {
    let part = |(name, value)| scalar(value).map(|scalar| format!("{name} {scalar}"));
    let parts: Option<Vec<_>> = item.as_object()?.iter().map(part).collect();
    parts.map(|parts| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_safe_in_a_path() {
        assert!(is_request_id("0198-Ab.c_d"));
        let long = "a".repeat(129);
        for wrong in ["", "a/b", "..%2f", "a b", "a?b", long.as_str()] {
            assert!(!is_request_id(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn r903_nothing_printed_commands_a_terminal() {
        let document = serde_json::json!({
            "outcome": "refused", "status": 404, "reason": "route_unknown", "route": null,
            "path": "/a\u{1b}[2J",
            "steps": [{"question": "route", "passed": false, "answer": "b\n\u{9b}c"}],
            "keys": [],
            "list": [{"a": {"b": 1}, "c": 2}, {"d": 3}],
        });
        let mut outlined = String::new();
        outline(&document, "", &mut outlined);
        let account = account(&document);
        for text in [&outlined, &account] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
        assert!(account.starts_with("refused with 404: route_unknown: no route"), "{account}");
        assert!(account.contains("no  route      b\\n"), "{account}");
        assert!(outlined.contains("keys: none\nlist:\n  - a:\n      b: 1\n"), "{outlined}");
        assert!(outlined.contains("    c: 2\n  - d 3\n"), "{outlined}");
    }
}
