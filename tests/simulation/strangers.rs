//! Strangers must not learn who has an account, and must not use up the limits of users. There are two worlds, and the
//! user exists in only one of them. A random stranger does the same things in both worlds, and must see the same in
//! both.

mod world;

use fastrand::Rng;
use otp_lambda::ledger::{Door, ItemName, Switches, Window};
use otp_lambda::phone::PhoneNumber;
use serde_json::{Value, json};
use simulator::{is_full, sized};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use world::{CODE, Mood, World, are_possible, hasher};

const POOL: &str = "us-east-1_aB3xmpl9Z";
const HOUR: Duration = Duration::from_hours(1);

/// The number of the user who may exist. The stranger knows it if it is the user name.
const TARGET: &str = "+14255550142";

/// Other numbers: one with the prefix of the target, the stranger's own, and one of another country.
const OTHERS: [&str; 3] = ["+14255550143", "+14255560199", "+447700900123"];

/// A user name, with the account that it has in each world.
#[derive(Clone)]
struct Name {
    /// The ways of typing the name. Cognito passes on the stored name of a user, and an unknown name as it was typed.
    typed: Vec<String>,
    stored: String,
    number: PhoneNumber,
    /// Whether a user who exists gets messages.
    is_verified: bool,
}

impl Name {
    fn event(&self, trigger: &str, typed: usize, exists: bool, request: Value) -> Value {
        let name = if exists {
            &self.stored
        } else {
            &self.typed[typed]
        };
        let attributes = if exists {
            json!({ "phone_number": self.number.expose(), "phone_number_verified": self.is_verified.to_string() })
        } else {
            json!({})
        };
        let mut request = request;
        request["userAttributes"] = attributes;
        request["userNotFound"] = json!(!exists);
        json!({
            "version": "1", "region": "us-east-1", "userPoolId": POOL, "userName": name,
            "callerContext": { "awsSdkVersion": "3", "clientId": "client" },
            "triggerSource": format!("{trigger}_Authentication"),
            "request": request, "response": {},
        })
    }
}

/// A sign-in of the stranger, as the user pool keeps it.
#[derive(Clone)]
struct Session {
    name: usize,
    typed: usize,
    private: Value,
    metadata: Value,
    rounds: Vec<Value>,
}

struct Stranger {
    world: World,
    /// For each of the names, whether it has an account.
    exists: Vec<bool>,
    names: Vec<Name>,
    sessions: Vec<Session>,
    /// Whether the stranger gives device tokens.
    has_tokens: bool,
}

