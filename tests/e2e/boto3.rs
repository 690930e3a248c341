//! Boto3 beside the function: an independent check of the wire format and of the reference ID.

use crate::function::{
    Function, Settings, file, python, settings, settings_with_ledger, tool, wrong,
};
use crate::table::Table;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Service, Simulator};
use std::path::Path;
use std::time::Duration;

const NUMBER: &str = "+14255550142";

pub(crate) fn boto3(settings: &Settings, script: &str, arguments: &[&str]) -> Value {
    let mut settings = settings.clone();
    settings.insert("AWS_DEFAULT_REGION", "us-east-1".to_owned());
    python(
        Path::new(&tool("OTP_E2E_PYTHON")),
        script,
        arguments,
        &settings,
    )
}

/// A provider, and a script for it that is like AWS's example.
#[derive(Clone, Copy)]
struct Pair {
    provider: &'static str,
    script: &'static str,
}

const PAIRS: [Pair; 2] = [
    Pair {
        provider: "pinpoint",
        script: "boto3_example.py",
    },
    Pair {
        provider: "end-user-messaging",
        script: "boto3_example_end_user_messaging.py",
    },
];

impl Pair {
    /// Settings for both the function and the script.
    fn settings(self, mut settings: Settings, simulator: &Simulator) -> Settings {
        settings.insert("OTP_PROVIDER", self.provider.to_owned());
        if settings.contains_key("LEDGER_TABLE") {
            settings.insert("FOREIGN_CODES", "on".to_owned());
        }
        settings.insert("AWS_ENDPOINT_URL_ENDUSERMESSAGING", simulator.url());
        settings
    }

    fn send(self, settings: &Settings) {
        let sent = boto3(
            settings,
            self.script,
            &["send", NUMBER, "ExampleCorp", "CreateAccount"],
        );
        let message = sent
            .pointer(&format!("/Result/{NUMBER}/MessageId"))
            .or_else(|| sent.get("MessageId"));
        assert!(
            message.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty())),
            "{sent}"
        );
    }

    fn verify(self, settings: &Settings, otp: &str) -> Value {
        boto3(
            settings,
            self.script,
            &["verify", NUMBER, otp, "ExampleCorp", "CreateAccount"],
        )
    }
}

impl Pair {
    /// The function sends a code, and the script verifies it.
    fn verify_a_code_of(self, function: &Function, settings: &Settings, simulator: &Simulator) {
        assert_eq!(function.request(&file("send.http-v2")).0, 202);
        let otp = simulator.newest_to(NUMBER).unwrap().code;
        assert_eq!(
            self.verify(settings, &wrong(&otp, 0)),
            json!({ "Valid": false })
        );
        assert_eq!(self.verify(settings, &otp), json!({ "Valid": true }));
    }
}

/// The response to a right code.
fn success() -> (u64, Value) {
    let reference = "46bb87b047dd9f34b9cbe4011325b15b";
    (
        200,
        json!({ "valid": true, "referenceId": reference, "status": "verified" }),
    )
}

const A_DAY: Duration = Duration::from_hours(24);

/// Moves the times of all verifications back by a day. The clock of the function cannot be moved.
fn make_a_day_older(table: &Table) {
    let mut moved = 0;
    for mut item in table.scan() {
        if !item["pk"]["S"].as_str().unwrap().starts_with("V#") {
            continue;
        }
        for name in ["first", "exp", "pu"] {
            let time: u128 = item[name]["N"].as_str().unwrap().parse().unwrap();
            item[name]["N"] = json!(time.saturating_sub(A_DAY.as_millis()).to_string());
        }
        table.put(&item);
        moved += 1;
    }
    assert!(moved > 0);
}

async fn start(settings: &Settings) -> Function {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || Function::start(&settings))
        .await
        .unwrap()
}

