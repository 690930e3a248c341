//! Late writes of sign-ins, as in [`late`](crate::late): a write that arrives after its sign-in has given it up may use
//! up a place, an attempt or a key for a time, and never brings a further message or guess.

use crate::fake::Outcome;
use crate::late::LANDINGS;
use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{HOUR, MINUTE, Setup, World, check, holds_and_fails_with, number, word, wrong};
use otp_lambda::ledger::Door;
use otp_lambda::policy::{Budget, Budgets};
use otp_lambda::service::SignIn;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

over_both_stores!(
    a_late_count_of_a_sign_in_holds_one_place_until_the_window_ends,
    a_late_refund_of_a_sign_in_gives_back_once,
    a_late_key_of_a_resend_sends_no_text,
    a_late_finish_of_a_resend_sends_no_second_text,
    a_late_record_of_a_sign_in_brings_no_guess,
    a_late_record_of_a_sign_in_ends_no_later_code,
    a_late_settlement_of_a_sign_in_ends_no_later_code,
    a_late_resend_of_a_sign_in_brings_no_guess,
    a_late_payment_of_an_answer_brings_no_guess,
    a_late_charge_of_an_answer_stays_counted,
    a_late_success_of_a_sign_in_is_not_that_of_the_next_code,
);

/// A world of sign-ins whose codes allow three guesses.
fn setup(flaw: Option<Flaw>) -> Setup {
    Setup {
        limits: "20/50m",
        attempts: 3,
        share: "50",
        flaw,
        ..Setup::default()
    }
}

/// A world in which this limit alone allows sign-ins no more than three messages in fifty minutes or in an hour. Half of
/// the limits on prefixes and of the budgets belongs to HTTP.
fn three_texts(step: &str, flaw: Option<Flaw>) -> Setup {
    let wide = setup(flaw);
    match step {
        "count" | "uncount" => Setup {
            prefix_limits: "6/50m",
            ..wide
        },
        "spend" | "refund" => Setup {
            budgets: Budgets {
                all: Budget::parse_list("6/1h").unwrap(),
                ..Budgets::default()
            },
            ..wide
        },
        _ => Setup {
            limits: "3/50m",
            ..wide
        },
    }
}

/// The answer with the newest code.
async fn answer_right(world: &World, sign_in: &SignIn, nonce: &str) -> &'static str {
    let code = world.provider.newest_code(&number(1));
    word(&world.answer(sign_in, &code, nonce).await)
}

/// Answers wrong this often, each time another question with another code.
async fn answer_wrong(world: &World, sign_in: &SignIn, answers: RangeInclusive<usize>) {
    for n in answers {
        let (code, nonce) = (wrong(n), format!("wrong {n}"));
        assert!(world.answer(sign_in, &code, &nonce).await.is_err());
    }
}

async fn begun(world: &World) -> SignIn {
    let sign_in = World::new_sign_in(&number(1));
    world.begin(&sign_in).await.unwrap();
    sign_in
}

/// Signs in. Returns whether a message was sent.
async fn sign_in(world: &World) -> bool {
    let before = world.provider.texts().len();
    let sign_in = begun(world).await;
    let is_sent = world.provider.texts().len() > before;
    if is_sent {
        assert_eq!(answer_right(world, &sign_in, "right").await, "ok");
    }
    is_sent
}

/// Signs in until a limit refuses. Returns how many messages have been sent in all.
async fn sign_in_often(world: &World) -> usize {
    for _ in 0..9 {
        if !sign_in(world).await {
            break;
        }
    }
    world.provider.texts().len()
}

/// Asserts that there are this many messages in the first hour, and three in the second hour.
async fn texts_of_two_hours(world: &World, first: usize) -> Result<(), String> {
    let texts = sign_in_often(world).await;
    check(texts == first, || format!("{texts} texts in an hour"))?;
    world.pass(HOUR);
    let more = sign_in_often(world).await - texts;
    check(more == 3, || format!("{more} texts in the next hour"))
}

async fn a_late_count_of_a_sign_in_holds_one_place_until_the_window_ends(new: NewStore) {
    for (step, flaw) in [
        ("count", Flaw::UndoesLateSteps),
        ("spend", Flaw::UndoesLateSteps),
        ("reserve_send", Flaw::IgnoresWindows),
    ] {
        let attack = async |flaw| {
            let refused = async || {
                let world = World::new(new(), three_texts(step, flaw));
                assert!(sign_in(&world).await);
                world.table.delay(step);
                let told = word(&world.begin_sign_in(&number(1)).await);
                check(told == "ledger_unavailable", || told.to_owned())?;
                Ok::<_, String>(world)
            };
            // A write that lands when the limit is reached is refused.
            let world = refused().await?;
            sign_in_often(&world).await;
            world.table.land().await;
            texts_of_two_hours(&world, 3).await?;
            for landing in LANDINGS {
                let world = refused().await?;
                landing.at_once(&world).await;
                sign_in(&world).await;
                landing.later(&world).await;
                texts_of_two_hours(&world, 2).await?;
            }
            Ok(())
        };
        let flawed = attack(Some(flaw)).await;
        holds_and_fails_with(step, attack(None).await, &[(flaw, flawed)]);
    }
}

