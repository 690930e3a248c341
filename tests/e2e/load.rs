//! Load: several execution environments run at once, with people who verify, clients that retry, and attackers. During
//! the load and after it, the test observes from outside whether every limit holds.

use crate::function::{Function, event, http_response, settings_with_ledger, wrong};
use crate::outside::Observation;
use crate::random::Random;
use crate::size::size;
use crate::table::Table;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Execution environments. Each handles one invocation at a time.
const FUNCTIONS: usize = 3;

/// `allowedAttempts` of a code.
const ALLOWED: u64 = 3;

/// Send limits of a number, for the function and for the checks (count and milliseconds).
const SEND_LIMITS: &str = "1/2s,3/10m,6/24h";
const WINDOWS: [(usize, u64); 3] = [(1, 2_000), (3, 600_000), (6, 86_400_000)];

/// Messages to Canada in an hour.
const CANADA: u64 = 40;

/// Numbers that attackers use.
const TARGETS: u64 = 4;

/// A person who verifies a number.
#[derive(Clone)]
struct Person {
    number: String,
    /// The source that the reference ID is derived from. `None` if the person chose the reference ID.
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
    Redeem,
    RedeemAgain,
}

/// The function's responses. The checks compare them with the observations from outside.
#[derive(Default)]
struct Responses {
    /// Successes by verification. Each has the idempotency key of its request, or a unique name.
    successes: BTreeMap<(String, String), BTreeSet<String>>,
    redeemed: BTreeMap<(String, String), u64>,
    /// The plain references of sends, by number.
    sent: BTreeMap<String, BTreeSet<String>>,
    /// Idempotency keys of sends, by verification.
    keys: BTreeMap<(String, String), BTreeSet<String>>,
    counts: BTreeMap<(&'static str, u64, String), u64>,
    /// Microseconds by route.
    latencies: BTreeMap<&'static str, Vec<u32>>,
    problems: Vec<String>,
}

impl Responses {
    /// How often a request failed because the ledger was too slow. That can happen on a busy machine.
    fn too_slow(&self) -> u64 {
        let of_ledger = self
            .counts
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
    responses: Mutex<Responses>,
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
            responses: Mutex::default(),
            counter: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn request(
        &self,
        function: &Function,
        route: &'static str,
        body: &Value,
        key: Option<&str>,
    ) -> (u64, Value) {
        if route == "send" {
            let mut responses = self.responses.lock().unwrap();
            let number = body["destinationNumber"].as_str().unwrap();
            let references = responses.sent.entry(number.to_owned()).or_default();
            references.insert(plain_reference(body));
        }
        let event = event(route, body, key).to_string();
        let started = Instant::now();
        let response = function
            .invoke_unless_killed(&event)
            .expect("the function should keep running");
        let took = started.elapsed();
        let (status, body) =
            http_response(&response).unwrap_or_else(|| panic!("not an HTTP response: {response}"));
        let mut responses = self.responses.lock().unwrap();
        let code = body["code"].as_str().unwrap_or("ok").to_owned();
        if matches!(code.as_str(), "internal_error" | "misconfigured") {
            responses.problems.push(format!("{route}: {body}"));
        }
        *responses.counts.entry((route, status, code)).or_default() += 1;
        responses
            .latencies
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

    /// A person in the middle of a verification, or a new one.
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
                plain_reference(&json!({ "destinationNumber": number, "source": source }))
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

    /// Takes the person's next step. Returns `None` after the last step.
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
                self.responses
                    .lock()
                    .unwrap()
                    .keys
                    .entry(id)
                    .or_default()
                    .insert(key.clone());
                let (status, body) = self.request(function, "send", &person.body(None), Some(&key));
                if status == 202 {
                    assert_eq!(body["referenceId"], json!(person.reference));
                }
                match (status, first) {
                    (202, true) if random.chance(40) => Step::SendAgain,
                    // The limit for Canada is reached. Only attackers reach any of the other limits.
                    (429, true) if body["limit"] == "country" => return None,
                    (202, _) | (_, false) => Step::Status,
                    (_, true) if body["delivery"] == "unknown" => Step::Status,
                    (_, true) => Step::Send,
                }
            }
            Step::Status => {
                let (status, _) = self.request(function, "status", &person.body(None), None);
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
                self.request(
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
                    (true, _) => Step::Redeem,
                    (false, _) if random.chance(20) => return None,
                    (false, _) => Step::Right,
                }
            }
            Step::Redeem | Step::RedeemAgain => {
                let mut body = person.body(None);
                body["claim"] = json!(true);
                let (status, _) = self.request(function, "status", &body, None);
                if status == 200 {
                    *self
                        .responses
                        .lock()
                        .unwrap()
                        .redeemed
                        .entry(id)
                        .or_default() += 1;
                }
                if person.next == Step::RedeemAgain {
                    return None;
                }
                Step::RedeemAgain
            }
        };
        Some(person)
    }

