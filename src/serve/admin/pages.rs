//! The pages of the admin listener, each with its demands on the caller.
//!
//! Owns the table of pages. Changes the process only through reloads and the log of revocations.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::base::clock::Clock;
use crate::decide::gate::address_text;
use crate::serve::account::AccountStep;
use crate::serve::admin::Process;
use crate::serve::admin::explain;
use crate::serve::admin::guard::{Demand, Guard};
use crate::serve::admin::issuer;
use crate::serve::admin::problem::Problem;
use crate::serve::admin::respond::{Answer, Context, fault, pretty, read_body};
use crate::serve::admin::revocations;
use crate::serve::admin::status;
use crate::serve::observe::metrics::Metrics;
use crate::serve::observe::record::Outcome;
use crate::serve::observe::report::NoRefresh;
use crate::serve::observe::why::WhyEntry;
use crate::serve::readiness::Ready;

pub(super) fn router(process: Process, guard: &Guard, issuer: Option<&Guard>) -> Router {
    // With an issuer a token is demanded in any case: applications and plugins share the loopback.
    let strict = issuer.unwrap_or(guard);
    let guarded = |router: Router<Process>, demand| {
        router.route_layer(middleware::from_fn_with_state((strict.clone(), demand), admit))
    };
    let open = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz));
    let scraped = Router::new().route("/metrics", get(metrics));
    let read = Router::new()
        .route("/status", get(status_page))
        .route("/why/{id}", get(why))
        .route("/revocations", get(revocations::list));
    let change = Router::new()
        .route("/reload", post(reload))
        .route("/explain", post(explain_page))
        .route("/issuers/{name}/refresh", post(refresh))
        .route("/revocations", post(revocations::revoke))
        .route("/revocations/{id}", delete(revocations::delete));
    let issuer = issuer.map_or_else(Router::new, issuer::router);
    open.merge(issuer)
        .merge(guarded(scraped, Demand::Token))
        .merge(guarded(read, Demand::Read))
        .merge(guarded(change, Demand::Change))
        .fallback(unknown)
        .method_not_allowed_fallback(method_unknown)
        .layer(middleware::map_response(harden))
        .with_state(process)
}

/// Metrics and probes, without a token: they contain nothing about callers.
pub(super) fn metrics_router(process: Process) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(unknown_here)
        .method_not_allowed_fallback(method_unknown)
        .layer(middleware::map_response(harden))
        .with_state(process)
}

async fn admit(
    State((guard, demand)): State<(Guard, Demand)>,
    request: Request,
    next: Next,
) -> Answer {
    let (parts, body) = request.into_parts();
    guard.admit(&parts, demand)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Forbids caching and content sniffing of every page.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(process): Context) -> (StatusCode, &'static str) {
    match process.shared.readiness.state() {
        Ready::Yes => (StatusCode::OK, "ready\n"),
        Ready::Starting if is_loading(&process) => (StatusCode::SERVICE_UNAVAILABLE, "loading\n"),
        Ready::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Ready::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// Returns whether the store of the issuer is not loaded yet.
fn is_loading(process: &Process) -> bool {
    let shared = &process.shared;
    shared.snapshots.load().dynamic.issuer.is_some() && shared.issuer_store.get().is_none()
}

async fn metrics(State(process): Context) -> Response {
    let shared = &process.shared;
    let now = Clock::unix_millis();
    for server in shared.key_servers.all() {
        shared.observers.metrics.key_server_stands(server.name(), &server.standing(), now);
    }
    if let Some(issuer) = shared.issuer_store.get() {
        let stages: Vec<_> = issuer.open.keys.list().iter().map(|row| row.stage).collect();
        shared.observers.metrics.issuer_has(&issuer.open.live, &stages);
    }
    let text = shared.observers.metrics.render(&shared.snapshots.load(), shared.clock.now().unix);
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response()
}

async fn status_page(State(process): Context) -> Answer {
    pretty(&status::of(&process))
}

async fn why(State(process): Context, Path(id): Path<String>) -> Answer {
    let entry = process.shared.observers.why.find(&id).ok_or_else(|| {
        let detail = "no recent refusal or fault has this request id";
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    })?;
    pretty(&WhyPage::of(&entry))
}

async fn reload(State(process): Context) -> Answer {
    // Reading files blocks; the other pages must not wait.
    let report = tokio::task::spawn_blocking(move || process.reloader.reload()).await;
    let report = report.map_err(|_| fault("the reload failed with an internal error"))?;
    let generation = report.generation;
    if report.is_success() {
        return pretty(&json!({
            "generation": generation,
            "published": report.published,
            "restart_needed": report.restart_needed,
        }));
    }
    let mistakes: Vec<_> = report.mistakes.iter().map(ToString::to_string).collect();
    let detail = "files with mistakes stay at their last good version, the others are in force";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "mistakes", detail)
        .with("generation", json!(generation))
        .with("published", json!(report.published))
        .with("restart_needed", json!(report.restart_needed))
        .with("mistakes", json!(mistakes)))
}

