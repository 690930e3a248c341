//! Tests of the desk, which `make run` starts. They follow its printed instructions.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use simulator::free_port;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running desk and what it prints.
struct Desk {
    process: Child,
    lines: Receiver<String>,
}

impl Desk {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    /// The lines up to the one with this beginning.
    fn until(&self, start: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_secs(20))
                .expect("the next line");
            seen.push(line);
            if seen.last().unwrap().trim_start().starts_with(start) {
                return seen;
            }
        }
    }

    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        let code = self.process.wait().unwrap().code();
        (code, self.lines.iter().last().unwrap_or_default())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command in a shell with this input.
fn paste(command: &str, input: &str) -> String {
    let mut shell = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .expect(text)
        .0
}

#[test]
fn the_two_printed_commands_work_when_pasted() {
    pasted("pinpoint");
    let screen = pasted("end-user-messaging");
    assert!(
        screen
            .iter()
            .any(|line| line.starts_with("3. To get a call")),
        "{screen:?}"
    );
}

/// The README shows the usual ports.
#[test]
fn the_readme_shows_what_the_desk_prints() {
    let (phone_port, api_port) = (free_port().to_string(), free_port().to_string());
    let desk = Desk::start(&["--port", &phone_port, "--api-port", &api_port]);
    let screen = desk
        .until("Below is the log")
        .join("\n")
        .replace(&phone_port, "6870")
        .replace(&api_port, "6880");
    let readme = include_str!("../../README.md");
    let shown = between(readme, "$ make run\n", "\n```");
    assert_eq!(shown, screen);
    desk.stop("-INT");
}

