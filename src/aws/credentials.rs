//! The credentials of the function's role, where an endpoint gives them.
//!
//! Lambda usually gives credentials in environment variables, and ends the execution environment before they expire. An
//! execution environment that may live longer gets the address of an endpoint instead. The credentials of the endpoint
//! expire while the function runs, so they are fetched again in time.

use super::chain;
use crate::telemetry::redact;
use aws_config::ConfigLoader;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::warn;

/// Credentials are fetched again this long before they expire. AWS's endpoints have new ones by then.
const EARLY: Duration = Duration::from_mins(5);

/// After each answer or failure, the endpoint is left alone for this time.
const PAUSE: Duration = Duration::from_secs(1);

/// A fetch that began longer ago is given up for a new one. A fetch needs 18 s at most until the response begins,
/// with all its repeats. If the function was frozen in the meantime, its connection may be dead.
const LONGEST_FETCH: Duration = Duration::from_secs(20);

/// Takes credentials from an endpoint, and not from variables.
///
/// The SDK finds the endpoint: `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` if it is set, and otherwise
/// `AWS_CONTAINER_CREDENTIALS_FULL_URI`. It reads the address at the first fetch and not again. If it refuses the
/// address then, or does not find the host, every later fetch fails until the process ends. The SDK's own time limits
/// for this endpoint have no effect, because our HTTP client has others.
#[must_use]
pub fn with_credentials_endpoint(
    loader: ConfigLoader,
    http_client: SharedHttpClient,
) -> ConfigLoader {
    let endpoint = EcsCredentialsProvider::builder()
        .configure(&ProviderConfig::without_region().with_http_client(http_client))
        .build();
    loader.credentials_provider(Kept(Arc::new(Keeper::new(endpoint, wall_clock))))
}

#[expect(
    clippy::disallowed_methods,
    reason = "credentials expire by the clock of AWS, whatever time a test gives the function"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Gives the requests to AWS credentials that are still good. While there are any, no request waits for the endpoint.
#[derive(Debug)]
struct Kept<P>(Arc<Keeper<P>>);

#[derive(Debug)]
struct Keeper<P> {
    endpoint: P,
    /// The monotonic clock may stand still while the function is frozen, so it is not used here.
    clock: fn() -> SystemTime,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    newest: Option<Credentials>,
    /// The end of the last fetch, and why it brought no credentials, if it did not.
    last: Option<(SystemTime, Option<String>)>,
    /// The fetch that began last.
    fetch: Option<Fetch>,
}

#[derive(Debug)]
struct Fetch {
    began: SystemTime,
    /// Closed when the fetch has ended, in whatever way.
    ended: watch::Receiver<()>,
    task: AbortHandle,
}

impl Fetch {
    fn is_under_way(&self) -> bool {
        self.ended.has_changed().is_ok()
    }
}

impl<P: ProvideCredentials + 'static> ProvideCredentials for Kept<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl<P: ProvideCredentials + 'static> Kept<P> {
    async fn credentials(&self) -> Result {
        if let Some((credentials, expire_soon)) = self.0.good() {
            if expire_soon {
                // The request goes on with the old ones.
                let _ = self.fetch();
            }
            return Ok(credentials);
        }
        if let Some(mut ended) = self.fetch() {
            let _ = ended.changed().await;
        }
        let good = self.0.good().map(|(credentials, _)| credentials);
        good.ok_or_else(|| self.0.failure())
    }

    /// Begins to fetch credentials, unless this is under way or was done just now. Returns the end of the fetch.
    ///
    /// The fetch is a task of its own. A request has a time limit, and a fetch that ended with the request would never
    /// end well if the endpoint needs longer.
    fn fetch(&self) -> Option<watch::Receiver<()>> {
        let mut known = self.0.known();
        if let Some(fetch) = known.fetch.as_ref().filter(|it| it.is_under_way()) {
            if self.0.since(fetch.began) < LONGEST_FETCH {
                return Some(fetch.ended.clone());
            }
            fetch.task.abort();
        }
        let last = known.last.as_ref();
        if last.is_some_and(|(end, _)| self.0.since(*end) < PAUSE) {
            return None;
        }
        let (sender, ended) = watch::channel(());
        let keeper = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let answer = keeper.endpoint.provide_credentials().await;
            keeper.keep(answer);
            drop(sender);
        });
        known.fetch = Some(Fetch {
            began: (self.0.clock)(),
            ended: ended.clone(),
            task: task.abort_handle(),
        });
        Some(ended)
    }
}

