//! Serves connections, only on loopback addresses and for local host names. Instead of a response, a handler can close
//! the connection.

use std::{
    convert::Infallible,
    error::Error,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, Request, Response, StatusCode, header, uri::Authority},
    response::IntoResponse,
};
use futures_util::{StreamExt as _, stream};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, task::JoinSet};

/// The result of [`bind_or_next`].
#[derive(Debug)]
pub struct Bound {
    /// Listens on 127.0.0.1, or on the address that was asked for.
    pub listener: TcpListener,
    /// The preferred port, if it was taken.
    pub instead_of: Option<u16>,
}

/// Listens on port `preferred` of 127.0.0.1, or on another free port if `preferred` is taken.
///
/// # Errors
///
/// If the program cannot listen on any port.
pub fn bind_or_next(preferred: u16) -> io::Result<Bound> {
    bind_or_next_on(Ipv4Addr::LOCALHOST.into(), preferred)
}

/// As [`bind_or_next`], on this address.
///
/// # Errors
///
/// As [`bind_or_next`].
pub fn bind_or_next_on(address: IpAddr, preferred: u16) -> io::Result<Bound> {
    // The next ports are easy to guess and to remember. If they are all taken, any free port will do.
    let next = (1..=20).filter_map(|step| preferred.checked_add(step));
    for port in std::iter::once(preferred).chain(next).chain([0]) {
        match TcpListener::bind((address, port)) {
            Ok(listener) => {
                return Ok(Bound {
                    listener,
                    instead_of: (port != preferred).then_some(preferred),
                });
            }
            Err(taken) if taken.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The client's address, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Closes the connection instead of responding.
pub(crate) fn hang_up() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
}

/// Sends all headers and half of the body, then closes the connection.
pub(crate) fn truncate(response: Response<Body>, body: &Bytes) -> Response<Body> {
    let (mut head, _) = response.into_parts();
    head.headers
        .insert(header::CONTENT_LENGTH, body.len().into());
    let half = stream::iter([Ok(body.slice(..body.len() / 2))]);
    let end = stream::once(async {
        // When a body ends with an error, hyper drops the bytes that it has not written yet. So there is a wait before
        // the error. During this wait, hyper writes the first half of the body.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(HungUp)
    });
    Response::from_parts(head, Body::from_stream(half.chain(end)))
}

/// The callers that the server answers in addition to programs on this machine.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names in `Host` headers to which the server responds, beside those of this machine. Containers, emulators and
    /// forwarded ports have such names.
    pub hosts: Vec<String>,
    /// Whether to listen on an address that other machines reach.
    pub beyond_this_machine: bool,
}

impl Access {
    /// Whether requests to this host are answered. If other machines may reach the server, a request may name the
    /// server by any IP address. This is safe, because DNS rebinding needs a host name.
    fn answers(&self, authority: &Authority) -> bool {
        let host = authority.host().trim_matches(['[', ']']);
        self.knows(authority) || (self.beyond_this_machine && host.parse::<IpAddr>().is_ok())
    }

    /// Whether this host is this machine, or one that was named.
    pub(crate) fn knows(&self, authority: &Authority) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let is_address = |host: &str| {
            host.parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || is_address(host.trim_matches(['[', ']']))
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(&host))
    }
}

/// Refuses a listener that other machines could reach, unless `access` allows it.
pub(crate) fn checked(listener: &TcpListener, access: &Access) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    if address.ip().is_loopback() || access.beyond_this_machine {
        return Ok(address);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "{address} is not a loopback address: the codes shown here must stay on this machine"
        ),
    ))
}

/// Serves until the returned future is dropped. Dropping it also closes its connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    access: Access,
) -> io::Result<Infallible> {
    let access = Arc::new(access);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_connection(stream, peer, router.clone(), Arc::clone(&access)));
                }
                // Most likely no file descriptor is left. The end of a connection frees one.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    access: Arc<Access>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (router, access) = (router.clone(), Arc::clone(&access));
        async move {
            if !is_local(&request, &access) {
                return Ok(not_local());
            }
            request.extensions_mut().insert(Peer(peer));
            call(router, request).await
        }
    });
    // An error means that the client has left, or that this server has hung up.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Hands a request to the router. An error means that the client gets no response, and loses its connection.
///
/// # Errors
///
/// If the router hangs up on purpose.
pub(crate) async fn call<B>(router: Router, request: Request<B>) -> io::Result<Response<Body>>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let response = router
        .call(request)
        .await
        .unwrap_or_else(|never: Infallible| match never {});
    match response.extensions().get::<HangUp>() {
        // hyper closes the connection silently when a service fails.
        Some(HangUp) => Err(io::Error::other(HungUp)),
        None => Ok(response),
    }
}

/// Whether a request names a local host, or a host that `access` names. This protects against DNS rebinding: a web page
/// lets its own host name resolve to 127.0.0.1, to read the responses of this server. The requests of such a page carry
/// the page's host name.
fn is_local<B>(request: &Request<B>, access: &Access) -> bool {
    host(request.headers()).is_some_and(|host| access.answers(&host))
        && request
            .uri()
            .authority()
            .is_none_or(|authority| access.answers(authority))
}

/// The `Host` header, if present and valid.
fn host(headers: &HeaderMap) -> Option<Authority> {
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
}

fn not_local() -> Response<Body> {
    (
        StatusCode::FORBIDDEN,
        "Only requests to localhost, 127.0.0.1 or [::1] are answered. The desk answers to one more name with `make run HOST=name`.\n",
    )
        .into_response()
}

#[derive(Clone, Copy, Debug)]
struct HangUp;

#[derive(Debug)]
struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("hung up on purpose")
    }
}

impl Error for HungUp {}
