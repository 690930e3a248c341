//! The people of a drill: how many come, and what they do.

use fastrand::Rng;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::town::Town;

/// The people who come in an hour, as a mean over the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) over_http: f64,
    pub(super) sign_ins: f64,
}

/// The part of the mean in each hour of UTC.
const RHYTHM: [f64; 24] = [
    0.4, 0.3, 0.2, 0.2, 0.2, 0.3, 0.5, 0.9, 1.2, 1.4, 1.5, 1.5, 1.4, 1.4, 1.5, 1.5, 1.5, 1.6, 1.7,
    1.6, 1.3, 1.0, 0.8, 0.6,
];
/// Monday is the first day.
const DAYS: [f64; 7] = [1.1, 1.1, 1.1, 1.1, 1.1, 0.8, 0.7];

/// How many of a hundred people are of a country, and how many of a hundred of these enter their code.
const COUNTRIES: [(&str, u32, u32); 6] = [
    ("US", 45, 92),
    ("GB", 20, 93),
    ("DE", 14, 90),
    ("FR", 8, 91),
    ("IN", 12, 72),
    ("JM", 1, 85),
];

/// A number that exists in this country, and is no scenario number of the simulator.
pub(super) fn number(rng: &mut Rng, country: &str) -> String {
    let mut digits = |many: usize| -> String { (0..many).map(|_| rng.char('0'..='9')).collect() };
    match country {
        // Prefixes of numbers have limits of their own, and people have many prefixes.
        "US" => format!("+14256{}", digits(6)),
        "GB" => format!("+447400{}", digits(6)),
        "DE" => format!("+491511{}", digits(7)),
        "FR" => format!("+33612{}", digits(6)),
        "IN" => format!("+9198765{}", digits(5)),
        _ => format!("+187643{}", digits(5)),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) number: String,
    pub(super) country: &'static str,
    address: String,
    signs_in: bool,
    enters: bool,
    mistypes: u32,
    wants_another: bool,
    /// How often a person tries again if something fails.
    patience: u32,
    code: Option<String>,
    sign_in: SignIn,
}

/// The state that the pool keeps.
#[derive(Debug, Clone, Default)]
struct SignIn {
    session: Vec<Value>,
    private: Value,
    metadata: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Ask for a code.
    Ask,
    /// Enter the code, or one that is wrong.
    Enter,
    /// Guess wrong, as an attacker.
    Guess,
}

#[derive(Default)]
pub(super) struct People {
    all: Vec<Person>,
    /// Milliseconds, the person, the step.
    due: BinaryHeap<Reverse<(u64, usize, Step)>>,
    /// Messages that a network loses: to this country, or to `*`.
    pub(super) lost: Option<&'static str>,
}

impl People {
    /// Lets people come in this minute.
    pub(super) fn come(
        &mut self,
        rng: &mut Rng,
        minute: u32,
        size: Size,
        only: Option<&'static str>,
    ) {
        let hour = usize::try_from(minute / 60).unwrap();
        let busy = RHYTHM[hour % 24] * DAYS[hour / 24 % 7] / 60.0;
        for (mean, signs_in) in [(size.over_http, false), (size.sign_ins, true)] {
            for _ in 0..many(rng, mean * busy) {
                let at = u64::from(minute) * 60_000 + rng.u64(0..60_000);
                let country = only.unwrap_or_else(|| country(rng));
                let person = Person::new(rng, country, signs_in);
                self.add(at, person, Step::Ask);
            }
        }
    }

    /// Ends all attacks.
    pub(super) fn stop_guessing(&mut self) {
        self.due
            .retain(|Reverse((_, _, step))| *step != Step::Guess);
    }

    pub(super) fn add(&mut self, at: u64, person: Person, step: Step) {
        self.all.push(person);
        self.due.push(Reverse((at, self.all.len() - 1, step)));
    }

