//! Compares Define, the trigger that decides the next step of a sign-in, with an oracle. The oracle is written in
//! another style: the history of a sign-in is a word, and each decision is a regular expression.

use crate::pool::{Next, User, decision_of};
use crate::world::World;
use otp_lambda::cognito::{Decision, Round, StepUp, define};
use regex_automata::dfa::regex::Regex;
use serde_json::{Value, json};
use simulator::sized;
use std::collections::HashMap;

/// A decision and the words that lead to it.
struct Rule {
    step_up: StepUp,
    words: Regex,
    decision: Verdict,
}

/// A decision that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Tokens,
    Fail,
    Ask(&'static str),
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Tokens => Self::Tokens,
            Decision::Fail => Self::Fail,
            Decision::Ask(name) => Self::Ask(name),
        }
    }
}

/// Decides by the words alone.
pub(crate) struct Oracle {
    rules: Vec<Rule>,
    some_left: Regex,
    decided: HashMap<(String, bool), Verdict>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        const OURS: Verdict = Verdict::Ask("CUSTOM_CHALLENGE");
        let regex = |words: &str| Regex::new(&format!(r"\A(?:{words})\z")).unwrap();
        let rule = |step_up, words, decision| Rule {
            step_up,
            words: regex(words),
            decision,
        };
        Self {
            rules: vec![
                rule(StepUp::Off, "|[wz]{0,8}w", OURS),
                rule(StepUp::Off, "[wz]{0,9}R", Verdict::Tokens),
                rule(StepUp::Required, "S", Verdict::Ask("PASSWORD_VERIFIER")),
                rule(StepUp::Required, "SP(?:|[wz]{0,8}w)", OURS),
                rule(StepUp::Required, "SP[wz]{0,9}R", Verdict::Tokens),
            ],
            some_left: regex("v1:[A-Za-z0-9_-]{1,64}:(?:[1-9][0-9]{0,2}|0[1-9][0-9]?|00[1-9])"),
            decided: HashMap::new(),
        }
    }

    /// The letter of a round:
    ///
    /// - `S`: `SRP_A` was passed.
    /// - `P`: `PASSWORD_VERIFIER` was passed.
    /// - `R`: a right answer to our challenge.
    /// - `w`: a wrong answer, with attempts left.
    /// - `z`: a wrong answer, with no attempts or an unknown number left.
    /// - `x`: any other round.
    fn letter(&self, round: &Round) -> char {
        match (round.name.as_deref(), round.result) {
            (Some("SRP_A"), Some(true)) => 'S',
            (Some("PASSWORD_VERIFIER"), Some(true)) => 'P',
            (Some("CUSTOM_CHALLENGE"), Some(true)) => 'R',
            (Some("CUSTOM_CHALLENGE"), _) => {
                let some_left = round
                    .metadata
                    .as_ref()
                    .is_some_and(|metadata| self.some_left.is_match(metadata));
                if some_left { 'w' } else { 'z' }
            }
            _ => 'x',
        }
    }

    pub(crate) fn decide(
        &mut self,
        session: &[Round],
        user_not_found: bool,
        step_up: StepUp,
    ) -> Verdict {
        let word: String = session.iter().map(|round| self.letter(round)).collect();
        let rules = &self.rules;
        let required = matches!(step_up, StepUp::Required);
        let decision = *self
            .decided
            .entry((word, required))
            .or_insert_with_key(|(word, _)| {
                let fits = |rule: &&Rule| {
                    matches!(rule.step_up, StepUp::Required) == required
                        && rule.words.is_match(word)
                };
                rules
                    .iter()
                    .find(fits)
                    .map_or(Verdict::Fail, |rule| rule.decision)
            });
        if user_not_found && decision == Verdict::Tokens {
            Verdict::Fail
        } else {
            decision
        }
    }
}

fn round(name: Option<&str>, result: Option<bool>, metadata: Option<&str>) -> Round {
    Round {
        name: name.map(str::to_owned),
        result,
        metadata: metadata.map(str::to_owned),
    }
}

const RESULTS: [Option<bool>; 3] = [Some(true), Some(false), None];

