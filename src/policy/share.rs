use super::{Budget, Budgets, Rate, SendLimits};
use crate::ledger::{Door, LOCKED, SendWindow};
use std::time::Duration;

/// Windows of at least this length are split between the doors. A shorter window applies to each door in full, because
/// a shorter window often has a count of one, as in `1/30s`, and a count of one cannot be split.
pub(super) const SPLIT_FROM: Duration = Duration::from_hours(1);

/// The fewest failed guesses that lock a number at a door. After 10 and after 30 failed guesses, a number gets no code
/// for a time ([`GUESS_STOPS`](crate::ledger::GUESS_STOPS)). The lock needs more failed guesses than 30, so a stranger
/// cannot lock a number without both waits.
const LEAST_LOCK: u32 = 35;

/// The failed guesses that lock the reserve of a number's devices. Strangers cannot cause these failures.
const DEVICE_LOCK: u32 = 10;

/// The percentage of each joint limit that belongs to sign-ins. The rest belongs to HTTP and to devices. Each door has
/// counters of its own. The joint limit holds because each door keeps to its own part.
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

    /// The part of sign-ins in a joint limit.
    fn of(self, joint: u64) -> u64 {
        let sign_in = u128::from(joint) * u128::from(self.0) / 100;
        let most = joint.saturating_sub(1);
        let least = u64::from(!self.is_none()).min(most);
        u64::try_from(sign_in).unwrap_or(most).clamp(least, most)
    }
}

/// The parts of the joint limits that the doors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    pub sign_in: SignInShare,
    /// Whether a part of HTTP's part is kept for devices that have verified a number before.
    pub has_devices: bool,
}

/// The part of a limit over HTTP that is kept for devices: one in `divisor`, and at least `least`.
#[derive(Clone, Copy)]
struct Reserve {
    divisor: u64,
    least: u64,
}

/// A person needs two messages a day: if the first does not arrive, the person asks for another.
const OF_SENDS: Reserve = Reserve {
    divisor: 3,
    least: 2,
};

/// Prefixes and budgets are shared by many numbers, of which only some are attacked.
const OF_COUNTS: Reserve = Reserve {
    divisor: 10,
    least: 1,
};

impl Shares {
    /// One door's part of a joint limit. The parts of all doors add up to the limit. Devices get nothing if HTTP would
    /// be left with nothing.
    fn of(self, door: Door, joint: u64, reserve: Reserve) -> u64 {
        let sign_in = self.sign_in.of(joint);
        let rest = joint - sign_in;
        let most = rest.saturating_sub(1);
        let device = if self.has_devices {
            (rest / reserve.divisor).max(reserve.least).min(most)
        } else {
            0
        };
        match door {
            Door::SignIn => sign_in,
            Door::Device => device,
            Door::Http => rest - device,
        }
    }

