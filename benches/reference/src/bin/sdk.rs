//! Sends and verifies with AWS's SDK, as the SDK's documentation shows: with all defaults, and with one client for all
//! requests. This program has no ledger. Compare it with the function when the function has no ledger, either.

use aws_config::BehaviorVersion;
use aws_sdk_pinpoint::Client;
use aws_sdk_pinpoint::types::{SendOtpMessageRequestParameters, VerifyOtpMessageRequestParameters};
use lambda_http::{Body, Error, Request, RequestPayloadExt, Response, run, service_fn};
use serde_json::{Value, json};

const APPLICATION: &str = "9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d";

async fn handle(client: &Client, request: Request) -> Result<Response<Body>, Error> {
    let body: Value = request.json().ok().flatten().unwrap_or_default();
    let number = body["destinationNumber"].as_str().unwrap_or_default();
    // A reference that both requests find again, without the sign that Pinpoint refuses.
    let reference = format!("otp{}", number.trim_start_matches('+'));
    let (status, answer) = match body["otp"].as_str() {
        None => {
            let message = SendOtpMessageRequestParameters::builder()
                .brand_name("ExampleCorp")
                .channel("SMS")
                .destination_identity(number)
                .origination_identity("+12065550100")
                .reference_id(&reference)
                .build();
            let sent = client
                .send_otp_message()
                .application_id(APPLICATION)
                .send_otp_message_request_parameters(message)
                .send()
                .await?;
            (202, json!({ "sent": sent.message_response().is_some() }))
        }
        Some(otp) => {
            let guess = VerifyOtpMessageRequestParameters::builder()
                .destination_identity(number)
                .otp(otp)
                .reference_id(&reference)
                .build();
            let verified = client
                .verify_otp_message()
                .application_id(APPLICATION)
                .verify_otp_message_request_parameters(guess)
                .send()
                .await?;
            let valid = verified.verification_response().and_then(|answer| answer.valid());
            let valid = valid.unwrap_or_default();
            (if valid { 200 } else { 422 }, json!({ "valid": valid }))
        }
    };
    let response = Response::builder().status(status);
    Ok(response.body(answer.to_string().into())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().init();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = &Client::new(&config);
    run(service_fn(move |request| handle(client, request))).await
}
