//! The shipped binary with its ledger in a DynamoDB emulator over HTTP, under the runtime interface emulator.

use crate::function::{
    Function, LEDGER_KEY, Settings, contains_code, event, file, hasher, http_response,
    keyed_request, request, settings_with_ledger, tool, wrong,
};
use crate::linear::lambda::Environment;
use crate::table::{Table, closed_port, secrets_manager, silent_server};
use otp_lambda::ledger::Hasher;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::{Value, json};
use simulator::{Operation, Simulator};
use std::process::Command;
use std::time::{Duration, Instant};

const NUMBER: &str = "+14255550142";
const SECRET_ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:otp-AbCdEf";
const SECRET: &str = "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvciBtb3JlIG9mIGl0";

/// The AWS services of a function: Pinpoint and DynamoDB.
struct Aws {
    simulator: Simulator,
    table: Table,
}

impl Aws {
    async fn start() -> Self {
        Self {
            simulator: Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap(),
            table: Table::start(),
        }
    }

    fn settings(&self) -> Settings {
        settings_with_ledger(&self.simulator.url(), &self.table.url())
    }

    /// How many send and verify requests reached the provider.
    fn requests(&self) -> (usize, usize) {
        let count = |operation| self.simulator.requests(operation).len();
        (count(Operation::Send), count(Operation::Verify))
    }

    fn code(&self, number: &str) -> String {
        self.simulator.newest_to(number).unwrap().code
    }

    /// Neither the log nor the table has a number, a code, a reference ID, or one of the `more` secrets.
    fn assert_no_leak(&self, log: &str, more: &[&str]) {
        let messages = self.simulator.inbox();
        let items = self.table.items();
        assert!(!items.is_empty());
        let items = serde_json::to_string(&items).unwrap();
        for place in [log, items.as_str()] {
            for message in &messages {
                assert!(
                    !contains_code(place, &message.code),
                    "{} in {place}",
                    message.code
                );
                for secret in [message.to.trim_start_matches("+1"), &message.reference_id] {
                    assert!(!place.contains(secret), "{secret} in {place}");
                }
            }
            for secret in more {
                assert!(!place.contains(secret), "{secret} in {place}");
            }
        }
    }
}

/// Runs a test that blocks. The servers in this process go on meanwhile.
async fn blocking<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(test).await.unwrap()
}

