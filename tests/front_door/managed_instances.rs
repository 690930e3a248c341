//! The binary as Lambda Managed Instances run it: several invocations at once in one process, and credentials that
//! expire while it runs. Lambda's Runtime API and the endpoint for credentials are played here.

use crate::world::environment;
use serde_json::{Value, json};
use simulator::Simulator;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many invocations Lambda gives the process at once.
const AT_ONCE: usize = 4;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A number in each country, and the end of it, which responses show.
const NUMBERS: [(&str, &str, &str); AT_ONCE] = [
    ("US", "+14255550142", "0142"),
    ("GB", "+447700900123", "0123"),
    ("JM", "+18765550143", "0143"),
    ("IN", "+919876543210", "3210"),
];

/// A value that threads wait for.
#[derive(Default)]
struct Shared<T>(Mutex<T>, Condvar);

impl<T> Shared<T> {
    fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let changed = change(&mut self.0.lock().unwrap());
        self.1.notify_all();
        changed
    }

    /// Waits until `look` finds something, for `patience` at most.
    fn wait<R>(&self, patience: Duration, mut look: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let began = Instant::now();
        let mut value = self.0.lock().unwrap();
        loop {
            if let Some(found) = look(&mut value) {
                self.1.notify_all();
                return Some(found);
            }
            let left = patience.checked_sub(began.elapsed())?;
            value = self.1.wait_timeout(value, left).unwrap().0;
        }
    }
}

/// Reads an HTTP message: its head and its body.
fn read_message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut more = |read: &mut Vec<u8>| {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        read.extend_from_slice(&buffer[..length]);
        Some(())
    };
    let end = loop {
        match read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(&mut read)?,
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).ok()?;
    let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    while read.len() < end + length {
        more(&mut read)?;
    }
    Some((head, read.split_off(end)))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Serves each HTTP message of each connection with `answer`, which returns the whole response. Returns the address.
fn serve(answer: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                while let Some((head, body)) = read_message(&mut stream) {
                    let response = answer(&head, &body)?;
                    stream.write_all(&response).ok()?;
                }
                Some(())
            });
        }
    });
    address
}