    /// The limits on one number at a door.
    #[must_use]
    pub fn of_sends(self, door: Door, joint: &SendLimits) -> SendLimits {
        let window = |window: &SendWindow| {
            let sends = self.of(door, window.sends as u64, OF_SENDS);
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

    /// The door's part of the failed guesses that lock a number. If devices get their part, sign-ins with a share above
    /// 55 lose some of theirs, because HTTP keeps at least [`LEAST_LOCK`].
    fn lock(self, door: Door) -> u32 {
        let device = if self.has_devices { DEVICE_LOCK } else { 0 };
        let rest = LOCKED - device;
        let sign_in = match u32::try_from(self.sign_in.of(LOCKED.into())) {
            _ if self.sign_in.is_none() => 0,
            Ok(part) => part.clamp(LEAST_LOCK, rest - LEAST_LOCK),
            Err(_) => LEAST_LOCK,
        };
        match door {
            Door::SignIn => sign_in,
            Door::Device => device,
            Door::Http => rest - sign_in,
        }
    }

    /// The limits on prefixes at a door.
    #[must_use]
    pub fn of_rates(self, door: Door, joint: &[Rate]) -> Vec<Rate> {
        let part = |rate: &Rate| Rate {
            count: self.of(door, rate.count, OF_COUNTS),
            ..*rate
        };
        joint.iter().map(part).collect()
    }

    /// The budgets of a door.
    #[must_use]
    pub fn of_budgets(self, door: Door, joint: &Budgets) -> Budgets {
        let part = |budgets: &Vec<Budget>| -> Vec<Budget> {
            let part = |budget: &Budget| Budget {
                cap: self.of(door, budget.cap, OF_COUNTS),
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

    /// Whether each door gets a part of the joint send limits. A window that is split needs a count of at least two for
    /// sign-ins. HTTP's part needs a count of at least three for devices.
    #[must_use]
    pub fn can_split_sends(self, joint: &SendLimits) -> CanSplit {
        let windows = joint.windows().iter();
        let split = windows.filter(|window| window.length >= SPLIT_FROM);
        self.worst(split.map(|window| window.sends as u64), OF_SENDS)
    }

    /// Whether each door gets a part of counts such as those of prefixes and budgets.
    #[must_use]
    pub fn can_split(self, joint: impl Iterator<Item = u64>) -> CanSplit {
        self.worst(joint, OF_COUNTS)
    }

    fn worst(self, joint: impl Iterator<Item = u64>, reserve: Reserve) -> CanSplit {
        let one = |joint: u64| {
            let rest = joint - self.sign_in.of(joint);
            if !self.sign_in.is_none() && joint < 2 {
                CanSplit::NotForSignIns
            } else if self.has_devices && rest <= reserve.least {
                CanSplit::NotForDevices
            } else {
                CanSplit::Yes
            }
        };
        joint.map(one).max().unwrap_or(CanSplit::Yes)
    }
}

/// Whether each door gets a part of the joint limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CanSplit {
    Yes,
    /// A limit is too small for devices.
    NotForDevices,
    /// A limit is too small for sign-ins.
    NotForSignIns,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const DOORS: [Door; 3] = [Door::Http, Door::SignIn, Door::Device];

    fn shares() -> impl Iterator<Item = Shares> {
        let sign_ins = std::iter::once(0).chain(10..=90).map(SignInShare);
        sign_ins.flat_map(|sign_in| {
            [false, true].map(|has_devices| Shares {
                sign_in,
                has_devices,
            })
        })
    }

    #[test]
    fn the_parts_of_a_joint_limit_add_up_to_it() {
        for share in shares() {
            for reserve in [OF_SENDS, OF_COUNTS] {
                for joint in (1..=200).chain([u64::MAX / 2, u64::MAX]) {
                    let [http, sign_in, device] = DOORS.map(|door| share.of(door, joint, reserve));
                    assert_eq!(http + sign_in + device, joint, "{share:?}");
                    assert!(http > 0, "{share:?} {joint}");
                    if share.worst([joint].into_iter(), reserve) == CanSplit::Yes {
                        assert_eq!(sign_in > 0, !share.sign_in.is_none(), "{share:?} {joint}");
                        let least = if share.has_devices { reserve.least } else { 0 };
                        assert!(device >= least, "{share:?} {joint}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_locks_add_up_and_no_stranger_locks_a_number_without_waiting() {
        for share in shares() {
            let [http, sign_in, device] = DOORS.map(|door| share.lock(door));
            assert_eq!(http + sign_in + device, LOCKED, "{share:?}");
            assert!(http > 30, "{share:?}: {http}");
            assert!(sign_in > 30 || share.sign_in.is_none(), "{share:?}");
            assert_eq!(device >= 3, share.has_devices, "{share:?}");
        }
        let alone = Shares::default();
        assert_eq!(DOORS.map(|door| alone.lock(door)), [LOCKED, 0, 0]);
        assert_eq!(
            DOORS.map(|door| alone.of(door, 100, OF_COUNTS)),
            [100, 0, 0]
        );
    }

    #[test]
    fn devices_take_no_message_from_sign_ins_and_few_failures() {
        for share in shares().filter(|share| share.has_devices) {
            let without = Shares {
                has_devices: false,
                ..share
            };
            for joint in 1..=200 {
                let parts = [share, without].map(|it| it.of(Door::SignIn, joint, OF_COUNTS));
                assert_eq!(parts[0], parts[1], "{share:?} {joint}");
            }
            let locks = [share, without].map(|it| it.lock(Door::SignIn));
            assert_eq!(locks[0], locks[1].min(55), "{share:?}");
        }
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
        let share = |has_devices| Shares {
            sign_in: SignInShare::parse("40").unwrap(),
            has_devices,
        };
        let counts = |has_devices, door| {
            let limits = share(has_devices).of_sends(door, &joint);
            let windows = limits.windows().iter();
            (
                windows.map(|window| window.sends).collect::<Vec<_>>(),
                limits.lock,
            )
        };
        assert_eq!(counts(false, Door::Http), (vec![1, 3, 4], 60));
        assert_eq!(counts(false, Door::SignIn), (vec![1, 3, 2], 40));
        assert_eq!(counts(true, Door::Http), (vec![1, 3, 2], 50));
        assert_eq!(counts(true, Door::SignIn), (vec![1, 3, 2], 40));
        assert_eq!(counts(true, Door::Device), (vec![1, 3, 2], 10));
        for (limits, has_devices, expected) in [
            ("1/30s,6/24h", false, CanSplit::Yes),
            ("1/1h", false, CanSplit::NotForSignIns),
            ("1/30s,6/24h", true, CanSplit::Yes),
            ("3/24h", true, CanSplit::NotForDevices),
            ("1/1h,3/24h", true, CanSplit::NotForSignIns),
        ] {
            let joint = SendLimits::parse(limits).unwrap();
            assert_eq!(
                share(has_devices).can_split_sends(&joint),
                expected,
                "{limits}"
            );
        }
    }
}
