//! `gatepost revoke` and `gatepost revocations`: through the running process, which keeps them.
//!
//! Owns the arguments and how the answers look in a terminal. What an entry means, and what is
//! refused, is the process's to say: the same words as in revocation files. Never writes a file.

use bytes::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use http::StatusCode;
use serde_json::Value;

use crate::base::clock::{Clock, UnixTime, parse_duration};
use crate::cli::admin_client::{AdminClient, Response};
use crate::cli::answer::{document, unexpected};
use crate::cli::{ConfigFile, Exit, Failure, Outcome, escape, print};
use crate::decide::revocation::{Draft, EntryId};

pub(super) const REVOKE_EXAMPLE: &str = "\
Examples:
  gatepost revoke --config gatepost.yaml --jti 0198c0ffee --reason 'found in a log'
  gatepost revoke --config gatepost.yaml --subject ada --issuer corp --for 30d
  gatepost revoke --config gatepost.yaml --subject ada --issued-before now
  gatepost revoke --config gatepost.yaml --issued-before 2026-11-21T20:00:00Z --issuer corp
  gatepost revoke --config gatepost.yaml --key billing-2026

When it returns with 0, the revocation is on the disk and in force. Without --until and --for it
ends when nothing it could hit is still valid, as far as that is known, and stays otherwise.";

const LIST_EXAMPLE: &str = "\
Example:
  gatepost revocations list --config gatepost.yaml";

const DELETE_EXAMPLE: &str = "\
Example:
  gatepost revocations delete 4f0c… --config gatepost.yaml

The id is what `gatepost revoke`, `gatepost revocations list` and `gatepost why` print.";

