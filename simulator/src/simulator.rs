//! The simulator as a value: started, asked, told to fail, and stopped by dropping it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use tokio::{runtime, sync::oneshot};

use crate::{
    codes::IssuedCode,
    control,
    desk::{Desk, Recorded},
    end_user_messaging,
    failure::{Failure, Operation, Service, Times},
    inbox,
    message::Message,
    pinpoint,
    server::{loopback_only, serve},
    sms_voice,
};

/// A running simulator. Dropping it closes its connections and frees its port.
///
/// It runs on a thread of its own, so it goes on answering while the caller's thread waits for a child process, and a
/// paused tokio clock does not touch it.
#[derive(Debug)]
pub struct Simulator {
    desk: Arc<Desk>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts a simulator on a loopback address; port 0 takes a free one. It accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// The address is taken, or no loopback address (`InvalidInput`).
    #[expect(
        clippy::unused_async,
        reason = "callers await it, and need not change if starting ever has to wait"
    )]
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_on(TcpListener::bind(address)?)
    }

    /// Starts a simulator on a listener, such as [`bind_or_next`](crate::bind_or_next) gives.
    ///
    /// # Errors
    ///
    /// The listener is not on a loopback address (`InvalidInput`), or the thread cannot be started.
    pub fn start_on(listener: TcpListener) -> io::Result<Self> {
        let address = loopback_only(&listener)?;
        let desk = Desk::new();
        let router = router(&desk);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("simulator".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = serve(listener, router) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            desk,
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:6870`, without a slash at the end: the endpoint for clients, and the inbox page for a browser.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every text, call and chat message, newest first.
    #[must_use]
    pub fn inbox(&self) -> Vec<Message> {
        self.desk.messages()
    }

    /// The newest of them to a phone number, spelled as it was sent.
    #[must_use]
    pub fn newest_to(&self, number: &str) -> Option<Message> {
        self.desk.newest_to(number)
    }

    /// The codes the services remember, in no order: one per service, application, number and reference.
    #[must_use]
    pub fn codes(&self) -> Vec<IssuedCode> {
        self.desk.codes()
    }

    /// Lets the next request fail, after those that are queued already. A failure that does not exist at a request's
    /// service ([`Failure::applies_to`]) waits for a request to another.
    ///
    /// # Panics
    ///
    /// If the failure exists for the operation at no service.
    #[track_caller]
    pub fn fail_next(&self, operation: Operation, failure: Failure) {
        self.queue(operation, failure, Times::ONCE);
    }

    /// Lets the next `times` requests fail, after those that are queued already; 0 does nothing.
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

    /// Lets every request fail until [`clear_failures`](Self::clear_failures), after those that are queued already.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    #[track_caller]
    pub fn fail_always(&self, operation: Operation, failure: Failure) {
        self.queue(operation, failure, Times::UntilCleared);
    }

    /// Forgets the failures to come, of all operations. A request that is failing already goes on failing.
    pub fn clear_failures(&self) {
        self.desk.clear_failures();
    }

    /// The requests of this operation that reached a service, oldest first, refused and failed ones included.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> Vec<Recorded> {
        let mut requests = self.desk.requests();
        requests.retain(|request| request.operation == operation);
        requests
    }

    /// The simulator's clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.desk.now()
    }

    /// Moves the simulator's clock forward, at most a hundred years in all.
    pub fn advance(&self, by: Duration) {
        self.desk.advance(by);
    }

    /// From now on only these application ids are known; others get `NotFoundException`.
    pub fn know_only_applications<I>(&self, ids: I)
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let ids = ids.into_iter().map(Into::into).collect();
        self.desk.know_only(Some(ids));
    }

    /// The command that the inbox page shows while it is empty; without it, a signed `curl` to the simulator itself. It
    /// outlives a reset.
    pub fn suggest(&self, command: impl Into<String>) {
        self.desk.suggest(command.into());
    }

    /// The service whose failures and scenario numbers the page lists, and the control API where it is not asked for
    /// another; without it, Pinpoint. It outlives a reset.
    pub fn describe(&self, service: Service) {
        self.desk.describe(service);
    }

    /// Back to the start: no codes, texts, records or failures, wall time, every application id known.
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
            // It panicked, then: nothing that a drop could do about it.
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
        .merge(control::routes())
        .fallback(async || (StatusCode::NOT_FOUND, "Nothing here. The inbox is at /.\n"))
        .with_state(Arc::clone(desk))
}
