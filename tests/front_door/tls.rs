//! TLS to AWS: only the right roots are trusted.

use crate::world::{NUMBER, World};
use aws_sdk_pinpoint::types::VerifyOtpMessageRequestParameters;
use otp_lambda::aws::AMAZON_ROOTS;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// A TLS server for `localhost` in front of the simulator, and the file with its root certificate.
pub(crate) struct Terminator {
    pub(crate) url: String,
    pub(crate) root: PathBuf,
    connections: Arc<AtomicUsize>,
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
        let counting = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::SeqCst);
                let (acceptor, simulator) = (acceptor.clone(), simulator.clone());
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut plain = TcpStream::connect(simulator.trim_start_matches("http://"))
                            .await
                            .unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
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
        }
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.root);
    }
}

#[tokio::test]
async fn a_send_over_tls_reaches_only_servers_that_the_bundle_trusts() {
    let simulator = simulator::Simulator::start(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
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
    let simulator = simulator::Simulator::start(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
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

    let simulator = simulator::Simulator::start(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
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