fn verify(function: &Function, otp: &str) -> (u64, Value) {
    let mut event = file("verify.http-v2");
    let body = json!({ "destinationNumber": NUMBER, "otp": otp, "brandName": "ExampleCorp", "source": "CreateAccount" });
    event["body"] = json!(body.to_string());
    function.request(&event)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn codes_work_between_boto3_and_the_function_without_a_ledger() {
    for pair in PAIRS {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let settings = pair.settings(settings(&simulator.url()), &simulator);
        let function = start(&settings).await;

        tokio::task::block_in_place(|| {
            // The script sends a code, and the function verifies it.
            pair.send(&settings);
            let otp = simulator.newest_to(NUMBER).unwrap().code;
            assert_eq!(verify(&function, &wrong(&otp, 0)).0, 422);
            assert_eq!(verify(&function, &otp), success());
            pair.verify_a_code_of(&function, &settings, &simulator);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn codes_work_between_boto3_and_the_function_with_a_ledger() {
    for pair in PAIRS {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let table = Table::start();
        let mut settings = pair.settings(
            settings_with_ledger(&simulator.url(), &table.url()),
            &simulator,
        );
        // The limits allow sends without a pause.
        settings.insert("SEND_LIMITS", "3/10m".to_owned());
        let function = start(&settings).await;
        let guesses = || simulator.requests(Operation::Verify).len();

        tokio::task::block_in_place(|| {
            // The script sends a code. The ledger does not know it, and still counts the guesses.
            pair.send(&settings);
            let otp = simulator.newest_to(NUMBER).unwrap().code;
            for (nth, left) in [(0, 2), (1, 1), (1, 1)] {
                let (status, body) = verify(&function, &wrong(&otp, nth));
                assert_eq!(
                    (status, &body["code"], &body["attemptsLeft"]),
                    (422, &json!("invalid_code"), &json!(left))
                );
            }
            assert_eq!(
                guesses(),
                2,
                "the response to the repeated guess comes from the record"
            );
            assert_eq!(verify(&function, &otp), success());
            let (status, body) = verify(&function, &otp);
            assert_eq!(
                (status, &body["code"]),
                (409, &json!("already_verified")),
                "{body}"
            );
            assert_eq!(guesses(), 3);
            pair.verify_a_code_of(&function, &settings, &simulator);
            // The control: the script cannot verify a resend, because AWS knows it by another reference.
            assert_eq!(function.request(&file("send.http-v2")).0, 202);
            let resent = simulator.newest_to(NUMBER).unwrap().code;
            assert_eq!(pair.verify(&settings, &resent), json!({ "Valid": false }));
            // Tomorrow the script can verify the next code again.
            make_a_day_older(&table);
            simulator.advance(A_DAY);
            pair.verify_a_code_of(&function, &settings, &simulator);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_script_can_change_providers_after_the_function() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let [old, new] = PAIRS;
    let mut settings = new.settings(
        settings_with_ledger(&simulator.url(), &table.url()),
        &simulator,
    );
    settings.insert("OTP_PREVIOUS_PROVIDER", old.provider.to_owned());
    settings.insert("SEND_LIMITS", "3/10m".to_owned());
    let function = start(&settings).await;
    tokio::task::block_in_place(|| {
        // The script still sends through Pinpoint. The function must ask both providers.
        old.send(&settings);
        let otp = simulator.newest_to(NUMBER).unwrap().code;
        assert_eq!(verify(&function, &otp).0, 200);
        let services: Vec<_> = simulator
            .requests(Operation::Verify)
            .iter()
            .map(|request| request.service)
            .collect();
        assert_eq!(services, [Service::EndUserMessaging, Service::Pinpoint]);
        // Then the script changes to the new provider as well.
        assert_eq!(function.request(&file("send.http-v2")).0, 202);
        let otp = simulator.newest_to(NUMBER).unwrap().code;
        assert_eq!(new.verify(&settings, &otp), json!({ "Valid": true }));
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn botocore_recognizes_every_error_of_the_simulated_pinpoint() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = settings(&simulator.url());
    let failures = [
        (Failure::BadRequest, "BadRequestException", 400),
        (Failure::Forbidden, "ForbiddenException", 403),
        (Failure::NotFound, "NotFoundException", 404),
        (Failure::MethodNotAllowed, "MethodNotAllowedException", 405),
        (Failure::PayloadTooLarge, "PayloadTooLargeException", 413),
        (Failure::TooManyRequests, "TooManyRequestsException", 429),
        (
            Failure::InternalServerError,
            "InternalServerErrorException",
            500,
        ),
    ];
    for operation in [Operation::Send, Operation::Verify] {
        for (failure, _, _) in &failures {
            simulator.fail_next(operation, failure.clone());
        }
    }
    let found = tokio::task::block_in_place(|| {
        boto3(&settings, "boto3_errors.py", &[&failures.len().to_string()])
    });
    let expected: Vec<Value> = failures
        .iter()
        .map(|(_, name, status)| json!({ "name": name, "modelled": true, "status": status, "message": true, "requestId": true }))
        .collect();
    assert_eq!(found, json!({ "send": expected, "verify": expected }));
}

/// Settings for a client of End User Messaging and of message feedback.
pub(crate) fn settings_of_end_user_messaging(simulator: &Simulator) -> Settings {
    let mut settings = settings(&simulator.url());
    for name in [
        "AWS_ENDPOINT_URL_ENDUSERMESSAGING",
        "AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2",
    ] {
        settings.insert(name, simulator.url());
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn botocore_sends_and_validates_codes_through_the_simulated_end_user_messaging() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = settings_of_end_user_messaging(&simulator);
    for (channel, arrives_as) in [
        ("TEXT", "sms"),
        ("VOICE", "voice"),
        ("WHATSAPP", "whatsapp"),
    ] {
        let found = tokio::task::block_in_place(|| {
            boto3(
                &settings,
                "boto3_end_user_messaging.py",
                &["round", channel, NUMBER],
            )
        });
        let code = found["code"].as_str().unwrap();
        let spelled = code.chars().map(String::from).collect::<Vec<_>>().join(" ");
        let text = match channel {
            "TEXT" => format!("{code} is your code from ExampleCorp."),
            "VOICE" => format!("Your code is {spelled}."),
            _ => format!("{code} is your verification code."),
        };
        assert_eq!(
            found,
            json!({
                "sent": ["messageId", "verificationId"], "statuses": ["INVALID", "VALID", "INVALID"], "code": code,
                "text": text, "channel": arrives_as, "feedback": "RECEIVED",
            })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn botocore_recognizes_every_error_of_the_simulated_end_user_messaging() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = settings_of_end_user_messaging(&simulator);
    let of_send = [
        (Failure::BadRequest, "ValidationException", 400),
        (Failure::AccessDenied, "AccessDeniedException", 403),
        (Failure::NotFound, "ResourceNotFoundException", 404),
        (Failure::Conflict, "ConflictException", 409),
        (
            Failure::ServiceQuotaExceeded,
            "ServiceQuotaExceededException",
            400,
        ),
        (Failure::TooManyRequests, "ThrottlingException", 429),
        (Failure::InternalServerError, "InternalServerException", 500),
        (Failure::OptOut, "ConflictException", 409),
        (Failure::PermanentFailure, "ValidationException", 400),
    ];
    let of_verify = [
        (Failure::BadRequest, "ValidationException", 400),
        (Failure::AccessDenied, "AccessDeniedException", 403),
        (Failure::TooManyRequests, "ThrottlingException", 429),
        (Failure::InternalServerError, "InternalServerException", 500),
    ];
    // This protocol has one status for all client errors. The body names the exception.
    let of_feedback = [
        (Failure::BadRequest, "ValidationException", 400),
        (Failure::AccessDenied, "AccessDeniedException", 400),
        (Failure::NotFound, "ResourceNotFoundException", 400),
        (Failure::TooManyRequests, "ThrottlingException", 400),
        (Failure::InternalServerError, "InternalServerException", 500),
    ];
    let queues = [
        (
            Service::EndUserMessaging,
            Operation::Send,
            "send",
            &of_send[..],
        ),
        (
            Service::EndUserMessaging,
            Operation::Verify,
            "verify",
            &of_verify[..],
        ),
        (
            Service::PinpointSmsVoiceV2,
            Operation::Feedback,
            "feedback",
            &of_feedback[..],
        ),
    ];
    let error = |name: &str, status: u16, fields: &[&str]| {
        json!({
            "name": name, "modelled": true, "status": status, "message": true, "requestId": true, "fields": fields,
        })
    };
    let mut expected = json!({
        "template": error("ValidationException", 400, &["/overrideChannelParameters/text/inlineTemplateBody"]),
        "unknownMessage": error("ResourceNotFoundException", 400, &[]),
    });
    for (service, operation, name, failures) in queues {
        for (failure, _, _) in failures {
            assert!(failure.applies_to(service, operation));
            simulator.fail_next(operation, failure.clone());
        }
        expected[name] = failures
            .iter()
            .map(|(_, name, status)| error(name, *status, &[]))
            .collect();
    }
    let times = queues.map(|(_, _, _, failures)| failures.len().to_string());
    let arguments = [&["errors"], times.each_ref().map(String::as_str).as_slice()].concat();
    let found =
        tokio::task::block_in_place(|| boto3(&settings, "boto3_end_user_messaging.py", &arguments));
    assert_eq!(found, expected);
}
