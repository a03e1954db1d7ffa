//! `gatepost why`: the reason of a recent refusal.
//!
//! Owns the syntax of request ids and the text form of the answer. Never computes a value of its
//! own.

use clap::Args;
use http::StatusCode;
use serde_json::Value;

use crate::cli::admin_client::AdminClient;
use crate::cli::answer::{account_text, outline, scalar, show};
use crate::cli::{ConfigFile, Failure, Outcome};
use crate::serve::account::Account;

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost why 0198c0ffee --config gatepost.yaml

The id is in X-Request-Id and in the body of every refusal. Exit 1 when the id is unknown
or no longer in memory.";

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

pub(super) fn run(arguments: &Why) -> Outcome {
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

/// The syntax of request ids (contract, "Identity headers"), safe in a path.
fn is_request_id(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(good)
}

/// The verdict and the steps as in `explain`, then the request.
fn account(document: &Value) -> String {
    let Ok(account) = serde_json::from_value::<Account>(document.clone()) else {
        return outline(document);
    };
    let mut text = account_text(&account);
    for name in ["method", "host", "path", "route", "address", "time", "generation"] {
        let value = scalar(&document[name]).unwrap_or_default();
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
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
    fn r903_the_text_of_a_refusal_commands_no_terminal() {
        let document = serde_json::json!({
            "outcome": "refused", "status": 404, "reason": "route_unknown",
            "meaning": "no route\u{7}", "route": null,
            "path": "/a\u{1b}[2J",
            "steps": [{"question": "route", "passed": false, "answer": "b\n\u{9b}c"}],
        });
        let account = account(&document);
        assert!(account.chars().all(|c| c == '\n' || !c.is_control()), "{account:?}");
        assert!(account.starts_with("refused with 404: route_unknown: no route"), "{account}");
        assert!(account.contains("no  route      b\\n"), "{account}");
    }
}
