//! The page `examples/cognito-web` at `/cognito/`. In place of the person who copies the page, the desk fills in the lines
//! that this person would change.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use crate::{
    desk::Desk,
    inbox::{page_url, service_url},
    pool::CLIENT_ID,
    try_it::{find, headers_of_page, with_meta},
};

const PAGE: &str = include_str!("../../examples/cognito-web/index.html");

const FILES: &[(&str, &str)] = &[
    (
        "page.css",
        include_str!("../../examples/cognito-web/page.css"),
    ),
    (
        "page.mjs",
        include_str!("../../examples/cognito-web/page.mjs"),
    ),
    (
        "pool.mjs",
        include_str!("../../examples/cognito-web/pool.mjs"),
    ),
];

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/cognito", get(async || Redirect::permanent("/cognito/")))
        .route("/cognito/", get(page))
        .route(
            "/cognito/{file}",
            get(async |Path(name): Path<String>| find(FILES, &name)),
        )
}

async fn page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let service = service_url(&desk, &headers).filter(|_| desk.pool().is_open());
    let (Some(pool), Some(service)) = (page_url(&headers), service) else {
        let absent = "There is no user pool to try. Start the desk with `make run`.\n";
        return (StatusCode::NOT_FOUND, absent).into_response();
    };
    let page = fill(&pool, &service);
    (headers_of_page(&service), page).into_response()
}

fn fill(pool: &str, service: &str) -> String {
    let mut filled = PAGE.to_owned();
    for (name, value) in [
        ("cognito-client-id", CLIENT_ID),
        ("cognito-endpoint", pool),
        ("otp-api", service),
    ] {
        filled = with_meta(&filled, name, value).unwrap_or(filled);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_desk_fills_in_its_addresses() {
        let page = fill("http://localhost:1", "http://localhost:2");
        for line in [
            "<meta name=\"cognito-endpoint\" content=\"http://localhost:1\">",
            "<meta name=\"otp-api\" content=\"http://localhost:2\">",
        ] {
            assert!(page.contains(line), "{line}");
        }
        // The page in the repository is for the pool of the desk.
        let line = format!("<meta name=\"cognito-client-id\" content=\"{CLIENT_ID}\">");
        assert!(PAGE.contains(&line));
    }
}