/// The part of an answer that the stranger sees, the length of the whole answer, and the names of the ledger's steps.
type Seen = (String, usize, Vec<&'static str>);

impl Stranger {
    async fn create(&mut self, session: &mut Session) -> Seen {
        let request = json!({ "challengeName": "CUSTOM_CHALLENGE", "session": session.rounds });
        let exists = self.exists[session.name];
        let name = &self.names[session.name];
        let event = name.event("CreateAuthChallenge", session.typed, exists, request);
        let (answer, steps) = self.world.handle(&event).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let response = &answer["response"];
        session.private = response["privateChallengeParameters"].clone();
        session.metadata = response["challengeMetadata"].clone();
        let shown = response["publicChallengeParameters"].to_string();
        (shown, response.to_string().len(), steps)
    }

    async fn define(&mut self, session: &Session) -> Seen {
        let exists = self.exists[session.name];
        let name = &self.names[session.name];
        let request = json!({ "session": session.rounds });
        let event = name.event("DefineAuthChallenge", session.typed, exists, request);
        let (answer, steps) = self.world.handle(&event).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let response = answer["response"].to_string();
        let size = response.len();
        (response, size, steps)
    }

    async fn verify(&mut self, session: &Session, answer: &str) -> Seen {
        let exists = self.exists[session.name];
        let name = &self.names[session.name];
        let request = json!({
            "privateChallengeParameters": session.private, "challengeAnswer": answer,
        });
        let event = name.event(
            "VerifyAuthChallengeResponse",
            session.typed,
            exists,
            request,
        );
        let (answer, steps) = self.world.handle(&event).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let response = answer["response"].to_string();
        let size = response.len();
        (response, size, steps)
    }

    /// In half of the cases, gives a request a device token: one that the stranger was given, or an invented one.
    fn with_token(&self, mut body: Value, rng: &mut Rng) -> Value {
        if self.has_tokens && rng.bool() {
            body["deviceToken"] = json!(rng.u32(0..2));
        }
        body
    }

    /// Does one act that the random numbers choose. Both worlds get the same random numbers.
    async fn acts(&mut self, rng: &mut Rng) -> (String, Vec<Seen>) {
        if rng.u32(0..12) == 0 {
            let nth = rng.usize(0..14);
            self.world.shared.lock().unwrap().fails_at = Some(nth);
        }
        let mut seen = Vec::new();
        let what = match rng.u32(0..100) {
            0..26 => {
                let name = rng.usize(0..self.names.len());
                let mut session = Session {
                    name,
                    typed: rng.usize(0..self.names[name].typed.len()),
                    private: Value::Null,
                    metadata: Value::Null,
                    rounds: Vec::new(),
                };
                seen.push(self.create(&mut session).await);
                if rng.u32(0..8) == 0 {
                    seen.push(self.create(&mut session).await);
                }
                self.sessions.push(session);
                format!("begins {name}")
            }
            26..56 => self.answers(rng, &mut seen).await,
            56..72 => {
                let (to, address) = (self.number(rng), rng.u8(0..3));
                let body = self.with_token(json!({ "destinationNumber": to }), rng);
                let (answer, steps) = self.world.http("/otp/send", body, address).await;
                seen.push((answer.clone(), answer.len(), steps));
                format!("sends to {to}")
            }
            72..84 => {
                let (to, address) = (self.number(rng), rng.u8(0..3));
                let otp = if rng.u32(0..4) == 0 && to == OTHERS[1] {
                    CODE.to_owned()
                } else {
                    format!("00000{}", rng.u32(0..4))
                };
                let body = json!({
                    "destinationNumber": to, "otp": otp, "referenceId": rng.u32(0..4),
                });
                let body = self.with_token(body, rng);
                let (answer, steps) = self.world.http("/otp/verify", body, address).await;
                seen.push((answer.clone(), answer.len(), steps));
                format!("guesses at {to}")
            }
            84..94 => {
                let waits = [1, 5, 11, 29, 31, 60, 91, 300, 605, 3600, 86_400];
                let wait = waits[rng.usize(0..waits.len())];
                self.world.advance(Duration::from_secs(wait));
                format!("waits {wait} s")
            }
            94..97 => {
                let moods = [Mood::Works, Mood::Works, Mood::Refuses, Mood::Unclear];
                let mood = moods[rng.usize(0..moods.len())];
                self.world.shared.lock().unwrap().mood = mood;
                format!("{mood:?}")
            }
            _ => self.operator(rng),
        };
        (what, seen)
    }

    async fn answers(&mut self, rng: &mut Rng, seen: &mut Vec<Seen>) -> String {
        if self.sessions.is_empty() {
            return String::new();
        }
        let newest = self.sessions.len() - 1;
        let place = newest - rng.usize(0..3).min(newest);
        let mut session = self.sessions[place].clone();
        let answers = [
            "resend", "resend", "no code", "000000", "000001", "000002", "00000", "0000000",
        ];
        let answer = answers[rng.usize(0..answers.len())];
        for _ in 0..[1, 1, 1, 2, 3][rng.usize(0..5)] {
            seen.push(self.verify(&session, answer).await);
        }
        session.rounds.push(json!({
            "challengeName": "CUSTOM_CHALLENGE", "challengeResult": false,
            "challengeMetadata": session.metadata,
        }));
        let decision = self.define(&session).await;
        let goes_on = decision.0.contains("CUSTOM_CHALLENGE");
        seen.push(decision);
        if goes_on {
            seen.push(self.create(&mut session).await);
            self.sessions[place] = session;
        }
        format!("answers {answer} in {place}")
    }

    fn number(&self, rng: &mut Rng) -> String {
        match rng.usize(0..OTHERS.len() + 2) {
            // The number of the name that may exist. The stranger may have guessed it.
            0 | 1 => self.names[0].number.expose().to_owned(),
            other => OTHERS[other - 2].to_owned(),
        }
    }

    /// The operator pauses or blocks sends, or ends that again.
    fn operator(&mut self, rng: &mut Rng) -> String {
        let switches = match rng.u32(0..4) {
            0 => Switches {
                paused: true,
                ..Switches::default()
            },
            1 => Switches {
                blocked: BTreeSet::from(["+1425".to_owned()]),
                ..Switches::default()
            },
            _ => Switches::default(),
        };
        let what = format!("{switches:?}");
        self.world.ledger().switch(switches);
        what
    }
}

type Setting = (&'static str, String);

/// The settings of a seed, and the names that the stranger knows.
fn setup(rng: &mut Rng, has_devices: bool) -> (Vec<Setting>, Vec<Name>) {
    let one = |rng: &mut Rng, of: &[&str]| of[rng.usize(0..of.len())].to_owned();
    let mut settings = vec![
        ("SIGN_IN_SHARE", one(rng, &["10", "34", "50", "90"])),
        (
            "SEND_LIMITS",
            one(
                rng,
                &[
                    "1/30s,2/90s,3/10m,6/24h",
                    "3/10m",
                    "20/1h",
                    "1/10s,2/1h,4/24h",
                ],
            ),
        ),
        ("PREFIX_LIMITS", one(rng, &["50/1h", "2/1h", "4/10m"])),
        ("BUDGETS", one(rng, &["500/1h,2000/24h", "4/1h", "3/24h"])),
        (
            "COUNTRY_LIMITS",
            one(rng, &["", "US=4/1h", "GB=3/24h;*=9/1h"]),
        ),
        ("SOURCE_LIMITS", one(rng, &["1000/10m", "10/10m,50/24h"])),
        ("ALLOWED_ATTEMPTS", one(rng, &["1", "3", "5"])),
        ("VALIDITY_PERIOD", one(rng, &["5", "10", "45"])),
        ("COGNITO_SHOWN_NUMBER", one(rng, &["2", "+4", "0"])),
        ("ALLOWED_COUNTRIES", one(rng, &["US,GB,JM", "US", "GB,US"])),
    ];
    // Some limits are too small to be divided once more.
    settings.push(("DEVICE_TOKEN_DAYS", "9".to_owned()));
    if !has_devices || !are_possible(&settings) {
        settings.pop();
    }
    let is_number = rng.bool();
    let typed: Vec<String> = if is_number {
        vec![TARGET.to_owned()]
    } else {
        ["alice", "Alice", "ALICE"].map(str::to_owned).to_vec()
    };
    let numbers = World::made_up_numbers(&settings, POOL, &[&typed[0]]);
    let number = numbers[0].clone();
    let target = Name {
        stored: typed[0].clone(),
        number,
        typed,
        is_verified: rng.u32(0..5) > 0,
    };
    // A user with the same prefix who exists in both worlds, and one who exists in neither.
    let user = Name {
        typed: vec!["bob".to_owned()],
        stored: "bob".to_owned(),
        number: PhoneNumber::parse(OTHERS[0]).unwrap(),
        is_verified: true,
    };
    let nobody = Name {
        typed: vec![OTHERS[2].to_owned()],
        stored: OTHERS[2].to_owned(),
        ..user.clone()
    };
    (settings, vec![target.clone(), target, user, nobody])
}

/// For the controls: the counters that sign-ins share with HTTP, as in the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    Numbers,
    Prefixes,
    Budgets,
}

impl Shared {
    fn spoil(self, stranger: &mut Stranger, settings: &[Setting]) {
        let mut shared = stranger.world.shared.lock().unwrap();
        let numbers = [
            stranger.names[0].number.clone(),
            stranger.names[2].number.clone(),
        ];
        let length = if settings.iter().any(|(_, value)| value == "4/10m") {
            HOUR / 6
        } else {
            HOUR
        };
        for number in numbers {
            let hasher = hasher();
            match self {
                Self::Numbers => {
                    let own = hasher.number_at(Door::SignIn, &number);
                    shared.confused.insert(own, hasher.number(&number));
                }
                Self::Prefixes => {
                    for nth in 0..200 {
                        let window =
                            Window::around(stranger.world.now().plus(length * nth), length);
                        let own = hasher.prefix_at(Door::SignIn, &number, window);
                        shared.confused.insert(own, hasher.prefix(&number, window));
                    }
                }
                Self::Budgets => shared.one_budget = true,
            }
        }
    }
}

/// How many seeds have the same settings.
const WITH_THE_SAME_SETTINGS: u64 = 50;

/// Two worlds with the same settings.
struct Pair {
    strangers: [Stranger; 2],
    settings: Vec<Setting>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let nth = seed / WITH_THE_SAME_SETTINGS;
        let (settings, names) = setup(&mut Rng::with_seed(nth), nth % 2 == 1);
        let has_tokens = settings
            .iter()
            .any(|(name, _)| *name == "DEVICE_TOKEN_DAYS");
        let strangers = [true, false].map(|exists| Stranger {
            world: World::new(&settings),
            exists: vec![exists, exists, true, false],
            names: names.clone(),
            sessions: Vec::new(),
            has_tokens,
        });
        Self {
            strangers,
            settings,
        }
    }

    /// Lets the same stranger act in both worlds. Returns the acts up to the first difference.
    async fn compare(
        &mut self,
        seed: u64,
        flaw: Option<Shared>,
        counts: &mut [u64; 3],
    ) -> Result<(), String> {
        let mut rng = Rng::with_seed(seed);
        for stranger in &mut self.strangers {
            // One act takes a day at most.
            let days = seed % WITH_THE_SAME_SETTINGS * 20;
            stranger.world.begin_anew(days);
            stranger.sessions.clear();
            if let Some(flaw) = flaw {
                flaw.spoil(stranger, &self.settings);
            }
        }
        let mut done = Vec::new();
        for _ in 0..rng.usize(3..12) {
            let mut acts = Vec::new();
            let dice = rng.clone();
            for stranger in &mut self.strangers {
                rng = dice.clone();
                acts.push(stranger.acts(&mut rng).await);
            }
            let [(what, one), (_, other)] = <[_; 2]>::try_from(acts).unwrap();
            done.push(what);
            counts[1] += one.len() as u64;
            if one != other {
                let settings = &self.settings;
                return Err(format!(
                    "seed {seed}, {settings:?}\n{done:#?}\nwith the account: {one:?}\nwithout it: {other:?}"
                ));
            }
        }
        counts[0] += 1;
        let [with, without] = self.strangers.each_ref().map(|stranger| {
            let target = stranger.names[0].number.expose();
            let shared = stranger.world.shared.lock().unwrap();
            shared.texts.iter().filter(|to| *to == target).count() as u64
        });
        counts[2] += with.saturating_sub(without);
        Ok(())
    }
}

