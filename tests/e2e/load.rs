//! Load: several execution environments at once, people who verify, clients that try again, attackers. What must hold
//! is looked at from outside all the while.

use crate::function::{Function, event, http_answer, settings_with_ledger, wrong};
use crate::outside::Seen;
use crate::random::Random;
use crate::table::Table;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Execution environments. Each has one invocation at a time.
const FUNCTIONS: usize = 3;

/// Guesses that a code allows.
const ALLOWED: u64 = 3;

/// Codes a number may get, as text and as the check has it.
const SEND_LIMITS: &str = "1/2s,3/10m,6/24h";
const WINDOWS: [(usize, u64); 3] = [(1, 2_000), (3, 600_000), (6, 86_400_000)];

/// Texts to Canada, an hour.
const CANADA: u64 = 40;

/// Numbers that attackers are at.
const TARGETS: u64 = 4;

/// Somebody who verifies a number.
#[derive(Clone)]
struct Person {
    number: String,
    /// The purpose that names the verification, or the name itself.
    source: Option<String>,
    reference: String,
    next: Step,
    tries: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Send,
    SendAgain,
    Status,
    Guess,
    Resend,
    Right,
    RightAgain,
    Claim,
    ClaimAgain,
}

/// What was answered, as far as it is to be held against what is seen from outside.
#[derive(Default)]
struct Told {
    /// Who was told yes, by verification: the idempotency key, or a name of its own.
    yes: BTreeMap<(String, String), BTreeSet<String>>,
    claims: BTreeMap<(String, String), u64>,
    /// Hasher under which a code was asked for.
    keys: BTreeMap<(String, String), BTreeSet<String>>,
    answers: BTreeMap<(&'static str, u64, String), u64>,
    /// Microseconds, by operation.
    latencies: BTreeMap<&'static str, Vec<u32>>,
    problems: Vec<String>,
}

impl Told {
    /// How often a step in the table took longer than it may, so that the request was refused. A table that shares a
    /// busy machine with all the rest may do that now and then.
    fn too_slow(&self) -> u64 {
        let of_ledger = self
            .answers
            .iter()
            .filter(|((_, _, code), _)| code == "ledger_unavailable");
        of_ledger.map(|(_, count)| count).sum()
    }
}

struct World {
    simulator: Simulator,
    table: Table,
    functions: Vec<Function>,
    people: Mutex<Vec<Person>>,
    told: Mutex<Told>,
    counter: AtomicU64,
    stop: AtomicBool,
}

impl World {
    fn start(simulator: Simulator) -> Self {
        let table = Table::start();
        let mut settings = settings_with_ledger(&simulator.url(), &table.url());
        settings.extend([
            ("ALLOWED_COUNTRIES", "US,CA".to_owned()),
            ("SEND_LIMITS", SEND_LIMITS.to_owned()),
            ("PREFIX_LIMITS", "5000/1h".to_owned()),
            ("BUDGETS", "100000/1h,1000000/24h".to_owned()),
            ("COUNTRY_LIMITS", format!("CA={CANADA}/1h")),
            ("LOG_LEVEL", "error".to_owned()),
        ]);
        Self {
            functions: (0..FUNCTIONS).map(|_| Function::start(&settings)).collect(),
            simulator,
            table,
            people: Mutex::default(),
            told: Mutex::default(),
            counter: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn ask(
        &self,
        function: &Function,
        route: &'static str,
        body: &Value,
        key: Option<&str>,
    ) -> (u64, Value) {
        let event = event(route, body, key).to_string();
        let started = Instant::now();
        let answer = function
            .invoke_unless_killed(&event)
            .expect("the function goes on");
        let took = started.elapsed();
        let (status, body) =
            http_answer(&answer).unwrap_or_else(|| panic!("no HTTP answer: {answer}"));
        let mut told = self.told.lock().unwrap();
        let code = body["code"].as_str().unwrap_or("ok").to_owned();
        if matches!(code.as_str(), "internal_error" | "misconfigured") {
            told.problems.push(format!("{route}: {body}"));
        }
        *told.answers.entry((route, status, code)).or_default() += 1;
        told.latencies
            .entry(route)
            .or_default()
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        (status, body)
    }

    fn work(&self, function: &Function, random: &mut Random) {
        while !self.stop.load(Ordering::Relaxed) {
            if random.chance(2) {
                let operation = if random.chance(50) {
                    Operation::Send
                } else {
                    Operation::Verify
                };
                self.simulator.fail_next(operation, failure(random));
            }
            match random.below(100) {
                0..25 => self.attack(function, random),
                25..32 => self.race(function, random),
                _ => {
                    let person = self.person(random);
                    if let Some(person) = self.step(function, person, random) {
                        self.people.lock().unwrap().push(person);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(random.below(12)));
        }
    }

    /// One of those who are at it, or somebody new.
    fn person(&self, random: &mut Random) -> Person {
        let mut people = self.people.lock().unwrap();
        if people.len() > 30 || (!people.is_empty() && random.chance(80)) {
            let index = usize::try_from(random.below(people.len() as u64)).unwrap();
            return people.swap_remove(index);
        }
        drop(people);
        let id = self.counter.fetch_add(1, Ordering::Relaxed);
        let area = if random.chance(10) { 416 } else { 425 };
        let number = format!("+1{area}56{:05}", id % 100_000);
        let name = format!("person-{id}");
        let source = random.chance(50).then(|| name.clone());
        let reference = match &source {
            Some(source) => {
                let parsed = PhoneNumber::parse(&number).unwrap();
                ReferenceId::derived("ExampleCorp", source, &parsed)
                    .expose()
                    .to_owned()
            }
            None => name,
        };
        Person {
            number,
            source,
            reference,
            next: Step::Send,
            tries: 0,
        }
    }

    /// What a person does next; afterwards nobody if that was all.
    fn step(&self, function: &Function, mut person: Person, random: &mut Random) -> Option<Person> {
        person.tries += 1;
        if person.tries > 25 {
            return None;
        }
        let key = |purpose: &str| format!("{purpose}-{}", person.reference);
        let id = (person.number.clone(), person.reference.clone());
        person.next = match person.next {
            Step::Send | Step::SendAgain | Step::Resend => {
                let key = key(if person.next == Step::Resend {
                    "resend"
                } else {
                    "send"
                });
                let first = person.next == Step::Send;
                self.told
                    .lock()
                    .unwrap()
                    .keys
                    .entry(id)
                    .or_default()
                    .insert(key.clone());
                let (status, body) = self.ask(function, "send", &person.body(None), Some(&key));
                if status == 202 {
                    assert_eq!(body["referenceId"], json!(person.reference));
                }
                match (status, first) {
                    (202, true) if random.chance(40) => Step::SendAgain,
                    // Canada has no more; the rest of the limits is for attackers.
                    (429, true) if body["limit"] == "country" => return None,
                    (202, _) | (_, false) => Step::Status,
                    (_, true) if body["delivery"] == "unknown" => Step::Status,
                    (_, true) => Step::Send,
                }
            }
            Step::Status => {
                let (status, _) = self.ask(function, "status", &person.body(None), None);
                match random.below(10) {
                    _ if status != 200 => Step::Send,
                    0..4 => Step::Guess,
                    4..6 => Step::Resend,
                    _ => Step::Right,
                }
            }
            Step::Guess => {
                let code = self.simulator.newest_to(&person.number)?.code;
                let nth = u8::try_from(random.below(9)).unwrap();
                self.ask(
                    function,
                    "verify",
                    &person.body(Some(&wrong(&code, nth))),
                    None,
                );
                if random.chance(40) {
                    Step::Guess
                } else {
                    Step::Right
                }
            }
            Step::Right | Step::RightAgain => {
                let code = self.simulator.newest_to(&person.number)?.code;
                let key = key("verify");
                let yes = self.guess(function, &person, &code, Some(&key));
                match (yes, person.next) {
                    (true, Step::Right) if random.chance(40) => Step::RightAgain,
                    (true, _) => Step::Claim,
                    (false, _) if random.chance(20) => return None,
                    (false, _) => Step::Right,
                }
            }
            Step::Claim | Step::ClaimAgain => {
                let mut body = person.body(None);
                body["claim"] = json!(true);
                let (status, _) = self.ask(function, "status", &body, None);
                if status == 200 {
                    *self.told.lock().unwrap().claims.entry(id).or_default() += 1;
                }
                if person.next == Step::ClaimAgain {
                    return None;
                }
                Step::ClaimAgain
            }
        };
        Some(person)
    }

    fn guess(&self, function: &Function, person: &Person, otp: &str, key: Option<&str>) -> bool {
        let (status, _) = self.ask(function, "verify", &person.body(Some(otp)), key);
        if status == 200 {
            let who = key.map_or_else(
                || format!("nobody-{}", self.counter.fetch_add(1, Ordering::Relaxed)),
                std::borrow::ToOwned::to_owned,
            );
            let id = (person.number.clone(), person.reference.clone());
            self.told
                .lock()
                .unwrap()
                .yes
                .entry(id)
                .or_default()
                .insert(who);
        }
        status == 200
    }

    /// Gives somebody's right or wrong code while that person is at it.
    fn race(&self, function: &Function, random: &mut Random) {
        let person = {
            let people = self.people.lock().unwrap();
            let index = usize::try_from(random.below(people.len() as u64)).unwrap();
            people.get(index).cloned()
        };
        let Some(person) = person else { return };
        let Some(text) = self.simulator.newest_to(&person.number) else {
            return;
        };
        let otp = if random.chance(70) {
            text.code
        } else {
            wrong(&text.code, 3)
        };
        self.guess(function, &person, &otp, None);
    }

    /// Asks for codes to few numbers, guesses under every name, ends verifications to get new ones.
    fn attack(&self, function: &Function, random: &mut Random) {
        let mut body = json!({ "destinationNumber": target(random.below(TARGETS)) });
        if random.chance(80) {
            body["source"] = json!(format!("purpose-{}", random.below(3)));
        } else {
            body["referenceId"] = json!(format!("invented-{}", random.below(1000)));
        }
        match random.below(10) {
            0 => self.ask(function, "cancel", &body, None),
            1..4 => self.ask(function, "send", &body, None),
            _ => {
                body["otp"] = json!(format!("{:06}", random.below(1_000_000)));
                self.ask(function, "verify", &body, None)
            }
        };
    }

    /// Everything that is wrong at a moment, whatever is going on.
    fn problems(&self) -> Vec<String> {
        // Who was told something before the table is looked at, and which keys there were after the inbox was.
        let (yes, claims) = {
            let told = self.told.lock().unwrap();
            (told.yes.clone(), told.claims.clone())
        };
        let seen = Seen::now(&self.simulator, &self.table);
        let mut problems = seen.problems_of_texts();
        let keys = self.told.lock().unwrap().keys.clone();
        for (id, keys) in &keys {
            let (number, reference) = id;
            let record = seen.record(number, reference);
            let of = |name: &str| record[name].as_u64().unwrap_or(0);
            // One that ended and began anew gives new guesses, and can be won again.
            let began_once = of("gen") == of("sends");
            let begins = if began_once { 1 } else { of("gen") };
            let (texts, asked) = (seen.texts(number, reference), seen.asked(number, reference));
            if texts > keys.len() as u64 {
                problems.push(format!("{id:?}: {texts} texts under {} keys", keys.len()));
            }
            let charged = if record.is_null() {
                0
            } else {
                ALLOWED * begins - of("left")
            };
            if asked
                > if began_once {
                    charged
                } else {
                    ALLOWED * begins
                }
            {
                problems.push(format!("{id:?}: {asked} guesses asked, {charged} charged"));
            }
            let winners = yes.get(id).map_or(0, |who| who.len() as u64);
            let claims = claims.get(id).copied().unwrap_or(0);
            if winners > begins || claims > begins {
                problems.push(format!(
                    "{id:?}: {winners} were told yes, {claims} claimed, {begins} at most"
                ));
            }
        }
        for number in (0..TARGETS).map(target) {
            let (asked, item) = (seen.asked_about(&number), seen.number(&number));
            let charged = item["f"].as_u64().unwrap_or(0);
            let places = seen.sends(&number).len() as u64;
            // A guess can be right, once in a million.
            let is_won = item["ep"].as_u64().unwrap_or(0) > 0;
            if !is_won && asked > charged.min(places * ALLOWED) {
                problems.push(format!(
                    "{number}: {asked} guesses asked, {charged} charged, {places} codes"
                ));
            }
        }
        for number in seen.numbers() {
            let sends = seen.sends(number);
            for (count, window) in WINDOWS {
                let pairs = sends.iter().zip(sends.iter().skip(count));
                if pairs.clone().any(|(late, early)| late - early < window) {
                    problems.push(format!(
                        "{number}: more than {count} sends in {window} ms: {sends:?}"
                    ));
                }
            }
        }
        let sum = |country: &str| {
            let numbers = seen
                .numbers()
                .into_iter()
                .filter(|number| number.starts_with(country));
            numbers.map(|number| seen.texts_to(number)).sum::<u64>()
        };
        let (all, canada) = (sum("+1"), sum("+1416"));
        let counted = |counts: &dyn Fn(&str) -> bool| {
            let counters = seen.items_of("B#").filter_map(Value::as_object).flatten();
            counters
                .filter(|(name, _)| counts(name))
                .filter_map(|(_, n)| n.as_u64())
                .collect::<Vec<_>>()
        };
        let of_canada = counted(&|name| name.starts_with('m') && name.ends_with("CA"));
        if of_canada.iter().any(|n| *n > CANADA) || of_canada.iter().sum::<u64>() < canada {
            problems.push(format!(
                "{canada} texts to Canada, {of_canada:?} counted, {CANADA} allowed"
            ));
        }
        let of_day = counted(&|name| name == "m");
        if of_day.iter().sum::<u64>() < all {
            problems.push(format!("{all} texts, {of_day:?} counted"));
        }
        problems
    }

    /// A phase with an empty table, an empty inbox and the same processes.
    ///
    /// One that `loses` forgets everything that is in the table, in the middle.
    fn phase(&self, phase: u64, length: Duration, loses: bool) {
        self.people.lock().unwrap().clear();
        self.simulator.reset();
        self.table.wipe();
        {
            let mut told = self.told.lock().unwrap();
            told.yes.clear();
            told.claims.clear();
            told.keys.clear();
        }
        self.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let _stop = Stop(&self.stop);
            for (index, function) in self.functions.iter().enumerate() {
                let mut random = Random::new(phase * 1000 + index as u64);
                scope.spawn(move || self.work(function, &mut random));
            }
            let ends = Instant::now() + length;
            if loses {
                std::thread::sleep(length / 2);
                self.table.wipe();
            }
            while Instant::now() < ends {
                std::thread::sleep(
                    ends.saturating_duration_since(Instant::now())
                        .min(Duration::from_secs(10)),
                );
                let problems = self.problems();
                self.told.lock().unwrap().problems.extend(problems);
            }
        });
        let problems = self.problems();
        let mut told = self.told.lock().unwrap();
        told.problems.extend(problems);
        for function in &self.functions {
            let log = function.take_log();
            if log.contains("\"panic\"") {
                told.problems.push(format!("a panic: {log}"));
            }
        }
    }
}

/// Stops the workers when it goes, in whatever way.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Person {
    fn body(&self, otp: Option<&str>) -> Value {
        let mut body = json!({ "destinationNumber": self.number });
        match &self.source {
            Some(source) => body["source"] = json!(source),
            None => body["referenceId"] = json!(self.reference),
        }
        if let Some(otp) = otp {
            body["otp"] = json!(otp);
        }
        body
    }
}

fn target(index: u64) -> String {
    format!("+142555702{index:02}")
}

/// What goes wrong with the provider now and then.
fn failure(random: &mut Random) -> Failure {
    match random.below(7) {
        0 => Failure::TooManyRequests,
        1 => Failure::InternalServerError,
        2 => Failure::InternalServerErrorAfterwards,
        3 => Failure::CloseAfterReading,
        4 => Failure::CloseBeforeReading,
        5 => Failure::NotJson,
        _ => Failure::Slow(Duration::from_millis(random.below(200))),
    }
}

fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test that is longer on demand")]
    std::env::var("OTP_LOAD_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(12)
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn print(told: &mut Told, memory: &[Vec<u64>], took: Duration) {
    println!(
        "\n{:<9} {:>9} {:>9} {:>9} {:>9} {:>9}  ms",
        "", "requests", "p50", "p90", "p99", "longest"
    );
    for (route, latencies) in &mut told.latencies {
        latencies.sort_unstable();
        let at =
            |percent: usize| f64::from(latencies[(latencies.len() - 1) * percent / 100]) / 1000.0;
        let (count, longest) = (latencies.len(), at(100));
        println!(
            "{route:<9} {count:>9} {:>9.1} {:>9.1} {:>9.1} {longest:>9.1}",
            at(50),
            at(90),
            at(99)
        );
    }
    let answers = told.answers.iter();
    let answers: Vec<_> = answers
        .map(|((route, status, code), n)| format!("{route} {status} {code} {n}"))
        .collect();
    println!("answers: {}", answers.join(" · "));
    for (index, of_one) in memory.iter().enumerate() {
        println!("memory of {index}: {of_one:?} KiB");
    }
    let requests: usize = told.latencies.values().map(Vec::len).sum();
    println!(
        "load: {requests} requests to {FUNCTIONS} environments in {} s, {} problems; {} times the ledger was too slow",
        took.as_secs(),
        told.problems.len(),
        told.too_slow()
    );
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn under_load_and_attack_everything_holds() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let world = World::start(simulator);
        let started = Instant::now();
        let (all, mut memory) = (seconds(), vec![Vec::new(); FUNCTIONS]);
        let length = (all / 4).clamp(1, 60);
        let mut processes = Vec::new();
        for phase in 0..all.div_ceil(length) {
            world.phase(phase, Duration::from_secs(length), false);
            let now: Vec<_> = world.functions.iter().map(Function::process).collect();
            if phase == 0 {
                processes.clone_from(&now);
            }
            assert_eq!(now, processes, "no process ended");
            for (function, memory) in world.functions.iter().zip(&mut memory) {
                memory.push(function.memory().unwrap());
            }
        }
        let mut told = world.told.lock().unwrap();
        print(&mut told, &memory, started.elapsed());
        assert!(told.problems.is_empty(), "{:#?}", told.problems);
        let requests: usize = told.latencies.values().map(Vec::len).sum();
        assert!(
            told.too_slow() * 1000 <= requests as u64,
            "{} times the ledger was not there",
            told.too_slow()
        );
        let answered = |route, status| {
            told.answers
                .keys()
                .any(|(of, with, _)| *of == route && *with == status)
        };
        for (route, status) in [
            ("send", 202),
            ("send", 429),
            ("verify", 200),
            ("verify", 422),
            ("status", 200),
        ] {
            assert!(answered(route, status), "{route} {status} never happened");
        }
        for of_one in &memory {
            // What is kept open and cached is there after the first minutes.
            let quarter = of_one.len() / 4;
            let (early, late) = (
                &of_one[quarter..quarter * 2],
                &of_one[of_one.len() - quarter..],
            );
            assert!(
                median(late) < median(early) + 1024,
                "memory grows: {of_one:?} KiB"
            );
        }
    })
    .await
    .unwrap();
}

/// The control: the same eyes see that limits, keys and attempts are gone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_table_that_loses_its_items_is_noticed() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let world = World::start(simulator);
        world.phase(1, Duration::from_secs(4), true);
        let problems = world.told.lock().unwrap().problems.join("\n");
        for expected in [
            "a text without a record",
            "a text without a place in the windows",
            "guesses asked,",
        ] {
            assert!(problems.contains(expected), "{expected}: {problems}");
        }
    })
    .await
    .unwrap();
}
