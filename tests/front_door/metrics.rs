//! The metrics in the log: numbers on their way to a lock, and sign-ins that a limit has refused.

use crate::pool::{Next, SignIn, User};
use crate::world::{KEY, NUMBER, World, app, changed};
use async_trait::async_trait;
use futures_util::future::join_all;
use otp_lambda::ledger::{Charge, Ledger, NumberCharge, Switches, Unavailable};
use serde_json::{Value, json};
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{MemoryLedger, Simulator};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

const A_DAY: Duration = Duration::from_hours(25);

/// Room for a hundred guesses without a wait.
const ROOM: [(&str, &str); 3] = [
    ("SEND_LIMITS", "20/1s"),
    ("ALLOWED_ATTEMPTS", "5"),
    ("CODE_LENGTH", "8"),
];

impl World {
    fn lines(&self) -> Vec<Value> {
        let text = self.log.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// The lines about numbers near a lock: the door, the failures and the lock.
    fn near_lock(&self) -> Vec<(String, String, u64)> {
        let lines = self.lines().into_iter();
        lines
            .filter(|line| line["message"] == "number_near_lock")
            .map(|line| {
                assert_eq!(
                    (&line["level"], &line["country"]),
                    (&json!("WARN"), &json!("US"))
                );
                let text = |field: &str| line[field].as_str().unwrap().to_owned();
                let lock = line["lockedAt"].as_u64().unwrap();
                (text("door"), text("failedGuesses"), lock)
            })
            .collect()
    }

    /// The metrics as CloudWatch would count them: name and dimensions. Asserts that each is well-formed.
    fn metrics(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for line in self.lines() {
            let Some(all) = line.get("_aws") else {
                continue;
            };
            assert!(
                all["Timestamp"].as_u64().unwrap() > 1_700_000_000_000,
                "{line}"
            );
            for metric in all["CloudWatchMetrics"].as_array().unwrap() {
                assert_eq!(metric["Namespace"], "otp-lambda");
                let [definition] = metric["Metrics"].as_array().unwrap().as_slice() else {
                    panic!("not one metric: {line}");
                };
                assert_eq!(definition["Unit"], "Count");
                let name = definition["Name"].as_str().unwrap();
                let value = line[name].as_u64().unwrap();
                for set in metric["Dimensions"].as_array().unwrap() {
                    let fields = set.as_array().unwrap().iter();
                    let values: Vec<_> = fields
                        .map(|field| line[field.as_str().unwrap()].as_str().unwrap())
                        .collect();
                    let of = format!("{name} {}", values.join(" "));
                    *counted.entry(of.trim_end().to_owned()).or_default() += value;
                }
            }
        }
        counted
    }

    /// Sends this many codes, each under a name of its own, and makes five wrong guesses at each at once.
    async fn five_wrong_guesses_at_each(&self, codes: std::ops::Range<u32>) {
        let names =
            codes.map(|name| json!({ "destinationNumber": NUMBER, "source": name.to_string() }));
        let names: Vec<Value> = names.collect();
        for body in &names {
            assert_eq!(self.post("/otp/send", body).await.status, 202);
        }
        let guesses = names.iter().flat_map(|body| {
            (0..5).map(move |guess| {
                let mut body = body.clone();
                // One guess in a hundred million is right.
                body["otp"] = json!(format!("{:08}", 99_000_000 + guess));
                body
            })
        });
        let guesses: Vec<Value> = guesses.collect();
        let answers = guesses.iter().map(|body| self.post("/otp/verify", body));
        // On a busy machine the provider may be too late. Such a guess counts as well.
        for answer in join_all(answers).await {
            assert_eq!(answer.body["valid"], json!(false), "{answer:?}");
        }
    }
}

fn event(door: &str, failures: u32, lock: u64) -> (String, String, u64) {
    (door.to_owned(), failures.to_string(), lock)
}

#[tokio::test]
async fn thirty_and_sixty_failed_guesses_are_told_once_each_however_many_come_at_once() {
    for round in 0..simulator::sized(2, 10) {
        let world = World::counted(&ROOM).await;
        world.five_wrong_guesses_at_each(0..20).await;
        let mut told = world.near_lock();
        told.sort();
        let expected = [event("http", 30, 100), event("http", 60, 100)];
        assert_eq!(told, expected, "round {round}");
        let metrics = world.metrics();
        let of = |failures: u32| metrics[&format!("numbersNearLock http {failures}")];
        assert_eq!((of(30), of(60), metrics.len()), (1, 1, 2), "{metrics:?}");
    }
}

/// Counts a failure in one step, and looks how many there are in another.
#[derive(Clone)]
struct CountsAndLooks(MemoryLedger);

#[async_trait]
impl Layer for CountsAndLooks {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let reply = step.run(&self.0).await?;
        let (Step::ChargeNumber { item, .. }, Reply::Charge(NumberCharge::Charged(charge))) =
            (&step, &reply)
        else {
            return Ok(reply);
        };
        tokio::task::yield_now().await;
        let failures = self.0.number(item).await?.failures;
        Ok(NumberCharge::Charged(Charge {
            failures,
            ..*charge
        })
        .into())
    }
}

