//! Calls to the administration of the issuer, for the commands that manage it.
//!
//! Owns the way of a call: through the admin listener of the running process, or, where its address
//! refuses the connection, on the store itself, which only its owner may open. Never prints.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::base::clock::{UnixTime, parse_duration, parse_instant};
use crate::cli::admin_client::AdminClient;
use crate::cli::answer::{document, unexpected};
use crate::cli::stored::{Output, Stored, table};
use crate::cli::{Failure, escape, loading, print};
use crate::config::files::LastGood;
use crate::config::{IssuerSettings, files};
use crate::decide::api_key::KeyRing;
use crate::serve::issuer::manage::{Call, Manager, Reply, request_id};
use crate::serve::reload::Sources;
use crate::serve::store::Caller;

/// The administration of one configuration.
pub(super) struct Desk {
    listener: Option<AdminClient>,
    /// The store, or the mistakes of a configuration that keep a command from opening it.
    stored: Result<(Stored, Arc<IssuerSettings>), Failure>,
}

impl Desk {
    /// Reads the configuration, and no other file but the admin token.
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        let stored = match Stored::of(file) {
            Ok(stored) => stored,
            // A running process has another version of the configuration.
            Err(mistakes @ Failure::Mistakes(_)) => {
                let listener = loading::load_admin(file)?.map(AdminClient::new);
                return Ok(Self { listener, stored: Err(mistakes) });
            }
            Err(failure) => return Err(failure),
        };
        let config = stored.config();
        let settings = config.dynamic.issuer.clone();
        let settings = settings.ok_or_else(|| Failure::negative("no issuer configured"))?;
        let way = {
            let exposed = config.dynamic.insecure_file_modes;
            loading::admin_way(&config.startup, exposed, &Sources::of_the_process())?
        };
        Ok(Self { listener: way.map(AdminClient::new), stored: Ok((stored, settings)) })
    }

    /// Sends GET.
    pub(super) fn get(&self, target: &str) -> Result<Value, Failure> {
        self.call(&Method::GET, target, &Bytes::new())
    }

    /// Sends POST.
    pub(super) fn post(&self, target: &str, body: &Value) -> Result<Value, Failure> {
        self.call(&Method::POST, target, &Bytes::from(body.to_string()))
    }

    /// Sends DELETE.
    pub(super) fn delete(&self, target: &str) -> Result<Value, Failure> {
        self.call(&Method::DELETE, target, &Bytes::new())
    }

    /// The rows of a list that pass these filters, in the order of their ids: every page, or as many
    /// rows as `paging` has.
    pub(super) fn list(
        &self,
        (name, target): (&str, &str),
        filters: &[(&str, Option<&str>)],
        paging: &Paging,
    ) -> Result<Listed, Failure> {
        let set = filters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let filters: String =
            set.map(|(name, value)| format!("&{name}={}", segment(value))).collect();
        let most = paging.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut listed = Listed { rows: Vec::new(), next: paging.after.clone() };
        loop {
            let limit = PAGE.min(most - listed.rows.len());
            let after = listed.next.as_deref().map(|id| format!("&after={}", segment(id)));
            let after = after.unwrap_or_default();
            let mut page = self.get(&format!("{target}?limit={limit}{filters}{after}"))?;
            if let Some(rows) = page[name].as_array_mut() {
                listed.rows.append(rows);
            }
            listed.next = page["next"].as_str().map(str::to_owned);
            if listed.next.is_none() || listed.rows.len() >= most {
                return Ok(listed);
            }
        }
    }

    fn call(&self, method: &Method, target: &str, body: &Bytes) -> Result<Value, Failure> {
        if let Some(listener) = &self.listener {
            let sent = listener.send_if_running(method.clone(), target, body.clone())?;
            if let Some(response) = sent {
                let document = document(&response)?;
                return outcome(response.status, document, || unexpected(&response));
            }
        }
        let reply = self.on_the_store(method, target, body)?;
        outcome(reply.status, reply.body, || Failure::fault("internal error"))
    }

    /// The keys of the key files, for the one call that compares with them. Files with mistakes do not
    /// keep a command from the store: the next start compares again.
    fn filed(stored: &Stored, path: &[&str]) -> Arc<KeyRing> {
        if path != ["keys", "import"] {
            return Arc::default();
        }
        let dynamic = &stored.config().dynamic;
        let disk = Sources::of_the_process().disk;
        let (materials, _) = files::load(dynamic, &mut LastGood::default(), &*disk);
        materials.map(|materials| materials.key_ring).unwrap_or_default()
    }

    /// No process answers: the store is opened here.
    fn on_the_store(&self, method: &Method, target: &str, body: &[u8]) -> Result<Reply, Failure> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path: Vec<_> = path.split('/').skip(1).map(decode).collect();
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let (stored, settings) = self.stored.as_ref().map_err(Clone::clone)?;
        let open = stored.open()?;
        let id = request_id().map_err(|fault| Failure::fault(fault.to_string()))?;
        let caller = Caller::operator_at(LOCAL, &id);
        let filed = Self::filed(stored, &path);
        let manager = Manager::new(&open, filed, Arc::clone(settings), caller);
        let call = Call { method, path: &path, query, body };
        let reply = stored.wait(manager.answer(call));
        stored.wait(open.store.close());
        Ok(reply)
    }
}

