//! Sign-ins of unknown or blocked users are decoys: the app cannot distinguish them from real ones.

use crate::money::{LONG_BRAND, SEGMENT, priced};
use crate::pool::{Next, SignIn, User, answer_correct, decision_of, is_challenge, seconds};
use crate::with;
use crate::world::World;
use futures_util::future::join_all;
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use simulator::{Operation, is_full, sized};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const FLOOR: Duration = Duration::from_millis(200);
const REAL: &str = "+14255550142";
const BLOCKED: &str = "+14255550144";
const LIMITED: &str = "+14255550145";
const LOCKED: &str = "+14255550146";
const UNREACHABLE: &str = "+14255550111";

/// The users of a script. The sign-in of the first is real, those of the others are decoys.
fn all_users() -> Vec<(&'static str, User)> {
    let with = User::with_number;
    vec![
        ("real", with(REAL)),
        ("unknown, by number", User::unknown("+14255550147")),
        ("unknown, by name", User::unknown("nobody")),
        (
            "unknown, with attributes",
            User {
                not_found: true,
                ..with("+14255550148")
            },
        ),
        (
            "without a number",
            with("+14255550149").but("phone_number", Value::Null),
        ),
        (
            "with half a number",
            with("+14255550120").but("phone_number", json!("0142")),
        ),
        (
            "without attributes",
            User {
                attributes: json!({}),
                name: "bare".to_owned(),
                ..with(REAL)
            },
        ),
        (
            "unverified",
            with("+14255550121").but("phone_number_verified", json!("false")),
        ),
        ("in a country that is not served", with("+819012345678")),
        ("blocked", with(BLOCKED)),
        ("over a limit", with(LIMITED)),
        ("locked", with(LOCKED)),
        ("unreachable", with(UNREACHABLE)),
    ]
}

/// One step of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Define,
    Create,
    Verify(&'static str),
    Wait(u64),
}

use Step::{Create, Define, Verify, Wait};

/// What the client sees of a step, and how long it took.
struct Seen {
    response: Value,
    took: Duration,
}

async fn step(world: &World, sign_in: &mut SignIn, step: Step) -> Seen {
    let began = Instant::now();
    let event = match step {
        Define => sign_in.define_event(),
        Create => sign_in.create_event(),
        Verify(answer) => sign_in.verify_event(answer),
        Wait(_) => unreachable!("time passes for all users at once"),
    };
    let mut response = world.trigger(&event).await;
    let took = began.elapsed();
    match step {
        Create => {
            is_challenge(&response);
            sign_in.keep(&response);
            // Values that the client does not see, or that differ between users, are compared by their
            // form.
            let (metadata, left) = response["challengeMetadata"]
                .as_str()
                .unwrap()
                .rsplit_once(':')
                .unwrap();
            let (length, left) = (metadata.len(), left.to_owned());
            response["challengeMetadata"] = json!([length, left]);
            for field in ["reference", "nonce"] {
                let parameter = &mut response["privateChallengeParameters"][field];
                *parameter = json!(parameter.as_str().unwrap().len());
            }
            let number = response["publicChallengeParameters"]["destinationNumber"]
                .as_str()
                .unwrap();
            let (country, end) = number.split_once("*******").unwrap();
            assert!(
                country.len() > 1 && (end.len() == 4 || end.len() == 2),
                "{number}"
            );
            response["publicChallengeParameters"]["destinationNumber"] = json!("+…");
        }
        Verify(_) => sign_in.answered(answer_correct(&response)),
        Define | Wait(_) => {}
    }
    Seen { response, took }
}