impl<P> Keeper<P> {
    fn new(endpoint: P, clock: fn() -> SystemTime) -> Self {
        Self {
            endpoint,
            clock,
            known: RwLock::default(),
        }
    }

    fn known(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest credentials, unless they have expired, and whether they expire soon.
    fn good(&self) -> Option<(Credentials, bool)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let credentials = known.newest.as_ref()?;
        let expire_soon = self.expire_within(EARLY, credentials);
        (!self.expire_within(Duration::ZERO, credentials))
            .then(|| (credentials.clone(), expire_soon))
    }

    /// Keeps the credentials that the endpoint has answered with, if they are good.
    fn keep(&self, answer: Result) {
        let failure = match &answer {
            Ok(credentials) => self
                .expire_within(Duration::ZERO, credentials)
                .then(|| "the endpoint gave credentials that have expired".to_owned()),
            Err(error) => Some(chain(error, &redact)),
        };
        if let Some(cause) = &failure {
            warn!(cause, "The credentials could not be fetched yet.");
        }
        let mut known = self.known();
        if failure.is_none() {
            known.newest = answer.ok();
        }
        known.last = Some(((self.clock)(), failure));
    }

    /// The reason why there are no good credentials.
    fn failure(&self) -> CredentialsError {
        let last = self.known().last.clone();
        let cause = last.and_then(|(_, failure)| failure);
        CredentialsError::provider_error(cause.unwrap_or_else(|| "no answer yet".to_owned()))
    }

    fn expire_within(&self, time: Duration, credentials: &Credentials) -> bool {
        let expiry = credentials.expiry();
        expiry.is_some_and(|expiry| expiry <= (self.clock)() + time)
    }

