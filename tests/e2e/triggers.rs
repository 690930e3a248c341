//! The triggers of a user pool as AWS delivers them and `MiniStack` does not: for users who are not there, several times over,
//! with the client's metadata where AWS passes it on and without it where it does not, after a password, before a sign-up.
//! The pool is this file; the function is the shipped binary under the runtime emulator, with a ledger.

use crate::function::{Function, Settings, file, settings_with_ledger, wrong};
use crate::table::Table;
use serde_json::{Map, Value, json};
use simulator::{Operation, Simulator};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const FLOOR: Duration = Duration::from_millis(300);

/// A pool whose every trigger is delivered so many times, as AWS does where no answer came in five seconds.
struct Pool {
    function: Function,
    deliveries: usize,
    slowest: Mutex<Duration>,
}

/// Somebody who signs in, or who only says so.
#[derive(Clone)]
struct SignIn {
    name: String,
    attributes: Value,
    not_found: bool,
    /// What the app sends along with its answers. AWS passes none of it on when a sign-in begins.
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
                let asked = Instant::now();
                let mut answer = self.function.invoke(&event.to_string());
                let mut slowest = self.slowest.lock().unwrap();
                *slowest = slowest.max(asked.elapsed());
                let response = answer.as_object_mut().unwrap().remove("response");
                let mut others = event.clone();
                others.as_object_mut().unwrap().remove("response");
                assert_eq!(answer, others, "only the response changes");
                response.unwrap_or_else(|| panic!("{answer}"))
            })
            .collect()
    }

    fn event(name: &str, who: &SignIn, members: Value) -> Value {
        let mut event = file(name);
        event["userName"] = json!(who.name);
        let request = event["request"].as_object_mut().unwrap();
        request.remove("clientMetadata");
        request.insert("userAttributes".to_owned(), who.attributes.clone());
        request.insert("userNotFound".to_owned(), json!(who.not_found));
        request.insert("session".to_owned(), json!(who.session));
        // AWS passes metadata on with an answer alone, and where there is none the member is null or not there.
        if !who.session.is_empty() || name == "cognito.verify" {
            request.insert("clientMetadata".to_owned(), who.client_metadata.clone());
        }
        let Value::Object(members) = members else {
            unreachable!("members are an object")
        };
        request.extend(members);
        event
    }

    /// Define, and Create where it asks for our challenge.
    fn go_on(&self, who: &mut SignIn) -> Next {
        let decisions = self.deliver(&Self::event("cognito.define", who, json!({})));
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
        // The first answers were lost, which is why there was another delivery.
        let challenge = self
            .deliver(&Self::event("cognito.create", who, json!({})))
            .pop()
            .unwrap();
        who.shown
            .clone_from(challenge["publicChallengeParameters"].as_object().unwrap());
        who.private = challenge["privateChallengeParameters"].clone();
        who.metadata = challenge["challengeMetadata"].clone();
        Next::Asked
    }

    fn begin(&self, who: &mut SignIn) -> String {
        assert_eq!(self.go_on(who), Next::Asked);
        seen(who)
    }

    fn answer(&self, who: &mut SignIn, answer: &str) -> Next {
        let members =
            json!({ "privateChallengeParameters": who.private, "challengeAnswer": answer });
        let mut event = Self::event("cognito.verify", who, members);
        event["request"].as_object_mut().unwrap().remove("session");
        let verdicts = self.deliver(&event);
        assert!(
            verdicts.iter().all(|verdict| *verdict == verdicts[0]),
            "a repeat is answered the same: {verdicts:?}"
        );
        who.session.push(json!({
            "challengeName": "CUSTOM_CHALLENGE",
            "challengeResult": verdicts[0]["answerCorrect"],
            "challengeMetadata": who.metadata,
        }));
        self.go_on(who)
    }
}

/// What the app sees of a challenge, without what differs from run to run.
fn seen(who: &SignIn) -> String {
    format!(
        "{}, {} left",
        who.shown["state"].as_str().unwrap(),
        who.shown["attemptsLeft"].as_str().unwrap()
    )
}

fn settings(simulator: &Simulator, table: &Table) -> Settings {
    let mut settings = settings_with_ledger(&simulator.url(), &table.url());
    settings.insert("COGNITO_FLOOR_MS", FLOOR.as_millis().to_string());
    settings.insert("SEND_LIMITS", "3/10m".to_owned());
    settings
}

