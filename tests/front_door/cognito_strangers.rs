//! What nobody can tell apart by asking: a user with a phone, and a user without, or no user at all.

use crate::cognito::seconds;
use crate::pool::{Next, SignIn, User, answer_correct, decision_of, is_challenge};
use crate::world::World;
use futures_util::future::join_all;
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use simulator::Operation;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const FLOOR: Duration = Duration::from_millis(200);
const REAL: &str = "+14255550142";
const BLOCKED: &str = "+14255550144";
const LIMITED: &str = "+14255550145";
const LOCKED: &str = "+14255550146";
const UNREACHABLE: &str = "+14255550111";

/// Everybody of the script: the first is real, the others only look so.
fn everybody() -> Vec<(&'static str, User)> {
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

/// What the client sees of a step, and when.
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
        Wait(_) => unreachable!("time passes for all at once"),
    };
    let mut response = world.trigger(&event).await;
    let took = began.elapsed();
    match step {
        Create => {
            is_challenge(&response);
            sign_in.keep(&response);
            // What the client is not shown, and what is everybody's own, is compared by its kind alone.
            let (metadata, left) = response["challengeMetadata"]
                .as_str()
                .unwrap()
                .rsplit_once(':')
                .unwrap();
            let (length, left) = (metadata.len(), left.to_owned());
            response["challengeMetadata"] = json!([length, left]);
            for member in ["reference", "nonce"] {
                let parameter = &mut response["privateChallengeParameters"][member];
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

/// Runs a script for everybody in step, and compares each with the real one after every step.
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
        for ((who, _), seen) in sign_ins.iter().zip(&seen) {
            assert_eq!(
                seen.response, real.response,
                "{who}, at step {index}, {next:?}"
            );
            if !matches!(next, Define) {
                assert!(
                    seen.took >= FLOOR,
                    "{who}, at step {index}: {:?}",
                    seen.took
                );
            }
        }
    }
}

/// A world where everybody is as their name says.
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
    // A hundred wrong guesses, with all the waiting between them.
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
    everybody()
        .into_iter()
        .map(|(who, user)| (who, SignIn::new(&user)))
        .collect()
}

#[tokio::test]
async fn ten_steps_of_wrong_answers_look_alike_with_and_without_a_phone() {
    let world = prepared().await;
    let texts = || {
        world
            .simulator
            .inbox()
            .iter()
            .filter(|message| message.to != REAL)
            .count()
    };
    let (before, asked) = (texts(), world.simulator.requests(Operation::Verify).len());
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

    // To the end, and past it.
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

    // Only the real one was texted and asked about.
    assert_eq!(texts(), before, "nobody else got a text");
    let guesses = world.simulator.requests(Operation::Verify).len() - asked;
    assert_eq!(guesses, 5);
    let sent = world
        .simulator
        .inbox()
        .iter()
        .filter(|message| message.to == REAL)
        .count();
    assert_eq!(sent, 2, "one, and one more that was asked for");
}

