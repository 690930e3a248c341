//! Makes a history: four clients at once send requests about one number, each through a function of its own.

use super::checker::{Timed, Verdict, check};
use super::lambda::Environment;
use super::number::{self, Places, wrongly_limited};
use super::operation::{Answer, Guess, Operation, Request};
use super::proxy::Proxy;
use super::verification::{self, KEYS, Verification};
use crate::function::{event, http_response};
use crate::random::Random;
use serde_json::json;
use simulator::{Message, Simulator};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Operations of one history.
pub(crate) const OPERATIONS: u64 = 60;

/// Operations at once.
pub(crate) const CLIENTS: usize = 4;

/// Verifications of one number.
const REFERENCES: usize = 2;

/// The most configurations that a check may visit. If a check needs more, it stays open: it has neither found an order
/// nor shown that there is none.
const MOST_CONFIGURATIONS: usize = 2_000_000;

/// A request to the function makes several requests to the table, and each of these times out after a second. If the
/// request to the function took less time than `SLOW`, none of its requests to the table timed out.
const SLOW: Duration = Duration::from_millis(900);

/// After this time, a guess whose verdict is missing may be made again. It is a second less than the service waits.
const LONG: Duration = Duration::from_secs(4);

/// A client, with a function of its own and a proxy between that function and the table.
pub(crate) struct Client {
    pub(crate) function: Environment,
    pub(crate) proxy: Proxy,
}

/// A request as it was made.
#[derive(Debug, Clone)]
struct Made {
    route: Route,
    reference: usize,
    /// The idempotency key, by its number.
    key: Option<usize>,
    guess: String,
    answer: Answer,
    had_faults: bool,
    had_overdue: bool,
    called: u64,
    returned: u64,
    /// When no request of the client was on its way to the table any more.
    ended: Option<u64>,
    client: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Send,
    Verify,
    Status,
    Redeem,
    Cancel,
}

/// The state that clients share while they make a history.
struct Shared<'a> {
    simulator: &'a Simulator,
    number: &'a str,
    clock: AtomicU64,
    begun: AtomicU64,
    /// The codes on the phone, by reference, the newest last.
    codes: [Mutex<Vec<String>>; REFERENCES],
    made: Mutex<Vec<Made>>,
}

/// A history that is over.
pub(crate) struct History {
    made: Vec<Made>,
    texts: Vec<Message>,
    is_long: bool,
}

/// The result of a check.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) operations: u64,
    /// Operations without a clear answer.
    pub(crate) unknown: u64,
    /// Operations without a clear answer and without a fault: the machine was too slow.
    pub(crate) too_slow: u64,
    /// The most configurations that a check has visited.
    pub(crate) largest: usize,
    /// Configurations that the checks have visited.
    pub(crate) visited: usize,
    pub(crate) answers: BTreeMap<(String, u64, String), u64>,
    /// The checks that came to a verdict.
    pub(crate) decided: u64,
    /// The checks that stayed open, because their search was too long.
    pub(crate) open: u64,
    /// How long the checks took.
    pub(crate) checking: Duration,
    pub(crate) problems: Vec<String>,
}

impl History {
    pub(crate) fn make(simulator: &Simulator, clients: &[Client], number: &str, seed: u64) -> Self {
        let shared = Shared {
            simulator,
            number,
            clock: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            codes: Default::default(),
            made: Mutex::default(),
        };
        let started = Instant::now();
        std::thread::scope(|scope| {
            for (index, client) in clients.iter().enumerate() {
                let mut random = Random::new(seed * 100 + index as u64);
                let shared = &shared;
                scope.spawn(move || {
                    while shared.begun.fetch_add(1, Ordering::SeqCst) < OPERATIONS {
                        shared.step(index, client, &mut random);
                    }
                });
            }
        });
        let mut texts = simulator.inbox();
        texts.retain(|text| text.to == number);
        texts.reverse();
        let mut made = shared.made.into_inner().unwrap();
        made.sort_by_key(|made| made.called);
        Self {
            made,
            texts,
            is_long: started.elapsed() > LONG,
        }
    }

