//! Sign-ins of unknown or blocked users are decoys: the app cannot distinguish them from real ones.

use crate::pool::{Next, SignIn, User, answer_correct, decision_of, is_challenge, seconds};
use crate::world::World;
use futures_util::future::join_all;
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use simulator::{Operation, sized};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

const FLOOR: Duration = Duration::from_millis(200);

const REAL: &str = "+14255550142";

const BLOCKED: &str = "+14255550144";

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
        ("unreachable", with(UNREACHABLE)),
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
            // Some values are not shown to the client, and some differ between users. Only their form is compared.
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
            let (plus, end) = number.split_once("*******").unwrap();
            assert!(plus == "+" && end.len() == 2, "{number}");
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

/// With codes of eight digits, the guesses of these tests are wrong but once in ten million runs.
const LONG_CODES: (&str, &str) = ("CODE_LENGTH", "8");

/// A world in which each user of `all_users` is what its label says.
async fn prepared() -> World {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "200"),
        ("PREFIX_LIMITS", "none"),
        ("SEND_LIMITS", "1/30s,2/90s,4/24h"),
        ("ALLOWED_ATTEMPTS", "5"),
        LONG_CODES,
    ])
    .await;
    world.ledger.switch(Switches {
        blocked: BTreeSet::from([BLOCKED.to_owned()]),
        ..Switches::default()
    });
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

/// Each limit stops the messages of a sign-in. Only the log says so, and a resend works when there is room again.
#[tokio::test]
async fn a_limit_stops_the_message_of_a_sign_in_and_shows_only_in_the_log() {
    let usual = [("COGNITO_FLOOR_MS", "0"), ("SEND_LIMITS", "3/10m")];
    for (setting, outcome, limit) in [
        (("PREFIX_LIMITS", "2/1h"), "rate_limited", Some("prefix")),
        (("BUDGETS", "2/1h"), "rate_limited", Some("budget")),
        (
            ("COUNTRY_LIMITS", "US=2/1h"),
            "rate_limited",
            Some("country"),
        ),
        (("LOG_LEVEL", "trace"), "sending_paused", None),
        (("LOG_LEVEL", "trace"), "destination_blocked", None),
    ] {
        let world = World::counted(&[&usual[..], &[setting]].concat()).await;
        // Early in an hour.
        world.advance(Duration::from_secs(3600 - now(&world) % 3600 + 5));
        // The half of this door: another user, and a number over HTTP, which has a half of its own.
        SignIn::begin(&world, &User::with_number("+14255550141")).await;
        world.ledger.switch(match outcome {
            "sending_paused" => Switches {
                paused: true,
                ..Switches::default()
            },
            "destination_blocked" => Switches {
                blocked: BTreeSet::from([REAL.to_owned()]),
                ..Switches::default()
            },
            _ => Switches::default(),
        });
        world.advance(Duration::from_secs(11));
        let mut sign_in = SignIn::begin(&world, &User::with_number(REAL)).await;
        sign_in.is("sent", "3");
        let line = world.last_line();
        assert_eq!(line["outcome"], outcome, "{line}");
        assert_eq!(line["limit"], json!(limit), "{line}");
        assert!(world.simulator.newest_to(REAL).is_none(), "{outcome}");
        assert_eq!(sign_in.answer(&world, "000000").await, Next::Asked);

        world.ledger.switch(Switches::default());
        if limit.is_some() {
            send_over_http(&world, "+14255550143").await;
            world.advance(Duration::from_mins(56));
        }
        world.advance(Duration::from_mins(4));
        let mut again = SignIn::begin(&world, &User::with_number(REAL)).await;
        if limit.is_none() {
            again.is("adopted", "1");
            assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
            again = sign_in;
        }
        let code = world.code_of(REAL);
        assert_eq!(again.answer(&world, &code).await, Next::Tokens, "{outcome}");
    }
}

/// Sign-ins see what HTTP has counted, and HTTP sees nothing of theirs. The joint limits hold over both.
#[tokio::test]
async fn a_phone_gets_no_more_messages_a_day_than_the_limit_over_both_doors() {
    for http_first in [true, false] {
        let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
        let user = User::with_number(REAL);
        let http = async || {
            for _ in 0..8 {
                world.advance(Duration::from_mins(11));
                let to = json!({ "destinationNumber": REAL });
                world.post("/otp/send", &to).await;
            }
        };
        let sign_ins = async || {
            for _ in 0..8 {
                world.advance(Duration::from_mins(11));
                SignIn::begin(&world, &user).await.is("sent", "3");
            }
        };
        let messages = || world.simulator.inbox().len();
        if http_first {
            http().await;
            assert_eq!(messages(), 3);
            sign_ins().await;
        } else {
            sign_ins().await;
            assert_eq!(messages(), 3);
            http().await;
        }
        assert_eq!(messages(), 6, "HTTP first: {http_first}");
    }
}

