//! `gatepost reload`: a reload of the running process.
//!
//! Owns the exit code and the printed mistakes. Never reads a configuration but to find the admin
//! listener.

use std::path::Path;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::cli::admin_client::AdminClient;
use crate::cli::answer::{document, unexpected};
use crate::cli::{Exit, Outcome, escape, print, print_mistakes};

pub(super) const EXAMPLE: &str = "\
Example:
  gatepost reload --config gatepost.yaml

Exit 0 when the files on disk are in force, 78 when they have mistakes: each file with a mistake
stays at its last good version.";

pub(super) fn run(config: &Path) -> Outcome {
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
    let changed = if answer["published"] == true { "" } else { ", unchanged" };
    print(&format!("reloaded: generation {}{changed}\n", answer["generation"]))?;
    let restart = answer["restart_needed"].as_array().map_or(&[][..], Vec::as_slice);
    for setting in restart.iter().filter_map(Value::as_str) {
        eprintln!("gatepost: warning: {} changed: restart to apply", escape(setting));
    }
    Ok(Exit::Success)
}

fn mistake_text(mistake: &Value) -> String {
    mistake.as_str().map_or_else(|| mistake.to_string(), str::to_owned)
}
