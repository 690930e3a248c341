//! The simulator's Rust API.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, Response, StatusCode},
};
use serde_json::{Value, value::RawValue};
use tokio::{runtime, sync::oneshot};

use crate::{
    calls::Call,
    codes::IssuedCode,
    cognito_web, control,
    desk::{Desk, Recorded},
    end_user_messaging,
    facts::AllFacts,
    failure::{Failure, Operation, Service, Times},
    front::HandlerError,
    inbox,
    message::Message,
    pinpoint, pool,
    server::{Access, call, checked, serve},
    sms_voice,
    try_it::{self, Choices},
};

/// A running simulator. Dropping it closes its connections and frees its port.
///
/// The simulator runs on a thread of its own. So it responds even while the caller's thread waits for a child process.
/// If the caller's tokio clock is paused, the simulator runs on.
#[derive(Debug)]
pub struct Simulator {
    desk: Arc<Desk>,
    router: Router,
    /// The address that it listens on.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts a simulator on a loopback address. Port 0 means any free port. When this returns, the simulator accepts
    /// connections.
    ///
    /// # Errors
    ///
    /// If the address is taken, or is not a loopback address (`InvalidInput`).
    #[expect(
        clippy::unused_async,
        reason = "async, so that callers need not change if starting ever has to wait"
    )]
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_on(TcpListener::bind(address)?)
    }

    /// Starts a simulator on a listener, for example from [`bind_or_next`](crate::bind_or_next).
    ///
    /// # Errors
    ///
    /// If the listener is not on a loopback address (`InvalidInput`), or the thread cannot start.
    pub fn start_on(listener: TcpListener) -> io::Result<Self> {
        Self::start_for(listener, Access::default())
    }

    /// As [`start_on`](Self::start_on), and also serves the host names and the address that `access` allows.
    ///
    /// # Errors
    ///
    /// As [`start_on`](Self::start_on), unless `access` allows the address.
    pub fn start_for(listener: TcpListener, access: Access) -> io::Result<Self> {
        let address = checked(&listener, &access)?;
        let desk = Desk::new();
        let router = router(&desk);
        let served = router.clone();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("simulator".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = serve(listener, served, access) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            desk,
            router,
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The endpoint for clients, which is also the address of the page, such as `http://127.0.0.1:6870`. The endpoint
    /// has no slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Responds to a request without a connection, on the caller's thread and clock. If that clock is paused, even a slow
    /// response takes no time.
    ///
    /// # Errors
    ///
    /// If a client would lose its connection.
    pub async fn respond(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let response = call(self.router.clone(), request.map(Body::from)).await?;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
        Ok(Response::from_parts(head, body))
    }

    /// All messages, the newest first.
    #[must_use]
    pub fn inbox(&self) -> Vec<Message> {
        self.desk.messages()
    }

    /// The newest message to `number`, which must be spelled as in the request.
    #[must_use]
    pub fn newest_to(&self, number: &str) -> Option<Message> {
        self.desk.newest_to(number)
    }

    /// The codes in the services' memory, in no order: one per [`CodeKey`](crate::CodeKey).
    #[must_use]
    pub fn codes(&self) -> Vec<IssuedCode> {
        self.desk.codes()
    }

    /// Queues a failure for one request: the next one to a service that has this failure ([`Failure::applies_to`]).
    /// Requests to other services pass.
    ///
    /// # Panics
    ///
    /// If no service has this failure for the operation.
    #[track_caller]
    pub fn fail_next(&self, operation: Operation, failure: Failure) {
        self.queue(operation, failure, Times::ONCE);
    }

    /// Queues a failure for `times` requests. 0 queues nothing.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    #[track_caller]
    pub fn fail(&self, operation: Operation, failure: Failure, times: u32) {
        if let Some(times) = NonZeroU32::new(times) {
            self.queue(operation, failure, Times::Exactly(times));
        }
    }

    /// Queues a failure for every request, until [`clear_failures`](Self::clear_failures) is called.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    #[track_caller]
    pub fn fail_always(&self, operation: Operation, failure: Failure) {
        self.queue(operation, failure, Times::UntilCleared);
    }

    /// Empties all queues. A request that is already failing keeps failing.
    pub fn clear_failures(&self) {
        self.desk.clear_failures();
    }

    /// The requests that reached a service, including refused and failed ones, the oldest first.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> Vec<Recorded> {
        let mut requests = self.desk.requests();
        requests.retain(|request| request.operation == operation);
        requests
    }

    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.desk.now()
    }

    /// Moves the simulator's clock forward, up to a hundred years in total.
    pub fn advance(&self, by: Duration) {
        self.desk.advance(by);
    }

    /// From now on only these application IDs exist; others get `NotFoundException`.
    pub fn know_only_applications<I>(&self, ids: I)
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let ids = ids.into_iter().map(Into::into).collect();
        self.desk.know_only(Some(ids));
    }

    /// Sets the command that the page suggests for sending. The default is a signed `curl` to the simulator itself. A
    /// reset does not change the command.
    pub fn suggest(&self, command: impl Into<String>) {
        self.desk.suggest(command.into());
    }

    /// Sets the service whose failures and scenario numbers the page and the control API list. The default is Pinpoint.
    /// A reset does not change the service.
    pub fn describe(&self, service: Service) {
        self.desk.describe(service);
    }

    /// Sets what the services do where AWS's documentation leaves it open. A reset keeps it.
    pub fn imitate(&self, facts: AllFacts) {
        self.desk.imitate(facts);
    }

    /// Sets the port of the service, which the page calls when a scenario number is pressed. A reset keeps it.
    pub fn serve_at(&self, port: u16) {
        self.desk.serve_at(port);
    }

    /// Sets what the page for trying the service offers. A reset keeps it.
    pub fn offer(&self, choices: Choices) {
        self.desk.offer(choices);
    }

    /// Opens the user pool. From now on it calls the function with the events of its triggers. `number` is the number
    /// of the user that is there from the start. A reset keeps the pool open. Only the first call has an effect.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes for the key of the tokens.
    pub fn open_pool<H, F>(&self, number: &str, has_sign_up: bool, function: H) -> io::Result<()>
    where
        H: Fn(Box<RawValue>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        let function = Arc::new(move |event| Box::pin(function(event)) as pool::Answer);
        self.desk
            .pool()
            .open(function, has_sign_up, number, &self.url())
    }

    /// Shows a request to the service on the page.
    pub fn record_call(&self, call: Call) {
        self.desk.record_call(call);
    }

    /// Keeps a line of the function's log, for `GET /simulator/log`.
    pub fn log(&self, line: String) {
        self.desk.log(line);
    }

    /// From now on every reset first calls `other`. Only the first call of this method has an effect.
    pub fn also_reset(&self, other: impl Fn() + Send + Sync + 'static) {
        self.desk.also_reset(other);
    }

    /// Removes all codes, messages, records and failures. The clock returns to wall time, and every application ID
    /// exists again.
    pub fn reset(&self) {
        self.desk.reset();
    }

    #[track_caller]
    fn queue(&self, operation: Operation, failure: Failure, times: Times) {
        assert!(
            failure.exists_for(operation),
            "{operation:?} cannot fail like this: {failure:?}"
        );
        self.desk.fail(operation, failure, times);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // An error means that the thread has panicked, and a drop cannot report that.
            let _ = thread.join();
        }
    }
}

fn router(desk: &Arc<Desk>) -> Router {
    Router::new()
        .merge(pinpoint::routes())
        .merge(end_user_messaging::routes())
        .merge(sms_voice::routes())
        .merge(inbox::routes())
        .merge(pool::routes())
        .merge(cognito_web::routes())
        .merge(try_it::routes())
        .merge(control::routes())
        .fallback(async || (StatusCode::NOT_FOUND, "Nothing here. The inbox is at /.\n"))
        .with_state(Arc::clone(desk))
}
