//! The response times of providers, which sign-ins that ask no provider imitate.

use super::{Call, Service};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many response times are remembered for each act.
const REMEMBERED: usize = 64;

/// A kind of request to a provider.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Send,
    Verify,
}

/// The recent response times of the provider. If a sign-in does not ask the provider, the sign-in waits for one of
/// these times. So the duration of a sign-in does not show whether the provider was asked.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    sends: Mutex<VecDeque<Duration>>,
    verifies: Mutex<VecDeque<Duration>>,
}

impl Latencies {
    fn of(&self, act: Act) -> &Mutex<VecDeque<Duration>> {
        match act {
            Act::Send => &self.sends,
            Act::Verify => &self.verifies,
        }
    }

    pub(super) fn remember(&self, act: Act, time: Duration) {
        let mut times = self.of(act).lock().unwrap_or_else(PoisonError::into_inner);
        times.push_back(time);
        if times.len() > REMEMBERED {
            times.pop_front();
        }
    }

    /// Draws one of the remembered times at random.
    fn draw(&self, act: Act) -> Option<Duration> {
        let times = self.of(act).lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = usize::try_from(getrandom::u32().ok()?).ok()?;
        times.get(drawn.checked_rem(times.len())?).copied()
    }
}

impl Service {
    /// Waits for one of the provider's recent response times, as if the provider had been asked. If this execution
    /// environment has not asked a provider yet, there is no time to imitate. In this case, only one thing hides that
    /// no provider was asked: triggers respond at multiples of a fixed time.
    pub(super) async fn wait_as_if_asked(&self, act: Act, call: &Call<'_>) {
        if let Some(time) = self.latencies.draw(act) {
            tokio::time::sleep(time.min(call.provider_time_left())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_times_of_each_act_are_drawn() {
        let latencies = Latencies::default();
        assert_eq!(latencies.draw(Act::Send), None);
        for seconds in 0..100 {
            latencies.remember(Act::Send, Duration::from_secs(seconds));
        }
        let drawn: std::collections::BTreeSet<_> = (0..5_000)
            .filter_map(|_| latencies.draw(Act::Send))
            .collect();
        assert_eq!(drawn, (36..100).map(Duration::from_secs).collect());
        assert_eq!(latencies.draw(Act::Verify), None);
    }
}
