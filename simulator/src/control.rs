//! The control API under `/simulator/`. This API offers the methods of `Simulator` over HTTP, for
//! the page and for tests in other languages.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::rfc3339,
    desk::{Desk, Recorded},
    facts::AllFacts,
    failure::{Failure, Operation, Queued, Service, Times},
    scenarios::{Outcome, scenarios},
};

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/simulator/clock", get(clock).post(advance))
        .route(
            "/simulator/failures",
            get(list_failures)
                .post(queue_failure)
                .delete(clear_failures),
        )
        .route("/simulator/scenarios", get(list_scenarios))
        .route("/simulator/requests", get(list_requests))
        .route("/simulator/log", get(log))
        .route("/simulator/applications", post(know_only))
        .route("/simulator/facts", post(imitate))
        .route("/simulator/reset", post(reset))
        .layer(middleware::from_fn(json_only))
}

/// Refuses a POST without the content type `application/json`. Any web page can make a browser send
/// a POST to localhost. With this content type, the browser first asks the server for permission (a
/// CORS preflight), and this server never gives this permission. A `DELETE` needs no such check,
/// because the browser asks for permission before every `DELETE`.
async fn json_only(request: Request, next: Next) -> Response {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    if request.method() == Method::POST && content_type.as_deref() != Some("application/json") {
        return (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send this with content-type: application/json.\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Clock {
    now: String,
    offset_seconds: u64,
}

async fn clock(State(desk): State<Arc<Desk>>) -> Json<Clock> {
    Json(Clock {
        now: rfc3339(desk.now()),
        offset_seconds: desk.clock_offset().as_secs(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn advance(State(desk): State<Arc<Desk>>, Json(by): Json<Advance>) -> Json<Clock> {
    desk.advance(Duration::from_secs(by.advance_seconds));
    clock(State(desk)).await
}

/// The queued failures.
#[derive(Serialize)]
pub(crate) struct Queues {
    send: Vec<Queued>,
    verify: Vec<Queued>,
    feedback: Vec<Queued>,
}

impl Queues {
    pub(crate) fn of(desk: &Desk) -> Self {
        Self {
            send: desk.queued(Operation::Send),
            verify: desk.queued(Operation::Verify),
            feedback: desk.queued(Operation::Feedback),
        }
    }
}

#[derive(Serialize)]
struct Failures {
    queued: Queues,
    available: Available,
}

#[derive(Serialize)]
struct Available {
    send: Vec<Described>,
    verify: Vec<Described>,
    feedback: Vec<Described>,
}

#[derive(Serialize)]
struct Described {
    sees: &'static str,
    failure: Failure,
}

/// The service whose failures or numbers are listed; by default the one that the page describes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceQuery {
    service: Option<Service>,
}

async fn list_failures(
    State(desk): State<Arc<Desk>>,
    Query(query): Query<ServiceQuery>,
) -> Json<Failures> {
    let service = query.service.unwrap_or_else(|| desk.described());
    let available = |service, operation| {
        Failure::all()
            .into_iter()
            .filter(|failure| failure.applies_to(service, operation))
            .map(|failure| Described {
                sees: failure.sees(service),
                failure,
            })
            .collect()
    };
    Json(Failures {
        queued: Queues::of(&desk),
        available: Available {
            send: available(service, Operation::Send),
            verify: available(service, Operation::Verify),
            feedback: available(Service::PinpointSmsVoiceV2, Operation::Feedback),
        },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFailure {
    operation: Operation,
    failure: Failure,
    #[serde(default = "once")]
    times: Times,
}

fn once() -> Times {
    Times::ONCE
}

async fn queue_failure(State(desk): State<Arc<Desk>>, Json(new): Json<NewFailure>) -> Response {
    if !new.failure.exists_for(new.operation) {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            "This operation cannot fail like this.\n",
        )
            .into_response();
    }
    desk.fail(new.operation, new.failure, new.times);
    Json(Queues::of(&desk)).into_response()
}

async fn clear_failures(State(desk): State<Arc<Desk>>) -> Json<Queues> {
    desk.clear_failures();
    Json(Queues::of(&desk))
}

#[derive(Serialize)]
struct Scenarios {
    scenarios: Vec<ListedScenario>,
}

#[derive(Serialize)]
struct ListedScenario {
    number: &'static str,
    operation: Operation,
    outcome: &'static Outcome,
    sees: &'static str,
}

async fn list_scenarios(
    State(desk): State<Arc<Desk>>,
    Query(query): Query<ServiceQuery>,
) -> Json<Scenarios> {
    let service = query.service.unwrap_or_else(|| desk.described());
    let scenarios = scenarios()
        .iter()
        .map(|scenario| ListedScenario {
            number: scenario.number,
            operation: scenario.operation,
            outcome: scenario.outcome_at(service),
            sees: scenario.outcome_at(service).sees(service),
        })
        .collect();
    Json(Scenarios { scenarios })
}

#[derive(Serialize)]
struct Requests {
    counts: Counts,
    requests: Vec<Recorded>,
}

#[derive(Serialize)]
struct Counts {
    send: usize,
    verify: usize,
    feedback: usize,
}

async fn list_requests(State(desk): State<Arc<Desk>>) -> Json<Requests> {
    let requests = desk.requests();
    let count = |operation| {
        requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    };
    let counts = Counts {
        send: count(Operation::Send),
        verify: count(Operation::Verify),
        feedback: count(Operation::Feedback),
    };
    Json(Requests { counts, requests })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    about: String,
}

async fn log(State(desk): State<Arc<Desk>>, Query(query): Query<About>) -> String {
    let mut lines = desk.log_about(&query.about);
    // The last line ends as all others do.
    lines.push(String::new());
    lines.join("\n")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Applications {
    known: Option<BTreeSet<String>>,
}

async fn know_only(
    State(desk): State<Arc<Desk>>,
    Json(applications): Json<Applications>,
) -> StatusCode {
    desk.know_only(applications.known);
    StatusCode::NO_CONTENT
}

async fn imitate(State(desk): State<Arc<Desk>>, file: String) -> Response {
    match AllFacts::parse(&file) {
        Ok(facts) => {
            desk.imitate(facts);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{problem}\n")).into_response(),
    }
}

async fn reset(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.reset();
    StatusCode::NO_CONTENT
}