/// The negative control.
#[tokio::test]
async fn a_count_that_is_not_of_one_step_is_noticed() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
    let environment = changed(&simulator.url(), &[&ledger[..], &ROOM].concat());
    let layer = Layered(CountsAndLooks(MemoryLedger::new()));
    let world = World::around(app(&environment, None, Box::new(layer)).await, simulator);
    world.five_wrong_guesses_at_each(0..20).await;
    assert_eq!(world.provider_checks(), 100, "each guess is counted");
    assert_ne!(world.near_lock().len(), 2);
}

#[tokio::test]
async fn a_right_guess_is_no_failure_and_begins_a_new_count() {
    let world = World::counted(&ROOM).await;
    let verify = async |otp: &str, source: &str| {
        let body = json!({ "destinationNumber": NUMBER, "otp": otp, "source": source });
        world.post("/otp/verify", &body).await
    };
    let body = json!({ "destinationNumber": NUMBER, "source": "right" });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    let code = world.newest_code();
    world.five_wrong_guesses_at_each(0..5).await;
    for guess in 0..4 {
        verify(&format!("9900000{guess}"), "right")
            .await
            .is_problem(422, "invalid_code");
    }
    // The thirtieth guess.
    assert_eq!(verify(&code, "right").await.status, 200);
    assert_eq!(world.near_lock(), []);

    world.advance(Duration::from_secs(1));
    world.five_wrong_guesses_at_each(5..11).await;
    assert_eq!(world.near_lock(), [event("http", 30, 100)]);
}

