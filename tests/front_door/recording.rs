//! The recording of metrics that `tests/e2e/test_monitoring.py` compares the alarms and the dashboard with.

use super::metrics::Drill;
use crate::pool::{SignIn, User};
use crate::with;
use crate::world::{NUMBER, World};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use simulator::emf::metrics_of;
use simulator::{Failure, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How long a window is, and how many there are.
const WINDOW: Duration = Duration::from_mins(5);
const WINDOWS: u32 = 144;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/monitoring/recording.json")
}

/// The metrics of these lines, each with its unit and the names of its dimensions.
fn definitions(lines: &[Value]) -> BTreeSet<(String, String, Vec<String>)> {
    let all = lines.iter().flat_map(|line| metrics_of(line).unwrap());
    let all = all.map(|(metric, unit, _)| {
        let dimensions = ["ledger".to_owned()].into_iter();
        let dimensions = dimensions.chain(metric.dimensions.into_keys()).collect();
        (metric.name, unit, dimensions)
    });
    all.collect()
}

/// The names of the members of these lines, by message.
fn members(lines: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for line in lines {
        let message = line["message"].as_str().unwrap().to_owned();
        let names = line.as_object().unwrap().keys().cloned();
        all.entry(message).or_default().extend(names);
    }
    all
}

/// If this fails because the function has other metrics or members than before, make the recording anew:
/// `cargo test --workspace --test front_door recording -- --ignored`.
#[tokio::test]
async fn the_recording_has_what_the_function_emits() {
    let drill = Drill::start("full", with::DELIVERIES).await;
    drill.run().await;
    let lines = drill.world.lines();
    let recording: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let recorded = serde_json::from_value(recording["metrics"].clone()).unwrap();
    assert_eq!(definitions(&lines), recorded);
    let recorded: BTreeMap<String, BTreeSet<String>> =
        serde_json::from_value(recording["members"].clone()).unwrap();
    for (message, names) in members(&lines) {
        let missing: Vec<_> = names.difference(&recorded[&message]).collect();
        assert!(missing.is_empty(), "{message}: {missing:?}");
    }
}

/// Members that a line `request` can have, and that the recording lacks: its ledger is in memory, and its callers give no
/// IDs, no addresses and no tokens of devices.
const UNRECORDED: [&str; 7] = [
    "correlationId",
    "door",
    "ledgerLost",
    "ledgerMs",
    "ledgerRequests",
    "source",
    "traceId",
];

#[test]
fn the_page_has_the_members_of_a_line() {
    let recording: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let members = recording["members"]["request"].as_array().unwrap();
    let mut members: BTreeSet<&str> = members.iter().filter_map(Value::as_str).collect();
    members.extend(UNRECORDED);
    let page = include_str!("../../docs/privacy.md");
    let section = page.split("\n## ").nth(1).unwrap();
    let pages = [section, include_str!("../../docs/operate.md")].concat();
    let is_there = |name: &str| {
        pages.contains(&format!("`{name}`")) || section.contains(&format!("\"{name}\":"))
    };
    for name in &members {
        assert!(is_there(name), "{name} is on no page");
    }
    let rows = section
        .lines()
        .take_while(|line| !line.starts_with("| level"));
    let columns = rows.filter_map(|row| row.strip_prefix("| `")?.split_once(" |"));
    for name in columns.flat_map(|(names, _)| names.split(", ")) {
        let name = name.trim_matches('`');
        assert!(members.contains(name), "no line has {name}");
    }
    // The control.
    assert!(!is_there("callerSession") && !members.contains("callerSession"));
}

/// The bytes of the lines of a send and of a right guess.
async fn bytes(detail: &str) -> [usize; 2] {
    // As long as the name that CloudFormation gives a table.
    let table = ("LEDGER_TABLE", "otp-lambda-Ledger-1A2B3C4D5E6F7");
    let world = World::counted(&[("METRICS", detail), ("ALLOWED_COUNTRIES", "US,GB"), table]).await;
    let code = world.code_on_the_phone().await;
    let body = json!({ "destinationNumber": NUMBER, "otp": code });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    let text = world.log.text();
    let lines = text.lines().filter(|line| line.contains("\"request\""));
    let lines: Vec<_> = lines
        .map(|line| line.len() + COUNTS_OF_THE_TABLE.len())
        .collect();
    lines.try_into().unwrap()
}

/// The ledger in memory makes no requests, so its lines lack these members.
const COUNTS_OF_THE_TABLE: &str = ",\"ledgerRequests\":8,\"ledgerMs\":41.234";

#[tokio::test]
async fn the_recording_has_the_bytes_of_the_lines() {
    let recording: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let recorded: BTreeMap<String, [usize; 2]> =
        serde_json::from_value(recording["bytes"].clone()).unwrap();
    for (detail, recorded) in recorded {
        for (now, then) in bytes(&detail).await.into_iter().zip(recorded) {
            // Names of providers and times differ in length.
            assert!(
                now.abs_diff(then) * 20 < then,
                "{detail}: {now}, not {then}"
            );
        }
    }
}

