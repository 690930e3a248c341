//! Whatever strangers do, every item that they leave in the table has an end.

use crate::emulator::{Emulator, Request, keep_what_is_used};
use crate::pool::{SignIn, User};
use crate::world::{Answer, KEY, NUMBER, World, app, changed, file, post};
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::collections::BTreeSet;
use std::time::Duration;

/// The kinds of items that the function writes.
const KINDS: [&str; 6] = ["V", "N", "I", "S", "R", "B"];

/// A function on an emulated table.
async fn world(emulator: &Emulator, settings: &[(&str, &str)]) -> World {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let usual = [
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", KEY),
        ("COGNITO_FLOOR_MS", "0"),
        ("SOURCE_LIMITS", "100/10m"),
        ("PREFIX_LIMITS", "9/1h"),
        ("BUDGETS", "9/1h,12/24h"),
        ("COUNTRY_LIMITS", "US=8/24h;*=3/24h"),
    ];
    let environment = changed(&simulator.url(), &[&usual, settings].concat());
    let app = app(&environment, None, Box::new(emulator.ledger())).await;
    World::around(app, simulator)
}

/// The event of a stranger, or of a backend that gives a stranger's address.
fn event(path: &str, mut body: Value, key: &str, is_public: bool) -> Value {
    if !is_public {
        body["clientIp"] = json!("192.0.2.1");
    }
    let mut event = post(path, &body.to_string());
    if !key.is_empty() {
        event["headers"]["idempotency-key"] = json!(key);
    }
    if is_public {
        let context = event["requestContext"].as_object_mut().unwrap();
        context.remove("authorizer");
        context["http"]["sourceIp"] = json!("192.0.2.1");
    }
    event
}

/// Makes requests of every kind. There are sends with and without an idempotency key: successful, refused, unclear and
/// limited ones, and resends. There are wrong, right and repeated guesses, and one guess at a verification that does
/// not exist.
async fn http(world: &World, is_public: bool) {
    let key = |nth: usize| format!("the-key-of-a-request-{nth}");
    let ask = async |path: &str, body: Value, key: &str| -> Answer {
        world.event(&event(path, body, key, is_public)).await
    };
    let mut statuses = BTreeSet::new();
    let failures = [
        None,
        Some(Failure::PermanentFailure),
        Some(Failure::UnknownFailure),
        Some(Failure::Throttled),
        None,
    ];
    for (nth, failure) in failures.into_iter().enumerate() {
        for number in [format!("+1425555011{nth}"), format!("+44770090012{nth}")] {
            if let Some(failure) = failure.clone() {
                world.simulator.fail_next(Operation::Send, failure);
            }
            let key = if nth == 4 { String::new() } else { key(nth) };
            let to = json!({ "destinationNumber": number });
            let sent = ask("/otp/send", to.clone(), &key).await;
            statuses.insert(sent.status);
            statuses.insert(ask("/otp/send", to, &key).await.status);
            let Some(reference) = sent.body.get("referenceId") else {
                continue;
            };
            let code = world.code_of(&number);
            for otp in ["000000", "000000", code.as_str(), code.as_str()] {
                let guess =
                    json!({ "destinationNumber": number, "referenceId": reference, "otp": otp });
                statuses.insert(ask("/otp/verify", guess, &key).await.status);
            }
        }
    }
    let nothing =
        json!({ "destinationNumber": NUMBER, "otp": "000000", "referenceId": "0".repeat(32) });
    ask("/otp/verify", nothing, "").await;
    // A number that keeps a failure, and one whose message is sent again.
    let to = json!({ "destinationNumber": NUMBER });
    let sent = ask("/otp/send", to.clone(), "").await;
    let guess = json!({ "destinationNumber": NUMBER, "otp": "000000", "referenceId": sent.body["referenceId"] });
    statuses.insert(ask("/otp/verify", guess, "").await.status);
    world.advance(Duration::from_secs(31));
    ask("/otp/send", to, "").await;
    for expected in [200, 202, 422, 429] {
        assert!(statuses.contains(&expected), "{statuses:?}");
    }
}

/// A backend that passes on whatever strangers ask about.
async fn relayed(world: &World) {
    http(world, false).await;
    for source in 0..8 {
        let mut body =
            json!({ "destinationNumber": "+14255550150", "source": format!("x{source}") });
        for path in ["/otp/status", "/otp/cancel"] {
            world.event(&event(path, body.clone(), "", false)).await;
        }
        body["otp"] = json!("012345");
        world
            .event(&event("/otp/verify", body.clone(), "", false))
            .await;
        world.advance(Duration::from_secs(31));
        world
            .event(&event("/otp/cancel", body_without_otp(body), "", false))
            .await;
    }
}

fn body_without_otp(mut body: Value) -> Value {
    body.as_object_mut().unwrap().remove("otp");
    body
}