fn on_all_cores(seeds: u64, flaw: Option<Shared>) -> Result<[u64; 3], String> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let on_core = move |core: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let mut counts = [0; 3];
        let of_all = seeds.div_ceil(WITH_THE_SAME_SETTINGS);
        for chunk in (core..of_all).step_by(usize::try_from(cores).unwrap()) {
            let first = chunk * WITH_THE_SAME_SETTINGS;
            let mut pair = Pair::new(first);
            for seed in first..seeds.min(first + WITH_THE_SAME_SETTINGS) {
                runtime.block_on(pair.compare(seed, flaw, &mut counts))?;
            }
        }
        Ok::<_, String>(counts)
    };
    let running: Vec<_> = (0..cores)
        .map(|core| thread::spawn(move || on_core(core)))
        .collect();
    let mut sum = [0; 3];
    for thread in running {
        let counts: [u64; 3] = thread.join().unwrap()?;
        sum.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    Ok(sum)
}

#[test]
fn a_stranger_sees_the_same_with_and_without_the_account() {
    let began = Instant::now();
    let seeds = sized(500, 100_000);
    let [transcripts, answers, texts] =
        on_all_cores(seeds, None).unwrap_or_else(|difference| panic!("{difference}"));
    println!(
        "{transcripts} transcripts, {answers} answers in each world, {texts} more texts to the user who exists: \
         0 differences in {:?}",
        began.elapsed()
    );
    assert_eq!(transcripts, seeds);
    assert!(texts > seeds / 4, "the user who exists gets texts: {texts}");
}

