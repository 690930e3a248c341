//! The HTTPS client that all clients of AWS share, with its pool of connections.
//!
//! AWS's own client for its SDK does the same with the same crates, but cannot open a connection before a request needs
//! it. See [`Https::opener`].

use super::CONNECT_TIME_LIMIT;
use super::call::READ_TIME_LIMIT;
use super::connector::IDLE_TIME_LIMIT;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{Request, Uri, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::borrow::Cow;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

type AnyError = Box<dyn Error + Send + Sync>;

type Stream = <HttpsConnector<connect::HttpConnector> as Service<Uri>>::Response;

/// The client, whatever time limits a client of the SDK wants.
#[derive(Debug)]
pub(super) struct Https {
    sender: SharedHttpConnector,
    opener: SharedHttpConnector,
}

impl Https {
    pub(super) fn with_no_connections(tls: ClientConfig) -> Self {
        let mut tcp = connect::HttpConnector::new();
        tcp.set_nodelay(true);
        // An emulator may have an endpoint without TLS.
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_LIMIT)
            .build(InTime(https));
        Self {
            sender: SharedHttpConnector::new(Sender(client.clone())),
            opener: SharedHttpConnector::new(Opener(client)),
        }
    }
}

impl HttpClient for Https {
    /// A client without any time to read sends nothing. It only opens connections.
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        match settings.read_timeout() {
            Some(Duration::ZERO) => self.opener.clone(),
            _ => self.sender.clone(),
        }
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some(Cow::Borrowed("1.x"))))
    }
}

/// TLS that trusts the root certificates in `roots` (PEM) and no others.
pub(super) fn tls(roots: &[u8]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(roots).flatten());
    #[expect(
        clippy::expect_used,
        reason = "fails only for a library without a cipher suite"
    )]
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring should have cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth()
}

/// Sends each request over a connection of the pool, or over a new one.
#[derive(Debug)]
struct Sender(Client<InTime, SdkBody>);

impl HttpConnector for Sender {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            match timeout(READ_TIME_LIMIT, response).await {
                Ok(Ok(response)) => HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Ok(Err(error)) => Err(ConnectorError::io(error.into())),
                Err(_) => Err(ConnectorError::timeout(
                    format!(
                        "no response within {} seconds",
                        READ_TIME_LIMIT.as_secs_f32()
                    )
                    .into(),
                )),
            }
        })
    }
}

/// Opens a connection to the endpoint of a request, and sends nothing. If the pool has an idle connection to the
/// endpoint, no connection is opened.
#[derive(Debug)]
struct Opener(Client<InTime, SdkBody>);

impl HttpConnector for Opener {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // All connections here speak HTTP/1.1, because the handshake offers nothing else. The pool therefore refuses a
        // request in HTTP/2. It does so only after it has a connection, and it keeps the connection.
        let mut unsendable = Request::new(SdkBody::empty());
        *unsendable.version_mut() = Version::HTTP_2;
        match request.uri().parse() {
            Ok(uri) => *unsendable.uri_mut() = uri,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        }
        let refusal = self.0.request(unsendable);
        HttpConnectorFuture::new(async move {
            match refusal.await {
                Ok(_) => Err(ConnectorError::user("the request was sent".into())),
                Err(error) => Err(ConnectorError::user(error.into())),
            }
        })
    }
}

/// Opens connections within [`CONNECT_TIME_LIMIT`].
#[derive(Debug, Clone)]
struct InTime(HttpsConnector<connect::HttpConnector>);

impl Service<Uri> for InTime {
    type Response = Stream;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, AnyError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let stream = self.0.call(uri);
        Box::pin(async move {
            timeout(CONNECT_TIME_LIMIT, stream)
                .await
                .unwrap_or_else(|_| Err("the time for a connection was over".into()))
        })
    }
}
