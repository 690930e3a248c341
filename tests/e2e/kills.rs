//! Kills the function at random times, restarts it as Lambda does, and repeats the request as a client does. The
//! requests to the provider, the messages and the table are observed from outside. These observations show that no
//! limit is exceeded and no code gets lost.

use crate::function::{
    Function, Settings, event, hasher, http_response, settings_with_ledger, wrong,
};
use crate::outside::{Observation, item_name};
use crate::random::Random;
use crate::size::size;
use crate::table::Table;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

/// `allowedAttempts` of a code.
const ALLOWED: u64 = 3;

/// After this time, an unfinished request no longer blocks its idempotency key. A guess without an answer blocks a
/// repeat of this guess for only five seconds. A wait of this length is therefore long enough for every kind of
/// request.
const KEY_IN_USE: Duration = Duration::from_secs(31);

/// How many rounds run before all of them are closed and checked. If more rounds ran before the check, the codes of the
/// first rounds could expire.
const BATCH: usize = 200;

/// The request during which the function is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Send,
    SendWithKey,
    Resend,
    WrongGuess,
    /// A wrong guess, and further ones until the attempts are used up.
    WrongGuesses,
    RightGuess,
    RightGuessWithKey,
}

const ACTS: [Act; 7] = [
    Act::Send,
    Act::SendWithKey,
    Act::Resend,
    Act::WrongGuess,
    Act::WrongGuesses,
    Act::RightGuess,
    Act::RightGuessWithKey,
];

/// One verification during which the function is killed once.
struct Round {
    act: Act,
    number: String,
    reference: String,
    key: Option<String>,
    /// The state of the record after the kill.
    found: String,
    problems: Vec<String>,
    /// The attempts left in the record, over time.
    left: Vec<u64>,
    /// Successes, except repeated ones under the same idempotency key.
    successes: u64,
    /// Whether the provider has accepted the code although no response said so.
    used_up: bool,
}

impl Round {
    fn new(act: Act, index: usize) -> Self {
        Self {
            act,
            number: format!("+1425{:07}", FIRST + index),
            reference: reference(index),
            key: matches!(act, Act::SendWithKey | Act::RightGuessWithKey)
                .then(|| format!("key-{index}")),
            found: String::new(),
            problems: Vec::new(),
            left: Vec::new(),
            successes: 0,
            used_up: false,
        }
    }
}

/// The number of the first round, without the area code.
const FIRST: usize = 5_560_000;

/// The reference ID of a round.
fn reference(index: usize) -> String {
    format!("round-{index}")
}

struct Aws {
    simulator: Simulator,
    table: Table,
    function: Function,
    /// For the control: whether a kill also undoes the writes of the request.
    forgets: bool,
}

impl Aws {
    fn start(simulator: Simulator, forgets: bool) -> Self {
        let table = Table::start();
        let function = Function::start(&settings(&simulator, &table));
        Self {
            simulator,
            table,
            function,
            forgets,
        }
    }

    /// Makes one request. Returns `None` if the process ended before it responded.
    fn request(
        &self,
        route: &str,
        round: &Round,
        otp: Option<&str>,
        key: Option<&str>,
    ) -> Option<(u64, Value)> {
        let mut body = json!({ "destinationNumber": round.number, "referenceId": round.reference });
        if let Some(otp) = otp {
            body["otp"] = json!(otp);
        }
        let response = self
            .function
            .invoke_unless_killed(&event(route, &body, key).to_string())?;
        Some(http_response(&response).unwrap_or_else(|| panic!("not an HTTP response: {response}")))
    }

    /// Repeats the request as a client does, until there is a response.
    fn request_until_answered(
        &self,
        route: &str,
        round: &mut Round,
        otp: Option<&str>,
        key: Option<&str>,
    ) -> (u64, Value) {
        for _ in 0..5 {
            let response = self.request(route, round, otp, key);
            self.note_attempts(round);
            if let Some(response) = response {
                let (status, body) = &response;
                assert!(*status != 500, "{body}");
                // On a busy machine the table can be too slow. A client then waits and repeats the request.
                if body["code"] != "ledger_unavailable" {
                    return response;
                }
            }
        }
        panic!("the function did not restart: {}", self.function.log());
    }

    fn note_attempts(&self, round: &mut Round) {
        if let Some(left) = self.record(round)["left"].as_u64() {
            round.left.push(left);
        }
    }

