//! Trigger events that AWS delivers and `MiniStack` does not: for unknown users, after a password, before a sign-up,
//! with repeated deliveries, and with client metadata only where AWS passes it on.
//!
//! This file plays the user pool. The function is the shipped binary with a ledger, under the runtime emulator.

use crate::function::{Function, Settings, file, settings_with_ledger, wrong};
use crate::table::Table;
use serde_json::{Map, Value, json};
use simulator::{Operation, Simulator};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const FLOOR: Duration = Duration::from_millis(300);

/// A user pool that delivers each trigger `deliveries` times. If AWS gets no response to a trigger within five seconds,
/// AWS delivers the trigger again.
struct Pool {
    function: Function,
    deliveries: usize,
    slowest: Mutex<Duration>,
}

/// A sign-in with the name of a user, or with a name that no user has.
#[derive(Clone)]
struct SignIn {
    name: String,
    attributes: Value,
    not_found: bool,
    /// The metadata that the app sends with its answers. When a sign-in begins, AWS does not pass metadata on.
    client_metadata: Value,
    session: Vec<Value>,
    shown: Map<String, Value>,
    private: Value,
    metadata: Value,
}

impl SignIn {
    fn of(number: &str) -> Self {
        Self {
            name: format!("sub-of-{number}"),
            attributes: json!({ "phone_number": number, "phone_number_verified": "true", "sub": "x" }),
            not_found: false,
            client_metadata: Value::Null,
            session: Vec::new(),
            shown: Map::new(),
            private: Value::Null,
            metadata: Value::Null,
        }
    }

    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attributes: json!({}),
            not_found: true,
            ..Self::of("+14255550100")
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Tokens,
    Failed,
    Asked,
}

impl Pool {
    fn start(settings: &Settings, deliveries: usize) -> Self {
        Self {
            function: Function::start(settings),
            deliveries,
            slowest: Mutex::default(),
        }
    }

    /// The responses to all deliveries of a trigger.
    fn deliver(&self, event: &Value) -> Vec<Value> {
        (0..self.deliveries)
            .map(|_| {
                let started = Instant::now();
                let mut returned = self.function.invoke(&event.to_string());
                let mut slowest = self.slowest.lock().unwrap();
                *slowest = slowest.max(started.elapsed());
                let response = returned.as_object_mut().unwrap().remove("response");
                let mut others = event.clone();
                others.as_object_mut().unwrap().remove("response");
                assert_eq!(returned, others, "only the response changes");
                response.unwrap_or_else(|| panic!("{returned}"))
            })
            .collect()
    }

    fn event(name: &str, sign_in: &SignIn, fields: Value) -> Value {
        let mut event = file(name);
        event["userName"] = json!(sign_in.name);
        let request = event["request"].as_object_mut().unwrap();
        request.remove("clientMetadata");
        request.insert("userAttributes".to_owned(), sign_in.attributes.clone());
        request.insert("userNotFound".to_owned(), json!(sign_in.not_found));
        request.insert("session".to_owned(), json!(sign_in.session));
        // AWS passes on metadata only with an answer. Without an answer, the field is null or missing.
        if !sign_in.session.is_empty() || name == "cognito.verify" {
            request.insert("clientMetadata".to_owned(), sign_in.client_metadata.clone());
        }
        let Value::Object(fields) = fields else {
            unreachable!("the fields are an object")
        };
        request.extend(fields);
        event
    }

    /// Calls Define, and then Create if Define asks for the custom challenge.
    fn next(&self, sign_in: &mut SignIn) -> Next {
        let decisions = self.deliver(&Self::event("cognito.define", sign_in, json!({})));
        assert!(
            decisions.iter().all(|decision| *decision == decisions[0]),
            "{decisions:?}"
        );
        match (
            &decisions[0]["issueTokens"],
            &decisions[0]["failAuthentication"],
        ) {
            (Value::Bool(true), Value::Bool(false)) => return Next::Tokens,
            (Value::Bool(false), Value::Bool(true)) => return Next::Failed,
            _ => assert_eq!(decisions[0]["challengeName"], "CUSTOM_CHALLENGE"),
        }
        // AWS uses the last response. The earlier responses came too late.
        let challenge = self
            .deliver(&Self::event("cognito.create", sign_in, json!({})))
            .pop()
            .unwrap();
        sign_in
            .shown
            .clone_from(challenge["publicChallengeParameters"].as_object().unwrap());
        sign_in.private = challenge["privateChallengeParameters"].clone();
        sign_in.metadata = challenge["challengeMetadata"].clone();
        Next::Asked
    }

    fn begin(&self, sign_in: &mut SignIn) -> String {
        assert_eq!(self.next(sign_in), Next::Asked);
        seen(sign_in)
    }

