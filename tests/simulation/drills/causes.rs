//! The things that go wrong in the drills, one for each.

use simulator::{Failure, Operation};
use std::time::Duration;

use super::people::{People, Person, Size, Step};
use super::town::{Fares, Lambda, Town};
use super::{DAY, MIDDLE, SMALL};

/// The minute of a drill in which its cause begins.
pub(super) const BEGINS: u32 = 30;

pub(super) struct Cause {
    pub(super) name: &'static str,
    what: What,
    /// How many minutes it lasts. Then it is over, or the operator does what docs/operate.md says.
    pub(super) lasts: u32,
    /// The length of the drill.
    pub(super) minutes: u32,
    /// The minute since Monday, 00:00 UTC, in which the drill starts.
    pub(super) starts: u32,
    pub(super) size: Size,
    pub(super) settings: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy)]
enum What {
    /// Somebody has messages sent to one country, so many in a minute. The operator blocks its prefixes.
    Pumping(u32),
    /// So many customers come in an hour. The operator deploys larger budgets.
    Customers(
        f64,
        Option<&'static str>,
        &'static [(&'static str, &'static str)],
    ),
    /// Messages to this country do not arrive, or none at all.
    Lost(&'static str),
    /// So many numbers are attacked. Each attack begins so many seconds after the one before.
    Guessing(u32, u64),
    /// All these calls of the provider fail like this.
    Provider(Operation, Trouble),
    Lambda(Lambda),
    Ledger(Fares),
    /// The provider takes so many milliseconds.
    SlowProvider(u64),
}

/// The failures of the provider in these drills.
#[derive(Clone, Copy)]
enum Trouble {
    LosesResponses,
    Throttles,
    DeniesAccess,
}

impl Trouble {
    fn failure(self) -> Failure {
        match self {
            Self::LosesResponses => Failure::CloseAfterReading,
            Self::Throttles => Failure::TooManyRequests,
            Self::DeniesAccess => Failure::AccessDenied,
        }
    }
}

/// The usual drill: it starts at nine on a Monday.
const USUAL: Cause = Cause {
    name: "",
    what: What::Lambda(Lambda::Runs),
    lasts: 30,
    minutes: 200,
    starts: 9 * 60,
    size: MIDDLE,
    settings: &[],
};

pub(super) fn drills() -> Vec<Cause> {
    let cause = |name, what| Cause {
        name,
        what,
        ..USUAL
    };
    let provider = |trouble| What::Provider(Operation::Send, trouble);
    vec![
        Cause {
            lasts: 60,
            minutes: 240,
            ..cause("pumping", What::Pumping(6))
        },
        Cause {
            lasts: 360,
            minutes: 430,
            size: Size {
                over_http: 6.0,
                sign_ins: 1.0,
            },
            settings: &[("BUDGETS", "400/1h,400/24h")],
            ..cause(
                "customers",
                What::Customers(30.0, None, &[("BUDGETS", "4000/1h,4000/24h")]),
            )
        },
        Cause {
            lasts: 60,
            settings: &[("COUNTRY_LIMITS", "JM=20/1h")],
            ..cause(
                "customers-of-a-country",
                What::Customers(24.0, Some("JM"), &[("COUNTRY_LIMITS", "JM=100/1h")]),
            )
        },
        Cause {
            lasts: 60,
            minutes: 240,
            ..cause("no-arrival", What::Lost("*"))
        },
        Cause {
            lasts: 120,
            minutes: 300,
            ..cause("no-arrival-in-a-country", What::Lost("GB"))
        },
        cause("guessing", What::Guessing(14, 3)),
        Cause {
            lasts: 2 * DAY,
            minutes: 2 * DAY + 100,
            size: SMALL,
            ..cause("guessing-in-step", What::Guessing(3, 3))
        },
        Cause {
            lasts: 2 * DAY,
            minutes: 2 * DAY + 100,
            size: SMALL,
            ..cause("guessing-apart", What::Guessing(3, 5 * 3600))
        },
        cause("lost-responses", provider(Trouble::LosesResponses)),
        cause("provider-throttles", provider(Trouble::Throttles)),
        cause("lambda-throttles", What::Lambda(Lambda::Refuses)),
        cause("table-refuses", What::Ledger(Fares::Refuses)),
        Cause {
            lasts: 60,
            ..cause("silent-table", What::Ledger(Fares::IsSilent))
        },
        cause("permission", provider(Trouble::DeniesAccess)),
        Cause {
            lasts: 10,
            ..cause("panic", What::Ledger(Fares::Panics))
        },
        cause("no-start", What::Lambda(Lambda::Dies)),
        Cause {
            lasts: 60,
            ..cause("slow-table", What::Ledger(Fares::Slowly))
        },
        Cause {
            lasts: 60,
            size: Size {
                over_http: 20.0,
                sign_ins: 8.0,
            },
            ..cause("slow-provider", What::SlowProvider(1680))
        },
        Cause {
            size: Size {
                over_http: 20.0,
                sign_ins: 22.0,
            },
            ..cause("over-the-floor", What::SlowProvider(1000))
        },
    ]
}

impl Cause {
    /// Acts in a minute of the drill.
    pub(super) async fn act(&self, town: &mut Town, people: &mut People, minute: u32, now: u32) {
        let (begins, ends) = (now == BEGINS, now == BEGINS + self.lasts);
        let lasts = (BEGINS..BEGINS + self.lasts).contains(&now);
        let at = u64::from(minute) * 60_000;
        match self.what {
            What::Pumping(each_minute) => {
                if ends {
                    town.block(&["+1876"]);
                }
                // The pumping goes on for an hour, in vain.
                if (BEGINS..BEGINS + self.lasts + 60).contains(&now) {
                    for nth in 0..u64::from(each_minute) {
                        let person = Person::pumping(&mut town.rng, "JM");
                        people.add(
                            at + nth * 60_000 / u64::from(each_minute),
                            person,
                            Step::Ask,
                        );
                    }
                }
            }
            What::Customers(over_http, country, settings) => {
                if lasts {
                    let size = Size {
                        over_http,
                        sign_ins: 0.0,
                    };
                    people.come(&mut town.rng.fork(), minute, size, country);
                }
                if ends {
                    town.deploy(settings).await;
                }
            }
            What::Lost(country) => people.lost = lasts.then_some(country),
            What::Guessing(numbers, apart) => {
                if begins {
                    for nth in 0..u64::from(numbers) {
                        let person = Person::attacking(&mut town.rng, "US");
                        people.add(at + nth * apart * 1000, person, Step::Guess);
                    }
                }
                if ends {
                    people.stop_guessing();
                }
            }
            What::Provider(operation, trouble) => {
                town.provider_fails = lasts.then(|| (operation, trouble.failure()));
            }
            What::SlowProvider(milliseconds) => {
                let slow = Failure::Slow(Duration::from_millis(milliseconds));
                town.provider_fails = lasts.then_some((Operation::Send, slow));
            }
            What::Lambda(lambda) => {
                town.lambda = if lasts { lambda } else { Lambda::Runs };
            }
            What::Ledger(fares) => town.ledger(if lasts { fares } else { Fares::Well }),
        }
    }
}

/// In these minutes of a day, one person signs in and the provider is slow. They are in two periods of an alarm.
const SLOW_SIGN_INS: [u32; 2] = [13 * 60 + 5, 13 * 60 + 11];

/// Whether somebody signs in at the beginning of this minute, while the provider is slow.
pub(super) fn signs_in_slowly(minute: u32) -> bool {
    SLOW_SIGN_INS.contains(&(minute % DAY))
}

/// The failure with which a minute begins: three times a day, each time another one, and two slow sign-ins.
pub(super) fn hiccup(minute: u32) -> Option<(Operation, Failure)> {
    const HOURS: [u32; 3] = [10, 15, 19];
    let failures = [
        Failure::TooManyRequests,
        Failure::CloseAfterReading,
        Failure::InternalServerError,
        Failure::Slow(Duration::from_millis(3500)),
    ];
    if signs_in_slowly(minute) {
        let slow = Failure::Slow(Duration::from_millis(1700));
        return Some((Operation::Send, slow));
    }
    let (day, of_day) = (minute / DAY, minute % DAY);
    let nth = HOURS.iter().position(|hour| hour * 60 == of_day)?;
    let nth = usize::try_from(day).unwrap() * HOURS.len() + nth;
    Some((Operation::Send, failures[nth % failures.len()].clone()))
}
