//! `gatepost issuer refresh`: fetch an issuer's keys now, through the running process.
//!
//! Owns the arguments and the text form of the answer. Never fetches a key itself: the running
//! process does, by the rules of every refresh.

use std::fmt::Write as _;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::StatusCode;

use crate::cli::admin_client::{AdminClient, Response};
use crate::cli::answer::{document, unexpected};
use crate::cli::{ConfigFile, Exit, Failure, Outcome, escape, print};

const REFRESH_EXAMPLE: &str = "\
Examples:
  gatepost issuer refresh corp --config gatepost.yaml
  gatepost issuer refresh login.example.com --config gatepost.yaml --json

NAME is the issuer's `name`, else its host, as listed by `gatepost status`. Exit 0 when the keys
in force are those of the key server, 1 when the fetch failed (the keys in force are kept) or the
issuer's keys are not fetched from a URL.";

/// `issuer ...`.
#[derive(Debug, Subcommand)]
pub(super) enum IssuerCommand {
    /// Fetch the keys of an issuer without waiting for the next refresh
    #[command(after_help = REFRESH_EXAMPLE)]
    Refresh(Refresh),
}

/// Arguments of `issuer refresh`.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    /// Name of the issuer
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &IssuerCommand) -> Outcome {
    match command {
        IssuerCommand::Refresh(arguments) => refresh(arguments),
    }
}

fn refresh(arguments: &Refresh) -> Outcome {
    let client = AdminClient::from_config(&arguments.config.path)?;
    let target = format!("/issuers/{}/refresh", segment(&arguments.name));
    let response = client.post(&target, Bytes::new())?;
    if response.status != StatusCode::OK {
        return Err(refused(&arguments.name, &response));
    }
    if arguments.json {
        print(&format!("{}\n", String::from_utf8_lossy(&response.body).trim_end()))?;
        return Ok(Exit::Success);
    }
    let answer = document(&response)?;
    let result = answer["result"].as_str().map(escape).unwrap_or_default();
    print(&format!("{}: {result}, {} keys in force\n", escape(&arguments.name), answer["keys"]))?;
    Ok(Exit::Success)
}

fn refused(name: &str, response: &Response) -> Failure {
    let Ok(document) = document(response) else { return unexpected(response) };
    let text = |field: &str| document[field].as_str().map(escape);
    let Some(detail) = text("detail") else { return unexpected(response) };
    let cause = text("error").map(|error| format!(": {error}")).unwrap_or_default();
    Failure::negative(format!("{}: {detail}{cause}", escape(name)))
}

/// Percent-encodes `text` as one segment of a path.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            // Dots, too: `..` is not a name. Writing to a string cannot fail.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("corp-1_x~"), "corp-1_x~");
        assert_eq!(segment("a/b?c#d %\u{e9}"), "a%2Fb%3Fc%23d%20%25%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
