//! The accepted chance of a right guess: settings that miss it do not start, and an attacker has no better chance.

use crate::world::{KEY, NUMBER, World, changed};
use otp_lambda::settings::Settings;
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

type Changes = Vec<(String, String)>;

/// The problems of these settings with a ledger, and the chance if there are none.
fn judged(changes: &Changes) -> Result<String, Vec<String>> {
    let ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
    let changes = changes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<_> = ledger.into_iter().chain(changes).collect();
    let environment = changed("http://127.0.0.1:1", &all);
    let settings = Settings::read(&|name| environment.get(name).cloned());
    match settings {
        Ok(settings) => Ok(settings.ledger.unwrap().policy.guess_chance.to_string()),
        Err(problems) => Err(problems.0),
    }
}

fn owned(changes: &[(&str, &str)]) -> Changes {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    changes.iter().map(owned).collect()
}

/// The settings with others in their place.
fn instead(changes: &Changes, others: &str, between: &str) -> Changes {
    let mut all = changes.clone();
    for other in others.split(between) {
        let (name, value) = other.split_once('=').unwrap();
        all.retain(|(own, _)| own != name);
        all.push((name.to_owned(), value.to_owned()));
    }
    all
}

/// How settings stand to the chance that they accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Met,
    /// One change is enough.
    MetByEach,
    MetByAll,
    NeverMet,
}

/// Judges settings with an accepted chance. If the function does not start, tries each remedy that its sentence names.
fn verdict(changes: &Changes) -> Verdict {
    let Err(problems) = judged(changes) else {
        return Verdict::Met;
    };
    let [problem] = &*problems else {
        panic!("one problem: {problems:?}")
    };
    let start = "GUESS_RISK is missed: the chance of a right guess at one number can reach ";
    let (reached, remedies) = problem
        .strip_prefix(start)
        .and_then(|rest| rest.split_once(". "))
        .unwrap_or_else(|| panic!("{problem}"));
    let remedies = remedies.trim_end_matches('.');
    // The chance that the sentence names is rounded up. So the same settings meet that chance.
    if !reached.starts_with("1/") {
        let accepted = format!("GUESS_RISK={reached}");
        let met = judged(&instead(changes, &accepted, ";"));
        assert_eq!(met, Ok(reached.to_owned()));
    }
    if let Some(each) = remedies.strip_prefix("Each of these would meet it: ") {
        for one in each.split("; ") {
            let other_settings = instead(changes, one, " with ");
            assert!(judged(&other_settings).is_ok(), "{one} of {problem}");
        }
        return Verdict::MetByEach;
    }
    if let Some(all) = remedies.strip_prefix("These together would meet it: ") {
        let all = all.replace(" with ", ", ");
        let other_settings = instead(changes, &all, ", ");
        assert!(
            judged(&other_settings).is_ok(),
            "{problem}: {other_settings:?}"
        );
        // One of them alone does not.
        for one in all.split(", ") {
            let other_settings = instead(changes, one, "; ");
            assert!(judged(&other_settings).is_err(), "{one} of {problem}");
        }
        return Verdict::MetByAll;
    }
    assert!(remedies.starts_with("Neither longer codes"), "{problem}");
    Verdict::NeverMet
}

const RISKS: [&str; 7] = [
    "1e-3/1d",
    "1e-4/1d",
    "2.5e-5/1d",
    "1e-6/1h",
    "3e-7/30d",
    "0.00000001/7d",
    "1e-12/1d",
];

const SEND_LIMITS: [&str; 4] = ["1/30s,2/90s,3/10m,6/24h", "20/1h", "1/30s", "6/24h,20/30d"];

const OTHERS: [&[(&str, &str)]; 4] = [
    &[],
    &[
        ("CODE_LENGTH", "8"),
        ("MIN_CODE_LENGTH", "6"),
        ("MAX_VALIDITY_PERIOD", "10"),
    ],
    &[
        ("SIGN_IN_SHARE", "50"),
        ("DEVICE_TOKEN_DAYS", "30"),
        ("MIN_CODE_LENGTH", "6"),
    ],
    &[("ALLOWED_ATTEMPTS", "5"), ("MIN_CODE_LENGTH", "6")],
];

#[test]
fn settings_that_miss_the_accepted_chance_are_refused_and_each_remedy_meets_it() {
    let mut verdicts = Vec::new();
    for risk in RISKS {
        for limits in SEND_LIMITS {
            for others in OTHERS {
                let changes = [("GUESS_RISK", risk), ("SEND_LIMITS", limits)];
                let changes = owned(&[&changes[..], others].concat());
                verdicts.push(verdict(&changes));
            }
        }
    }
    for kind in [
        Verdict::Met,
        Verdict::MetByEach,
        Verdict::MetByAll,
        Verdict::NeverMet,
    ] {
        let count = verdicts.iter().filter(|verdict| **verdict == kind).count();
        assert!(count > 5, "{kind:?}: {count}");
    }
}