/// Fetches the keys of an issuer now. Waits for its `timeout` at most.
async fn refresh(State(process): Context, Path(name): Path<String>) -> Answer {
    let shared = &process.shared;
    let snapshot = shared.snapshots.load_full();
    let is_known = snapshot.dynamic.issuers.iter().any(|source| *source.settings.name == *name);
    drop(snapshot);
    let no =
        |status, code: &str, error: NoRefresh| Err(Problem::new(status, code, error.to_string()));
    match shared.key_servers.refresh(&name).await {
        Ok(refreshed) => pretty(&json!({
            "result": refreshed.result.as_str(),
            "keys": refreshed.keys,
        })),
        Err(NoRefresh::Unknown) if is_known => {
            no(StatusCode::CONFLICT, "not_fetched", NoRefresh::NotFetched)
        }
        Err(error @ NoRefresh::NotFetched) => no(StatusCode::CONFLICT, "not_fetched", error),
        Err(error @ NoRefresh::Unknown) => no(StatusCode::NOT_FOUND, "not_found", error),
        Err(error @ NoRefresh::Aborted) => no(StatusCode::SERVICE_UNAVAILABLE, "busy", error),
        Err(NoRefresh::Failed(error)) => {
            let detail = "the key refresh failed; the keys in force stay";
            Err(Problem::new(StatusCode::BAD_GATEWAY, "refresh_failed", detail)
                .with("error", json!(error)))
        }
    }
}

async fn explain_page(State(process): Context, body: Body) -> Answer {
    let body = read_body(body).await?;
    let wrong = |detail| Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail);
    let question = explain::Question::parse(&body).map_err(wrong)?;
    pretty(&question.ask(&process.shared).map_err(wrong)?)
}

async fn unknown() -> Problem {
    let detail = "there are /metrics, /livez, /readyz, /status, /why/REQUEST_ID, /reload, /explain, \
                  /issuers/NAME/refresh, /revocations, and with an issuer /users, /apps, /tokens, \
                  /keys, /plugins, /grants, /audit";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

async fn unknown_here() -> Problem {
    let detail = "there are /metrics, /livez, /readyz; everything else is on the admin listener";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

async fn method_unknown() -> Problem {
    let detail = "changes are POST, or DELETE of a revocation; everything else is GET";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// The JSON of `why`.
#[derive(Debug, Serialize)]
struct WhyPage<'a> {
    request_id: &'a str,
    peer_request_id: Option<&'a str>,
    time: String,
    outcome: &'static str,
    reason: Option<&'static str>,
    meaning: Option<String>,
    status: u16,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    address: String,
    route: Option<&'a str>,
    generation: u64,
    steps: Vec<AccountStep>,
}

impl<'a> WhyPage<'a> {
    fn of(entry: &'a WhyEntry) -> Self {
        Self {
            request_id: &entry.request_id,
            peer_request_id: entry.peer_request_id.as_deref(),
            time: entry.time.to_string(),
            outcome: entry.outcome.as_str(),
            reason: entry.outcome.reason(),
            meaning: match entry.outcome {
                Outcome::Admitted => None,
                Outcome::Refused(reason) | Outcome::WouldRefuse(reason) => {
                    Some(reason.meaning().to_owned())
                }
                Outcome::IssuerRefused(code) => {
                    Some(format!("an endpoint of the issuer answered with error {}", code.as_str()))
                }
                Outcome::Cut(cut) => Some(cut.explanation().to_owned()),
                Outcome::Fault(fault) => Some(fault.to_string()),
            },
            status: entry.status,
            method: &entry.method,
            host: &entry.host,
            path: &entry.path,
            address: address_text(entry.address),
            route: entry.route.as_ref().map(|route| &*route.name),
            generation: entry.generation,
            steps: entry.steps().iter().map(AccountStep::from).collect(),
        }
    }
}