/// Compares transcripts in two worlds with tables. Panics if a table and the ledger in memory disagree.
fn on_tables(seeds: Range<u64>, refunds_unspent: bool) -> Result<[u64; 3], String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut counts = [0; 3];
    for seed in seeds {
        // Other settings in every transcript.
        let seed = seed * WITH_THE_SAME_SETTINGS;
        let mut pair = Pair::new(seed);
        for stranger in &mut pair.strangers {
            stranger.world.add_table(refunds_unspent);
        }
        runtime.block_on(pair.compare(seed, None, &mut counts))?;
        for stranger in &pair.strangers {
            if let Some(item) = stranger.world.below_zero() {
                return Err(format!("seed {seed}: {item}"));
            }
        }
    }
    Ok(counts)
}

#[test]
fn a_stranger_sees_the_same_on_a_table() {
    let began = Instant::now();
    let seeds = sized(100, 1_000);
    let [transcripts, answers, texts] =
        on_tables(0..seeds, false).unwrap_or_else(|difference| panic!("{difference}"));
    println!(
        "{transcripts} transcripts on tables, {answers} answers in each world, {texts} more texts: {:?}",
        began.elapsed()
    );
    assert_eq!(transcripts, seeds);
    assert!(texts > seeds / 4, "the user who exists gets texts: {texts}");
}

