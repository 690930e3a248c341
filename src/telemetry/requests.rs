//! An invocation's own data wherever its code runs: its ID, and its requests to the ledger's table (how many, and how
//! long).

use std::cell::RefCell;
use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    /// Each invocation has its own, because several can run at once.
    static OF_INVOCATION: OfInvocation;
}

struct OfInvocation {
    id: String,
    requests: RefCell<Requests>,
}

/// The requests to the table so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests {
    /// With the repeats.
    pub count: u32,
    /// How long at least one request was under way.
    pub time: Duration,
    under_way: u32,
    since: Option<Instant>,
}

/// Runs an invocation, and returns its requests, too.
pub(crate) async fn counted<T>(id: String, invocation: impl Future<Output = T>) -> (T, Requests) {
    let requests = RefCell::default();
    OF_INVOCATION
        .scope(OfInvocation { id, requests }, async {
            let result = invocation.await;
            let requests = OF_INVOCATION.with(|own| *own.requests.borrow());
            (result, requests)
        })
        .await
}

/// The ID of the invocation whose code is running, if it is the code of one.
pub(super) fn invocation() -> Option<String> {
    OF_INVOCATION.try_with(|own| own.id.clone()).ok()
}

/// Counts a request to the table. The request ends when the result is dropped, also if nobody waits for it any more.
#[must_use]
pub(crate) fn asked() -> Asked {
    change(|requests| {
        requests.count += 1;
        requests.under_way += 1;
        requests.since.get_or_insert_with(Instant::now);
    });
    Asked
}

/// A request that is under way.
pub(crate) struct Asked;

impl Drop for Asked {
    fn drop(&mut self) {
        change(|requests| {
            requests.under_way = requests.under_way.saturating_sub(1);
            if requests.under_way == 0
                && let Some(since) = requests.since.take()
            {
                requests.time += since.elapsed();
            }
        });
    }
}

fn change(change: impl FnOnce(&mut Requests)) {
    // Outside an invocation, such as in a test of the ledger alone, nobody asks for the count.
    let _ = OF_INVOCATION.try_with(|own| change(&mut own.requests.borrow_mut()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join;

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_same_time_take_their_time_once() {
        let request = |milliseconds| async move {
            let _asked = asked();
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        };
        let one = counted(String::new(), async {
            join(request(10), request(30)).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            request(5).await;
        });
        let given_up = counted(String::new(), async {
            let _ = tokio::time::timeout(Duration::from_millis(7), request(1000)).await;
        });
        let (((), one), ((), given_up)) = join(one, given_up).await;
        assert_eq!((one.count, one.time), (3, Duration::from_millis(35)));
        assert_eq!(
            (given_up.count, given_up.time),
            (1, Duration::from_millis(7))
        );
    }

    #[tokio::test]
    async fn code_knows_its_own_invocation() {
        let own = || async {
            tokio::task::yield_now().await;
            invocation()
        };
        let (one, other) = join(
            counted("one".to_owned(), own()),
            counted("other".to_owned(), own()),
        )
        .await;
        assert_eq!(one.0.as_deref(), Some("one"));
        assert_eq!(other.0.as_deref(), Some("other"));
        assert_eq!(invocation(), None);
    }
}
