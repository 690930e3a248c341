//! A late write is a request to the table that its caller no longer waits for. The write arrives after the caller has
//! undone it, or after the next code was sent. A late write may use up a place, a budget, an attempt or a key for a
//! time, until this place, budget, attempt or key expires. A late write must never allow an additional message or
//! guess.

use crate::fake::Outcome;
use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{
    DAY, HOUR, MINUTE, Name, Setup, World, check, holds_but_for, number, word, wrong,
};
use otp_lambda::policy::{Budget, Budgets};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

over_both_stores!(
    a_late_cancel_does_not_end_the_next_code,
    a_late_redeem_does_not_take_the_next_success,
    a_cancel_during_a_resend_ends_the_newest_code,
    a_late_count_holds_one_place_until_the_window_ends,
    a_late_refund_gives_back_once,
    a_late_key_sends_no_text_for_a_day,
    a_late_finish_of_a_key_sends_no_second_text,
    a_late_record_brings_no_guess,
    a_late_record_ends_no_later_code,
    a_late_resend_brings_no_guess,
    a_late_resend_reopens_no_success,
    a_late_payment_brings_no_guess,
    a_late_charge_stays_counted,
    a_late_success_is_not_that_of_the_next_code,
);

/// A world with one code that was sent.
async fn sent(store: Store, flaw: Option<Flaw>) -> Arc<World> {
    let setup = Setup {
        flaw,
        ..Setup::default()
    };
    let world = World::new(store, setup);
    world.send(&number(1), &Name::Default).await.unwrap();
    world
}

async fn verify(world: &World) -> &'static str {
    let code = world.provider.newest_code(&number(1));
    word(&world.verify(&number(1), &Name::Default, &code).await)
}

async fn a_late_cancel_does_not_end_the_next_code(new: NewStore) {
    let attack = async |flaw| {
        let world = sent(new(), flaw).await;
        world.table.delay("cancel");
        let told = word(&world.cancel(&number(1), &Name::Default).await);
        world.pass(MINUTE);
        let resent = word(&world.send(&number(1), &Name::Default).await);
        world.table.land().await;
        let found = (told, resent, verify(&world).await);
        check(found == ("ledger_unavailable", "ok", "ok"), || {
            format!("cancel, resend, verify: {found:?}")
        })
    };
    holds_but_for(Flaw::AnyGeneration, "a late cancel", attack).await;
}

async fn a_late_redeem_does_not_take_the_next_success(new: NewStore) {
    let attack = async |flaw| {
        let world = sent(new(), flaw).await;
        assert_eq!(verify(&world).await, "ok");
        world.table.delay("redeem");
        let told = word(&world.redeem(&number(1), &Name::Default, "first").await);
        world.pass(MINUTE);
        world.send(&number(1), &Name::Default).await.unwrap();
        assert_eq!(verify(&world).await, "ok");
        world.table.land().await;
        let redeemed = word(&world.redeem(&number(1), &Name::Default, "second").await);
        check((told, redeemed) == ("ledger_unavailable", "ok"), || {
            format!("redeemed before {told}, and now {redeemed}")
        })
    };
    holds_but_for(Flaw::AnyGeneration, "a late redeem", attack).await;
}

/// A cancel that has read the older generation is told of the newer one, and ends that.
async fn a_cancel_during_a_resend_ends_the_newest_code(new: NewStore) {
    let attack = async |flaw| {
        for round in 0..20 {
            let world = sent(new(), flaw).await;
            world.pass(MINUTE);
            let to = number(1);
            let resend = world.send(&to, &Name::Default);
            let cancel = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                world.cancel(&number(1), &Name::Default).await
            };
            let (sent_again, canceled) = futures_util::future::join(resend, cancel).await;
            let told = (word(&sent_again), word(&canceled), verify(&world).await);
            let (sent_again, canceled, verified) = told;
            let is_ended = matches!(sent_again, "ok" | "verification_in_progress")
                && (canceled, verified) == ("ok", "verification_canceled");
            check(is_ended, || {
                format!("resend, cancel, verify after {round} steps: {told:?}")
            })?;
        }
        Ok(())
    };
    holds_but_for(Flaw::SaysCanceled, "a cancel during a resend", attack).await;
}

/// When a late write lands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Landing {
    /// Before the next request.
    AtOnce,
    /// After the next request.
    Later,
}

pub(crate) const LANDINGS: [Landing; 2] = [Landing::AtOnce, Landing::Later];

impl Landing {
    pub(crate) async fn at_once(self, world: &World) {
        if matches!(self, Self::AtOnce) {
            world.table.land().await;
        }
    }

    pub(crate) async fn later(self, world: &World) {
        if matches!(self, Self::Later) {
            world.table.land().await;
        }
    }
}

