//! The shipped binary under the runtime interface emulator.

use crate::function::{Function, Settings, eventually, file, settings, settings_with_ledger, tool};
use crate::table::Table;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::process::Command;
use std::time::{Duration, Instant};

const NUMBER: &str = "+14255550142";

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Without a ledger and with one, which lets a number have many codes.
fn without_and_with_ledger(simulator: &Simulator) -> [Settings; 2] {
    let mut with_ledger = settings_with_ledger(&simulator.url(), &Table::start().url());
    with_ledger.insert("SEND_LIMITS", "20/1h".to_owned());
    [settings(&simulator.url()), with_ledger]
}

/// Blocks on the emulator without blocking the simulator, which lives in the same process.
async fn with_function<T: Send + 'static>(
    settings: Settings,
    test: impl FnOnce(&Function) -> T + Send + 'static,
) -> (T, String) {
    tokio::task::spawn_blocking(move || {
        let function = Function::start(&settings);
        let result = test(&function);
        (result, function.log())
    })
    .await
    .unwrap()
}

fn assert_no_leak(simulator: &Simulator, log: &str) {
    for message in simulator.inbox() {
        assert!(
            !log.contains(message.to.trim_start_matches('+')),
            "the log holds the number"
        );
        assert!(!log.contains(&message.code), "the log holds a code: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn every_event_of_the_directory_is_answered() {
    for with_ledger in [false, true] {
        let simulator = simulator().await;
        let [without, with] = without_and_with_ledger(&simulator);
        let mut settings = if with_ledger { with } else { without };
        settings.insert("API_AUTH", "trusted".to_owned());
        let ((), log) = with_function(settings, move |function| {
            for door in ["rest-v1", "http-v2", "function-url", "alb"] {
                let (status, body) = function.request(&file(&format!("send.{door}")));
                assert_eq!(
                    (status, &body["destinationNumber"]),
                    (202, &json!("+1*******0142")),
                    "{door}: {body}"
                );
                let (status, body) = function.request(&file(&format!("verify.{door}")));
                assert!(
                    status == 422 && body["code"] == "invalid_code" || status == 200,
                    "{door}: {body}"
                );
                for route in ["status", "cancel"] {
                    let (status, body) = function.request(&file(&format!("{route}.{door}")));
                    assert_eq!(
                        status,
                        if with_ledger { 200 } else { 404 },
                        "{route}, {door}: {body}"
                    );
                }
            }
            let unlocked = function.invoke(&file("unlock").to_string());
            assert_eq!(
                unlocked["unlocked"] == json!(true),
                with_ledger,
                "{unlocked}"
            );
        })
        .await;
        assert_eq!(simulator.requests(Operation::Send).len(), 4);
        assert_no_leak(&simulator, &log);
    }
}

#[test]
#[ignore = "needs the tools that `make test` sets up"]
fn no_event_of_the_directory_is_left_out() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let routes = ["cancel", "send", "status", "verify"];
    let doors = ["alb", "function-url", "http-v2", "rest-v1"];
    let mut expected: Vec<std::ffi::OsString> = routes
        .iter()
        .flat_map(|route| {
            doors.map(|door| std::ffi::OsString::from(format!("{route}.{door}.json")))
        })
        .collect();
    expected.push("unlock.json".into());
    expected.sort();
    names.retain(|name| {
        !triggers()
            .iter()
            .any(|trigger| name.to_str() == Some(&format!("{trigger}.json")))
    });
    assert_eq!(names, expected);
}

/// The names of Cognito's events in the directory.
fn triggers() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let names = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .filter(|name| name.starts_with("cognito."))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn every_trigger_of_the_directory_comes_back_with_a_response_and_nothing_else_changed() {
    let simulator = simulator().await;
    let [_, mut settings] = without_and_with_ledger(&simulator);
    settings.insert("COGNITO_FLOOR_MS", "0".to_owned());
    settings.insert("COGNITO_PRE_SIGN_UP", "on".to_owned());
    assert!(triggers().len() >= 10, "{:?}", triggers());
    let ((), log) = with_function(settings, |function| {
        for trigger in triggers() {
            let mut event = file(&trigger);
            let mut answer = function.invoke(&event.to_string());
            if trigger == "cognito.pre-sign-up" {
                assert_eq!(
                    answer["errorType"], "SignUpRefused",
                    "nothing was verified: {answer}"
                );
                continue;
            }
            let response = answer
                .as_object_mut()
                .unwrap()
                .remove("response")
                .unwrap_or_else(|| panic!("{trigger}: {answer}"));
            event.as_object_mut().unwrap().remove("response");
            assert_eq!(answer, event, "{trigger}");
            assert!(
                response
                    .as_object()
                    .is_some_and(|response| !response.is_empty()),
                "{trigger}: {response}"
            );
        }
    })
    .await;
    assert_no_leak(&simulator, &log);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn hostile_events_leave_the_same_process_running() {
    let simulator = simulator().await;
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    let send = file("send.http-v2");
    let with_body = |body: &str, encoded: bool| {
        let mut event = send.clone();
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(encoded);
        event.to_string()
    };
    let mut odd = send.clone();
    odd["headers"]["host"] = json!("two words");
    odd["rawQueryString"] = json!("a=<\u{1}>|`é");
    let events = vec![
        (with_body("%%%", true), 400),
        (with_body(&"A".repeat(5 * 1024 * 1024), true), 413),
        (with_body(&"x".repeat(5 * 1024 * 1024), false), 413),
        (with_body("[]", false), 400),
        (with_body("\u{feff}{}", false), 400),
        (with_body(&deep, false), 413),
        (
            with_body(
                &format!(
                    "{{\"destinationNumber\":{}1{}}}",
                    "[".repeat(1000),
                    "]".repeat(1000)
                ),
                false,
            ),
            400,
        ),
        (with_body("{\"a\":1,\"a\":2}", false), 400),
        (
            send.to_string()
                .replace("\"body\":\"{", "\"body\":\"\\ud800{"),
            400,
        ),
        (
            send.to_string()
                .replacen('{', &format!("{{\"x\":{deep},"), 1),
            202,
        ),
        (odd.to_string(), 202),
        (
            json!({ "httpMethod": "POST", "path": "/otp/send" }).to_string(),
            400,
        ),
    ];
    let count = events.len();
    for settings in without_and_with_ledger(&simulator) {
        let events = events.clone();
        let (lines, log) = with_function(settings, move |function| {
            for (event, status) in &events {
                let answer = function.invoke(event);
                assert_eq!(
                    answer["statusCode"],
                    json!(status),
                    "{answer} for {event:.200}"
                );
            }
            for event in [
                "[]",
                "{}",
                "{\"Records\":[]}",
                "{\"triggerSource\":\"PostConfirmation_ConfirmSignUp\"}",
            ] {
                assert_eq!(
                    function.invoke(event)["errorType"],
                    "UnrecognizedEvent",
                    "{event}"
                );
            }
            eventually("every line is written", || {
                function.lines().len() >= count + 4
            });
            function.lines()
        })
        .await;
        assert!(
            lines.iter().all(|line| line["message"] == "request"),
            "no panic: {log}"
        );
        assert_eq!(lines.len(), count + 4, "{log}");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line["outcome"] == "unrecognized_event")
                .count(),
            4,
            "{log}"
        );
        let cold = lines
            .iter()
            .filter(|line| line["coldStart"] == json!(true))
            .count();
        assert_eq!(cold, 1, "the process was started once: {log}");
        assert_no_leak(&simulator, &log);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_hanging_provider_is_answered_within_the_functions_five_seconds() {
    let simulator = simulator().await;
    for settings in without_and_with_ledger(&simulator) {
        simulator.fail_next(Operation::Send, Failure::Hang);
        let ((), log) = with_function(settings, |function| {
            let started = Instant::now();
            let (status, body) = function.request(&file("send.http-v2"));
            assert_eq!(
                (status, &body["code"], &body["delivery"]),
                (504, &json!("provider_timeout"), &json!("unknown"))
            );
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "{:?}",
                started.elapsed()
            );
            assert_eq!(
                function.request(&file("send.http-v2")).0,
                202,
                "and the next one is served"
            );
        })
        .await;
        assert_no_leak(&simulator, &log);
    }
    assert_eq!(simulator.requests(Operation::Send).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn what_lambda_sees_is_json_with_a_time_and_a_level_on_every_line() {
    let simulator = simulator().await;
    for settings in without_and_with_ledger(&simulator) {
        let ((), log) = with_function(settings, |function| {
            function.request(&file("send.http-v2"));
            eventually("the line is written", || {
                function.lines().iter().any(|line| line["outcome"] == "ok")
            });
            for line in function.lines() {
                assert!(
                    line["timestamp"]
                        .as_str()
                        .is_some_and(|time| time.ends_with('Z')),
                    "{line}"
                );
                assert!(line["level"].is_string(), "{line}");
            }
        })
        .await;
        assert_no_leak(&simulator, &log);
    }
}

#[test]
#[ignore = "needs the tools that `make test` sets up"]
fn a_half_configured_function_does_not_start_and_says_everything_that_is_missing() {
    let output = Command::new(tool("OTP_E2E_BOOTSTRAP"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
        .env("CODE_LENGTH", "40")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["level"], "ERROR");
    let problems = line["problems"].as_str().unwrap();
    for name in [
        "PINPOINT_APPLICATION_ID",
        "ORIGINATION_IDENTITY",
        "BRAND_NAME",
        "ALLOWED_COUNTRIES",
        "CODE_LENGTH",
        "AWS_REGION",
    ] {
        assert!(problems.contains(name), "{name}: {problems}");
    }
}

#[test]
#[ignore = "needs the tools that `make test` sets up"]
fn the_binary_by_itself_says_what_to_do_instead() {
    let output = Command::new(tool("OTP_E2E_BOOTSTRAP"))
        .env_clear()
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("make run")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn two_execution_environments_share_a_verification() {
    let simulator = simulator().await;
    for settings in without_and_with_ledger(&simulator) {
        with_function(settings.clone(), |function| {
            assert_eq!(function.request(&file("send.http-v2")).0, 202)
        })
        .await;
        let otp = simulator.newest_to(NUMBER).unwrap().code;
        let ((), log) = with_function(settings, move |function| {
        let mut event = file("verify.http-v2");
        let body =
            json!({ "destinationNumber": NUMBER, "otp": otp, "brandName": "ExampleCorp", "source": "CreateAccount" });
        event["body"] = json!(body.to_string());
        assert_eq!(
            function.request(&event),
            (
                200,
                json!({
                    "valid": true, "referenceId": "46bb87b047dd9f34b9cbe4011325b15b", "status": "verified",
                })
            )
        );
    })
    .await;
        assert_no_leak(&simulator, &log);
    }
}
