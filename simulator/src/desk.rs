//! The simulator's state, shared by the protocols, the inbox, the control API and the tests.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    calls::Call,
    clock::{Clock, serialize_rfc3339},
    codes::{CodeKey, Codes, IssuedCode, Rules, Verdict},
    facts::{AllFacts, Placeholders},
    failure::{Failure, Failures, Operation, Queued, Service, Times},
    message::{Channel, Content, Feedback, Message, PLACEHOLDER},
    notify::Notify,
    pool::{Pool, TriggerCall},
    sessions::Sessions,
    texts::language_of,
    try_it::Choices,
};

/// A request that reached a service, including refused and failed ones.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    pub service: Service,
    pub operation: Operation,
    /// `POST` for every valid request.
    pub method: String,
    /// From the path; empty if the service has no applications.
    pub application_id: String,
    /// When the headers had arrived, by the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub received_at: SystemTime,
    /// Names in lower case; the values of a repeated header are joined with commas.
    pub headers: BTreeMap<String, String>,
    /// The JSON body; null if it was not read or was not JSON.
    pub body: Value,
}

/// A valid send, with defaults for absent fields.
#[derive(Debug)]
pub(crate) struct SendRequest {
    pub(crate) key: CodeKey,
    pub(crate) from: String,
    pub(crate) rules: Rules,
    pub(crate) content: Content,
}

/// A recorded request, with the failure that its response must have.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Identifies the record for [`Desk::record_body`].
    pub(crate) number: u64,
    pub(crate) failure: Option<Failure>,
}

#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    also_reset: OnceLock<AlsoReset>,
    pool: Pool,
}

struct AlsoReset(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for AlsoReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlsoReset")
    }
}

