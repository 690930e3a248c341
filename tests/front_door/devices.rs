//! Device tokens: the messages and guesses that are kept for a device that has verified the number before.

use crate::world::{Answer, NUMBER, World, post};
use otp_lambda::ledger::{Door, Hasher, Ledger, NumberCharge, Switches};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use simulator::Operation;
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// How a function is called: by anyone, by a backend with random reference IDs, or by a backend with derived ones.
const WAYS: [&[(&str, &str)]; 3] = [
    &[("API_AUTH", "none"), ("ALLOWED_COUNTRIES", "US,GB")],
    &[("REFERENCE_ID", "random")],
    &[("REFERENCE_ID", "derived")],
];

async fn with_devices(settings: &[(&str, &str)]) -> World {
    let devices = [("DEVICE_TOKEN_DAYS", "30"), ("CODE_LENGTH", "8")];
    World::counted(&[&devices, settings].concat()).await
}

/// A caller. Strangers have a new address with each request.
struct Person {
    is_public: bool,
    token: Option<Value>,
    requests: u32,
}

impl Person {
    fn new(way: &[(&str, &str)]) -> Self {
        Self {
            is_public: way.contains(&("API_AUTH", "none")),
            token: None,
            requests: 0,
        }
    }

    async fn ask(&mut self, world: &World, operation: &str, mut body: Value) -> Answer {
        if let Some(token) = &self.token {
            body["deviceToken"] = token.clone();
        }
        let mut event = post(&format!("/otp/{operation}"), &body.to_string());
        if self.is_public {
            self.requests += 1;
            let [_, a, b, c] = self.requests.to_be_bytes();
            let context = event["requestContext"].as_object_mut().unwrap();
            context.remove("authorizer");
            context["http"]["sourceIp"] = json!(format!("10.{a}.{b}.{c}"));
        }
        world.event(&event).await
    }

    async fn send(&mut self, world: &World, number: &str) -> Answer {
        let body = json!({ "destinationNumber": number });
        self.ask(world, "send", body).await
    }

    /// A guess at the code of the response to a send.
    async fn guess(&mut self, world: &World, sent: &Answer, otp: &str) -> Answer {
        let reference = &sent.body["referenceId"];
        let body = json!({ "destinationNumber": NUMBER, "otp": otp, "referenceId": reference });
        self.ask(world, "verify", body).await
    }

    /// Verifies [`NUMBER`] and keeps the token.
    async fn verify(&mut self, world: &World) -> Value {
        let sent = self.send(world, NUMBER).await;
        assert_eq!(sent.status, 202, "{sent:?}");
        let right = self.guess(world, &sent, &world.newest_code()).await;
        assert_eq!(right.status, 200, "{right:?}");
        self.token = Some(right.body["deviceToken"].clone());
        right.body["deviceToken"].clone()
    }
}

/// Codes have eight digits. A guess is right only once in ten million runs.
fn wrong(n: u32) -> String {
    format!("{:08}", 99_000_000 + n)
}

#[tokio::test]
async fn a_success_gives_a_token_and_its_repeat_the_same_token() {
    for way in WAYS {
        let world = with_devices(way).await;
        let mut owner = Person::new(way);
        let sent = owner.send(&world, NUMBER).await;
        let mut event = post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": sent.body["referenceId"] })
                .to_string(),
        );
        event["headers"]["idempotency-key"] = json!("9b2fd3a1-7a5c-4f6c-8b1e-2d3c4b5a6978");
        let right = world.event(&event).await;
        assert_eq!(right.status, 200, "{right:?}");
        let token = right.body["deviceToken"].as_str().unwrap();
        assert_eq!(token.len(), 43);
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        );
        assert_eq!(world.event(&event).await.body["deviceToken"], token);
        assert!(!world.log.text().contains(token), "the log has the token");
        // Another success gives another token.
        world.advance(Duration::from_mins(20));
        assert_ne!(owner.verify(&world).await, token);
    }
}

