//! The function is killed at random moments, restarted as Lambda would, and asked again as a client would. What must
//! hold all the same is looked at from outside.

use crate::function::{
    Function, Settings, event, http_answer, ledger_keys, settings_with_ledger, wrong,
};
use crate::outside::{Seen, record_key};
use crate::random::Random;
use crate::table::Table;
use serde_json::{Value, json};
use simulator::{Failure, Operation, Simulator};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

/// Guesses that a code allows.
const ALLOWED: u64 = 3;

/// As long as an idempotency key is waited for. A guess is for five seconds.
const KEY_IN_USE: Duration = Duration::from_secs(31);

/// Rounds after which what they left behind is looked at, so that no code expires meanwhile.
const BATCH: usize = 200;

/// What is going on when the function is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Send,
    SendWithKey,
    Resend,
    WrongGuess,
    /// And after it as many more as it takes.
    WrongGuesses,
    RightGuess,
    RightGuessWithKey,
}

const DEEDS: [Deed; 7] = [
    Deed::Send,
    Deed::SendWithKey,
    Deed::Resend,
    Deed::WrongGuess,
    Deed::WrongGuesses,
    Deed::RightGuess,
    Deed::RightGuessWithKey,
];

/// One verification, during which the function was killed once.
struct Round {
    deed: Deed,
    number: String,
    reference: String,
    key: Option<String>,
    /// The state that the kill left behind.
    found: String,
    /// What was wrong with that already.
    problems: Vec<String>,
    /// Attempts left, as the record had them from time to time.
    left: Vec<u64>,
    /// Right answers that were not told before under the same key.
    yes: u64,
    /// Whether the provider had taken the code when the function died, and nobody was told.
    used_up: bool,
}

struct Aws {
    simulator: Simulator,
    table: Table,
    function: Function,
    /// Whether everything that was written before a kill is lost with it.
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

    /// One request; nothing if the function's process ended before it answered.
    fn ask(
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
        let answer = self
            .function
            .invoke_unless_killed(&event(route, &body, key).to_string())?;
        Some(http_answer(&answer).unwrap_or_else(|| panic!("no HTTP answer: {answer}")))
    }

    /// The same, as a client asks: until there is an answer.
    fn ask_until_answered(
        &self,
        route: &str,
        round: &mut Round,
        otp: Option<&str>,
        key: Option<&str>,
    ) -> (u64, Value) {
        for _ in 0..5 {
            let answer = self.ask(route, round, otp, key);
            self.note(round);
            if let Some(answer) = answer {
                let (status, body) = &answer;
                assert!(*status != 500, "{body}");
                // The table beside a busy machine's other work: a client waits and asks again.
                if body["code"] != "ledger_unavailable" {
                    return answer;
                }
            }
        }
        panic!("the function is not restarted: {}", self.function.log());
    }

    fn note(&self, round: &mut Round) {
        if let Some(left) = self.record(round)["left"].as_u64() {
            round.left.push(left);
        }
    }

    fn record(&self, round: &Round) -> Value {
        self.table
            .item(&record_key(&ledger_keys(), &round.number, &round.reference))
    }

    fn code(&self, round: &Round) -> Option<String> {
        Some(self.simulator.newest_to(&round.number)?.code)
    }

    fn see(&self) -> Seen {
        Seen::now(&self.simulator, &self.table)
    }

