//! A provider with real state: a code for each number and reference, and a list of all its calls.

use crate::table::Table;
use async_trait::async_trait;
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::{Hasher, Ledger};
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt, Verdict,
};
use otp_lambda::reference::ReferenceId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

static LIMITS: LazyLock<ProviderLimits> = LazyLock::new(|| ProviderLimits {
    code: CodeShape {
        length: 5..=8,
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

/// A provider that accepts the right code every time and counts nothing. Any limit comes from the service.
#[derive(Clone)]
pub(crate) struct Fake(Arc<State>);

struct State {
    clock: Arc<AtomicU64>,
    latency: Duration,
    table: Table,
    keys: Hasher,
    codes: Mutex<BTreeMap<(String, String), String>>,
    texts: Mutex<Vec<Asked>>,
    guesses: Mutex<Vec<Asked>>,
    outcomes: Mutex<VecDeque<Outcome>>,
    /// For each number, the plain references of all sends to it, and the references of all its messages.
    references: Mutex<BTreeMap<String, Vec<ReferenceId>>>,
    /// Texts that were asked for without a record of them.
    unrecorded: AtomicUsize,
    hold: AtomicBool,
    held: AtomicUsize,
    release: Notify,
}

/// A send or a guess that the provider got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) to: String,
    pub(crate) reference: String,
    pub(crate) code: String,
    /// The time in milliseconds, by the clock of the test.
    pub(crate) at: u64,
}

/// The outcome of a send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Sent,
    /// The message is certainly not sent.
    Refused,
    /// The message is sent, and the response is lost.
    Unclear,
}

impl Fake {
    pub(crate) fn new(
        clock: Arc<AtomicU64>,
        latency: Duration,
        table: Table,
        keys: Hasher,
    ) -> Self {
        Self(Arc::new(State {
            clock,
            latency,
            table,
            keys,
            codes: Mutex::default(),
            texts: Mutex::default(),
            guesses: Mutex::default(),
            outcomes: Mutex::default(),
            references: Mutex::default(),
            unrecorded: AtomicUsize::new(0),
            hold: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            release: Notify::new(),
        }))
    }

    /// The messages that were sent.
    pub(crate) fn texts(&self) -> Vec<Asked> {
        self.0.texts.lock().unwrap().clone()
    }

    pub(crate) fn guesses(&self) -> Vec<Asked> {
        self.0.guesses.lock().unwrap().clone()
    }

    pub(crate) fn unrecorded(&self) -> usize {
        self.0.unrecorded.load(SeqCst)
    }

    /// Takes note of the plain reference of a send, the reference that callers know. This must be done when the send
    /// begins: a resend by another request may send its message before this send does, under a reference that is
    /// derived from the plain one.
    pub(crate) fn begins(&self, to: &PhoneNumber, plain: ReferenceId) {
        self.note(to, plain);
    }

    /// Keeps a reference once. Returns all references of the number, this one first.
    fn note(&self, to: &PhoneNumber, reference: ReferenceId) -> Vec<ReferenceId> {
        let mut references = self.0.references.lock().unwrap();
        let of_number = references.entry(to.expose().to_owned()).or_default();
        of_number.retain(|known| *known != reference);
        of_number.insert(0, reference);
        of_number.clone()
    }

    /// Sets the outcomes of the next sends.
    pub(crate) fn outcomes(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.0.outcomes.lock().unwrap().extend(outcomes);
    }

    /// Other software sends a code under this reference.
    pub(crate) fn other_software_sends(&self, to: &PhoneNumber, reference: &ReferenceId) -> String {
        let code = "98765432".to_owned();
        let name = (to.expose().to_owned(), reference.expose().to_owned());
        self.0.codes.lock().unwrap().insert(name, code.clone());
        code
    }

    /// The code in the last message to this number.
    pub(crate) fn newest_code(&self, to: &PhoneNumber) -> String {
        let texts = self.0.texts.lock().unwrap();
        texts
            .iter()
            .rev()
            .find(|text| text.to == to.expose())
            .unwrap()
            .code
            .clone()
    }

    /// From now on the provider checks guesses, but answers only after [`Self::release`].
    pub(crate) fn hold(&self) {
        self.0.hold.store(true, SeqCst);
    }

    /// Waits until this many guesses are held.
    pub(crate) async fn held(&self, count: usize) {
        while self.0.held.load(SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }

    /// Answers all guesses that are held.
    pub(crate) fn release(&self) {
        self.0.hold.store(false, SeqCst);
        self.0.held.store(0, SeqCst);
        self.0.release.notify_waiters();
    }

    async fn take_time(&self) {
        if self.0.latency.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.0.latency).await;
        }
    }

    fn asked(&self, to: &PhoneNumber, reference: &ReferenceId, code: String) -> Asked {
        let at = self.0.clock.load(SeqCst);
        Asked {
            to: to.expose().to_owned(),
            reference: reference.expose().to_owned(),
            code,
            at,
        }
    }
}