#[tokio::test]
async fn each_door_tells_its_own_count_and_a_decoy_tells_nothing() {
    let settings = [
        ("COGNITO_FLOOR_MS", "0"),
        ("SEND_LIMITS", "20/30m"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("CODE_LENGTH", "8"),
        ("PREFIX_LIMITS", "none"),
    ];
    let world = World::counted(&settings).await;
    let guess_at_sign_ins = async |user: User, sign_ins: u32| {
        for _ in 0..sign_ins {
            let mut sign_in = SignIn::begin(&world, &user).await;
            for guess in 0..5 {
                sign_in.answer(&world, &format!("0000000{guess}")).await;
            }
            world.advance(A_DAY);
        }
    };
    // The number of a user, typed as an unknown name, and a name.
    for unknown in [User::unknown(NUMBER), User::unknown("nobody")] {
        guess_at_sign_ins(unknown, 13).await;
    }
    assert_eq!(world.near_lock(), []);

    world.five_wrong_guesses_at_each(0..5).await;
    world.advance(A_DAY);
    guess_at_sign_ins(User::with_number(NUMBER), 5).await;
    assert_eq!(world.near_lock(), [], "25 at each door");
    guess_at_sign_ins(User::with_number(NUMBER), 1).await;
    assert_eq!(world.near_lock(), [event("sign-in", 30, 50)]);
    world.five_wrong_guesses_at_each(5..6).await;
    let both = [event("sign-in", 30, 50), event("http", 30, 50)];
    assert_eq!(world.near_lock(), both);
    // Both doors lock before sixty.
    guess_at_sign_ins(User::with_number(NUMBER), 8).await;
    assert_eq!(world.near_lock(), both);
}

#[tokio::test]
async fn a_sign_in_that_sends_nothing_counts_by_the_limit_that_refused_it() {
    for (setting, limit) in [
        (("SEND_LIMITS", "2/1h"), Some("number")),
        (("PREFIX_LIMITS", "2/1h"), Some("prefix")),
        (("BUDGETS", "2/1h"), Some("budget")),
        (("COUNTRY_LIMITS", "US=2/1h"), Some("country")),
        (("LOG_LEVEL", "trace"), None),
    ] {
        let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), setting]).await;
        // Early in an hour, because the windows of prefixes and budgets are those of the clock.
        let now = world.simulator.now().duration_since(UNIX_EPOCH).unwrap();
        world.advance(Duration::from_secs(3605 - now.as_secs() % 3600));
        // The half of this door. After it, `NUMBER` has an open code only where its own windows are to be full.
        let first = if limit == Some("number") {
            NUMBER
        } else {
            "+14255550143"
        };
        let mut sign_in = SignIn::begin(&world, &User::with_number(first)).await;
        if first == NUMBER {
            sign_in.signs_in(&world).await;
        }
        SignIn::begin(&world, &User::unknown("nobody"))
            .await
            .is("sent", "3");
        assert_eq!(
            world.metrics(),
            BTreeMap::new(),
            "{limit:?}: a message, and nobody"
        );

        if limit.is_none() {
            world.ledger.switch(Switches {
                paused: true,
                ..Switches::default()
            });
        }
        world.advance(Duration::from_secs(40));
        let mut refused = SignIn::begin(&world, &User::with_number(NUMBER)).await;
        refused.is("sent", "3");
        let line = world.last_line();
        assert_eq!(line["limit"], json!(limit), "{line}");
        let counted = |times: u64| -> BTreeMap<String, u64> {
            let of_limit = limit.map(|limit| (format!("signInsRefused {limit}"), times));
            let all = [("signInsRefused".to_owned(), times)];
            all.into_iter().chain(of_limit).collect()
        };
        assert_eq!(world.metrics(), counted(1), "{line}");

        // A wrong answer to it is none. A resend that the limit refuses is one.
        assert_eq!(refused.answer(&world, "000000").await, Next::Asked);
        assert_eq!(world.metrics(), counted(1));
        // The windows of the number show in `resendAt`, and a resend before that is not one that a limit refuses.
        if limit == Some("number") {
            continue;
        }
        world.advance(Duration::from_mins(2));
        refused.answer(&world, "resend").await;
        assert_eq!(world.metrics(), counted(2), "{:?}", world.last_line());
    }
}

/// Failed guesses that make sends wait or lock the number are a limit, too.
#[tokio::test]
async fn a_sign_in_that_failed_guesses_stop_counts_as_such() {
    let settings = [
        ("COGNITO_FLOOR_MS", "0"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("CODE_LENGTH", "8"),
        ("SEND_LIMITS", "20/30m"),
    ];
    let world = World::counted(&settings).await;
    for _ in 0..2 {
        let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
        for guess in 0..5 {
            sign_in.answer(&world, &format!("0000000{guess}")).await;
        }
        world.advance(Duration::from_mins(11));
    }
    SignIn::begin(&world, &User::with_number(NUMBER))
        .await
        .is("sent", "5");
    let expected = [("signInsRefused", 1), ("signInsRefused guesses", 1)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(world.metrics(), BTreeMap::from(expected));
}