/// The control: a table that refunds what was not spent.
#[test]
fn a_table_that_refunds_what_was_not_spent_is_noticed() {
    let noticed = on_tables(700..1_700, true);
    let below_zero = noticed.unwrap_err();
    println!("{below_zero}");
}

/// The controls: each counter that the doors share tells who exists.
#[test]
fn counters_that_the_doors_share_are_noticed() {
    for flaw in [Shared::Numbers, Shared::Prefixes, Shared::Budgets] {
        let found = on_all_cores(sized(4_000, 10_000), Some(flaw));
        let Err(difference) = found else {
            panic!("{flaw:?} is never noticed");
        };
        if is_full() {
            println!("{flaw:?}: {difference}");
        }
    }
}

/// The counters that a real send to one of these numbers reads, at both doors.
fn real_counters(numbers: &[PhoneNumber], world: &World) -> BTreeSet<ItemName> {
    let (hasher, now) = (hasher(), world.now());
    let mut items = BTreeSet::new();
    for door in [Door::Http, Door::SignIn] {
        for number in numbers {
            items.insert(hasher.number_at(door, number));
            items.insert(hasher.prefix_at(door, number, Window::around(now, HOUR)));
        }
        let day = now.0 / 86_400_000;
        items.insert(ItemName::of_budget(door, day));
        for country in ["US", "GB", "JM"] {
            let country = country.parse().unwrap();
            items.insert(ItemName::of_country_budget(door, day, country));
        }
    }
    items
}