    /// Does all steps before this time.
    pub(super) async fn act(&mut self, town: &mut Town, before: u64) {
        while let Some(Reverse((at, who, step))) = self.due.peek().copied()
            && at < before
        {
            self.due.pop();
            town.advance_to(at);
            let person = &mut self.all[who];
            let next = match (step, person.signs_in) {
                (Step::Ask, false) => person.ask(town, self.lost).await,
                (Step::Enter, false) => person.enter(town).await,
                (Step::Ask, true) => person.begin_to_sign_in(town, self.lost).await,
                (Step::Enter, true) => person.answer(town).await,
                (Step::Guess, _) => person.guess(town).await,
            };
            if let Some((seconds, step)) = next {
                let at = town.now + seconds * 1000;
                self.due.push(Reverse((at, who, step)));
            }
        }
        town.advance_to(before);
    }
}

/// A number with this mean, as of people who come by chance.
fn many(rng: &mut Rng, mean: f64) -> u32 {
    let end = (-mean).exp();
    let (mut count, mut product) = (0, rng.f64());
    while product > end {
        count += 1;
        product *= rng.f64();
    }
    count
}

fn country(rng: &mut Rng) -> &'static str {
    let mut chance = rng.u32(0..100);
    for (country, of_hundred, _) in COUNTRIES {
        if chance < of_hundred {
            return country;
        }
        chance -= of_hundred;
    }
    unreachable!("a hundred of a hundred")
}

/// A later step, in so many seconds.
type Next = Option<(u64, Step)>;

impl Person {
    pub(super) fn new(rng: &mut Rng, country: &'static str, signs_in: bool) -> Self {
        let enters = COUNTRIES.iter().find(|it| it.0 == country).unwrap().2;
        Self {
            number: number(rng, country),
            country,
            address: format!("203.{}.{}.{}", rng.u8(..), rng.u8(..), rng.u8(..)),
            signs_in,
            enters: rng.u32(0..100) < enters,
            mistypes: [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][rng.usize(0..10)],
            wants_another: rng.u32(0..10) == 0,
            patience: 2,
            code: None,
            sign_in: SignIn::default(),
        }
    }

    /// Somebody who asks for messages and enters no code.
    pub(super) fn pumping(rng: &mut Rng, country: &'static str) -> Self {
        Self {
            enters: false,
            patience: 0,
            ..Self::new(rng, country, false)
        }
    }

    /// Somebody who guesses codes to a number of somebody else.
    pub(super) fn attacking(rng: &mut Rng, country: &'static str) -> Self {
        Self {
            patience: u32::MAX,
            ..Self::pumping(rng, country)
        }
    }

    /// As a step of an attack.
    pub(super) async fn send(&mut self, town: &mut Town) -> Option<(u64, Value)> {
        // An attacker has many addresses.
        if self.patience == u32::MAX {
            self.address = format!("198.18.{}.{}", town.rng.u8(..), town.rng.u8(..));
        }
        let body = json!({ "destinationNumber": self.number, "clientIp": self.address });
        town.post("/otp/send", &body).await
    }

    async fn ask(&mut self, town: &mut Town, lost: Option<&str>) -> Next {
        let answer = self.send(town).await;
        match answer {
            Some((202, _)) => self.code = code_to(town, &self.number),
            Some((429 | 403, _)) => return None,
            _ => return self.again(30, Step::Ask),
        }
        self.waits_for_the_code(town, lost)
    }

    fn waits_for_the_code(&mut self, town: &mut Town, lost: Option<&str>) -> Next {
        if lost.is_some_and(|lost| lost == "*" || lost == self.country) {
            // After 35 and after 95 seconds, as the limits allow.
            return self.again(35 + 60 * u64::from(2 - self.patience.min(2)), Step::Ask);
        }
        if !self.enters {
            return None;
        }
        if std::mem::take(&mut self.wants_another) {
            return Some((40, Step::Ask));
        }
        let seconds = match town.rng.u32(0..100) {
            0..3 => town.rng.u64(120..600),
            _ => town.rng.u64(8..45),
        };
        Some((seconds, Step::Enter))
    }

    fn again(&mut self, seconds: u64, step: Step) -> Next {
        self.patience = self.patience.checked_sub(1)?;
        Some((seconds, step))
    }

    /// The next code that this person enters, and whether it is right.
    fn types(&mut self) -> Option<(String, bool)> {
        let code = self.code.clone()?;
        if self.mistypes == 0 {
            return Some((code, true));
        }
        self.mistypes -= 1;
        Some((wrong(&code, self.mistypes), false))
    }

