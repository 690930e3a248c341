//! The inbox: a page for a person, JSON for a program, and the stream of updates that the page lives on.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::header,
    response::{
        Html, IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::{clock::epoch_millis, control::Queues, desk::Desk, message::Message, wire::random_id};

/// The page shows this many; `GET /inbox` gives all.
const ON_THE_PAGE: usize = 50;

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(page))
        .route("/inbox", get(inbox))
        .route("/inbox/updates", get(updates))
}

/// Only the script and the style of this very answer run: a brand name is text of a stranger.
async fn page() -> impl IntoResponse {
    let nonce = random_id();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (
        [
            (header::CONTENT_SECURITY_POLICY, policy.as_str()),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        Html(include_str!("inbox.html").replace("{{nonce}}", &nonce)),
    )
        .into_response()
}

#[derive(Deserialize)]
struct Filter {
    to: Option<String>,
}

async fn inbox(State(desk): State<Arc<Desk>>, Query(filter): Query<Filter>) -> impl IntoResponse {
    let mut messages = desk.messages();
    if let Some(to) = filter.to {
        // A bare `+` in a query means a space; no number holds a space, so it was a `+`.
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

/// Everything the page shows, as of now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    /// The simulator's clock, in milliseconds since 1970: the page counts on from here.
    now: u64,
    /// How far that is ahead of wall time.
    offset_seconds: u64,
    messages: Vec<Message>,
    failures: Queues,
    /// What an empty inbox tells a person to do; none for the page's own suggestion.
    suggestion: Option<String>,
}

/// The whole picture at once and after every change: whoever reconnects has missed nothing.
async fn updates(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let mut changes = desk.changes();
    changes.mark_changed();
    let updates = stream::unfold((desk, changes), |(desk, mut changes)| async {
        changes.changed().await.ok()?;
        let snapshot = Snapshot {
            now: epoch_millis(desk.now()),
            offset_seconds: desk.clock_offset().as_secs(),
            messages: desk.newest_messages(ON_THE_PAGE),
            failures: Queues::of(&desk),
            suggestion: desk.suggestion(),
        };
        let event = Event::default().json_data(snapshot).unwrap_or_default();
        Some((Ok(event), (desk, changes)))
    });
    (
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")],
        stream_of(updates),
    )
}

fn stream_of<S>(events: S) -> impl IntoResponse
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::default())
}