/// Sign-ins have a part of the hundred guesses, and use up nothing of HTTP's.
#[tokio::test]
async fn a_sign_in_is_locked_after_its_part_of_the_guesses() {
    let settings = [
        ("COGNITO_FLOOR_MS", "0"),
        ("SIGN_IN_SHARE", "10"),
        ("SEND_LIMITS", "20/30m"),
        ("ALLOWED_ATTEMPTS", "5"),
        LONG_CODES,
    ];
    let world = World::counted(&settings).await;
    let user = User::with_number(REAL);
    // Sign-ins have a tenth of the hundred guesses, which is 10. They do not lock after 10 failures, however: after 10
    // and after 30 failures, sends must wait, and sign-ins lock only after both waits. So here the lock is seen after
    // 35 failures.
    for _ in 0..7 {
        let mut sign_in = SignIn::begin(&world, &user).await;
        for guess in 0..5 {
            sign_in.answer(&world, &format!("0000000{guess}")).await;
        }
        world.advance(Duration::from_hours(25));
    }
    assert_eq!(world.simulator.inbox().len(), 7);
    assert_eq!(world.simulator.requests(Operation::Verify).len(), 35);
    let mut sign_in = SignIn::begin(&world, &user).await;
    sign_in.is("sent", "5");
    assert_eq!(world.last_line()["outcome"], "destination_locked");
    sign_in.answer(&world, "00000000").await;
    sign_in.is("try_again", "4");
    assert_eq!(world.simulator.inbox().len(), 7);
    assert_eq!(world.simulator.requests(Operation::Verify).len(), 35);
    send_over_http(&world, REAL).await;

    let unlock = json!({ "operation": "unlock", "destinationNumber": REAL });
    world.raw(&unlock.to_string()).await.unwrap();
    world.advance(Duration::from_mins(1));
    assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
    assert_eq!(world.simulator.inbox().len(), 9);
    let code = world.code_of(REAL);
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

/// The guess is counted before the provider is asked, so the lock also ends the guesses at an open code.
#[tokio::test]
async fn a_sign_in_is_locked_in_the_middle_of_a_code() {
    let settings = [
        ("COGNITO_FLOOR_MS", "0"),
        ("SIGN_IN_SHARE", "10"),
        ("SEND_LIMITS", "20/30m"),
        ("ALLOWED_ATTEMPTS", "4"),
        LONG_CODES,
    ];
    let world = World::counted(&settings).await;
    let user = User::with_number(REAL);
    // A tenth of the hundred guesses, and 35 at least.
    for asked in [4, 8, 12, 16, 20, 24, 28, 32, 35] {
        let mut sign_in = SignIn::begin(&world, &user).await;
        for guess in 0..4 {
            sign_in.answer(&world, &format!("0000000{guess}")).await;
        }
        assert_eq!(world.simulator.requests(Operation::Verify).len(), asked);
        world.advance(Duration::from_hours(25));
    }
}

/// The windows of a sign-in count the messages of both doors in the order in which they were sent.
#[tokio::test]
async fn a_sign_in_counts_the_messages_of_both_doors_by_their_times() {
    for (later, messages) in [(31, 3), (35, 4)] {
        let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), ("SEND_LIMITS", "2/90s")]).await;
        send_over_http(&world, REAL).await;
        world.advance(Duration::from_secs(45));
        send_over_http(&world, REAL).await;
        world.advance(Duration::from_secs(55));
        let user = User::with_number(REAL);
        let mut sign_in = SignIn::begin(&world, &user).await;
        let code = world.code_of(REAL);
        assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
        // The second message over HTTP is in the window for 90 seconds, and the first one no longer is.
        world.advance(Duration::from_secs(later));
        SignIn::begin(&world, &user).await;
        assert_eq!(world.simulator.inbox().len(), messages, "{later} s later");
    }
}

/// The wait of a sign-in begins with the last failure at either door.
#[tokio::test]
async fn the_last_failure_at_either_door_stops_sign_ins() {
    for http_first in [true, false] {
        let settings = [
            ("COGNITO_FLOOR_MS", "0"),
            ("SEND_LIMITS", "20/30m"),
            ("ALLOWED_ATTEMPTS", "5"),
            LONG_CODES,
        ];
        let world = World::counted(&settings).await;
        let user = User::with_number(REAL);
        let fail = async |over_http: bool| {
            if over_http {
                send_over_http(&world, REAL).await;
            }
            let mut sign_in = SignIn::begin(&world, &user).await;
            for guess in 0..5 {
                let guess = format!("0000000{guess}");
                if over_http {
                    let body = json!({ "destinationNumber": REAL, "otp": guess });
                    let answer = world.post("/otp/verify", &body).await;
                    answer.is_problem(422, "invalid_code");
                } else {
                    sign_in.answer(&world, &guess).await;
                }
            }
        };
        fail(http_first).await;
        world.advance(Duration::from_mins(20));
        fail(!http_first).await;
        let messages = || world.simulator.inbox().len();
        // Ten failures stop messages for fifteen minutes. The code of a sign-in that is open by now expires before.
        world.advance(Duration::from_mins(14));
        let before = messages();
        SignIn::begin(&world, &user).await;
        assert_eq!(messages(), before, "HTTP first: {http_first}");
        world.advance(Duration::from_mins(11));
        SignIn::begin(&world, &user).await;
        assert_eq!(messages(), before + 1, "HTTP first: {http_first}");
    }
}

/// A door that has spent its own part of a budget leaves the other its part.
#[tokio::test]
async fn sign_ins_keep_their_part_of_a_budget_that_http_has_spent() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), ("BUDGETS", "4/24h")]).await;
    for last in 1..=2 {
        send_over_http(&world, &format!("+1425555010{last}")).await;
    }
    let body = json!({ "destinationNumber": "+14255550103" });
    world
        .post("/otp/send", &body)
        .await
        .is_problem(429, "rate_limited");
    for last in 4..=6 {
        let user = User::with_number(&format!("+1425555010{last}"));
        SignIn::begin(&world, &user).await;
    }
    assert_eq!(world.simulator.inbox().len(), 4);
}
