//! The names of numbers and addresses in the log, and what an operator is told about a number.

use crate::pool::{SignIn, User};
use crate::world::{NUMBER, World, post};
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const OTHER: &str = "+447700900123";

/// The function's answer about a number: its name in the log, and the sentences.
async fn why(world: &World, number: &str) -> (String, Vec<String>) {
    let event = json!({ "operation": "why", "destinationNumber": number });
    let told = world.raw(&event.to_string()).await.unwrap();
    assert!(!told.to_string().contains(&number[1..]), "{told}");
    let lines = told["lines"].as_array().unwrap().iter();
    let lines = lines.map(|line| line.as_str().unwrap().to_owned());
    (told["inLog"].as_str().unwrap().to_owned(), lines.collect())
}

/// The one sentence that has these words.
fn with<'a>(lines: &'a [String], words: &str) -> &'a str {
    let mut found = lines.iter().filter(|line| line.contains(words));
    match (found.next(), found.next()) {
        (Some(line), None) => line,
        _ => panic!("not one sentence has {words:?}: {lines:#?}"),
    }
}

fn holds(lines: &[String]) -> BTreeSet<&str> {
    let limits = lines
        .iter()
        .filter_map(|line| line.split_once("the limit `"));
    limits
        .filter_map(|(_, rest)| Some(rest.split_once('`')?.0))
        .collect()
}

#[tokio::test]
async fn the_log_names_a_number_by_a_pseudonym_that_only_the_function_can_make() {
    let world = World::counted(&[("SEND_LIMITS", "9/24h")]).await;
    let in_log = |line: &Value| line["number"].as_str().map(str::to_owned);
    let code = world.code_on_the_phone().await;
    let sent = in_log(&world.last_line()).unwrap();
    let body = json!({ "destinationNumber": NUMBER, "otp": code });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    assert_eq!(in_log(&world.last_line()).as_ref(), Some(&sent));
    assert_eq!(why(&world, NUMBER).await.0, sent);
    assert_eq!(world.send_to(OTHER).await.status, 202);
    assert_ne!(in_log(&world.last_line()).as_ref(), Some(&sent));
    // A refused country is a number, too; a request that cannot be read has none.
    assert_eq!(world.send_to("+4915123456789").await.status, 403);
    assert!(in_log(&world.last_line()).is_some());
    assert_eq!(world.send_to("+1425").await.status, 422);
    assert_eq!(in_log(&world.last_line()), None);
    // Without a ledger there is no key.
    let without = World::new().await;
    assert_eq!(without.send_to(NUMBER).await.status, 202);
    assert_eq!(in_log(&without.last_line()), None);
}

#[tokio::test]
async fn a_sign_in_of_nobody_names_no_number() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    let logged = |operation: &str| {
        let lines = world.lines().into_iter();
        let mut of_sign_in = lines.filter(|line| line["operation"] == operation);
        of_sign_in.next_back().unwrap()["number"].clone()
    };
    let mut sign_in = SignIn::begin(&world, &User::unknown(NUMBER)).await;
    sign_in.answer(&world, "000000").await;
    for operation in ["create", "verify"] {
        assert_eq!(logged(operation), Value::Null, "{operation}");
    }
    // The control: a user who exists.
    let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    sign_in.answer(&world, "000000").await;
    let own = why(&world, NUMBER).await.0;
    for operation in ["create", "verify"] {
        assert_eq!(logged(operation), json!(own), "{operation}");
    }
}

#[tokio::test]
async fn the_log_names_the_address_that_the_limits_count() {
    let world = World::counted(&[("SEND_LIMITS", "9/24h")]).await;
    let source = async |address: Option<&str>| {
        let mut body = json!({ "destinationNumber": NUMBER });
        if let Some(address) = address {
            body["clientIp"] = json!(address);
        }
        assert_eq!(world.post("/otp/send", &body).await.status, 202);
        world.advance(Duration::from_mins(11));
        let line = world.last_line();
        line["source"].as_str().map(str::to_owned)
    };
    let one = source(Some("192.0.2.7")).await.unwrap();
    assert_ne!(source(Some("192.0.2.8")).await.unwrap(), one);
    assert_eq!(source(Some("192.0.2.7")).await.unwrap(), one);
    assert_eq!(source(None).await, None);
    assert!(!world.log.text().contains("192.0.2."));
}

