//! The metrics in the log.

use super::delivery::{delivery, notification};
use crate::pool::{Next, SignIn, User};
use crate::with;
use crate::world::{Answer, KEY, NUMBER, World, app, changed};
use async_trait::async_trait;
use futures_util::future::join_all;
use otp_lambda::ledger::{Charge, Ledger, NumberCharge, Switches, Unavailable};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::settings::Settings;
use otp_lambda::telemetry::{self, COUNTRY, Detail, LEDGER, Metric, Metrics};
use serde_json::{Value, json};
use simulator::emf::{metrics_of, metrics_of_log};
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{Failure, MemoryLedger, Operation, Simulator};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

const A_DAY: Duration = Duration::from_hours(25);

/// Room for a hundred guesses without a wait.
const ROOM: [(&str, &str); 3] = [
    ("SEND_LIMITS", "20/1s"),
    ("ALLOWED_ATTEMPTS", "5"),
    ("CODE_LENGTH", "8"),
];

impl World {
    pub(crate) fn lines(&self) -> Vec<Value> {
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
                let failures = line["failedGuesses"].to_string();
                (text("door"), failures, lock)
            })
            .collect()
    }

    /// How often each metric was counted, in any of its dimensions.
    fn metrics(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for line in self.lines() {
            for (metric, ..) in metrics_of(&line).unwrap() {
                if metric.dimensions.is_empty() {
                    let value = line[&metric.name].as_u64().unwrap_or_default();
                    *counted.entry(metric.name).or_default() += value;
                }
            }
        }
        counted
    }

    fn count_of(&self, metric: Metric) -> u64 {
        self.metrics()
            .get(metric.name())
            .copied()
            .unwrap_or_default()
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
        assert_eq!(world.count_of(Metric::NumbersNearLock), 2);
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
        let counts = || {
            [Metric::Sent, Metric::Decoys, Metric::SignInsRefused]
                .map(|metric| world.count_of(metric))
        };
        assert_eq!(counts(), [1, 1, 0], "{limit:?}: a message, and nobody");

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
        assert_eq!(counts(), [1, 1, 1], "{line}");

        // A wrong answer to it is none. A resend that the limit refuses is one.
        assert_eq!(refused.answer(&world, "000000").await, Next::Asked);
        assert_eq!(counts(), [1, 1, 1]);
        // The windows of the number show in `resendAt`, and a resend before that is not one that a limit refuses.
        if limit == Some("number") {
            continue;
        }
        world.advance(Duration::from_mins(2));
        refused.answer(&world, "resend").await;
        assert_eq!(counts(), [1, 1, 2], "{:?}", world.last_line());
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
    assert_eq!(world.count_of(Metric::SignInsRefused), 1);
    assert_eq!(world.last_line()["limit"], "guesses");
}

/// A ledger that can be turned off.
#[derive(Clone, Default)]
struct Switched {
    memory: MemoryLedger,
    is_off: Arc<AtomicBool>,
}

#[async_trait]
impl Layer for Switched {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        if self.is_off.load(Ordering::Relaxed) {
            return Err(Unavailable("off".to_owned()));
        }
        step.run(&self.memory).await
    }
}

/// A function of which everything happens that a metric counts.
pub(crate) struct Drill {
    pub(crate) world: World,
    ledger: Switched,
    metrics: Option<Metrics>,
    has_deliveries: bool,
}

impl Drill {
    /// `deliveries` are the settings of delivery events, if there are any.
    pub(crate) async fn start(detail: &str, deliveries: &[(&str, &str)]) -> Self {
        // More countries than have metrics of their own.
        let budgets: Vec<_> = drilled()
            .iter()
            .map(|it| format!("{it}={}/1h", if *it == "JM" { 9 } else { 90 }))
            .collect();
        let settings = [
            ("METRICS", detail),
            ("ALLOWED_COUNTRIES", "*"),
            ("COUNTRY_LIMITS", &budgets.join(";")),
            ("COGNITO_FLOOR_MS", "1"),
            ("BUDGETS", "200/1h,200USD/24h"),
            ("PREFIX_LIMITS", "none"),
        ];
        Self::with(&[&settings[..], &ROOM, deliveries].concat()).await
    }

