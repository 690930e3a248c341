//! The HTTP client that all clients of AWS share: its trust, its connections, and their end while the function is frozen.

use super::https::{Https, tls};
use aws_sdk_dynamodb::error::ConnectorError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::ClientConfig;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The public root certificates of AWS's endpoints: four of Amazon, and one of Starfield, which signs Amazon's
/// certificates for old clients. The system's bundle has 145 roots, and parsing it takes longer than the whole first
/// request.
pub const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// How long an idle connection is kept.
///
/// While Lambda has frozen the function, AWS may close an idle connection. If the connection was idle for long, the
/// message that closes it is more often still on its way when the next request is written. Then nobody knows whether
/// AWS has read the request. A failed send is not repeated, and the caller is told that a message may have been sent. A
/// new connection costs only a few milliseconds, so an old connection is not worth this risk.
pub(super) const IDLE_TIME_LIMIT: Duration = Duration::from_secs(20);

/// An HTTPS client that trusts Amazon's roots, or those in `ca_bundle` (PEM) instead.
#[must_use]
pub fn http_client(ca_bundle: Option<&[u8]>) -> SharedHttpClient {
    let tls = tls(ca_bundle.unwrap_or(AMAZON_ROOTS.as_bytes()));
    SharedHttpClient::new(OneConnector {
        connections: Mutex::new(Connections {
            client: SharedHttpClient::new(Https::with_no_connections(tls.clone())),
            clocks: None,
        }),
        tls,
    })
}

/// Whether the connection could not be opened, so that nothing was sent.
pub(super) fn never_connected(error: &ConnectorError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = error.source();
    }
    false
}

/// Gives all clients one connector, so that the root certificates are parsed once. By default, the SDK makes a
/// connector for each set of time limits, and another connector to check each client's configuration.
///
/// With one connector, every client has the same time limits for connecting and reading. These time limits are long
/// enough for a provider. A call to the table or to Secrets Manager has an additional, shorter time limit for the whole
/// call.
#[derive(Debug)]
struct OneConnector {
    tls: ClientConfig,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct Connections {
    client: SharedHttpClient,
    /// The wall clock and the monotonic clock at the first request through `client`.
    clocks: Option<(SystemTime, Instant)>,
}

impl Connections {
    /// Whether the wall clock is so far ahead of the monotonic clock that the limit for idle connections means nothing.
    ///
    /// The limit is counted by the monotonic clock, which may stand still while the machine is suspended.
    fn have_slept(&mut self, now: SystemTime) -> bool {
        let (wall, monotonic) = *self.clocks.get_or_insert_with(|| (now, Instant::now()));
        now.duration_since(wall)
            .is_ok_and(|passed| passed.saturating_sub(monotonic.elapsed()) > IDLE_TIME_LIMIT)
    }
}

impl HttpClient for OneConnector {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = components.time_source().map(|clock| clock.now());
        if now.is_some_and(|now| connections.have_slept(now)) {
            *connections = Connections {
                client: SharedHttpClient::new(Https::with_no_connections(self.tls.clone())),
                clocks: None,
            };
        }
        let connector = connections.client.http_connector(settings, components);
        SharedHttpConnector::new(NoticesEnds(connector))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connections.client.connector_metadata()
    }
}

/// Lets idle connections notice that they have ended, before a request chooses one of them.
///
/// When the function goes on after a freeze, the kernel knows that AWS has ended a connection, but the connection's
/// task has not yet run. Without this step, the request could run first. The request would be written to the connection
/// that has ended. This failure would look like a failure after AWS has read the request.
#[derive(Debug)]
struct NoticesEnds(SharedHttpConnector);

impl HttpConnector for NoticesEnds {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.0.clone();
        HttpConnectorFuture::new(async move {
            // After the first pause, the runtime has asked the kernel and has woken the connections. After the second
            // pause, the tasks of the connections have run.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            connector.call(request).await
        })
    }
}
