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
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// Credentials are fetched again this long before they expire. AWS's endpoints have new ones by then.
const EARLY: Duration = Duration::from_mins(5);

/// If the endpoint still has the same credentials, or does not answer, it is asked again after this time.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes credentials from the endpoint that `AWS_CONTAINER_CREDENTIALS_FULL_URI` names, and not from variables.
#[must_use]
pub fn with_credentials_endpoint(
    loader: ConfigLoader,
    http_client: SharedHttpClient,
) -> ConfigLoader {
    let endpoint = EcsCredentialsProvider::builder()
        .configure(&ProviderConfig::without_region().with_http_client(http_client))
        .build();
    loader.credentials_provider(Kept(Arc::new(Keeper::new(endpoint))))
}

/// Gives the requests to AWS credentials that are still good. While there are any, no request waits for the endpoint.
#[derive(Debug)]
struct Kept<P>(Arc<Keeper<P>>);

#[derive(Debug)]
struct Keeper<P> {
    endpoint: P,
    /// The newest credentials, and when the endpoint was asked last.
    newest: RwLock<Option<(Credentials, Instant)>>,
    /// Held while the endpoint is asked, so that many requests at once ask it once.
    asking: Mutex<()>,
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
        match self.0.good() {
            Some((credentials, is_due)) => {
                if is_due {
                    self.renew();
                }
                Ok(credentials)
            }
            None => self.0.first().await,
        }
    }

    /// Fetches new credentials while requests go on with the old ones.
    fn renew(&self) {
        let keeper = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Ok(_asking) = keeper.asking.try_lock() else {
                return;
            };
            // Another request may have renewed them in the meantime.
            let is_due = keeper.good().is_none_or(|(_, is_due)| is_due);
            if is_due && let Err(error) = keeper.ask().await {
                let cause = chain(&error, &redact);
                warn!(cause, "The credentials could not be renewed yet.");
            }
        });
    }
}

impl<P: ProvideCredentials> Keeper<P> {
    fn new(endpoint: P) -> Self {
        Self {
            endpoint,
            newest: RwLock::default(),
            asking: Mutex::default(),
        }
    }

    /// The newest credentials, unless they have expired, and whether they should be renewed now.
    fn good(&self) -> Option<(Credentials, bool)> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        let (credentials, asked) = newest.as_ref()?;
        let is_due = expire_within(EARLY, credentials) && asked.elapsed() >= PAUSE;
        (!expire_within(Duration::ZERO, credentials)).then(|| (credentials.clone(), is_due))
    }

    /// Fetches credentials that requests wait for.
    async fn first(&self) -> Result {
        let _asking = self.asking.lock().await;
        // Another request may have fetched them in the meantime.
        match self.good() {
            Some((credentials, _)) => Ok(credentials),
            None => self.ask().await,
        }
    }

    async fn ask(&self) -> Result {
        let answer = self.endpoint.provide_credentials().await;
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(credentials) => *newest = Some((credentials.clone(), Instant::now())),
            Err(_) => {
                if let Some((_, asked)) = newest.as_mut() {
                    *asked = Instant::now();
                }
            }
        }
        answer
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "credentials expire by the clock of AWS, whatever time a test gives the function"
)]
fn expire_within(time: Duration, credentials: &Credentials) -> bool {
    credentials
        .expiry()
        .is_some_and(|expiry| expiry <= SystemTime::now() + time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::error::CredentialsError;
    use futures_util::future::join_all;
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The credentials that an endpoint has one after the other, by the seconds until they expire. `None` is an
    /// endpoint that fails. The last one stays.
    #[derive(Debug)]
    struct Endpoint(&'static [Option<i64>], AtomicU32);

    impl ProvideCredentials for Endpoint {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                // Other requests come while the endpoint is asked.
                tokio::task::yield_now().await;
                let nth = self.1.fetch_add(1, Ordering::SeqCst);
                let last = self.0.len() - 1;
                let at = usize::try_from(nth).unwrap_or(last).min(last);
                match self.0.get(at) {
                    Some(Some(seconds)) => Ok(credentials(nth, *seconds)),
                    _ => Err(CredentialsError::provider_error("no answer")),
                }
            })
        }
    }

    #[expect(clippy::disallowed_methods, reason = "as in `expire_within`")]
    fn credentials(nth: u32, seconds: i64) -> Credentials {
        let life = Duration::from_secs(seconds.unsigned_abs());
        let expiry = match seconds {
            0.. => SystemTime::now() + life,
            _ => SystemTime::now() - life,
        };
        Credentials::new(format!("key {nth}"), "secret", None, Some(expiry), "test")
    }

    fn kept(endpoint: &'static [Option<i64>]) -> Kept<Endpoint> {
        let endpoint = Endpoint(endpoint, AtomicU32::new(0));
        Kept(Arc::new(Keeper::new(endpoint)))
    }

    /// The keys that many requests at once get. Afterwards, the endpoint has answered whoever asked it.
    async fn keys(kept: &Kept<Endpoint>) -> BTreeSet<String> {
        let requests = (0..50).map(|_| kept.credentials());
        let given = join_all(requests).await;
        let _asking = loop {
            // The task that asks has begun by now, and holds the lock until it has the answer.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if let Ok(asking) = kept.0.asking.try_lock() {
                break asking;
            }
        };
        given
            .into_iter()
            .map(|one| one.map_or_else(|error| error.to_string(), |it| it.access_key_id().into()))
            .collect()
    }

    fn asked(kept: &Kept<Endpoint>) -> u32 {
        kept.0.endpoint.1.load(Ordering::SeqCst)
    }

    fn only(key: &str) -> BTreeSet<String> {
        BTreeSet::from([key.to_owned()])
    }

    const HOUR: Option<i64> = Some(3600);
    const MINUTE: Option<i64> = Some(60);

    #[tokio::test(start_paused = true)]
    async fn many_requests_ask_the_endpoint_once_until_the_credentials_expire_soon() {
        let kept = kept(&[HOUR]);
        for _ in 0..3 {
            assert_eq!(keys(&kept).await, only("key 0"));
            tokio::time::advance(PAUSE).await;
        }
        assert_eq!(asked(&kept), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_expire_soon_are_renewed_beside_the_requests() {
        let kept = kept(&[MINUTE, MINUTE, HOUR]);
        assert_eq!(keys(&kept).await, only("key 0"));
        // The endpoint was asked just now.
        assert_eq!(keys(&kept).await, only("key 0"));
        assert_eq!(asked(&kept), 1);
        for (before, after) in [("key 0", 2), ("key 1", 3), ("key 2", 3)] {
            tokio::time::advance(PAUSE).await;
            assert_eq!(keys(&kept).await, only(before));
            assert_eq!(asked(&kept), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_endpoint_fails_good_credentials_stay_in_use() {
        let kept = kept(&[MINUTE, None, None, HOUR]);
        for expected in ["key 0", "key 0", "key 0", "key 0", "key 3"] {
            assert_eq!(keys(&kept).await, only(expected));
            tokio::time::advance(PAUSE).await;
        }
        assert_eq!(asked(&kept), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_credentials_are_never_used() {
        let kept = kept(&[Some(-1), None, HOUR]);
        assert!(kept.credentials().await.is_ok());
        assert!(kept.credentials().await.is_err());
        assert_eq!(keys(&kept).await, only("key 2"));
        assert_eq!(asked(&kept), 3);
    }
}
