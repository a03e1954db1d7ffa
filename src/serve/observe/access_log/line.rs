//! The fields of one line.
//!
//! Owns which facts of a [`Record`] are written, under which names, and how long each may be.
//! Never writes a query, a header or a credential.

use crate::decide::gate::Evidence;
use crate::serve::observe::line::{Line, LineFormat};
use crate::serve::observe::record::Record;

/// The longest path that is written, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// The longest other value that is written, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Writes the line of one request, with its line end, into `room`, whatever that held before. An
/// absent fact has no field.
pub(super) fn format(record: &Record<'_>, format: LineFormat, room: Vec<u8>) -> Vec<u8> {
    let evidence = record.evidence;
    let mut line = Line::within(format, room);
    let text = |line: &mut Line, name, value: &str| line.text(name, value, TEXT_BYTES_MAX);
    line.time("time", record.time);
    text(&mut line, "request_id", record.request_id);
    if let Some(id) = record.peer_request_id {
        text(&mut line, "peer_request_id", id);
    }
    match evidence.address {
        Some(address) => line.address("address", address),
        None => line.word("address", "unix"),
    }
    text(&mut line, "method", record.method);
    text(&mut line, "host", record.host);
    line.text("path", record.path_without_query(), PATH_BYTES_MAX);
    if let Some(route) = &evidence.route {
        text(&mut line, "route", &route.name);
    }
    line.word("outcome", record.outcome.as_str());
    if let Some(reason) = record.outcome.reason() {
        line.word("reason", reason);
    }
    line.number("status", u64::from(record.status));
    caller(&mut line, evidence);
    let upstream = evidence.route.as_ref().and_then(|route| route.upstream());
    if let (Some(_), Some(upstream)) = (record.upstream, upstream) {
        line.text("upstream", &upstream.name, TEXT_BYTES_MAX);
    }
    line.millis("duration_ms", record.total);
    line.millis("deciding_ms", record.deciding);
    if let Some(upstream) = record.upstream {
        line.millis("upstream_ms", upstream);
    }
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.number("generation", record.generation);
    line.finish()
}

/// The caller: the verified principal, or else the kind of credential.
fn caller(line: &mut Line, evidence: &Evidence) {
    let Some(principal) = evidence.principal() else {
        match (evidence.presented_jwt, evidence.presented_key) {
            (true, true) => line.word("credential", "jwt+api_key"),
            (true, false) => line.word("credential", "jwt"),
            (false, true) => line.word("credential", "api_key"),
            (false, false) => {}
        }
        return;
    };
    line.text("subject", principal.subject(), TEXT_BYTES_MAX);
    line.text("issuer", principal.issuer(), TEXT_BYTES_MAX);
    line.word("credential", principal.credential().as_str());
    if let Some(id) = principal.credential_id() {
        line.text("credential_id", id, TEXT_BYTES_MAX);
    }
    if let (Some(_), Some(key)) = (&evidence.token, &evidence.key)
        && let Some(id) = key.principal().credential_id()
    {
        // The identity is the token's; the id of the key that came with it is logged, too.
        line.text("api_key_id", id, TEXT_BYTES_MAX);
    }
}