/// A way to get a message: a send over HTTP, or a sign-in.
pub(crate) trait Way {
    /// The answer if the provider refuses the message.
    const REFUSED: &str;
    /// How long after a refused message another one can be asked for.
    const WAIT: Duration;

    /// A world in which only this limit allows no more than three messages within an hour.
    fn three_texts(step: &str, flaw: Option<Flaw>) -> Setup;

    /// Asks for a message.
    async fn ask(world: &World) -> &'static str;

    /// Asks for a message, and verifies its code. Returns whether a message was sent.
    async fn ask_and_verify(world: &World) -> bool;
}

/// The world `wide` with this limit instead of its own. `prefix` and `budget` are joint limits of both doors.
pub(crate) fn with_limit(
    step: &str,
    [prefix_limits, budget, limits]: [&'static str; 3],
    wide: Setup,
) -> Setup {
    match step {
        "count" | "uncount" => Setup {
            prefix_limits,
            ..wide
        },
        "spend" | "refund" => Setup {
            budgets: Budgets {
                all: Budget::parse_list(budget).unwrap(),
                ..Budgets::default()
            },
            ..wide
        },
        _ => Setup { limits, ..wide },
    }
}

struct Http;

impl Way for Http {
    const REFUSED: &str = "opted_out";
    const WAIT: Duration = Duration::ZERO;

    fn three_texts(step: &str, flaw: Option<Flaw>) -> Setup {
        three_an_hour(step, flaw)
    }

    async fn ask(world: &World) -> &'static str {
        word(&world.send(&number(1), &Name::Default).await)
    }

    async fn ask_and_verify(world: &World) -> bool {
        let is_sent = Self::ask(world).await == "ok";
        if is_sent {
            assert_eq!(verify(world).await, "ok");
        }
        is_sent
    }
}

/// A world in which only this limit allows no more than three messages an hour.
fn three_an_hour(step: &str, flaw: Option<Flaw>) -> Setup {
    let wide = Setup {
        limits: "20/1h",
        flaw,
        ..Setup::default()
    };
    with_limit(step, ["3/1h"; 3], wide)
}

/// Asks until a limit refuses. Returns how many messages have been sent in all.
async fn ask_often<W: Way>(world: &World) -> usize {
    for _ in 0..9 {
        if !W::ask_and_verify(world).await {
            break;
        }
    }
    world.provider.texts().len()
}

/// Asserts that there are this many messages in the first hour, and three in the second hour.
async fn texts_of_two_hours<W: Way>(world: &World, first: usize) -> Result<(), String> {
    let texts = ask_often::<W>(world).await;
    check(texts == first, || format!("{texts} texts in an hour"))?;
    world.pass(HOUR);
    let more = ask_often::<W>(world).await - texts;
    check(more == 3, || format!("{more} texts in the next hour"))
}

async fn a_late_count_holds_one_place_until_the_window_ends(new: NewStore) {
    late_counts::<Http>(new).await;
}

async fn a_late_refund_gives_back_once(new: NewStore) {
    late_refunds::<Http>(new).await;
}

pub(crate) async fn late_counts<W: Way>(new: NewStore) {
    for (step, flaw) in [
        ("count", Flaw::UndoesLateSteps),
        ("spend", Flaw::UndoesLateSteps),
        ("reserve_send", Flaw::IgnoresWindows),
    ] {
        let attack = async |flaw| {
            let refused = async || {
                let world = World::new(new(), W::three_texts(step, flaw));
                assert!(W::ask_and_verify(&world).await);
                world.table.delay(step);
                let told = W::ask(&world).await;
                check(told == "ledger_unavailable", || told.to_owned())?;
                Ok::<_, String>(world)
            };
            // A write that lands when the limit is reached is refused.
            let world = refused().await?;
            ask_often::<W>(&world).await;
            world.table.land().await;
            texts_of_two_hours::<W>(&world, 3).await?;
            for landing in LANDINGS {
                let world = refused().await?;
                landing.at_once(&world).await;
                W::ask_and_verify(&world).await;
                landing.later(&world).await;
                texts_of_two_hours::<W>(&world, 2).await?;
            }
            Ok(())
        };
        holds_but_for(flaw, step, attack).await;
    }
}

/// Until the late write lands, the place is held. The place is given back once.
pub(crate) async fn late_refunds<W: Way>(new: NewStore) {
    for step in ["uncount", "refund"] {
        let attack = async |flaw| {
            for landing in LANDINGS {
                let world = World::new(new(), W::three_texts(step, flaw));
                assert!(W::ask_and_verify(&world).await);
                world.provider.outcomes([Outcome::Refused]);
                world.table.delay(step);
                let told = W::ask(&world).await;
                check(told == W::REFUSED, || told.to_owned())?;
                world.pass(W::WAIT);
                landing.at_once(&world).await;
                W::ask_and_verify(&world).await;
                landing.later(&world).await;
                texts_of_two_hours::<W>(&world, 3).await?;
            }
            Ok(())
        };
        holds_but_for(Flaw::UndoesLateSteps, step, attack).await;
    }
}

