//! Plays AWS's endpoints: the simulator and the emulator of DynamoDB, with TLS 1.3 in front of both. Delays responses,
//! and counts everything that arrives.

use crate::table::read_message;
use otp_lambda::aws::AMAZON_ROOTS;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned, version};

/// The hosts of the table, the provider and Secrets Manager. On AWS, each service has a host of its own, and a client
/// keeps TLS sessions for each host separately. So each service has a host of its own here, too. The only host name
/// that every machine knows is `localhost`. The other two hosts are therefore addresses.
const HOSTS: [(&str, u8); 3] = [("127.0.0.2", 2), ("localhost", 1), ("127.0.0.3", 3)];

/// The properties of the certificates.
const EXTENSIONS: &str = "\
[authority]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[server]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.2,IP:127.0.0.3
";

/// The file in which Debian's package ca-certificates has Mozilla's roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The last line of a certificate.
const END: &str = "-----END CERTIFICATE-----";

/// A chain of two RSA certificates, like those of AWS's endpoints. A process of the benchmark makes one chain.
pub(super) struct Certificates {
    /// A file with as many root certificates as the function trusts. The root of this chain replaces one of Amazon's.
    pub(super) roots: PathBuf,
    /// A file with the system's root certificates and the root of this chain, for programs that trust all of them.
    pub(super) system_roots: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// Makes the files in `folder`, with OpenSSL.
    pub(super) fn make(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("extensions"), EXTENSIONS).unwrap();
        for (name, issuer, section) in [
            ("root", "root", "authority"),
            ("middle", "root", "authority"),
            ("server", "middle", "server"),
        ] {
            let request = format!(
                "req -new -newkey rsa:2048 -nodes -sha256 -subj /CN={name} -keyout {name}.key -out {name}.csr"
            );
            openssl(folder, &request);
            let signer = if name == issuer {
                format!("-signkey {name}.key")
            } else {
                format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial")
            };
            let sign = format!(
                "x509 -req -in {name}.csr -sha256 -days 30 {signer} -extfile extensions -extensions {section} \
                 -out {name}.pem"
            );
            openssl(folder, &sign);
        }
        let root = std::fs::read_to_string(folder.join("root.pem")).unwrap();
        let (_, others) = AMAZON_ROOTS.split_once(END).unwrap();
        std::fs::write(folder.join("roots.pem"), root.clone() + others).unwrap();
        let system = std::fs::read_to_string(SYSTEM_ROOTS).unwrap_or_default();
        std::fs::write(folder.join("system-roots.pem"), system + &root).unwrap();
        let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
        Self {
            roots: folder.join("roots.pem"),
            system_roots: folder.join("system-roots.pem"),
            chain: vec![certificate("server.pem"), certificate("middle.pem")],
            key: PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap(),
        }
    }

    /// A new server. The sessions that this server has given can be resumed only there.
    fn server(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        Arc::new(config)
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl should be installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How late an endpoint is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delay {
    /// Before each response.
    pub(super) response: Duration,
    /// For each round trip of a new connection: one of TCP and one of TLS.
    pub(super) round_trip: Duration,
}

/// Requests and connections that have reached an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) trips: u64,
    /// Handshakes with certificates, and handshakes that resumed an earlier session.
    pub(super) full: u64,
    pub(super) resumed: u64,
}

impl std::ops::Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            trips: self.trips - earlier.trips,
            full: self.full - earlier.full,
            resumed: self.resumed - earlier.resumed,
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            trips: self.trips + other.trips,
            full: self.full + other.full,
            resumed: self.resumed + other.resumed,
        }
    }
}

#[derive(Default)]
struct Counters {
    /// Handshakes that are not over yet.
    begun: AtomicU64,
    trips: AtomicU64,
    full: AtomicU64,
    resumed: AtomicU64,
}