    /// The time since `earlier`. If the clock was set back, it counts as long ago.
    fn since(&self, earlier: SystemTime) -> Duration {
        let passed = (self.clock)().duration_since(earlier);
        passed.unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::UNIX_EPOCH;

    thread_local! {
        /// The time of day. All tasks of a test run on its thread.
        static NOW: Cell<SystemTime> = const { Cell::new(UNIX_EPOCH) };
    }

    fn advance(time: Duration) {
        NOW.set(NOW.get() + time);
    }

    #[derive(Debug, Clone, Copy)]
    enum Answer {
        GoodFor(Duration),
        Expired,
        Failure,
        /// The connection is dead.
        Never,
    }

    use Answer::{Expired, Failure, GoodFor, Never};

    /// The answers that an endpoint gives one after the other. The last one stays.
    #[derive(Debug)]
    struct Endpoint(&'static [Answer], AtomicU32);

    impl ProvideCredentials for Endpoint {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let nth = self.1.fetch_add(1, Ordering::SeqCst);
                // Other requests come while the endpoint is asked.
                tokio::task::yield_now().await;
                let last = self.0.len() - 1;
                let at = usize::try_from(nth).unwrap_or(last).min(last);
                let expiry = match self.0.get(at) {
                    Some(GoodFor(time)) => NOW.get() + *time,
                    Some(Expired) => NOW.get(),
                    Some(Never) => std::future::pending().await,
                    _ => return Err(CredentialsError::provider_error("no answer")),
                };
                let key = format!("key {nth}");
                Ok(Credentials::new(key, "secret", None, Some(expiry), "test"))
            })
        }
    }

    fn kept(endpoint: &'static [Answer]) -> Kept<Endpoint> {
        let endpoint = Endpoint(endpoint, AtomicU32::new(0));
        Kept(Arc::new(Keeper::new(endpoint, || NOW.get())))
    }

    /// The keys that many requests at once get. Afterwards, the endpoint has answered all that it will.
    async fn keys(kept: &Kept<Endpoint>) -> BTreeSet<String> {
        let requests = (0..50).map(|_| kept.credentials());
        let given = join_all(requests).await;
        settle().await;
        given
            .into_iter()
            .map(|one| one.map_or_else(|_| "none".to_owned(), |it| it.access_key_id().into()))
            .collect()
    }

    /// Lets the task that asks the endpoint run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    fn asked(kept: &Kept<Endpoint>) -> u32 {
        kept.0.endpoint.1.load(Ordering::SeqCst)
    }

    fn only(key: &str) -> BTreeSet<String> {
        BTreeSet::from([key.to_owned()])
    }

    const HOUR: Answer = GoodFor(Duration::from_hours(1));
    const MINUTE: Answer = GoodFor(Duration::from_mins(1));

    #[tokio::test]
    async fn many_requests_ask_the_endpoint_once_until_the_credentials_expire_soon() {
        let kept = kept(&[HOUR]);
        for _ in 0..3 {
            assert_eq!(keys(&kept).await, only("key 0"));
            advance(PAUSE);
        }
        assert_eq!(asked(&kept), 1);
    }

    #[tokio::test]
    async fn credentials_that_expire_soon_are_renewed_beside_the_requests() {
        let kept = kept(&[MINUTE, MINUTE, HOUR]);
        assert_eq!(keys(&kept).await, only("key 0"));
        // The endpoint was asked just now.
        assert_eq!(keys(&kept).await, only("key 0"));
        assert_eq!(asked(&kept), 1);
        for (before, after) in [("key 0", 2), ("key 1", 3), ("key 2", 3)] {
            advance(PAUSE);
            assert_eq!(keys(&kept).await, only(before));
            assert_eq!(asked(&kept), after);
        }
    }

    #[tokio::test]
    async fn while_the_endpoint_fails_good_credentials_stay_in_use() {
        let kept = kept(&[MINUTE, Failure, Expired, HOUR]);
        for expected in ["key 0", "key 0", "key 0", "key 0", "key 3"] {
            assert_eq!(keys(&kept).await, only(expected));
            advance(PAUSE);
        }
        assert_eq!(asked(&kept), 4);
    }

    #[tokio::test]
    async fn expired_credentials_are_never_used() {
        let kept = kept(&[Expired, MINUTE, Failure]);
        assert_eq!(keys(&kept).await, only("none"));
        advance(PAUSE);
        assert_eq!(keys(&kept).await, only("key 1"));
        advance(Duration::from_secs(59));
        assert_eq!(keys(&kept).await, only("key 1"));
        advance(PAUSE);
        assert_eq!(keys(&kept).await, only("none"));
        assert_eq!(asked(&kept), 4);
    }

    #[tokio::test]
    async fn after_a_failure_the_endpoint_has_a_pause() {
        let kept = kept(&[Failure, Failure, HOUR]);
        for times in 1..=2 {
            for _ in 0..3 {
                assert_eq!(keys(&kept).await, only("none"));
                let error = kept.credentials().await.err();
                let cause = error.map(|error| chain(&error, &redact));
                assert!(cause.is_some_and(|cause| cause.ends_with("no answer")));
                assert_eq!(asked(&kept), times);
            }
            advance(PAUSE);
        }
        // Control: after the pause, it is asked.
        assert_eq!(keys(&kept).await, only("key 2"));
    }

    #[tokio::test]
    async fn a_fetch_goes_on_when_the_requests_that_wait_for_it_end() {
        let kept = kept(&[HOUR]);
        // This request gives up at once.
        assert!(kept.credentials().now_or_never().is_none());
        settle().await;
        assert_eq!(asked(&kept), 1);
        // The answer is there, so the next one need not wait.
        let given = kept.credentials().now_or_never();
        assert!(matches!(given, Some(Ok(it)) if it.access_key_id() == "key 0"));
        assert_eq!(asked(&kept), 1);
    }

    #[tokio::test]
    async fn a_fetch_that_does_not_end_is_given_up_for_a_new_one() {
        // The first fetch, and one that is under way when Lambda freezes the function for an hour.
        for (endpoint, good, wait) in [
            (&[Never, HOUR] as &[Answer], 0, LONGEST_FETCH),
            (&[MINUTE, Never, HOUR], 1, Duration::from_hours(1)),
        ] {
            let kept = kept(endpoint);
            for nth in 0..good {
                assert_eq!(keys(&kept).await, only(&format!("key {nth}")));
                advance(PAUSE);
            }
            let _ = kept.credentials().now_or_never();
            settle().await;
            assert_eq!(asked(&kept), good + 1);
            // Control: up to the limit, requests wait for it.
            advance(LONGEST_FETCH.saturating_sub(PAUSE));
            let _ = kept.credentials().now_or_never();
            settle().await;
            assert_eq!(asked(&kept), good + 1);
            advance(wait);
            assert_eq!(keys(&kept).await, only(&format!("key {}", good + 1)));
            assert_eq!(asked(&kept), good + 2);
        }
    }
}