fn response(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[derive(Default)]
struct Invocations {
    /// The requests for an invocation that have no answer yet.
    polls: usize,
    events: VecDeque<(String, String)>,
    /// The last part of the path and the body, by the ID in the path.
    answers: BTreeMap<String, (String, Value)>,
}

/// The process of the function, and Lambda's Runtime API for it.
struct Function {
    process: Child,
    invocations: Arc<Shared<Invocations>>,
    log: Arc<Shared<String>>,
}

impl Function {
    fn start(endpoint: &str, changes: &[(&str, &str)]) -> Self {
        let invocations = Arc::<Shared<Invocations>>::default();
        let lambda = Arc::clone(&invocations);
        let runtime = serve(move |head, body| {
            let path = head.split_whitespace().nth(1)?;
            let Some(rest) = path.strip_prefix("/2018-06-01/runtime/invocation/") else {
                return Some(response("404 Not Found", ""));
            };
            if rest != "next" {
                let (id, end) = rest.split_once('/')?;
                let answer = (end.to_owned(), serde_json::from_slice(body).unwrap());
                let former = lambda.change(|it| it.answers.insert(id.to_owned(), answer));
                assert!(former.is_none(), "{id} has two answers");
                return Some(response("202 Accepted", "{}"));
            }
            lambda.change(|it| it.polls += 1);
            let (id, event) = lambda.wait(PATIENCE * 10, |it| it.events.pop_front())?;
            lambda.change(|it| it.polls -= 1);
            let head = format!(
                "200 OK\r\nlambda-runtime-aws-request-id: {id}\r\nlambda-runtime-deadline-ms: {}\r\n\
                 lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:otp",
                (now() + PATIENCE).as_millis()
            );
            Some(response(&head, &event))
        });
        let mut environment = environment(endpoint);
        for (name, value) in changes {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        environment.retain(|_, value| !value.is_empty());
        let mut process = Command::new(env!("CARGO_BIN_EXE_otp-lambda"))
            .env_clear()
            .envs(&environment)
            .env("AWS_LAMBDA_RUNTIME_API", runtime)
            .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Shared<String>>::default();
        let (writing, mut output) = (Arc::clone(&log), process.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                writing.change(|log| log.push_str(&text));
            }
        });
        Self {
            process,
            invocations,
            log,
        }
    }

    /// Waits until the process asks for this many invocations at once.
    fn wait_for_polls(&self, polls: usize, patience: Duration) -> Result<(), String> {
        let asks = |it: &mut Invocations| (it.polls >= polls).then_some(());
        let found = self.invocations.wait(patience, asks);
        found.ok_or_else(|| format!("fewer than {polls} polls: {}", self.text()))
    }

    /// Gives the process these events at once.
    fn give(&self, events: &BTreeMap<String, Value>) {
        let events = events
            .iter()
            .map(|(id, event)| (id.clone(), event.to_string()));
        self.invocations.change(|it| it.events.extend(events));
    }

    /// The answer to an invocation: the last part of its path, and its body.
    fn answer(&self, id: &str) -> (String, Value) {
        let answer = self
            .invocations
            .wait(PATIENCE, |it| it.answers.get(id).cloned());
        answer.unwrap_or_else(|| panic!("no answer to {id}: {}", self.text()))
    }

    fn text(&self) -> String {
        self.log.0.lock().unwrap().clone()
    }

    /// The lines with this message. There must be this many.
    fn lines(&self, message: &str, count: usize) -> Vec<Value> {
        let found = self.log.wait(PATIENCE, |log| {
            let lines = log.split_inclusive('\n').filter(|it| it.ends_with('\n'));
            let lines = lines.map(|line| serde_json::from_str(line).unwrap());
            let of_message = |line: &Value| line["message"] == message;
            let found: Vec<Value> = lines.filter(of_message).collect();
            (found.len() >= count).then_some(found)
        });
        let found = found.unwrap_or_else(|| panic!("{count} {message}: {}", self.text()));
        assert_eq!(found.len(), count, "{}", self.text());
        found
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines and credentials end at a time of day"
)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[derive(Default)]
struct Arrivals {
    held: usize,
    /// The session tokens of the requests.
    tokens: BTreeSet<String>,
}

/// Stands before the simulator, and holds each request until `AT_ONCE` of them are there, if it should hold them.
struct Gate {
    url: String,
    arrivals: Arc<Shared<Arrivals>>,
}

impl Gate {
    fn before(simulator: &Simulator, holds: bool) -> Self {
        let arrivals = Arc::<Shared<Arrivals>>::default();
        let arriving = Arc::clone(&arrivals);
        let server = simulator.url().trim_start_matches("http://").to_owned();
        let address = serve(move |head, body| {
            let token = header(head, "x-amz-security-token").unwrap_or_default();
            arriving.change(|it| {
                it.held += 1;
                it.tokens.insert(token.to_owned());
            });
            // With fewer requests at once, nobody opens the gate, and the function gives up.
            let is_open = |it: &mut Arrivals| (!holds || it.held >= AT_ONCE).then_some(());
            arriving.wait(PATIENCE, is_open)?;
            let mut server = TcpStream::connect(&server).unwrap();
            server.write_all(head.as_bytes()).unwrap();
            server.write_all(body).unwrap();
            let (head, body) = read_message(&mut server)?;
            Some([head.into_bytes(), body].concat())
        });
        Self {
            url: format!("http://{address}"),
            arrivals,
        }
    }
}

/// The event of a caller that AWS has authenticated.
fn send_to(number: &str) -> Value {
    let text = include_str!("../../events/send.http-v2.json");
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["body"] = json!(json!({ "destinationNumber": number }).to_string());
    event
}

fn id(nth: usize) -> String {
    format!("00000000-0000-0000-0000-{nth:012}")
}

/// One send to each country, by the ID of the invocation.
fn sends() -> BTreeMap<String, Value> {
    let events = NUMBERS.iter().enumerate();
    events
        .map(|(nth, (_, number, _))| (id(nth), send_to(number)))
        .collect()
}

/// The invocations whose answer or line is about another number than their own.
fn mixed(answers: &BTreeMap<String, (String, Value)>, lines: &[Value]) -> Vec<usize> {
    let is_own = |nth: usize| {
        let (country, _, ending) = NUMBERS[nth];
        let body = answers[&id(nth)].1["body"].as_str().unwrap();
        let mut own = lines.iter().filter(|line| line["requestId"] == id(nth));
        let line = own.next().unwrap();
        body.contains(&format!("*{ending}\"")) && line["country"] == country
    };
    (0..AT_ONCE).filter(|nth| !is_own(*nth)).collect()
}

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

const CONCURRENT: [(&str, &str); 2] = [
    ("AWS_LAMBDA_MAX_CONCURRENCY", "4"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
];

#[tokio::test(flavor = "multi_thread")]
async fn invocations_at_once_get_their_own_answers_and_lines() {
    let simulator = simulator().await;
    // The function waits for a provider for five seconds. A machine can stand still for longer, so there are tries.
    let done = (0..3).find_map(|_| {
        let gate = Gate::before(&simulator, true);
        let function = Function::start(&gate.url, &CONCURRENT);
        function.wait_for_polls(AT_ONCE, PATIENCE).unwrap();
        function.give(&sends());
        let answers: BTreeMap<_, _> = sends()
            .into_keys()
            .map(|id| (id.clone(), function.answer(&id)))
            .collect();
        let lines = function.lines("request", AT_ONCE);
        let is_sent = |(_, body): &(String, Value)| body["statusCode"] == 202;
        answers
            .values()
            .all(is_sent)
            .then_some((answers, lines, function))
    });
    let (mut answers, mut lines, function) = done.expect("the gate should open");
    assert!(answers.values().all(|(path, _)| path == "response"));
    assert_eq!(mixed(&answers, &lines), Vec::<usize>::new());
    let start = &function.lines("start", 1)[0];
    assert_eq!(start["invocationsAtOnce"], AT_ONCE);
    let cold = lines.iter().filter(|line| line["coldStart"] == true);
    assert_eq!(cold.count(), 1, "the first invocation of a process");

    // Control: the same check finds two answers, and two lines, of one another.
    let answer = answers[&id(0)].clone();
    let other = answers.insert(id(1), answer).unwrap();
    assert_eq!(mixed(&answers, &lines), [1]);
    answers.insert(id(1), other);
    for line in &mut lines {
        if line["requestId"] == id(2) {
            line["requestId"] = json!(id(3));
        } else if line["requestId"] == id(3) {
            line["requestId"] = json!(id(2));
        }
    }
    assert_eq!(mixed(&answers, &lines), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_fails_leaves_the_others_as_they_are() {
    let simulator = simulator().await;
    let gate = Gate::before(&simulator, false);
    let function = Function::start(&gate.url, &CONCURRENT);
    function.wait_for_polls(AT_ONCE, PATIENCE).unwrap();
    let mut events = sends();
    events.insert(id(1), json!({ "source": "aws.s3" }));
    events.insert(id(2), send_to("+1"));
    function.give(&events);
    let answers = sends().into_keys().map(|id| {
        let (path, body) = function.answer(&id);
        (path, body["statusCode"].as_u64())
    });
    let expected = [
        ("response", Some(202)),
        ("error", None),
        ("response", Some(422)),
        ("response", Some(202)),
    ];
    let expected = expected.map(|(path, status)| (path.to_owned(), status));
    assert_eq!(answers.collect::<Vec<_>>(), expected);
    // All of them can be used again.
    function.wait_for_polls(AT_ONCE, PATIENCE).unwrap();
    let outcomes: BTreeMap<_, _> = function
        .lines("request", AT_ONCE)
        .into_iter()
        .map(|line| {
            (
                line["requestId"].clone().to_string(),
                line["outcome"].clone(),
            )
        })
        .collect();
    let outcomes: Vec<_> = outcomes.into_values().collect();
    assert_eq!(
        outcomes,
        ["ok", "unrecognized_event", "invalid_phone_number", "ok"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_variable_one_invocation_follows_the_other() {
    let simulator = simulator().await;
    for value in ["", "1", "0", "many"] {
        let gate = Gate::before(&simulator, false);
        let function = Function::start(&gate.url, &[("AWS_LAMBDA_MAX_CONCURRENCY", value)]);
        function.wait_for_polls(1, PATIENCE).unwrap();
        assert_eq!(
            function.lines("start", 1)[0]["credentials"],
            "variables",
            "{value}"
        );
        let more = function.wait_for_polls(2, Duration::from_millis(100));
        assert!(more.is_err(), "{value}");
        function.give(&sends());
        for id in sends().into_keys() {
            assert_eq!(function.answer(&id).1["statusCode"], 202, "{value}");
        }
        let polls = function.invocations.0.lock().unwrap().polls;
        assert!(polls <= 1, "{value}: {polls}");
    }
}

/// An endpoint for credentials as Lambda's. Each request gets new ones. The first are good for `first`, and the later ones
/// for `later`.
fn endpoint_for_credentials(first: Duration, later: Duration) -> String {
    let given = Mutex::new(0);
    let address = serve(move |head, _| {
        assert!(head.starts_with("GET /2021-04-23/credentials "), "{head}");
        assert_eq!(header(head, "authorization"), Some("a secret"));
        let mut given = given.lock().unwrap();
        *given += 1;
        let life = if *given == 1 { first } else { later };
        let ends = otp_lambda::time::Millis::from(UNIX_EPOCH + now() + life).rfc3339();
        let credentials = json!({
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": "example",
            "Token": format!("token {given}"),
            "Expiration": ends,
        });
        Some(response("200 OK", &credentials.to_string()))
    });
    format!("http://{address}/2021-04-23/credentials")
}

/// The tokens of a function's requests to AWS until one of them is `last`, or for a time.
fn tokens(gate: &Gate, function: &Function, last: &str, time: Duration) -> BTreeSet<String> {
    let mut next = 0;
    let began = Instant::now();
    loop {
        function.wait_for_polls(AT_ONCE, PATIENCE).unwrap();
        let events: BTreeMap<_, _> = (next..next + AT_ONCE)
            .map(|nth| (id(nth), send_to(NUMBERS[nth % AT_ONCE].1)))
            .collect();
        next += AT_ONCE;
        function.give(&events);
        for id in events.into_keys() {
            let (_, answer) = function.answer(&id);
            assert_eq!(answer["statusCode"], 202, "{}", function.text());
        }
        let tokens = gate.arrivals.0.lock().unwrap().tokens.clone();
        if tokens.contains(last) || began.elapsed() > time {
            return tokens;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts the function with an endpoint that gives credentials for these times.
fn start_with_endpoint(gate: &Gate, [first, later]: [Duration; 2]) -> Function {
    let endpoint = endpoint_for_credentials(first, later);
    let mut changes = CONCURRENT.to_vec();
    changes.extend([
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SESSION_TOKEN", ""),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a secret"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint),
    ]);
    Function::start(&gate.url, &changes)
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_an_endpoint_are_renewed_before_they_expire() {
    let simulator = simulator().await;
    let gate = Gate::before(&simulator, false);
    // They expire two minutes after they were given, far later than this test ends, and are renewed all the same.
    let function = start_with_endpoint(&gate, [Duration::from_mins(2); 2]);
    assert_eq!(function.lines("start", 1)[0]["credentials"], "endpoint");
    let used = tokens(&gate, &function, "token 3", PATIENCE);
    let expected = ["token 1", "token 2", "token 3"].map(str::to_owned);
    assert!(used.is_superset(&expected.into()), "{used:?}");

    // Control: credentials that expire later than in five minutes stay, as those in variables do.
    let gate = Gate::before(&simulator, false);
    let function = start_with_endpoint(&gate, [Duration::from_hours(6); 2]);
    let used = tokens(&gate, &function, "token 2", Duration::from_secs(3));
    assert_eq!(used, BTreeSet::from(["token 1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_of_an_endpoint_are_never_used() {
    let simulator = simulator().await;
    let gate = Gate::before(&simulator, false);
    let function = start_with_endpoint(&gate, [Duration::ZERO, Duration::from_hours(6)]);
    let began = Instant::now();
    // The sends fail until the endpoint is asked again.
    for nth in 0.. {
        assert!(began.elapsed() < PATIENCE, "{}", function.text());
        function.give(&BTreeMap::from([(id(nth), send_to(NUMBERS[0].1))]));
        if function.answer(&id(nth)).1["statusCode"] == 202 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let used = gate.arrivals.0.lock().unwrap().tokens.clone();
    // Control: the ones that are good are used.
    assert_eq!(used, BTreeSet::from(["token 2".to_owned()]));
}