/// The refused message leaves a sign-in without a code, and ten minutes later another one can begin.
async fn a_late_refund_of_a_sign_in_gives_back_once(new: NewStore) {
    for step in ["uncount", "refund"] {
        let attack = async |flaw| {
            for landing in LANDINGS {
                let world = World::new(new(), three_texts(step, flaw));
                assert!(sign_in(&world).await);
                world.provider.outcomes([Outcome::Refused]);
                world.table.delay(step);
                let told = word(&world.begin_sign_in(&number(1)).await);
                check(told == "ok", || told.to_owned())?;
                world.pass(10 * MINUTE);
                landing.at_once(&world).await;
                sign_in(&world).await;
                landing.later(&world).await;
                texts_of_two_hours(&world, 3).await?;
            }
            Ok(())
        };
        let flaw = Flaw::UndoesLateSteps;
        let flawed = attack(Some(flaw)).await;
        holds_and_fails_with(step, attack(None).await, &[(flaw, flawed)]);
    }
}

/// Cognito may deliver the answer `resend` three times.
async fn a_late_key_of_a_resend_sends_no_text(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
        let sign_in = begun(&world).await;
        world.pass(MINUTE);
        world.table.delay("reserve_key");
        let resend = async |nonce| word(&world.resend(&sign_in, nonce).await);
        let first = resend("question").await;
        world.table.land().await;
        let found = (
            first,
            resend("question").await,
            world.provider.texts().len(),
        );
        let expected = ("ledger_unavailable", "idempotency_key_in_use", 1);
        check(found == expected, || format!("{found:?}"))?;
        // The answer to another question sends a code, and that code is right.
        let found = (
            resend("next question").await,
            world.provider.texts().len(),
            answer_right(&world, &sign_in, "last question").await,
        );
        check(found == ("ok", 2, "ok"), || format!("{found:?}"))
    };
    let flaw = Flaw::ForgetsKeys;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late key", attack(None).await, &[(flaw, flawed)]);
}

async fn a_late_finish_of_a_resend_sends_no_second_text(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
        let sign_in = begun(&world).await;
        world.pass(MINUTE);
        world.table.delay("finish_key");
        let resend = async || word(&world.resend(&sign_in, "question").await);
        let first = resend().await;
        world.pass(MINUTE);
        let early = resend().await;
        world.table.land().await;
        let found = (first, early, resend().await, world.provider.texts().len());
        let expected = ("ok", "provider_timeout", "provider_timeout", 2);
        check(found == expected, || format!("{found:?}"))
    };
    let flaw = Flaw::ForgetsKeys;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late finish", attack(None).await, &[(flaw, flawed)]);
}

/// The record lands after the sign-in has settled it. No message was sent. Until the record expires, it looks
/// like that of a message, and a sign-in gets a message by `resend`.
async fn a_late_record_of_a_sign_in_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
        let first = World::new_sign_in(&number(1));
        world.table.delay("open");
        let told = word(&world.begin(&first).await);
        let texts = world.provider.texts().len();
        assert_eq!((told, texts), ("ledger_unavailable", 0));
        world.table.land().await;
        let next = begun(&world).await;
        world.pass(MINUTE);
        answer_wrong(&world, &next, 1..=1).await;
        world.resend(&next, "question").await.unwrap();
        answer_wrong(&world, &next, 2..=9).await;
        let asked = world.provider.guesses().len();
        let texts = world.provider.texts().len();
        // The last attempt belongs to the session for which the record was written.
        check((texts, asked) == (1, 2), || {
            format!("{texts} texts, asked {asked} times")
        })?;
        answer_wrong(&world, &first, 11..=19).await;
        let codes = different_guesses(&world);
        check(codes == 3, || format!("{codes} guesses"))?;
        // It ends when its code would have expired.
        world.pass(11 * MINUTE);
        let last = begun(&world).await;
        let found = (
            world.provider.texts().len(),
            answer_right(&world, &last, "question").await,
        );
        check(found == (2, "ok"), || format!("{found:?}"))
    };
    let flaw = Flaw::RenewsAttempts;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late record", attack(None).await, &[(flaw, flawed)]);
}

/// How many codes have been put to the provider. One guess may be put under two references.
fn different_guesses(world: &World) -> usize {
    let guesses = world.provider.guesses().into_iter();
    let codes: BTreeSet<String> = guesses.map(|asked| asked.code).collect();
    codes.len()
}

