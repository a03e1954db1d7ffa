//! The administration of the issuer on the admin listener.
//!
//! Owns the way from HTTP to [`Manager`], and the demand of every page: the admin token, on loopback
//! and for reads too. Never decides what a call does.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::decide::rejection::answer::PROBLEM_JSON;
use crate::serve::admin::Process;
use crate::serve::admin::guard::{Demand, Guard};
use crate::serve::admin::listener::Peer;
use crate::serve::admin::problem::Problem;
use crate::serve::admin::respond::{Answer, Context, fault, read_body};
use crate::serve::issuer::manage::{Call, Manager, ROOTS, Reply, decode, request_id};
use crate::serve::store::Caller;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The pages, behind this guard.
pub(super) fn router(guard: &Guard) -> Router<Process> {
    let pages = ROOTS.iter().fold(Router::new(), |router, root| {
        router
            .route(&format!("/{root}"), any(manage))
            .route(&format!("/{root}/{{*rest}}"), any(manage))
    });
    pages.route_layer(middleware::from_fn_with_state(guard.clone(), admit))
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Answer {
    let (parts, body) = request.into_parts();
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    guard.admit(&parts, if is_read { Demand::Read } else { Demand::Change })?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn manage(State(process): Context, request: Request<Body>) -> Answer {
    let Some(running) = process.shared.issuer_store.get() else {
        let detail = "the store of the issuer is being loaded";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail));
    };
    let snapshot = process.shared.snapshots.load_full();
    let settings = snapshot.dynamic.issuer.clone();
    let settings = settings.ok_or_else(|| fault("the configuration has no issuer any more"))?;
    let (parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let path: Option<Vec<_>> = parts.uri.path().split('/').skip(1).map(decode).collect();
    let path = path.unwrap_or_default();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let query = parts.uri.query().unwrap_or_default();
    // The server leaves out the body of the answer.
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let call = Call { method, path: &path, query, body: &body };
    let peer = parts.extensions.get::<Peer>().map_or("", |peer| &peer.0);
    let id = request_id().map_err(|fault_| fault(&fault_.to_string()))?;
    let (filed, caller) = (Arc::clone(&snapshot.gate.keys), Caller::operator_at(peer, &id));
    let manager = Manager::new(&running.open, filed, settings, caller);
    let mut response = page(&manager.answer(call).await);
    // Hexadecimal digits.
    let id = HeaderValue::try_from(id).map_err(|_| fault("invalid request id"))?;
    response.headers_mut().insert(X_REQUEST_ID, id);
    Ok(response)
}

fn page(reply: &Reply) -> Response {
    let media_type = if reply.status.is_success() { "application/json" } else { PROBLEM_JSON };
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    let mut response = (reply.status, media_type, format!("{:#}\n", reply.body)).into_response();
    if let Some(allow) = reply.allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}
