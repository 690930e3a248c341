//! Holds every step of every request until the path grants it.

use async_trait::async_trait;
use otp_lambda::error::Error;
use otp_lambda::ledger::Unavailable;
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt,
};
use otp_lambda::reference::ReferenceId;
use simulator::layer::{Layer, Reply, Step};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

static LIMITS: LazyLock<ProviderLimits> = LazyLock::new(|| ProviderLimits {
    code: CodeShape {
        length: 8..=8,
        characters: CodeCharacters::Digits,
    },
    validity_minutes: 1..=60,
    allowed_attempts: 1..=5,
    brand_name: 1..=20,
    channels: vec![ChannelLimits {
        channel: Channel::Sms,
        languages: vec!["en-US".into()],
    }],
    any_language: false,
    brand_is_display_name: false,
    quotas: None,
});

/// A step that a request waits for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Ledger(Box<Step>),
    ToSend(ToProvider),
    ToVerify(ToProvider, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToProvider {
    pub(crate) provider: &'static str,
    pub(crate) to: String,
    pub(crate) reference: String,
}

/// The end of a step.
#[derive(Debug)]
pub(crate) enum Given {
    Ledger(Box<Result<Reply, Unavailable>>),
    Sent(Result<Receipt, Error>),
    Verified(Result<Answer, Error>),
}

/// The steps that requests wait for. A request is named by its place among the requests that run.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The request that runs at this moment.
    slot: usize,
    tickets: u64,
    waiting: BTreeMap<u64, (usize, Asked)>,
    given: BTreeMap<u64, Given>,
}

impl Gate {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// From now on, all steps belong to the request in this place.
    pub(crate) fn runs(&self, slot: usize) {
        self.inner().slot = slot;
    }

    /// The steps for which a request waits.
    pub(crate) fn waiting(&self, slot: usize) -> Vec<(u64, Asked)> {
        let inner = self.inner();
        let own = inner.waiting.iter().filter(|(_, (of, _))| *of == slot);
        own.map(|(ticket, (_, asked))| (*ticket, asked.clone()))
            .collect()
    }

    /// Ends a step.
    pub(crate) fn give(&self, ticket: u64, given: Given) {
        let mut inner = self.inner();
        inner.waiting.remove(&ticket).unwrap();
        inner.given.insert(ticket, given);
    }

    /// The request is gone.
    pub(crate) fn forget(&self, slot: usize) {
        self.inner().waiting.retain(|_, (of, _)| *of != slot);
    }

    async fn wait(&self, asked: Asked) -> Given {
        let ticket = {
            let mut inner = self.inner();
            inner.tickets += 1;
            let (slot, ticket) = (inner.slot, inner.tickets);
            inner.waiting.insert(ticket, (slot, asked));
            ticket
        };
        // Nobody is woken: the test asks the request again after each step that it grants.
        poll_fn(|_| match self.inner().given.remove(&ticket) {
            Some(given) => Poll::Ready(given),
            None => Poll::Pending,
        })
        .await
    }
}

#[async_trait]
impl Layer for Gate {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        match self.wait(Asked::Ledger(Box::new(step))).await {
            Given::Ledger(reply) => *reply,
            other => panic!("{other:?}"),
        }
    }
}

/// A provider that answers as the path says.
pub(crate) struct Gated {
    pub(crate) gate: Gate,
    pub(crate) name: &'static str,
}

impl Gated {
    fn asked(&self, to: &PhoneNumber, reference: &ReferenceId) -> ToProvider {
        ToProvider {
            provider: self.name,
            to: to.expose().to_owned(),
            reference: reference.expose().to_owned(),
        }
    }
}

#[async_trait]
impl Provider for Gated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> &ProviderLimits {
        &LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        let asked = self.asked(message.to, message.reference);
        match self.gate.wait(Asked::ToSend(asked)).await {
            Given::Sent(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        _: Duration,
    ) -> Result<Answer, Error> {
        let (asked, code) = (self.asked(to, reference), otp.expose().to_owned());
        match self.gate.wait(Asked::ToVerify(asked, code)).await {
            Given::Verified(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
}