    fn answer(&self, sign_in: &mut SignIn, answer: &str) -> Next {
        let fields =
            json!({ "privateChallengeParameters": sign_in.private, "challengeAnswer": answer });
        let mut event = Self::event("cognito.verify", sign_in, fields);
        event["request"].as_object_mut().unwrap().remove("session");
        let verdicts = self.deliver(&event);
        assert!(
            verdicts.iter().all(|verdict| *verdict == verdicts[0]),
            "a repeated delivery gets the same response: {verdicts:?}"
        );
        sign_in.session.push(json!({
            "challengeName": "CUSTOM_CHALLENGE",
            "challengeResult": verdicts[0]["answerCorrect"],
            "challengeMetadata": sign_in.metadata,
        }));
        self.next(sign_in)
    }
}

/// The part of a challenge that the app sees, without values that change from run to run.
fn seen(sign_in: &SignIn) -> String {
    format!(
        "{}, {} left",
        sign_in.shown["state"].as_str().unwrap(),
        sign_in.shown["attemptsLeft"].as_str().unwrap()
    )
}

fn settings(simulator: &Simulator, table: &Table) -> Settings {
    let mut settings = settings_with_ledger(&simulator.url(), &table.url());
    settings.insert("SIGN_IN_SHARE", "50".to_owned());
    settings.insert("COGNITO_FLOOR_MS", FLOOR.as_millis().to_string());
    settings.insert("SEND_LIMITS", "3/10m".to_owned());
    settings
}

fn messages(simulator: &Simulator, number: &str) -> usize {
    simulator
        .inbox()
        .iter()
        .filter(|message| message.to == number)
        .count()
}

