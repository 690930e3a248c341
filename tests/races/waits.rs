//! Failed guesses delay sends, and after a hundred the number is locked.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{
    DAY, MILLISECOND, MINUTE, Name, SECOND, Setup, World, check, holds_and_fails_with, number,
    word, wrong,
};
use otp_lambda::time::Millis;
use std::time::Duration;

over_both_stores!(
    failed_guesses_delay_sends_and_a_hundred_lock,
    a_success_clears_the_failures,
    an_operator_unlocks,
);

/// A guesser whom only failures delay. The windows are wide.
struct Guesser {
    world: std::sync::Arc<World>,
    names: usize,
    guesses: usize,
    /// The time of the last failure.
    last: Millis,
}

impl Guesser {
    fn new(store: Store, flaw: Option<Flaw>) -> Self {
        let setup = Setup {
            limits: "20/1s",
            latency: Duration::ZERO,
            flaw,
            ..Setup::default()
        };
        let world = World::new(store, setup);
        Self {
            last: world.now(),
            world,
            names: 0,
            guesses: 0,
        }
    }

    fn name(&self) -> Name {
        Name::Given(format!("r{}", self.names))
    }

    /// Sends under a new name.
    async fn send(&mut self) -> &'static str {
        self.names += 1;
        let sent = self.world.send(&number(1), &self.name()).await;
        match sent {
            Err(error) if error.limit() == Some(otp_lambda::error::Limit::Guesses) => {
                "must wait because of guesses"
            }
            sent => word(&sent),
        }
    }

    /// Makes this many wrong guesses at the last code. Returns the response to the last one.
    async fn guess(&mut self, count: usize) -> &'static str {
        let mut told = "none";
        for _ in 0..count {
            self.world.pass(SECOND);
            self.guesses += 1;
            told = word(
                &self
                    .world
                    .verify(&number(1), &self.name(), &wrong(self.guesses))
                    .await,
            );
            self.last = self.world.now();
        }
        told
    }

    async fn send_right(&mut self) -> &'static str {
        let sent = self.send().await;
        if sent != "ok" {
            return sent;
        }
        let code = self.world.provider.newest_code(&number(1));
        word(&self.world.verify(&number(1), &self.name(), &code).await)
    }

    /// Checks that sends are accepted exactly `wait` after the last failure, and not a millisecond before.
    async fn waits(&mut self, wait: Duration) -> Result<(), String> {
        let mut told = vec![self.send().await];
        self.world.move_to(self.last.plus(wait).minus(MILLISECOND));
        told.push(self.send().await);
        self.world.pass(MILLISECOND);
        told.push(self.send().await);
        let expected = [
            "must wait because of guesses",
            "must wait because of guesses",
            "ok",
        ];
        check(told == expected, || {
            format!(
                "after {} guesses, with a wait of {wait:?}: {told:?}",
                self.guesses
            )
        })
    }

    fn asked(&self) -> usize {
        self.world.provider.guesses().len()
    }
}

async fn the_way_to_the_lock(store: Store, flaw: Option<Flaw>) -> Result<String, String> {
    let mut guesser = Guesser::new(store, flaw);
    let expect = |told: &str, expected: &str, at: usize| {
        check(told == expected, || format!("{told} after {at}"))
    };
    expect(guesser.send().await, "ok", 0)?;
    guesser.guess(5).await;
    expect(guesser.send().await, "ok", 5)?;
    guesser.guess(4).await;
    // Nine failures cause no wait. The guess at the next code is the tenth.
    expect(guesser.send().await, "ok", 9)?;
    guesser.guess(1).await;
    guesser.waits(MINUTE * 15).await?;
    // Each failure begins the wait anew.
    guesser.guess(1).await;
    guesser.waits(MINUTE * 15).await?;
    while guesser.guesses < 28 {
        guesser.guess(5.min(28 - guesser.guesses)).await;
        guesser.waits(MINUTE * 15).await?;
    }
    guesser.guess(1).await;
    guesser.waits(MINUTE * 15).await?;
    guesser.guess(1).await;
    // This was the thirtieth failure.
    guesser.waits(DAY).await?;
    while guesser.guesses < 99 {
        guesser.guess(5.min(99 - guesser.guesses)).await;
        guesser.waits(DAY).await?;
    }
    let hundredth = guesser.guess(1).await;
    expect(hundredth, "invalid_code", 99)?;
    let beyond = guesser.guess(1).await;
    expect(beyond, "destination_locked", 100)?;
    expect(guesser.send().await, "destination_locked", 100)?;
    guesser.world.pass(DAY * 364);
    expect(guesser.send().await, "destination_locked", 100)?;
    guesser.world.pass(DAY * 2);
    expect(guesser.send().await, "ok", 100)?;
    let days = guesser.last.since(crate::world::START).as_secs() / 86_400;
    check(guesser.asked() == 100, || {
        format!("{} asked", guesser.asked())
    })?;
    Ok(format!(
        "100 guesses took at least {days} days; then the number was locked, for a year"
    ))
}

