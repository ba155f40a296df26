//! `/livez`, `/readyz`, `/metrics` and the page that lists them.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use serde_json::json;
use tracing::error;

/// What a readiness check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// In order; the text says how (`at revision 17`), and may be empty.
    Ready(String),
    /// In order for now, though somebody should look; traffic keeps coming.
    Degraded(String),
    /// No traffic, please; the text says why.
    NotReady(String),
}

/// One readiness check: a name, and a question that must be answered from memory, since probes come every second.
#[derive(Clone)]
pub struct Check {
    /// Lower case with `_`: `database`, `view`.
    pub name: &'static str,
    /// Asks.
    pub ask: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

/// All readiness checks.
pub type Checks = Vec<Check>;

struct Pages {
    checks: Checks,
    registry: Registry,
}

/// The pages. `unserved` is put on the answer at any other path, which may be a call's.
pub fn router<M>(checks: Checks, registry: Registry, unserved: M) -> Router
where
    M: Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/", get(index))
        .route("/livez", get(|| async { plain(StatusCode::OK, "alive\n".to_owned()) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(move || async move {
            let sentence = "There is no such page; / lists those there are.\n";
            (Extension(unserved), plain(StatusCode::NOT_FOUND, sentence.to_owned()))
        })
        .with_state(Arc::new(Pages { checks, registry }))
}

const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

fn plain(code: StatusCode, text: String) -> Response {
    (code, [NO_STORE], text).into_response()
}

async fn index() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><meta charset=utf-8><title>Tenantry</title>",
        "<style>body{font:16px/1.6 system-ui;margin:3em auto;max-width:36em;padding:0 1em}</style>",
        "<h1>Tenantry ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul>",
        "<li><a href=/livez>/livez</a>: the process runs",
        "<li><a href=/readyz>/readyz</a>: it should get traffic; each check by name",
        "<li><a href=/metrics>/metrics</a>: Prometheus metrics",
        "</ul><p>Every method of the API is here too, by POST with JSON, as <code>/tenantry.v1.TenantRegistry/GetTenant</code>; ",
        "gRPC and gRPC-Web clients call it on this port as well."
    ))
}

async fn readyz(State(pages): State<Arc<Pages>>) -> Response {
    let mut is_ready = true;
    let checks: serde_json::Map<_, _> = pages
        .checks
        .iter()
        .map(|check| {
            let (state, detail) = match (check.ask)() {
                Readiness::Ready(detail) => ("ready", detail),
                Readiness::Degraded(detail) => ("degraded", detail),
                Readiness::NotReady(detail) => {
                    is_ready = false;
                    ("not_ready", detail)
                }
            };
            (check.name.to_owned(), json!({ "state": state, "detail": detail }))
        })
        .collect();
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "ready": is_ready, "checks": checks }).to_string();
    // For people with curl; writing to a string cannot fail.
    let _ = writeln!(body);
    (code, [NO_STORE, (header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    if let Err(cause) = encoder.encode(&pages.registry.gather(), &mut text) {
        error!(%cause, "The metrics could not be written.");
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.\n".to_owned());
    }
    ([NO_STORE, (header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}