    /// Checks each verification, and the number, against their specifications.
    pub(crate) fn check(&self, found: &mut Found) {
        found.operations += self.made.len() as u64;
        for made in &self.made {
            let is_unknown = made.answer.is_unknown();
            found.unknown += u64::from(is_unknown);
            found.too_slow += u64::from(is_unknown && !made.had_faults);
            let route = format!("{:?}", made.route).to_lowercase();
            let answer = (route, made.answer.status, made.answer.code.clone());
            *found.answers.entry(answer).or_default() += 1;
        }
        let started = Instant::now();
        let texts = |reference| self.texts_of(reference);
        let named = texts(0).len() + texts(1).len();
        if named != self.texts.len() {
            let sent = self.texts.len();
            found
                .problems
                .push(format!("{sent} texts were sent, the answers name {named}"));
        }
        for reference in 0..REFERENCES {
            let verification = Verification {
                codes: self.codes(reference),
                is_long: self.is_long,
            };
            let history = self.operations(|made| made.reference == reference);
            let start = verification::State::default();
            let verdict = check(&verification, &start, &history, MOST_CONFIGURATIONS);
            note("a verification", &history, verdict, found);
        }
        let history = self.operations(|_| true);
        let start = number::State::default();
        let verdict = check(&Places, &start, &history, MOST_CONFIGURATIONS);
        note("a number", &history, verdict, found);
        found.problems.extend(wrongly_limited(&history));
        found.checking += started.elapsed();
    }

    /// The messages that the answers about a reference name, in the order in which they were sent.
    fn texts_of(&self, reference: usize) -> Vec<&Message> {
        let is_named = |text: &&Message| {
            self.made.iter().any(|made| {
                made.reference == reference
                    && made.answer.message.as_deref() == Some(text.message_id.as_str())
            })
        };
        self.texts.iter().filter(is_named).collect()
    }

    /// The different guesses at a reference. The place of a guess in this list is its name.
    fn guesses(&self, reference: usize) -> Vec<&str> {
        let codes = self.texts_of(reference).into_iter();
        let guesses = self
            .made
            .iter()
            .filter(|made| made.reference == reference && made.route == Route::Verify);
        let mut all = Vec::new();
        for guess in codes
            .map(|text| text.code.as_str())
            .chain(guesses.map(|made| made.guess.as_str()))
        {
            if !all.contains(&guess) {
                all.push(guess);
            }
        }
        all
    }

    /// The code of each message, as a guess.
    fn codes(&self, reference: usize) -> Vec<usize> {
        let guesses = self.guesses(reference);
        let texts = self.texts_of(reference).into_iter();
        let place = |text: &Message| guesses.iter().position(|guess| *guess == text.code);
        texts.filter_map(place).collect()
    }

    /// The operations of the specification.
    fn operations(&self, of: impl Fn(&Made) -> bool) -> Vec<Timed<Operation>> {
        let guesses = [self.guesses(0), self.guesses(1)];
        let texts = [self.texts_of(0), self.texts_of(1)];
        let chosen = self.made.iter().enumerate().filter(|(_, made)| of(made));
        let operation = |(index, made): (usize, &Made)| {
            let who = made.key.unwrap_or(KEYS + index);
            let request = match made.route {
                Route::Send => Request::Send {
                    key: made.key,
                    text: texts[made.reference]
                        .iter()
                        .position(|text| made.answer.message.as_ref() == Some(&text.message_id)),
                },
                Route::Verify => {
                    let same = self.made.iter().filter(|other| {
                        other.route == Route::Verify
                            && (other.reference, &other.guess) == (made.reference, &made.guess)
                    });
                    let place = |guess: &&str| *guess == made.guess;
                    let mut codes = texts[made.reference].iter();
                    Request::Verify {
                        guess: Guess {
                            name: guesses[made.reference].iter().position(place).unwrap(),
                            is_unique: same.count() == 1,
                            is_code: codes.any(|text| text.code == made.guess),
                        },
                        winner: who,
                    }
                }
                Route::Status => Request::Status,
                Route::Redeem => Request::Redeem { redeemer: who },
                Route::Cancel => Request::Cancel,
            };
            let is_unknown = made.answer.is_unknown();
            Timed {
                operation: Operation {
                    id: index,
                    request,
                    reference: made.reference,
                    answer: made.answer.clone(),
                    had_faults: made.had_faults || is_unknown,
                    had_overdue: made.had_overdue,
                },
                called: made.called,
                returned: Some(made.returned),
                ended: made.ended,
            }
        };
        chosen.map(operation).collect()
    }
}