#[tokio::test]
async fn without_the_setting_there_are_no_tokens_and_those_of_before_are_ignored() {
    let world = World::counted(&[("CODE_LENGTH", "8")]).await;
    let mut owner = Person::new(&[]);
    owner.token = Some(json!("a-token-of-before"));
    let sent = owner.send(&world, NUMBER).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    // The token that is ignored makes no random reference ID.
    let to = PhoneNumber::parse(NUMBER).unwrap();
    let derived = ReferenceId::derived("ExampleCorp", "otp", &to);
    assert_eq!(sent.body["referenceId"], derived.expose());
    let right = owner.guess(&world, &sent, &world.newest_code()).await;
    assert_eq!(right.status, 200);
    assert_eq!(right.body.get("deviceToken"), None);
}

/// Lets a stranger use up the messages of [`NUMBER`] for the day.
async fn use_up(world: &World, way: &[(&str, &str)]) {
    let mut stranger = Person::new(way);
    for _ in 0..9 {
        stranger.send(world, NUMBER).await;
        world.advance(Duration::from_mins(10));
    }
    let refused = stranger.send(world, NUMBER).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.body["limit"], "number");
}

#[tokio::test]
async fn only_a_token_of_this_number_that_is_not_too_old_opens_the_reserve() {
    for way in WAYS {
        let world = with_devices(way).await;
        let mut owner = Person::new(way);
        let token = owner.verify(&world).await;
        let mut other = Person::new(way);
        let sent = other.send(&world, "+12065550199").await;
        let otp = world.simulator.newest_to("+12065550199").unwrap().code;
        let body = json!({ "destinationNumber": "+12065550199", "otp": otp, "referenceId": sent.body["referenceId"] });
        let right = other.ask(&world, "verify", body).await;
        let stolen = right.body["deviceToken"].clone();
        assert!(stolen.is_string() && stolen != token, "{right:?}");

        // Before the end, and after it.
        for (days, status) in [(28, 202), (3, 429)] {
            world.advance(DAY * days);
            use_up(&world, way).await;
            for token in [
                stolen.clone(),
                json!("x"),
                json!(format!("{}x", token.as_str().unwrap())),
            ] {
                owner.token = Some(token);
                owner
                    .send(&world, NUMBER)
                    .await
                    .is_problem(429, "rate_limited");
            }
            owner.token = Some(token.clone());
            assert_eq!(owner.send(&world, NUMBER).await.status, status, "{days}");
        }
        for bad in [json!(""), json!("a b"), json!("x".repeat(129)), json!(7)] {
            owner.token = Some(bad);
            let answer = owner.send(&world, NUMBER).await;
            answer.is_problem(400, "invalid_parameter");
            assert_eq!(answer.body["field"], "deviceToken");
        }
    }
}

/// A window shorter than an hour holds at each door in full, so the reserve has nothing to give in its place.
#[tokio::test]
async fn a_second_tap_takes_nothing_from_the_reserve() {
    for way in WAYS {
        let world = with_devices(way).await;
        let (mut owner, mut stranger) = (Person::new(way), Person::new(way));
        owner.verify(&world).await;
        world.advance(DAY);
        let first = owner.send(&world, NUMBER).await;
        assert_eq!(first.status, 202, "{first:?}");
        let (texts, numbers) = (world.simulator.inbox().len(), world.ledger.numbers());
        for _ in 0..20 {
            world.advance(Duration::from_secs(1));
            let tap = owner.send(&world, NUMBER).await;
            assert_eq!(tap.status, 429, "{way:?}: {tap:?}");
        }
        assert_eq!(world.simulator.inbox().len(), texts);
        assert_eq!(world.ledger.numbers(), numbers);
        // The control: the window of a day is full, too, at the same time as the short ones.
        for _ in 0..3 {
            world.advance(Duration::from_mins(10));
            assert_eq!(stranger.send(&world, NUMBER).await.status, 202);
        }
        world.advance(Duration::from_secs(1));
        stranger
            .send(&world, NUMBER)
            .await
            .is_problem(429, "rate_limited");
        let reserved = owner.send(&world, NUMBER).await;
        assert_eq!(reserved.status, 202, "{way:?}: {reserved:?}");
        assert_eq!(world.last_line()["door"], "device");
        // A second tap is refused at the door for devices, too, and takes no place there.
        world.advance(Duration::from_secs(1));
        assert_eq!(owner.send(&world, NUMBER).await.status, 429);
        world.advance(Duration::from_secs(90));
        assert_eq!(owner.send(&world, NUMBER).await.status, 202);
        assert_eq!(world.simulator.inbox().len(), texts + 5);
    }
}

