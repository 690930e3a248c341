//! The ledger's writes have conditions, and each condition consists of clauses. These tests remove one clause from the
//! requests on their way to the table, and then expect that the ledger breaks its contract. They do so for every
//! clause. This shows that each clause is needed.

use crate::emulator::{Emulator, Request, keep_what_is_used, remove};
use crate::shared::{
    AGAIN, FAILED, HOLDER, MINUTE, OPENING, START, USED_UNTIL, WINDOWS, as_opened, at, charge,
    digest, done, guess, paid, reserve, seconds, sent, spend, spending, success, the_counter,
    the_key, the_number, the_verification,
};
use crate::{contract, dynamodb};
use futures_util::FutureExt;
use otp_lambda::ledger::{
    GUESS_PENDING, GUESS_STOPS, GuessOutcome, KEY_KEPT, KeyReservation, Ledger, Opening, Question,
    Reservation, Seen, Settled, State,
};
use serde_json::Value;
use simulator::sized;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Leaf(String),
    In(String, Vec<String>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A part that can be removed from a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Clause {
    /// It must hold. Without it the condition allows more.
    Required(String),
    /// One of several of which one must hold. Without it the condition allows less.
    Alternative(String),
}

impl Node {
    fn parse(text: &str) -> Self {
        let several = |parts: Vec<&str>| parts.into_iter().map(Self::parse).collect();
        let any = split(text, " OR ");
        if any.len() > 1 {
            return Self::Any(several(any));
        }
        let all = split(text, " AND ");
        if all.len() > 1 {
            return Self::All(several(all));
        }
        if let Some(inner) = text.strip_prefix('(') {
            return Self::parse(inner.strip_suffix(')').unwrap());
        }
        match text.split_once(" IN (") {
            Some((operand, list)) => {
                let options = list
                    .strip_suffix(')')
                    .unwrap()
                    .split(", ")
                    .map(str::to_owned);
                Self::In(operand.to_owned(), options.collect())
            }
            None => Self::Leaf(text.to_owned()),
        }
    }

    fn render(&self) -> String {
        let inside = |node: &Self| match node {
            Self::All(_) | Self::Any(_) => format!("({})", node.render()),
            _ => node.render(),
        };
        let several =
            |nodes: &[Self], word: &str| nodes.iter().map(inside).collect::<Vec<_>>().join(word);
        match self {
            Self::Leaf(text) => text.clone(),
            Self::In(operand, options) => format!("{operand} IN ({})", options.join(", ")),
            Self::All(nodes) => several(nodes, " AND "),
            Self::Any(nodes) => several(nodes, " OR "),
        }
    }

    fn clauses(&self, root: bool) -> Vec<Clause> {
        let mut clauses = Vec::new();
        if root && !matches!(self, Self::All(_)) {
            clauses.push(Clause::Required(self.render()));
        }
        match self {
            Self::Leaf(_) => {}
            Self::In(operand, options) => {
                clauses.extend(
                    options
                        .iter()
                        .map(|option| Clause::Alternative(format!("{operand} IN ({option})"))),
                );
            }
            Self::All(nodes) | Self::Any(nodes) => {
                for node in nodes {
                    let text = node.render();
                    clauses.push(match self {
                        Self::All(_) => Clause::Required(text),
                        _ => Clause::Alternative(text),
                    });
                    clauses.extend(node.clauses(false));
                }
            }
        }
        clauses
    }

    fn without(self, clause: &str) -> Option<Self> {
        if self.render() == clause {
            return None;
        }
        let without = |nodes: Vec<Self>| {
            nodes
                .into_iter()
                .filter_map(|node| node.without(clause))
                .collect::<Vec<_>>()
        };
        let group = |mut nodes: Vec<Self>, all: bool| match nodes.len() {
            0 => None,
            1 => nodes.pop(),
            _ => Some(if all {
                Self::All(nodes)
            } else {
                Self::Any(nodes)
            }),
        };
        match self {
            Self::Leaf(_) => Some(self),
            Self::In(operand, options) => {
                let kept = options
                    .into_iter()
                    .filter(|option| format!("{operand} IN ({option})") != clause);
                Some(Self::In(operand.clone(), kept.collect()))
            }
            Self::All(nodes) => group(without(nodes), true),
            Self::Any(nodes) => group(without(nodes), false),
        }
    }
}

/// Splits a text at the word, except inside parentheses.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut depth, mut begin) = (0, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ' ' if depth == 0 && text[index..].starts_with(word) => {
                parts.push(&text[begin..index]);
                begin = index + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

impl Clause {
    fn text(&self) -> &str {
        match self {
            Self::Required(text) | Self::Alternative(text) => text,
        }
    }
}

/// The step for which the adapter sends this update.
fn step_of(update: &str) -> &'static str {
    let steps = [
        ("ADD #n ", "count"),
        ("SET #n = #n - ", "uncount"),
        ("ADD #m", "spend"),
        ("SET #m = #m - ", "refund"),
        ("SET #st = :claimed", "claim_key"),
        ("SET #t20 = ", "reserve_send with failures"),
        ("SET #f = if_not_exists", "charge_number"),
        ("SET #f = :zero, #ttl = :ttl, #ep = :next", "clear_failures"),
        ("SET #f = #f - :charged", "clear_failures in part"),
        ("SET #gen = :next, #st = :state", "open"),
        ("SET #gen = :next, #st = :reserved", "reopen"),
        ("SET #st = :sent, #prov = :prov, #mid", "settle Sent"),
        (
            "SET #st = :sent, #prov = :prov REMOVE #mid",
            "settle Sent without ID",
        ),
        ("SET #st = :released", "release_key"),
        ("SET #st = :done", "finish_key"),
        ("SET #st = :unclear REMOVE #ans", "finish_key unclear"),
        ("SET #st = :unclear", "settle Unclear"),
        ("SET #st = :failed", "settle Failed"),
        ("SET #st = :state", "settle Back"),
        ("SET #left = #left - :one", "spend_attempt"),
        ("SET #lo = :said", "note_answer"),
        ("SET #st = :verified", "consume"),
        ("SET #st = :canceled", "cancel"),
        ("SET #claimed", "claim"),
    ];
    let step = steps
        .iter()
        .find(|(beginning, _)| update.starts_with(beginning));
    match step.unwrap_or_else(|| panic!("no step sends {update}")).1 {
        "reserve_send with failures" if update.contains(":ttl") => "reserve_send",
        step => step,
    }
}

