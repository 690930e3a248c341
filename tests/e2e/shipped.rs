//! The shipped binary under the runtime interface emulator.

use crate::function::{
    Function, Settings, contains_code, eventually, file, settings, settings_with_ledger, tool,
};
use crate::table::Table;
use otp_lambda::phone::METADATA_VERSION;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::process::Command;
use std::time::{Duration, Instant};

const NUMBER: &str = "+14255550142";

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Settings without a ledger, and with one that allows many codes for a number.
fn without_and_with_ledger(simulator: &Simulator) -> [Settings; 2] {
    let mut with_ledger = settings_with_ledger(&simulator.url(), &Table::start().url());
    with_ledger.insert("SEND_LIMITS", "20/1h".to_owned());
    [settings(&simulator.url()), with_ledger]
}

/// Starts a function and runs a blocking test on it. Returns the result of the test, and the log of the function. The
/// simulator in this process keeps running while the test blocks.
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
            "the log contains the number"
        );
        assert!(
            !contains_code(log, &message.code),
            "the log contains a code: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn every_event_in_the_folder_gets_a_response() {
    for with_ledger in [false, true] {
        let simulator = simulator().await;
        let [without, with] = without_and_with_ledger(&simulator);
        let mut settings = if with_ledger { with } else { without };
        settings.insert("API_AUTH", "trusted".to_owned());
        let ((), log) = with_function(settings, move |function| {
            for shape in ["rest-v1", "http-v2", "function-url", "alb"] {
                let (status, body) = function.request(&file(&format!("send.{shape}")));
                assert_eq!(
                    (status, &body["destinationNumber"]),
                    (202, &json!("+1*******0142")),
                    "{shape}: {body}"
                );
                let (status, body) = function.request(&file(&format!("verify.{shape}")));
                assert!(
                    status == 422 && body["code"] == "invalid_code" || status == 200,
                    "{shape}: {body}"
                );
                for route in ["status", "cancel"] {
                    let (status, body) = function.request(&file(&format!("{route}.{shape}")));
                    assert_eq!(
                        status,
                        if with_ledger { 200 } else { 404 },
                        "{route}, {shape}: {body}"
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
fn the_folder_has_an_event_for_each_route_and_shape() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let routes = ["cancel", "send", "status", "verify"];
    let shapes = ["alb", "function-url", "http-v2", "rest-v1"];
    let mut expected: Vec<std::ffi::OsString> = routes
        .iter()
        .flat_map(|route| {
            shapes.map(|shape| std::ffi::OsString::from(format!("{route}.{shape}.json")))
        })
        .collect();
    // `env.json` has the variables for `sam local invoke`.
    expected.extend(["env.json", "unlock.json"].map(Into::into));
    expected.sort();
    names.retain(|name| {
        !triggers()
            .iter()
            .any(|trigger| name.to_str() == Some(&format!("{trigger}.json")))
    });
    assert_eq!(names, expected);
}

/// The names of the Cognito events in the folder.
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
async fn triggers_change_only_the_response_of_each_event() {
    let simulator = simulator().await;
    let [_, mut settings] = without_and_with_ledger(&simulator);
    settings.insert("SIGN_IN_SHARE", "50".to_owned());
    settings.insert("COGNITO_FLOOR_MS", "0".to_owned());
    settings.insert("COGNITO_PRE_SIGN_UP", "on".to_owned());
    settings.insert("REFERENCE_ID", "random".to_owned());
    assert!(triggers().len() >= 10, "{:?}", triggers());
    let ((), log) = with_function(settings, |function| {
        for trigger in triggers() {
            let mut event = file(&trigger);
            let mut returned = function.invoke(&event.to_string());
            if trigger == "cognito.pre-sign-up" {
                assert_eq!(
                    returned["errorType"], "SignUpRefused",
                    "nothing was verified: {returned}"
                );
                continue;
            }
            let response = returned
                .as_object_mut()
                .unwrap()
                .remove("response")
                .unwrap_or_else(|| panic!("{trigger}: {returned}"));
            event.as_object_mut().unwrap().remove("response");
            assert_eq!(returned, event, "{trigger}");
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

/// Events with hostile bodies and members, and the status of the response to each.
fn hostile_events() -> Vec<(String, u16)> {
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
    vec![
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
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn hostile_events_do_not_end_the_process() {
    let simulator = simulator().await;
    let events = hostile_events();
    let count = events.len();
    for settings in without_and_with_ledger(&simulator) {
        let events = events.clone();
        let has_ledger = settings.contains_key("LEDGER_TABLE");
        let (lines, log) = with_function(settings, move |function| {
            for (event, status) in &events {
                let response = function.invoke(event);
                assert_eq!(
                    response["statusCode"],
                    json!(status),
                    "{response} for {event:.200}"
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
                function.lines().len() >= count + 5
            });
            function.lines()
        })
        .await;
        let (starts, lines): (Vec<Value>, Vec<Value>) = lines
            .into_iter()
            .partition(|line| line["message"] == "start");
        assert_eq!(starts.len(), 1, "one start: {log}");
        assert_eq!(starts[0]["libphonenumber"], METADATA_VERSION);
        // Without a ledger, nothing limits guesses.
        let risk = starts[0]["guessRisk"].as_str();
        assert_eq!(
            risk.is_some_and(|risk| risk.ends_with("/1d")),
            has_ledger,
            "{log}"
        );
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
async fn a_hanging_provider_gives_a_timeout_within_five_seconds() {
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
                "the next request works"
            );
        })
        .await;
        assert_no_leak(&simulator, &log);
    }
    assert_eq!(simulator.requests(Operation::Send).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn every_log_line_is_json_with_a_time_and_a_level() {
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
fn a_function_with_missing_settings_reports_all_of_them_and_does_not_start() {
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
fn the_binary_outside_lambda_says_what_to_run_instead() {
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
            assert_eq!(function.request(&file("send.http-v2")).0, 202);
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