#[test]
fn the_page_shows_what_the_function_says() {
    let problems = judged(&owned(&[("GUESS_RISK", "1e-4/1d")])).unwrap_err();
    let page = include_str!("../../docs/limits.md");
    let page: Vec<_> = page.split_whitespace().collect();
    assert!(page.join(" ").contains(&problems[0]), "{problems:?}");
}

#[test]
fn without_a_ledger_an_accepted_chance_is_refused() {
    let environment = changed("http://127.0.0.1:1", &[("GUESS_RISK", "1e-4/1d")]);
    let problems = Settings::read(&|name| environment.get(name).cloned()).err();
    let expected = "GUESS_RISK needs the ledger: set LEDGER_TABLE, or unset it.";
    assert_eq!(problems.map(|it| it.0), Some(vec![expected.to_owned()]));
}

#[test]
fn with_codes_of_other_software_an_accepted_chance_is_refused() {
    let settings = [("GUESS_RISK", "0.5/1d"), ("FOREIGN_CODES", "on")];
    let problems = judged(&owned(&settings)).unwrap_err();
    assert!(
        problems[0].starts_with("GUESS_RISK needs FOREIGN_CODES=off"),
        "{problems:?}"
    );
}

#[test]
fn without_an_accepted_chance_nothing_is_refused_and_a_day_is_judged() {
    let limits = ("SEND_LIMITS", "20/1s");
    assert_eq!(judged(&owned(&[limits])), Ok("1/1d".to_owned()));
    let letters = owned(&[("MIN_CODE_LENGTH", "6")]);
    assert_eq!(judged(&letters), Ok("6e-5/1d".to_owned()));
}

#[tokio::test]
async fn with_an_accepted_chance_no_request_gets_more_guesses_than_the_default() {
    let ask = |world: World, attempts: u8| async move {
        let body = json!({ "destinationNumber": NUMBER, "allowedAttempts": attempts });
        world.post("/otp/send", &body).await.status
    };
    let risk = &[("GUESS_RISK", "0.9/1d")][..];
    assert_eq!(ask(World::counted(risk).await, 4).await, 400);
    assert_eq!(ask(World::counted(risk).await, 3).await, 202);
    // The control.
    assert_eq!(ask(World::counted(&[]).await, 4).await, 202);
}

/// An attacker that sends as often as the service lets it, and makes each guess that it has.
struct Attacker {
    world: World,
    time: Duration,
    /// The reference IDs of codes with guesses left.
    open: Vec<String>,
    /// The right codes, which the guesses leave out. So each guess is wrong, and no test depends on luck.
    codes: Vec<String>,
}

impl Attacker {
    /// Sends a code for a new verification, or waits until it may.
    async fn send(&mut self, until: Duration) -> bool {
        // Without digits, because no response may have the digits of a guess.
        let reference = "r".repeat(self.codes.len() + 1);
        let body =
            json!({ "destinationNumber": NUMBER, "referenceId": reference, "validityPeriod": 60 });
        let answer = self.world.post("/otp/send", &body).await;
        if answer.status == 202 {
            self.open.push(reference);
            self.codes.push(self.world.newest_code());
            return true;
        }
        assert_eq!(answer.status, 429, "{}", answer.body);
        let wait = Duration::from_secs(answer.body["retryAfter"].as_u64().unwrap());
        if self.time + wait >= until {
            return false;
        }
        self.pass(wait);
        true
    }

    fn pass(&mut self, time: Duration) {
        self.world.advance(time);
        self.time += time;
    }

    /// Makes all guesses at all codes. Returns how many the service has checked.
    async fn guess(&mut self) -> u64 {
        let mut checked = 0;
        for reference in std::mem::take(&mut self.open) {
            let guesses = (0..).map(|guess| format!("{guess:06}"));
            for guess in guesses.filter(|guess| !self.codes.contains(guess)) {
                let body =
                    json!({ "destinationNumber": NUMBER, "referenceId": reference, "otp": guess });
                let answer = self.world.post("/otp/verify", &body).await;
                if answer.body["code"] != "invalid_code" {
                    break;
                }
                checked += 1;
                if answer.body["attemptsLeft"] == json!(0) {
                    break;
                }
            }
        }
        checked
    }
}

#[tokio::test]
async fn an_attacker_of_the_real_service_has_as_many_guesses_in_a_day_as_the_chance_says() {
    let settings = [("MIN_CODE_LENGTH", "6"), ("GUESS_RISK", "0.5/1d")];
    let said = judged(&owned(&settings)).unwrap();
    let world = World::counted(&settings).await;
    let mut attacker = Attacker {
        world,
        time: Duration::ZERO,
        open: Vec::new(),
        codes: Vec::new(),
    };
    // The first codes are sent before the day begins, and the guesses at them are made in the day.
    let before = Duration::from_mins(12);
    while attacker.send(before).await {}
    attacker.pass(before.saturating_sub(attacker.time));
    let mut checked = attacker.guess().await;
    while attacker.send(before + DAY).await {}
    checked += attacker.guess().await;
    assert!(attacker.time < before + DAY);
    assert_eq!((checked, &*said), (36, "3.6e-5/1d"));
}