    /// With these settings, a ledger that can be turned off, and prices.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let prices = r#"{"prices": {"*": 0.1, "*/voice": 1, "*/whatsapp": 1}}"#;
        let name = format!("otp-lambda-{}", simulator.url().replace([':', '/'], "-"));
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, prices).unwrap();
        let own = [
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", KEY),
            ("CONFIG_FILE", file.to_str().unwrap()),
        ];
        let environment = changed(&simulator.url(), &[&own[..], settings].concat());
        let read = Settings::read(&|name| environment.get(name).cloned()).unwrap();
        let ledger = Switched::default();
        let app = app(&environment, None, Box::new(Layered(ledger.clone()))).await;
        std::fs::remove_file(&file).unwrap();
        Self {
            world: World::around(app, simulator),
            ledger,
            metrics: read.metrics,
            has_deliveries: environment.contains_key("DELIVERY_TOPIC"),
        }
    }

    /// Turns the ledger off, or on again.
    pub(crate) fn turn_off(&self, is_off: bool) {
        self.ledger.is_off.store(is_off, Ordering::Relaxed);
    }

    pub(crate) async fn send(&self, number: &str) -> Answer {
        let body = json!({ "destinationNumber": number });
        self.world.post("/otp/send", &body).await
    }

    pub(crate) async fn verify(&self, number: &str, otp: &str) -> Answer {
        let body = json!({ "destinationNumber": number, "otp": otp });
        self.world.post("/otp/verify", &body).await
    }

    /// Gives the function an event of this type about a message to a number.
    pub(crate) async fn tell(&self, number: &str, kind: &str) {
        let changes = json!({ "destinationPhoneNumber": number, "eventType": kind });
        let event = notification(&delivery(&changes).to_string());
        let answer = self.world.raw(&event.to_string()).await;
        assert_eq!(answer.unwrap(), json!({}));
    }

    /// Lets everything happen.
    pub(crate) async fn run(&self) {
        let world = &self.world;
        for (nth, country) in drilled().into_iter().enumerate() {
            let digits = [u8::try_from(nth).unwrap(); 16];
            let number = PhoneNumber::stand_in(country.parse().unwrap(), digits).unwrap();
            let number = number.expose();
            let sent = self.send(number).await;
            assert_eq!(sent.status, 202, "{country}: {sent:?}");
            let code = world.simulator.newest_to(number).unwrap().code;
            assert_eq!(self.verify(number, &code).await.status, 200, "{country}");
            if self.has_deliveries {
                for kind in ["TEXT_DELIVERED", "TEXT_UNREACHABLE", "TEXT_SPAM"] {
                    self.tell(number, kind).await;
                }
            }
        }
        world.five_wrong_guesses_at_each(0..6).await;
        for (nth, failure) in [
            Failure::CloseAfterReading,
            Failure::TooManyRequests,
            Failure::Forbidden,
        ]
        .into_iter()
        .enumerate()
        {
            world.simulator.fail_next(Operation::Send, failure);
            let answer = self.send(&format!("+1425555013{nth}")).await;
            assert!(answer.status >= 500, "{answer:?}");
        }
        for nth in 0..10 {
            self.send(&format!("+1876555014{nth}")).await;
        }
        SignIn::begin(world, &User::unknown("nobody")).await;
        self.ledger.memory.switch(Switches {
            paused: true,
            ..Switches::default()
        });
        world.advance(Duration::from_secs(40));
        SignIn::begin(world, &User::with_number(NUMBER)).await;
        self.ledger.memory.switch(Switches::default());
        world.advance(Duration::from_secs(40));
        self.turn_off(true);
        let answer = self.send(NUMBER).await;
        answer.is_problem(503, "ledger_unavailable");
        telemetry::write_panic(Some("a test"), self.metrics.as_ref());
    }
}

/// Countries to which stand-in numbers of any kind may be sent.
fn drilled() -> [&'static str; 25] {
    [
        "JM", "US", "GB", "DE", "FR", "ES", "IT", "PT", "NL", "BE", "AT", "CH", "SE", "NO", "DK",
        "FI", "IE", "PL", "CZ", "GR", "TR", "IN", "ID", "BR", "MX",
    ]
}