fn header<'a>(response: &'a Value, name: &str) -> Option<&'a str> {
    response["headers"][name].as_str()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_verification_works_through_every_event_shape() {
    let aws = Aws::start().await;
    let mut settings = aws.settings();
    settings.insert("API_AUTH", "trusted".to_owned());
    blocking(move || {
        let function = Function::start(&settings);
        for (index, shape) in ["rest-v1", "http-v2", "function-url", "alb"]
            .into_iter()
            .enumerate()
        {
            let number = format!("+1425555014{index}");
            let request_route = |route: &str, mut body: Value| {
                body["destinationNumber"] = json!(number);
                function.request(&request(shape, route, &body))
            };
            let (status, sent) = request_route("send", json!({}));
            assert_eq!((status, &sent["attemptsLeft"]), (202, &json!(3)), "{sent}");
            // The window begins when the place is taken, a moment after the request.
            let wait = sent["resendIn"].as_u64().unwrap();
            assert!((30..=31).contains(&wait), "{sent}");
            let (status, state) = request_route("status", json!({}));
            assert_eq!(
                (status, &state["status"], &state["attemptsLeft"]),
                (200, &json!("pending"), &json!(3)),
                "{shape}"
            );

            let code = aws.code(&number);
            for _ in 0..2 {
                // The guess is the same as before, and the second response comes from the ledger.
                let (status, refused) = request_route("verify", json!({ "otp": wrong(&code, 0) }));
                let fields = (
                    &refused["code"],
                    &refused["attemptsLeft"],
                    &refused["valid"],
                );
                assert_eq!(
                    (status, fields),
                    (422, (&json!("invalid_code"), &json!(2), &json!(false))),
                    "{shape}: {refused}"
                );
            }
            let (status, refused) = request_route("send", json!({}));
            assert_eq!(
                (status, &refused["code"], &refused["attemptsLeft"]),
                (429, &json!("resend_too_soon"), &json!(2))
            );

            let (status, verified) = request_route("verify", json!({ "otp": code }));
            assert_eq!(
                (status, &verified["valid"], &verified["status"]),
                (200, &json!(true), &json!("verified"))
            );
            let (status, again) = request_route("verify", json!({ "otp": code }));
            assert_eq!(
                (status, &again["code"], &again["valid"]),
                (409, &json!("already_verified"), &json!(false))
            );

            let (status, redeemed) = request_route("status", json!({ "claim": true }));
            assert_eq!(
                (status, &redeemed["claimed"]),
                (200, &json!(true)),
                "{shape}: {redeemed}"
            );
            let (status, redeemed) = request_route("status", json!({ "claim": true }));
            assert_eq!(
                (status, &redeemed["code"]),
                (409, &json!("already_verified")),
                "{shape}: {redeemed}"
            );
            let (status, state) = request_route("cancel", json!({}));
            assert_eq!(
                (status, &state["status"]),
                (200, &json!("verified")),
                "{shape}: {state}"
            );
        }
        // Each of the four has one message, one wrong guess and one right guess.
        assert_eq!(aws.requests(), (4, 8));
        aws.assert_no_leak(&function.log(), &[]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn execution_environments_share_attempts_windows_and_keys() {
    let aws = Aws::start().await;
    let mut settings = aws.settings();
    settings.insert("SEND_LIMITS", "2/1h".to_owned());
    blocking(move || {
        let (one, other) = (Function::start(&settings), Function::start(&settings));
        let send = keyed_request(
            "send",
            &json!({ "destinationNumber": NUMBER, "clientIp": "192.0.2.77" }),
            "order-4711",
        );
        let (status, response) = one.request(&send);
        assert_eq!(status, 202, "{response}");
        assert_eq!(
            other.request(&send),
            (202, response),
            "the same response, and no second message"
        );
        assert_eq!(aws.simulator.inbox().len(), 1);

        let code = aws.code(NUMBER);
        let guess = |function: &Function, otp: &str| {
            function.post(
                "verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
        };
        for (function, nth, left) in [(&one, 0, 2), (&other, 1, 1)] {
            let (status, refused) = guess(function, &wrong(&code, nth));
            assert_eq!(
                (status, &refused["attemptsLeft"]),
                (422, &json!(left)),
                "{refused}"
            );
        }
        let (status, again) = other.post("send", &json!({ "destinationNumber": NUMBER }));
        assert_eq!(
            (status, &again["attemptsLeft"]),
            (202, &json!(1)),
            "a new code gives no new attempts: {again}"
        );
        let (status, refused) = one.post(
            "send",
            &json!({ "destinationNumber": NUMBER, "source": "another" }),
        );
        assert_eq!(
            (status, &refused["code"], &refused["limit"]),
            (429, &json!("rate_limited"), &json!("number"))
        );

        let code = aws.code(NUMBER);
        assert_eq!(guess(&one, &code).0, 200);
        assert_eq!(guess(&other, &code).1["code"], "already_verified");
        assert_eq!(
            other
                .post(
                    "status",
                    &json!({ "destinationNumber": NUMBER, "claim": true })
                )
                .0,
            200
        );
        assert_eq!(
            one.post(
                "status",
                &json!({ "destinationNumber": NUMBER, "claim": true })
            )
            .0,
            409
        );
        assert_eq!(aws.requests(), (2, 3));
        for function in [&one, &other] {
            aws.assert_no_leak(
                &function.log(),
                &["192.0.2.77", "order-4711", "AIDAEXAMPLE"],
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn without_dynamodb_the_provider_gets_no_requests() {
    let aws = Aws::start().await;
    for (dynamodb, longest) in [
        (closed_port(), Duration::from_secs(3)),
        (silent_server(), Duration::from_secs(5)),
    ] {
        let settings = settings_with_ledger(&aws.simulator.url(), &dynamodb);
        blocking(move || {
            let function = Function::start(&settings);
            let body = json!({ "destinationNumber": NUMBER });
            let guess = json!({ "destinationNumber": NUMBER, "otp": "012345" });
            for (route, body) in [
                ("send", &body),
                ("verify", &guess),
                ("status", &body),
                ("cancel", &body),
            ] {
                for key in [None, Some("order-4711")] {
                    let started = Instant::now();
                    let response = function.invoke(&event(route, body, key).to_string());
                    let (status, problem) = http_response(&response).unwrap();
                    assert_eq!(
                        (status, &problem["code"]),
                        (503, &json!("ledger_unavailable")),
                        "{route}: {problem}"
                    );
                    assert_eq!(
                        problem["delivery"],
                        Value::Null,
                        "no message was sent, so delivery is not unknown: {problem}"
                    );
                    let after = header(&response, "retry-after")
                        .and_then(|seconds| seconds.parse::<u64>().ok());
                    assert!(after.is_some_and(|seconds| seconds > 0), "{response}");
                    assert!(
                        started.elapsed() < longest,
                        "{route}: {:?}",
                        started.elapsed()
                    );
                }
            }
            assert!(!function.log().contains("4255550142"), "{}", function.log());
        })
        .await;
    }
    assert_eq!(aws.requests(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn the_secret_is_read_from_secrets_manager() {
    let aws = Aws::start().await;
    let mut settings = aws.settings();
    settings.insert("LEDGER_KEY", SECRET_ARN.to_owned());
    settings.insert(
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        secrets_manager(SECRET_ARN, SECRET),
    );
    blocking(move || {
        let function = Function::start(&settings);
        assert_eq!(
            function
                .post("send", &json!({ "destinationNumber": NUMBER }))
                .0,
            202
        );
        let number = PhoneNumber::parse(NUMBER).unwrap();
        let reference = ReferenceId::derived("ExampleCorp", "otp", &number);
        let hasher = Hasher::from_secret(SECRET.as_bytes());
        assert_eq!(
            aws.table
                .item(hasher.verification(&reference, &number).as_str())["st"],
            "sent"
        );
        assert!(aws.table.item(hasher.number(&number).as_str())["t1"].is_u64());
        aws.assert_no_leak(&function.log(), &[SECRET]);
    })
    .await;
}

#[test]
#[ignore = "needs the tools that `make test` sets up"]
fn a_function_without_its_secret_does_not_start_and_says_why() {
    let short = "only-a-short-secret";
    let known = secrets_manager(SECRET_ARN, short);
    let other = SECRET_ARN.replace("otp-AbCdEf", "other-AbCdEf");
    for (key, secrets, expected) in [
        (
            SECRET_ARN.to_owned(),
            known.clone(),
            "The ledger's secret has 19 bytes. It must have at least 43",
        ),
        (other, known, "secretsmanager:GetSecretValue"),
        (
            SECRET_ARN.to_owned(),
            closed_port(),
            "could not be read from Secrets Manager",
        ),
        (
            SECRET_ARN.to_owned(),
            silent_server(),
            "could not be read from Secrets Manager",
        ),
        (
            "dG9vIHNob3J0".to_owned(),
            closed_port(),
            "LEDGER_KEY must be the ARN of a secret",
        ),
    ] {
        let mut settings = settings_with_ledger(&closed_port(), &closed_port());
        settings.insert("LEDGER_KEY", key.clone());
        settings.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets);
        let started = Instant::now();
        let output = Command::new(tool("OTP_E2E_BOOTSTRAP"))
            .env_clear()
            .envs(&settings)
            .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
            .output()
            .unwrap();
        assert!(!output.status.success());
        // Lambda allows ten seconds for the start of a function.
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "{:?}",
            started.elapsed()
        );
        let log = String::from_utf8(output.stdout).unwrap();
        let line: Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert!(log.contains(expected), "{log}");
        assert!(
            !log.contains(short) && !log.contains("dG9vIHNob3J0") && !log.contains("example\""),
            "{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn an_operator_can_unlock_a_number_and_get_its_item_name() {
    let aws = Aws::start().await;
    let settings = aws.settings();
    blocking(move || {
        let function = Function::start(&settings);
        let number = PhoneNumber::parse(NUMBER).unwrap();
        let name = hasher().number(&number).as_str().to_owned();
        let command = json!({ "operation": "key", "destinationNumber": NUMBER });
        let shown = json!({ "key": name, "destinationNumber": "+1*******0142" });
        assert_eq!(function.invoke(&command.to_string()), shown);

        aws.table
            .put(&json!({ "pk": { "S": name }, "f": { "N": "100" }, "lf": { "N": "1" } }));
        let (status, refused) = function.post("send", &json!({ "destinationNumber": NUMBER }));
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("destination_locked"))
        );
        let done = json!({ "unlocked": true, "destinationNumber": "+1*******0142" });
        assert_eq!(function.invoke(&file("unlock").to_string()), done);
        assert_eq!(
            function
                .post("send", &json!({ "destinationNumber": NUMBER }))
                .0,
            202
        );

        // In an HTTP request, the same JSON is just a body.
        let mut event = request("http-v2", "send", &json!({}));
        event["body"] = json!(file("unlock").to_string());
        assert_eq!(function.request(&event).1["code"], "malformed_request");
        aws.assert_no_leak(&function.log(), &[LEDGER_KEY]);
    })
    .await;
}

/// As in a stack, Lambda passes the alias beside the event.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_command_needs_its_own_alias() {
    let aws = Aws::start().await;
    let mut settings = aws.settings();
    settings.insert("OPERATOR_ALIASES", "on".to_owned());
    let bare = aws.settings();
    blocking(move || {
        let function = Environment::start(&settings);
        let unlock = file("unlock").to_string();
        let key = json!({ "operation": "key", "destinationNumber": NUMBER }).to_string();
        let send = request("http-v2", "send", &json!({ "destinationNumber": NUMBER })).to_string();
        let wrong = || Err("WrongAlias".to_owned());
        for alias in ["", ":live", ":7", ":$LATEST"] {
            assert_eq!(function.invoke_as(alias, &unlock), wrong(), "{alias}");
            assert_eq!(function.invoke_as(alias, &key), wrong(), "{alias}");
        }
        assert_eq!(function.invoke_as(":operator", &key), wrong());
        assert_eq!(function.invoke_as(":operator-key", &unlock), wrong());
        for alias in [":operator", ":operator-key"] {
            assert_eq!(function.invoke_as(alias, &send), wrong(), "{alias}");
        }
        assert_eq!(aws.requests(), (0, 0));
        assert!(aws.table.items().is_empty());
        // The controls: the same events, each under the alias that answers it.
        let done = function.invoke_as(":operator", &unlock).unwrap();
        assert_eq!(done["unlocked"], true);
        let shown = function.invoke_as(":operator-key", &key).unwrap();
        assert_eq!(shown["destinationNumber"], "+1*******0142");
        let answer = function.invoke_as(":live", &send).unwrap();
        assert_eq!(answer["statusCode"], 202);
        let function = Environment::start(&bare);
        assert!(function.invoke_as("", &unlock).is_ok());
        assert!(function.invoke_as("", &key).is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn pauses_and_blocks_stop_sends() {
    let aws = Aws::start().await;
    let settings = aws.settings();
    blocking(move || {
        let send = |function: &Function, number: &str| {
            let (status, body) = function.post("send", &json!({ "destinationNumber": number }));
            (status, body["code"].as_str().unwrap_or_default().to_owned())
        };
        let paused = json!({ "pk": { "S": "K#switches" }, "paused": { "BOOL": true } });
        aws.table.put(&paused);
        assert_eq!(
            send(&Function::start(&settings), NUMBER),
            (503, "sending_paused".to_owned())
        );

        let blocked = json!({
            "pk": { "S": "K#switches" },
            "block": { "SS": ["+1425555"] },
            "allow": { "SS": [hasher().number(&PhoneNumber::parse(NUMBER).unwrap()).as_str()] },
        });
        aws.table.put(&blocked);
        // An execution environment keeps the switches for ten seconds, so this test needs a new one.
        let function = Function::start(&settings);
        assert_eq!(
            send(&function, "+14255550143"),
            (403, "destination_blocked".to_owned())
        );
        assert_eq!(send(&function, NUMBER).0, 202);
        assert_eq!(aws.requests(), (1, 0));
    })
    .await;
}