/// Arguments of `revoke`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(
    ["jti", "subject", "client", "issued_before", "kid", "key"]
))]
pub(super) struct Revoke {
    #[command(flatten)]
    config: ConfigFile,
    /// Revoke one token, by its `jti`
    #[arg(long, value_name = "ID", allow_hyphen_values = true, value_parser = parse_name, conflicts_with_all = ["subject", "client", "issued_before", "kid", "key"])]
    jti: Option<String>,
    /// Revoke the tokens of a subject; with --issued-before only older ones
    #[arg(long, value_name = "SUB", allow_hyphen_values = true, value_parser = parse_name, conflicts_with_all = ["client", "kid", "key"])]
    subject: Option<String>,
    /// Revoke the tokens of an OAuth client
    #[arg(long, value_name = "ID", allow_hyphen_values = true, value_parser = parse_name, conflicts_with_all = ["issued_before", "kid", "key"])]
    client: Option<String>,
    /// Revoke tokens issued before this time: RFC 3339, or `now`
    #[arg(long, value_name = "TIME", conflicts_with_all = ["kid", "key"])]
    issued_before: Option<String>,
    /// Revoke tokens signed with this key of the issuer
    #[arg(long, value_name = "KID", allow_hyphen_values = true, value_parser = parse_name, conflicts_with = "key")]
    kid: Option<String>,
    /// Revoke one API key, by its id
    #[arg(long, value_name = "ID", allow_hyphen_values = true, value_parser = parse_name, conflicts_with = "issuer")]
    key: Option<String>,
    /// Issuer, by name or `iss`; optional with one issuer
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// End of the revocation: RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "lifetime")]
    until: Option<String>,
    /// Duration of the revocation
    #[arg(id = "lifetime", long = "for", value_name = "DURATION")]
    lifetime: Option<String>,
    /// `exp` of the token, after which the revocation is dropped: RFC 3339, with --jti
    #[arg(long, value_name = "TIME", conflicts_with_all = ["subject", "client", "issued_before", "kid", "key"])]
    expires: Option<String>,
    /// Human-readable reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `revocations ...`.
#[derive(Debug, Subcommand)]
pub(super) enum Revocations {
    /// List the revocations made through the running process, newest first
    #[command(after_help = LIST_EXAMPLE)]
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// List only revocations older than this id
        #[arg(long, value_name = "ID", value_parser = parse_id)]
        after: Option<String>,
        /// Maximum number of revocations
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a revocation
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        /// Id of the revocation
        #[arg(value_name = "ID", value_parser = parse_id)]
        id: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// A name may begin with `-`. An option is none: before it a value is missing, as where a variable of a
/// script is empty.
fn parse_name(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("--").map(|rest| rest.split('=').next().unwrap_or(rest));
    let is_option = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if rest.is_some_and(is_option) || ["-c", "-h"].contains(&text) {
        return Err(format!("expected a value before `{text}`"));
    }
    Ok(text.to_owned())
}

fn parse_id(text: &str) -> Result<String, String> {
    let wrong = || "expected 32 hexadecimal digits".to_owned();
    EntryId::parse(text).map(|id| id.to_string()).ok_or_else(wrong)
}

pub(super) fn revoke(arguments: &Revoke) -> Outcome {
    let draft = draft(arguments, Clock::start().now().unix)?;
    let body = serde_json::to_vec(&draft).map_err(|error| Failure::fault(error.to_string()))?;
    let client = AdminClient::from_config(&arguments.config.path)?;
    let response = client.post("/revocations", Bytes::from(body))?;
    match response.status {
        StatusCode::OK | StatusCode::CREATED => {}
        StatusCode::UNPROCESSABLE_ENTITY => return Err(Failure::usage(detail(&response)?)),
        _ => return Err(refused(&response)),
    }
    let entry = document(&response)?;
    if let Some(warning) = entry["warning"].as_str() {
        eprintln!("gatepost: warning: {}", escape(warning));
    }
    if arguments.json {
        return print_json(&response);
    }
    if entry["nodes"] == "this" {
        eprintln!("gatepost: the store does not answer: in the audit log once it does");
    }
    let news = if entry["new"] == true { "revoked" } else { "revoked before" };
    print(&format!("{news}: {}\n", line(&entry)))?;
    Ok(Exit::Success)
}

fn draft(arguments: &Revoke, now: UnixTime) -> Result<Draft, Failure> {
    let lasting = arguments.lifetime.as_deref().map(parse_duration).transpose();
    let lasting = lasting.map_err(|error| Failure::usage(format!("--for: {error}")))?;
    // A token says in whole seconds when it was issued: those of this second count as before.
    let this_second = || UnixTime(now.0.saturating_add(1)).to_string();
    let before = arguments.issued_before.as_ref();
    Ok(Draft {
        jti: arguments.jti.clone(),
        subject: arguments.subject.clone(),
        client: arguments.client.clone(),
        issued_before: before.map(|at| if at == "now" { this_second() } else { at.clone() }),
        kid: arguments.kid.clone(),
        key: arguments.key.clone(),
        issuer: arguments.issuer.clone(),
        until: lasting.map(|lasting| now.plus(lasting).to_string()).or(arguments.until.clone()),
        expires: arguments.expires.clone(),
        reason: arguments.reason.clone(),
    })
}

pub(super) fn revocations(command: &Revocations) -> Outcome {
    match command {
        Revocations::List { config, after, limit, json } => {
            let after = after.as_ref().map(|id| format!("&after={id}")).unwrap_or_default();
            let client = AdminClient::from_config(&config.path)?;
            let response = client.fetch(&format!("/revocations?limit={limit}{after}"))?;
            if response.status != StatusCode::OK {
                return Err(refused(&response));
            }
            if *json { print_json(&response) } else { print_list(&document(&response)?) }
        }
        Revocations::Delete { id, config } => {
            let client = AdminClient::from_config(&config.path)?;
            let response = client.delete(&format!("/revocations/{id}"))?;
            if response.status != StatusCode::OK {
                return Err(refused(&response));
            }
            print(&format!("no longer revoked: {}\n", line(&document(&response)?)))?;
            Ok(Exit::Success)
        }
    }
}

fn print_list(document: &Value) -> Outcome {
    let entries = document["revocations"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text: String = entries.iter().map(|entry| line(entry) + "\n").collect();
    if let Some(next) = document["next"].as_str() {
        text.push_str(&format!("there are more: --after {}\n", escape(next)));
    }
    print(&text)?;
    Ok(Exit::Success)
}

fn print_json(response: &Response) -> Outcome {
    print(&format!("{}\n", String::from_utf8_lossy(&response.body).trim_end()))?;
    Ok(Exit::Success)
}

/// One entry on one line, the id first.
fn line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().map(escape).unwrap_or_default();
    let mut line = format!("{}  {}", text("id"), text("kind"));
    for name in ["value", "issuer", "issued_before", "reason"] {
        if entry[name].is_string() {
            line.push_str(&format!("  {name} {:?}", text(name)));
        }
    }
    match entry["ends"].as_str() {
        Some(ends) => line.push_str(&format!("  until {}", escape(ends))),
        None => line.push_str("  until deleted"),
    }
    line
}

fn detail(response: &Response) -> Result<String, Failure> {
    let document = document(response)?;
    let text = |name: &str| document[name].as_str().map(escape);
    let detail = text("detail").ok_or_else(|| unexpected(response))?;
    Ok(text("field").map_or(detail.clone(), |field| format!("{field}: {detail}")))
}

fn refused(response: &Response) -> Failure {
    match detail(response) {
        Ok(detail) if response.status == StatusCode::INTERNAL_SERVER_ERROR => {
            Failure::fault(detail)
        }
        Ok(detail) => Failure::negative(detail),
        Err(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        revoke: Revoke,
    }

    fn read(arguments: &str) -> Option<Draft> {
        let line = format!("revoke -c g.yaml {arguments}");
        let matches = Line::command().try_get_matches_from(line.split(' ')).ok()?;
        let line = Line::from_arg_matches(&matches).unwrap();
        draft(&line.revoke, UnixTime(1_800_000_000)).ok()
    }

    #[test]
    fn contract_revocation_one_thing_is_revoked_at_a_time() {
        for good in [
            "--jti a",
            "--jti a --expires 2027-01-01T00:00:00Z",
            "--subject a --for 30d",
            "--subject a --issued-before now",
            "--issued-before 2027-01-01T00:00:00Z --issuer corp",
            "--kid k --until 2027-01-01T00:00:00Z",
            "--client c",
            "--key k --reason r",
            // One base64url id in 64 begins with `-`: a thumbprint as `kid`, a random `jti`.
            "--kid -k --for 1d",
            "--jti -a",
            "--subject -a --issued-before now",
            "--client -a",
            "--key -k",
        ] {
            assert!(read(good).is_some(), "{good}");
        }
        for wrong in [
            "--issuer corp",
            "--jti a --subject b",
            "--client a --issued-before now",
            "--key k --issuer corp",
            "--subject a --expires 2027-01-01T00:00:00Z",
            "--jti a --for 30d --until 2027-01-01T00:00:00Z",
            "--jti a --for 30",
            // A variable of a script that is empty.
            "--jti --json",
            "--key --reason=leak",
            "--subject --issued-before now",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn contract_revocation_now_covers_the_whole_second() {
        let draft = read("--issued-before now --for 1d").unwrap();
        assert_eq!(draft.issued_before.as_deref(), Some("2027-01-15T08:00:01Z"));
        assert_eq!(draft.until.as_deref(), Some("2027-01-16T08:00:00Z"));
    }

    #[test]
    fn r903_nothing_printed_commands_a_terminal() {
        let entry = serde_json::json!({
            "id": "1", "kind": "jti", "value": "a\u{9b}b", "reason": "c\nd", "ends": null,
        });
        assert!(!line(&entry).contains(char::is_control), "{:?}", line(&entry));
    }
}