    /// Lets the function do something, and kills it meanwhile, or shortly after.
    fn kill_during(
        &self,
        round: &mut Round,
        otp: Option<&str>,
        key: Option<&str>,
        after: Duration,
    ) {
        let before = self.forgets.then(|| self.table.scan());
        let route = if otp.is_some() { "verify" } else { "send" };
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.ask(route, round, otp, key));
            std::thread::sleep(after);
            let started = Instant::now();
            let process = loop {
                match self.function.process() {
                    Some(process) => break process,
                    // A kill before was during the last start: this one is only just beginning.
                    None if started.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
                    None => panic!("there is no process: {}", self.function.log()),
                }
            };
            let killed = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .status();
            assert!(killed.is_ok_and(|status| status.success()));
            asked.join().unwrap()
        });
        if let Some(before) = before {
            // What it had asked of the table is on its way, and would come after.
            std::thread::sleep(Duration::from_millis(100));
            self.table.restore(&before);
        }
        if let Some((200, _)) = answer {
            round.yes += 1;
        }
        let record = self.record(round);
        round.found = match (
            record["st"].as_str(),
            record["lo"].as_str(),
            answer.is_some(),
        ) {
            (_, _, true) => "after the answer".to_owned(),
            (None, ..) => "no record".to_owned(),
            (Some(state), None, _) => state.to_owned(),
            (Some(state), Some(said), _) => format!("{state}, guess {said}"),
        };
        self.note(round);
        // Nothing writes a record from here on: whatever text has left must have one.
        let seen = self.see();
        round.problems.extend(
            seen.problems_of_texts()
                .into_iter()
                .filter(|problem| problem.contains(&round.number)),
        );
    }

    fn round(&self, deed: Deed, index: usize, random: &mut Random) -> Round {
        let mut round = Round {
            deed,
            number: format!("+1425{:07}", 5_560_000 + index),
            reference: format!("round-{index}"),
            key: matches!(deed, Deed::SendWithKey | Deed::RightGuessWithKey)
                .then(|| format!("key-{index}")),
            found: String::new(),
            problems: Vec::new(),
            left: Vec::new(),
            yes: 0,
            used_up: false,
        };
        let key = round.key.clone();
        let key = key.as_deref();
        if !matches!(deed, Deed::Send | Deed::SendWithKey) {
            assert_eq!(
                self.ask_until_answered("send", &mut round, None, None).0,
                202
            );
        } else if random.chance(50) {
            // Else the kill may meet the start of the process.
            self.ask_until_answered("status", &mut round, None, None);
        }
        let code = self.code(&round);
        let otp = match deed {
            Deed::Send | Deed::SendWithKey | Deed::Resend => None,
            Deed::WrongGuess | Deed::WrongGuesses => code.as_ref().map(|code| wrong(code, 0)),
            Deed::RightGuess | Deed::RightGuessWithKey => code.clone(),
        };
        let otp = otp.as_deref();
        let operation = if otp.is_some() {
            Operation::Verify
        } else {
            Operation::Send
        };
        // One of three kills is to meet the function while it waits for the provider.
        if self.forgets {
            self.simulator
                .fail_next(operation, Failure::Slow(Duration::from_millis(300)));
            self.kill_during(&mut round, otp, key, Duration::from_millis(200));
        } else {
            if random.chance(33) {
                self.simulator.fail_next(
                    operation,
                    Failure::Slow(Duration::from_millis(random.below(40))),
                );
            }
            self.kill_during(
                &mut round,
                otp,
                key,
                Duration::from_micros(random.below(60_000)),
            );
            self.simulator.clear_failures();
        }

        // As a client does that got no answer: once more the same, and then what comes next.
        let route = if otp.is_some() { "verify" } else { "send" };
        let (status, _) = self.ask_until_answered(route, &mut round, otp, key);
        round.yes += u64::from(status == 200 && (key.is_none() || round.yes == 0));
        if deed == Deed::WrongGuesses
            && let Some(code) = &code
        {
            for nth in 1..6 {
                self.ask_until_answered("verify", &mut round, Some(&wrong(code, nth)), None);
            }
        }
        round
    }

    /// What comes of a round when every wait is over, and everything that is wrong with it.
    fn close(&self, round: &mut Round) {
        if round.deed == Deed::SendWithKey {
            let key = round.key.clone();
            let (status, body) = self.ask_until_answered("send", round, None, key.as_deref());
            if status != 202 && body["delivery"] != "unknown" {
                round.problems.push(format!(
                    "a key with neither answer nor \"unknown\": {status} {body}"
                ));
            }
        }
        let seen = self.see();
        if let Some(code) = seen.code(&round.number, &round.reference)
            && !code.used
            && code.attempts_left > 0
        {
            let record = seen.record(&round.number, &round.reference);
            let charged_away = record["left"] == json!(0);
            let (status, body) = self.ask_until_answered("verify", round, Some(&code.code), None);
            round.yes += u64::from(status == 200);
            if status != 200 && !charged_away {
                round.problems.push(format!(
                    "a delivered code is not good: {status} {body}, {record}"
                ));
            }
        }
    }

    fn judge(round: &mut Round, seen: &Seen, of_texts: &[String]) {
        let (number, reference) = (round.number.as_str(), round.reference.as_str());
        let record = seen.record(number, reference);
        let (texts, asked) = (seen.texts(number, reference), seen.asked(number, reference));
        let charged = record["left"].as_u64().map_or(0, |left| ALLOWED - left);
        round.used_up =
            round.yes == 0 && seen.code(number, reference).is_some_and(|code| code.used);
        let mut problems: Vec<_> = of_texts
            .iter()
            .filter(|problem| problem.contains(number))
            .cloned()
            .collect();
        if round.deed == Deed::SendWithKey && texts > 1 {
            problems.push(format!("a key with {texts} texts"));
        }
        if asked > ALLOWED {
            problems.push(format!("{asked} guesses asked, {ALLOWED} allowed"));
        }
        if asked > charged {
            problems.push(format!("{asked} guesses asked, {charged} charged"));
        }
        if round
            .left
            .windows(2)
            .any(|pair| matches!(pair, [before, after] if after > before))
        {
            problems.push(format!("an attempt came back: {:?}", round.left));
        }
        if round.yes > 1 {
            problems.push(format!("{} successes of one code", round.yes));
        }
        let is_verified = record["st"] == "verified";
        if round.yes > 0 && !is_verified {
            problems.push(format!("a success without its record: {record}"));
        }
        let failures = seen.number(number)["f"].as_u64().unwrap_or(0);
        if !is_verified && failures < asked {
            problems.push(format!(
                "{asked} guesses asked about the number, {failures} charged to it"
            ));
        }
        round.problems.append(&mut problems);
    }

    fn run(&self, kills: usize, random: &mut Random) -> Vec<Round> {
        let mut rounds = Vec::new();
        while rounds.len() < kills {
            let first = rounds.len();
            for index in first..kills.min(first + BATCH) {
                let deed = DEEDS[index % DEEDS.len()];
                rounds.push(self.round(deed, index, random));
            }
            std::thread::sleep(KEY_IN_USE);
            let (_, batch) = rounds.split_at_mut(first);
            for round in &mut *batch {
                self.close(round);
            }
            let seen = self.see();
            let of_texts = seen.problems_of_texts();
            for round in batch {
                Self::judge(round, &seen, &of_texts);
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

fn kills() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test that is longer on demand")]
    std::env::var("OTP_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(42)
}

/// What was killed when, for people.
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn print(rounds: &[Round], elapsed: Duration) {
    let mut table: BTreeMap<Deed, BTreeMap<&str, usize>> = BTreeMap::new();
    for round in rounds {
        *table
            .entry(round.deed)
            .or_default()
            .entry(&round.found)
            .or_default() += 1;
    }
    println!("\n{:<20} found after the kill", "killed during");
    for (deed, found) in &table {
        let found: Vec<_> = found
            .iter()
            .map(|(state, count)| format!("{state} {count}"))
            .collect();
        println!("{:<20} {}", format!("{deed:?}"), found.join(" · "));
    }
    let problems: usize = rounds.iter().map(|round| round.problems.len()).sum();
    let used_up = rounds.iter().filter(|round| round.used_up).count();
    println!(
        "kills: {} in {} s, {problems} problems; {used_up} right codes were used up at the provider without an answer",
        rounds.len(),
        elapsed.as_secs()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn whenever_the_function_is_killed_no_limit_and_no_code_is_lost() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let rounds = tokio::task::spawn_blocking(move || {
        let aws = Aws::start(simulator, false);
        // So that a send takes as long as the kills are spread over.
        aws.table.slow_down(Duration::from_millis(3));
        let started = Instant::now();
        let rounds = aws.run(kills(), &mut Random::new(0x0719));
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
                .map(move |problem| (round.deed, problem))
        })
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let in_between = rounds
        .iter()
        .filter(|round| round.found != "after the answer" && round.found != "no record");
    assert!(
        in_between.count() * 4 > rounds.len(),
        "most kills came too early or too late to mean anything"
    );
}

/// The control: the same eyes see what would go wrong if the ledger were written after the provider was asked.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_ledger_that_forgets_what_was_before_the_kill_is_noticed() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let rounds = tokio::task::spawn_blocking(move || {
        let aws = Aws::start(simulator, true);
        let mut random = Random::new(1);
        let mut rounds: Vec<_> = [
            Deed::Send,
            Deed::SendWithKey,
            Deed::WrongGuess,
            Deed::WrongGuesses,
        ]
        .into_iter()
        .enumerate()
        .map(|(index, deed)| aws.round(deed, index, &mut random))
        .collect();
        let seen = aws.see();
        let of_texts = seen.problems_of_texts();
        for round in &mut rounds {
            Aws::judge(round, &seen, &of_texts);
        }
        rounds
    })
    .await
    .unwrap();
    for (deed, expected) in [
        (Deed::Send, "a text without a record"),
        (Deed::SendWithKey, "a key with 2 texts"),
        (Deed::WrongGuess, "2 guesses asked, 1 charged"),
        (Deed::WrongGuesses, "4 guesses asked, 3 allowed"),
    ] {
        let round = rounds.iter().find(|round| round.deed == deed).unwrap();
        assert!(
            round
                .problems
                .iter()
                .any(|problem| problem.contains(expected)),
            "{deed:?}, {}: {:#?}",
            round.found,
            round.problems
        );
    }
}
