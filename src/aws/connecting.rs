//! Opens a connection to a service before a call needs it, and sends nothing.

use super::{CONNECT_TIME_LIMIT, with_time_limits};
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The time limits of a call that only opens a connection: without time for a response, nothing is sent.
pub(super) fn only_connecting() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIME_LIMIT)
        .read_timeout(Duration::ZERO)
        .build()
}

/// Opens connections to one service. Only the SDK knows the service's address, so the first connection is opened by a
/// call through the SDK that is never sent. Each later connection is opened without the SDK, because such a call needs
/// nearly half as much processor time as the handshake.
#[derive(Debug)]
pub(super) struct Connecting {
    config: SdkConfig,
    remembered: Remembered,
}

type Remembered = Arc<OnceLock<Request>>;

/// The request that the SDK would have sent, as far as opening a connection needs it.
#[derive(Debug)]
struct Request {
    client: SharedHttpClient,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
    uri: String,
}

impl Connecting {
    pub(super) fn new(config: &SdkConfig) -> Self {
        let remembered = Remembered::default();
        let mut config = with_time_limits(config, only_connecting());
        if let Some(client) = config.http_client() {
            let remembers = Remembers {
                client,
                remembered: Arc::clone(&remembered),
            };
            config = config.to_builder().http_client(remembers).build();
        }
        Self { config, remembered }
    }

    /// The configuration of the first call.
    pub(super) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Opens a connection to where the first call went. Returns whether there was a first call.
    pub(super) async fn again(&self) -> bool {
        let Some(first) = self.remembered.get() else {
            return false;
        };
        let mut request = HttpRequest::new(SdkBody::empty());
        if request.set_uri(first.uri.as_str()).is_err() {
            return false;
        }
        let connector = first
            .client
            .http_connector(&first.settings, &first.components);
        // This request always fails, because it is not sent.
        let _ = connector.call(request).await;
        true
    }
}

/// A client that remembers the first request.
#[derive(Debug)]
struct Remembers {
    client: SharedHttpClient,
    remembered: Remembered,
}

impl HttpClient for Remembers {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(RemembersFirst {
            client: self.client.clone(),
            settings: settings.clone(),
            components: components.clone(),
            remembered: Arc::clone(&self.remembered),
        })
    }
}

#[derive(Debug)]
struct RemembersFirst {
    client: SharedHttpClient,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
    remembered: Remembered,
}

impl HttpConnector for RemembersFirst {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.remembered.get_or_init(|| Request {
            client: self.client.clone(),
            settings: self.settings.clone(),
            components: self.components.clone(),
            uri: request.uri().to_owned(),
        });
        let connector = self.client.http_connector(&self.settings, &self.components);
        connector.call(request)
    }
}
