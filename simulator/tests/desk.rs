//! Tests of the desk, which `make run` starts. They follow its printed instructions.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use simulator::free_port;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
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

/// Each Notify configuration of the desk sends, or shows a refusal of AWS.
#[test]
fn a_notify_configuration_sends_on_the_desk_or_is_refused() {
    for (identity, channel, says) in [
        ("nc-desk-basic", "sms", r#""status":"pending""#),
        ("nc-desk-basic", "voice", r#""channel":"voice""#),
        (
            "arn:aws:sms-voice:us-east-1:000000000000:notify-configuration/nc-desk-advanced",
            "sms",
            r#""status":"pending""#,
        ),
        (
            "nc-desk-unknown",
            "sms",
            "does not know the Notify configuration",
        ),
        ("nc-desk-pending", "sms", "must have the status ACTIVE"),
        ("nc-desk-rejected", "sms", "must have the status ACTIVE"),
        ("nc-desk-unverified", "sms", "must have the status ACTIVE"),
        (
            "nc-desk-texts-only",
            "voice",
            "must have the channel and the country",
        ),
        (
            "nc-desk-calls-only",
            "sms",
            "must have the channel and the country",
        ),
        (
            "nc-desk-canada-only",
            "sms",
            "must have the channel and the country",
        ),
    ] {
        let desk = Desk::start(&[
            "--port",
            &free_port().to_string(),
            "--api-port",
            &free_port().to_string(),
            "--provider",
            "end-user-messaging",
            "--set",
            &format!("ORIGINATION_IDENTITY={identity}"),
        ]);
        let screen = desk.until("Below is the log");
        let curl = screen
            .iter()
            .find(|line| line.trim_start().starts_with("curl"))
            .expect("a command to send");
        let curl = curl.replace("0142\"", &format!("0142\",\"channel\":\"{channel}\""));
        let said = paste(&curl, "");
        assert!(said.contains(says), "{identity}: {said}");
        if said.contains("pending") {
            // AWS sends a message a second in the basic tier, and our own limits are the next to refuse.
            let other = paste(&curl.replace("0142", "0143"), "");
            let is_fast = other.contains("1 message a second");
            assert_eq!(is_fast, !identity.contains("advanced"), "{other}");
        }
        assert_eq!(desk.stop("-INT"), (Some(0), "Stopped.".to_owned()));
    }
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

/// Starts a desk with these settings, which `--set` takes, and runs its first printed command. Returns the response.
fn first_command(settings: &[&str]) -> String {
    let (port, api_port) = (free_port().to_string(), free_port().to_string());
    let mut arguments = vec!["--port", &port, "--api-port", &api_port];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let desk = Desk::start(&arguments);
    let screen = desk.until("Below is the log");
    let send = screen
        .iter()
        .find(|line| line.trim_start().starts_with("curl"))
        .unwrap();
    paste(send, "")
}

#[test]
fn the_printed_number_is_of_an_allowed_country() {
    let listed = std::env::temp_dir().join(format!("otp-lambda-desk-{}.json", std::process::id()));
    std::fs::write(&listed, r#"{"allowedCountries": ["FR"]}"#).unwrap();
    let file = format!("CONFIG_FILE={}", listed.display());
    for (settings, calling_code) in [
        (&["ALLOWED_COUNTRIES=FR"][..], "33"),
        (&["ALLOWED_COUNTRIES=FR", "API_AUTH=none"], "33"),
        (&["ALLOWED_COUNTRIES=NL,DE"], "49"),
        (&["ALLOWED_COUNTRIES=FR,US"], "1"),
        (
            &["ALLOWED_COUNTRIES=FR", "PROVIDER=end-user-messaging"],
            "33",
        ),
        // The desk's own setting allows every country, and a list in the file takes its place.
        (&[&file], "33"),
        (&[&file, "API_AUTH=none"], "33"),
    ] {
        let sent = first_command(settings);
        assert!(
            sent.contains(r#""status":"pending""#)
                && sent.contains(&format!(r#""destinationNumber":"+{calling_code}***"#)),
            "{settings:?}: {sent}"
        );
    }
    std::fs::remove_file(listed).unwrap();
}

#[test]
fn a_desk_that_other_machines_reach_answers_to_every_address_but_to_no_other_name() {
    for (settings, answered) in [
        (
            &["--set", "BIND=0.0.0.0"][..],
            ["192.0.2.7", "[2001:db8::7]", "127.0.0.1", "desk.test"],
        ),
        (
            &["--set", "BIND=0.0.0.0", "--set", "HOST=desk.example"],
            ["192.0.2.7", "desk.example", "localhost", "desk.test"],
        ),
        // The control: only this machine reaches this one.
        (&[], ["127.0.0.1", "localhost", "[::1]", "192.0.2.7"]),
    ] {
        let (port, api_port) = (free_port().to_string(), free_port().to_string());
        let desk = Desk::start(&[&["--port", &port, "--api-port", &api_port], settings].concat());
        let screen = desk.until("Below is the log").join("\n");
        // The printed addresses can be opened on this machine.
        assert!(
            screen.contains(&format!("http://127.0.0.1:{port} ")),
            "{screen}"
        );
        let [known @ .., unknown] = &answered;
        for port in [&port, &api_port] {
            let status = |host: &str| {
                let command = format!(
                    "curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}/inbox -H 'host: {host}:{port}'"
                );
                paste(&command, "")
            };
            for host in known {
                assert_ne!(status(host), "403", "{settings:?} {host}");
            }
            assert_eq!(status(unknown), "403", "{settings:?} {unknown}");
        }
    }
}

/// The last column of the page's table has the responses of the service.
#[test]
fn the_service_responds_to_every_scenario_number_as_the_desk_page_says() {
    // At the same time, because some responses take as long as the service's timeout.
    std::thread::scope(|scope| {
        scope.spawn(|| answers("pinpoint", &[]));
        // With End User Messaging the delivery is unknown after this exception. The page says so below its table.
        scope.spawn(|| answers("end-user-messaging", &["+14255550114"]));
    });
}

/// Checks the responses for every number of the page's table. For the numbers in `unknown`, the response must say that
/// the delivery is unknown, although the table does not say so.
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

/// Invokes with the event in `file` as `make invoke` does, with `more` arguments. Returns whether the function
/// succeeded, what was printed, and what was printed as an error.
fn invoke_at(ports: &[String; 2], file: &str, more: &[&str]) -> (bool, String, String) {
    let [port, api_port] = ports;
    let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .args(["--port", port, "--api-port", api_port, "--invoke", file])
        .args(more)
        .output()
        .unwrap();
    let [printed, said] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), printed, said)
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
        let (succeeded, printed, _) = invoke_at(&self.ports, &file, &[]);
        (succeeded, printed)
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

#[test]
fn an_event_has_a_name_or_a_path() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let invoke = |event: &str| {
        let (port, api_port) = (free_port().to_string(), free_port().to_string());
        let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(["--port", &port, "--api-port", &api_port, "--invoke", event])
            .current_dir(root)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), printed, said)
    };
    for event in [
        "send.http-v2",
        "send.http-v2.json",
        "events/send.http-v2",
        "events/send.http-v2.json",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../events/send.http-v2.json"),
    ] {
        let (succeeded, printed, said) = invoke(event);
        assert!(succeeded && printed.contains("HTTP 202"), "{event}: {said}");
    }
    for event in ["send.http-v3", "", "events", "/nowhere/send"] {
        let (succeeded, _, said) = invoke(event);
        assert!(
            !succeeded
                && said.contains("EVENT is a file, or one of cancel.alb, ")
                && said.contains(" verify.rest-v1."),
            "{event}: {said}"
        );
        assert!(!said.contains("env,"), "{said}");
    }
}

#[test]
fn an_event_that_is_no_json_and_a_port_without_a_desk_are_named() {
    let folder = std::env::temp_dir().join(format!("desk-events-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [good, bad] = ["good.json", "bad.json"].map(|name| folder.join(name));
    std::fs::write(&good, r#"{"body":"012345"}"#).unwrap();
    std::fs::write(&bad, "{").unwrap();
    let events = Events::start();
    let event = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (succeeded, printed, said) = invoke_at(&events.ports, &event(&bad), &[]);
    assert!(!succeeded && printed.is_empty(), "{printed}");
    assert!(said.contains("bad.json: the event is no JSON: "), "{said}");

    // A server that answers each request with a page of its own.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = stranger.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhome");
        }
    });
    let ports = [port.to_string(), port.to_string()];
    let (succeeded, _, said) = invoke_at(&ports, &event(&good), &[]);
    let says = format!("good.json: another program than the desk answers on port {port}");
    assert!(!succeeded && said.contains(&says), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_event_gets_the_settings_of_its_command_or_is_told_that_it_does_not() {
    let event = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/send.rest-v1.json");
    let france = ["--set", "ALLOWED_COUNTRIES=FR"];
    let (_, printed, said) = invoke_at(&free_ports(), event, &france);
    assert!(printed.contains("country_not_allowed"), "{printed}");
    assert!(said.contains("No desk answers on the ports "), "{said}");

    let events = Events::start();
    let (_, printed, said) = invoke_at(&events.ports, event, &france);
    assert!(printed.contains("HTTP 202"), "{printed}");
    assert!(said.contains("with the settings of that desk"), "{said}");
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
    // The one function error: the verification in the event is not one of this desk.
    let (is_ok, said) = events.invoke("cognito.pre-sign-up");
    assert!(!is_ok && said.contains("is not verified"), "{said}");
    used.insert("cognito.pre-sign-up".to_owned());

    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").unwrap().to_owned())
        // The variables for `sam local invoke` are no event.
        .filter(|name| name != "env")
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
    assert!(told.starts_with("No desk answers on the ports "), "{told}");
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
    for arguments in [&["--port"][..], &["--port", "x"], &["x"]] {
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

/// The status, the headers and the body of a response, as curl prints them.
fn curl(arguments: &str) -> String {
    paste(&format!("curl -sS -i {arguments}"), "")
}

fn free_ports() -> [String; 2] {
    [free_port().to_string(), free_port().to_string()]
}

/// Runs the desk with these arguments until it ends by itself.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_file_with_facts_is_judged_before_the_desk_starts() {
    let file = std::env::temp_dir().join(format!("otp-facts-{}.json", std::process::id()));
    let setting = format!("FACTS={}", file.display());
    let of = |provider: &str, facts: &str| {
        format!(
            r#"{{"format": 1, "providers": {{"{provider}": {{"region": "", "asked": "", "answeredBy": "", "open": {{}},
            "facts": {{{facts}}}}}}}}}"#
        )
    };
    let good = of("pinpoint", r#""failureNumber": "opt-out""#);
    for (content, says) in [
        ("no json".to_owned(), "expected ident"),
        (
            good.replace(": 1,", ": 2,"),
            "format is 2, and this desk reads 1",
        ),
        (of("twilio", ""), "unknown variant `twilio`"),
        (of("pinpoint-sms-voice-v2", ""), "is no provider"),
        (
            of("pinpoint", r#""secondSent": "refused""#),
            "unknown field `secondSent`",
        ),
        (
            of("pinpoint", r#""secondSend": "both""#),
            "unknown variant `both`",
        ),
        (
            of("pinpoint", r#""failureNumber": "conflict""#),
            "this service has no such answer",
        ),
    ] {
        std::fs::write(&file, &content).unwrap();
        let (code, printed) = refused(&["--set", &setting]);
        assert_eq!(code, Some(2), "{content}");
        assert!(
            printed.starts_with("FACTS: ") && printed.contains(says),
            "{printed}"
        );
    }
    std::fs::write(&file, &good).unwrap();
    let [phone, api] = free_ports();
    let desk = Desk::start(&["--port", &phone, "--api-port", &api, "--set", &setting]);
    assert!(
        desk.until("Below is the log")
            .iter()
            .any(|line| line.contains(&setting))
    );
    // AWS's number for failures, which now fails as in the file. Without the file, the message arrives.
    let body = r#"{"destinationNumber":"+14254147167"}"#;
    let send = |api: &str| {
        curl(&format!(
            "http://127.0.0.1:{api}/otp/send -H 'content-type: application/json' -d '{body}'"
        ))
    };
    let seen = send(&api);
    assert!(seen.contains("opted_out"), "{seen}");
    assert_eq!(desk.stop("-TERM").0, Some(0));
    let [phone, api] = free_ports();
    let desk = Desk::start(&["--port", &phone, "--api-port", &api]);
    desk.until("Below is the log");
    assert!(send(&api).contains("HTTP/1.1 202"));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_wrong_argument_or_setting_is_named_first() {
    for (arguments, says) in [
        (
            &["--provider", "eum"][..],
            "PROVIDER is pinpoint or end-user-messaging, not eum.",
        ),
        (&["--port", "x"], "--port is a number up to 65535, not x."),
        (&["--prot", "1"], "--prot is no argument."),
        (&["--set"], "--set needs a value."),
        (
            &["--set", "BRAND=x"],
            "BRAND is no setting of the desk. Did you mean BRAND_NAME or BRAND_NAMES?",
        ),
        (
            &["--set", "XYZ=1"],
            "XYZ is no setting of the desk. docs/desk.md and docs/settings.md have all settings.",
        ),
        (
            &["--set", "provider=pinpoint"],
            "provider is no setting of the desk. Did you mean PROVIDER?",
        ),
        (
            &["--set", "HOST=http://desk.example:1"],
            "HOST is a name such as desk.example, without http:// and without a port, not http://desk.example:1.",
        ),
        (
            &["--set", "LEDGER_TABLE=otp"],
            "LEDGER_TABLE is chosen by the desk itself.",
        ),
        (
            &["--set", "API_AUTH=jwt"],
            "API_AUTH=jwt needs API Gateway, which checks the tokens. At the desk, API_AUTH=none has the same rules for \
             callers.",
        ),
        (
            &["--set", "BIND=here"],
            "BIND is an address such as 0.0.0.0, not here.",
        ),
    ] {
        let (code, said) = refused(arguments);
        assert_eq!((code, said.lines().next()), (Some(2), Some(says)));
    }
    // The function itself judges the values.
    let [port, api_port] = free_ports();
    let ports = ["--port", &port, "--api-port", &api_port];
    let (code, said) = refused(&[&ports[..], &["--set", "ALLOWED_COUNTRIES=XX"]].concat());
    assert_eq!(code, Some(1));
    assert!(said.contains("ALLOWED_COUNTRIES"), "{said}");
}

#[test]
fn help_is_no_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("usage:")
    );
}

#[test]
fn settings_hold_and_are_shown_and_the_command_line_comes_before_the_file() {
    let file = std::env::temp_dir().join(format!("desk-{}.env", std::process::id()));
    std::fs::write(
        &file,
        "# of this desk\nALLOWED_COUNTRIES=FR\nBRAND_NAME=\"From File\"\n",
    )
    .unwrap();
    let [port, api_port] = free_ports();
    let desk = Desk::start(&[
        "--port",
        &port,
        "--api-port",
        &api_port,
        "--settings",
        file.to_str().unwrap(),
        "--set",
        "BRAND_NAME=Mine",
        "--set",
        "TEST_NUMBERS=+33612345678=123456@2999-01-31",
    ]);
    let screen = desk.until("Below is the log").join("\n");
    assert!(
        screen.contains("yours  ALLOWED_COUNTRIES=FR BRAND_NAME=Mine TEST_NUMBERS=…"),
        "{screen}"
    );
    let send = |number: &str| {
        curl(&format!(
            "http://127.0.0.1:{api_port}/otp/send -H 'content-type: application/json' -d \
             '{{\"destinationNumber\":\"{number}\"}}'"
        ))
    };
    assert!(send("+14255550142").contains("country_not_allowed"));
    assert!(send("+33612345679").contains("pending"));
    let inbox = curl(&format!("http://127.0.0.1:{port}/inbox"));
    assert!(inbox.contains("Mine"), "{inbox}");
    desk.stop("-INT");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn in_the_open_mode_a_page_of_this_machine_can_send_and_verify() {
    let [port, api_port] = free_ports();
    let ports = ["--port", &port, "--api-port", &api_port];
    let desk = Desk::start(&[&ports[..], &["--set", "API_AUTH=none"]].concat());
    let screen = desk.until("Below is the log").join("\n");
    assert!(screen.contains("printf 'referenceId: '"), "{screen}");
    let api = format!("http://127.0.0.1:{api_port}");
    let json = "-H 'content-type: application/json'";
    for (origin, is_local) in [
        ("http://localhost:5173", true),
        ("http://127.0.0.1:3000", true),
        ("https://app.localhost", true),
        ("https://example.com", false),
        ("http://localhost.example.com", false),
        ("null", false),
    ] {
        let asked = curl(&format!(
            "-X OPTIONS {api}/otp/send -H 'origin: {origin}' -H 'access-control-request-method: POST'"
        ));
        assert_eq!(asked.contains("204 No Content"), is_local, "{asked}");
        let allowed = format!("access-control-allow-origin: {origin}\r");
        assert_eq!(asked.contains(&allowed), is_local, "{asked}");
        // A page may send the token of its user. The desk ignores the token.
        let headers = "access-control-allow-headers: content-type, idempotency-key, traceparent, x-request-id, authorization\r";
        assert_eq!(asked.contains(headers), is_local, "{asked}");
        let body = r#"{"destinationNumber":"+1"}"#;
        let answer = curl(&format!(
            "{api}/otp/send {json} -H 'origin: {origin}' -H 'authorization: Bearer x' -d '{body}'"
        ));
        assert!(answer.contains("invalid_phone_number"), "{answer}");
        assert_eq!(answer.contains(&allowed), is_local, "{answer}");
        let exposed = "access-control-expose-headers: idempotency-key-used, x-request-id\r";
        assert_eq!(answer.contains(exposed), is_local, "{answer}");
    }
    // Nobody is a backend here.
    let body = r#"{"destinationNumber":"+14255550142","brandName":"Mine"}"#;
    let answer = curl(&format!("{api}/otp/send {json} -d '{body}'"));
    assert!(answer.contains("malformed_request"), "{answer}");
    desk.stop("-INT");
}

#[test]
fn another_host_name_is_answered_only_if_it_was_given() {
    for (given, status) in [
        (None, "403"),
        (Some("HOST=host.docker.internal,10.0.2.2"), "200"),
    ] {
        let [port, api_port] = free_ports();
        let mut arguments = vec!["--port", &port, "--api-port", &api_port];
        arguments.extend(given.iter().flat_map(|given| ["--set", given]));
        let desk = Desk::start(&arguments);
        let screen = desk.until("Below is the log").join("\n");
        // The listening address stays.
        assert!(
            screen.contains(&format!("http://127.0.0.1:{port}")),
            "{screen}"
        );
        for host in ["host.docker.internal:1", "10.0.2.2"] {
            let answer = curl(&format!("http://127.0.0.1:{port}/inbox -H 'host: {host}'"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
        let answer = curl(&format!(
            "http://127.0.0.1:{port}/inbox -H 'host: evil.example'"
        ));
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        desk.stop("-INT");
    }
}

#[test]
fn a_person_gets_one_readable_line_a_request() {
    let [port, api_port] = free_ports();
    let ports = ["--port", &port, "--api-port", &api_port];
    let desk = Desk::start(&[&ports[..], &["--log", "lines"]].concat());
    let screen = desk.until("Below is the log");
    let command = screen
        .iter()
        .find(|line| line.trim_start().starts_with("curl"))
        .unwrap();
    let line = |expected: &str| {
        let seen = desk.lines.recv_timeout(Duration::from_secs(20)).unwrap();
        let (time, rest) = seen.split_once(' ').unwrap_or_default();
        assert!(
            time.len() == 8 && rest.starts_with(expected) && rest.ends_with(" ms"),
            "{seen}"
        );
        assert!(!seen.contains("4255550142"), "{seen}");
    };
    desk.lines.recv_timeout(Duration::from_secs(20)).unwrap();
    paste(command, "");
    line("send +1*******0142 202 pending ");
    paste(command, "");
    line("send +1*******0142 429 resend_too_soon ");
    let inbox = paste(&format!("curl -sS http://127.0.0.1:{port}/inbox"), "");
    let code = between(&inbox, r#""code":""#, "\"");
    let verify = screen
        .iter()
        .find(|line| line.trim_start().starts_with("printf"))
        .unwrap();
    paste(verify, &format!("{code}\n"));
    line("verify +1*******0142 200 verified ");
    desk.stop("-INT");
}

/// Two ports that the desk has found by itself: those that it is told to use are taken.
fn desk_on_its_own_ports() -> (Desk, [String; 2]) {
    let taken = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [phone, api] = taken
        .each_ref()
        .map(|it| it.local_addr().unwrap().port().to_string());
    let desk = Desk::start(&["--port", &phone, "--api-port", &api]);
    let screen = desk.until("Below is the log").join("\n");
    let used = |taken: &str| {
        let said = between(&screen, &format!("Port {taken} is taken"), "is used");
        between(&format!("{said}|"), "so ", " |").to_owned()
    };
    let ports = [used(&phone), used(&api)];
    (desk, ports)
}

#[test]
fn the_desk_says_why_a_number_gets_no_code() {
    let (_desk, [port, api_port]) = desk_on_its_own_ports();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let why = |number: &str| {
        let output = Command::new("./operate.sh")
            .arg("why")
            .current_dir(root)
            .env("NUMBER", number)
            .env("STACK", "desk")
            .env("PORT", &port)
            .env("API_PORT", &api_port)
            .output()
            .unwrap();
        let [printed, told] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{told}");
        assert!(!printed.contains(&number[1..]), "{printed}");
        printed
    };
    let ask = |operation: &str, body: &str| {
        paste(
            &format!(
                "curl -sS http://127.0.0.1:{api_port}/otp/{operation} -H 'content-type: application/json' -d '{body}'"
            ),
            "",
        )
    };
    let send = r#"{"destinationNumber":"+14255550142"}"#;
    assert!(ask("send", send).contains("pending"));
    // Codes have other digits than these with the chance of one in a million, and the simulator never makes this one.
    let guess = r#"{"destinationNumber":"+14255550142","otp":"000000"}"#;
    assert!(ask("verify", guess).contains("attemptsLeft"));
    let told = why("+14255550142");
    for expected in [
        "+1*******0142 is ",
        " in the log.\n",
        "\nOver HTTP: 1 message in 24 hours, at 20",
        "1 failed guess since the last success.\n",
        "\nIn the log of the last day:\n",
        " send: a message was sent by sms\n",
        " verify: the code was wrong, 2 guesses left\n",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // The control: another number has none of this.
    let other = why("+14255550143");
    assert!(
        other.contains("Over HTTP: no message is on record; no failed guess.\n")
            && other.ends_with("\nThe log of the last day has nothing about it.\n"),
        "{other}"
    );
}
