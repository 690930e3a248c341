//! Sign-ins of unknown or blocked users are decoys: the app cannot distinguish them from real ones.

use crate::money::{LONG_BRAND, SEGMENT, priced};
use crate::pool::{Next, SignIn, User, answer_correct, decision_of, is_challenge, seconds};
use crate::with;
use crate::world::World;
use futures_util::future::join_all;
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use simulator::{Operation, is_full, sized};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

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

/// The first is real, the others are decoys.
fn nobody_and_a_number() -> [(&'static str, User); 3] {
    [
        ("real", User::with_number(REAL)),
        ("unknown", User::unknown("nobody")),
        ("by number", User::unknown("+14255550147")),
    ]
}

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Define,
    Create,
    Verify(&'static str),
    /// Define and Create.
    Ask,
    /// Verify, Define and Create.
    Answer(&'static str),
    Wait(u64),
}

use Step::{Answer, Ask, Create, Define, Verify, Wait};

impl Step {
    /// The same without [`Ask`] and [`Answer`].
    fn single_steps(self) -> Vec<Self> {
        match self {
            Ask => vec![Define, Create],
            Answer(answer) => vec![Verify(answer), Define, Create],
            step => vec![step],
        }
    }
}

/// The part of a step that the client sees, and the time that it took.
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
        Ask | Answer(_) => unreachable!("it is several triggers"),
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
        _ => {}
    }
    Seen { response, took }
}

/// Sign-ins of users who do the same in step. The first is real, the others are decoys.
struct SignIns<'a> {
    world: &'a World,
    labeled: Vec<(&'static str, SignIn)>,
}

impl<'a> SignIns<'a> {
    /// Before the first trigger.
    fn of(world: &'a World, users: impl IntoIterator<Item = (&'static str, User)>) -> Self {
        let new = |(label, user)| (label, SignIn::new(&user));
        Self {
            world,
            labeled: users.into_iter().map(new).collect(),
        }
    }

    fn real(&self) -> &SignIn {
        &self.labeled[0].1
    }

    /// Runs a script for all users, and compares each with the real one after every step.
    async fn run(&mut self, script: &[Step]) {
        let steps = script.iter().flat_map(|step| step.single_steps());
        for (index, next) in steps.enumerate() {
            if let Wait(seconds) = next {
                self.world.advance(Duration::from_secs(seconds));
                continue;
            }
            let sign_ins = self.labeled.iter_mut();
            let all = sign_ins.map(|(_, sign_in)| step(self.world, sign_in, next));
            let seen = join_all(all).await;
            let real = &seen[0];
            for ((label, _), seen) in self.labeled.iter().zip(&seen) {
                assert_eq!(
                    seen.response, real.response,
                    "{label}, at step {index}, {next:?}"
                );
                if next != Define {
                    assert!(
                        seen.took >= FLOOR,
                        "{label}, at step {index}: {:?}",
                        seen.took
                    );
                }
            }
        }
    }

    /// The seconds until `resendAt`.
    fn resend_in(&self) -> u64 {
        let shown = &self.real().shown["resendAt"];
        seconds(shown).saturating_sub(now(self.world))
    }

    /// Whether a message can be sent now, because none was sent lately.
    fn can_resend(&self) -> bool {
        self.resend_in() <= 1
    }
}