fn code(simulator: &Simulator, number: &str) -> String {
    simulator.newest_to(number).unwrap().code
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
async fn repeated_deliveries_of_triggers_send_one_message() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let settings = settings(&simulator, &table);
    tokio::task::block_in_place(|| {
        for deliveries in [1, 3] {
            let pool = Pool::start(&settings, deliveries);
            // If the first response was lost, the code belongs to another session, and this session adopts it.
            let first = if deliveries == 1 {
                "sent, 3 left"
            } else {
                "adopted, 2 left"
            };
            let number = |last: usize| format!("+1425555{:04}", 1000 * deliveries + last);

            let mut right_code = SignIn::of(&number(1));
            assert_eq!(pool.begin(&mut right_code), first);
            assert_eq!(
                pool.answer(&mut right_code, &code(&simulator, &number(1))),
                Next::Tokens
            );

            let mut one_wrong = SignIn::of(&number(2));
            pool.begin(&mut one_wrong);
            let right = code(&simulator, &number(2));
            let guesses = simulator.requests(Operation::Verify).len();
            assert_eq!(pool.answer(&mut one_wrong, &wrong(&right, 0)), Next::Asked);
            let left = if deliveries == 1 {
                "try_again, 2 left"
            } else {
                "try_again, 1 left"
            };
            assert_eq!(
                seen(&one_wrong),
                left,
                "repeated deliveries of a guess cost one attempt"
            );
            assert_eq!(simulator.requests(Operation::Verify).len(), guesses + 1);
            assert_eq!(pool.answer(&mut one_wrong, &right), Next::Tokens);
            // The same code does not work in another session.
            let mut another = SignIn {
                session: Vec::new(),
                ..one_wrong.clone()
            };
            pool.begin(&mut another);
            assert_eq!(pool.answer(&mut another, &right), Next::Asked);

            let mut lost = SignIn::of(&number(3));
            pool.begin(&mut lost);
            let mut again = SignIn::of(&number(3));
            assert_eq!(pool.begin(&mut again), "adopted, 2 left");
            assert_eq!(
                pool.answer(&mut again, &code(&simulator, &number(3))),
                Next::Tokens
            );

            let mut resend = SignIn::of(&number(4));
            pool.begin(&mut resend);
            assert_eq!(pool.answer(&mut resend, "resend"), Next::Asked);
            assert_eq!(
                messages(&simulator, &number(4)),
                2,
                "repeated deliveries of a resend send one message"
            );
            assert_eq!(
                pool.answer(&mut resend, &code(&simulator, &number(4))),
                Next::Tokens
            );

            let counts = [1, 3].map(|last| messages(&simulator, &number(last)));
            // The sign-in after the used code has sent a message of its own.
            let one_wrong = messages(&simulator, &number(2)) - 1;
            assert_eq!((counts, one_wrong), ([1, 1], 1));
            let slowest = *pool.slowest.lock().unwrap();
            println!(
                "each trigger {deliveries} times: messages for a right code {}, one wrong {one_wrong}, lost session {}; slowest {} ms",
                counts[0],
                counts[1],
                slowest.as_millis()
            );
            assert!(
                (FLOOR..Duration::from_secs(4)).contains(&slowest),
                "{slowest:?}"
            );
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn unknown_users_see_the_same_as_users() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let settings = settings(&simulator, &table);
    tokio::task::block_in_place(|| {
        let pool = Pool::start(&settings, 1);
        let script = |mut sign_in: SignIn| {
            let mut steps = vec![pool.begin(&mut sign_in)];
            let mut fields: Vec<_> = sign_in.shown.keys().cloned().collect();
            fields.sort();
            for answer in ["000000", "no code", "resend", "000001", "000002"] {
                let next = pool.answer(&mut sign_in, answer);
                steps.push(if next == Next::Asked {
                    seen(&sign_in)
                } else {
                    format!("{next:?}")
                });
            }
            steps.push(format!("{:?}", pool.answer(&mut sign_in, "000003")));
            (steps, fields)
        };
        let real = script(SignIn::of("+14255550142"));
        for other in [
            SignIn::unknown("unknown"),
            SignIn::unknown("+14255550147"),
            SignIn {
                attributes: Value::Null,
                ..SignIn::unknown("null attributes")
            },
            SignIn {
                attributes: json!({ "phone_number": "+14255550148" }),
                ..SignIn::of("+14255550148")
            },
        ] {
            let name = other.name.clone();
            assert_eq!(script(other), real, "{name}");
        }
        assert_eq!(real.0[0], "sent, 3 left");
        assert_eq!(real.0.last().map(String::as_str), Some("Failed"));
        let others = simulator
            .inbox()
            .iter()
            .filter(|message| message.to != "+14255550142")
            .count();
        assert_eq!(
            (others, messages(&simulator, "+14255550142")),
            (0, 2),
            "the first message and the resend"
        );
        assert!(!pool.function.log().contains("4255550142"));
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn the_apps_language_applies_from_its_first_answer() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let settings = settings(&simulator, &table);
    let languages = || -> Vec<Value> {
        simulator
            .requests(Operation::Send)
            .iter()
            .map(|request| request.body["Language"].clone())
            .collect()
    };
    tokio::task::block_in_place(|| {
        let pool = Pool::start(&settings, 1);
        for (index, metadata) in [
            Value::Null,
            json!({}),
            json!({ "language": "de" }),
            json!({ "language": 7 }),
            json!("de"),
        ]
        .iter()
        .enumerate()
        {
            let before = languages().len();
            let mut sign_in = SignIn::of(&format!("+142555510{index:02}"));
            sign_in.client_metadata = metadata.clone();
            pool.begin(&mut sign_in);
            assert_eq!(pool.answer(&mut sign_in, "resend"), Next::Asked);
            let expected = if index == 2 { "de-DE" } else { "en-US" };
            assert_eq!(
                languages()[before..],
                [json!("en-US"), json!(expected)],
                "{metadata}"
            );
        }
        // Metadata that comes earlier, as from MiniStack, sets the language earlier.
        let mut early = SignIn::of("+14255551010");
        early.client_metadata = json!({ "language": "fr-CA" });
        let event = Pool::event(
            "cognito.create",
            &early,
            json!({ "clientMetadata": early.client_metadata }),
        );
        pool.deliver(&event);
        assert_eq!(languages().last(), Some(&json!("fr-CA")));
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn with_step_up_the_code_comes_after_the_password() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let mut settings = settings(&simulator, &table);
    settings.insert("COGNITO_STEP_UP", "required".to_owned());
    tokio::task::block_in_place(|| {
        let pool = Pool::start(&settings, 1);
        let number = "+14255550142";
        let mut sign_in = SignIn::of(number);
        assert_eq!(
            pool.next(&mut sign_in),
            Next::Failed,
            "no code without a password"
        );
        let round = |name: &str| json!({ "challengeName": name, "challengeResult": true, "challengeMetadata": null });
        sign_in.session.push(round("SRP_A"));
        let decision = pool
            .deliver(&Pool::event("cognito.define", &sign_in, json!({})))
            .remove(0);
        assert_eq!(decision["challengeName"], "PASSWORD_VERIFIER");
        assert_eq!(messages(&simulator, number), 0);
        sign_in.session.push(round("PASSWORD_VERIFIER"));
        assert_eq!(pool.begin(&mut sign_in), "sent, 3 left");
        assert_eq!(
            pool.answer(&mut sign_in, &code(&simulator, number)),
            Next::Tokens
        );
        assert_eq!(messages(&simulator, number), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_sign_up_needs_a_verified_number() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let mut settings = settings(&simulator, &table);
    settings.insert("COGNITO_PRE_SIGN_UP", "on".to_owned());
    settings.insert("REFERENCE_ID", "random".to_owned());
    tokio::task::block_in_place(|| {
        let function = Function::start(&settings);
        let number = "+14255550142";
        let sign_up = |reference: &Value| {
            let mut event = file("cognito.pre-sign-up");
            event["userName"] = json!(number);
            event["request"]["userAttributes"]["phone_number"] = json!(number);
            event["request"]["validationData"]["referenceId"] = reference.clone();
            event.to_string()
        };
        let (status, sent) = function.post("send", &json!({ "destinationNumber": number }));
        assert_eq!(status, 202, "{sent}");
        let reference = &sent["referenceId"];
        let refused = function.invoke(&sign_up(reference));
        assert_eq!(refused["errorType"], "SignUpRefused", "{refused}");
        assert!(!refused.to_string().contains("4255550142"), "{refused}");
        let body = json!({ "destinationNumber": number, "otp": code(&simulator, number), "referenceId": reference });
        assert_eq!(function.post("verify", &body).0, 200);
        for _ in 0..3 {
            let confirmed = json!({ "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false });
            assert_eq!(function.invoke(&sign_up(reference))["response"], confirmed);
        }
    });
}