/// All combinations of names, results and metadata that could make a difference.
fn every_round() -> Vec<Round> {
    let mut rounds = Vec::new();
    for name in [
        Some("SRP_A"),
        Some("PASSWORD_VERIFIER"),
        Some("CUSTOM_CHALLENGE"),
        Some("DEVICE_SRP_AUTH"),
        None,
    ] {
        for result in RESULTS {
            for metadata in [Some("v1:x:2"), Some("v1:x:0"), Some("v1:x"), None] {
                rounds.push(round(name, result, metadata));
            }
        }
    }
    rounds
}

/// One round for each letter, and a few that must count the same.
fn some_rounds() -> Vec<Round> {
    vec![
        round(Some("CUSTOM_CHALLENGE"), Some(true), Some("v1:x:1")),
        round(Some("CUSTOM_CHALLENGE"), Some(false), Some("v1:x:2")),
        round(Some("CUSTOM_CHALLENGE"), None, Some("v1:x:2")),
        round(Some("CUSTOM_CHALLENGE"), Some(false), Some("v1:x:0")),
        round(Some("SRP_A"), Some(true), None),
        round(Some("PASSWORD_VERIFIER"), Some(true), None),
        round(Some("PASSWORD_VERIFIER"), Some(false), None),
        round(Some("DEVICE_SRP_AUTH"), Some(true), None),
    ]
}

/// Compares all histories of these rounds up to this length, and returns their number.
fn compare(oracle: &mut Oracle, rounds: &[Round], session: &mut Vec<Round>, longest: usize) -> u64 {
    let mut compared = 0;
    for step_up in [StepUp::Off, StepUp::Required] {
        for not_found in [false, true] {
            let expected = oracle.decide(session, not_found, step_up);
            let decided = Verdict::from(define(session, not_found, step_up));
            assert_eq!(
                decided, expected,
                "{session:?}, userNotFound {not_found}, {step_up:?}"
            );
            compared += 1;
        }
    }
    if session.len() < longest {
        for round in rounds {
            session.push(round.clone());
            compared += compare(oracle, rounds, session, longest);
            session.pop();
        }
    }
    compared
}

#[test]
fn define_agrees_with_the_oracle_on_all_histories_up_to_six_rounds() {
    let mut oracle = Oracle::new();
    let rounds = sized(2, 3);
    let all = compare(&mut oracle, &every_round(), &mut Vec::new(), rounds);
    assert_eq!(
        all,
        4 * (0..=rounds)
            .map(|rounds| 60_u64.pow(u32::try_from(rounds).unwrap()))
            .sum::<u64>()
    );
    let rounds = sized(4, 6);
    let long = compare(&mut oracle, &some_rounds(), &mut Vec::new(), rounds);
    assert_eq!(
        long,
        4 * (0..=rounds)
            .map(|rounds| 8_u64.pow(u32::try_from(rounds).unwrap()))
            .sum::<u64>()
    );
}

/// The negative control: an oracle that accepts several right answers disagrees.
#[test]
fn a_laxer_oracle_disagrees_with_define() {
    let mut oracle = Oracle::new();
    oracle.rules.push(Rule {
        step_up: StepUp::Off,
        words: Regex::new(r"\AR+\z").unwrap(),
        decision: Verdict::Tokens,
    });
    let outcome =
        std::panic::catch_unwind(move || compare(&mut oracle, &some_rounds(), &mut Vec::new(), 2));
    assert!(outcome.is_err());
}

#[test]
fn the_tenth_answer_can_be_right_and_is_the_last() {
    let wrong = || round(Some("CUSTOM_CHALLENGE"), Some(false), Some("v1:x:2"));
    let password = [
        round(Some("SRP_A"), Some(true), None),
        round(Some("PASSWORD_VERIFIER"), Some(true), None),
    ];
    for (step_up, before) in [(StepUp::Off, &[][..]), (StepUp::Required, &password[..])] {
        let mut oracle = Oracle::new();
        for wrongs in 0..14 {
            let mut session = before.to_vec();
            session.extend((0..wrongs).map(|_| wrong()));
            let decided = Verdict::from(define(&session, false, step_up));
            assert_eq!(
                decided,
                oracle.decide(&session, false, step_up),
                "{wrongs} wrong"
            );
            assert_eq!(decided == Verdict::Fail, wrongs >= 10);
            session.push(round(Some("CUSTOM_CHALLENGE"), Some(true), Some("v1:x:2")));
            let decided = Verdict::from(define(&session, false, step_up));
            assert_eq!(
                decided == Verdict::Tokens,
                wrongs < 10,
                "{wrongs} wrong, and a right one"
            );
        }
    }
}