/// How many codes have been put to the provider. One guess may be put under two references.
pub(crate) fn different_guesses(world: &World) -> usize {
    let guesses = world.provider.guesses().into_iter();
    let codes: BTreeSet<String> = guesses.map(|asked| asked.code).collect();
    codes.len()
}

async fn a_late_key_sends_no_text_for_a_day(new: NewStore) {
    let attack = async |flaw| {
        let setup = three_an_hour("reserve_key", flaw);
        let world = World::new(new(), setup);
        let to = number(1);
        let send = async || {
            let sent = world.send_under(&to, &Name::Default, Some("key")).await;
            word(&sent)
        };
        world.table.delay("reserve_key");
        assert_eq!(send().await, "ledger_unavailable");
        world.table.land().await;
        let early = send().await;
        world.pass(HOUR);
        let late = send().await;
        let found = (early, late, world.provider.texts().len());
        let expected = ("idempotency_key_in_use", "provider_timeout", 0);
        check(found == expected, || format!("{found:?}"))?;
        // Another key sends, and after a day this one does.
        let other = world.send_under(&to, &Name::Default, Some("other")).await;
        world.pass(DAY);
        let found = (word(&other), send().await, world.provider.texts().len());
        check(found == ("ok", "ok", 2), || format!("{found:?}"))
    };
    holds_but_for(Flaw::ForgetsKeys, "a late key", attack).await;
}

async fn a_late_finish_of_a_key_sends_no_second_text(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), three_an_hour("finish_key", flaw));
        let send = async || {
            let to = number(1);
            let sent = world.send_under(&to, &Name::Default, Some("key"));
            word(&sent.await)
        };
        world.table.delay("finish_key");
        let first = send().await;
        let early = send().await;
        world.table.land().await;
        let found = (first, early, send().await, world.provider.texts().len());
        let expected = ("ok", "idempotency_key_in_use", "ok", 1);
        check(found == expected, || format!("{found:?}"))
    };
    holds_but_for(Flaw::ForgetsKeys, "a late finish", attack).await;
}

/// A world whose codes allow three guesses.
fn three_guesses(store: Store, flaw: Option<Flaw>) -> Arc<World> {
    let setup = Setup {
        limits: "20/1h",
        attempts: 3,
        flaw,
        ..Setup::default()
    };
    World::new(store, setup)
}

/// Guesses wrong this often, each time another code.
async fn guess_wrong(world: &World, guesses: RangeInclusive<usize>) {
    for n in guesses {
        let code = wrong(n);
        assert!(
            world
                .verify(&number(1), &Name::Default, &code)
                .await
                .is_err()
        );
    }
}

/// The record of a send lands after the send has settled it. No message was sent.
async fn a_late_record_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        for is_right in [true, false] {
            let world = three_guesses(new(), flaw);
            world.table.delay("open");
            let told = word(&world.send(&number(1), &Name::Default).await);
            let texts = world.provider.texts().len();
            assert_eq!((told, texts), ("ledger_unavailable", 0));
            world.table.land().await;
            // The late record looks like the record of a message that may have been sent. The next send belongs to it.
            guess_wrong(&world, 1..=1).await;
            world.pass(MINUTE);
            assert!(world.send(&number(1), &Name::Default).await.is_ok());
            guess_wrong(&world, 2..=2).await;
            if is_right {
                let right = verify(&world).await;
                check(right == "ok", || right.to_owned())?;
            }
            guess_wrong(&world, 3..=9).await;
            let asked = world.provider.guesses().len();
            check(asked == 3, || format!("asked {asked} times"))?;
        }
        // The verification ends when its code would have expired.
        let world = three_guesses(new(), flaw);
        world.table.delay("open");
        assert!(world.send(&number(1), &Name::Default).await.is_err());
        world.table.land().await;
        world.pass(10 * MINUTE);
        assert!(world.send(&number(1), &Name::Default).await.is_ok());
        let left = world.verification(&number(1), &Name::Default).await;
        let (sends, left) = left.map_or((0, 0), |it| (it.sends, it.left));
        check((sends, left) == (1, 3), || {
            format!("{sends} sends, {left} left")
        })
    };
    holds_but_for(Flaw::RenewsAttempts, "a late record", attack).await;
}