/// Runs a script for all users in step, and compares each with the real one after every step.
async fn compare(world: &World, sign_ins: &mut [(&'static str, SignIn)], script: &[Step]) {
    for (index, next) in script.iter().enumerate() {
        if let Wait(seconds) = next {
            world.advance(Duration::from_secs(*seconds));
            continue;
        }
        let seen = join_all(
            sign_ins
                .iter_mut()
                .map(|(_, sign_in)| step(world, sign_in, *next)),
        )
        .await;
        let real = &seen[0];
        for ((label, _), seen) in sign_ins.iter().zip(&seen) {
            assert_eq!(
                seen.response, real.response,
                "{label}, at step {index}, {next:?}"
            );
            if !matches!(next, Define) {
                assert!(
                    seen.took >= FLOOR,
                    "{label}, at step {index}: {:?}",
                    seen.took
                );
            }
        }
    }
}

/// A world in which each user of `all_users` is what its label says.
async fn prepared() -> World {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "200"),
        ("PREFIX_LIMITS", "none"),
        ("SEND_LIMITS", "1/30s,2/90s,4/24h"),
        ("ALLOWED_ATTEMPTS", "5"),
    ])
    .await;
    world.ledger.switch(Switches {
        blocked: BTreeSet::from([BLOCKED.to_owned()]),
        ..Switches::default()
    });
    let ask = async |path: &str, body: Value| {
        let answer = world.post(path, &body).await;
        assert!([200, 202, 422, 429].contains(&answer.status), "{answer:?}");
        answer.status
    };
    // A hundred wrong guesses, with the waits that they impose.
    let failures = || {
        world
            .ledger
            .numbers()
            .values()
            .map(|number| number.failures)
            .max()
            .unwrap_or(0)
    };
    while failures() < 100 {
        if ask("/otp/send", json!({ "destinationNumber": LOCKED })).await == 202 {
            for guess in 0..5 {
                ask(
                    "/otp/verify",
                    json!({ "destinationNumber": LOCKED, "otp": format!("0000000{guess}") }),
                )
                .await;
            }
        }
        world.advance(Duration::from_hours(24));
    }
    for source in ["a", "b", "c", "d"] {
        assert_eq!(
            ask(
                "/otp/send",
                json!({ "destinationNumber": LIMITED, "source": source })
            )
            .await,
            202
        );
        world.advance(Duration::from_mins(2));
    }
    assert_eq!(
        ask(
            "/otp/send",
            json!({ "destinationNumber": LIMITED, "source": "e" })
        )
        .await,
        429
    );
    world
}

fn begun() -> Vec<(&'static str, SignIn)> {
    all_users()
        .into_iter()
        .map(|(label, user)| (label, SignIn::new(&user)))
        .collect()
}

#[tokio::test]
async fn a_decoy_looks_real_through_wrong_answers_and_resends() {
    let world = prepared().await;
    let messages = || {
        world
            .simulator
            .inbox()
            .iter()
            .filter(|message| message.to != REAL)
            .count()
    };
    let (before, asked) = (
        messages(),
        world.simulator.requests(Operation::Verify).len(),
    );
    let mut sign_ins = begun();
    let script = [
        Define,
        Create,
        Verify("00000000"),
        Define,
        Create,
        Verify("no code"),
        Define,
        Create,
        Verify("resend"),
        Define,
        Create,
        Wait(30),
        Verify("resend"),
        Define,
        Create,
        Verify("00000001"),
        Verify("00000001"),
        Define,
        Create,
        Wait(60),
        Verify("00000002"),
        Define,
        Create,
    ];
    compare(&world, &mut sign_ins, &script).await;
    let real = &sign_ins[0].1;
    real.is("try_again", "2");
    assert!(seconds(&real.shown["resendAt"]) > 0);

    // Up to the last attempt, and after it.
    let script = [
        Verify("00000003"),
        Define,
        Create,
        Verify("00000004"),
        Define,
        Create,
        Verify("00000005"),
        Define,
        Wait(31),
    ];
    compare(&world, &mut sign_ins, &script).await;
    sign_ins[0].1.is("ended", "0");
    let event = sign_ins[0].1.define_event();
    assert_eq!(decision_of(&world.trigger(&event).await), Next::Failed);

    // Only the real user's code was sent and checked.
    assert_eq!(messages(), before, "no decoy was sent a message");
    let guesses = world.simulator.requests(Operation::Verify).len() - asked;
    assert_eq!(guesses, 5);
    let sent = world
        .simulator
        .inbox()
        .iter()
        .filter(|message| message.to == REAL)
        .count();
    assert_eq!(sent, 2, "one code and one resend");
}

