//! Starts the binary in a hostile environment. Either the binary runs, or it says in one line why it does not run. In
//! neither case may the binary ask a metadata service.

use crate::world::environment;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

/// An endpoint for credentials, which is asked only if the environment has no credentials.
const ENDPOINT: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// Starts the function in the usual environment with these changes. A change with an empty value removes the variable.
/// The function makes a first request to the Runtime API, this request fails, and the function ends. Returns the
/// output, and whether the request asked for an invocation.
fn start(changes: &[(&str, &str)]) -> (Output, bool) {
    let runtime = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = TcpListener::bind("127.0.0.1:0").unwrap();
    metadata.set_nonblocking(true).unwrap();
    let metadata_url = format!("http://{}", metadata.local_addr().unwrap());
    let mut environment: BTreeMap<String, String> = environment("http://127.0.0.1:1");
    environment.insert(ENDPOINT.to_owned(), metadata_url.clone());
    for (name, value) in changes {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    environment.retain(|_, value| !value.is_empty());
    let child = Command::new(env!("CARGO_BIN_EXE_otp-lambda"))
        .env_clear()
        .envs(&environment)
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            runtime.local_addr().unwrap().to_string(),
        )
        .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata_url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = runtime.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = runtime.accept().unwrap();
        let mut request = [0; 256];
        let length = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..length]);
        let is_next = request.contains("/runtime/invocation/next");
        let _ = stream.write_all(
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
        is_next
    });
    let output = child.wait_with_output().unwrap();
    // Ends the thread if the function never connected.
    let _ = std::net::TcpStream::connect(address);
    assert!(metadata.accept().is_err(), "a metadata service was asked");
    (output, asked.join().unwrap())
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn profiles_and_their_files_have_no_effect_but_a_warning() {
    for (name, value) in [
        ("AWS_PROFILE", "no-such-profile"),
        ("AWS_CONFIG_FILE", "/no/such/file"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file"),
    ] {
        let (output, has_started) = start(&[(name, value)]);
        let log = log(&output);
        assert!(has_started, "{name}: {log}");
        assert!(log.contains(&format!("{name} has no effect")), "{log}");
    }
}

#[test]
fn an_environment_without_a_region_or_with_a_bad_endpoint_is_refused_in_one_line() {
    for (name, value, says) in [
        ("AWS_REGION", "", "AWS_REGION is not set."),
        ("AWS_ACCESS_KEY_ID", "", "AWS_ACCESS_KEY_ID is not set."),
        (
            "AWS_ENDPOINT_URL",
            "no URL",
            "AWS_ENDPOINT_URL must be an http:// or https:// URL.",
        ),
    ] {
        // With an endpoint for credentials, the variables for credentials may be missing.
        let (output, has_started) = start(&[(name, value), (ENDPOINT, "")]);
        let log = log(&output);
        assert!(
            !has_started && output.status.code() == Some(1),
            "{name}: {log}"
        );
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(says), "{log}");
    }
}

#[test]
fn the_region_and_credentials_come_from_the_environment() {
    // The function reads the secret at start, and this request shows the region and the credentials.
    let secrets = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", secrets.local_addr().unwrap());
    let request = thread::spawn(move || {
        let (mut stream, _) = secrets.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:otp-AbCdEf";
    let (output, has_started) = start(&[
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &endpoint),
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", arn),
    ]);
    let request = request.join().unwrap();
    assert!(
        !has_started && log(&output).contains("Secrets Manager"),
        "{}",
        log(&output)
    );
    for expected in [
        "Credential=ASIAEXAMPLE/",
        "/eu-west-1/secretsmanager/aws4_request",
        "x-amz-security-token: example",
    ] {
        assert!(request.contains(expected), "{expected} in {request}");
    }
}