fn note(what: &str, history: &[Timed<Operation>], verdict: Verdict, found: &mut Found) {
    let (index, before) = match verdict {
        Verdict::Linearizable(visited) => {
            found.largest = found.largest.max(visited);
            found.visited += visited;
            found.decided += 1;
            return;
        }
        Verdict::Unfinished(_) => {
            found.open += 1;
            return;
        }
        Verdict::Anomaly(index, before) => (index, before),
    };
    found.decided += 1;
    let events = history.iter().take(index + CLIENTS);
    let events: Vec<_> = events.map(|timed| format!("{timed:?}")).collect();
    found.problems.push(format!(
        "{what}: no order explains {:?}\nbefore it, among others:\n{}\nthe history:\n{}",
        history[index],
        before.join("\n"),
        events.join("\n")
    ));
}

impl Shared<'_> {
    /// Makes one request.
    fn step(&self, index: usize, client: &Client, random: &mut Random) {
        self.note_ends(index, client);
        let reference = usize::from(random.chance(35));
        let codes = self.codes[reference].lock().unwrap().clone();
        let route = match random.below(100) {
            _ if codes.is_empty() && random.chance(60) => Route::Send,
            0..18 => Route::Send,
            18..62 => Route::Verify,
            62..82 => Route::Status,
            82..94 => Route::Redeem,
            _ => Route::Cancel,
        };
        let has_key = route != Route::Status && route != Route::Cancel && random.chance(35);
        let key = has_key.then(|| usize::try_from(random.below(KEYS as u64)).unwrap());
        let guess = choose_guess(&codes, random);
        let mut body = json!({
            "destinationNumber": self.number,
            "referenceId": format!("reference-{reference}"),
        });
        match route {
            Route::Verify => body["otp"] = json!(guess),
            Route::Redeem => body["claim"] = json!(true),
            _ => {}
        }
        let name = match route {
            Route::Send => "send",
            Route::Verify => "verify",
            Route::Cancel => "cancel",
            Route::Status | Route::Redeem => "status",
        };
        let key_name = key.map(|key| format!("{}-{reference}-{name}-{key}", &self.number[1..]));
        let event = event(name, &body, key_name.as_deref()).to_string();
        let (failures, overdue) = client.proxy.failures();
        let called = self.clock.fetch_add(1, Ordering::SeqCst);
        let started = Instant::now();
        let response = client.function.invoke(event);
        // A machine that pauses makes requests to the table time out without a fault of the proxy.
        let was_slow = started.elapsed() > SLOW;
        let returned = self.clock.fetch_add(1, Ordering::SeqCst);
        let (status, body) =
            http_response(&response).unwrap_or_else(|| panic!("not an HTTP response: {response}"));
        let answer = Answer::new(status, &body);
        let (now_failures, now_overdue) = client.proxy.failures();
        if route == Route::Send {
            self.read_text(reference, &answer);
        }
        self.made.lock().unwrap().push(Made {
            route,
            reference,
            key,
            guess,
            answer,
            had_faults: now_failures != failures || was_slow,
            had_overdue: now_overdue != overdue || was_slow,
            called,
            returned,
            ended: None,
            client: index,
        });
    }

    /// Notes whether all of a client's earlier requests are over, so that none of their steps can happen any more.
    fn note_ends(&self, index: usize, client: &Client) {
        if client.proxy.is_busy() {
            return;
        }
        let now = self.clock.fetch_add(1, Ordering::SeqCst);
        let mut made = self.made.lock().unwrap();
        for made in made.iter_mut().filter(|made| made.client == index) {
            made.ended.get_or_insert(now);
        }
    }

    /// Reads the code of the message that an answer names.
    fn read_text(&self, reference: usize, answer: &Answer) {
        let Some(message) = &answer.message else {
            return;
        };
        let texts = self.simulator.inbox().into_iter();
        let mut named = texts.filter(|text| text.message_id == *message);
        if let Some(text) = named.next() {
            self.codes[reference].lock().unwrap().push(text.code);
        }
    }
}

/// Chooses a guess: often the newest code, sometimes an older one, otherwise a wrong one that others may also guess.
fn choose_guess(codes: &[String], random: &mut Random) -> String {
    let older = random.below(codes.len() as u64);
    match (random.below(100), codes) {
        (0..45, [.., newest]) => newest.clone(),
        (45..60, [_, ..]) => codes[usize::try_from(older).unwrap()].clone(),
        (60..80, _) => format!("00000{}", random.below(3)),
        _ => format!("{:06}", random.below(1_000_000)),
    }
}