#[tokio::test]
async fn a_decoy_looks_real_in_a_second_sign_in() {
    let world = prepared().await;
    let mut first = begun();
    compare(&world, &mut first, &[Define, Create, Verify("00000000")]).await;
    // The session is lost. The next one adopts the open code, or the code that a decoy would have.
    let mut second = begun();
    compare(&world, &mut second, &[Define, Create]).await;
    second[0].1.is("adopted", "3");
    let script = [
        Verify("00000001"),
        Define,
        Create,
        Verify("00000002"),
        Define,
        Create,
        Verify("00000003"),
        Define,
        Create,
    ];
    compare(&world, &mut second, &script).await;
    second[0].1.is("ended", "0");
    // The last attempt is reserved for the first session, and no other session can resend.
    let mut third = begun();
    compare(
        &world,
        &mut third,
        &[Wait(60), Define, Create, Verify("resend"), Define],
    )
    .await;
    third[0].1.is("ended", "0");
    compare(
        &world,
        &mut first,
        &[Define, Create, Verify("00000004"), Define, Create],
    )
    .await;
    first[0].1.is("ended", "0");
    // New sign-ins: at once, while the windows refuse, and after that.
    for wait in [0, 31, 60, 600] {
        world.advance(Duration::from_secs(wait));
        let mut again = begun();
        compare(
            &world,
            &mut again,
            &[Define, Create, Verify("00000000"), Define, Create],
        )
        .await;
    }
}

#[tokio::test]
async fn a_decoy_looks_real_during_a_pause_and_with_a_spent_budget() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "200"),
        ("PREFIX_LIMITS", "none"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("ALLOWED_COUNTRIES", "US,GB"),
        ("BUDGETS", "3/24h"),
    ])
    .await;
    let all_users = || -> Vec<(&'static str, SignIn)> {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("nobody")),
            ("by number", User::unknown("+14255550147")),
        ]
        .map(|(label, user)| (label, SignIn::new(&user)))
        .into()
    };
    let resend = [Verify("resend"), Define, Create];
    let mut sign_ins = all_users();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(30)]).await;
    let can_resend = |sign_ins: &[(&str, SignIn)]| {
        let now = world
            .simulator
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        seconds(&sign_ins[0].1.shown["resendAt"]) <= now + 1
    };
    world.ledger.switch(Switches {
        paused: true,
        ..Switches::default()
    });
    world.advance(Duration::from_secs(11));
    compare(&world, &mut sign_ins, &resend).await;
    assert!(can_resend(&sign_ins), "nothing was sent");
    world.ledger.switch(Switches::default());
    world.advance(Duration::from_secs(11));
    compare(&world, &mut sign_ins, &resend).await;
    assert!(!can_resend(&sign_ins), "the control: now something was");
    assert_eq!(world.simulator.inbox().len(), 2);
    // Another number uses up the day's budget.
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": "+14255550120" }))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    compare(
        &world,
        &mut sign_ins,
        &[Wait(90), Verify("resend"), Define, Create],
    )
    .await;
    assert!(can_resend(&sign_ins), "nothing was sent");
    assert_eq!(world.simulator.inbox().len(), 3);
    // Sign-ins that begin now are decoys for all users.
    compare(
        &world,
        &mut all_users(),
        &[
            Wait(600),
            Define,
            Create,
            Verify("00000000"),
            Define,
            Create,
        ],
    )
    .await;
    assert_eq!(world.simulator.inbox().len(), 3);
}