/// The values of one metric: by window, all of them.
type Values = BTreeMap<u32, Vec<f64>>;

/// A metric: its namespace, name, dimensions and unit.
type Key = (&'static str, String, BTreeMap<String, String>, String);

#[derive(Default)]
struct Recorder(BTreeMap<Key, Values>);

impl Recorder {
    fn add(
        &mut self,
        window: u32,
        namespace: &'static str,
        (name, dimensions): (&str, BTreeMap<String, String>),
        unit: &str,
        value: f64,
    ) {
        let key = (namespace, name.to_owned(), dimensions, unit.to_owned());
        let values = self.0.entry(key).or_default();
        values.entry(window).or_default().push(value);
    }

    /// The values that CloudWatch would take from a line.
    fn line(&mut self, window: u32, line: &Value) {
        for (metric, unit, value) in metrics_of(line).unwrap() {
            let mut dimensions = metric.dimensions;
            dimensions.insert("ledger".to_owned(), "otp".to_owned());
            let of = (metric.name.as_str(), dimensions);
            self.add(window, "otp-lambda", of, &unit, value);
        }
        if line["message"] != "request" && line["message"] != "delivery" {
            return;
        }
        // Here the test plays Lambda, which counts invocations by function.
        let function = match line["origin"].as_str() {
            Some("cognito") => "otp-Triggers",
            _ => "otp-Function",
        };
        let of = BTreeMap::from([("FunctionName".to_owned(), function.to_owned())]);
        let lambda = "AWS/Lambda";
        self.add(window, lambda, ("Invocations", of.clone()), "Count", 1.0);
        self.add(window, lambda, ("Errors", of), "Count", 0.0);
    }

    fn series(self) -> Vec<Value> {
        let all = self.0.into_iter();
        all.map(|((namespace, name, dimensions, unit), values)| {
            let windows: Map<String, Value> = values
                .into_iter()
                .map(|(window, values)| (window.to_string(), statistics(values, &unit)))
                .collect();
            json!({ "namespace": namespace, "name": name, "unit": unit, "dimensions": dimensions, "windows": windows })
        })
        .collect()
    }
}

/// The statistics of a window: the number of values, their sum and the largest. Of times also the percentiles.
fn statistics(mut values: Vec<f64>, unit: &str) -> Value {
    values.sort_by(f64::total_cmp);
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    let all = [
        ("n", f64::from(u32::try_from(values.len()).unwrap())),
        ("sum", short(values.iter().sum())),
        ("max", short(values[values.len() - 1])),
    ];
    let mut all: Map<String, Value> = all
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    if unit == "Milliseconds" {
        for percent in [50, 90, 99] {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            all.insert(format!("p{percent}"), json!(short(values[rank - 1])));
        }
    }
    Value::Object(all)
}

/// How many messages go to each country in a window of a usual day, and how many of ten codes come back.
const TRAFFIC: [(&str, u32, u32); 5] = [
    ("US", 4, 9),
    ("GB", 2, 9),
    ("DE", 2, 8),
    ("FR", 1, 9),
    ("IN", 2, 7),
];

/// Numbers that each have one code, and chance from one seed.
struct Day {
    numbers: u32,
    seed: u64,
}

impl Day {
    fn number(&mut self, country: &str) -> String {
        self.numbers += 1;
        let nth = self.numbers;
        match country {
            "US" => format!("+1425556{nth:04}"),
            "GB" => format!("+4477009{nth:05}"),
            "DE" => format!("+49151123{nth:05}"),
            "FR" => format!("+3361234{nth:04}"),
            "IN" => format!("+9198765{nth:05}"),
            _ => format!("+1876555{nth:04}"),
        }
    }

    /// The delivery event of a message. A code that comes back was in a message that arrived. Pumped messages go to
    /// numbers of which half take none.
    fn fate(&mut self, number: &str, comes_back: bool) -> &'static str {
        let one_of = if number.starts_with("+1876") { 2 } else { 4 };
        if comes_back || self.chance(one_of) > 0 {
            return "TEXT_DELIVERED";
        }
        let kinds = [
            "TEXT_UNREACHABLE",
            "TEXT_TTL_EXPIRED",
            "TEXT_CARRIER_BLOCKED",
        ];
        kinds[usize::try_from(self.chance(3)).unwrap()]
    }

    /// A number below `end`.
    fn chance(&mut self, end: u32) -> u32 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u32::try_from(self.seed >> 33).unwrap() % end
    }
}