/// After ten wrong guesses HTTP sends no code for a quarter of an hour. Strangers can cause this wait, so it opens the
/// door, although it is shorter than an hour.
#[tokio::test]
async fn a_wait_after_wrong_guesses_opens_the_reserve() {
    let way = WAYS[1];
    let world =
        with_devices(&[way, &[("SEND_LIMITS", "20/1s"), ("ALLOWED_ATTEMPTS", "5")]].concat()).await;
    let (mut owner, mut stranger) = (Person::new(way), Person::new(way));
    owner.verify(&world).await;
    for _ in 0..2 {
        world.advance(Duration::from_mins(1));
        let sent = stranger.send(&world, NUMBER).await;
        for n in 0..5 {
            stranger.guess(&world, &sent, &wrong(n)).await;
        }
    }
    world.advance(Duration::from_mins(1));
    let refused = stranger.send(&world, NUMBER).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.body["limit"], "guesses");
    assert_eq!(owner.send(&world, NUMBER).await.status, 202);
    assert_eq!(world.last_line()["door"], "device");
}

#[tokio::test]
async fn a_device_has_a_part_of_each_limit_that_strangers_can_use_up() {
    let stranger_uses = async |settings: &[(&str, &str)], numbers: u32, limit: &str| {
        let world = with_devices(&[&[("REFERENCE_ID", "random")], settings].concat()).await;
        let mut owner = Person::new(&[]);
        owner.verify(&world).await;
        world.advance(DAY);
        let mut stranger = Person::new(&[]);
        for n in 0..numbers {
            let answer = stranger.send(&world, &format!("+1425555{n:04}")).await;
            assert_eq!(answer.status, 202, "{limit} {n}: {answer:?}");
        }
        let refused = stranger.send(&world, NUMBER).await;
        refused.is_problem(429, "rate_limited");
        assert_eq!(refused.body["limit"], limit);
        let counted = world.ledger.counters();
        let sent = owner.send(&world, NUMBER).await;
        assert_eq!(sent.status, 202, "{limit}: {sent:?}");
        assert_eq!(world.last_line()["door"], "device");
        // The counts of HTTP are as before: of the two doors, only one has counted the message.
        let sum = |counters: &BTreeMap<_, u64>| counters.values().sum::<u64>();
        assert_eq!(sum(&world.ledger.counters()), sum(&counted) + 1, "{limit}");
        // The budgets of HTTP are the ones that are full.
        let used =
            |line: &Value| [&line["budgetUsed"], &line["countryBudgetUsed"]].map(Value::as_u64);
        let full = match limit {
            "budget" => [Some(100), None],
            "country" => [None, Some(100)],
            _ => [None, None],
        };
        assert_eq!(used(&world.last_line()), full, "{limit}");
        // The device's own part ends, too.
        world.advance(Duration::from_secs(90));
        owner
            .send(&world, NUMBER)
            .await
            .is_problem(429, "rate_limited");
        assert_eq!(used(&world.last_line()), full, "{limit}, refused");
    };
    stranger_uses(&[("PREFIX_LIMITS", "10/24h")], 9, "prefix").await;
    stranger_uses(&[("BUDGETS", "10/24h")], 9, "budget").await;
    stranger_uses(&[("COUNTRY_LIMITS", "US=10/24h")], 9, "country").await;
}