type Clauses = BTreeSet<(&'static str, Clause)>;

fn condition(body: &Value) -> Option<(&'static str, Node)> {
    // Every update has this clause, and only a repeated update needs it: see `repeats`.
    let condition = body["ConditionExpression"]
        .as_str()?
        .strip_suffix(" AND #w <> :mark")?;
    let update = body["UpdateExpression"].as_str().unwrap();
    Some((
        step_of(&update.replacen("#w = :mark, ", "", 1)),
        Node::parse(condition),
    ))
}

fn clauses_of(requests: &[Request]) -> Clauses {
    let conditions = requests
        .iter()
        .filter_map(|request| condition(&request.body));
    conditions
        .flat_map(|(step, node)| {
            node.clauses(true)
                .into_iter()
                .map(move |clause| (step, clause))
        })
        .collect()
}

/// An emulator that removes a clause from its requests, and the number of requests that had it.
fn without(step: &'static str, clause: &Clause) -> (Emulator, Arc<AtomicUsize>) {
    let emulator = Emulator::new();
    let times = Arc::new(AtomicUsize::new(0));
    let (clause, count) = (clause.text().to_owned(), times.clone());
    emulator.rewrite(move |request| {
        let Some((of, node)) = condition(&request.body) else {
            return;
        };
        if of != step {
            return;
        }
        let whole = node.render();
        let left = node.without(&clause).map(|node| node.render());
        if left.as_ref() == Some(&whole) {
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
        match left {
            Some(left) => request.body["ConditionExpression"] = left.into(),
            None => remove(&mut request.body, "ConditionExpression"),
        }
        keep_what_is_used(&mut request.body);
    });
    (emulator, times)
}

thread_local! {
    static EXPECTS_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the test ends without a panic.
async fn passes(case: impl Future<Output = ()>) -> bool {
    AssertUnwindSafe(case).catch_unwind().await.is_ok()
}

/// Takes the step where nothing speaks against it. Nothing here depends on a refusal.
async fn goes_well(step: &str, ledger: &dyn Ledger) {
    match step {
        "count" | "uncount" => counters_go_well(ledger).await,
        "spend" | "refund" => budgets_go_well(ledger).await,
        "claim_key" | "release_key" | "finish_key" | "finish_key unclear" => {
            keys_go_well(ledger).await;
        }
        "charge_number" => numbers_go_well(ledger).await,
        step if step.starts_with("reserve_send") || step.starts_with("clear_failures") => {
            numbers_go_well(ledger).await;
        }
        _ => verifications_go_well(ledger).await,
    }
}

async fn counters_go_well(ledger: &dyn Ledger) {
    for _ in 0..2 {
        assert!(ledger.count(&the_counter(), 9, at(MINUTE)).await.unwrap());
    }
    ledger.uncount(&the_counter()).await.unwrap();
}

async fn budgets_go_well(ledger: &dyn Ledger) {
    for lines in [
        &[("m", 1, 9), ("u", 5, 100)][..],
        &[("m", 1, 9), ("m13", 1, 9), ("mUS", 1, 9)][..],
    ] {
        let text = spending(lines);
        for _ in 0..2 {
            assert_eq!(spend(ledger, &text).await, None);
        }
        ledger.refund(&text).await.unwrap();
    }
}

async fn keys_go_well(ledger: &dyn Ledger) {
    let key = the_key();
    for now in [START, seconds(1)] {
        assert!(matches!(
            ledger
                .reserve_key(&key, HOLDER, &digest("f"), now)
                .await
                .unwrap(),
            KeyReservation::Reserved
        ));
        ledger.release_key(&key, HOLDER).await.unwrap();
    }
    assert!(matches!(
        ledger
            .reserve_key(&key, HOLDER, &digest("f"), START)
            .await
            .unwrap(),
        KeyReservation::Reserved
    ));
    ledger.finish_key(&key, HOLDER, None).await.unwrap();
    ledger
        .finish_key(&key, HOLDER, Some("answer"))
        .await
        .unwrap();
    assert!(matches!(
        ledger
            .reserve_key(&key, HOLDER, &digest("f"), at(KEY_KEPT))
            .await
            .unwrap(),
        KeyReservation::Reserved
    ));
}

async fn numbers_go_well(ledger: &dyn Ledger) {
    let key = the_number();
    let takes = async |now| {
        assert!(matches!(
            reserve(ledger, WINDOWS, now).await,
            Reservation::Reserved(_)
        ));
    };
    let mut now = START;
    for _ in 0..4 {
        takes(now).await;
        now = now.plus(10 * MINUTE);
    }
    for stop in GUESS_STOPS {
        let first = charge(ledger, now).await;
        takes(now).await;
        for _ in 1..stop.failures {
            charge(ledger, now).await;
        }
        now = now.plus(stop.wait);
        takes(now).await;
        ledger.clear_failures(&key, first, now).await.unwrap();
        let last = charge(ledger, now).await;
        ledger.clear_failures(&key, last, now).await.unwrap();
        now = now.plus(10 * MINUTE);
        takes(now).await;
        now = now.plus(10 * MINUTE);
    }
    ledger.unlock(&key, now).await.unwrap();
    ledger.charge_number(&key, 0, now).await.unwrap();
}

async fn verifications_go_well(ledger: &dyn Ledger) {
    let key = the_verification();
    let earlier = as_opened();
    for (seen, outcome) in (1..).zip([
        sent(Some("m")),
        sent(None),
        Settled::Unclear,
        FAILED,
        Settled::Back(&earlier),
    ]) {
        assert!(
            ledger
                .open(&key, (seen > 1).then(|| seen - 1), &OPENING)
                .await
                .unwrap()
        );
        ledger.settle(&key, seen, HOLDER, &outcome).await.unwrap();
    }
    let session = digest("session");
    assert!(
        ledger
            .open(
                &key,
                Some(5),
                &Opening {
                    left: 9,
                    owner: Some(&session),
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    let opened = Seen {
        generation: 6,
        state: State::Reserved,
    };
    assert!(ledger.reopen(&key, opened, &AGAIN).await.unwrap());
    paid(guess(ledger, "a", START).await);
    ledger
        .note_answer(&key, 7, &digest("a"), GuessOutcome::Unclear)
        .await
        .unwrap();
    paid(guess(ledger, "a", START).await);
    paid(guess(ledger, "a", at(GUESS_PENDING)).await);
    paid(guess(ledger, "b", START).await);
    let question = Question {
        session,
        nonce: digest("nonce"),
    };
    paid(
        ledger
            .spend_attempt(&key, &digest("c"), Some(&question), START)
            .await
            .unwrap(),
    );
    done(
        ledger
            .consume(&key, 7, &success("w"), USED_UNTIL)
            .await
            .unwrap(),
    );
    assert!(
        ledger
            .open(
                &key,
                Some(7),
                &Opening {
                    state: State::Sent,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    done(
        ledger
            .consume(&key, 8, &success("w"), USED_UNTIL)
            .await
            .unwrap(),
    );
    done(
        ledger
            .redeem(&key, 8, &digest("c"), at(MINUTE))
            .await
            .unwrap(),
    );
    assert!(ledger.open(&key, Some(8), &OPENING).await.unwrap());
    done(ledger.cancel(&key, 9, START).await.unwrap());
}

#[tokio::test]
async fn every_clause_is_needed() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !EXPECTS_PANICS.get() {
            default(info);
        }
    }));

    let emulator = Emulator::new();
    for step in ["count", "spend", "claim_key", "charge_number", "open"] {
        goes_well(step, &emulator.ledger()).await;
    }
    let clauses = clauses_of(&emulator.requests());

    // The clauses that each test sends. The tests with the fewest requests come first.
    let mut cases: Vec<(usize, usize, Clauses)> = Vec::new();
    for index in 0..contract::CASES.len() + dynamodb::CASES.len() {
        let emulator = Emulator::new();
        run(index, &emulator).await;
        let requests = emulator.requests();
        cases.push((requests.len(), index, clauses_of(&requests)));
    }
    cases.sort();
    let shapes = |clauses: &Clauses| -> BTreeSet<(&str, String)> {
        clauses
            .iter()
            .map(|(step, clause)| (*step, without_numbers(clause.text())))
            .collect()
    };
    let known = shapes(&clauses);
    for (_, index, sent) in &cases {
        let unknown: Vec<_> = shapes(sent).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{} sends {unknown:?}", name(*index));
    }

    let mut noticed = BTreeSet::new();
    let mut survivors = Vec::new();
    let every = sized(6, 1);
    for (step, clause) in clauses.iter().step_by(every) {
        let (emulator, times) = without(step, clause);
        EXPECTS_PANICS.set(matches!(clause, Clause::Alternative(_)));
        let well = passes(goes_well(step, &emulator.ledger())).await;
        EXPECTS_PANICS.set(false);
        assert!(
            times.load(Ordering::Relaxed) > 0,
            "{step}: {clause:?} is never sent"
        );
        for request in emulator.requests() {
            assert!(
                ["", "ConditionalCheckFailedException"].contains(&request.answer.1.as_str()),
                "{request:?}"
            );
        }
        assert!(
            well || matches!(clause, Clause::Alternative(_)),
            "{step}: {clause:?}"
        );

        let sent = (*step, clause.clone());
        let mut is_noticed = false;
        for (_, index, _) in cases.iter().filter(|(_, _, all)| all.contains(&sent)) {
            let (emulator, _) = without(step, clause);
            EXPECTS_PANICS.set(true);
            is_noticed = !passes(run(*index, &emulator)).await;
            EXPECTS_PANICS.set(false);
            if is_noticed {
                break;
            }
        }
        let line = format!("{step}: {}", clause.text());
        if is_noticed {
            noticed.insert(line);
        } else {
            survivors.push(line);
        }
    }
    assert!(
        survivors.is_empty(),
        "not noticed:\n{}",
        survivors.join("\n")
    );
    let all: Vec<String> = clauses
        .iter()
        .map(|(step, clause)| format!("{step}: {}", clause.text()))
        .collect();
    let distinct: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), EXPECTED);
    assert_eq!(noticed, all.into_iter().step_by(every).collect());
}

fn name(index: usize) -> &'static str {
    let (contract, more) = (contract::CASES, dynamodb::CASES);
    contract
        .get(index)
        .map_or_else(|| more[index - contract.len()].0, |case| case.0)
}

async fn run(index: usize, emulator: &Emulator) {
    match contract::CASES.get(index) {
        Some((_, case)) => case(&emulator.ledger()).await,
        None => dynamodb::CASES[index - contract::CASES.len()].1(emulator).await,
    }
}

fn without_numbers(text: &str) -> String {
    let mut shape = text.replace(|c: char| c.is_ascii_digit(), "9");
    while shape.contains("99") {
        shape = shape.replace("99", "9");
    }
    shape
}

/// All clauses.
const EXPECTED: &[&str] = &[
    "cancel: #exp > :now",
    "cancel: #gen = :gen",
    "cancel: #left > :zero",
    "cancel: #st IN (:reserved)",
    "cancel: #st IN (:reserved, :sent, :unclear)",
    "cancel: #st IN (:sent)",
    "cancel: #st IN (:unclear)",
    "charge_number: #f < :locked",
    "charge_number: #f < :zero",
    "charge_number: attribute_not_exists(#f)",
    "charge_number: attribute_not_exists(#f) OR #f < :locked",
    "claim: #gen = :gen",
    "claim: #st = :verified",
    "claim: #va > :now_less_claimable",
    "claim: attribute_not_exists(#claimed)",
    "claim: attribute_not_exists(#own)",
    "claim_key: #at <= :now_less_kept",
    "claim_key: #st = :released",
    "claim_key: attribute_not_exists(#pk)",
    "claim_key: attribute_not_exists(#pk) OR #st = :released OR #at <= :now_less_kept",
    "clear_failures in part: #ep = :epoch",
    "clear_failures in part: attribute_not_exists(#ep)",
    "clear_failures: #ep = :epoch",
    "clear_failures: #f = :charged",
    "clear_failures: attribute_not_exists(#ep)",
    "consume: #gen = :gen",
    "consume: #st IN (:reserved)",
    "consume: #st IN (:reserved, :sent, :unclear)",
    "consume: #st IN (:sent)",
    "consume: #st IN (:unclear)",
    "count: #n <= :below_cap",
    "count: attribute_not_exists(#n)",
    "count: attribute_not_exists(#n) OR #n <= :below_cap",
    "finish_key unclear: #by = :by",
    "finish_key: #by = :by",
    "note_answer: #gen = :gen",
    "note_answer: #lr = :guess",
    "open: #gen = :seen",
    "open: attribute_not_exists(#gen)",
    "refund: #m >= :amount0",
    "refund: #m13 >= :amount1",
    "refund: #mUS >= :amount2",
    "refund: #u >= :amount1",
    "release_key: #by = :by",
    "reopen: #gen = :seen",
    "reopen: #left > :zero",
    "reopen: #st = :state",
    "reopen: #st IN (:reserved)",
    "reopen: #st IN (:reserved, :sent, :unclear)",
    "reopen: #st IN (:sent)",
    "reopen: #st IN (:unclear)",
    "reserve_send with failures: #f < :f10",
    "reserve_send with failures: #f < :f10 OR (#f < :f30 AND #lf <= :now_less_900s) OR (#f < :f100 AND #lf <= :now_less_86400s)",
    "reserve_send with failures: #f < :f100",
    "reserve_send with failures: #f < :f100 AND #lf <= :now_less_86400s",
    "reserve_send with failures: #f < :f30",
    "reserve_send with failures: #f < :f30 AND #lf <= :now_less_900s",
    "reserve_send with failures: #lf <= :now_less_86400s",
    "reserve_send with failures: #lf <= :now_less_900s",
    "reserve_send with failures: #t2 <= :now_less_30s",
    "reserve_send with failures: #t3 <= :now_less_600s",
    "reserve_send with failures: attribute_not_exists(#t2)",
    "reserve_send with failures: attribute_not_exists(#t2) OR #t2 <= :now_less_30s",
    "reserve_send with failures: attribute_not_exists(#t3)",
    "reserve_send with failures: attribute_not_exists(#t3) OR #t3 <= :now_less_600s",
    "reserve_send: #f = :zero",
    "reserve_send: #t2 <= :now_less_30s",
    "reserve_send: #t3 <= :now_less_600s",
    "reserve_send: attribute_not_exists(#f)",
    "reserve_send: attribute_not_exists(#f) OR #f = :zero",
    "reserve_send: attribute_not_exists(#t2)",
    "reserve_send: attribute_not_exists(#t2) OR #t2 <= :now_less_30s",
    "reserve_send: attribute_not_exists(#t3)",
    "reserve_send: attribute_not_exists(#t3) OR #t3 <= :now_less_600s",
    "settle Back: #by = :by",
    "settle Back: #gen = :gen",
    "settle Back: #st = :reserved",
    "settle Failed: #by = :by",
    "settle Failed: #gen = :gen",
    "settle Failed: #st = :reserved",
    "settle Sent without ID: #by = :by",
    "settle Sent without ID: #gen = :gen",
    "settle Sent without ID: #st = :reserved",
    "settle Sent: #by = :by",
    "settle Sent: #gen = :gen",
    "settle Sent: #st = :reserved",
    "settle Unclear: #by = :by",
    "settle Unclear: #gen = :gen",
    "settle Unclear: #st = :reserved",
    "spend: #m <= :room0",
    "spend: #m13 <= :room1",
    "spend: #mUS <= :room2",
    "spend: #u <= :room1",
    "spend: attribute_not_exists(#m)",
    "spend: attribute_not_exists(#m) OR #m <= :room0",
    "spend: attribute_not_exists(#m13)",
    "spend: attribute_not_exists(#m13) OR #m13 <= :room1",
    "spend: attribute_not_exists(#mUS)",
    "spend: attribute_not_exists(#mUS) OR #mUS <= :room2",
    "spend: attribute_not_exists(#u)",
    "spend: attribute_not_exists(#u) OR #u <= :room1",
    "spend_attempt: #exp > :now",
    "spend_attempt: #la <= :now_less_asking",
    "spend_attempt: #left > :one",
    "spend_attempt: #left > :one OR #own = :session",
    "spend_attempt: #left > :zero",
    "spend_attempt: #lo = :asking",
    "spend_attempt: #lo = :asking AND #la <= :now_less_asking",
    "spend_attempt: #lo = :unclear",
    "spend_attempt: #lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking)",
    "spend_attempt: #lq <> :nonce",
    "spend_attempt: #lq <> :nonce AND (#lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking))",
    "spend_attempt: #lr <> :guess",
    "spend_attempt: #lr <> :guess OR #lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking)",
    "spend_attempt: #lr <> :guess OR (#lq <> :nonce AND (#lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking)))",
    "spend_attempt: #own = :session",
    "spend_attempt: #st IN (:reserved)",
    "spend_attempt: #st IN (:reserved, :sent, :unclear)",
    "spend_attempt: #st IN (:sent)",
    "spend_attempt: #st IN (:unclear)",
    "uncount: #n > :zero",
];