/// The most rows that one call asks for.
const PAGE: usize = 1_000;

/// Part of a list.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Paging {
    /// Print at most this many rows [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
    /// Print the rows behind this one, as the command names it when rows are left
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
}

/// The state of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    /// Neither disabled nor expired
    Active,
    /// Disabled
    Disabled,
    /// Expired
    Expired,
}

impl State {
    /// The word of the admin API.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }
}

/// The rows of a list.
pub(super) struct Listed {
    pub(super) rows: Vec<Value>,
    /// The last row, if there are more.
    next: Option<String>,
}

impl Listed {
    /// Prints the rows, and on standard error the argument that goes on behind them.
    pub(super) fn print(&self, output: Output, columns: &[(&str, &str)]) -> Result<(), Failure> {
        print_list(output, &self.rows, columns)?;
        if let Some(next) = &self.next {
            eprintln!("gatepost: there are more: --after {}", escape(next));
        }
        Ok(())
    }
}

/// The address of a command that opens the store itself, in the audit log.
const LOCAL: &str = "local";

fn outcome(
    status: StatusCode,
    document: Value,
    unexpected: impl Fn() -> Failure,
) -> Result<Value, Failure> {
    if status.is_success() {
        return Ok(document);
    }
    let Some(detail) = document["detail"].as_str().map(escape) else { return Err(unexpected()) };
    Err(match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Failure::usage(detail),
        status if status.is_server_error() => Failure::fault(detail),
        _ => Failure::negative(detail),
    })
}

/// Percent-encodes `text` as one segment of a path, or a value of a query.
pub(super) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            // Dots, too: `..` is not a name.
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// The reverse.
fn decode(segment: &str) -> String {
    crate::serve::issuer::manage::decode(segment).unwrap_or_default()
}

/// `--expires`: `90d`, an instant, or `never`.
pub(super) fn expiry(text: &str, now: UnixTime) -> Result<String, Failure> {
    if text == "never" {
        return Ok(text.to_owned());
    }
    if let Ok(after) = parse_duration(text) {
        return Ok(now.plus(after).to_string());
    }
    let accepted = "--expires: write a duration such as 90d, RFC 3339, or never";
    parse_instant(text).map(|at| at.to_string()).map_err(|_| Failure::usage(accepted))
}

/// One answer as JSON, or as `text`.
pub(super) fn print_one(
    output: Output,
    document: &Value,
    text: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Json => print(&format!("{document:#}\n")),
        Output::Table => print(&text(document)),
    }
}

/// A list as a JSON array, or as a table of these members.
fn print_list(output: Output, rows: &[Value], columns: &[(&str, &str)]) -> Result<(), Failure> {
    match output {
        Output::Json => print(&format!("{:#}\n", Value::from(rows))),
        Output::Table => print(&listed(rows, columns)),
    }
}

/// The members of `columns` of each row; control characters are escaped.
fn listed(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let head: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    let line = |row: &Value| columns.iter().map(|(_, member)| cell(&row[*member])).collect();
    table(&head, &rows.iter().map(line).collect::<Vec<_>>())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::String(text) => escape(text),
        Value::Number(_) | Value::Object(_) => escape(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_stays_one_segment_and_comes_back() {
        for text in ["ada", "a/b?c#d %\u{e9}", "..", "a+b&c=d"] {
            let encoded = segment(text);
            assert!(!encoded.contains(['/', '?', '&', '+', '.']), "{encoded}");
            assert_eq!(decode(&encoded), text);
        }
    }

    #[test]
    fn r903_a_table_has_aligned_columns_and_no_control_characters() {
        let rows =
            [json!({ "id": "usr_1", "name": "a\u{1b}[2Jb", "roles": ["x", "y"] }), json!({})];
        let text = listed(&rows, &[("ID", "id"), ("NAME", "name"), ("ROLES", "roles")]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0].find("NAME"), Some(7), "{text}");
        assert!(lines[1].ends_with("x y") && lines[2].starts_with("-  "), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn contract_commands_an_expiry_is_a_duration_an_instant_or_never() {
        let now = UnixTime(1_800_000_000);
        assert_eq!(expiry("1d", now).unwrap(), "2027-01-16T08:00:00Z");
        assert_eq!(expiry("2027-02-01T00:00:00Z", now).unwrap(), "2027-02-01T00:00:00Z");
        assert_eq!(expiry("never", now).unwrap(), "never");
        assert!(expiry("soon", now).is_err());
    }
}