#[tokio::test]
async fn a_token_lifts_no_limit_that_strangers_cannot_cause() {
    let way = WAYS[0];
    let limits = [way, &[("SOURCE_LIMITS", "12/24h")]].concat();
    let world = with_devices(&limits).await;
    let mut owner = Person::new(way);
    owner.verify(&world).await;
    use_up(&world, way).await;
    let key = world.ledger.numbers().into_keys().next().unwrap();
    for (switches, status, code) in [
        (
            Switches {
                paused: true,
                ..Switches::default()
            },
            503,
            "sending_paused",
        ),
        (
            Switches {
                blocked: [key.as_str().to_owned()].into(),
                ..Switches::default()
            },
            403,
            "destination_blocked",
        ),
    ] {
        world.ledger.switch(switches);
        world.advance(Duration::from_secs(20));
        owner.send(&world, NUMBER).await.is_problem(status, code);
    }
    world.ledger.switch(Switches::default());
    world.advance(Duration::from_secs(20));
    // One address.
    for _ in 0..12 {
        owner.requests = 1_000;
        owner.send(&world, "+14255550143").await;
    }
    owner.requests = 1_000;
    let refused = owner.send(&world, NUMBER).await;
    assert_eq!(refused.body["limit"], "source", "{refused:?}");
    // The control: from another address, the device is let through.
    owner.requests = 2_000;
    assert_eq!(owner.send(&world, NUMBER).await.status, 202);
}

/// With derived reference IDs, everybody who knows the number knows the name of its verification. A device therefore
/// gets a random ID, so that nobody else can use up the guesses at its code.
#[tokio::test]
async fn a_device_gets_a_random_reference_id_even_if_they_are_derived() {
    let way = WAYS[2];
    let world = with_devices(way).await;
    let (mut owner, mut stranger) = (Person::new(way), Person::new(way));
    let derived = stranger.send(&world, NUMBER).await;
    let right = stranger.guess(&world, &derived, &world.newest_code()).await;
    owner.token = Some(right.body["deviceToken"].clone());
    world.advance(Duration::from_mins(20));
    let own = owner.send(&world, NUMBER).await;
    assert_eq!(own.status, 202, "{own:?}");
    assert_ne!(own.body["referenceId"], derived.body["referenceId"]);
    world.advance(Duration::from_mins(2));
    let again = stranger.send(&world, NUMBER).await;
    assert_eq!(again.body["referenceId"], derived.body["referenceId"]);
    for n in 0..3 {
        let guess = json!({ "destinationNumber": NUMBER, "otp": wrong(n) });
        stranger
            .ask(&world, "verify", guess)
            .await
            .is_problem(422, "invalid_code");
    }
    // A guess without the ID is one at the derived verification, with a token, too.
    let guess = json!({ "destinationNumber": NUMBER, "otp": wrong(9) });
    owner
        .ask(&world, "verify", guess)
        .await
        .is_problem(410, "attempts_exhausted");
    let otp = world
        .simulator
        .inbox()
        .into_iter()
        .rev()
        .nth(1)
        .unwrap()
        .code;
    assert_eq!(owner.guess(&world, &own, &otp).await.status, 200);
}