/// The longest wait for the end of a handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// One service of AWS.
pub(super) struct Endpoint {
    pub(super) url: String,
    counters: Arc<Counters>,
}

impl Endpoint {
    /// Serves `behind`, an address of plain HTTP, under the host name number `host`.
    pub(super) fn start(
        certificates: &Certificates,
        host: usize,
        behind: SocketAddr,
        delay: Delay,
    ) -> Self {
        let (name, last) = HOSTS[host];
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)).unwrap();
        let url = format!("https://{name}:{}", listener.local_addr().unwrap().port());
        let counters = Arc::<Counters>::default();
        let (config, counting) = (certificates.server(), Arc::clone(&counters));
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let (config, counters) = (Arc::clone(&config), Arc::clone(&counting));
                counters.begun.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(client, config, behind, delay, &counters));
            }
        });
        Self { url, counters }
    }

    /// Waits for handshakes that the function has finished a moment ago. A connection that the function opens while it
    /// starts carries no request, so nothing else shows that its handshake is over on this side too.
    pub(super) fn counts(&self) -> Counts {
        let started = Instant::now();
        while self.counters.begun.load(Ordering::SeqCst) > 0 && started.elapsed() < PATIENCE {
            sleep(Duration::from_millis(1));
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            trips: read(&self.counters.trips),
            full: read(&self.counters.full),
            resumed: read(&self.counters.resumed),
        }
    }
}

/// Serves one connection until it closes.
fn serve(
    mut client: TcpStream,
    config: Arc<ServerConfig>,
    behind: SocketAddr,
    delay: Delay,
    counters: &Counters,
) -> Option<()> {
    let session = shake_hands(&mut client, config, delay);
    match session.as_ref().map(|session| session.handshake_kind()) {
        None => {}
        Some(Some(HandshakeKind::Resumed)) => {
            counters.resumed.fetch_add(1, Ordering::SeqCst);
        }
        Some(_) => {
            counters.full.fetch_add(1, Ordering::SeqCst);
        }
    }
    counters.begun.fetch_sub(1, Ordering::SeqCst);
    let session = session?;
    let mut client = StreamOwned::new(session, client);
    let mut server = None;
    loop {
        let request = read_message(&mut client)?;
        counters.trips.fetch_add(1, Ordering::SeqCst);
        let (head, body) = forward(&mut server, behind, &request)?;
        sleep(delay.response);
        let response = [head.as_bytes(), b"\r\n\r\n", &body].concat();
        client.write_all(&response).ok()?;
        client.flush().ok()?;
    }
}

fn shake_hands(
    client: &mut TcpStream,
    config: Arc<ServerConfig>,
    delay: Delay,
) -> Option<ServerConnection> {
    client.set_nodelay(true).ok()?;
    sleep(delay.round_trip * 2);
    let mut session = ServerConnection::new(config).ok()?;
    while session.is_handshaking() {
        session.complete_io(client).ok()?;
    }
    Some(session)
}

/// Asks the plain server, on one connection as long as it lasts.
fn forward(
    server: &mut Option<TcpStream>,
    behind: SocketAddr,
    (head, body): &(String, Vec<u8>),
) -> Option<(String, Vec<u8>)> {
    // The simulator answers only under local names.
    let lines = head.lines().map(|line| {
        if line.to_ascii_lowercase().starts_with("host:") {
            format!("host: {behind}\r\n")
        } else {
            format!("{line}\r\n")
        }
    });
    let mut connection = server.take().or_else(|| {
        let connection = TcpStream::connect(behind).ok()?;
        connection.set_nodelay(true).ok()?;
        Some(connection)
    })?;
    let request = [lines.collect::<String>().as_bytes(), b"\r\n", body].concat();
    connection.write_all(&request).ok()?;
    let response = read_message(&mut connection)?;
    if !response
        .0
        .to_ascii_lowercase()
        .contains("\r\nconnection: close")
    {
        *server = Some(connection);
    }
    Some(response)
}