#[tokio::test]
async fn each_metric_has_few_values_however_many_countries_there_are() {
    let without: &[(&str, &str)] = &[];
    for (detail, least, deliveries, most) in [
        ("basic", Detail::Basic, without, 10),
        ("basic", Detail::Basic, with::DELIVERIES, 10),
        ("full", Detail::Full, without, 60),
        // A third metric by country, and fewer countries.
        ("full", Detail::Full, with::DELIVERIES, 59),
    ] {
        let drill = Drill::start(detail, deliveries).await;
        drill.run().await;
        let log = drill.world.log.text();
        let counted = metrics_of_log(&log).unwrap();
        let names: BTreeSet<_> = counted.iter().map(|it| it.name.as_str()).collect();
        let is_told = |it: &Metric| {
            let of_delivery = matches!(it, Metric::Undelivered | Metric::Blocked);
            !of_delivery || !deliveries.is_empty()
        };
        let wanted = Metric::ALL.iter().filter(|it| it.detail() <= least);
        let wanted = wanted.filter(|it| is_told(it));
        let wanted: BTreeSet<_> = wanted.map(|it| it.name()).collect();
        assert_eq!(names, wanted, "{detail}");
        for line in drill.world.lines() {
            for (metric, unit, _) in metrics_of(&line).unwrap() {
                let mut all = Metric::ALL.iter();
                let own = all.find(|own| own.name() == metric.name).unwrap();
                assert_eq!(unit, own.unit(), "{line}");
                let is_by_country = !metric.dimensions.is_empty();
                assert!(!is_by_country || own.is_by_country(), "{line}");
            }
        }
        assert_eq!(counted.len(), most, "{counted:?}");
        let of_others = |line: &Value| line["countryGroup"] == "other";
        let others = drill.world.lines().into_iter().filter(of_others).count();
        assert_eq!(others > 0, least == Detail::Full);
    }
}

/// The control.
#[tokio::test]
async fn without_metrics_no_line_has_any() {
    let drill = Drill::start("off", with::DELIVERIES).await;
    drill.run().await;
    let lines = drill.world.lines();
    assert!(lines.iter().any(|line| line["sent"] == 1));
    assert!(lines.iter().any(|line| line["outcome"] == "blocked"));
    for line in lines {
        assert!(line.get("_aws").is_none(), "{line}");
        assert!(line.get("ledger").is_none(), "{line}");
    }
}