    fn record(&self, round: &Round) -> Value {
        self.table
            .item(&item_name(&hasher(), &round.number, &round.reference))
    }

    fn code(&self, round: &Round) -> Option<String> {
        Some(self.simulator.newest_to(&round.number)?.code)
    }

    fn observe(&self) -> Observation {
        let index = |number: &str| number["+1425".len()..].parse::<usize>().unwrap() - FIRST;
        Observation::now(&self.simulator, &self.table)
            .with_plain(|number| vec![reference(index(number))])
    }

    /// Makes a request, and kills the function during it or shortly after.
    fn kill_during(
        &self,
        round: &mut Round,
        otp: Option<&str>,
        key: Option<&str>,
        wait: impl FnOnce(),
    ) {
        let before = self.forgets.then(|| self.table.scan());
        let route = if otp.is_some() { "verify" } else { "send" };
        let response = std::thread::scope(|scope| {
            let request = scope.spawn(|| self.request(route, round, otp, key));
            wait();
            let started = Instant::now();
            let process = loop {
                match self.function.process() {
                    Some(process) => break process,
                    // An earlier kill has met the process while it started. The next process is starting now.
                    None if started.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
                    None => panic!("the function has no process: {}", self.function.log()),
                }
            };
            let killed = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .status();
            assert!(killed.is_ok_and(|status| status.success()));
            request.join().unwrap()
        });
        if let Some(before) = before {
            // Writes that are still on their way get time to arrive.
            std::thread::sleep(Duration::from_millis(100));
            self.table.restore(&before);
        }
        if let Some((200, _)) = response {
            round.successes += 1;
        }
        let record = self.record(round);
        round.found = match (
            record["st"].as_str(),
            record["lo"].as_str(),
            response.is_some(),
        ) {
            (_, _, true) => "after the response".to_owned(),
            (None, ..) => "no record".to_owned(),
            (Some(state), None, _) => state.to_owned(),
            (Some(state), Some(outcome), _) => format!("{state}, guess {outcome}"),
        };
        self.note_attempts(round);
        // The process is gone. By now each message must have its record.
        let observed = self.observe();
        round.problems.extend(
            observed
                .message_problems()
                .into_iter()
                .filter(|problem| problem.contains(&round.number)),
        );
    }

