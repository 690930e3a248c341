//! The least that a function in Rust does: it answers, and calls nobody.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

async fn handle(_: Request) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(202).body("{}".into())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
