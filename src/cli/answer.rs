//! The answers of the admin listener, as text.
//!
//! Owns the outline of a JSON document and the text of an account. Never computes a value of its
//! own, and escapes control characters: texts of a caller must not control the terminal.

use http::StatusCode;
use serde_json::Value;

use crate::cli::admin_client::Response;
use crate::cli::{Exit, Failure, Outcome, escape, print};
use crate::serve::account::Account;

/// Prints a document as JSON or with `text`.
pub(super) fn show(response: &Response, json: bool, text: fn(&Value) -> String) -> Outcome {
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

/// The verdict on the first line, then a line for each step.
pub(super) fn account_text(account: &Account) -> String {
    let mut text = match &account.reason {
        None => format!("{}\n", account.verdict),
        Some(reason) => {
            let meaning = account.meaning.as_deref().map(escape);
            let meaning = meaning.map_or(String::new(), |meaning| format!(": {meaning}"));
            let reason = escape(reason);
            format!("{} with {}: {reason}{meaning}\n", account.verdict, account.status)
        }
    };
    for step in &account.steps {
        let mark = if step.passed { "ok" } else { "no" };
        let answer = escape(&step.answer);
        text.push_str(&format!("  {mark}  {:<10} {answer}\n", step.question));
    }
    text
}

/// The JSON of a response.
pub(super) fn document(response: &Response) -> Result<Value, Failure> {
    serde_json::from_slice(&response.body).map_err(|_| unexpected(response))
}

/// The failure for a response that the command does not expect.
pub(super) fn unexpected(response: &Response) -> Failure {
    let body = String::from_utf8_lossy(&response.body);
    let body: String = body.trim_end().chars().take(500).collect();
    Failure::fault(format!(
        "unexpected answer from the admin listener: {}: {}",
        response.status,
        body.escape_debug()
    ))
}

/// JSON as an indented outline. Strings are escaped: they may contain a caller's path with control
/// characters.
pub(super) fn outline(document: &Value) -> String {
    let mut text = String::new();
    push_outline(document, "", &mut text);
    text
}

fn push_outline(value: &Value, indent: &str, text: &mut String) {
    let deeper = format!("{indent}  ");
    match value {
        Value::Object(fields) => {
            // Values that fit on a line come first.
            for (name, scalar) in fields.iter().filter_map(|(name, one)| Some((name, scalar(one)?)))
            {
                text.push_str(&format!("{indent}{name}: {scalar}\n"));
            }
            for (name, value) in fields.iter().filter(|(_, value)| scalar(value).is_none()) {
                text.push_str(&format!("{indent}{name}:\n"));
                push_outline(value, &deeper, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut lines = String::new();
                match scalar(item).or_else(|| one_line(item)) {
                    Some(line) => lines = format!("{deeper}{line}\n"),
                    None => push_outline(item, &deeper, &mut lines),
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

/// A value that fits on the line of its name.
pub(super) fn scalar(value: &Value) -> Option<String> {
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
    fn r903_an_outline_commands_no_terminal() {
        let document = serde_json::json!({
            "path": "/a\u{1b}[2J",
            "answer": "b\n\u{9b}c",
            "keys": [],
            "list": [{"a": {"b": 1}, "c": 2}, {"d": 3}],
        });
        let text = outline(&document);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("keys: none\npath: /a\\u{1b}[2J\nlist:\n"), "{text}");
        assert!(text.contains("  - c: 2\n    a:\n      b: 1\n  - d 3\n"), "{text}");
    }
}