/// Runs the printed commands of a desk. Returns its output.
fn pasted(provider: &str) -> Vec<String> {
    let desk = Desk::start(&[
        "--port",
        &free_port().to_string(),
        "--api-port",
        &free_port().to_string(),
        "--provider",
        provider,
    ]);
    let screen = desk.until("Below is the log");
    let command = |start: &str| {
        screen
            .iter()
            .find(|line| line.trim_start().starts_with(start))
            .unwrap()
            .trim()
    };
    let phone = between(
        screen
            .iter()
            .find(|line| line.trim_start().starts_with("phone"))
            .unwrap(),
        "phone  ",
        " ",
    );

    let sent = paste(command("curl"), "");
    assert!(
        sent.contains(r#""status":"pending""#) && sent.contains(r#""+1*******0142""#),
        "{sent}"
    );
    assert!(sent.ends_with('\n'));
    let log = desk.until("{").pop().unwrap();
    assert!(
        log.contains(r#""outcome":"ok""#) && !log.contains("4255550142"),
        "{log}"
    );

    let inbox = paste(&format!("curl -sS {phone}/inbox"), "");
    let code = between(&inbox, r#""code":""#, "\"");
    let verified = paste(command("printf"), &format!("{code}\n"));
    assert!(
        verified.starts_with("code: ") && verified.contains(r#""valid":true"#),
        "{verified}"
    );
    let verified_again = paste(command("printf"), &format!("{code}\n"));
    assert!(
        verified_again.contains(r#""code":"already_verified""#),
        "{verified_again}"
    );

    if provider != "pinpoint" {
        // The third step calls another number, because the first one would have to wait.
        let call =
            command("curl").replace("+14255550142\"", "+14255550143\",\"channel\":\"voice\"");
        let called = paste(&call, "");
        assert!(called.contains(r#""channel":"voice""#), "{called}");
        let inbox = paste(&format!("curl -sS {phone}/inbox"), "");
        assert!(inbox.contains(r#""channel":"voice""#), "{inbox}");
    }

    let page = paste(&format!("curl -sS {phone}/"), "");
    assert!(page.contains("<html"), "the phone is a page");
    assert_eq!(desk.stop("-INT"), (Some(0), "Stopped.".to_owned()));
    screen
}

/// The last column of the page's table has the responses of the service.
#[test]
fn the_service_responds_to_every_scenario_number_as_the_desk_page_says() {
    answers("pinpoint", &[]);
    // With End User Messaging the delivery is unknown after this exception. The page says so below its table.
    answers("end-user-messaging", &["+14255550114"]);
}

/// Checks the responses for every number of the table. For the numbers in `unknown`, the response says that the
/// delivery is unknown, although the table does not.
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn answers(provider: &str, unknown: &[&str]) {
    let desk = Desk::start(&[
        "--port",
        &free_port().to_string(),
        "--api-port",
        &free_port().to_string(),
        "--provider",
        provider,
    ]);
    let screen = desk.until("Below is the log");
    let address = |name: &str| {
        let line = screen
            .iter()
            .find_map(|line| line.trim_start().strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let (phone, api) = (address("phone "), address("API "));
    // curl prints the status on its own line after the body.
    let post = |path: &str, body: &str| {
        let answer = paste(
            &format!(
                "curl -sS -w '\\n%{{http_code}}' {api}{path} -H 'content-type: application/json' -d '{body}'"
            ),
            "",
        );
        let (body, status) = answer.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    };
    let send = |number: &str| {
        post(
            "/otp/send",
            &format!(r#"{{"destinationNumber":"{number}"}}"#),
        )
    };
    let verify = |number: &str, otp: &str| {
        post(
            "/otp/verify",
            &format!(r#"{{"destinationNumber":"{number}","otp":"{otp}"}}"#),
        )
    };
    let code = |number: &str| {
        let inbox = paste(&format!("curl -sS '{phone}/inbox?to={number}'"), "");
        between(&inbox, r#""code":""#, "\"").to_owned()
    };
    let check = |(status, body): (String, String),
                 number: &str,
                 says: &str,
                 success: &str,
                 unknown: bool| {
        if says.starts_with("as usual") {
            assert_eq!(status, success, "{number}: {body}");
            return;
        }
        assert!(
            says.starts_with(&format!("{status} `")),
            "{number}: {status} is not {says}: {body}"
        );
        let code = between(says, "`", "`");
        assert!(
            body.contains(&format!(r#""code":"{code}""#)),
            "{number}: {says} is not in {body}"
        );
        assert_eq!(
            body.contains(r#""delivery":"unknown""#),
            unknown,
            "{number}: {body}"
        );
    };

    let page = include_str!("../../docs/desk.md");
    let (_, table) = page
        .split_once("| send | verify | AWS | otp-lambda |\n|---|---|---|---|\n")
        .unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .collect();
    let mut asked = 0;
    // In parallel, because some take as long as the service's timeout.
    std::thread::scope(|scope| {
        for row in &rows {
            let [sending, verifying, _, says] = row.as_slice() else {
                panic!("{row:?}")
            };
            let (send, verify, code, check) = (&send, &verify, &code, &check);
            if let Some(number) = sending
                .strip_prefix('`')
                .and_then(|number| number.strip_suffix('`'))
            {
                let is_unknown = says.ends_with("delivery unknown") || unknown.contains(&number);
                scope.spawn(move || check(send(number), number, says, "202", is_unknown));
                asked += 1;
            }
            if let Some(number) = verifying
                .strip_prefix('`')
                .and_then(|number| number.strip_suffix('`'))
            {
                scope.spawn(move || {
                    assert_eq!(send(number).0, "202");
                    check(verify(number, &code(number)), number, says, "200", false);
                });
                asked += 1;
            }
        }
    });
    assert_eq!(asked, simulator::scenarios().len());
    assert_eq!(desk.stop("-INT").0, Some(0));
}

/// A desk and what it takes to invoke its function.
struct Events {
    ports: [String; 2],
    _desk: Desk,
}

impl Events {
    fn start() -> Self {
        let ports = [free_port().to_string(), free_port().to_string()];
        let desk = Desk::start(&["--port", &ports[0], "--api-port", &ports[1]]);
        desk.until("Below is the log");
        Self { ports, _desk: desk }
    }

    /// Whether the function succeeded, and what was printed.
    fn invoke(&self, event: &str) -> (bool, String) {
        let file = format!("{}/../events/{event}.json", env!("CARGO_MANIFEST_DIR"));
        let [port, api_port] = &self.ports;
        let arguments = ["--port", port, "--api-port", api_port, "--invoke", &file];
        let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(arguments)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), printed)
    }

    fn start_over(&self) {
        let port = &self.ports[0];
        paste(
            &format!(
                "curl -fsS -X POST http://127.0.0.1:{port}/simulator/reset -H 'content-type: application/json'"
            ),
            "",
        );
    }

    #[track_caller]
    fn says(&self, event: &str, expected: &[&str]) {
        let (_, printed) = self.invoke(event);
        for expected in expected {
            assert!(printed.contains(expected), "{event}: {printed}");
        }
    }
}

/// Every file in `events/`, in an order in which it has something to do.
#[test]
fn every_event_does_something_useful_on_the_desk() {
    let events = Events::start();
    let mut used = BTreeSet::new();
    let mut says = |event: &str, expected: &[&str]| {
        events.says(event, expected);
        used.insert(event.to_owned());
    };
    for door in ["rest-v1", "http-v2", "function-url", "alb"] {
        says(
            &format!("send.{door}"),
            &["HTTP 202", "\"status\": \"pending\""],
        );
        says(
            &format!("status.{door}"),
            &["HTTP 200", "\"status\": \"pending\""],
        );
        says(
            &format!("verify.{door}"),
            &["HTTP 200", "\"status\": \"verified\""],
        );
        events.start_over();
        says(&format!("send.{door}"), &["HTTP 202"]);
        says(
            &format!("cancel.{door}"),
            &["HTTP 200", "\"status\": \"canceled\""],
        );
        events.start_over();
    }
    let is_false = |name: &str| format!("\"{name}\": false");
    let is_true = |name: &str| format!("\"{name}\": true");
    let challenge = "\"challengeName\": \"CUSTOM_CHALLENGE\"".to_owned();
    let state = |state: &str| format!("\"state\": \"{state}\"");
    for (event, expected) in [
        ("cognito.define", challenge.clone()),
        ("cognito.create", state("sent")),
        ("cognito.create.later-round", state("try_again")),
        ("cognito.create.after-password", state("adopted")),
        ("cognito.verify.resend", is_false("answerCorrect")),
        ("cognito.verify", is_true("answerCorrect")),
        ("cognito.define.wrong-answer", challenge.clone()),
        ("cognito.define.right-answer", is_true("issueTokens")),
        (
            "cognito.define.no-attempt-left",
            is_true("failAuthentication"),
        ),
        // They need COGNITO_STEP_UP=required.
        (
            "cognito.define.password-first",
            is_true("failAuthentication"),
        ),
        (
            "cognito.define.password-right",
            is_true("failAuthentication"),
        ),
        ("cognito.define.unknown-user", challenge),
        ("cognito.create.unknown-user", state("sent")),
        ("cognito.create.unverified-number", state("sent")),
        ("cognito.verify.unknown-user", is_false("answerCorrect")),
        ("unlock", "+1*******0142".to_owned()),
    ] {
        says(event, &[&expected]);
    }
    // The one function error: it says which setting it needs.
    let (is_ok, said) = events.invoke("cognito.pre-sign-up");
    assert!(!is_ok && said.contains("COGNITO_PRE_SIGN_UP=on"), "{said}");
    used.insert("cognito.pre-sign-up".to_owned());

    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").unwrap().to_owned())
        .collect();
    assert_eq!(used, files);
}

/// Without a desk that runs, an event gets one of its own.
#[test]
fn an_event_needs_no_running_desk() {
    let [port, api_port] = [free_port().to_string(), free_port().to_string()];
    let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .args(["--port", &port, "--api-port", &api_port, "--invoke"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../events/send.rest-v1.json"
        ))
        .output()
        .unwrap();
    let [printed, told] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        output.status.success() && printed.contains("HTTP 202"),
        "{printed}{told}"
    );
    assert!(told.starts_with("No desk runs"), "{told}");
}

#[test]
fn start_over_forgets_what_the_ledger_has_counted() {
    let events = Events::start();
    events.says("send.http-v2", &["HTTP 202"]);
    events.says("send.http-v2", &["HTTP 429"]);
    events.start_over();
    events.says("send.http-v2", &["HTTP 202"]);
}

#[test]
fn a_taken_port_is_reported_and_replaced() {
    let phone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let [phone, api] = [&phone, &api].map(|listener| listener.local_addr().unwrap().port());
    let desk = Desk::start(&["--port", &phone.to_string(), "--api-port", &api.to_string()]);
    let screen = desk.until("Below is the log");
    for taken in [phone, api] {
        let said = screen
            .iter()
            .find(|line| line.starts_with(&format!("Port {taken} is taken")))
            .unwrap();
        let other = between(said, "so ", " is used");
        assert!(
            screen
                .iter()
                .any(|line| line.contains(&format!("http://127.0.0.1:{other}"))),
            "{screen:?}"
        );
    }
    assert_eq!(desk.stop("-TERM").0, Some(0));
}

#[test]
fn unknown_arguments_print_the_usage() {
    for arguments in [
        &["--port"][..],
        &["--port", "x"],
        &["--provider", "eum"],
        &["--help"],
        &["x"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8(output.stderr)
                .unwrap()
                .contains("usage: simulator")
        );
    }
}