#[tokio::test]
async fn an_operator_is_told_what_happened_and_which_limits_hold() {
    let world = World::counted(&[("PREFIX_LIMITS", "2/1h"), ("BUDGETS", "3/1h")]).await;
    world.begin_a_day();
    let (_, lines) = why(&world, NUMBER).await;
    assert_eq!(
        lines,
        [
            "Over HTTP: no message is on record; no failed guess.",
            "Over HTTP: no limit holds."
        ]
    );
    let sent = world.send_to(NUMBER).await;
    assert_eq!(sent.status, 202);
    let body = json!({ "destinationNumber": NUMBER, "otp": "000000" });
    assert_eq!(world.post("/otp/verify", &body).await.status, 422);
    let (_, lines) = why(&world, NUMBER).await;
    with(&lines, "Over HTTP: 1 message in 24 hours, at 20");
    with(&lines, "1 failed guess since the last success");
    let until = sent.body["resendAt"].as_str().unwrap();
    assert_eq!(
        with(&lines, "limit `number`"),
        format!("Over HTTP: the limit `number` holds until {until}.")
    );
    assert_eq!(holds(&lines), BTreeSet::from(["number"]));
    // A minute later the number may have the next one.
    world.advance(Duration::from_mins(1));
    assert_eq!(holds(&why(&world, NUMBER).await.1), BTreeSet::new());
    // A number beside it uses up the prefix, and one of another prefix the budget.
    assert_eq!(world.send_to("+14255550143").await.status, 202);
    assert_eq!(
        holds(&why(&world, NUMBER).await.1),
        BTreeSet::from(["prefix"])
    );
    assert_eq!(holds(&why(&world, OTHER).await.1), BTreeSet::new());
    assert_eq!(world.send_to("+14255560143").await.status, 202);
    assert_eq!(
        holds(&why(&world, NUMBER).await.1),
        BTreeSet::from(["budget", "prefix"])
    );
    assert_eq!(
        holds(&why(&world, OTHER).await.1),
        BTreeSet::from(["budget"])
    );
}

#[tokio::test]
async fn an_operator_is_told_of_countries_switches_and_test_numbers() {
    let test = ("TEST_NUMBERS", "+14255550100=123456@2099-01-31");
    let world = World::counted(&[test, ("COUNTRY_LIMITS", "GB=1/24h")]).await;
    let (_, lines) = why(&world, "+4915123456789").await;
    with(
        &lines,
        "It gets no codes, because of `country_not_allowed`.",
    );
    let (_, lines) = why(&world, "+14255550100").await;
    assert_eq!(
        lines,
        ["It is a test number until 2099-02-01T00:00:00Z: it gets no messages."]
    );
    assert_eq!(world.send_to(OTHER).await.status, 202);
    assert_eq!(
        holds(&why(&world, "+447700900124").await.1),
        BTreeSet::from(["country"])
    );
    let event = json!({ "operation": "key", "destinationNumber": OTHER }).to_string();
    let key = world.raw(&event).await.unwrap()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let list = |entries: &[&str]| entries.iter().map(|it| (*it).to_owned()).collect();
    world.ledger.switch(Switches {
        paused: true,
        blocked: list(&[&key, "+4477", "+1876"]),
        allowed: BTreeSet::new(),
    });
    let (_, lines) = why(&world, OTHER).await;
    with(
        &lines,
        "Sending is paused for all numbers, until `make resume`.",
    );
    with(
        &lines,
        "There is a block of this number, until `make unblock NUMBER=…`.",
    );
    with(
        &lines,
        "a block of all numbers that begin with +4477, until `make unblock PREFIX=+4477`.",
    );
    assert!(!lines.concat().contains("1876"), "{lines:?}");
    // The control: the block of a prefix does not hold for a number that is allowed.
    world.ledger.switch(Switches {
        paused: false,
        blocked: list(&["+4477"]),
        allowed: list(&[&key]),
    });
    let (_, lines) = why(&world, OTHER).await;
    with(&lines, "this number is allowed in spite of it.");
    assert!(!lines.concat().contains("paused"), "{lines:?}");
}

#[tokio::test]
async fn an_operator_is_told_of_a_lock_at_its_door() {
    let settings = [("SIGN_IN_SHARE", "50"), ("ALLOWED_ATTEMPTS", "5")];
    let world = World::counted(&settings).await;
    let mut refused = 0;
    // 50 failed guesses lock the door HTTP. Each day brings a new code.
    for _ in 0..40 {
        let sent = world.send_to(NUMBER).await;
        if sent.status == 403 {
            refused += 1;
            break;
        }
        for otp in ["000001", "000002", "000003", "000004", "000005"] {
            let body = json!({ "destinationNumber": NUMBER, "otp": otp });
            world.event(&post("/otp/verify", &body.to_string())).await;
        }
        world.advance(Duration::from_hours(25));
    }
    assert_eq!(refused, 1);
    let (_, lines) = why(&world, NUMBER).await;
    with(
        &lines,
        "Over HTTP: it is locked, and gets `destination_locked`, until `make unlock`.",
    );
    with(&lines, "50 failed guesses since the last success");
    // The control: the other door is open.
    let at_sign_ins: Vec<_> = lines
        .iter()
        .filter(|it| it.starts_with("At sign-ins"))
        .collect();
    assert!(
        at_sign_ins.iter().all(|it| !it.contains("locked")),
        "{lines:?}"
    );
    assert_eq!(at_sign_ins.len(), 2, "{lines:?}");
}