/// Sign-ins with names that exist and names that do not, answered wrong, asked again, deeper and deeper.
async fn cognito(world: &World) {
    let users = [
        User::with_number("+14255550160"),
        User::with_number("+447700900160"),
        User::unknown("nobody"),
        User::unknown("+14255550161"),
        User::unknown("+14255550160"),
    ];
    for user in users {
        for _ in 0..4 {
            let mut sign_in = SignIn::begin(world, &user).await;
            world.advance(Duration::from_secs(31));
            for answer in ["000000", "resend", "111111"] {
                if sign_in.shown["state"] != "ended" {
                    sign_in.answer(world, answer).await;
                }
            }
        }
    }
    let mut sign_up = file("cognito.pre-sign-up");
    sign_up["request"]["userAttributes"]["phone_number"] = json!("+14255550162");
    sign_up["request"]["validationData"] = json!({ "referenceId": "0".repeat(32) });
    assert!(world.raw(&sign_up.to_string()).await.is_err());
}

/// Goes every way through every door. Returns the kinds of the items, and of those without an end.
async fn every_way(emulator: &Emulator) -> [BTreeSet<String>; 2] {
    let open = [("API_AUTH", "none"), ("COGNITO_PRE_SIGN_UP", "on")];
    let public = world(emulator, &open).await;
    http(&public, true).await;
    cognito(&public).await;
    let iam = world(emulator, &[("FOREIGN_CODES", "on")]).await;
    // The budgets of the first day are spent.
    iam.advance(Duration::from_hours(49));
    relayed(&iam).await;
    cognito(&iam).await;

    let items = emulator.items();
    assert!(items.len() > 60, "{}", items.len());
    let kinds = |without_end: bool| {
        let chosen = items
            .iter()
            .filter(|item| !without_end || item.get("ttl").is_none());
        chosen
            .map(|item| {
                item["pk"]
                    .as_str()
                    .unwrap()
                    .split('#')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    [kinds(false), kinds(true)]
}

#[tokio::test]
async fn every_item_that_strangers_leave_has_an_end() {
    let [all, without_end] = Box::pin(every_way(&Emulator::new())).await;
    assert_eq!(all, KINDS.map(str::to_owned).into());
    assert_eq!(without_end, BTreeSet::new());

    // The controls: the version before kept failures for ever, and no update sets an end.
    let forgets = |parts: &'static [&str]| {
        move |request: &mut Request| {
            let update = request.body["UpdateExpression"].as_str().unwrap_or("");
            if parts.iter().all(|part| update.contains(part)) {
                let without = update
                    .replace(", #ttl = :ttl", "")
                    .replace(", #ttl = :later", "");
                let removes = if parts.contains(&"#lf = :now") {
                    " REMOVE #ttl"
                } else {
                    ""
                };
                request.body["UpdateExpression"] = json!(format!("{without}{removes}"));
                keep_what_is_used(&mut request.body);
            }
        }
    };
    let emulator = Emulator::new();
    emulator.rewrite(forgets(&["#lf = :now"]));
    assert_eq!(
        Box::pin(every_way(&emulator)).await[1],
        ["N".to_owned()].into()
    );
    let emulator = Emulator::new();
    emulator.rewrite(forgets(&["#ttl = "]));
    let [_, without_end] = Box::pin(every_way(&emulator)).await;
    for kind in ["V", "N", "I"] {
        assert!(without_end.contains(kind), "{without_end:?}");
    }
}

/// If a message has just been sent over HTTP, a sign-in sends nothing. A later sign-in must not refund more than it has
/// counted itself. If it refunded more, a stranger could find out that the user got messages.
#[tokio::test]
async fn a_refused_sign_in_after_messages_looks_like_nobody() {
    let emulator = Emulator::new();
    let settings = [
        ("SEND_LIMITS", "1/30s,20/1h"),
        ("BUDGETS", "100/1h,100/24h"),
        ("COUNTRY_LIMITS", "US=100/24h"),
        ("SOURCE_LIMITS", "1000/1h"),
        ("PREFIX_LIMITS", "100/1h"),
    ];
    let world = world(&emulator, &settings).await;
    let number = "+14255550160";
    let send_over_http = async || {
        let body = json!({ "destinationNumber": number });
        let sent = world.event(&event("/otp/send", body, "", false)).await;
        assert_eq!(sent.status, 202, "{sent:?}");
    };
    let users = [User::with_number(number), User::unknown("nobody")];
    let texts = || world.simulator.requests(Operation::Send).len();
    for is_refused in [true, false, false, false, true, true] {
        if is_refused {
            send_over_http().await;
        }
        let before = texts();
        let mut shown = Vec::new();
        for user in &users {
            let sign_in = SignIn::begin(&world, user).await;
            shown.push([&sign_in.shown["state"], &sign_in.shown["attemptsLeft"]].map(Value::clone));
        }
        assert_eq!(shown[0], shown[1], "refused: {is_refused}");
        assert_eq!(shown[0][0], "sent");
        assert_eq!(texts() - before, usize::from(!is_refused));
        world.advance(Duration::from_mins(11));
    }
}
