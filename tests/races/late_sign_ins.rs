//! Late writes of sign-ins, as in [`late`](crate::late): a write that arrives after its sign-in has given it up may use
//! up a place, an attempt or a key for a time, and never brings a further message or guess.

use crate::fake::Outcome;
use crate::late::{LANDINGS, Way, different_guesses, late_counts, late_refunds, with_limit};
use crate::store::{NewStore, over_both_stores};
use crate::table::Flaw;
use crate::world::{MINUTE, Setup, World, check, holds_but_for, number, word, wrong};
use otp_lambda::ledger::Door;
use otp_lambda::service::SignIn;
use std::ops::RangeInclusive;
use std::time::Duration;

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

struct SignIns;

impl Way for SignIns {
    /// The refused message leaves a sign-in without a code, and ten minutes later another one can begin.
    const REFUSED: &str = "ok";
    const WAIT: Duration = Duration::from_mins(10);

    /// The windows have fifty minutes. Half of the limits on prefixes and of the budgets belongs to HTTP.
    fn three_texts(step: &str, flaw: Option<Flaw>) -> Setup {
        with_limit(step, ["6/50m", "6/1h", "3/50m"], setup(flaw))
    }

    async fn ask(world: &World) -> &'static str {
        word(&world.begin_sign_in(&number(1)).await)
    }

    async fn ask_and_verify(world: &World) -> bool {
        let before = world.provider.texts().len();
        let sign_in = begun(world).await;
        let is_sent = world.provider.texts().len() > before;
        if is_sent {
            assert_eq!(answer_right(world, &sign_in, "right").await, "ok");
        }
        is_sent
    }
}

async fn a_late_count_of_a_sign_in_holds_one_place_until_the_window_ends(new: NewStore) {
    late_counts::<SignIns>(new).await;
}

async fn a_late_refund_of_a_sign_in_gives_back_once(new: NewStore) {
    late_refunds::<SignIns>(new).await;
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
    holds_but_for(Flaw::ForgetsKeys, "a late key", attack).await;
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
    holds_but_for(Flaw::ForgetsKeys, "a late finish", attack).await;
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
    holds_but_for(Flaw::RenewsAttempts, "a late record", attack).await;
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
    holds_but_for(Flaw::OpensOverAny, "a late record", attack).await;
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
    holds_but_for(Flaw::SettlesAny, "a late settlement", attack).await;
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
    holds_but_for(Flaw::RenewsAttempts, "a late resend", attack).await;
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
    holds_but_for(Flaw::RenewsAttempts, "a late payment", attack).await;
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
    holds_but_for(Flaw::CountsNoFailures, "a late charge", attack).await;
}

async fn a_late_success_of_a_sign_in_is_not_that_of_the_next_code(new: NewStore) {
    let attack = async |flaw| {
        let world = World::new(new(), setup(flaw));
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
    holds_but_for(Flaw::AnyGeneration, "a late success", attack).await;
}
