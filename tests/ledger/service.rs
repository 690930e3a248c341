//! The whole service on an emulated table, with a provider that knows one code.

use crate::emulator::Emulator;
use async_trait::async_trait;
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::Hasher;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{Answer, Message, Provider, ProviderLimits, Receipt, Verdict};
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{Limits, Providers, Service};
use otp_lambda::settings::Settings;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The only code that is right.
pub(crate) const RIGHT: &str = "123456";

/// Limits that many people at once do not reach, and a reference for each send.
pub(crate) const WIDE: [(&str, &str); 4] = [
    ("PREFIX_LIMITS", "50000/10m,100000/1h"),
    ("SOURCE_LIMITS", "50000/10m,100000/1h"),
    ("BUDGETS", "1000000/24h"),
    ("REFERENCE_ID", "random"),
];

static LIMITS: LazyLock<ProviderLimits> = LazyLock::new(otp_lambda::aws::pinpoint::limits);

/// Knows one code, and counts its calls.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) sends: AtomicUsize,
    pub(crate) verifies: AtomicUsize,
    /// The reference of each message.
    pub(crate) references: Mutex<Vec<String>>,
    /// When each message was sent.
    pub(crate) sent_at: Mutex<Vec<Instant>>,
    /// How long a call takes.
    pub(crate) latency: Duration,
    /// Whether every code is right.
    pub(crate) knows_all_codes: bool,
}

impl Calls {
    /// Waits as the adapters do. Without enough time nothing is called, and a call that takes longer is abandoned.
    async fn wait(&self, count: &AtomicUsize, time_limit: Duration) -> Result<(), Error> {
        let timeout = Error::new(ErrorCode::ProviderTimeout, "The provider was too slow.");
        if time_limit < Duration::from_millis(200) {
            return Err(timeout);
        }
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::timeout(time_limit, tokio::time::sleep(self.latency))
            .await
            .map_err(|_| timeout.with_unknown_delivery())
    }
}

struct OneCode(Arc<Calls>);

#[async_trait]
impl Provider for OneCode {
    fn name(&self) -> &'static str {
        "pinpoint"
    }

    fn limits(&self) -> &ProviderLimits {
        &LIMITS
    }

    async fn send(&self, message: &Message<'_>, time: Duration) -> Result<Receipt, Error> {
        self.0.wait(&self.0.sends, time).await?;
        let reference = message.reference.expose().to_owned();
        self.0.references.lock().unwrap().push(reference);
        self.0.sent_at.lock().unwrap().push(Instant::now());
        Ok(Receipt {
            message_id: Some("5098cb55-c8b7-461c-a6e5-80b37a07f614".to_owned()),
            request_id: None,
        })
    }

    async fn verify(
        &self,
        _: &PhoneNumber,
        _: &ReferenceId,
        otp: &Otp,
        time: Duration,
    ) -> Result<Answer, Error> {
        self.0.wait(&self.0.verifies, time).await?;
        let verdict = if otp.expose() == RIGHT || self.0.knows_all_codes {
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
        Ok(Answer {
            verdict,
            request_id: None,
        })
    }
}

/// The service on this table.
pub(crate) fn service(emulator: &Emulator, calls: &Arc<Calls>, settings: Settings) -> Service {
    let policy = settings.ledger.unwrap().policy;
    let hasher = Hasher::from_secret(b"a secret");
    let limits = Limits::new(Box::new(emulator.ledger()), hasher, policy);
    let providers = Providers::only(Box::new(OneCode(calls.clone())));
    Service::new(settings.rules, providers, Some(limits))
}

/// The usual settings and these.
pub(crate) fn settings(more: &[(&str, &str)]) -> Settings {
    Settings::read(&|name| {
        if let Some((_, value)) = more.iter().find(|(more, _)| *more == name) {
            return Some((*value).to_owned());
        }
        let value = match name {
            "ORIGINATION_IDENTITY" => "+12065550100",
            "BRAND_NAME" => "ExampleCorp",
            "ALLOWED_COUNTRIES" => "US",
            "AWS_REGION" => "us-east-1",
            "LEDGER_KEY" => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "PINPOINT_APPLICATION_ID"
            | "LEDGER_TABLE"
            | "AWS_ACCESS_KEY_ID"
            | "AWS_SECRET_ACCESS_KEY" => "test",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap()
}