/// A real user's text may take two segments. If the budget has room for one, a decoy must not look as if it was sent.
#[tokio::test]
async fn a_decoy_looks_real_with_a_budget_for_less_than_its_segments() {
    let settings = [
        ("COGNITO_FLOOR_MS", "200"),
        ("BUDGETS", "0.7USD/24h"),
        ("BRAND_NAME", LONG_BRAND),
        ("LANGUAGE", "fr-FR"),
    ];
    let world = priced("decoys", &settings).await;
    let all_users = || -> Vec<(&'static str, SignIn)> {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("nobody")),
            ("by number", User::unknown("+14255550147")),
        ]
        .map(|(label, user)| (label, SignIn::new(&user)))
        .into()
    };
    let mut sign_ins = all_users();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(31)]).await;
    // Short texts leave room for one segment; in the control, for a message to each user.
    let is_control = with::LONG_SEGMENTS == 1;
    let room = if is_control { 4 } else { 1 } * SEGMENT;
    let mut number = 14_255_560_100_u64;
    while 700_000 - world.spent("u") > room {
        number += 1;
        let short = json!({ "destinationNumber": format!("+{number}"), "brandName": "Acme" });
        assert_eq!(world.post("/otp/send", &short).await.status, 202);
    }
    assert_eq!(700_000 - world.spent("u"), room);
    // A resend, and sign-ins that begin now.
    compare(&world, &mut sign_ins, &[Verify("resend"), Define, Create]).await;
    compare(&world, &mut all_users(), &[Wait(600), Define, Create]).await;
    let inbox = world.simulator.inbox();
    let to_real = inbox.iter().filter(|message| message.to == REAL);
    assert_eq!(to_real.count(), if is_control { 3 } else { 1 });
}

