//! Connections that AWS ends while the function is frozen.
//!
//! The thread of a test is the function's only thread. While the test waits in `Peer::end_the_connection`, the
//! function stands still, as it does on Lambda between two invocations.

use super::tls::{SLOW_HANDSHAKE, Terminator, guess_once};
use crate::world::{self, Answer, NUMBER, World};
use aws_types::sdk_config::TimeSource;
use otp_lambda::aws::{SdkConfig, SharedHttpClient};
use serde_json::json;
use simulator::{MemoryLedger, Operation, Simulator};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// How a peer ends a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// By FIN.
    Close,
    /// By RST.
    Reset,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    /// End all connections.
    End(End),
    /// Pass on the next request, but not its response: end the connection when the response comes.
    EndAtTheNextResponse(End),
}

/// A peer between the function and a server, with a thread of its own, which the function's freeze does not stop.
struct Peer {
    port: u16,
    orders: broadcast::Sender<Order>,
    obeyed: mpsc::Receiver<()>,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// `server` is the server's address, without a scheme.
    fn start(server: String) -> Self {
        let (orders, _) = broadcast::channel(8);
        let (obey, obeyed) = mpsc::channel();
        let (tell_port, port) = mpsc::channel();
        let connections = Arc::<AtomicUsize>::default();
        let (to_connections, counted) = (orders.clone(), Arc::clone(&connections));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell_port
                    .send(listener.local_addr().unwrap().port())
                    .unwrap();
                while let Ok((function, _)) = listener.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let server = TcpStream::connect(&server).await.unwrap();
                    let orders = to_connections.subscribe();
                    tokio::spawn(pass_on(function, server, orders, obey.clone()));
                }
            });
        });
        Self {
            port: port.recv().unwrap(),
            orders,
            obeyed,
            connections,
        }
    }

    /// Ends the open connection while the function is frozen.
    fn end_the_connection(&self, end: End) {
        self.order(Order::End(end));
        // The packet must have arrived before the function goes on. On the loopback device that takes microseconds.
        thread::sleep(Duration::from_millis(20));
    }

    fn end_at_the_next_response(&self, end: End) {
        self.order(Order::EndAtTheNextResponse(end));
    }

    fn order(&self, order: Order) {
        let open = self.orders.send(order).unwrap();
        assert_eq!(open, 1, "one connection is open");
        self.obeyed.recv_timeout(Duration::from_mins(1)).unwrap();
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn pass_on(
    mut function: TcpStream,
    mut server: TcpStream,
    mut orders: broadcast::Receiver<Order>,
    obey: mpsc::Sender<()>,
) {
    let (mut asked, mut answered) = (vec![0; 16384], vec![0; 16384]);
    let mut at_response = None;
    let end = loop {
        tokio::select! {
            order = orders.recv() => match order.unwrap() {
                Order::End(end) => break end,
                Order::EndAtTheNextResponse(end) => {
                    at_response = Some(end);
                    obey.send(()).unwrap();
                }
            },
            count = function.read(&mut asked) => match count {
                Ok(0) | Err(_) => return,
                Ok(count) => server.write_all(&asked[..count]).await.unwrap(),
            },
            count = server.read(&mut answered) => match (count, at_response) {
                (Ok(0) | Err(_), _) => return,
                (Ok(_), Some(end)) => break end,
                (Ok(count), None) => function.write_all(&answered[..count]).await.unwrap(),
            },
        }
    };
    if end == End::Reset {
        function.set_zero_linger().unwrap();
    }
    drop(function);
    let _ = obey.send(());
}

/// A function whose provider is the simulator, behind a peer that ends connections. The traffic is encrypted if `tls`.
struct Scene {
    world: World,
    peer: Peer,
    _terminator: Option<Terminator>,
}

impl Scene {
    async fn new(tls: bool) -> Self {
        Self::with_client(tls, None).await
    }

    /// With `client` in place of the function's own HTTP client.
    async fn with_client(tls: bool, client: Option<SharedHttpClient>) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let terminator = if tls {
            Some(Terminator::start(simulator.url()).await)
        } else {
            None
        };
        let server = match &terminator {
            Some(terminator) => terminator.url.replace("https://localhost", "127.0.0.1"),
            None => simulator.url().replace("http://", ""),
        };
        let peer = Peer::start(server);
        let scheme = if tls { "https" } else { "http" };
        let endpoint = format!("{scheme}://localhost:{}", peer.port);
        let root = terminator
            .as_ref()
            .map_or("", |terminator| terminator.root.to_str().unwrap());
        let environment = world::changed(
            &simulator.url(),
            &[(crate::with::ENDPOINT, &endpoint), ("AWS_CA_BUNDLE", root)],
        );
        let app = world::app(&environment, client, Box::new(MemoryLedger::new())).await;
        Self {
            world: World::around(app, simulator),
            peer,
            _terminator: terminator,
        }
    }

    /// Sends a code. On a machine with much else to do, a handshake can take longer than the function waits for a
    /// handshake. Then nothing was sent, and the code is sent again.
    async fn send(&self) -> Answer {
        loop {
            let answer = self
                .world
                .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
                .await;
            let was_slow = self.world.last_line()["cause"]
                .as_str()
                .is_some_and(|cause| cause.contains(SLOW_HANDSHAKE));
            // The end of a connection that was given up takes a moment.
            while self.peer.orders.receiver_count() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if !was_slow {
                return answer;
            }
        }
    }

    /// How many sends the provider got.
    fn sends(&self) -> usize {
        self.world.simulator.requests(Operation::Send).len()
    }

    fn connections(&self) -> usize {
        self.peer.connections()
    }
}

