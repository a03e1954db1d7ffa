//! `/revocations`: the list of revocations, and changes to it.
//!
//! Owns the format of the pages. A change is answered only after it was synced, and recorded in the
//! audit log of the issuer, where there is one, now or once its store answers. Shows identifiers
//! and never a credential: there is none in an entry.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::snapshot::Snapshot;
use crate::decide::gate::Stored;
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::{Draft, DraftError, Entry, EntryId, Kind, Moment};
use crate::issue::access_token::verification;
use crate::issue::intent as issue;
use crate::serve::admin::listener::Peer;
use crate::serve::admin::problem::Problem;
use crate::serve::admin::record;
use crate::serve::admin::respond::{Answer, Context, fault, pretty, read_body};
use crate::serve::issuer::manage::request_id;
use crate::serve::revocation_log::{LogError, PAGE_MAX};
use crate::serve::shared::Shared;
use crate::serve::store::Caller;

/// Entries on a page unless asked for more or fewer.
const PAGE: usize = 100;

/// An entry as it is shown.
#[derive(Debug, Serialize)]
struct EntryPage<'a> {
    id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<String>,
    revoked: String,
    /// Absent: until it is deleted.
    ends: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> EntryPage<'a> {
    /// `issuers` bound the lifetime of the tokens that an entry can match.
    fn of(entry: &'a Entry, issuers: &[&IssuerSettings]) -> Self {
        let target = entry.target().as_ref();
        let issuer = issuers.iter().find(|one| *one.issuer == *target.issuer);
        let ends = entry.over(issuer.and_then(|one| one.longest_lifetime()));
        Self {
            id: entry.id().to_string(),
            kind: target.kind.as_str(),
            issuer: (target.kind != Kind::Key).then_some(target.issuer),
            value: target.value,
            issued_before: entry.issued_before().map(|at| at.to_string()),
            revoked: entry.revoked().to_string(),
            ends: ends.map(|at| at.to_string()),
            reason: entry.reason(),
        }
    }
}

/// Which page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn revoke(State(process): Context, request: Request) -> Answer {
    let caller = caller(&request)?;
    let body = read_body(request.into_body()).await?;
    let draft = Draft::from_json(&body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_request", format!("the body: {error}"))
    })?;
    // Syncing blocks; the other pages must not wait.
    let shared = Arc::clone(&process.shared);
    let change = tokio::task::spawn_blocking(move || act(&process.shared, &draft)).await;
    let done = change.map_err(|_| fault("the revocation failed with an internal error"))??;
    let Done { mut page, is_news, line } = done;
    // What was revoked before was recorded before.
    let nodes = if is_news { record::record(&shared, line, caller).await } else { None };
    if let Some(nodes) = nodes {
        page["nodes"] = json!(nodes);
    }
    let mut response = pretty(&page)?;
    if is_news && nodes != Some("this") {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// The operator of a request, with an id for the audit log.
fn caller(request: &Request) -> Result<Caller, Problem> {
    let peer = request.extensions().get::<Peer>().map_or("", |peer| &peer.0);
    let id = request_id().map_err(|error| fault(&error.to_string()))?;
    Ok(Caller::operator_at(peer, &id))
}

/// A revocation that is synced and in force.
struct Done {
    page: Value,
    is_news: bool,
    /// For the audit log.
    line: issue::Act,
}

/// The URL of the built-in issuer.
fn own(snapshot: &Snapshot) -> Option<&str> {
    snapshot.gate.stored.as_ref().map(Stored::issuer)
}

fn act(shared: &Shared, draft: &Draft) -> Result<Done, Problem> {
    let snapshot = shared.snapshots.load_full();
    let known = issuers(&snapshot);
    let issuers: Vec<_> = known.iter().map(AsRef::as_ref).collect();
    let moment = Moment { now: shared.clock.now(), issuers: &issuers };
    // With one configured issuer a draft that names none means that one.
    let configured = &issuers[..snapshot.dynamic.issuers.len()];
    let meant =
        if draft.issuer.is_none() && !configured.is_empty() { configured } else { &issuers };
    let entry = draft.compile(meant, Some(moment.now.unix)).map_err(|error| refused(&error))?;
    let done = shared.revocations.revoke(entry, &moment).map_err(|error| not_done(&error))?;
    let mut page = json!(EntryPage::of(&done.entry, &issuers));
    page["new"] = json!(done.is_news);
    let warning = warning(&done.entry, shared);
    if let Some(warning) = warning {
        page["warning"] = json!(warning);
    }
    let line = record::act("revocation.create", &done.entry, own(&snapshot));
    Ok(Done { page, is_news: done.is_news, line })
}

/// The configured issuers, then the built-in one.
fn issuers(snapshot: &Snapshot) -> Vec<Arc<IssuerSettings>> {
    let configured = snapshot.dynamic.issuers.iter().map(|source| Arc::clone(&source.settings));
    let own = snapshot.gate.stored.as_ref().zip(snapshot.dynamic.issuer.as_ref());
    let own = own.map(|(stored, own)| Arc::new(verification(stored.issuer(), &own.audience)));
    configured.chain(own).collect()
}

/// An entry for an unknown key is kept, because the key may come; but it may be a typing error.
fn warning(entry: &Entry, shared: &Shared) -> Option<&'static str> {
    let snapshot = shared.snapshots.load();
    let target = entry.target().as_ref();
    match target.kind {
        Kind::Key => {
            let mut keys = snapshot.gate.keys.summaries(shared.clock.now().unix);
            let is_filed = keys.any(|key| key.id == target.value);
            let stored = shared.issuer_store.get();
            let is_stored = stored.is_some_and(|one| one.open.live.load().has_id(target.value));
            (!is_filed && !is_stored).then_some("no API key or personal access token has this id")
        }
        Kind::Kid => {
            let mut issuers = snapshot.dynamic.issuers.iter().zip(&snapshot.materials.key_sets);
            let keys = issuers.find(|(source, _)| *source.settings.issuer == *target.issuer);
            let known = keys
                .is_some_and(|(_, keys)| keys.iter().any(|key| key.kid() == Some(target.value)));
            let own = snapshot.gate.stored.as_ref();
            let own = own.filter(|stored| *stored.issuer() == *target.issuer);
            let own = own.is_some_and(|stored| {
                stored.keys().load().iter().any(|key| key.kid() == Some(target.value))
            });
            (!known && !own).then_some("no key of the issuer has this kid")
        }
        Kind::Jti | Kind::Subject | Kind::Client | Kind::IssuedBefore => None,
    }
}