async fn a_late_record_of_a_sign_in_ends_no_later_code(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
        world.table.delay("open");
        assert!(world.begin_sign_in(&number(1)).await.is_err());
        world.pass(MINUTE);
        let sign_in = begun(&world).await;
        answer_wrong(&world, &sign_in, 1..=2).await;
        world.table.land().await;
        answer_wrong(&world, &sign_in, 3..=9).await;
        let asked = world.provider.guesses().len();
        check(asked == 3, || format!("asked {asked} times"))
    };
    let flaw = Flaw::OpensOverAny;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late record", attack(None).await, &[(flaw, flawed)]);
}

/// The first message is refused. Its settlement says that no code is right, and must not say so of the next code.
async fn a_late_settlement_of_a_sign_in_ends_no_later_code(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
        world.provider.outcomes([Outcome::Refused]);
        world.table.delay("settle");
        assert!(world.begin_sign_in(&number(1)).await.is_ok());
        world.pass(10 * MINUTE);
        let sign_in = begun(&world).await;
        world.table.land().await;
        let found = (
            world.provider.texts().len(),
            answer_right(&world, &sign_in, "question").await,
        );
        check(found == (1, "ok"), || format!("{found:?}"))
    };
    let flaw = Flaw::SettlesAny;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late settlement", attack(None).await, &[(flaw, flawed)]);
}

async fn a_late_resend_of_a_sign_in_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        for is_right in [true, false] {
            let world = World::new(new(), setup(flaw));
            let sign_in = begun(&world).await;
            answer_wrong(&world, &sign_in, 1..=2).await;
            world.pass(MINUTE);
            world.table.delay("reopen");
            let told = word(&world.resend(&sign_in, "question").await);
            let texts = world.provider.texts().len();
            assert_eq!((told, texts), ("ledger_unavailable", 1));
            world.table.land().await;
            // The first code stays right, and has the guess that was left.
            if is_right {
                let right = answer_right(&world, &sign_in, "next question").await;
                check(right == "ok", || right.to_owned())?;
            }
            answer_wrong(&world, &sign_in, 3..=9).await;
            let codes = different_guesses(&world);
            check(codes == 3, || format!("{codes} guesses"))?;
        }
        Ok(())
    };
    let flaw = Flaw::RenewsAttempts;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late resend", attack(None).await, &[(flaw, flawed)]);
}

/// A late payment costs the next code one attempt.
async fn a_late_payment_of_an_answer_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        for landing in LANDINGS {
            let world = World::new(new(), setup(flaw));
            let sign_in = begun(&world).await;
            world.table.delay("spend_attempt");
            answer_wrong(&world, &sign_in, 1..=1).await;
            world.pass(MINUTE);
            landing.at_once(&world).await;
            world.resend(&sign_in, "question").await.unwrap();
            landing.later(&world).await;
            answer_wrong(&world, &sign_in, 2..=9).await;
            let asked = world.provider.guesses().len();
            check(asked == 2, || format!("asked {asked} times"))?;
        }
        Ok(())
    };
    let flaw = Flaw::RenewsAttempts;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late payment", attack(None).await, &[(flaw, flawed)]);
}

async fn a_late_charge_of_an_answer_stays_counted(new: NewStore) {
    let attack = async |flaw| {
        for landing in LANDINGS {
            let world = World::new(new(), setup(flaw));
            let sign_in = begun(&world).await;
            world.table.delay("charge_number");
            answer_wrong(&world, &sign_in, 1..=1).await;
            landing.at_once(&world).await;
            answer_wrong(&world, &sign_in, 2..=2).await;
            landing.later(&world).await;
            let failures = async || world.failures_at(Door::SignIn, &number(1)).await;
            let found = (failures().await, world.provider.guesses().len());
            check(found == (2, 1), || format!("{found:?}"))?;
            let right = answer_right(&world, &sign_in, "question").await;
            let found = (right, failures().await);
            check(found == ("ok", 0), || format!("{found:?}"))?;
        }
        Ok(())
    };
    let flaw = Flaw::CountsNoFailures;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with("a late charge", attack(None).await, &[(flaw, flawed)]);
}

async fn a_late_success_of_a_sign_in_is_not_that_of_the_next_code(new: NewStore) {
    let attack = async |store: Store, flaw| {
        let world: Arc<World> = World::new(store, setup(flaw));
        let first = begun(&world).await;
        world.table.delay("consume");
        // The success is recorded by the second try.
        assert_eq!(answer_right(&world, &first, "question").await, "ok");
        world.pass(MINUTE);
        let next = begun(&world).await;
        world.table.land().await;
        let found = (
            world.provider.texts().len(),
            answer_right(&world, &next, "question").await,
        );
        check(found == (2, "ok"), || format!("{found:?}"))
    };
    let flaw = Flaw::AnyGeneration;
    let flawed = attack(new(), Some(flaw)).await;
    holds_and_fails_with(
        "a late success",
        attack(new(), None).await,
        &[(flaw, flawed)],
    );
}