    fn guess(&self, function: &Function, person: &Person, otp: &str, key: Option<&str>) -> bool {
        let (status, _) = self.request(function, "verify", &person.body(Some(otp)), key);
        if status == 200 {
            let name = key.map_or_else(
                || format!("anonymous-{}", self.counter.fetch_add(1, Ordering::Relaxed)),
                std::borrow::ToOwned::to_owned,
            );
            let id = (person.number.clone(), person.reference.clone());
            self.responses
                .lock()
                .unwrap()
                .successes
                .entry(id)
                .or_default()
                .insert(name);
        }
        status == 200
    }

    /// Makes the right guess or a wrong one for a person in the middle of a verification.
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

    /// Requests codes for a few numbers, guesses under many reference IDs, and cancels verifications to get new ones.
    fn attack(&self, function: &Function, random: &mut Random) {
        let mut body = json!({ "destinationNumber": target(random.below(TARGETS)) });
        if random.chance(80) {
            body["source"] = json!(format!("purpose-{}", random.below(3)));
        } else {
            body["referenceId"] = json!(format!("invented-{}", random.below(1000)));
        }
        match random.below(10) {
            0 => self.request(function, "cancel", &body, None),
            1..4 => self.request(function, "send", &body, None),
            _ => {
                body["otp"] = json!(format!("{:06}", random.below(1_000_000)));
                self.request(function, "verify", &body, None)
            }
        };
    }

    /// All problems at this moment, while the load runs.
    fn problems(&self) -> Vec<String> {
        // The order of these reads matters. The successes are read before the observation. So the observed table has a
        // record of each of these successes. The keys and references are read after the observation. So they include
        // those of each observed message.
        let (successes, redeemed) = {
            let responses = self.responses.lock().unwrap();
            (responses.successes.clone(), responses.redeemed.clone())
        };
        let observed = Observation::now(&self.simulator, &self.table);
        let (keys, sent) = {
            let responses = self.responses.lock().unwrap();
            (responses.keys.clone(), responses.sent.clone())
        };
        let observed =
            observed.with_plain(|number| sent.get(number).into_iter().flatten().cloned().collect());
        let mut problems = observed.message_problems();
        for (id, keys) in &keys {
            let (number, reference) = id;
            let record = observed.record(number, reference);
            let field = |name: &str| record[name].as_u64().unwrap_or(0);
            // A verification that has ended and begun again has new attempts, and can succeed again.
            let began_once = field("gen") == field("sends");
            let begins = if began_once { 1 } else { field("gen") };
            let (messages, guesses) = (
                observed.messages(number, reference),
                observed.guesses(number, reference),
            );
            if messages > keys.len() as u64 {
                problems.push(format!(
                    "{id:?}: {messages} messages under {} keys",
                    keys.len()
                ));
            }
            let charged = if record.is_null() {
                0
            } else {
                ALLOWED * begins - field("left")
            };
            let most = if began_once {
                charged
            } else {
                ALLOWED * begins
            };
            if guesses > most {
                problems.push(format!(
                    "{id:?}: {guesses} guesses at the provider, {charged} charged"
                ));
            }
            let successes = successes.get(id).map_or(0, |names| names.len() as u64);
            let redeemed = redeemed.get(id).copied().unwrap_or(0);
            if successes > begins || redeemed > begins {
                problems.push(format!(
                    "{id:?}: {successes} successes, {redeemed} redeemed, {begins} allowed"
                ));
            }
        }
        for number in (0..TARGETS).map(target) {
            let (guesses, item) = (observed.guesses_about(&number), observed.number(&number));
            let charged = item["f"].as_u64().unwrap_or(0);
            let places = observed.sends(&number).len() as u64;
            // One guess in a million is right. After it the counts start again.
            let has_success = item["ep"].as_u64().unwrap_or(0) > 0;
            if !has_success && guesses > charged.min(places * ALLOWED) {
                problems.push(format!(
                    "{number}: {guesses} guesses at the provider, {charged} charged, {places} codes"
                ));
            }
        }
        for number in observed.numbers() {
            let sends = observed.sends(number);
            for (count, window) in WINDOWS {
                let pairs = sends.iter().zip(sends.iter().skip(count));
                if pairs.clone().any(|(late, early)| late - early < window) {
                    problems.push(format!(
                        "{number}: more than {count} sends in {window} ms: {sends:?}"
                    ));
                }
            }
        }
        problems.extend(budget_problems(&observed));
        problems
    }