async fn failed_guesses_delay_sends_and_a_hundred_lock(new: NewStore) {
    let good = the_way_to_the_lock(new(), None).await;
    println!("{}: {good:?}", new());
    let mut flawed = Vec::new();
    for flaw in [Flaw::CountsNoFailures, Flaw::IgnoresWindows] {
        flawed.push((
            flaw,
            the_way_to_the_lock(new(), Some(flaw)).await.map(|_| ()),
        ));
    }
    holds_and_fails_with("the waits", good.map(|_| ()), &flawed);
}

async fn a_success_clears_the_failures(new: NewStore) {
    let run = async |store: Store, flaw| {
        let mut guesser = Guesser::new(store, flaw);
        let mut asked = Vec::new();
        // Nine failures and a success, five times. If the failures added up, the second round would have to wait.
        for _ in 0..5 {
            let mut told = Vec::new();
            told.push(guesser.send().await);
            guesser.guess(5).await;
            told.push(guesser.send().await);
            guesser.guess(4).await;
            told.push(guesser.send_right().await);
            let failures = guesser.world.failures(&number(1)).await;
            check(told == ["ok", "ok", "ok"] && failures == 0, || {
                format!("{told:?}, {failures} failures")
            })?;
            asked.push(guesser.asked());
        }
        // The success also clears 29 failures, one less than the longer wait needs.
        while guesser.world.failures(&number(1)).await < 29 {
            let failures = guesser.world.failures(&number(1)).await;
            if guesser.send().await != "ok" {
                guesser.world.move_to(guesser.last.plus(MINUTE * 15));
                check(guesser.send().await == "ok", || {
                    "still refused after the wait".to_owned()
                })?;
            }
            guesser
                .guess(4.min(29 - usize::try_from(failures).unwrap()))
                .await;
        }
        guesser.world.move_to(guesser.last.plus(MINUTE * 15));
        check(guesser.send_right().await == "ok", || {
            "the right code was refused".to_owned()
        })?;
        check(guesser.send().await == "ok", || {
            "a send had to wait after the success".to_owned()
        })?;
        Ok(asked)
    };
    let good = run(new(), None).await;
    println!(
        "{}: nine failures and a success, five times: asked {:?}",
        new(),
        good.as_ref().unwrap()
    );
    let flawed = run(new(), Some(Flaw::NeverClears))
        .await
        .map(|_: Vec<usize>| ());
    holds_and_fails_with(
        "a success",
        good.map(|_| ()),
        &[(Flaw::NeverClears, flawed)],
    );
}

async fn an_operator_unlocks(new: NewStore) {
    let mut guesser = Guesser::new(new(), None);
    loop {
        match guesser.send().await {
            "ok" => drop(guesser.guess(5).await),
            "destination_locked" => break,
            _ => guesser.world.pass(DAY),
        }
    }
    assert_eq!(guesser.asked(), 100);
    // The right code does not help, because the provider is not asked.
    assert_eq!(guesser.send_right().await, "destination_locked");
    guesser.world.unlock(&number(1)).await;
    assert_eq!(guesser.send_right().await, "ok");
    assert_eq!(guesser.asked(), 101);
    println!(
        "{}: locked after 100, unlocked, and the right code is accepted",
        new()
    );
}