async fn a_late_record_ends_no_later_code(new: NewStore) {
    let attack = async |flaw| {
        let world = three_guesses(new(), flaw);
        world.table.delay("open");
        assert!(world.send(&number(1), &Name::Default).await.is_err());
        world.pass(MINUTE);
        assert!(world.send(&number(1), &Name::Default).await.is_ok());
        guess_wrong(&world, 1..=2).await;
        world.table.land().await;
        guess_wrong(&world, 3..=9).await;
        let asked = world.provider.guesses().len();
        check(asked == 3, || format!("asked {asked} times"))
    };
    holds_but_for(Flaw::OpensOverAny, "a late record", attack).await;
}

async fn a_late_resend_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        for is_right in [true, false] {
            let world = three_guesses(new(), flaw);
            assert!(world.send(&number(1), &Name::Default).await.is_ok());
            guess_wrong(&world, 1..=2).await;
            world.pass(MINUTE);
            world.table.delay("reopen");
            let told = word(&world.send(&number(1), &Name::Default).await);
            assert_eq!(
                (told, world.provider.texts().len()),
                ("ledger_unavailable", 1)
            );
            world.table.land().await;
            // The first code stays right, and has the guess that was left.
            if is_right {
                let right = verify(&world).await;
                check(right == "ok", || right.to_owned())?;
            }
            guess_wrong(&world, 3..=9).await;
            let codes = different_guesses(&world);
            check(codes == 3, || format!("{codes} guesses"))?;
        }
        Ok(())
    };
    holds_but_for(Flaw::RenewsAttempts, "a late resend", attack).await;
}

async fn a_late_resend_reopens_no_success(new: NewStore) {
    let attack = async |flaw| {
        let world = three_guesses(new(), flaw);
        assert!(world.send(&number(1), &Name::Default).await.is_ok());
        world.pass(MINUTE);
        world.table.delay("reopen");
        assert!(world.send(&number(1), &Name::Default).await.is_err());
        assert_eq!(verify(&world).await, "ok");
        world.table.land().await;
        let again = verify(&world).await;
        let redeemed = word(&world.redeem(&number(1), &Name::Default, "backend").await);
        let found = (again, redeemed);
        check(found == ("already_verified", "ok"), || format!("{found:?}"))
    };
    holds_but_for(Flaw::RenewsAttempts, "a late resend", attack).await;
}

/// A late payment costs the next code one attempt.
async fn a_late_payment_brings_no_guess(new: NewStore) {
    let attack = async |flaw| {
        for landing in LANDINGS {
            let world = three_guesses(new(), flaw);
            assert!(world.send(&number(1), &Name::Default).await.is_ok());
            world.table.delay("spend_attempt");
            guess_wrong(&world, 1..=1).await;
            world.pass(MINUTE);
            landing.at_once(&world).await;
            assert!(world.send(&number(1), &Name::Default).await.is_ok());
            landing.later(&world).await;
            guess_wrong(&world, 2..=9).await;
            let asked = world.provider.guesses().len();
            check(asked == 2, || format!("asked {asked} times"))?;
        }
        Ok(())
    };
    holds_but_for(Flaw::RenewsAttempts, "a late payment", attack).await;
}

/// A late charge counts as a failure until the next success. The count may then be too high, but never too low.
async fn a_late_charge_stays_counted(new: NewStore) {
    let attack = async |flaw| {
        for landing in LANDINGS {
            let world = three_guesses(new(), flaw);
            assert!(world.send(&number(1), &Name::Default).await.is_ok());
            world.table.delay("charge_number");
            guess_wrong(&world, 1..=1).await;
            landing.at_once(&world).await;
            guess_wrong(&world, 2..=2).await;
            landing.later(&world).await;
            let failures = world.failures(&number(1)).await;
            check(failures == 2, || format!("{failures} failures"))?;
            let asked = world.provider.guesses().len();
            check(asked == 1, || format!("asked {asked} times"))?;
            assert_eq!(verify(&world).await, "ok");
            let failures = world.failures(&number(1)).await;
            check(failures == 0, || format!("{failures} failures"))?;
        }
        Ok(())
    };
    holds_but_for(Flaw::CountsNoFailures, "a late charge", attack).await;
}

async fn a_late_success_is_not_that_of_the_next_code(new: NewStore) {
    let attack = async |flaw| {
        let world = sent(new(), flaw).await;
        world.table.delay("consume");
        // The success is recorded by the second try.
        assert_eq!(verify(&world).await, "ok");
        world.pass(MINUTE);
        world.send(&number(1), &Name::Default).await.unwrap();
        world.table.land().await;
        let redeemed = word(&world.redeem(&number(1), &Name::Default, "backend").await);
        let right = verify(&world).await;
        check(
            (redeemed, right) == ("verification_in_progress", "ok"),
            || format!("redeemed before its guess: {redeemed}, then {right}"),
        )
    };
    holds_but_for(Flaw::AnyGeneration, "a late success", attack).await;
}
