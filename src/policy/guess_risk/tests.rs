//! The formula against an attacker that knows nothing of it, and its parts by hand.

use super::*;
use crate::policy::SignInShare;
use std::collections::BTreeMap;

fn policy(send_limits: &str, attempts: u8, validity: Duration) -> CodePolicy {
    CodePolicy {
        send_limits: SendLimits::parse(send_limits).unwrap(),
        shares: Shares::default(),
        length: 6,
        attempts,
        validity,
    }
}

fn period(text: &str) -> Period {
    GuessRisk::parse(&format!("0.1/{text}")).unwrap().period
}

/// The rules of a number, as a person would check them with a list of all messages. Times are in half seconds: a
/// period can begin between two messages that are whole seconds apart.
struct Naive {
    windows: Vec<(usize, i64)>,
    attempts: i64,
    validity: i64,
    period: i64,
}

/// A verification: the times of its messages, and its guesses left.
type Open = (Vec<i64>, i64);

impl Naive {
    /// Tries every choice at every time, and returns the most guesses in the period that can be right. The period
    /// begins at time 0.
    fn most_guesses(&self) -> i64 {
        self.best(-self.validity - 1, &[], &[], &mut BTreeMap::new())
    }

    fn best(
        &self,
        now: i64,
        sent: &[i64],
        open: &[Open],
        known: &mut BTreeMap<(i64, Vec<i64>, Vec<Open>), i64>,
    ) -> i64 {
        if now == self.period {
            return 0;
        }
        // All that is too old to matter is forgotten, so that fewer cases differ.
        let longest = self.windows.iter().map(|(_, length)| *length).max();
        let longest = longest.unwrap_or(0);
        let sent: Vec<_> = sent
            .iter()
            .copied()
            .filter(|at| now - at < longest)
            .collect();
        let is_valid =
            |(messages, left): &&Open| *left > 0 && now - messages.last().unwrap() < self.validity;
        let mut open: Vec<Open> = open.iter().filter(is_valid).cloned().collect();
        open.sort();
        let key = (now, sent.clone(), open.clone());
        if let Some(best) = known.get(&key) {
            return *best;
        }
        // Choice 1: guess at everything, and let time pass.
        let guesses: i64 = open.iter().map(|(_, left)| left).sum();
        let mut best = if now >= 0 {
            guesses + self.best(now + 1, &sent, &[], known)
        } else {
            // A guess before the period is of no use, and costs guesses in it.
            self.best(now + 1, &sent, &open, known)
        };
        let has_room = self
            .windows
            .iter()
            .all(|(count, length)| sent.iter().filter(|at| now - **at < *length).count() < *count);
        if has_room {
            let mut sent = sent.clone();
            sent.push(now);
            // Choice 2: a message for a new verification.
            let mut with = open.clone();
            with.push((vec![now], self.attempts));
            best = best.max(self.best(now, &sent, &with, known));
            // Choice 3: a further message for each open verification.
            for place in 0..open.len() {
                let mut with = open.clone();
                let Some((messages, _)) = with.get_mut(place).filter(|own| own.0.len() < 3) else {
                    continue;
                };
                messages.push(now);
                best = best.max(self.best(now, &sent, &with, known));
            }
        }
        known.insert(key, best);
        best
    }
}

#[test]
fn no_attacker_has_more_guesses_than_the_figure_and_the_best_has_as_many() {
    let windows: [&[(usize, i64)]; 8] = [
        &[(1, 1)],
        &[(1, 2)],
        &[(2, 3)],
        &[(1, 2), (2, 5)],
        &[(1, 1), (3, 4)],
        &[(2, 2), (3, 7)],
        &[(1, 3), (2, 4)],
        &[(2, 6)],
    ];
    let mut judged = 0;
    for windows in windows {
        for (length, validity) in (1..=6).flat_map(|length| (1..=3).map(move |v| (length, v))) {
            for attempts in 1..=2 {
                let naive = Naive {
                    windows: windows
                        .iter()
                        .map(|(count, length)| (*count, 2 * length))
                        .collect(),
                    attempts,
                    validity: 2 * validity,
                    period: 2 * length,
                };
                let written: Vec<_> = windows
                    .iter()
                    .map(|(count, length)| format!("{count}/{length}s"))
                    .collect();
                let seconds = Duration::from_secs(validity.unsigned_abs());
                let attempts = u8::try_from(attempts).unwrap();
                let policy = policy(&written.join(","), attempts, seconds);
                let figure = policy.chance(&period(&format!("{length}s"))).guesses;
                let best = naive.most_guesses();
                assert_eq!(
                    figure,
                    best.unsigned_abs(),
                    "{written:?} {attempts} {validity} {length}"
                );
                judged += 1;
            }
        }
    }
    assert_eq!(judged, 8 * 6 * 3 * 2);
}

#[test]
fn a_figure_that_forgets_the_codes_from_before_the_period_is_found_out() {
    let naive = Naive {
        windows: vec![(1, 4)],
        attempts: 1,
        validity: 4,
        period: 4,
    };
    let forgetful = policy("1/2s", 1, Duration::ZERO);
    assert_eq!(forgetful.chance(&period("2s")).guesses, 1);
    assert_eq!(naive.most_guesses(), 2);
}