const KINDS: [(bool, End); 4] = [
    (false, End::Close),
    (false, End::Reset),
    (true, End::Close),
    (true, End::Reset),
];

#[tokio::test]
async fn a_connection_that_ended_in_a_freeze_costs_no_send() {
    for (tls, end) in KINDS {
        let scene = Scene::new(tls).await;
        for sent in 1..=8 {
            let before = scene.connections();
            let answer = scene.send().await;
            let log = scene.world.log.text();
            assert_eq!(answer.status, 202, "{tls} {end:?}, send {sent}: {log}");
            assert_eq!(scene.sends(), sent);
            assert!(scene.connections() > before, "{tls} {end:?}, send {sent}");
            scene.peer.end_the_connection(end);
        }
    }
}

/// The control: with the SDK's own connector, the end of the connection is not noticed in time.
#[tokio::test]
async fn the_usual_connector_loses_a_send_after_such_a_freeze() {
    for end in [End::Close, End::Reset] {
        let usual = aws_smithy_http_client::Builder::new().build_http();
        let scene = Scene::with_client(false, Some(usual)).await;
        assert_eq!(scene.send().await.status, 202);
        let before = scene.connections();
        scene.peer.end_the_connection(end);
        let answer = scene.send().await;
        assert_eq!(answer.body["delivery"], "unknown", "{end:?} {answer:?}");
        assert_eq!((scene.sends(), scene.connections()), (1, before));
    }
}

/// The control of the other side: the provider has the request, so only the person knows whether there was a message.
#[tokio::test]
async fn a_send_that_the_provider_may_have_read_is_not_repeated() {
    for (tls, end) in KINDS {
        let scene = Scene::new(tls).await;
        assert_eq!(scene.send().await.status, 202);
        let before = scene.connections();
        scene.peer.end_at_the_next_response(end);
        let answer = scene.send().await;
        answer.is_problem(503, "provider_unavailable");
        assert_eq!(answer.body["delivery"], "unknown", "{tls} {end:?}");
        assert_eq!((scene.sends(), scene.connections()), (2, before));
        assert_eq!(scene.send().await.status, 202);
        assert_eq!(scene.sends(), 3);
        assert!(scene.connections() > before, "{tls} {end:?}");
    }
}

/// A wall clock that a test moves. The monotonic clock goes its own way.
#[derive(Debug, Clone)]
struct WallClock(Arc<Mutex<SystemTime>>);

impl WallClock {
    fn move_by(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A configuration of the SDK with this wall clock, whose endpoint is the peer of a simulator.
async fn behind_a_peer(simulator: &Simulator) -> (Peer, WallClock, SdkConfig) {
    let peer = Peer::start(simulator.url().replace("http://", ""));
    let clock = WallClock(Arc::new(Mutex::new(simulator.now())));
    let config = simulator::simulated_config(otp_lambda::aws::http_client(None))
        .time_source(clock.clone())
        .endpoint_url(format!("http://localhost:{}", peer.port))
        .load()
        .await;
    (peer, clock, config)
}

#[tokio::test]
async fn a_connection_is_not_used_after_a_sleep_that_the_monotonic_clock_missed() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (peer, clock, config) = behind_a_peer(&simulator).await;
    let client = aws_sdk_pinpoint::Client::new(&config);
    // One long sleep and many short ones come to the same.
    for (slept, connections) in [(0, 1), (19, 1), (25, 2), (0, 2), (15, 2), (15, 3), (0, 3)] {
        clock.move_by(slept);
        guess_once(&client).await;
        assert_eq!(peer.connections(), connections, "after {slept} s");
    }
}

/// A request opens the connection to the provider before its steps only if the provider knows that the old one is not
/// used again.
#[tokio::test]
async fn a_provider_connects_again_after_a_sleep_that_the_monotonic_clock_missed() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (peer, clock, config) = behind_a_peer(&simulator).await;
    let settings = world::read(&simulator.url(), &[]);
    let provider = settings.provider.connect(&config).current;
    // Nothing was connected before, so nothing is connected again.
    provider.reconnect().await;
    assert_eq!(peer.connections(), 0);
    provider.connect().await;
    for (slept, connections) in [(0, 1), (19, 1), (25, 2), (0, 2)] {
        clock.move_by(slept);
        provider.reconnect().await;
        // The peer takes a moment to accept.
        let accepted = async {
            while peer.connections() < connections {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let accepted = tokio::time::timeout(Duration::from_secs(5), accepted);
        assert!(accepted.await.is_ok(), "none opened after {slept} s");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(peer.connections(), connections, "after {slept} s");
    }
}