#[tokio::test]
async fn a_repeated_send_of_a_device_gets_the_same_reference_id() {
    let way = WAYS[2];
    let world = with_devices(way).await;
    let mut owner = Person::new(way);
    let token = owner.verify(&world).await;
    use_up(&world, way).await;
    let event = |body: Value| {
        let mut event = post("/otp/send", &body.to_string());
        event["headers"]["idempotency-key"] = json!("one");
        event
    };
    let with_token = event(json!({ "destinationNumber": NUMBER, "deviceToken": token }));
    let first = world.event(&with_token).await;
    assert_eq!(first.status, 202, "{first:?}");
    let texts = world.simulator.inbox().len();
    let again = world.event(&with_token).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(world.simulator.inbox().len(), texts);
    let right = owner.guess(&world, &again, &world.newest_code()).await;
    assert_eq!(right.status, 200, "{right:?}");
    let without = event(json!({ "destinationNumber": NUMBER }));
    world
        .event(&without)
        .await
        .is_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn wrong_guesses_of_a_device_lock_its_reserve_until_an_operator_unlocks_it() {
    let way = WAYS[1];
    let world = with_devices(
        &[
            way,
            &[
                ("SEND_LIMITS", "20/1s"),
                ("ALLOWED_ATTEMPTS", "5"),
                ("DEVICE_TOKEN_DAYS", "365"),
            ],
        ]
        .concat(),
    )
    .await;
    let (mut owner, mut stranger) = (Person::new(way), Person::new(way));
    owner.verify(&world).await;
    for _ in 0..40 {
        let sent = stranger.send(&world, NUMBER).await;
        for n in 0..5 {
            stranger.guess(&world, &sent, &wrong(n)).await;
        }
        world.advance(DAY);
    }
    stranger
        .send(&world, NUMBER)
        .await
        .is_problem(403, "destination_locked");
    for n in 0..10 {
        let sent = owner.send(&world, NUMBER).await;
        assert_eq!(sent.status, 202, "{n}: {sent:?}");
        owner
            .guess(&world, &sent, &wrong(n))
            .await
            .is_problem(422, "invalid_code");
        world.advance(Duration::from_hours(1));
    }
    let log = world.log.text();
    let near: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == "number_near_lock" && line["door"] == "device")
        .map(|line| (line["failedGuesses"].clone(), line["lockedAt"].clone()))
        .collect();
    assert_eq!(near, [(json!(5), json!(10))]);
    world.advance(DAY);
    owner
        .send(&world, NUMBER)
        .await
        .is_problem(403, "destination_locked");
    let unlock = json!({ "operation": "unlock", "destinationNumber": NUMBER }).to_string();
    world.raw(&unlock).await.unwrap();
    owner.verify(&world).await;
    let failures: u32 = world.ledger.numbers().values().map(|it| it.failures).sum();
    assert_eq!(failures, 0);
}

/// Charges failed guesses to a number, as far as the lock of a door allows.
async fn fail(world: &World, door: Door, failures: u32) {
    let to = PhoneNumber::parse(NUMBER).unwrap();
    // The bytes of `KEY`.
    let item = Hasher::from_secret(&[0; 32]).number_at(door, &to);
    // No wait after failed guesses is as long.
    let past = Millis::from(world.simulator.now()).minus(2 * DAY);
    for n in 0..failures {
        let charged = world.ledger.charge_number(&item, 100, past).await;
        assert!(matches!(charged, Ok(NumberCharge::Charged(_))), "{n}");
    }
}

/// The failures at the doors stay within 100 in sum, even if HTTP and sign-ins had all 100 before the operator turned
/// tokens on. Each text that a device gets can be verified.
#[tokio::test]
async fn failures_of_before_count_in_the_reserve() {
    let way = WAYS[1];
    let settings = [
        way,
        &[
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", crate::world::KEY),
            ("SEND_LIMITS", "20/1s"),
            ("CODE_LENGTH", "8"),
            ("DEVICE_TOKEN_DAYS", "365"),
        ],
    ]
    .concat();
    for (share, over_http, in_sign_ins, left) in [
        ("0", 97, 0, 3),
        ("0", 98, 0, 2),
        ("0", 99, 0, 1),
        ("0", 100, 0, 0),
        ("0", 90, 0, 10),
        // Sign-ins have no part any more, so their failures count for nothing.
        ("0", 90, 50, 10),
        ("50", 48, 0, 2),
        ("50", 40, 50, 10),
        ("50", 50, 50, 0),
        ("60", 40, 60, 0),
        ("60", 35, 55, 10),
        ("60", 37, 58, 5),
        ("70", 35, 65, 0),
        ("80", 35, 61, 4),
        ("90", 35, 65, 0),
        ("90", 35, 56, 9),
    ] {
        let case = format!("share {share}, {over_http} over HTTP, {in_sign_ins} in sign-ins");
        let mut world = with_devices(&settings).await;
        let mut owner = Person::new(way);
        owner.verify(&world).await;
        world.advance(DAY);
        fail(&world, Door::Http, over_http).await;
        fail(&world, Door::SignIn, in_sign_ins).await;
        let with_share = [settings.as_slice(), &[("SIGN_IN_SHARE", share)]].concat();
        world.reconfigure(&with_share).await;
        let before = world.simulator.requests(Operation::Verify).len();
        for n in 0..30 {
            let sent = owner.send(&world, NUMBER).await;
            if sent.status != 202 {
                sent.is_problem(403, "destination_locked");
                break;
            }
            let guessed = owner.guess(&world, &sent, &wrong(n)).await;
            assert_eq!(guessed.body["code"], "invalid_code", "{case}: {guessed:?}");
            world.advance(DAY);
        }
        let asked = world.simulator.requests(Operation::Verify).len() - before;
        assert_eq!(u32::try_from(asked).unwrap(), left, "{case}");
    }
}

