//! Everything the simulator knows: one desk, shared by the wire, the inbox, the control API and the tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    clock::{Clock, serialize_rfc3339},
    codes::{CodeKey, Codes, IssuedCode, Rules},
    failure::{Failure, Failures, Operation, Queued, Service, Times},
    message::{Channel, Content, Feedback, Message},
};

/// A request that reached a service, whatever became of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Which service.
    pub service: Service,
    /// Which call.
    pub operation: Operation,
    /// The HTTP method; `POST` for every well-made request.
    pub method: String,
    /// The application id in the path; empty where the service has none.
    pub application_id: String,
    /// When its headers had arrived, by the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub received_at: SystemTime,
    /// Lower-case names; the values of a repeated header are joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// The JSON body; null if it was not read or was no JSON.
    pub body: Value,
}

/// What a well-made send asks for, absent members filled in.
#[derive(Debug)]
pub(crate) struct SendRequest {
    pub(crate) key: CodeKey,
    pub(crate) from: String,
    pub(crate) rules: Rules,
    pub(crate) content: Content,
}

/// What the desk says to a request whose headers have arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// To add the body to the record with [`Desk::read`].
    pub(crate) number: u64,
    pub(crate) failure: Option<Failure>,
}

#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    clock: Clock,
    codes: Codes,
    failures: Failures,
    messages: Vec<Message>,
    /// By arrival number.
    requests: BTreeMap<u64, Recorded>,
    /// Outlives a reset: a request under way must not write its body into the record of a later one.
    arrivals: u64,
    /// None: every application id is known.
    applications: Option<BTreeSet<String>>,
    suggestion: Option<String>,
    /// None: Pinpoint.
    described: Option<Service>,
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// Records a request as soon as its headers are there, so that one that dies half-way is counted too, and takes the
    /// failure that is meant for it.
    pub(crate) fn arrived(
        &self,
        service: Service,
        operation: Operation,
        method: &Method,
        application_id: &str,
        headers: &HeaderMap,
    ) -> Arrival {
        let mut state = self.change();
        state.arrivals += 1;
        let number = state.arrivals;
        let recorded = Recorded {
            service,
            operation,
            method: method.to_string(),
            application_id: application_id.to_owned(),
            received_at: state.clock.now(),
            headers: joined(headers),
            body: Value::Null,
        };
        state.requests.insert(number, recorded);
        let failure = state.failures.take(service, operation);
        Arrival { number, failure }
    }

    /// Adds the body to the record of a request.
    pub(crate) fn read(&self, arrival: &Arrival, body: Value) {
        if let Some(recorded) = self.state().requests.get_mut(&arrival.number) {
            recorded.body = body;
        }
    }

    pub(crate) fn knows(&self, application_id: &str) -> bool {
        self.state()
            .applications
            .as_ref()
            .is_none_or(|known| known.contains(application_id))
    }

    /// Makes a code and puts the message into the inbox.
    pub(crate) fn send(&self, request: SendRequest, message_id: String) {
        let mut state = self.change();
        let now = state.clock.now();
        let issued = state.codes.issue(request.key, request.rules, now);
        let id = state.messages.last().map_or(1, |last| last.id + 1);
        let text = request.content.with(&issued.code).unwrap_or_default();
        let (mut brand, mut language) = (String::new(), String::new());
        let (mut voice_id, mut template) = (None, None);
        let channel = match request.content {
            Content::Branded {
                brand: by,
                language: of,
            } => {
                (brand, language) = (by, of);
                Channel::Sms
            }
            Content::Text { .. } => Channel::Sms,
            Content::Call {
                language: of,
                voice_id: by,
                ..
            } => {
                (language, voice_id) = (of, by);
                Channel::Voice
            }
            Content::WhatsApp {
                language: of,
                template: name,
            } => {
                (language, template) = (of, Some(name));
                Channel::WhatsApp
            }
        };
        state.messages.push(Message {
            id,
            service: issued.key.service,
            channel,
            to: issued.key.to,
            from: request.from,
            brand,
            language,
            text,
            code: issued.code,
            reference_id: issued.key.reference_id,
            voice_id,
            template,
            sent_at: now,
            expires_at: issued.expires_at,
            message_id,
            feedback: None,
        });
    }

    /// Writes down what became of a message of End User Messaging; false if there is none with this id.
    pub(crate) fn feedback(&self, message_id: &str, feedback: Feedback) -> bool {
        let mut state = self.change();
        let message = state.messages.iter_mut().find(|message| {
            message.service == Service::EndUserMessaging && message.message_id == message_id
        });
        message
            .map(|message| message.feedback = Some(feedback))
            .is_some()
    }

    pub(crate) fn verify(&self, key: &CodeKey, guess: &str) -> bool {
        let mut state = self.change();
        let now = state.clock.now();
        state.codes.verify(key, guess, now)
    }

    /// Newest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.state().messages.iter().rev().cloned().collect()
    }

    pub(crate) fn newest_messages(&self, count: usize) -> Vec<Message> {
        self.state()
            .messages
            .iter()
            .rev()
            .take(count)
            .cloned()
            .collect()
    }

    pub(crate) fn newest_to(&self, to: &str) -> Option<Message> {
        self.state()
            .messages
            .iter()
            .rev()
            .find(|message| message.to == to)
            .cloned()
    }

    pub(crate) fn codes(&self) -> Vec<IssuedCode> {
        self.state().codes.all()
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state().requests.values().cloned().collect()
    }

    pub(crate) fn fail(&self, operation: Operation, failure: Failure, times: Times) {
        self.change().failures.queue(operation, failure, times);
    }

    pub(crate) fn queued(&self, operation: Operation) -> Vec<Queued> {
        self.state().failures.queued(operation)
    }

    pub(crate) fn clear_failures(&self) {
        self.change().failures = Failures::default();
    }

    pub(crate) fn know_only(&self, applications: Option<BTreeSet<String>>) {
        self.change().applications = applications;
    }

    pub(crate) fn suggest(&self, command: String) {
        self.change().suggestion = Some(command);
    }

    pub(crate) fn suggestion(&self) -> Option<String> {
        self.state().suggestion.clone()
    }

    pub(crate) fn describe(&self, service: Service) {
        self.change().described = Some(service);
    }

    /// The service whose failures and numbers are listed.
    pub(crate) fn described(&self) -> Service {
        self.state().described.unwrap_or(Service::Pinpoint)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.state().clock.now()
    }

    pub(crate) fn clock_offset(&self) -> Duration {
        self.state().clock.offset()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.change().clock.advance(by);
    }

    pub(crate) fn reset(&self) {
        let mut state = self.change();
        *state = State {
            arrivals: state.arrivals,
            suggestion: state.suggestion.take(),
            described: state.described,
            ..State::default()
        };
    }

    /// Reports every change to what a person sees; several may come as one.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A watcher is told at once and reads the state under the same lock, so after the change.
    fn change(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        self.changed.send_replace(());
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Header names are lower-case already; API Gateway joins repeated ones by a comma.
pub(crate) fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    joined
}
