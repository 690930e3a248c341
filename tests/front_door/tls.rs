//! TLS to AWS: only the right roots are trusted.

use crate::world::{Answer, KEY, NUMBER, World, app, changed};
use async_trait::async_trait;
use aws_sdk_pinpoint::types::VerifyOtpMessageRequestParameters;
use otp_lambda::aws::AMAZON_ROOTS;
use otp_lambda::ledger::Unavailable;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{MemoryLedger, Simulator};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::server::TlsStream;

/// The cause of a call whose handshake took longer than the function waits. It can happen on a busy machine.
pub(crate) const SLOW_HANDSHAKE: &str = "the time for a connection was over";

/// A TLS server for `localhost` in front of the simulator, and the file with its root certificate.
pub(crate) struct Terminator {
    pub(crate) url: String,
    pub(crate) root: PathBuf,
    /// The handshakes that have ended well.
    connections: Arc<AtomicUsize>,
    /// The bytes that clients have sent over TLS.
    received: Arc<AtomicU64>,
}

impl Terminator {
    pub(crate) async fn start(simulator: String) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let received = Arc::<AtomicU64>::default();
        let (counting, measuring) = (Arc::clone(&connections), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, simulator) = (acceptor.clone(), simulator.clone());
                let (counting, measuring) = (Arc::clone(&counting), Arc::clone(&measuring));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        counting.fetch_add(1, Ordering::SeqCst);
                        let plain = TcpStream::connect(simulator.trim_start_matches("http://"))
                            .await
                            .unwrap();
                        pass_on(stream, plain, &measuring).await;
                    }
                });
            }
        });
        let root =
            std::env::temp_dir().join(format!("otp-lambda-root-{}-{port}.pem", std::process::id()));
        std::fs::write(&root, issued.cert.pem()).unwrap();
        Self {
            url: format!("https://localhost:{port}"),
            root,
            connections,
            received,
        }
    }
}

/// Passes bytes on in both directions, and counts those of the client.
async fn pass_on(client: TlsStream<TcpStream>, server: TcpStream, measuring: &AtomicU64) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = async {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
            measuring.fetch_add(u64::try_from(length).unwrap(), Ordering::SeqCst);
            if to_server.write_all(&bytes[..length]).await.is_err() {
                break;
            }
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = there => {}
        _ = back => {}
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.root);
    }
}

#[tokio::test]
async fn a_send_over_tls_reaches_only_servers_that_the_bundle_trusts() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let terminator = Terminator::start(simulator.url()).await;
    let root = terminator.root.to_str().unwrap();
    let endpoint = (crate::with::ENDPOINT, terminator.url.as_str());

    let trusting = World::with(&[endpoint, ("AWS_CA_BUNDLE", root)]).await;
    let answer = trusting
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(answer.status, 202, "{answer:?} {}", trusting.log.text());
    assert_eq!(simulator.inbox().len(), 1);

    let usual = World::with(&[endpoint]).await;
    let answer = usual
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body.get("delivery"), None);
    let cause = usual.last_line()["cause"].as_str().unwrap().to_owned();
    assert!(
        cause.starts_with("no connection: ") && cause.contains("UnknownIssuer"),
        "{cause}"
    );
    assert_eq!(
        simulator.inbox().len(),
        1,
        "nothing was sent to an untrusted server"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let terminator = Terminator::start(simulator.url()).await;
    let by_address = terminator.url.replace("localhost", "127.0.0.1");
    let root = terminator.root.to_str().unwrap();
    let world = World::with(&[
        (crate::with::ENDPOINT, &by_address),
        ("AWS_CA_BUNDLE", root),
    ])
    .await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(simulator.inbox().len(), 0);
}

/// Makes one call to Pinpoint.
pub(crate) async fn guess_once(client: &aws_sdk_pinpoint::Client) {
    let guess = VerifyOtpMessageRequestParameters::builder()
        .destination_identity(NUMBER)
        .reference_id("a")
        .otp("123456")
        .build();
    client
        .verify_otp_message()
        .application_id("a")
        .verify_otp_message_request_parameters(guess)
        .send()
        .await
        .unwrap();
}

/// A connector has its own connections and has parsed the roots for itself.
#[tokio::test]
async fn all_clients_share_one_connector_whatever_their_time_limits_are() {
    use aws_config::timeout::TimeoutConfig;

    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let terminator = Terminator::start(simulator.url()).await;
    let root = std::fs::read(&terminator.root).unwrap();
    let shared = otp_lambda::aws::http_client(Some(&root));
    let others = otp_lambda::aws::http_client(Some(&root));
    // The last one is the control: it has an HTTP client of its own.
    for (client, seconds, connections) in [(&shared, 1, 1), (&shared, 2, 1), (&others, 2, 2)] {
        let config = simulator::simulated_config(client.clone())
            .endpoint_url(&terminator.url)
            .load()
            .await;
        let limits = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(seconds))
            .read_timeout(Duration::from_secs(seconds))
            .build();
        let config = config.to_builder().timeout_config(limits).build();
        guess_once(&aws_sdk_pinpoint::Client::new(&config)).await;
        assert_eq!(terminator.connections.load(Ordering::SeqCst), connections);
    }
}

/// Opens the function's connections as at its start, until one is open: a busy machine may need several tries.
async fn connect(world: &World, terminator: &Terminator) {
    for _ in 0..20 {
        world.connect().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if terminator.connections.load(Ordering::SeqCst) > 0 {
            return;
        }
    }
    panic!("no connection was opened");
}