fn texts(simulator: &Simulator, number: &str) -> usize {
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
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
async fn a_sign_in_costs_one_text_however_often_its_triggers_are_delivered() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let settings = settings(&simulator, &table);
    tokio::task::block_in_place(|| {
        for deliveries in [1, 3] {
            let pool = Pool::start(&settings, deliveries);
            // Of a first challenge whose answer was lost, the session is not the one that the code was sent for.
            let first = if deliveries == 1 {
                "sent, 3 left"
            } else {
                "adopted, 2 left"
            };
            let number = |last: usize| format!("+1425555{:04}", 1000 * deliveries + last);

            let mut straight = SignIn::of(&number(1));
            assert_eq!(pool.begin(&mut straight), first);
            assert_eq!(
                pool.answer(&mut straight, &code(&simulator, &number(1))),
                Next::Tokens
            );

            let mut one_wrong = SignIn::of(&number(2));
            pool.begin(&mut one_wrong);
            let right = code(&simulator, &number(2));
            let asked = simulator.requests(Operation::Verify).len();
            assert_eq!(pool.answer(&mut one_wrong, &wrong(&right, 0)), Next::Asked);
            let left = if deliveries == 1 {
                "try_again, 2 left"
            } else {
                "try_again, 1 left"
            };
            assert_eq!(
                seen(&one_wrong),
                left,
                "one attempt, however often it is delivered"
            );
            assert_eq!(simulator.requests(Operation::Verify).len(), asked + 1);
            assert_eq!(pool.answer(&mut one_wrong, &right), Next::Tokens);
            // The same code in another session is used up.
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
            assert_eq!(texts(&simulator, &number(4)), 2, "one question sends once");
            assert_eq!(
                pool.answer(&mut resend, &code(&simulator, &number(4))),
                Next::Tokens
            );

            let counts = [1, 3].map(|last| texts(&simulator, &number(last)));
            // The one after the used code had a text of its own.
            let one_wrong = texts(&simulator, &number(2)) - 1;
            assert_eq!((counts, one_wrong), ([1, 1], 1));
            let slowest = *pool.slowest.lock().unwrap();
            println!(
                "each trigger {deliveries} times: texts straight {}, one wrong {one_wrong}, lost session {}; slowest {} ms",
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
async fn who_is_not_there_sees_what_everybody_sees() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let settings = settings(&simulator, &table);
    tokio::task::block_in_place(|| {
        let pool = Pool::start(&settings, 1);
        let script = |mut who: SignIn| {
            let mut steps = vec![pool.begin(&mut who)];
            let mut members: Vec<_> = who.shown.keys().cloned().collect();
            members.sort();
            for answer in ["000000", "no code", "resend", "000001", "000002"] {
                let next = pool.answer(&mut who, answer);
                steps.push(if next == Next::Asked {
                    seen(&who)
                } else {
                    format!("{next:?}")
                });
            }
            steps.push(format!("{:?}", pool.answer(&mut who, "000003")));
            (steps, members)
        };
        let real = script(SignIn::of("+14255550142"));
        for stranger in [
            SignIn::unknown("nobody"),
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
            let name = stranger.name.clone();
            assert_eq!(script(stranger), real, "{name}");
        }
        assert_eq!(real.0[0], "sent, 3 left");
        assert_eq!(real.0.last().map(String::as_str), Some("Failed"));
        let others = simulator
            .inbox()
            .iter()
            .filter(|message| message.to != "+14255550142")
            .count();
        assert_eq!(
            (others, texts(&simulator, "+14255550142")),
            (0, 2),
            "one, and the one that was asked for"
        );
        assert!(!pool.function.log().contains("4255550142"));
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn the_apps_language_counts_from_its_first_answer_on() {
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
            let mut who = SignIn::of(&format!("+142555510{index:02}"));
            who.client_metadata = metadata.clone();
            pool.begin(&mut who);
            assert_eq!(pool.answer(&mut who, "resend"), Next::Asked);
            let expected = if index == 2 { "de-DE" } else { "en-US" };
            assert_eq!(
                languages()[before..],
                [json!("en-US"), json!(expected)],
                "{metadata}"
            );
        }
        // Where it comes early after all, as MiniStack does, it counts early.
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
async fn a_code_comes_after_the_password_where_one_is_required() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let table = Table::start();
    let mut settings = settings(&simulator, &table);
    settings.insert("COGNITO_STEP_UP", "required".to_owned());
    tokio::task::block_in_place(|| {
        let pool = Pool::start(&settings, 1);
        let number = "+14255550142";
        let mut who = SignIn::of(number);
        assert_eq!(
            pool.go_on(&mut who),
            Next::Failed,
            "no code without a password"
        );
        let round = |name: &str| json!({ "challengeName": name, "challengeResult": true, "challengeMetadata": null });
        who.session.push(round("SRP_A"));
        let decision = pool
            .deliver(&Pool::event("cognito.define", &who, json!({})))
            .remove(0);
        assert_eq!(decision["challengeName"], "PASSWORD_VERIFIER");
        assert_eq!(texts(&simulator, number), 0);
        who.session.push(round("PASSWORD_VERIFIER"));
        assert_eq!(pool.begin(&mut who), "sent, 3 left");
        assert_eq!(
            pool.answer(&mut who, &code(&simulator, number)),
            Next::Tokens
        );
        assert_eq!(texts(&simulator, number), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_sign_up_is_a_send_a_verify_and_its_proof() {
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