/// Seconds since 1970.
fn now(world: &World) -> u64 {
    let since = world.simulator.now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

async fn send_over_http(world: &World, number: &str) {
    let body = json!({ "destinationNumber": number });
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
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
    let mut sign_ins = SignIns::of(&world, all_users());
    let script = [
        Ask,
        Answer("00000000"),
        Answer("no code"),
        Answer("resend"),
        Wait(30),
        Answer("resend"),
        Verify("00000001"),
        Answer("00000001"),
        Wait(60),
        Answer("00000002"),
    ];
    sign_ins.run(&script).await;
    let real = sign_ins.real();
    real.is("try_again", "2");
    assert!(seconds(&real.shown["resendAt"]) > 0);

    // Up to the last attempt, and after it.
    let script = [
        Answer("00000003"),
        Answer("00000004"),
        Verify("00000005"),
        Define,
        Wait(31),
    ];
    sign_ins.run(&script).await;
    sign_ins.real().is("ended", "0");
    let event = sign_ins.real().define_event();
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
    let mut first = SignIns::of(&world, all_users());
    first.run(&[Ask, Verify("00000000")]).await;
    // The session is lost. The next one adopts the open code, or the code that a decoy would have.
    let mut second = SignIns::of(&world, all_users());
    second.run(&[Ask]).await;
    second.real().is("adopted", "3");
    let script = [Answer("00000001"), Answer("00000002"), Answer("00000003")];
    second.run(&script).await;
    second.real().is("ended", "0");
    // The last attempt is reserved for the first session, and no other session can resend.
    let mut third = SignIns::of(&world, all_users());
    third.run(&[Wait(60), Ask, Verify("resend"), Define]).await;
    third.real().is("ended", "0");
    first.run(&[Ask, Answer("00000004")]).await;
    first.real().is("ended", "0");
    // New sign-ins: at once, while the windows refuse, and after that.
    for wait in [0, 31, 60, 600] {
        world.advance(Duration::from_secs(wait));
        let mut again = SignIns::of(&world, all_users());
        again.run(&[Ask, Answer("00000000")]).await;
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
    let mut sign_ins = SignIns::of(&world, nobody_and_a_number());
    sign_ins.run(&[Ask, Wait(30)]).await;
    world.ledger.switch(Switches {
        paused: true,
        ..Switches::default()
    });
    world.advance(Duration::from_secs(11));
    sign_ins.run(&[Answer("resend")]).await;
    assert!(sign_ins.can_resend(), "nothing was sent");
    world.ledger.switch(Switches::default());
    world.advance(Duration::from_secs(11));
    sign_ins.run(&[Answer("resend")]).await;
    assert!(!sign_ins.can_resend(), "the control: now something was");
    assert_eq!(world.simulator.inbox().len(), 2);
    // Another number uses up the day's budget.
    send_over_http(&world, "+14255550120").await;
    sign_ins.run(&[Wait(90), Answer("resend")]).await;
    assert!(sign_ins.can_resend(), "nothing was sent");
    assert_eq!(world.simulator.inbox().len(), 3);
    // Sign-ins that begin now are decoys for all users.
    SignIns::of(&world, nobody_and_a_number())
        .run(&[Wait(600), Ask, Answer("00000000")])
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
    let mut sign_ins = SignIns::of(&world, nobody_and_a_number());
    sign_ins.run(&[Ask, Wait(31)]).await;
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
    sign_ins.run(&[Answer("resend")]).await;
    SignIns::of(&world, nobody_and_a_number())
        .run(&[Wait(600), Ask])
        .await;

    let inbox = world.simulator.inbox();
    let to_real = inbox.iter().filter(|message| message.to == REAL);
    assert_eq!(to_real.count(), if is_control { 3 } else { 1 });
}

#[tokio::test]
async fn a_decoy_looks_real_in_repeated_sign_ins() {
    let world = prepared().await;
    // All attempts are spent within ten seconds, while the windows refuse a new code.
    let until_the_end = [
        Ask,
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
        let mut sign_ins = SignIns::of(&world, all_users());
        sign_ins.run(&until_the_end).await;
    }
    // Sign-ins with attempts left.
    for wait in [90, 1, 40, 1, 1, 700].into_iter().take(sized(2, 6)) {
        world.advance(Duration::from_secs(wait));
        let mut sign_ins = SignIns::of(&world, all_users());
        sign_ins
            .run(&[Ask, Answer("00000005"), Answer("resend")])
            .await;
    }
}

#[tokio::test]
async fn sends_over_http_show_in_the_times_of_users_and_decoys_alike() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "none")]).await;
    let numbers = [REAL, "+14255550147", "+14255550148"];
    let three_users = || {
        let unverified = User::with_number(numbers[2]).but("phone_number_verified", json!("false"));
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown(numbers[1])),
            ("unverified", unverified),
        ]
    };
    let send_to_all = async |world: &World| {
        for number in numbers {
            send_over_http(world, number).await;
        }
    };
    let mut sign_ins = SignIns::of(&world, three_users());
    sign_ins.run(&[Ask, Wait(31)]).await;
    assert_eq!(sign_ins.resend_in(), 0);
    send_to_all(&world).await;
    sign_ins.run(&[Answer("resend")]).await;
    assert!(
        sign_ins.resend_in() > 20,
        "the control: that send shows in the times"
    );
    sign_ins.run(&[Wait(60), Answer("resend")]).await;
    // The same before a sign-in begins: then it is a decoy for all users.
    world.advance(Duration::from_mins(20));
    send_to_all(&world).await;
    SignIns::of(&world, three_users())
        .run(&[Wait(1), Ask, Answer("000000"), Answer("resend")])
        .await;
    SignIns::of(&world, three_users())
        .run(&[Wait(120), Ask, Answer("000000")])
        .await;
}

#[tokio::test]
async fn a_decoy_looks_real_when_its_code_expires() {
    let world = prepared().await;
    let mut sign_ins = SignIns::of(&world, all_users());
    sign_ins.run(&[Ask, Wait(600), Answer("00000000")]).await;
    sign_ins.real().is("ended", "0");
    sign_ins.run(&[Verify("resend"), Define]).await;
    // A resend after the code has expired.
    world.advance(Duration::from_mins(10));
    let mut sign_ins = SignIns::of(&world, all_users());
    sign_ins.run(&[Ask, Wait(600), Answer("resend")]).await;
    sign_ins.real().is("ended", "0");
}

#[tokio::test]
async fn a_decoy_looks_real_under_a_prefix_limit() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "200"), ("PREFIX_LIMITS", "2/1h")]).await;
    let two_users = || {
        [
            ("real", User::with_number(REAL)),
            ("unknown", User::unknown("+14255550143")),
        ]
    };
    // Early in a window, so that it stays the same for the next steps.
    world.advance(Duration::from_secs(3600 - now(&world) % 3600 + 5));
    let mut sign_ins = SignIns::of(&world, two_users());
    sign_ins.run(&[Ask, Wait(31)]).await;
    send_over_http(&world, "+14255550120").await;
    sign_ins.run(&[Answer("resend")]).await;
    assert!(sign_ins.can_resend(), "nothing was sent");
    assert_eq!(world.simulator.inbox().len(), 2);
    // Sign-ins that begin now are decoys for all users. When the window is over, the user's is real.
    SignIns::of(&world, two_users())
        .run(&[Wait(600), Ask, Answer("000000")])
        .await;

    assert_eq!(world.simulator.inbox().len(), 2);
    SignIns::of(&world, two_users())
        .run(&[Wait(3600), Ask, Answer("000000")])
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