/// The fixed code of a test number shows nothing about a device.
#[tokio::test]
async fn a_test_number_gives_no_token() {
    for way in WAYS {
        let test = [("TEST_NUMBERS", "+14255550142=24680246@2099-01-31")];
        let world = with_devices(&[way, &test].concat()).await;
        let mut owner = Person::new(way);
        let sent = owner.send(&world, NUMBER).await;
        let body = json!({ "destinationNumber": NUMBER, "otp": "24680246", "referenceId": sent.body["referenceId"] });
        let mut event = post("/otp/verify", &body.to_string());
        event["headers"]["idempotency-key"] = json!("one");
        for _ in 0..2 {
            let right = world.event(&event).await;
            assert_eq!(right.status, 200, "{right:?}");
            assert_eq!(right.body.get("deviceToken"), None);
        }
    }
}

/// With random IDs a token changes nothing in the response, so a request and its repeat may differ in it.
#[tokio::test]
async fn a_token_changes_a_request_only_if_it_changes_the_reference_id() {
    let named = ReferenceId::parse("11f9f6a4-5c62-4d37-a7b8-0d9f0a4d7c12").unwrap();
    for (way, reference, is_other) in [
        (WAYS[1], None, false),
        (WAYS[2], Some(named.expose()), false),
        (WAYS[2], None, true),
    ] {
        let world = with_devices(way).await;
        let mut body = json!({ "destinationNumber": NUMBER });
        if let Some(reference) = reference {
            body["referenceId"] = json!(reference);
        }
        let mut first = None;
        for token in [None, Some("invented")] {
            if let Some(token) = token {
                body["deviceToken"] = json!(token);
            }
            let mut event = post("/otp/send", &body.to_string());
            event["headers"]["idempotency-key"] = json!("one");
            let sent = world.event(&event).await;
            match &first {
                None => assert_eq!(sent.status, 202, "{sent:?}"),
                Some(_) if is_other => sent.is_problem(422, "idempotency_key_reused"),
                Some(first) => assert_eq!((sent.status, &sent.body), (202, first)),
            }
            first = first.or(Some(sent.body));
        }
    }
}

/// `unlock` clears each open door. A closed door keeps its failures.
#[tokio::test]
async fn unlock_clears_all_open_doors() {
    for (devices, left) in [("0", 10), ("30", 0)] {
        let share = ("SIGN_IN_SHARE", "50");
        let world = with_devices(&[("DEVICE_TOKEN_DAYS", devices), share]).await;
        for door in [Door::Http, Door::SignIn, Door::Device] {
            fail(&world, door, 10).await;
        }
        let unlock = json!({ "operation": "unlock", "destinationNumber": NUMBER }).to_string();
        world.raw(&unlock).await.unwrap();
        let failures: u32 = world.ledger.numbers().values().map(|it| it.failures).sum();
        assert_eq!(failures, left, "{devices}");
    }
}
