//! Lets pages of this machine call the API from a browser, whatever their port.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header},
    response::IntoResponse,
};

use crate::server::Access;

/// The origin of the page that made the request, if it is a page of this machine.
pub(crate) fn page(headers: &HeaderMap, access: &Access) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let address: Uri = origin.to_str().ok()?.parse().ok()?;
    access.knows(address.authority()?).then(|| origin.clone())
}

/// The response to a browser that asks before it sends a request. The headers are those that the template allows, with the
/// token of a user. The desk does not look at the token.
pub(crate) fn preflight(request: &Request) -> Option<Response<Body>> {
    let headers = request.headers();
    let is_preflight = request.method() == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    is_preflight.then(|| {
        let allowed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "content-type, idempotency-key, traceparent, x-request-id, authorization",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    })
}

/// Lets the page read the response, and the headers that the template exposes.
pub(crate) fn allow(mut response: Response<Body>, page: HeaderValue) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("idempotency-key-used, x-request-id"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    response
}