#[tokio::test]
async fn a_decoy_looks_real_in_repeated_sign_ins() {
    let world = prepared().await;
    // All attempts are spent within ten seconds, while the windows refuse a new code.
    let until_the_end = [
        Define,
        Create,
        Verify("00000000"),
        Verify("00000001"),
        Verify("00000002"),
        Verify("00000003"),
        Verify("00000004"),
        Define,
    ];
    for wait in [0, 11, 1, 12, 11, 1, 60, 1, 600, 1]
        .into_iter()
        .take(sized(3, 10))
    {
        world.advance(Duration::from_secs(wait));
        let mut sign_ins = begun();
        compare(&world, &mut sign_ins, &until_the_end).await;
    }
    // Sign-ins with attempts left.
    for wait in [90, 1, 40, 1, 1, 700].into_iter().take(sized(2, 6)) {
        world.advance(Duration::from_secs(wait));
        let mut sign_ins = begun();
        compare(
            &world,
            &mut sign_ins,
            &[
                Define,
                Create,
                Verify("00000005"),
                Define,
                Create,
                Verify("resend"),
                Define,
                Create,
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn sends_over_http_show_in_the_times_of_users_and_decoys_alike() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "none")]).await;
    let numbers = [REAL, "+14255550147", "+14255550148"];
    let all_users = || -> Vec<(&'static str, SignIn)> {
        let unverified = User::with_number(numbers[2]).but("phone_number_verified", json!("false"));
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown(numbers[1])),
            ("unverified", unverified),
        ]
        .map(|(label, user)| (label, SignIn::new(&user)))
        .into()
    };
    let send_to_all = async |world: &World| {
        for number in numbers {
            let answer = world
                .post("/otp/send", &json!({ "destinationNumber": number }))
                .await;
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    };
    let resend_in = |sign_ins: &[(&str, SignIn)]| {
        let now = world
            .simulator
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        seconds(&sign_ins[0].1.shown["resendAt"]).saturating_sub(now)
    };
    let mut sign_ins = all_users();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(31)]).await;
    assert_eq!(resend_in(&sign_ins), 0);
    send_to_all(&world).await;
    compare(&world, &mut sign_ins, &[Verify("resend"), Define, Create]).await;
    assert!(
        resend_in(&sign_ins) > 20,
        "the control: that send shows in the times"
    );
    compare(
        &world,
        &mut sign_ins,
        &[Wait(60), Verify("resend"), Define, Create],
    )
    .await;
    // The same before a sign-in begins: then it is a decoy for all users.
    world.advance(Duration::from_mins(20));
    send_to_all(&world).await;
    compare(
        &world,
        &mut all_users(),
        &[
            Wait(1),
            Define,
            Create,
            Verify("000000"),
            Define,
            Create,
            Verify("resend"),
            Define,
            Create,
        ],
    )
    .await;
    compare(
        &world,
        &mut all_users(),
        &[Wait(120), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
}

#[tokio::test]
async fn a_decoy_looks_real_when_its_code_expires() {
    let world = prepared().await;
    let mut sign_ins = begun();
    compare(
        &world,
        &mut sign_ins,
        &[
            Define,
            Create,
            Wait(600),
            Verify("00000000"),
            Define,
            Create,
        ],
    )
    .await;
    sign_ins[0].1.is("ended", "0");
    compare(&world, &mut sign_ins, &[Verify("resend"), Define]).await;
    // A resend after the code has expired.
    world.advance(Duration::from_mins(10));
    let mut sign_ins = begun();
    compare(
        &world,
        &mut sign_ins,
        &[Define, Create, Wait(600), Verify("resend"), Define, Create],
    )
    .await;
    sign_ins[0].1.is("ended", "0");
}

#[tokio::test]
async fn a_decoys_number_is_stable_and_from_an_allowed_country() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), ("ALLOWED_COUNTRIES", "GB")]).await;
    let shown = async |name: &str| {
        let sign_in = SignIn::begin(&world, &User::unknown(name)).await;
        sign_in.shown["destinationNumber"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut numbers = BTreeSet::new();
    for name in [
        "nobody",
        "somebody",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "a@example.com",
        "",
        "ü",
    ] {
        let number = shown(name).await;
        assert!(number.starts_with("+44*******"), "{number}");
        assert_eq!(shown(name).await, number, "{name}");
        numbers.insert(number);
    }
    assert!(numbers.len() > 3, "not the same for all: {numbers:?}");
    assert_eq!(shown("+447700900123").await, "+44*******0123");
    assert!(world.simulator.requests(Operation::Send).is_empty());
}

#[tokio::test]
async fn a_decoys_number_is_the_same_in_all_apps_of_a_pool() {
    // A real user's number is the same in all apps, too.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    for user in [
        User {
            name: "alice".to_owned(),
            ..User::with_number(REAL)
        },
        User::unknown("bob"),
    ] {
        let other = User {
            client: "another0client0of0the0same0pool0",
            ..user.clone()
        };
        let [one, two] = [
            SignIn::begin(&world, &user).await,
            SignIn::begin(&world, &other).await,
        ];
        assert_eq!(
            one.shown["destinationNumber"], two.shown["destinationNumber"],
            "{}",
            user.name
        );
    }
    let elsewhere = SignIn::begin(
        &world,
        &User {
            pool: "us-east-1_other",
            ..User::unknown("bob")
        },
    )
    .await;
    let here = SignIn::begin(&world, &User::unknown("bob")).await;
    assert_ne!(
        elsewhere.shown["destinationNumber"], here.shown["destinationNumber"],
        "the control"
    );
}