/// Sends a code, again if a handshake was too slow.
async fn send(world: &World, number: &str) -> Answer {
    loop {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await;
        let cause = &world.last_line()["cause"];
        if !cause.as_str().is_some_and(|it| it.contains(SLOW_HANDSHAKE)) {
            return answer;
        }
    }
}

async fn behind(terminator: &Terminator) -> World {
    let root = terminator.root.to_str().unwrap();
    let endpoint = (crate::with::ENDPOINT, terminator.url.as_str());
    World::with(&[endpoint, ("AWS_CA_BUNDLE", root)]).await
}

#[tokio::test]
async fn a_connection_of_the_start_carries_no_call_and_is_used_by_the_first_send() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    // The last function is the control: it connects when it sends.
    for connects in [true, false] {
        let terminator = Terminator::start(simulator.url()).await;
        let world = behind(&terminator).await;
        let opened = || terminator.connections.load(Ordering::SeqCst);
        let received = || terminator.received.load(Ordering::SeqCst);
        if connects {
            connect(&world, &terminator).await;
            world.connect().await;
        }
        assert_eq!(opened(), usize::from(connects));
        assert_eq!(received(), 0, "a call was made");
        let calls = simulator.inbox().len();
        for sent in 1..=2 {
            let number = format!("+1425555014{}", 2 * sent + usize::from(connects));
            let answer = send(&world, &number).await;
            assert_eq!(answer.status, 202, "{answer:?} {}", world.log.text());
            assert_eq!(simulator.inbox().len(), calls + sent);
            assert_eq!(opened(), 1);
        }
        assert!(received() > 0);
    }
}

/// A table whose first step of a send waits for a further connection to the provider.
struct Awaiting {
    ledger: MemoryLedger,
    connections: Arc<AtomicUsize>,
    /// The connections that the step waits for, and whether they have come in time.
    wanted: Arc<AtomicUsize>,
    came: Arc<AtomicBool>,
    patience: Duration,
}

#[async_trait]
impl Layer for Awaiting {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        if matches!(step, Step::Number { .. }) {
            let started = Instant::now();
            let are_open =
                || self.connections.load(Ordering::SeqCst) >= self.wanted.load(Ordering::SeqCst);
            while !are_open() && started.elapsed() < self.patience {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.came.store(are_open(), Ordering::SeqCst);
        }
        step.run(&self.ledger).await
    }
}

#[tokio::test]
async fn after_a_silence_the_provider_is_connected_beside_the_steps_of_the_table() {
    // The silence takes 21 seconds, so only a full run has it.
    if !simulator::is_full() {
        return;
    }
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let terminator = Terminator::start(simulator.url()).await;
    let (wanted, came) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let awaiting = Awaiting {
        ledger: MemoryLedger::new(),
        connections: Arc::clone(&terminator.connections),
        wanted: Arc::clone(&wanted),
        came: Arc::clone(&came),
        patience: Duration::from_secs(4),
    };
    let environment = changed(
        &simulator.url(),
        &[
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", KEY),
            ("SEND_LIMITS", "20/1s"),
            (crate::with::ENDPOINT, &terminator.url),
            ("AWS_CA_BUNDLE", terminator.root.to_str().unwrap()),
        ],
    );
    let app = app(&environment, None, Box::new(Layered(awaiting))).await;
    let world = World::around(app, simulator);
    let send = async |connections: usize, number: &str| {
        wanted.store(connections, Ordering::SeqCst);
        let answer = send(&world, number).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        came.load(Ordering::SeqCst)
    };
    let opened = || terminator.connections.load(Ordering::SeqCst);
    connect(&world, &terminator).await;
    // The control: the connection is still good, and no other one is opened.
    assert!(!send(2, "+14255550143").await);
    assert_eq!(opened(), 1);

    // On a busy machine, a handshake can be too slow.
    let mut is_beside = false;
    for silence in 4..7 {
        tokio::time::sleep(Duration::from_secs(21)).await;
        is_beside = send(opened() + 1, &format!("+1425555014{silence}")).await;
        if is_beside {
            break;
        }
    }
    assert!(is_beside, "opened only after the steps");
    // On a busy machine the steps may be done before the handshake. The call then opens a connection of its own.
    let before = opened();
    assert!(send(before, "+14255550147").await);
    assert_eq!(opened(), before);
}

#[tokio::test]
async fn a_start_without_a_connection_ends_in_time_and_the_function_still_serves() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    // A server that accepts connections and says nothing, and a port without a server.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    for endpoint in [
        silent.as_str(),
        "https://127.0.0.1:1",
        "https://nowhere.invalid",
    ] {
        let world = World::with(&[(crate::with::ENDPOINT, endpoint)]).await;
        let started = Instant::now();
        world.connect().await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{endpoint}: {took:?}");
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        answer.is_problem(503, "provider_unavailable");
        assert_eq!(answer.body.get("delivery"), None);
    }
    assert_eq!(simulator.inbox().len(), 0);
}

#[test]
fn the_roots_are_amazons_five_and_mozilla_trusts_them() {
    let roots: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(AMAZON_ROOTS.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(roots.len(), 5);
    for root in &roots {
        let anchor = webpki::anchor_from_trusted_cert(root).unwrap();
        let subject = String::from_utf8_lossy(&anchor.subject);
        assert!(
            subject.contains("Amazon") || subject.contains("Starfield Services"),
            "{subject}"
        );
        let trusted = webpki_roots::TLS_SERVER_ROOTS.iter().any(|known| {
            known.subject == anchor.subject
                && known.subject_public_key_info == anchor.subject_public_key_info
        });
        assert!(trusted, "{subject}");
    }
}