    async fn enter(&mut self, town: &mut Town) -> Next {
        let (code, is_right) = self.types()?;
        let body =
            json!({ "destinationNumber": self.number, "otp": code, "clientIp": self.address });
        match town.post("/otp/verify", &body).await {
            Some((422, _)) if !is_right => Some((10, Step::Enter)),
            Some((status, _)) if status < 500 => None,
            _ => self.again(20, Step::Enter),
        }
    }

    async fn begin_to_sign_in(&mut self, town: &mut Town, lost: Option<&str>) -> Next {
        self.sign_in = SignIn::default();
        if !self.define_and_create(town).await {
            return self.again(30, Step::Ask);
        }
        self.code = code_to(town, &self.number);
        // The page of a sign-in has a step of its own for another message.
        self.wants_another = false;
        self.waits_for_the_code(town, lost)
    }

    /// False if a trigger fails, or if the sign-in has ended.
    async fn define_and_create(&mut self, town: &mut Town) -> bool {
        let define = self.event(
            include_str!("../../../events/cognito.define.json"),
            json!({ "session": self.sign_in.session }),
        );
        let Some(decided) = town.trigger(&define).await else {
            return false;
        };
        if decided["challengeName"] != "CUSTOM_CHALLENGE" {
            return false;
        }
        let create = self.event(
            include_str!("../../../events/cognito.create.json"),
            json!({ "challengeName": "CUSTOM_CHALLENGE", "session": self.sign_in.session }),
        );
        let Some(mut challenge) = town.trigger(&create).await else {
            return false;
        };
        self.sign_in.private = challenge["privateChallengeParameters"].take();
        self.sign_in.metadata = challenge["challengeMetadata"].take();
        challenge["publicChallengeParameters"]["state"] == "sent"
    }

    async fn answer(&mut self, town: &mut Town) -> Next {
        let (code, is_right) = self.types()?;
        let private = &self.sign_in.private;
        let event = self.event(
            include_str!("../../../events/cognito.verify.json"),
            json!({ "privateChallengeParameters": private, "challengeAnswer": code }),
        );
        let Some(answer) = town.trigger(&event).await else {
            return self.again(20, Step::Enter);
        };
        self.sign_in.session.push(json!({
            "challengeName": "CUSTOM_CHALLENGE",
            "challengeResult": answer["answerCorrect"],
            "challengeMetadata": self.sign_in.metadata,
        }));
        self.define_and_create(town).await;
        (!is_right).then_some((10, Step::Enter))
    }

    fn event(&self, event: &str, fields: Value) -> Value {
        let mut event: Value = serde_json::from_str(event).unwrap();
        let name = format!("sub-of-{}", &self.number[1..]);
        event["userName"] = json!(name);
        let attributes = &mut event["request"]["userAttributes"];
        attributes["sub"] = json!(name);
        attributes["phone_number"] = json!(self.number);
        let request = event["request"].as_object_mut().unwrap();
        let Value::Object(fields) = fields else {
            unreachable!("the fields are an object")
        };
        request.extend(fields);
        event
    }

    /// Guesses until the code allows no more, then asks for another.
    async fn guess(&mut self, town: &mut Town) -> Next {
        if self.code.is_none() {
            let sent = self.send(town).await;
            if !matches!(sent, Some((202, _))) {
                // A limit. The attacker waits.
                return Some((900, Step::Guess));
            }
            self.code = code_to(town, &self.number);
            self.mistypes = 3;
            return Some((15, Step::Guess));
        }
        let (code, _) = self.types()?;
        let body =
            json!({ "destinationNumber": self.number, "otp": code, "clientIp": self.address });
        town.post("/otp/verify", &body).await;
        if self.mistypes > 0 {
            return Some((10, Step::Guess));
        }
        self.code = None;
        Some((200, Step::Guess))
    }
}

fn code_to(town: &Town, number: &str) -> Option<String> {
    town.simulator.newest_to(number).map(|message| message.code)
}

/// A guess that differs from `code` and from the guesses with other counts.
fn wrong(code: &str, nth: u32) -> String {
    let last = u32::from(code.bytes().last().unwrap() - b'0');
    format!("{}{}", &code[..code.len() - 1], (last + nth + 1) % 10)
}