    /// Runs load for `length` and records the problems. The load begins with an empty table and an empty inbox.
    ///
    /// If `wipes` is set, all items are deleted halfway through. The control of the load test sets `wipes`: the checks
    /// must then find problems.
    fn phase(&self, phase: u64, length: Duration, wipes: bool) {
        self.people.lock().unwrap().clear();
        self.simulator.reset();
        self.table.wipe();
        {
            let mut responses = self.responses.lock().unwrap();
            responses.successes.clear();
            responses.redeemed.clear();
            responses.keys.clear();
            responses.sent.clear();
        }
        self.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let _stop = Stop(&self.stop);
            for (index, function) in self.functions.iter().enumerate() {
                let mut random = Random::new(phase * 1000 + index as u64);
                scope.spawn(move || self.work(function, &mut random));
            }
            let ends = Instant::now() + length;
            if wipes {
                std::thread::sleep(length / 2);
                self.table.wipe();
            }
            while Instant::now() < ends {
                std::thread::sleep(
                    ends.saturating_duration_since(Instant::now())
                        .min(Duration::from_secs(10)),
                );
                let problems = self.problems();
                self.responses.lock().unwrap().problems.extend(problems);
            }
        });
        let problems = self.problems();
        let mut responses = self.responses.lock().unwrap();
        responses.problems.extend(problems);
        for function in &self.functions {
            let log = function.take_log();
            if log.contains("\"panic\"") {
                responses.problems.push(format!("a panic: {log}"));
            }
        }
    }
}

/// Problems with the counts of budgets: each message must be counted, and Canada has a budget of its own.
fn budget_problems(observed: &Observation) -> Vec<String> {
    let mut problems = Vec::new();
    let sum = |country: &str| {
        let numbers = observed
            .numbers()
            .into_iter()
            .filter(|number| number.starts_with(country));
        numbers
            .map(|number| observed.messages_to(number))
            .sum::<u64>()
    };
    let (all, canada) = (sum("+1"), sum("+1416"));
    let counted = |counts: &dyn Fn(&str) -> bool| {
        let counters = observed
            .items_of("B#")
            .filter_map(Value::as_object)
            .flatten();
        counters
            .filter(|(name, _)| counts(name))
            .filter_map(|(_, n)| n.as_u64())
            .collect::<Vec<_>>()
    };
    let of_canada = counted(&|name| name.starts_with('m') && name.ends_with("CA"));
    if of_canada.iter().any(|n| *n > CANADA) || of_canada.iter().sum::<u64>() < canada {
        problems.push(format!(
            "{canada} messages to Canada, {of_canada:?} counted, {CANADA} allowed"
        ));
    }
    let of_day = counted(&|name| name == "m");
    if of_day.iter().sum::<u64>() < all {
        problems.push(format!("{all} messages, {of_day:?} counted"));
    }
    problems
}