#[tokio::test]
async fn a_second_sign_in_looks_alike_with_and_without_a_phone() {
    let world = prepared().await;
    let mut first = begun();
    compare(&world, &mut first, &[Define, Create, Verify("00000000")]).await;
    // The session is lost: the next one takes up what is there, or what would be.
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
    // What is left is the first one's, and no other can ask for more.
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
    // And anew: at once, when the windows hold, and when they no longer do.
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
async fn a_pause_or_a_spent_budget_in_the_middle_looks_alike_with_and_without_a_phone() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "200"),
        ("PREFIX_LIMITS", "none"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("ALLOWED_COUNTRIES", "US,GB"),
        ("BUDGETS", "3/24h"),
    ])
    .await;
    let everybody = || -> Vec<(&'static str, SignIn)> {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("nobody")),
            ("by number", User::unknown("+14255550147")),
        ]
        .map(|(who, user)| (who, SignIn::new(&user)))
        .into()
    };
    let resend = [Verify("resend"), Define, Create];
    let mut sign_ins = everybody();
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
    // Somebody else gets the last text of the day's budget.
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
    // And whoever begins now is nobody for all of them.
    compare(
        &world,
        &mut everybody(),
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

#[tokio::test]
async fn beginning_again_and_again_looks_alike_with_and_without_a_phone() {
    let world = prepared().await;
    // All attempts are spent in ten seconds, and the windows hold.
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
    for wait in [0, 11, 1, 12, 11, 1, 60, 1, 600, 1] {
        world.advance(Duration::from_secs(wait));
        let mut sign_ins = begun();
        compare(&world, &mut sign_ins, &until_the_end).await;
    }
    // And with an attempt left here and there.
    for wait in [90, 1, 40, 1, 1, 700] {
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
async fn texts_over_http_show_in_the_times_of_everybody_who_gives_that_number() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "none")]).await;
    let numbers = [REAL, "+14255550147", "+14255550148"];
    let everybody = || -> Vec<(&'static str, SignIn)> {
        let unverified = User::with_number(numbers[2]).but("phone_number_verified", json!("false"));
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown(numbers[1])),
            ("unverified", unverified),
        ]
        .map(|(who, user)| (who, SignIn::new(&user)))
        .into()
    };
    let text_to_all = async |world: &World| {
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
    let mut sign_ins = everybody();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(31)]).await;
    assert_eq!(resend_in(&sign_ins), 0);
    text_to_all(&world).await;
    compare(&world, &mut sign_ins, &[Verify("resend"), Define, Create]).await;
    assert!(
        resend_in(&sign_ins) > 20,
        "the control: that text is in the times"
    );
    compare(
        &world,
        &mut sign_ins,
        &[Wait(60), Verify("resend"), Define, Create],
    )
    .await;
    // And before a sign-in begins: then it is nobody's, for all of them.
    world.advance(Duration::from_mins(20));
    text_to_all(&world).await;
    compare(
        &world,
        &mut everybody(),
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
        &mut everybody(),
        &[Wait(120), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
}

#[tokio::test]
async fn an_expired_code_looks_alike_with_and_without_a_phone() {
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
    // One that is asked for again too late.
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
async fn the_number_that_a_stranger_is_shown_stays_the_same_and_is_in_a_served_country() {
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
async fn the_number_that_a_stranger_is_shown_is_the_same_in_every_app_of_the_pool() {
    // As a user's is.
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
async fn strangers_are_from_every_served_country_that_has_numbers_to_show() {
    // Half of the names for each; and none for the Falklands, whose numbers are too short to make one up.
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
async fn a_limit_of_the_numbers_around_looks_alike_with_and_without_a_phone() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "2/1h")]).await;
    let everybody = || -> Vec<(&'static str, SignIn)> {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("+14255550143")),
        ]
        .map(|(who, user)| (who, SignIn::new(&user)))
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
    // Early in a window, so that it holds for a while.
    let now = world
        .simulator
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    world.advance(Duration::from_secs(3600 - now % 3600 + 5));
    let mut sign_ins = everybody();
    compare(&world, &mut sign_ins, &[Define, Create, Wait(31)]).await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": "+14255550120" }))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    compare(&world, &mut sign_ins, &[Verify("resend"), Define, Create]).await;
    assert!(can_resend(&sign_ins), "nothing was sent");
    assert_eq!(world.simulator.inbox().len(), 2);
    // Whoever begins now is nobody for all of them, and somebody again when the window is over.
    compare(
        &world,
        &mut everybody(),
        &[Wait(600), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
    assert_eq!(world.simulator.inbox().len(), 2);
    compare(
        &world,
        &mut everybody(),
        &[Wait(3600), Define, Create, Verify("000000"), Define, Create],
    )
    .await;
    assert_eq!(world.simulator.inbox().len(), 3);
}

/// A script that nobody has thought of, for everybody in step; what was the same for all is said at its end.
async fn any_script(
    seed: u64,
    settings: &[(&str, &str)],
    texts_over_http: bool,
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
                // Whoever gives no number has no text to it either.
                9 if texts_over_http => {
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
                    // Mostly the newest ones.
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
async fn any_script_looks_alike_with_and_without_a_phone() {
    let settings: [&[(&str, &str)]; 4] = [
        &[],
        &[("ALLOWED_ATTEMPTS", "5"), ("SEND_LIMITS", "3/10m")],
        &[("SEND_LIMITS", "1/30s,2/90s,4/24h")],
        &[("SEND_LIMITS", "20/1h"), ("ALLOWED_ATTEMPTS", "1")],
    ];
    for seed in 0..40 {
        let settings = settings[usize::try_from(seed).unwrap() % settings.len()];
        if let Err(difference) = any_script(seed, settings, false).await {
            panic!("{difference}");
        }
    }
    // The control: what an API that sends to everybody gives away, as the README says, is found.
    let mut found = 0;
    for seed in 0..8 {
        found += usize::from(any_script(seed, &[], true).await.is_err());
    }
    assert!(found > 0);
}

#[tokio::test]
async fn a_guess_about_nobody_is_forgotten_some_day() {
    // Anybody can make such items, under as many names as they like.
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
        "what is known of a user's number stays"
    );
}

#[tokio::test]
async fn a_stranger_costs_a_user_nothing() {
    // An unknown name that is a number, and somebody else's number that nobody has verified: the owner's windows and
    // attempts are the owner's.
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
async fn a_guess_at_a_decoy_is_never_right() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("TEST_NUMBERS", "+14255550142=246810@2099-01-31"),
    ])
    .await;
    // Not even the fixed code of a test number, where the user is not known.
    let mut sign_in = SignIn::begin(&world, &User::unknown(REAL)).await;
    assert_eq!(sign_in.answer(&world, "246810").await, Next::Asked);
    // A real session in a stranger's hands, and a stranger's in real hands.
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