    fn round(&self, act: Act, index: usize, random: &mut Random) -> Round {
        let mut round = Round::new(act, index);
        let key = round.key.clone();
        let key = key.as_deref();
        if !matches!(act, Act::Send | Act::SendWithKey) {
            assert_eq!(
                self.request_until_answered("send", &mut round, None, None)
                    .0,
                202
            );
        } else if random.chance(50) {
            // This starts the process before the kill. In the other rounds, the kill may meet the start.
            self.request_until_answered("status", &mut round, None, None);
        }
        let code = self.code(&round);
        let otp = match act {
            Act::Send | Act::SendWithKey | Act::Resend => None,
            Act::WrongGuess | Act::WrongGuesses => code.as_ref().map(|code| wrong(code, 0)),
            Act::RightGuess | Act::RightGuessWithKey => code.clone(),
        };
        let otp = otp.as_deref();
        let operation = if otp.is_some() {
            Operation::Verify
        } else {
            Operation::Send
        };
        // The provider is often slow, so that the kill hits the function while it waits for a response.
        if self.forgets {
            self.simulator
                .fail_next(operation, Failure::Slow(Duration::from_secs(1)));
            let asked = || self.simulator.requests(operation).len();
            let before = asked();
            self.kill_during(&mut round, otp, key, || {
                let started = Instant::now();
                while asked() == before {
                    assert!(
                        started.elapsed() < Duration::from_secs(10),
                        "nothing was asked"
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
                // The provider carries out the request before its slow response.
                std::thread::sleep(Duration::from_millis(50));
            });
        } else {
            if random.chance(33) {
                self.simulator.fail_next(
                    operation,
                    Failure::Slow(Duration::from_millis(random.below(40))),
                );
            }
            let after = Duration::from_micros(random.below(60_000));
            self.kill_during(&mut round, otp, key, || std::thread::sleep(after));
            self.simulator.clear_failures();
        }

        // A client that got no response repeats the request and goes on.
        let route = if otp.is_some() { "verify" } else { "send" };
        let (status, _) = self.request_until_answered(route, &mut round, otp, key);
        round.successes += u64::from(status == 200 && (key.is_none() || round.successes == 0));
        if act == Act::WrongGuesses
            && let Some(code) = &code
        {
            for nth in 1..6 {
                self.request_until_answered("verify", &mut round, Some(&wrong(code, nth)), None);
            }
        }
        round
    }

    /// Ends a round after all waits are over, and notes its problems.
    fn close(&self, round: &mut Round) {
        if round.act == Act::SendWithKey {
            let key = round.key.clone();
            let (status, body) = self.request_until_answered("send", round, None, key.as_deref());
            if status != 202 && body["delivery"] != "unknown" {
                round.problems.push(format!(
                    "a key with neither a response nor \"unknown\": {status} {body}"
                ));
            }
        }
        let observed = self.observe();
        if let Some(code) = observed.code(&round.number, &round.reference)
            && !code.used
            && code.attempts_left > 0
        {
            let record = observed.record(&round.number, &round.reference);
            let charged_away = record["left"] == json!(0);
            let (status, body) =
                self.request_until_answered("verify", round, Some(&code.code), None);
            round.successes += u64::from(status == 200);
            if status != 200 && !charged_away {
                round.problems.push(format!(
                    "a delivered code does not verify: {status} {body}, {record}"
                ));
            }
        }
    }

    fn check(round: &mut Round, observed: &Observation, message_problems: &[String]) {
        let (number, reference) = (round.number.as_str(), round.reference.as_str());
        let record = observed.record(number, reference);
        let (messages, guesses) = (
            observed.messages(number, reference),
            observed.guesses(number, reference),
        );
        let charged = record["left"].as_u64().map_or(0, |left| ALLOWED - left);
        round.used_up = round.successes == 0
            && observed
                .code(number, reference)
                .is_some_and(|code| code.used);
        let mut problems: Vec<_> = message_problems
            .iter()
            .filter(|problem| problem.contains(number))
            .cloned()
            .collect();
        if round.act == Act::SendWithKey && messages > 1 {
            problems.push(format!("a key with {messages} messages"));
        }
        if guesses > ALLOWED {
            problems.push(format!(
                "{guesses} guesses at the provider, {ALLOWED} allowed"
            ));
        }
        if guesses > charged {
            problems.push(format!(
                "{guesses} guesses at the provider, {charged} charged"
            ));
        }
        if round
            .left
            .windows(2)
            .any(|pair| matches!(pair, [before, after] if after > before))
        {
            problems.push(format!("an attempt came back: {:?}", round.left));
        }
        if round.successes > 1 {
            problems.push(format!("{} successes of one code", round.successes));
        }
        let is_verified = record["st"] == "verified";
        if round.successes > 0 && !is_verified {
            problems.push(format!("a success without its record: {record}"));
        }
        let failures = observed.number(number)["f"].as_u64().unwrap_or(0);
        if !is_verified && failures < guesses {
            problems.push(format!(
                "{guesses} guesses about the number at the provider, {failures} charged to the number"
            ));
        }
        round.problems.append(&mut problems);
    }

    fn run(&self, kills: usize, random: &mut Random) -> Vec<Round> {
        let mut rounds = Vec::new();
        while rounds.len() < kills {
            let first = rounds.len();
            for index in first..kills.min(first + BATCH) {
                let act = ACTS[index % ACTS.len()];
                rounds.push(self.round(act, index, random));
            }
            std::thread::sleep(KEY_IN_USE);
            let (_, batch) = rounds.split_at_mut(first);
            for round in &mut *batch {
                self.close(round);
            }
            let observed = self.observe();
            let message_problems = observed.message_problems();
            for round in batch {
                Self::check(round, &observed, &message_problems);
            }
            self.simulator.reset();
            self.table.wipe();
        }
        rounds
    }
}

fn settings(simulator: &Simulator, table: &Table) -> Settings {
    let mut settings = settings_with_ledger(&simulator.url(), &table.url());
    settings.extend([
        ("SEND_LIMITS", "20/1h".to_owned()),
        ("PREFIX_LIMITS", "none".to_owned()),
        ("BUDGETS", "none".to_owned()),
        ("LOG_LEVEL", "info".to_owned()),
    ]);
    settings
}

/// Prints, for each act, the states of the record that the kills met.
#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
fn print(rounds: &[Round], elapsed: Duration) {
    let mut table: BTreeMap<Act, BTreeMap<&str, usize>> = BTreeMap::new();
    for round in rounds {
        *table
            .entry(round.act)
            .or_default()
            .entry(&round.found)
            .or_default() += 1;
    }
    println!("\n{:<20} found after the kill", "killed during");
    for (act, found) in &table {
        let found: Vec<_> = found
            .iter()
            .map(|(state, count)| format!("{state} {count}"))
            .collect();
        println!("{:<20} {}", format!("{act:?}"), found.join(" · "));
    }
    let problems: usize = rounds.iter().map(|round| round.problems.len()).sum();
    let used_up = rounds.iter().filter(|round| round.used_up).count();
    println!(
        "kills: {} in {} s, {problems} problems; {used_up} right codes used up at the provider without a response",
        rounds.len(),
        elapsed.as_secs()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn kills_lose_no_limit_and_no_code() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let rounds = tokio::task::spawn_blocking(move || {
        let aws = Aws::start(simulator, false);
        let kills = usize::try_from(size("OTP_KILLS", 14, 42)).unwrap();
        // This makes a send take as long as the span of the kills.
        aws.table.slow_down(Duration::from_millis(3));
        let started = Instant::now();
        let rounds = aws.run(kills, &mut Random::new(0x0719));
        print(&rounds, started.elapsed());
        rounds
    })
    .await
    .unwrap();
    let problems: Vec<_> = rounds
        .iter()
        .flat_map(|round| {
            round
                .problems
                .iter()
                .map(move |problem| (round.act, problem))
        })
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let in_between = rounds
        .iter()
        .filter(|round| round.found != "after the response" && round.found != "no record");
    assert!(
        in_between.count() * 8 > rounds.len(),
        "most kills came too early or too late to test anything"
    );
}

/// Callers know a verification by its plain reference. If a send is killed between its record and its message, no
/// message has the plain reference. The function cannot know whether that message was sent. So it sends the next code
/// under another reference, which is derived from the plain one. The checks must still find the record of that next
/// code.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_code_after_one_that_never_left_has_its_record() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let aws = Aws::start(simulator, false);
        let round = Round::new(Act::Send, 0);
        aws.simulator
            .fail_next(Operation::Send, Failure::InternalServerError);
        let (_, unclear) = aws.request("send", &round, None, None).unwrap();
        assert_eq!(unclear["delivery"], "unknown", "{unclear}");
        let (status, body) = aws.request("send", &round, None, None).unwrap();
        assert_eq!(status, 202, "{body}");
        assert_eq!(aws.observe().message_problems(), [""; 0]);
        // The control: without the reference that the caller used, the record is not found.
        let unnamed = Observation::now(&aws.simulator, &aws.table);
        assert_eq!(unnamed.message_problems().len(), 1);
    })
    .await
    .unwrap();
}