/// Of four messages to the United States one was blocked and one not delivered, of two to the United Kingdom none.
#[tokio::test]
async fn the_average_of_undelivered_tells_which_part_of_a_countrys_messages_got_lost() {
    let settings = [("METRICS", "full"), ("ALLOWED_COUNTRIES", "US,GB")];
    let world = World::counted(&[&settings[..], with::DELIVERIES].concat()).await;
    for (number, kind) in [
        (NUMBER, "TEXT_DELIVERED"),
        (NUMBER, "TEXT_CARRIER_BLOCKED"),
        (NUMBER, "TEXT_TTL_EXPIRED"),
        (NUMBER, "VOICE_COMPLETED"),
        // It is not known what became of these.
        (NUMBER, "TEXT_UNKNOWN"),
        (NUMBER, "TEXT_PENDING"),
        (NUMBER, "TEXT_NEW_TYPE"),
        ("+447700900112", "TEXT_DELIVERED"),
        ("+447700900112", "TEXT_SUCCESSFUL"),
        ("+33612345678", "TEXT_INVALID"),
    ] {
        let changes = json!({ "destinationPhoneNumber": number, "eventType": kind });
        world.delivers(&delivery(&changes)).await;
    }
    let mut sums = BTreeMap::<_, (f64, f64)>::new();
    for line in world.lines() {
        for (metric, _, value) in metrics_of(&line).unwrap() {
            let country = metric.dimensions.get(COUNTRY).cloned().unwrap_or_default();
            let (sum, count) = sums.entry((metric.name, country)).or_default();
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
    }
    let of = |name: &str, country: &str| (name.to_owned(), country.to_owned());
    let expected = [
        (of("blocked", ""), (1.0, 1.0)),
        (of("undelivered", ""), (3.0, 7.0)),
        (of("undelivered", "GB"), (0.0, 2.0)),
        (of("undelivered", "US"), (2.0, 4.0)),
        (of("undelivered", "other"), (1.0, 1.0)),
    ];
    assert_eq!(sums, BTreeMap::from(expected));
}

/// A stranger's sign-in, a number with a fixed code, and a repeat with the same key send nothing.
#[tokio::test]
async fn only_messages_that_the_provider_took_are_sent_and_only_their_codes_are_verified() {
    let test_number = "+14255550199";
    let entry = format!("{test_number}=123456@2099-12-31");
    let settings = [("TEST_NUMBERS", entry.as_str()), ("COGNITO_FLOOR_MS", "0")];
    let world = World::counted(&settings).await;
    let counts = || {
        let metrics = [
            Metric::Sent,
            Metric::Verified,
            Metric::WrongGuesses,
            Metric::Decoys,
        ];
        metrics.map(|metric| world.count_of(metric))
    };
    let to_test = json!({ "destinationNumber": test_number });
    assert_eq!(world.post("/otp/send", &to_test).await.status, 202);
    let at_test_number = |otp: &str| json!({ "destinationNumber": test_number, "otp": otp });
    let answer = world.post("/otp/verify", &at_test_number("654321")).await;
    answer.is_problem(422, "invalid_code");
    let right = at_test_number("123456");
    assert_eq!(world.post("/otp/verify", &right).await.status, 200);
    assert_eq!(counts(), [0, 0, 0, 0], "a test number");

    let code = world.code_on_the_phone().await;
    let guess = |otp: &str| json!({ "destinationNumber": NUMBER, "otp": otp });
    let wrong = crate::pool::wrong(&code, 1);
    for _ in 0..2 {
        // The repeat costs nothing.
        let answer = world.post("/otp/verify", &guess(&wrong)).await;
        answer.is_problem(422, "invalid_code");
    }
    let right = guess(&code);
    assert_eq!(world.post("/otp/verify", &right).await.status, 200);
    let again = world.post("/otp/verify", &right).await;
    again.is_problem(409, "already_verified");
    assert_eq!(counts(), [1, 1, 1, 0]);

    let mut nobody = SignIn::begin(&world, &User::unknown("nobody")).await;
    nobody.answer(&world, "000000").await;
    assert_eq!(counts(), [1, 1, 1, 1], "nobody");
    world.advance(Duration::from_mins(2));
    let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    sign_in.answer(&world, "000000").await;
    sign_in.signs_in(&world).await;
    assert_eq!(counts(), [2, 2, 2, 1], "a sign-in");
}

/// With a cap of ten, each message is a tenth.
#[tokio::test]
async fn the_fullest_budget_is_measured_in_percent() {
    let settings = [
        ("BUDGETS", "10/1h,100/24h"),
        ("COUNTRY_LIMITS", "US=4/1h"),
        ("PREFIX_LIMITS", "none"),
    ];
    let world = World::counted(&settings).await;
    let now = world.simulator.now().duration_since(UNIX_EPOCH).unwrap();
    world.advance(Duration::from_secs(3605 - now.as_secs() % 3600));
    let mut used = Vec::new();
    for nth in 0..5 {
        let number = format!("+1425555010{nth}");
        let body = json!({ "destinationNumber": number });
        world.post("/otp/send", &body).await;
        let line = world.last_line();
        used.push((
            line["budgetUsed"].as_u64(),
            line["countryBudgetUsed"].as_u64(),
        ));
    }
    let of = |nth: u64| (Some(10 * nth), Some(25 * nth));
    assert_eq!(used, [of(1), of(2), of(3), of(4), (None, Some(100))]);
    for nth in 0..7 {
        let number = format!("+44770090011{nth}");
        let body = json!({ "destinationNumber": number });
        world.post("/otp/send", &body).await;
    }
    assert_eq!(
        world.last_line()["budgetUsed"],
        100,
        "{}",
        world.last_line()
    );
    assert_eq!(world.last_line()["limit"], "budget");
}

/// The alarm about the conversion of a country asks for this average: `verified / (sent + verified)`.
#[tokio::test]
async fn the_average_of_verified_tells_the_conversion_of_each_country() {
    let settings = [
        ("METRICS", "full"),
        ("ALLOWED_COUNTRIES", "US,GB,DE"),
        ("COUNTRY_LIMITS", "US=90/1h;GB=90/1h"),
        ("PREFIX_LIMITS", "none"),
    ];
    let world = World::counted(&settings).await;
    // Of four messages to each country, so many codes come back.
    for (beginning, back) in [("+142555501", 3), ("+447700900", 0), ("+491511234", 1)] {
        for nth in 0..4 {
            let number = match beginning {
                "+491511234" => format!("{beginning}567{nth}"),
                "+447700900" => format!("{beginning}11{nth}"),
                _ => format!("{beginning}0{nth}"),
            };
            let mut body = json!({ "destinationNumber": number });
            let sent = world.post("/otp/send", &body).await;
            assert_eq!(sent.status, 202, "{sent:?}");
            if nth < back {
                let code = world.simulator.newest_to(&number).unwrap().code;
                body["otp"] = json!(code);
                assert_eq!(world.post("/otp/verify", &body).await.status, 200);
            }
        }
    }
    let mut averages = BTreeMap::<_, (f64, f64)>::new();
    for line in world.lines() {
        for (metric, _, value) in metrics_of(&line).unwrap() {
            if metric.name == Metric::Verified.name() {
                let country = metric.dimensions.get(COUNTRY).cloned();
                let (sum, count) = averages.entry(country).or_default();
                (*sum, *count) = (*sum + value, *count + 1.0);
            }
        }
    }
    let of = |country: Option<&str>| averages[&country.map(str::to_owned)];
    assert_eq!(of(None), (4.0, 16.0));
    assert_eq!(of(Some("US")), (3.0, 7.0));
    assert_eq!(of(Some("GB")), (0.0, 4.0));
    assert_eq!(of(Some("DE")), (1.0, 5.0));
}

#[test]
fn the_functions_of_a_stack_have_their_metrics_together() {
    let ledger_of = |settings: &[(&str, &str)]| {
        let settings = crate::world::read("http://127.0.0.1:1", settings);
        settings.metrics.unwrap().ledger
    };
    let table = [("LEDGER_TABLE", "table-1"), ("LEDGER_KEY", KEY)];
    for function in ["otp-Function-1X", "otp-Triggers-1X"] {
        let name = [("AWS_LAMBDA_FUNCTION_NAME", function)];
        assert_eq!(ledger_of(&[table.as_slice(), &name].concat()), "table-1");
        assert_eq!(ledger_of(&name), function);
    }
    assert_eq!(ledger_of(&[]), "local");
}

#[test]
fn the_countries_with_metrics_are_those_that_the_operator_names() {
    let countries = |settings: &[(&str, &str)]| {
        let settings = crate::world::read("http://127.0.0.1:1", settings);
        let countries = settings.metrics.unwrap().countries;
        let names: Vec<_> = countries.iter().map(ToString::to_string).collect();
        names.join(",")
    };
    let with_ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
    assert_eq!(countries(&[("ALLOWED_COUNTRIES", "*")]), "");
    assert_eq!(countries(&[("ALLOWED_COUNTRIES", "US, GB,DE")]), "US,GB,DE");
    let limits = [
        ("ALLOWED_COUNTRIES", "US,GB,JM"),
        ("COUNTRY_LIMITS", "*=9/1h;JM=2/1h;GB=3/1h"),
    ];
    assert_eq!(countries(&[with_ledger, limits].concat()), "GB,JM,US");
    let many = drilled().join(",");
    let twenty = many.get(..20 * 3 - 1).unwrap();
    let allowed = [("ALLOWED_COUNTRIES", many.as_str())];
    assert_eq!(countries(&allowed), twenty);
    let twelve = many.get(..12 * 3 - 1).unwrap();
    assert_eq!(countries(&[&allowed, with::DELIVERIES].concat()), twelve);
}

/// A metric without its row, or a row without its metric, misleads whoever sets an alarm.
#[test]
fn the_page_about_operation_lists_every_metric() {
    let page = include_str!("../../docs/operate.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", name, detail, unit, dimensions, _, ""] => {
                Some([*name, *detail, *unit, *dimensions].map(str::to_owned))
            }
            _ => None,
        }
    });
    let is_metric = |row: &[String; 4]| row[0].starts_with('`') && row[2].starts_with('`');
    let rows: Vec<_> = rows.filter(is_metric).collect();
    let expected = Metric::ALL.iter().map(|metric| {
        let detail = match metric.detail() {
            Detail::Basic => "`basic`",
            Detail::Full => "`full`",
        };
        let dimensions = if metric.is_by_country() {
            format!("`{LEDGER}`; with `full` also `{LEDGER}` and `{COUNTRY}`")
        } else {
            format!("`{LEDGER}`")
        };
        let unit = format!("`{}`", metric.unit());
        [
            format!("`{}`", metric.name()),
            detail.to_owned(),
            unit,
            dimensions,
        ]
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}