impl Fake {
    /// Whether the ledger has a record of the message. The record is always under the plain reference, the one that
    /// callers know. The message has either the plain reference or, if it is of a later generation, a reference that is
    /// derived from the plain one.
    async fn is_recorded(&self, message: &Message<'_>) -> bool {
        for plain in self.note(message.to, message.reference.clone()) {
            let item = self.0.keys.verification(&plain, message.to);
            let record = self.0.table.ledger().verification(&item).await.unwrap();
            // The newest code may be a later one already.
            let is_of = |newest| {
                *message.reference == plain
                    || (1..=newest).any(|generation| {
                        *message.reference
                            == self.0.keys.code_reference(&plain, message.to, generation)
                    })
            };
            if record.is_some_and(|record| is_of(record.generation)) {
                return true;
            }
        }
        false
    }
}

#[async_trait]
impl Provider for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn limits(&self) -> &ProviderLimits {
        &LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        if !self.is_recorded(message).await {
            self.0.unrecorded.fetch_add(1, SeqCst);
        }
        let outcome = self
            .0
            .outcomes
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Outcome::Sent);
        if matches!(outcome, Outcome::Refused) {
            self.take_time().await;
            return Err(Error::new(ErrorCode::OptedOut, "The number has opted out."));
        }
        {
            let mut texts = self.0.texts.lock().unwrap();
            // No wrong guess begins with a nine.
            let text = self.asked(
                message.to,
                message.reference,
                format!("{}", 90_000_000 + texts.len()),
            );
            self.0
                .codes
                .lock()
                .unwrap()
                .insert((text.to.clone(), text.reference.clone()), text.code.clone());
            texts.push(text);
        }
        self.take_time().await;
        match outcome {
            Outcome::Unclear => {
                Err(Error::new(ErrorCode::ProviderTimeout, "No answer.").with_unknown_delivery())
            }
            _ => Ok(Receipt {
                message_id: Some("m".to_owned()),
                request_id: None,
            }),
        }
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        _: Duration,
    ) -> Result<Answer, Error> {
        let guess = self.asked(to, reference, otp.expose().to_owned());
        let right = {
            let codes = self.0.codes.lock().unwrap();
            codes
                .get(&(guess.to.clone(), guess.reference.clone()))
                .is_some_and(|code| code == otp.expose())
        };
        self.0.guesses.lock().unwrap().push(guess);
        // Made before the look at `hold`, so that a release in between is not missed.
        let released = self.0.release.notified();
        if self.0.hold.load(SeqCst) {
            self.0.held.fetch_add(1, SeqCst);
            released.await;
        }
        self.take_time().await;
        Ok(Answer {
            verdict: if right {
                Verdict::Valid
            } else {
                Verdict::Invalid
            },
            request_id: None,
        })
    }
}
