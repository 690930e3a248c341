//! The inbox as a page, as JSON, and as the stream of updates that the page listens to.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, header, uri::Authority},
    response::{
        Html, IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::{
    calls::Call, clock::epoch_millis, control::Queues, desk::Desk, message::Message,
    pool::TriggerCall, wire::random_id,
};

/// The page shows this many messages; `GET /inbox` returns all.
const ON_THE_PAGE: usize = 50;

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(page))
        .route("/inbox", get(inbox))
        .route("/inbox/updates", get(updates))
}

/// The page, with a policy for the browser: only the page's own script and style may run. This
/// matters because message texts and brand names come from requests and could contain markup. The
/// policy also lets the page call the service, which is on another port.
async fn page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> impl IntoResponse {
    let nonce = random_id();
    let service = service_url(&desk, &headers).map_or_else(String::new, |url| format!(" {url}"));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'{service}; \
         frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (
        [
            (header::CONTENT_SECURITY_POLICY, policy.as_str()),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        Html(
            include_str!("inbox.html")
                .replace("{{nonce}}", &nonce)
                .replace("{{version}}", env!("CARGO_PKG_VERSION")),
        ),
    )
        .into_response()
}

/// The URL of the phone under the host name that the browser knows.
pub(crate) fn page_url(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let host = host.parse::<Authority>().ok()?;
    Some(format!("http://{host}"))
}

/// The URL of the service under the host name that the browser knows. `None` if there is no service.
pub(crate) fn service_url(desk: &Desk, headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let host = host.parse::<Authority>().ok()?;
    Some(format!("http://{}:{}", host.host(), desk.api_port()?))
}

#[derive(Deserialize)]
struct Filter {
    to: Option<String>,
}

async fn inbox(State(desk): State<Arc<Desk>>, Query(filter): Query<Filter>) -> impl IntoResponse {
    let mut messages = desk.messages();
    if let Some(to) = filter.to {
        // In a query, a bare `+` means a space. Numbers have no spaces, and each space in `to` was a `+`.
        let to = to.replace(' ', "+");
        messages.retain(|message| message.to == to);
    }
    (
        [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        Json(Messages { messages }),
    )
}

#[derive(Serialize)]
struct Messages {
    messages: Vec<Message>,
}

/// The state of the page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    /// The simulator's clock, in milliseconds since 1970. The page lets its clock run on from here.
    now: u64,
    /// How far the clock is ahead of wall time.
    offset_seconds: u64,
    messages: Vec<Message>,
    /// Requests to the service, the newest first.
    calls: Vec<Call>,
    /// Calls of the pool's triggers, the newest first.
    triggers: Vec<TriggerCall>,
    /// The number of the first user of the pool. `None`: there is no pool.
    pool_user: Option<String>,
    failures: Queues,
    /// The port of the service, if there is one.
    api_port: Option<u16>,
    /// The command on the page without messages; `None` for the page's own.
    suggestion: Option<String>,
}

/// Sends the whole state at once and after every change. So a page that reconnects misses nothing.
async fn updates(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let mut changes = desk.changes();
    changes.mark_changed();
    let updates = stream::unfold((desk, changes), |(desk, mut changes)| async {
        changes.changed().await.ok()?;
        let snapshot = Snapshot {
            now: epoch_millis(desk.now()),
            offset_seconds: desk.clock_offset().as_secs(),
            messages: desk.newest_messages(ON_THE_PAGE),
            calls: desk.calls(),
            triggers: desk.triggers(),
            pool_user: desk.pool().number().map(str::to_owned),
            api_port: desk.api_port(),
            failures: Queues::of(&desk),
            suggestion: desk.suggestion(),
        };
        let event = Event::default().json_data(snapshot).unwrap_or_default();
        Some((Ok(event), (desk, changes)))
    });
    (
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")],
        event_stream(updates),
    )
}

fn event_stream<S>(events: S) -> impl IntoResponse
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::default())
}