/// Signs in as people who do not exist, makes guesses and asks for further codes. Nothing is sent to such people.
/// Returns the counters that these sign-ins have changed although real sends read them.
async fn sign_ins_of_nobody(count: usize, keeps_places: bool) -> BTreeSet<ItemName> {
    let settings = [
        ("PREFIX_LIMITS", "2/1h".to_owned()),
        ("BUDGETS", "2/1h".to_owned()),
        ("COUNTRY_LIMITS", "*=2/1h".to_owned()),
    ];
    let number = PhoneNumber::parse(TARGET).unwrap();
    let name = |nth: usize| {
        let typed = match nth % 3 {
            0 => TARGET.to_owned(),
            1 => format!("+1425555{:04}", nth % 10_000),
            _ => format!("nobody-{nth}"),
        };
        Name {
            stored: typed.clone(),
            typed: vec![typed],
            number: number.clone(),
            // A user without a verified number gets no message, either.
            is_verified: false,
        }
    };
    let names: Vec<_> = (0..count).map(name).collect();
    let mut stranger = Stranger {
        world: World::new(&settings),
        exists: (0..count).map(|nth| nth % 9 == 8).collect(),
        names,
        sessions: Vec::new(),
        has_tokens: false,
    };
    let typed: Vec<_> = stranger
        .names
        .iter()
        .map(|name| name.typed[0].as_str())
        .collect();
    let mut numbers = World::made_up_numbers(&settings, POOL, &typed);
    numbers.push(number.clone());
    if keeps_places {
        let hasher = hasher();
        let reference = hasher.sign_in(&["shadow", POOL, "client", TARGET], &number);
        let mut shared = stranger.world.shared.lock().unwrap();
        let decoy = hasher.decoy("N", &reference, "");
        shared
            .confused
            .insert(decoy, hasher.number_at(Door::SignIn, &number));
    }
    let real = real_counters(&numbers, &stranger.world);
    for nth in 0..count {
        let mut session = Session {
            name: nth,
            typed: 0,
            private: Value::Null,
            metadata: Value::Null,
            rounds: Vec::new(),
        };
        stranger.create(&mut session).await;
        for answer in ["000000", "resend", CODE] {
            stranger.verify(&session, answer).await;
        }
    }
    let written = stranger.world.shared.lock().unwrap().written.clone();
    assert!(stranger.world.shared.lock().unwrap().texts.is_empty());
    let touched = real.intersection(&written).cloned().collect();
    if !keeps_places {
        // Each door still has room for one message to that number.
        let body = json!({ "destinationNumber": TARGET });
        let (answer, _) = stranger.world.http("/otp/send", body, 1).await;
        assert!(answer.contains("202"), "{answer}");
        stranger.names[0].is_verified = true;
        stranger.exists[0] = true;
        let mut session = Session {
            name: 0,
            typed: 0,
            private: Value::Null,
            metadata: Value::Null,
            rounds: Vec::new(),
        };
        stranger.world.advance(Duration::from_secs(31));
        stranger.create(&mut session).await;
        let shared = stranger.world.shared.lock().unwrap();
        assert_eq!(shared.texts, [TARGET, TARGET]);
    }
    touched
}

#[tokio::test]
async fn sign_ins_of_nobody_spend_nothing() {
    let nobody = usize::try_from(sized(500, 10_000)).unwrap();
    assert_eq!(sign_ins_of_nobody(nobody, false).await, BTreeSet::new());
    // The control: a decoy that keeps the places of a real number.
    assert!(!sign_ins_of_nobody(100, true).await.is_empty());
}

/// The sum of squares by which counts differ from equal ones (χ²).
fn chi_squared(counts: &[u32]) -> f64 {
    let expected =
        f64::from(counts.iter().sum::<u32>()) / f64::from(u32::try_from(counts.len()).unwrap());
    let squares = counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected);
    squares.sum()
}