/// A person signs in each day, and somebody else guesses at the same number. Days are counted by hand: the usual limits
/// allow six messages, a tenth failed guess stops messages for a quarter of an hour, and a hundredth for ever.
#[test]
fn the_lock_does_not_bound_the_guesses_at_a_number_whose_owner_succeeds() {
    let (mut failures, mut guesses) = (0, 0);
    for _ in 0..30 {
        for message in 1..=6 {
            assert!(failures < 10, "no message has to wait");
            // The third message is the owner's. Somebody else uses two of its guesses, and the owner the last.
            let (wrong, succeeds) = if message == 3 { (2, true) } else { (3, false) };
            guesses += wrong;
            failures = if succeeds { 0 } else { failures + wrong };
        }
        // The owner signs in a second time, with the first message of the next day.
        failures = 0;
    }
    assert!(guesses > u64::from(crate::ledger::LOCKED));
    let usual = policy("1/30s,2/90s,3/10m,6/24h", 3, Duration::from_hours(1));
    assert!(guesses <= usual.chance(&period("30d")).guesses);
}

#[test]
fn the_parts_of_all_doors_are_added() {
    let alone = policy("6/24h", 3, Duration::from_hours(1));
    let guesses = |policy: &CodePolicy| policy.chance(&Period::default()).guesses;
    // Twice six messages: those from before the day, and those in it.
    assert_eq!(guesses(&alone), 36);
    let shares = |share: &str, has_devices| CodePolicy {
        shares: Shares {
            sign_in: SignInShare::parse(share).unwrap(),
            has_devices,
        },
        ..alone.clone()
    };
    // Long windows are split, so nothing is added.
    for (share, has_devices) in [("50", false), ("0", true), ("50", true)] {
        let split = shares(share, has_devices);
        assert_eq!(guesses(&split), 36, "{share} {has_devices}");
        // Each door has all of a short window.
        let short = CodePolicy {
            send_limits: SendLimits::parse("1/59m").unwrap(),
            ..split
        };
        let doors = 1 + u64::from(share != "0") + u64::from(has_devices);
        // In the 25 hours, a message each 59 minutes: 0, 59, …, 25 × 59 minutes.
        assert_eq!(guesses(&short), doors * 26 * 3);
    }
}

#[test]
fn more_messages_than_are_counted_are_bounded_by_each_window_alone() {
    let many = policy("20/1s,19/1s", 1, Duration::from_hours(1));
    let day = many.chance(&Period::default());
    assert_eq!(day.guesses, 25 * 3600 * 19);
    assert_eq!(day.to_string(), "1/1d");
    let counted = policy("1/1s", 1, Duration::from_hours(1));
    assert_eq!(counted.chance(&Period::default()).guesses, 25 * 3600);
}

#[test]
fn an_accepted_chance_is_read_exactly() {
    for (text, significand, places) in [
        ("1e-5/1d", 1, 5),
        ("0.00001/1d", 1, 5),
        ("2.5e-4/30d", 25, 5),
        ("0.9/1s", 9, 1),
        ("01e-5/1d", 1, 5),
    ] {
        let risk = GuessRisk::parse(text).unwrap();
        assert_eq!(
            (risk.significand, risk.places),
            (significand, places),
            "{text}"
        );
    }
    for bad in [
        "",
        "1e-5",
        "1e-5/",
        "/1d",
        "1/1d",
        "1.0/1d",
        "2/1d",
        "0/1d",
        "0e-5/1d",
        "e-5/1d",
        "1e-/1d",
        ".5/1d",
        "1.e-5/1d",
        "1e5/1d",
        "1e-19/1d",
        "-1e-5/1d",
        "+1e-5/1d",
        "1E-5/1d",
        "1e-+5/1d",
        "1e-5/31d",
        "1e-5/0d",
        "1e-5/d",
        "1/100000/1d",
        "1%/1d",
        " 1e-5/1d",
        "99999999999999999999e-18/1d",
    ] {
        assert!(GuessRisk::parse(bad).is_err(), "{bad:?}");
    }
    // 36 guesses in a million.
    let usual = policy("6/24h", 3, Duration::from_hours(1));
    for (text, is_met) in [
        ("3.6e-5/1d", true),
        ("3.5999e-5/1d", false),
        ("3.6e-5/24h", true),
        ("3.6e-5/2d", false),
    ] {
        let risk = GuessRisk::parse(text).unwrap();
        assert_eq!(risk.is_met_by(&usual), is_met, "{text}");
    }
}

#[test]
fn a_chance_is_written_with_two_digits_rounded_up() {
    for (guesses, digits, text) in [
        (0, 6, "0"),
        (1, 6, "1e-6"),
        (36, 6, "3.6e-5"),
        (60, 5, "6e-4"),
        (540, 6, "5.4e-4"),
        (541, 6, "5.5e-4"),
        (991, 6, "1e-3"),
        (9_901, 4, "1"),
        (10_000, 4, "1"),
        (u64::MAX, 8, "1"),
    ] {
        assert_eq!(rounded_up(guesses, digits), text, "{guesses}/{digits}");
    }
}
