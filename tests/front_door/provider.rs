//! Failures of the provider, and the responses to the caller.

use crate::with::{self, of_send, of_verify};
use crate::world::{Answer, NUMBER, World};
use otp_lambda::app::App;
use otp_lambda::error::Error;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{self, Message, Provider, ProviderLimits, Receipt};
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{Providers, Service};
use serde_json::json;
use simulator::{Failure, Operation, Simulator};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

#[tokio::test]
async fn every_failure_of_a_send_has_its_code_and_reaches_the_provider_once() {
    let mut world = World::new().await;
    world.set_time_left(Duration::from_millis(1500));
    for failure in shortened(Operation::Send) {
        world.simulator.reset();
        world.simulator.fail_next(Operation::Send, failure.clone());
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        let (status, code, unknown) = of_send(&failure);
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{failure:?}: {answer:?}"
        );
        if status != 202 {
            answer.is_problem(status, code);
        }
        let delivery = unknown.then(|| json!("unknown"));
        assert_eq!(
            answer.body.get("delivery"),
            delivery.as_ref(),
            "{failure:?}"
        );
        assert_eq!(
            world.simulator.requests(Operation::Send).len(),
            1,
            "{failure:?}"
        );
        // A caller may rely on a response that does not say that the message may have been sent.
        if !unknown && status != 202 {
            assert_eq!(world.simulator.inbox().len(), 0, "{failure:?}");
        }
        if matches!(status, 503 | 504) {
            let known: &[&str] = if unknown {
                &["may have been sent", "did not say whether"]
            } else {
                &["No message was sent", "could not be delivered"]
            };
            assert!(says(&answer, known), "{failure:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn every_failure_of_a_verify_has_its_code_and_reaches_the_provider_once() {
    let mut world = World::new().await;
    world.set_time_left(Duration::from_millis(1500));
    for failure in shortened(Operation::Verify) {
        world.simulator.reset();
        let otp = world.code_on_the_phone().await;
        world
            .simulator
            .fail_next(Operation::Verify, failure.clone());
        let answer = world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            of_verify(&failure),
            "{failure:?}: {answer:?}"
        );
        assert_eq!(
            answer.body["valid"],
            json!(answer.status == 200),
            "{failure:?}"
        );
        assert_eq!(answer.body.get("delivery"), None, "{failure:?}");
        if matches!(answer.status, 503 | 504) {
            let known = ["no verdict on the code", "was not checked"];
            assert!(says(&answer, &known), "{failure:?}: {answer:?}");
        }
        assert_eq!(
            world.simulator.requests(Operation::Verify).len(),
            1,
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn a_misconfiguration_tells_the_operator_what_to_look_at() {
    let world = World::new().await;
    for (failure, hints) in with::HINTS {
        world.simulator.fail_next(Operation::Send, failure);
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        for hint in hints {
            assert!(
                answer.body["detail"].as_str().unwrap().contains(hint),
                "{answer:?}"
            );
        }
        let line = world.last_line();
        assert_eq!(
            (&line["level"], &line["outcome"]),
            (&json!("ERROR"), &json!("misconfigured"))
        );
        assert!(
            line["cause"].as_str().unwrap().contains("Exception"),
            "{line}"
        );
        assert!(
            line["providerRequestId"]
                .as_str()
                .is_some_and(|id| !id.is_empty()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_throttled_caller_is_told_when_to_come_back() {
    let world = World::new().await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::TooManyRequests);
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(answer.body["retryAfter"], json!(2));
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    // Nothing listens on this port any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::with(&[(with::ENDPOINT, &format!("http://{closed}"))]).await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body.get("delivery"), None);
    assert!(
        world.last_line()["cause"]
            .as_str()
            .unwrap()
            .starts_with("no connection: ")
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_built_was_not_sent() {
    // No endpoint can be built from this region. Lambda never sets such a value.
    let world = World::with(&[(with::ENDPOINT, ""), ("AWS_REGION", "no region")]).await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body.get("delivery"), None);
    let cause = world.last_line()["cause"].as_str().unwrap().to_owned();
    assert!(
        cause.starts_with("the request could not be made: "),
        "{cause}"
    );
}

#[tokio::test]
async fn a_connection_that_is_never_accepted_ends_with_the_connect_timeout() {
    // The TLS handshake is part of connecting, and the server never responds to it.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with(&[(
        with::ENDPOINT,
        &format!("https://{}", silent.local_addr().unwrap()),
    )])
    .await;
    let started = Instant::now();
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(
        answer.body.get("delivery"),
        None,
        "nothing was written before the handshake"
    );
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_hanging_provider_is_abandoned_before_the_invocation_ends() {
    let mut world = World::new().await;
    for (left, at_least, at_most) in [(1500, 900, 1400), (60_000, 4500, 6500)] {
        world.set_time_left(Duration::from_millis(left));
        let expected = Duration::from_millis(at_least)..Duration::from_millis(at_most);
        let mut took = Vec::new();
        // Only a pause of the machine can make one of three too slow.
        while took.len() < 3 && !took.last().is_some_and(|took| expected.contains(took)) {
            world.simulator.fail_next(Operation::Send, Failure::Hang);
            let started = Instant::now();
            let answer = world
                .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
                .await;
            answer.is_problem(504, "provider_timeout");
            took.push(started.elapsed());
        }
        assert!(
            took.last().is_some_and(|took| expected.contains(took)),
            "{left}: {took:?}"
        );
    }
}

#[tokio::test]
async fn without_time_left_the_provider_is_not_asked() {
    let mut world = World::new().await;
    world.set_time_left(Duration::from_millis(600));
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(504, "provider_timeout");
    assert_eq!(answer.body.get("delivery"), None);
    let known = "No time was left to ask the provider. No message was sent.";
    assert_eq!(answer.body["detail"], known);
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345" });
    let answer = world.post("/otp/verify", &body).await;
    answer.is_problem(504, "provider_timeout");
    assert!(says(
        &answer,
        &["No time was left to ask the provider. The code was not checked"]
    ));
}

/// Whether the detail has one of these.
fn says(answer: &Answer, known: &[&str]) -> bool {
    let detail = answer.body["detail"].as_str().unwrap();
    known.iter().any(|known| detail.contains(known))
}

/// The negative control: the count of requests shows a client that retries.
#[tokio::test]
async fn a_client_with_the_sdks_usual_retries_would_send_more_than_one_text() {
    use aws_sdk_pinpoint::config::{
        BehaviorVersion, Config, Credentials, Region, retry::RetryConfig,
    };
    use aws_sdk_pinpoint::types::SendOtpMessageRequestParameters;

    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        .http_client(otp_lambda::aws::http_client(None))
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .endpoint_url(simulator.url())
        .build();
    let parameters = SendOtpMessageRequestParameters::builder()
        .channel("SMS")
        .brand_name("ExampleCorp")
        .destination_identity(NUMBER)
        .origination_identity("+12065550100")
        .reference_id("a")
        .build();
    for failure in [
        Failure::CloseAfterReading,
        Failure::InternalServerErrorAfterwards,
    ] {
        simulator.fail_next(Operation::Send, failure);
    }
    let client = aws_sdk_pinpoint::Client::from_conf(config);
    let sent = client
        .send_otp_message()
        .application_id("a")
        .send_otp_message_request_parameters(parameters)
        .send()
        .await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(
        (
            simulator.requests(Operation::Send).len(),
            simulator.inbox().len()
        ),
        (3, 3)
    );
}

static PINPOINT_LIMITS: LazyLock<ProviderLimits> = LazyLock::new(otp_lambda::aws::pinpoint::limits);

/// A provider that panics.
struct Panicking;

#[async_trait::async_trait]
impl Provider for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn limits(&self) -> &ProviderLimits {
        &PINPOINT_LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        panic!("a defect with {} in it", message.to.expose())
    }

    async fn verify(
        &self,
        _: &PhoneNumber,
        _: &ReferenceId,
        otp: &Otp,
        _: Duration,
    ) -> Result<provider::Answer, Error> {
        panic!("a defect with {} in it", otp.expose())
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_served() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = crate::world::read(&simulator.url(), &[]);
    let app = App::new(
        Service::new(settings.rules, Providers::only(Box::new(Panicking)), None),
        settings.http,
        settings.sign_in,
    );
    let world = World::around(app, simulator);
    for _ in 0..2 {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        answer.is_problem(500, "internal_error");
        assert_eq!(answer.body["delivery"], "unknown");
        let answer = world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": "012345" }),
            )
            .await;
        answer.is_problem(500, "internal_error");
        assert_eq!(answer.body["valid"], json!(false));
    }
    assert_eq!(world.last_line()["level"], "ERROR");
}

/// A provider that has two sends under way at once, and panics in the one to `NUMBER`.
struct PanicsInOne(Barrier);

#[async_trait::async_trait]
impl Provider for PanicsInOne {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn limits(&self) -> &ProviderLimits {
        &PINPOINT_LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        self.0.wait().await;
        assert_ne!(message.to.expose(), NUMBER, "a defect");
        Ok(Receipt {
            message_id: None,
            request_id: None,
        })
    }

    async fn verify(
        &self,
        _: &PhoneNumber,
        _: &ReferenceId,
        _: &Otp,
        _: Duration,
    ) -> Result<provider::Answer, Error> {
        panic!("a defect")
    }
}

#[tokio::test]
async fn a_panic_leaves_another_request_at_the_same_time_as_it_is() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = crate::world::read(&simulator.url(), &[]);
    let provider = PanicsInOne(Barrier::new(2));
    let app = App::new(
        Service::new(settings.rules, Providers::only(Box::new(provider)), None),
        settings.http,
        settings.sign_in,
    );
    let world = World::around(app, simulator);
    let send = |number: &'static str| {
        let world = &world;
        async move {
            let body = json!({ "destinationNumber": number });
            world.post("/otp/send", &body).await
        }
    };
    let (panicked, other) = tokio::join!(send(NUMBER), send("+14255550143"));
    panicked.is_problem(500, "internal_error");
    assert_eq!(other.status, 202, "{other:?}");
}

/// Every failure of an operation. Slow responses are only a little slow.
fn shortened(operation: Operation) -> Vec<Failure> {
    let failures: Vec<Failure> = Failure::all()
        .into_iter()
        .filter(|failure| failure.applies_to(with::SERVICE, operation))
        .map(|failure| match failure {
            Failure::Slow(_) => Failure::Slow(Duration::from_millis(300)),
            other => other,
        })
        .collect();
    assert!(failures.len() >= 15);
    failures
}