/// A made-up number can be of any allowed country, and every digit that can be shown is as likely as the others.
#[test]
fn made_up_numbers_are_uniform() {
    // The bounds for nine and for two degrees of freedom. Chance exceeds them one time in a million.
    const DIGITS: f64 = 44.8;
    const COUNTRIES: f64 = 27.6;
    let names: Vec<String> = (0..sized(5_000, 50_000))
        .map(|nth| format!("user-{nth}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let settings = [("ALLOWED_COUNTRIES", "GB,JM,US".to_owned())];
    let numbers = World::made_up_numbers(&settings, POOL, &names);
    let mut by_country = BTreeMap::new();
    for number in &numbers {
        *by_country.entry(number.country().unwrap()).or_insert(0) += 1;
    }
    let by_country: Vec<u32> = by_country.into_values().collect();
    assert_eq!(by_country.len(), 3);
    assert!(chi_squared(&by_country) < COUNTRIES, "{by_country:?}");
    for from_the_end in 1..=4 {
        let mut counts = [0; 10];
        let mut biased = [0; 10];
        for number in &numbers {
            let digits = number.expose().as_bytes();
            let digit = usize::from(digits[digits.len() - from_the_end] - b'0');
            counts[digit] += 1;
            // The control: a digit that is drawn from half a byte, as in an earlier version.
            let half = digit + 10 * usize::from(digits[digits.len() - 5] % 2);
            biased[half % 16 % 10] += 1;
        }
        assert!(chi_squared(&counts) < DIGITS, "{from_the_end}: {counts:?}");
        assert!(chi_squared(&biased) > DIGITS, "{from_the_end}: {biased:?}");
    }
}

/// Welch's t: the difference of two means in standard errors.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let count = |sample: &[f64]| f64::from(u32::try_from(sample.len()).unwrap());
    let mean = |sample: &[f64]| sample.iter().sum::<f64>() / count(sample);
    let error = |sample: &[f64]| {
        let squares = sample.iter().map(|time| (time - mean(sample)).powi(2));
        squares.sum::<f64>() / (count(sample) - 1.0) / count(sample)
    };
    let (difference, error) = (mean(one) - mean(other), (error(one) + error(other)).sqrt());
    if difference == 0.0 {
        0.0
    } else {
        difference.abs() / error
    }
}

const FLOOR: Duration = Duration::from_millis(200);

/// The response times of first challenges and of wrong answers, for users and for unknown names. The function responds
/// no earlier than after a fixed time, the floor. The provider takes `factor` times as long as the floor.
struct Times {
    users: [Vec<f64>; 2],
    nobody: [Vec<f64>; 2],
}

async fn times(factor: f64, pairs: usize, has_users: bool) -> Times {
    let settings = [
        ("COGNITO_FLOOR_MS", FLOOR.as_millis().to_string()),
        ("PREFIX_LIMITS", "100000/1h".to_owned()),
        ("BUDGETS", "100000/1h".to_owned()),
    ];
    let name = |nth: usize| Name {
        typed: vec![format!("user-{nth}")],
        stored: format!("user-{nth}"),
        number: PhoneNumber::parse(&format!("+1425555{nth:04}")).unwrap(),
        is_verified: true,
    };
    let mut stranger = Stranger {
        world: World::new(&settings),
        exists: Vec::new(),
        names: (0..2 * pairs + 64).map(name).collect(),
        sessions: Vec::new(),
        has_tokens: false,
    };
    {
        let mut shared = stranger.world.shared.lock().unwrap();
        shared.latency = FLOOR.mul_f64(factor);
        shared.step_time = Duration::from_millis(1);
    }
    let mut times = Times {
        users: [Vec::new(), Vec::new()],
        nobody: [Vec::new(), Vec::new()],
    };
    for nth in 0..stranger.names.len() {
        // Other people have signed in before.
        let is_user = nth < 64 || nth % 2 == 0;
        stranger.exists.push(is_user && has_users);
        let mut session = Session {
            name: nth,
            typed: 0,
            private: Value::Null,
            metadata: Value::Null,
            rounds: Vec::new(),
        };
        let began = tokio::time::Instant::now();
        stranger.create(&mut session).await;
        let created = began.elapsed().as_secs_f64();
        stranger.verify(&session, "000000").await;
        let verified = began.elapsed().as_secs_f64() - created;
        if nth >= 64 {
            let of = if is_user {
                &mut times.users
            } else {
                &mut times.nobody
            };
            of[0].push(created);
            of[1].push(verified);
        }
    }
    times
}

/// The time of an answer does not show whether the provider was asked, however long the provider takes.
#[tokio::test(start_paused = true)]
async fn times_do_not_tell_who_exists() {
    const NOTICED: f64 = 4.5;
    fastrand::seed(7);
    let pairs = usize::try_from(sized(100, 1_000)).unwrap();
    for factor in [0.5, 1.5, 3.0] {
        let with = times(factor, pairs, true).await;
        // The control: a function that has not asked a provider yet. Such a function does not wait.
        let without = times(factor, pairs, false).await;
        for act in 0..2 {
            let t = welch(&with.users[act], &with.nobody[act]);
            let control = welch(&with.users[act], &without.nobody[act]);
            println!(
                "provider {factor} x floor, act {act}: |t| = {t:.2}, without waiting {control:.1}"
            );
            assert!(t < NOTICED, "{factor}, {act}: {t}");
            assert!(
                factor < 1.0 || control > NOTICED,
                "{factor}, {act}: {control}"
            );
        }
    }
}
