//! Scenario numbers choose an outcome, and other numbers do not.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use simulator::{Failure, Operation, Scenario, Service, Simulator, scenarios, sized};

use crate::client::{Answer, SIGNATURE, call, get, request, request_within, send_body, started};

const SEND: &str = "/v1/apps/app/otp";
const VERIFY: &str = "/v1/apps/app/verify-otp";

/// The outcome for a client.
#[derive(Clone, Copy, Debug)]
enum Sees {
    /// 200 with this `DeliveryStatus`, and with these words in the `StatusMessage`.
    Delivery(&'static str, &'static str),
    /// An exception with this status and name.
    Exception(u16, &'static str),
    Late,
    Silence,
    Closed,
    Invalid,
}
use Sees::{Closed, Delivery, Exception, Invalid, Late, Silence};

/// The outcome of a send to each number, and whether the message arrives.
const SENDS: [(&str, Sees, bool); 14] = [
    ("10", Delivery("OPT_OUT", "opted out"), false),
    ("11", Delivery("PERMANENT_FAILURE", "unreachable"), false),
    ("12", Delivery("PERMANENT_FAILURE", "is opted out"), false),
    ("13", Delivery("THROTTLED", "Rate exceeded"), false),
    ("14", Delivery("TEMPORARY_FAILURE", ""), false),
    ("15", Delivery("UNKNOWN_FAILURE", ""), false),
    ("16", Delivery("DUPLICATE", ""), false),
    ("50", Exception(500, "InternalServerErrorException"), false),
    ("51", Exception(429, "TooManyRequestsException"), false),
    ("52", Exception(403, "AccessDeniedException"), false),
    ("53", Exception(400, "BadRequestException"), false),
    ("54", Late, true),
    ("55", Silence, true),
    ("56", Closed, true),
];

/// The outcome of a verify for each number, and whether the guess counts.
const VERIFIES: [(&str, Sees, bool); 8] = [
    ("60", Exception(500, "InternalServerErrorException"), false),
    ("61", Exception(429, "TooManyRequestsException"), false),
    ("62", Exception(403, "AccessDeniedException"), false),
    ("63", Exception(400, "BadRequestException"), false),
    ("64", Late, true),
    ("65", Silence, true),
    ("66", Closed, true),
    ("67", Invalid, true),
];

/// A late response takes this long.
const LATE: Duration = Duration::from_secs(3);

/// How long a client waits. If the simulator is silent, the test waits all this time.
fn patience(expected: Sees) -> Duration {
    if matches!(expected, Silence) {
        LATE
    } else {
        Duration::from_secs(20)
    }
}

fn ask(simulator: &Simulator, path: &str, body: &Value, patience: Duration) -> io::Result<Answer> {
    let headers = [("authorization", SIGNATURE)];
    let body = body.to_string();
    request_within(
        patience,
        simulator.address,
        "POST",
        path,
        &headers,
        body.as_bytes(),
    )
}

fn send(simulator: &Simulator, to: &str) -> io::Result<Answer> {
    send_within(patience(Invalid), simulator, to)
}

fn send_within(patience: Duration, simulator: &Simulator, to: &str) -> io::Result<Answer> {
    ask(
        simulator,
        SEND,
        &send_body(json!({ "DestinationIdentity": to })),
        patience,
    )
}

fn verify(simulator: &Simulator, to: &str, otp: &str) -> io::Result<Answer> {
    verify_within(patience(Invalid), simulator, to, otp)
}

fn verify_within(
    patience: Duration,
    simulator: &Simulator,
    to: &str,
    otp: &str,
) -> io::Result<Answer> {
    ask(
        simulator,
        VERIFY,
        &json!({"DestinationIdentity": to, "ReferenceId": "signup", "Otp": otp}),
        patience,
    )
}

/// Asserts that a send has its normal outcome. Returns the code.
fn assert_sends(simulator: &Simulator, to: &str) -> String {
    let answer = send(simulator, to).unwrap();
    assert_eq!(
        answer.json()["Result"][to]["DeliveryStatus"],
        "SUCCESSFUL",
        "{to}"
    );
    simulator.newest_to(to).unwrap().code
}

fn assert_verifies(simulator: &Simulator, to: &str, code: &str) {
    assert_eq!(
        verify(simulator, to, "wrong").unwrap().json(),
        json!({"Valid": false}),
        "{to}"
    );
    assert_eq!(
        verify(simulator, to, code).unwrap().json(),
        json!({"Valid": true}),
        "{to}"
    );
}

fn assert_sees(
    answer: io::Result<Answer>,
    after: Duration,
    expected: Sees,
    to: &str,
    normal: fn(&Answer) -> bool,
) {
    let late = after >= LATE;
    assert_eq!(late, matches!(expected, Late | Silence), "{to}: {after:?}");
    match (expected, answer) {
        (Delivery(status, message), Ok(answer)) => {
            let result = &answer.json()["Result"][to];
            assert_eq!(
                (answer.status, result["DeliveryStatus"].as_str()),
                (200, Some(status)),
                "{to}"
            );
            assert!(
                result["StatusMessage"].as_str().unwrap().contains(message),
                "{to}: {result}"
            );
        }
        (Exception(status, name), Ok(answer)) => {
            assert_eq!(
                (answer.status, answer.header("x-amzn-errortype")),
                (status, Some(name)),
                "{to}"
            );
        }
        (Late, Ok(answer)) => assert!(answer.status == 200 && normal(&answer), "{to}: {answer:?}"),
        (Silence, Err(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{to}"),
        (Closed, Err(error)) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{to}"),
        (Invalid, Ok(answer)) => assert_eq!(answer.json(), json!({"Valid": false}), "{to}"),
        (_, answer) => panic!("{to}: {expected:?}, but {answer:?}"),
    }
}

#[test]
fn the_list_has_exactly_these_numbers() {
    let expected = SENDS
        .map(|(ending, ..)| (Operation::Send, ending))
        .into_iter();
    let expected = expected.chain(VERIFIES.map(|(ending, ..)| (Operation::Verify, ending)));
    let expected: Vec<_> = expected
        .map(|(operation, ending)| (operation, format!("+142555501{ending}")))
        .collect();
    let listed = scenarios().iter().map(
        |Scenario {
             operation, number, ..
         }| (*operation, (*number).to_owned()),
    );
    assert_eq!(listed.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn each_send_number_has_its_outcome_every_time_and_verifies_normally() {
    let simulator = started().await;
    std::thread::scope(|scope| {
        for (place, (ending, expected, arrives)) in SENDS.into_iter().enumerate() {
            let simulator = &simulator;
            scope.spawn(move || {
                // Any area code works: here an American, a Canadian and a Jamaican one.
                let to = format!("{}55501{ending}", ["+1425", "+1416", "+1876"][place % 3]);
                let slow = matches!(expected, Late | Silence);
                for time in 1..=if slow { sized(1, 2) } else { 2 } {
                    let asked = Instant::now();
                    let answer = send_within(patience(expected), simulator, &to);
                    let normal = |answer: &Answer| answer.text().contains("SUCCESSFUL");
                    assert_sees(answer, asked.elapsed(), expected, &to, normal);
                    let texts = simulator
                        .inbox()
                        .iter()
                        .filter(|message| message.to == to)
                        .count();
                    assert_eq!(texts, if arrives { time } else { 0 }, "{to}");
                }
                if arrives {
                    assert_verifies(simulator, &to, &simulator.newest_to(&to).unwrap().code);
                } else {
                    assert_eq!(
                        verify(simulator, &to, "123456").unwrap().json(),
                        json!({"Valid": false}),
                        "{to}"
                    );
                }
            });
        }
    });
}

#[tokio::test]
async fn each_verify_number_has_its_outcome_every_time_and_gets_its_message_normally() {
    let simulator = started().await;
    std::thread::scope(|scope| {
        for (place, (ending, expected, counts)) in VERIFIES.into_iter().enumerate() {
            let simulator = &simulator;
            scope.spawn(move || {
                let to = format!("{}55501{ending}", ["+1425", "+1416", "+1876"][place % 3]);
                let code = assert_sends(simulator, &to);
                let remembered = || {
                    simulator
                        .codes()
                        .into_iter()
                        .find(|issued| issued.key.to == to)
                        .unwrap()
                };
                let asked = Instant::now();
                let answer = verify_within(patience(expected), simulator, &to, "wrong");
                let normal = |answer: &Answer| answer.text() == r#"{"Valid":false}"#;
                assert_sees(answer, asked.elapsed(), expected, &to, normal);
                assert_eq!(
                    remembered().attempts_left,
                    if counts { 2 } else { 3 },
                    "{to}"
                );

                let asked = Instant::now();
                let answer = verify_within(patience(expected), simulator, &to, &code);
                let normal = |answer: &Answer| answer.text() == r#"{"Valid":true}"#;
                assert_sees(answer, asked.elapsed(), expected, &to, normal);
                assert_eq!(
                    remembered().used,
                    counts && !matches!(expected, Invalid),
                    "{to}"
                );
                if matches!(expected, Invalid) {
                    assert_eq!(
                        remembered().attempts_left,
                        1,
                        "a right guess counts as a wrong one"
                    );
                }
            });
        }
    });
}

/// The outcomes at End User Messaging that differ from those at Pinpoint by more than a name.
const ELSEWHERE: [(&str, Sees); 7] = [
    ("10", Exception(409, "ConflictException")),
    ("11", Exception(400, "ValidationException")),
    ("12", Exception(409, "ConflictException")),
    ("13", Exception(429, "ThrottlingException")),
    ("14", Exception(503, "ServiceUnavailableException")),
    ("15", Exception(500, "InternalServerException")),
    ("16", Exception(409, "ConflictException")),
];

#[tokio::test]
async fn each_number_has_the_nearest_outcome_at_end_user_messaging() {
    let simulator = started().await;
    let service = Service::EndUserMessaging;
    let ask =
        |patience, operation, body: &Value| call(patience, &simulator, service, operation, body);
    let send = |patience, to: &str| {
        ask(
            patience,
            Operation::Send,
            &json!({
                "channel": "TEXT", "destinationIdentity": to, "originationIdentity": "+12065550100",
                "overrideChannelParameters": {"text": {"inlineTemplateBody": "{{code}}"}},
            }),
        )
    };
    let at_pinpoint = SENDS.into_iter().chain(VERIFIES);
    std::thread::scope(|scope| {
        for (place, (ending, at_pinpoint, happens)) in at_pinpoint.enumerate() {
            let (simulator, ask, send) = (&simulator, &ask, &send);
            scope.spawn(move || {
                let elsewhere = ELSEWHERE
                    .iter()
                    .find(|(number, _)| *number == ending)
                    .map(|(_, meets)| *meets);
                let expected = match (elsewhere, at_pinpoint) {
                    (Some(expected), _) => expected,
                    (_, Exception(500, _)) => Exception(500, "InternalServerException"),
                    (_, Exception(429, _)) => Exception(429, "ThrottlingException"),
                    (_, Exception(400, _)) => Exception(400, "ValidationException"),
                    (_, same) => same,
                };
                let to = format!("{}55501{ending}", ["+1425", "+1416", "+1876"][place % 3]);
                let is_send = place < SENDS.len();
                let code = if is_send {
                    None
                } else {
                    assert_eq!(send(patience(Invalid), &to).unwrap().status, 200, "{to}");
                    Some(simulator.newest_to(&to).unwrap().code)
                };
                let asked = Instant::now();
                let answer = match &code {
                    None => send(patience(expected), &to),
                    Some(code) => ask(
                        patience(expected),
                        Operation::Verify,
                        &json!({"destinationIdentity": to, "code": code}),
                    ),
                };
                match (expected, answer) {
                    (Invalid, Ok(answer)) => {
                        assert_eq!(answer.json(), json!({"status": "INVALID"}), "{to}");
                    }
                    (expected, answer) => {
                        let normal = |answer: &Answer| {
                            answer.json()["status"] == "VALID"
                                || answer.json()["messageId"].is_string()
                        };
                        assert_sees(answer, asked.elapsed(), expected, &to, normal);
                    }
                }
                let issued = simulator
                    .codes()
                    .into_iter()
                    .find(|issued| issued.key.to == to);
                if is_send {
                    assert_eq!(issued.is_some(), happens, "{to}");
                } else {
                    assert_eq!(
                        issued.unwrap().used,
                        happens && !matches!(expected, Invalid),
                        "{to}"
                    );
                }
            });
        }
    });
}

#[tokio::test]
async fn all_other_numbers_are_ordinary() {
    let simulator = started().await;
    let listed: BTreeSet<_> = SENDS
        .map(|row| row.0)
        .into_iter()
        .chain(VERIFIES.map(|row| row.0))
        .collect();
    let others = (0..100)
        .map(|line| format!("{line:02}"))
        .filter(|line| !listed.contains(line.as_str()));
    let mut numbers: Vec<_> = others.map(|line| format!("+142555501{line}")).collect();
    assert_eq!(numbers.len(), 100 - 22);
    // Numbers from another block, without an area code, too long, too short, or from another country.
    let near = "+14255550210 +14255560110 +14254550110 +10255550110 +11255550110 +142555501100 +1425555011 +15550110 \
                +5550110 +24255550110 +447255550110 +44255550110 +114255550110";
    numbers.extend(near.split(' ').map(str::to_owned));
    for to in numbers {
        let code = assert_sends(&simulator, &to);
        assert_verifies(&simulator, &to, &code);
    }
    // A spelling that the service refuses is no scenario number either.
    for to in ["+1 425 555 0110", "14255550110", "+122é55550110", "+1", ""] {
        assert_eq!(send(&simulator, to).unwrap().status, 400, "{to}");
        assert_eq!(
            verify(&simulator, to, "123456").unwrap().json(),
            json!({"Valid": false}),
            "{to}"
        );
    }
}

#[tokio::test]
async fn queued_failures_take_precedence() {
    let simulator = started().await;
    let (opted_out, wrong) = ("+14255550110", "+14255550167");
    simulator.fail_next(Operation::Send, Failure::Successful);
    simulator.fail_next(Operation::Send, Failure::NotFound);
    assert_sends(&simulator, opted_out);
    assert_eq!(send(&simulator, opted_out).unwrap().status, 404);
    let answer = send(&simulator, opted_out).unwrap().json();
    assert_eq!(answer["Result"][opted_out]["DeliveryStatus"], "OPT_OUT");

    let code = assert_sends(&simulator, wrong);
    simulator.fail_next(Operation::Verify, Failure::Forbidden);
    simulator.fail_next(Operation::Verify, Failure::Wrapped);
    assert_eq!(verify(&simulator, wrong, &code).unwrap().status, 403);
    let answer = verify(&simulator, wrong, &code).unwrap().json();
    assert_eq!(answer, json!({"VerificationResponse": {"Valid": true}}));
    let code = assert_sends(&simulator, wrong);
    assert_eq!(
        verify(&simulator, wrong, &code).unwrap().json(),
        json!({"Valid": false})
    );
}

#[tokio::test]
async fn an_unauthorized_request_is_refused_as_for_any_number() {
    let simulator = started().await;
    for to in ["+14255550150", "+14255550155"] {
        let body = send_body(json!({ "DestinationIdentity": to })).to_string();
        let unsigned = request(simulator.address, "POST", SEND, &[], body.as_bytes()).unwrap();
        assert_eq!(
            unsigned.header("x-amzn-errortype"),
            Some("MissingAuthenticationTokenException")
        );
        simulator.know_only_applications(["other"]);
        assert_eq!(send(&simulator, to).unwrap().status, 404);
        simulator.reset();
    }
    assert_eq!(
        send(&simulator, "+14255550150").unwrap().status,
        500,
        "a reset keeps all scenario numbers"
    );
}

#[tokio::test]
async fn the_control_api_lists_the_scenarios() {
    let simulator = started().await;
    let answer = get(&simulator, "/simulator/scenarios");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let listed = answer.json()["scenarios"].as_array().unwrap().clone();
    let numbers: Vec<_> = listed
        .iter()
        .map(|row| row["number"].as_str().unwrap())
        .collect();
    assert_eq!(
        numbers,
        scenarios()
            .iter()
            .map(|scenario| scenario.number)
            .collect::<Vec<_>>()
    );
    for (number, operation, outcome, sees) in [
        ("+14255550110", "send", json!("opt-out"), "200, OPT_OUT"),
        (
            "+14255550164",
            "verify",
            json!({"slow": 3000}),
            "the normal response, late",
        ),
        (
            "+14255550167",
            "verify",
            json!("every-guess-is-wrong"),
            "200, Valid is false, whatever the guess",
        ),
    ] {
        let expected =
            json!({"number": number, "operation": operation, "outcome": outcome, "sees": sees});
        assert!(listed.contains(&expected), "{expected}");
    }
}

#[tokio::test]
async fn the_scenarios_of_another_service_can_be_listed_and_described() {
    let simulator = started().await;
    let number =
        |path: &str, place: usize| get(&simulator, path).json()["scenarios"][place].clone();
    let elsewhere = json!({"number": "+14255550113", "operation": "send", "outcome": "too-many-requests",
        "sees": "429 ThrottlingException"});
    assert_eq!(number("/simulator/scenarios", 3)["sees"], "200, THROTTLED");
    assert_eq!(
        number("/simulator/scenarios?service=end-user-messaging", 3),
        elsewhere
    );
    let wrong = number("/simulator/scenarios?service=end-user-messaging", 21);
    assert_eq!(wrong["sees"], "200, INVALID, whatever the guess");

    simulator.describe(Service::EndUserMessaging);
    simulator.reset();
    assert_eq!(number("/simulator/scenarios", 3), elsewhere);
    assert_eq!(
        number("/simulator/scenarios?service=pinpoint", 3)["sees"],
        "200, THROTTLED"
    );
    let available = |path: &str| get(&simulator, path).json()["available"]["send"].clone();
    let conflict = json!({"failure": "conflict", "sees": "409 ConflictException"});
    assert!(
        available("/simulator/failures")
            .as_array()
            .unwrap()
            .contains(&conflict)
    );
    assert!(
        !available("/simulator/failures?service=pinpoint")
            .as_array()
            .unwrap()
            .contains(&conflict)
    );
    assert_eq!(
        get(&simulator, "/simulator/failures?service=sns").status,
        400
    );
}

/// The rows of the table below the heading: send, verify, and what the client sees.
fn printed(text: &str) -> Vec<[String; 3]> {
    let (_, section) = text.split_once("# Scenario numbers\n").unwrap();
    let (_, table) = section.split_once("|---|---|---|").unwrap();
    table
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix("| "))
        .map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
            std::array::from_fn(|_| cells.next().unwrap())
        })
        .collect()
}

#[test]
fn the_docs_list_exactly_the_scenarios() {
    let of_send = scenarios()
        .iter()
        .filter(|scenario| scenario.operation == Operation::Send);
    let mut of_verify: Vec<_> = scenarios()
        .iter()
        .filter(|scenario| scenario.operation == Operation::Verify)
        .collect();
    let mut expected = Vec::new();
    for scenario in of_send {
        // A send and a verify with the same outcome share a row.
        let same = of_verify
            .iter()
            .position(|verify| verify.outcome == scenario.outcome);
        let verify = same.map_or("–", |place| of_verify.remove(place).number);
        expected.push(
            [
                scenario.number,
                verify,
                scenario.outcome.sees(Service::Pinpoint),
            ]
            .map(str::to_owned),
        );
    }
    expected.extend(of_verify.iter().map(|verify| {
        ["–", verify.number, verify.outcome.sees(Service::Pinpoint)].map(str::to_owned)
    }));

    assert_eq!(printed(include_str!("../../../docs/desk.md")), expected);
    let documentation: String = include_str!("../../src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
        .collect();
    assert_eq!(printed(&documentation), expected);
}