#[derive(Debug, Default)]
struct State {
    clock: Clock,
    codes: Codes,
    failures: Failures,
    messages: Vec<Message>,
    calls: VecDeque<Call>,
    triggers: VecDeque<TriggerCall>,
    /// The lines of the function's log, the newest last.
    log: VecDeque<String>,
    /// By [`Arrival::number`].
    requests: BTreeMap<u64, Recorded>,
    /// How many requests have arrived. A reset does not change this count. If the count began at
    /// zero again, a request in progress during the reset could write its body into the record of a
    /// later request.
    arrivals: u64,
    /// `None`: every application ID exists.
    applications: Option<BTreeSet<String>>,
    suggestion: Option<String>,
    /// The port of the service.
    api_port: Option<u16>,
    choices: Option<Choices>,
    /// `None`: Pinpoint.
    described: Option<Service>,
    notify: Notify,
    facts: Arc<AllFacts>,
    sessions: Sessions,
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            also_reset: OnceLock::new(),
            pool: Pool::default(),
        })
    }

    /// Records a request as soon as its headers have arrived. So a request that breaks off later is
    /// recorded, too. If a failure is queued for this request, the failure is taken out of the
    /// queue.
    pub(crate) fn record_arrival(
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
            headers: join_repeated(headers),
            body: Value::Null,
        };
        state.requests.insert(number, recorded);
        let failure = state.failures.take(service, operation);
        Arrival { number, failure }
    }

    pub(crate) fn record_body(&self, arrival: &Arrival, body: Value) {
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

    /// Reads or changes the Notify configurations, at the time that the simulator's clock shows.
    pub(crate) fn notify<T>(&self, work: impl FnOnce(&mut Notify, SystemTime) -> T) -> T {
        let mut state = self.change();
        let now = state.clock.now();
        work(&mut state.notify, now)
    }

    /// Makes a code and puts its message into the inbox.
    pub(crate) fn send(&self, request: SendRequest, message_id: String) {
        let mut state = self.change();
        let now = state.clock.now();
        let facts = Arc::clone(&state.facts);
        let facts = facts.of(request.key.service);
        let issued = state.codes.issue(request.key, request.rules, now, facts);
        let id = state.messages.last().map_or(1, |last| last.id + 1);
        let text = match &request.content {
            Content::Text { template } if facts.placeholders == Placeholders::First => {
                template.replacen(PLACEHOLDER, &issued.code, 1)
            }
            content => content.render(&issued.code).unwrap_or_default(),
        };
        let mut brand = String::new();
        let language;
        let (mut voice_id, mut template) = (None, None);
        let channel = match request.content {
            Content::Branded {
                brand: by,
                language: of,
            } => {
                (brand, language) = (by, of);
                Channel::Sms
            }
            Content::Text { template } => {
                language = language_of(&template);
                Channel::Sms
            }
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
            Content::Notify { message, is_call } => {
                (voice_id, template) = (message.voice, Some(message.template.to_owned()));
                language = message.language.to_owned();
                if is_call {
                    Channel::Voice
                } else {
                    Channel::Sms
                }
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
            used: false,
            attempts: issued.attempts_left,
            attempts_left: issued.attempts_left,
            feedback: None,
        });
    }

    /// Records the feedback on a message of End User Messaging; false if no message has this ID.
    pub(crate) fn feedback(&self, message_id: &str, feedback: Feedback) -> bool {
        let mut state = self.change();
        let message = state.messages.iter_mut().find(|message| {
            message.service == Service::EndUserMessaging && message.message_id == message_id
        });
        message
            .map(|message| message.feedback = Some(feedback))
            .is_some()
    }

    /// Whether a send is refused, because an earlier code under its reference is still good.
    pub(crate) fn refuses_a_send(&self, key: &CodeKey) -> bool {
        let state = self.state();
        let facts = state.facts.of(key.service);
        state.codes.refuses_a_send(key, state.clock.now(), facts)
    }

    pub(crate) fn verify(&self, key: &CodeKey, guess: &str) -> Verdict {
        let mut state = self.change();
        let now = state.clock.now();
        let facts = Arc::clone(&state.facts);
        let verdict = state.codes.verify(key, guess, now, facts.of(key.service));
        for issued in state.codes.all_of(key).to_vec() {
            // If a later code has replaced an earlier one that was equal by chance, only the newest message has the code.
            let mut newest = state.messages.iter_mut().rev();
            let newest = newest.find(|message| {
                message.service == key.service
                    && message.to == key.to
                    && message.reference_id == key.reference_id
                    && message.code == issued.code
            });
            if let Some(message) = newest {
                message.used = issued.used;
                message.attempts_left = issued.attempts_left;
            }
        }
        verdict
    }

    pub(crate) fn facts(&self) -> Arc<AllFacts> {
        Arc::clone(&self.state().facts)
    }

    /// Reads or changes the temporary credentials.
    pub(crate) fn sessions<T>(&self, work: impl FnOnce(&mut Sessions) -> T) -> T {
        work(&mut self.state().sessions)
    }

    pub(crate) fn imitate(&self, facts: AllFacts) {
        self.change().facts = Arc::new(facts);
    }

    /// Keeps a request to the service for the page, and forgets the oldest of many.
    pub(crate) fn record_call(&self, mut call: Call) {
        const KEPT: usize = 100;
        let mut state = self.change();
        call.id = state.calls.front().map_or(1, |newest| newest.id + 1);
        state.calls.truncate(KEPT - 1);
        state.calls.push_front(call);
    }

    /// Keeps a line of the function's log, and forgets the oldest of many.
    pub(crate) fn log(&self, line: String) {
        const KEPT: usize = 1000;
        let mut state = self.change();
        if state.log.len() == KEPT {
            state.log.pop_front();
        }
        state.log.push_back(line);
    }

    /// The lines of the log about a number or an address, which is named by its pseudonym. The oldest is the first.
    pub(crate) fn log_about(&self, name: &str) -> Vec<String> {
        let member = format!(":\"{name}\"");
        let state = self.state();
        let lines = state.log.iter().filter(|line| line.contains(&member));
        lines.cloned().collect()
    }

    /// The newest first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.iter().cloned().collect()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Keeps a call of a trigger for the page, and forgets the oldest of many.
    pub(crate) fn record_trigger(&self, mut call: TriggerCall) {
        const KEPT: usize = 60;
        let mut state = self.change();
        call.id = state.triggers.front().map_or(1, |newest| newest.id + 1);
        state.triggers.truncate(KEPT - 1);
        state.triggers.push_front(call);
    }

    /// The newest first.
    pub(crate) fn triggers(&self) -> Vec<TriggerCall> {
        self.state().triggers.iter().cloned().collect()
    }

    /// The newest first.
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

    pub(crate) fn serve_at(&self, port: u16) {
        self.change().api_port = Some(port);
    }

    pub(crate) fn api_port(&self) -> Option<u16> {
        self.state().api_port
    }

    pub(crate) fn offer(&self, choices: Choices) {
        self.change().choices = Some(choices);
    }

    pub(crate) fn choices(&self) -> Option<Choices> {
        self.state().choices.clone()
    }

    pub(crate) fn describe(&self, service: Service) {
        self.change().described = Some(service);
    }

    /// The service whose failures and scenario numbers the page lists.
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

    pub(crate) fn also_reset(&self, other: impl Fn() + Send + Sync + 'static) {
        let _ = self.also_reset.set(AlsoReset(Box::new(other)));
    }

    pub(crate) fn reset(&self) {
        if let Some(AlsoReset(other)) = self.also_reset.get() {
            other();
        }
        self.pool.reset();
        let mut state = self.change();
        *state = State {
            arrivals: state.arrivals,
            suggestion: state.suggestion.take(),
            described: state.described,
            api_port: state.api_port,
            choices: state.choices.take(),
            facts: Arc::clone(&state.facts),
            ..State::default()
        };
    }

    /// Signals every change of the state; several changes may give one signal.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Locks the state for a change, and signals the change before it is made. A watcher needs the
    /// same lock to read the state. The lock makes the watcher wait until the change is complete.
    fn change(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        self.changed.send_replace(());
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Joins repeated headers with commas, as API Gateway does. Header names are in lower case already.
pub(crate) fn join_repeated(headers: &HeaderMap) -> BTreeMap<String, String> {
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