#[tokio::test]
async fn decoys_numbers_are_spread_over_the_allowed_countries() {
    // Half of the names for the US and half for the UK. Numbers of the Falkland Islands are too short
    // to make one up.
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("ALLOWED_COUNTRIES", "FK,GB,US"),
        ("PREFIX_LIMITS", "none"),
    ])
    .await;
    let mut by_country = BTreeMap::new();
    for name in 0..100 {
        let sign_in = SignIn::begin(&world, &User::unknown(&format!("user{name}"))).await;
        sign_in.is("sent", "3");
        let number = sign_in.shown["destinationNumber"].as_str().unwrap();
        *by_country
            .entry(number.split('*').next().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert!(
        by_country.len() == 2 && by_country.values().all(|count| *count > 20),
        "{by_country:?}"
    );
}

#[tokio::test]
async fn a_decoy_looks_real_under_a_prefix_limit() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "2/1h")]).await;
    let all_users = || -> Vec<(&'static str, SignIn)> {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("+14255550143")),
        ]
        .map(|(label, user)| (label, SignIn::new(&user)))
        .into()
    };
    let can_resend = |sign_ins: &[(&str, SignIn)]| {
        let now = world
            .simulator
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        seconds(&sign_ins[0].1.shown["resendAt"]) <= now + 1
    };
    // Early in a window, so that it stays the same for the next steps.
    let now = world
        .simulator
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    world.advance(Duration::from_secs(3600 - now % 3600 + 5));
    let mut sign_ins = all_users();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(31)]).await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": "+14255550120" }))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    compare(&world, &mut sign_ins, &[Verify("resend"), Define, Create]).await;
    assert!(can_resend(&sign_ins), "nothing was sent");
    assert_eq!(world.simulator.inbox().len(), 2);
    // Sign-ins that begin now are decoys for all users. When the window is over, the user's is real.
    compare(
        &world,
        &mut all_users(),
        &[Wait(600), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
    assert_eq!(world.simulator.inbox().len(), 2);
    compare(
        &world,
        &mut all_users(),
        &[Wait(3600), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
    assert_eq!(world.simulator.inbox().len(), 3);
}

/// Runs a random script for all users in step. Returns an error with the script if a decoy shows.
///
/// With `sends_over_http` it also sends over HTTP to the users' numbers. That reveals decoys.
async fn random_script(
    seed: u64,
    settings: &[(&str, &str)],
    sends_over_http: bool,
) -> Result<(), String> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let world = World::counted(
        &[
            &[("COGNITO_FLOOR_MS", "0"), ("BUDGETS", "100000/24h")],
            settings,
        ]
        .concat(),
    )
    .await;
    let users = [
        User::with_number(REAL),
        User::unknown("+14255560147"),
        User::unknown("nobody"),
        User::with_number("+14255570148").but("phone_number_verified", json!("false")),
    ];
    let mut sign_ins: Vec<Vec<SignIn>> = vec![Vec::new(); users.len()];
    let mut done = Vec::new();
    for _ in 0..40 {
        let begun = sign_ins[0].len();
        let wait = *dice
            .choice(&[1, 5, 12, 29, 31, 61, 100, 300, 605, 3600, 86_400])
            .unwrap();
        let (what, which) = (dice.u8(0..10), dice.usize(0..begun.clamp(1, 3)));
        let answer = [
            "resend", "resend", "no code", "00000000", "00000001", "00000002",
        ][dice.usize(0..6)];
        let deliveries = 1 + usize::from(dice.u8(0..6) == 0);
        let mut shown = Vec::new();
        for (user, sign_ins) in users.iter().zip(&mut sign_ins) {
            match what {
                // A user without a number gets no message over HTTP either.
                9 if sends_over_http => {
                    if let Ok(number) =
                        serde_json::from_value::<String>(user.attributes["phone_number"].clone())
                    {
                        shown.push(json!(
                            world
                                .post("/otp/send", &json!({ "destinationNumber": number }))
                                .await
                                .status
                        ));
                    }
                }
                7.. if begun > 0 => {}
                3.. if begun > 0 => {
                    // One of the three newest sign-ins.
                    let sign_in = &mut sign_ins[begun - 1 - which];
                    let mut responses = Vec::new();
                    for _ in 0..deliveries {
                        responses.push(json!(sign_in.verify(&world, answer).await));
                    }
                    sign_in.answered(false);
                    for next in [Define, Create] {
                        if next == Define || decision_of(responses.last().unwrap()) == Next::Asked {
                            responses.push(step(&world, sign_in, next).await.response);
                        } else {
                            sign_in.session.pop();
                        }
                    }
                    shown.push(json!(responses));
                }
                _ => {
                    let mut sign_in = SignIn::new(user);
                    shown.push(step(&world, &mut sign_in, Create).await.response);
                    sign_ins.push(sign_in);
                }
            }
        }
        if what >= 7 && begun > 0 {
            world.advance(Duration::from_secs(wait));
        }
        done.push(format!("{what} {which} {answer} {deliveries} {wait}"));
        if let Some(other) = shown.iter().position(|one| *one != shown[0]) {
            return Err(format!(
                "seed {seed}, user {other}: {done:?}\n{}\n{}",
                shown[0], shown[other]
            ));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_decoy_looks_real_in_random_scripts() {
    let settings: [&[(&str, &str)]; 4] = [
        &[],
        &[("ALLOWED_ATTEMPTS", "5"), ("SEND_LIMITS", "3/10m")],
        &[("SEND_LIMITS", "1/30s,2/90s,4/24h")],
        &[("SEND_LIMITS", "20/1h"), ("ALLOWED_ATTEMPTS", "1")],
    ];
    for seed in 0..sized(4, 40) {
        let settings = settings[usize::try_from(seed).unwrap() % settings.len()];
        if let Err(difference) = random_script(seed, settings, false).await {
            panic!("{difference}");
        }
    }
    // The control: an API that sends to any number gives users away, as the documentation says.
    let mut found = 0;
    for seed in 0..8 {
        if found > 0 && !is_full() {
            break;
        }
        found += usize::from(random_script(seed, &[], true).await.is_err());
    }
    assert!(found > 0);
}

#[tokio::test]
async fn a_decoys_failures_are_forgotten_after_a_year() {
    // An attacker can create any number of such items, so they must expire.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), ("PREFIX_LIMITS", "none")]).await;
    for user in [
        User::unknown("nobody"),
        User::unknown("+14255550147"),
        User::with_number(REAL),
    ] {
        SignIn::begin(&world, &user)
            .await
            .answer(&world, "000000")
            .await;
    }
    assert!(world.ledger.numbers().len() >= 3);
    world.advance(Duration::from_hours(366 * 24));
    assert_eq!(
        world.ledger.numbers().len(),
        1,
        "failures of a real user's number stay"
    );
}

#[tokio::test]
async fn a_decoy_uses_none_of_a_users_limits_or_attempts() {
    // Unknown users whose name or number is a real user's, and a user who claims that number without
    // verifying it.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    for user in [
        User::unknown(REAL),
        User {
            not_found: true,
            ..User::with_number(REAL)
        },
        User {
            name: "claims-it".to_owned(),
            ..User::with_number(REAL)
        }
        .but("phone_number_verified", json!("false")),
    ] {
        for _ in 0..3 {
            let mut sign_in = SignIn::begin(&world, &user).await;
            for guess in 0..4 {
                sign_in.answer(&world, &format!("00000{guess}")).await;
            }
        }
    }
    assert!(world.simulator.requests(Operation::Send).is_empty());
    let mut sign_in = SignIn::begin(&world, &User::with_number(REAL)).await;
    sign_in.is("sent", "3");
    let code = world.simulator.newest_to(REAL).unwrap().code;
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn a_decoy_never_succeeds() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("TEST_NUMBERS", "+14255550142=246810@2099-01-31"),
    ])
    .await;
    // For an unknown user, even the fixed code of a test number is wrong.
    let mut sign_in = SignIn::begin(&world, &User::unknown(REAL)).await;
    assert_eq!(sign_in.answer(&world, "246810").await, Next::Asked);
    // A decoy with a real user's session, and a real user with a decoy's.
    let real = SignIn::begin(&world, &User::with_number(REAL)).await;
    let crossed = SignIn {
        private: real.private.clone(),
        ..sign_in.clone()
    };
    assert!(!crossed.verify(&world, "246810").await);
    let crossed = SignIn {
        private: sign_in.private.clone(),
        ..real.clone()
    };
    assert!(!crossed.verify(&world, "246810").await);
    assert!(real.verify(&world, "246810").await);
}