/// Half a day. At nine the provider throttles, at ten it loses responses, from eleven on somebody pumps messages to
/// Jamaica, at half past two the ledger does not answer, and at half past four the provider is slow.
#[tokio::test]
#[ignore = "writes the recording anew, in four minutes"]
async fn a_day_is_recorded() {
    let drill = Drill::start("full", with::DELIVERIES).await;
    drill.run().await;
    let lines = drill.world.lines();
    let (definitions, members) = (definitions(&lines), members(&lines));

    let settings = [
        ("METRICS", "full"),
        ("ALLOWED_COUNTRIES", "US,GB,DE,FR,IN,JM"),
        ("COUNTRY_LIMITS", "JM=60/1h;*=400/1h"),
        ("BUDGETS", "400/1h,4000/24h"),
        ("COGNITO_FLOOR_MS", "160"),
        ("PREFIX_LIMITS", "none"),
        ("SEND_LIMITS", "20/1s"),
    ];
    let drill = Drill::with(&[&settings[..], with::DELIVERIES].concat()).await;
    let world = &drill.world;
    let now = world.simulator.now().duration_since(UNIX_EPOCH).unwrap();
    // The hours of the recording are those of the budgets, and all are of one day.
    let day = 24 * 3600;
    world.advance(Duration::from_secs(day + 1 - now.as_secs() % day));
    let mut day = Day {
        numbers: 0,
        seed: 17,
    };
    let mut fates = Day {
        numbers: 0,
        seed: 18,
    };
    let mut recorder = Recorder::default();
    let mut seen = 0;
    for window in 0..WINDOWS {
        one_window(&drill, &mut day, &mut fates, window).await;
        let lines = world.lines();
        for line in &lines[seen..] {
            recorder.line(window, line);
        }
        seen = lines.len();
        world.advance(WINDOW);
    }
    let mut sizes = BTreeMap::new();
    for detail in ["off", "basic", "full"] {
        sizes.insert(detail, bytes(detail).await);
    }
    let recording = json!({
        "begins": "06:00", "minutes": WINDOW.as_secs() / 60, "windows": WINDOWS,
        "metrics": definitions, "members": members, "bytes": sizes, "series": recorder.series(),
    });
    std::fs::write(file(), format!("{recording}\n")).unwrap();
}

/// Writes the names of the members and the bytes of the lines anew, and keeps the recorded day. This is enough if the
/// lines have other members than before, and the same metrics.
#[tokio::test]
#[ignore = "writes a part of the recording anew, in a second"]
async fn members_are_recorded() {
    let drill = Drill::start("full", with::DELIVERIES).await;
    drill.run().await;
    let lines = drill.world.lines();
    let mut recording: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    assert_eq!(json!(definitions(&lines)), recording["metrics"]);
    recording["members"] = json!(members(&lines));
    for detail in ["off", "basic", "full"] {
        recording["bytes"][detail] = json!(bytes(detail).await);
    }
    std::fs::write(file(), format!("{recording}\n")).unwrap();
}

async fn one_window(drill: &Drill, day: &mut Day, fates: &mut Day, window: u32) {
    let world = &drill.world;
    let simulator = &world.simulator;
    simulator.clear_failures();
    let incident = |from: u32, windows: u32| (from..from + windows).contains(&window);
    if incident(36, 3) {
        simulator.fail(Operation::Send, Failure::TooManyRequests, 4);
    }
    if incident(48, 2) {
        simulator.fail(Operation::Send, Failure::CloseAfterReading, 3);
    }
    let slow = if incident(126, 6) { 240 } else { 70 };
    for operation in [Operation::Send, Operation::Verify] {
        let later = Duration::from_millis(slow + u64::from(day.chance(40)));
        simulator.fail_always(operation, Failure::Slow(later));
    }
    drill.turn_off(incident(102, 1));

    // More in the middle of the day.
    let busy = 2 + (72 - window.abs_diff(72)) / 30;
    let mut numbers = Vec::new();
    for (country, messages, back) in TRAFFIC {
        for _ in 0..messages * busy / 3 + day.chance(2) {
            let comes_back = day.chance(10) < back;
            let types_badly = day.chance(10) == 0;
            numbers.push((day.number(country), comes_back, types_badly));
        }
    }
    if incident(60, 20) {
        for _ in 0..5 {
            numbers.push((day.number("JM"), false, false));
        }
    }
    let sent = join_all(
        numbers
            .iter()
            .map(|(number, comes_back, types_badly)| async move {
                let sent = drill.send(number).await;
                if sent.status != 202 || !*comes_back {
                    return sent.status == 202;
                }
                let code = simulator.newest_to(number).unwrap().code;
                if *types_badly {
                    drill.verify(number, &crate::pool::wrong(&code, 1)).await;
                }
                drill.verify(number, &code).await;
                true
            }),
    )
    .await;
    let sent = numbers.iter().zip(sent).filter(|(_, is_sent)| *is_sent);
    for ((number, comes_back, _), _) in sent {
        drill.tell(number, fates.fate(number, *comes_back)).await;
    }
    let users: Vec<_> = (0..day.chance(3)).map(|_| day.number("US")).collect();
    for number in &users {
        let mut sign_in = SignIn::begin(world, &User::with_number(number)).await;
        if let Some(text) = simulator.newest_to(number) {
            sign_in.answer(world, &text.code).await;
        }
    }
    if day.chance(3) == 0 {
        SignIn::begin(world, &User::unknown("nobody")).await;
    }
}