/// Stops the workers when it is dropped, even after a panic.
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

/// The reference ID that a request names, or the one that is derived from its source.
fn plain_reference(body: &Value) -> String {
    let text = |name: &str| body[name].as_str();
    if let Some(reference) = text("referenceId") {
        return reference.to_owned();
    }
    let number = PhoneNumber::parse(text("destinationNumber").unwrap()).unwrap();
    let source = text("source").unwrap();
    ReferenceId::derived("ExampleCorp", source, &number)
        .expose()
        .to_owned()
}

fn target(index: u64) -> String {
    format!("+142555702{index:02}")
}

/// A failure of the provider.
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

#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
fn print(responses: &mut Responses, memory: &[Vec<u64>], took: Duration) {
    println!(
        "\n{:<9} {:>9} {:>9} {:>9} {:>9} {:>9}  ms",
        "", "requests", "p50", "p90", "p99", "longest"
    );
    for (route, latencies) in &mut responses.latencies {
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
    let counts = responses.counts.iter();
    let counts: Vec<_> = counts
        .map(|((route, status, code), n)| format!("{route} {status} {code} {n}"))
        .collect();
    println!("responses: {}", counts.join(" · "));
    for (index, of_one) in memory.iter().enumerate() {
        println!("memory of {index}: {of_one:?} KiB");
    }
    let requests: usize = responses.latencies.values().map(Vec::len).sum();
    println!(
        "load: {requests} requests to {FUNCTIONS} environments in {} s, {} problems; {} times the ledger was too slow",
        took.as_secs(),
        responses.problems.len(),
        responses.too_slow()
    );
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn limits_hold_under_load_and_attack() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let world = World::start(simulator);
        let started = Instant::now();
        let (seconds, mut memory) = (size("OTP_LOAD_SECONDS", 8, 12), vec![Vec::new(); FUNCTIONS]);
        let length = (seconds / 4).clamp(1, 60);
        let mut processes = Vec::new();
        for phase in 0..seconds.div_ceil(length) {
            world.phase(phase, Duration::from_secs(length), false);
            let now: Vec<_> = world.functions.iter().map(Function::process).collect();
            if phase == 0 {
                processes.clone_from(&now);
            }
            assert_eq!(now, processes, "a process ended");
            for (function, memory) in world.functions.iter().zip(&mut memory) {
                memory.push(function.memory().unwrap());
            }
        }
        let mut responses = world.responses.lock().unwrap();
        print(&mut responses, &memory, started.elapsed());
        assert!(responses.problems.is_empty(), "{:#?}", responses.problems);
        let requests: usize = responses.latencies.values().map(Vec::len).sum();
        assert!(
            // A pause of the whole machine makes each environment slow once.
            responses.too_slow() <= (2 * FUNCTIONS + requests / 1000) as u64,
            "the ledger was too slow {} times",
            responses.too_slow()
        );
        let happened = |route, status| {
            responses
                .counts
                .keys()
                .any(|(a_route, a_status, _)| *a_route == route && *a_status == status)
        };
        for (route, status) in [
            ("send", 202),
            ("send", 429),
            ("verify", 200),
            ("verify", 422),
            ("status", 200),
        ] {
            assert!(happened(route, status), "{route} {status} never happened");
        }
        for of_one in &memory {
            // Connections and caches grow only in the first quarter.
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

/// The control: with lost limits, keys and attempts, the checks find problems.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn checks_detect_a_table_that_loses_its_items() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let world = World::start(simulator);
        world.phase(1, Duration::from_secs(4), true);
        let problems = world.responses.lock().unwrap().problems.join("\n");
        for expected in [
            "a message without a record",
            "a message without a place in the windows",
            "guesses at the provider,",
        ] {
            assert!(problems.contains(expected), "{expected}: {problems}");
        }
    })
    .await
    .unwrap();
}