/// The control: with a ledger that is written after the call to the provider, the checks find problems.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn checks_detect_a_ledger_that_loses_writes() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let rounds = tokio::task::spawn_blocking(move || {
        let aws = Aws::start(simulator, true);
        let mut random = Random::new(1);
        let mut rounds: Vec<_> = [
            Act::Send,
            Act::SendWithKey,
            Act::WrongGuess,
            Act::WrongGuesses,
        ]
        .into_iter()
        .enumerate()
        .map(|(index, act)| aws.round(act, index, &mut random))
        .collect();
        let observed = aws.observe();
        let message_problems = observed.message_problems();
        for round in &mut rounds {
            Aws::check(round, &observed, &message_problems);
        }
        rounds
    })
    .await
    .unwrap();
    for (act, expected) in [
        (Act::Send, "a message without a record"),
        (Act::SendWithKey, "a key with 2 messages"),
        (Act::WrongGuess, "2 guesses at the provider, 1 charged"),
        (Act::WrongGuesses, "4 guesses at the provider, 3 allowed"),
    ] {
        let round = rounds.iter().find(|round| round.act == act).unwrap();
        assert!(
            round
                .problems
                .iter()
                .any(|problem| problem.contains(expected)),
            "{act:?}, {}: {:#?}",
            round.found,
            round.problems
        );
    }
}