pub(super) async fn list(State(process): Context, Query(wanted): Query<Wanted>) -> Answer {
    let after = wanted.after.as_deref().map(id).transpose()?;
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let snapshot = process.shared.snapshots.load_full();
    let page = tokio::task::spawn_blocking(move || {
        let shared = process.shared;
        shared.revocations.page(after, limit, shared.clock.now().unix)
    });
    let page = page
        .await
        .map_err(|_| fault("the list failed with an internal error"))?
        .ok_or_else(unknown)?;
    let next = page.entries.last().filter(|_| page.more).map(|entry| entry.id().to_string());
    let issuers = issuers(&snapshot);
    let issuers: Vec<_> = issuers.iter().map(AsRef::as_ref).collect();
    let entries: Vec<_> = page.entries.iter().map(|entry| EntryPage::of(entry, &issuers)).collect();
    pretty(&json!({ "revocations": entries, "next": next }))
}

pub(super) async fn delete(
    State(process): Context,
    Path(text): Path<String>,
    request: Request,
) -> Answer {
    let (id, caller) = (id(&text)?, caller(&request)?);
    let running = Arc::clone(&process.shared);
    let snapshot = process.shared.snapshots.load_full();
    let context = Arc::clone(&snapshot);
    let change = tokio::task::spawn_blocking(move || {
        let shared = process.shared;
        let issuers = issuers(&context);
        let issuers: Vec<_> = issuers.iter().map(AsRef::as_ref).collect();
        shared.revocations.delete(id, &Moment { now: shared.clock.now(), issuers: &issuers })
    });
    let change = change.await.map_err(|_| fault("the deletion failed with an internal error"))?;
    let entry: Arc<Entry> = change.map_err(|error| not_done(&error))?.ok_or_else(unknown)?;
    let line = record::act("revocation.delete", &entry, own(&snapshot));
    let nodes = record::record(&running, line, caller).await;
    let issuers = issuers(&snapshot);
    let issuers: Vec<_> = issuers.iter().map(AsRef::as_ref).collect();
    let mut page = json!(EntryPage::of(&entry, &issuers));
    if let Some(nodes) = nodes {
        page["nodes"] = json!(nodes);
    }
    pretty(&page)
}

fn id(text: &str) -> Result<EntryId, Problem> {
    EntryId::parse(text).ok_or_else(unknown)
}

fn unknown() -> Problem {
    let detail = "no revocation has this id; those of files are removed from their file";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn refused(error: &DraftError) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "mistakes", &error.message);
    if error.field.is_empty() { problem } else { problem.with("field", json!(error.field)) }
}

fn not_done(error: &LogError) -> Problem {
    match error {
        LogError::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", error.to_string()),
        LogError::Taken(_) | LogError::Damaged(_) | LogError::Disk { .. } => {
            let detail = format!("nothing was changed: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not_persisted", detail)
        }
    }
}
