use super::{Budget, Budgets, Rate, SendLimits};
use crate::ledger::{Door, LOCKED, SendWindow};
use std::time::Duration;

/// Windows of at least this length are split between the doors, HTTP and sign-ins. A shorter window applies to each
/// door in full, because a shorter window often has a count of one, as in `1/30s`, and a count of one cannot be split.
const SPLIT_FROM: Duration = Duration::from_hours(1);

/// The fewest failed guesses that lock a number at a door. After 10 and after 30 failed guesses, a number gets no code
/// for a time ([`GUESS_STOPS`](crate::ledger::GUESS_STOPS)). The lock needs more failed guesses than 30, so a stranger
/// cannot lock a number without both waits.
const LEAST_LOCK: u32 = 35;

/// The percentage of each joint limit that belongs to sign-ins. The rest belongs to HTTP. Each door has counters of its
/// own. The joint limit holds because each door keeps to its own part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignInShare(u8);

impl SignInShare {
    /// Reads 0, which means no sign-ins, or 10 to 90.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let share = text.parse().ok().filter(|_| is_number)?;
        (share == 0 || (10..=90).contains(&share)).then_some(Self(share))
    }

    /// Whether the operator has given sign-ins no part.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// One door's part of a joint limit. The parts of both doors add up to the limit.
    fn of(self, door: Door, joint: u64) -> u64 {
        let sign_in = u128::from(joint) * u128::from(self.0) / 100;
        let most = joint.saturating_sub(1);
        let least = u64::from(!self.is_none()).min(most);
        let sign_in = u64::try_from(sign_in).unwrap_or(most).clamp(least, most);
        match door {
            Door::SignIn => sign_in,
            Door::Http => joint - sign_in,
        }
    }

    /// The limits on one number at a door.
    #[must_use]
    pub fn of_sends(self, door: Door, joint: &SendLimits) -> SendLimits {
        let window = |window: &SendWindow| {
            let sends = self.of(door, window.sends as u64);
            SendWindow {
                sends: match usize::try_from(sends) {
                    Ok(sends) if window.length >= SPLIT_FROM => sends,
                    _ => window.sends,
                },
                ..*window
            }
        };
        SendLimits {
            windows: joint.windows().iter().map(window).collect(),
            lock: self.lock(door),
        }
    }

    /// The door's part of the failed guesses that lock a number.
    fn lock(self, door: Door) -> u32 {
        let part = u32::try_from(self.of(door, LOCKED.into())).unwrap_or(LOCKED);
        if self.is_none() {
            part
        } else {
            part.clamp(LEAST_LOCK, LOCKED - LEAST_LOCK)
        }
    }

    /// The limits on prefixes at a door.
    #[must_use]
    pub fn of_rates(self, door: Door, joint: &[Rate]) -> Vec<Rate> {
        let part = |rate: &Rate| Rate {
            count: self.of(door, rate.count),
            ..*rate
        };
        joint.iter().map(part).collect()
    }

    /// The budgets of a door.
    #[must_use]
    pub fn of_budgets(self, door: Door, joint: &Budgets) -> Budgets {
        let part = |budgets: &Vec<Budget>| -> Vec<Budget> {
            let part = |budget: &Budget| Budget {
                cap: self.of(door, budget.cap),
                ..*budget
            };
            budgets.iter().map(part).collect()
        };
        let by_country = joint.by_country.iter();
        Budgets {
            door,
            all: part(&joint.all),
            by_country: by_country
                .map(|(country, budgets)| (*country, part(budgets)))
                .collect(),
            other_countries: part(&joint.other_countries),
            only_country: joint.only_country,
            prices: joint.prices.clone(),
        }
    }

    /// Whether the joint send limits can be split. A window that has to be split needs a count of at least two, because
    /// with a count of one, one door would get nothing. Without sign-ins nothing has to be split, so the result is
    /// true.
    #[must_use]
    pub fn can_split_sends(self, joint: &SendLimits) -> bool {
        let mut windows = joint.windows().iter();
        self.is_none() || windows.all(|window| window.sends > 1 || window.length < SPLIT_FROM)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_joint_limit_add_up_to_it() {
        for share in (10..=90).map(SignInShare) {
            for joint in (2..=200).chain([u64::MAX / 2, u64::MAX]) {
                let parts = [Door::Http, Door::SignIn].map(|door| share.of(door, joint));
                assert_eq!(parts[0] + parts[1], joint, "{share:?}");
                assert!(parts.iter().all(|part| *part > 0), "{share:?} {joint}");
            }
            assert_eq!(share.of(Door::Http, 1) + share.of(Door::SignIn, 1), 1);
        }
        for share in (10..=90).map(SignInShare) {
            let locks = [Door::Http, Door::SignIn].map(|door| share.lock(door));
            assert_eq!(locks[0] + locks[1], LOCKED, "{share:?}");
            assert!(locks.iter().all(|lock| *lock > 30), "{share:?}: {locks:?}");
        }
        assert_eq!(
            [Door::Http, Door::SignIn].map(|door| SignInShare(0).lock(door)),
            [LOCKED, 0]
        );
        assert_eq!(SignInShare(0).of(Door::Http, 100), 100);
        assert_eq!(SignInShare(0).of(Door::SignIn, 100), 0);
    }

    #[test]
    fn a_share_is_nothing_or_leaves_both_doors_a_part() {
        for (text, share) in [("0", 0), ("10", 10), ("90", 90)] {
            assert_eq!(SignInShare::parse(text), Some(SignInShare(share)));
        }
        for bad in ["", "9", "91", "100", "+50", "50%", "-1", "x"] {
            assert_eq!(SignInShare::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn long_windows_are_split_and_short_ones_hold_at_each_door() {
        let joint = SendLimits::parse("1/30s,3/10m,6/24h").unwrap();
        let share = SignInShare::parse("40").unwrap();
        let counts = |door| {
            let limits = share.of_sends(door, &joint);
            let windows = limits.windows().iter();
            (
                windows.map(|window| window.sends).collect::<Vec<_>>(),
                limits.lock,
            )
        };
        assert_eq!(counts(Door::Http), (vec![1, 3, 4], 60));
        assert_eq!(counts(Door::SignIn), (vec![1, 3, 2], 40));
        assert!(share.can_split_sends(&joint));
        assert!(!share.can_split_sends(&SendLimits::parse("1/1h").unwrap()));
    }
}