#[test]
fn malformed_metadata_ends_the_sign_in() {
    for (metadata, goes_on) in [
        ("v1:x:1", true),
        ("v1:x:999", true),
        ("v1:x:01", true),
        ("v1:A_z-9:2", true),
        (&format!("v1:{}:2", "x".repeat(64)), true),
        (&format!("v1:{}:2", "x".repeat(65)), false),
        ("v1:x:0", false),
        ("v1:x:000", false),
        ("v1:x:1000", false),
        ("v1:x:+1", false),
        ("v1:x:-1", false),
        ("v1:x: 1", false),
        ("v1:x:1 ", false),
        ("v1:x:1\n", false),
        ("v1:x:١", false),
        ("v1:x:", false),
        ("v1::2", false),
        ("v1:x", false),
        ("v1:x:2:3", false),
        ("v1:ü:2", false),
        ("v1:x y:2", false),
        ("v2:x:2", false),
        ("V1:x:2", false),
        (" v1:x:2", false),
        ("2", false),
        ("", false),
    ] {
        let session = [round(Some("CUSTOM_CHALLENGE"), Some(false), Some(metadata))];
        let expected = if goes_on {
            Verdict::Ask("CUSTOM_CHALLENGE")
        } else {
            Verdict::Fail
        };
        assert_eq!(
            Verdict::from(define(&session, false, StepUp::Off)),
            expected,
            "{metadata:?}"
        );
        assert_eq!(
            Oracle::new().decide(&session, false, StepUp::Off),
            expected,
            "{metadata:?}, by the oracle"
        );
    }
}

/// A round as AWS writes it. A missing field is null, or omitted if `absent`.
fn written(round: &Round, absent: bool) -> Value {
    let mut written = json!({
        "challengeName": round.name,
        "challengeResult": round.result,
        "challengeMetadata": round.metadata,
    });
    if absent {
        written
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
    }
    written
}

#[tokio::test]
async fn the_trigger_returns_the_decision_of_define() {
    for (setting, step_up) in [("off", StepUp::Off), ("required", StepUp::Required)] {
        let world =
            World::counted(&[("COGNITO_FLOOR_MS", "0"), ("COGNITO_STEP_UP", setting)]).await;
        let mut oracle = Oracle::new();
        let rounds = every_round();
        let mut sessions: Vec<Vec<Round>> = vec![Vec::new()];
        for first in &rounds {
            sessions.push(vec![first.clone()]);
            sessions.extend(
                some_rounds()
                    .into_iter()
                    .map(|second| vec![first.clone(), second]),
            );
        }
        let password = [
            round(Some("SRP_A"), Some(true), None),
            round(Some("PASSWORD_VERIFIER"), Some(true), None),
        ];
        sessions.extend(
            rounds
                .iter()
                .map(|last| [&password[..], std::slice::from_ref(last)].concat()),
        );
        for (index, session) in sessions.iter().enumerate() {
            let mut user = User::with_number("+14255550142");
            user.not_found = index % 5 == 0;
            let written: Vec<Value> = session
                .iter()
                .map(|round| written(round, index % 2 == 0))
                .collect();
            let response = world
                .trigger(&user.event("cognito.define", json!({ "session": written })))
                .await;
            let decided = match decision_of(&response) {
                Next::Tokens => Verdict::Tokens,
                Next::Failed => Verdict::Fail,
                Next::Asked if response["challengeName"] == "PASSWORD_VERIFIER" => {
                    Verdict::Ask("PASSWORD_VERIFIER")
                }
                Next::Asked => {
                    assert_eq!(response["challengeName"], "CUSTOM_CHALLENGE");
                    Verdict::Ask("CUSTOM_CHALLENGE")
                }
            };
            assert_eq!(
                decided,
                oracle.decide(session, user.not_found, step_up),
                "{session:?}"
            );
        }
        assert!(
            world.simulator.inbox().is_empty() && world.ledger.verifications().is_empty(),
            "Define has no effects"
        );
    }
}
