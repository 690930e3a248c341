//! The actors: people who mistype codes, an attacker who guesses, other software, and an operator.

use otp_lambda::ledger::{Door, Hasher, SessionDigest, Switches};
use otp_lambda::policy::{Budget, Budgets, Prices, Rate, SendLimits};
use otp_lambda::reference::ReferenceId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::books::{Books, Plan};
use crate::naive::Naive;
use crate::sim::Setup;

pub(crate) const BRAND: &str = "ExampleCorp";
pub(crate) const SOURCE: &str = "sign-up";

/// Made-up numbers. The first two share a prefix.
const NUMBERS: [&str; 4] = [
    "+14255550142",
    "+14255550143",
    "+447700900123",
    "+18765550142",
];

/// Wrong codes. There are few of them, so that guesses repeat. The provider never makes one of them.
const WRONG: [&str; 5] = ["000000", "000001", "000002", "000003", "000004"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Send,
    Verify,
    Cancel,
    Claim,
    Status,
    Unlock,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) principal: Option<&'static str>,
    pub(crate) address: Option<u8>,
    pub(crate) key: Option<String>,
    /// The sign-in session of the request.
    pub(crate) session: Option<u8>,
}

impl Who {
    /// The session's digest in the ledger.
    pub(crate) fn session(&self, keys: &Hasher) -> Option<SessionDigest> {
        Some(keys.session(&format!("session-{}", self.session?)))
    }
}

/// A request that an actor is about to make.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) what: What,
    pub(crate) number: usize,
    pub(crate) reference: Option<String>,
    pub(crate) otp: String,
    pub(crate) attempts: u8,
    pub(crate) who: Who,
}

impl Intent {
    /// The idempotency key, together with the caller that it belongs to.
    pub(crate) fn owned_key(&self, setup: &Setup) -> Option<String> {
        let key = self.who.key.as_ref()?;
        Some(format!("{} {key}", self.owner(setup.numbers[self.number])))
    }

    fn owner(&self, number: &str) -> String {
        self.who
            .principal
            .map_or_else(|| format!("{:?} {number}", self.who.address), str::to_owned)
    }

    /// Names a request that wins a success or redeems one. Requests with the same key have the same name. A request
    /// without a key has a name of its own.
    pub(crate) fn winner(&self, operation: usize) -> String {
        match &self.who.key {
            Some(key) => format!("{} {key}", self.owner(&self.number.to_string())),
            None => format!("#{operation}"),
        }
    }
}

/// Derives the setup from the seed.
pub(crate) fn setup(seed: u64, rng: &mut fastrand::Rng) -> Setup {
    let siege = seed.is_multiple_of(25);
    let plan = match seed % 6 {
        1 => Plan::Never,
        2 => Plan::OnlyTheProvider,
        _ => Plan::ByChance,
    };
    let limits = [
        "1/30s,2/90s,3/10m,6/24h",
        "2/1m,4/1h",
        "1/30s,20/24h",
        "3/10m",
        "1/10s,5/1h,8/24h",
    ];
    let limits = if siege {
        "20/1h"
    } else {
        limits[rng.usize(..limits.len())]
    };
    let rates = |text| Rate::parse_list(text).unwrap();
    let budgets = |text| Budget::parse_list(text).unwrap();
    let one = |rng: &mut fastrand::Rng, of: [&'static str; 4]| of[rng.usize(..4)];
    let wide = siege || rng.u32(0..100) < 40;
    let all = if wide {
        "500/1h,2000/24h"
    } else {
        one(
            rng,
            ["3/1h,9/24h", "2/1h", "5/24h,0.03USD/1h", "0.05USD/24h"],
        )
    };
    let jamaica = if wide {
        "none"
    } else {
        one(rng, ["none", "1/1h", "2/24h", "0.2USD/24h"])
    };
    Setup {
        numbers: NUMBERS[..if siege {
            1
        } else {
            rng.usize(1..=NUMBERS.len())
        }]
            .to_vec(),
        derived: rng.bool(),
        authenticated: [Some(true), Some(true), Some(false), None][rng.usize(..4)],
        send_limits: SendLimits::parse(limits).unwrap(),
        prefix_limits: if wide {
            rates("500/1h")
        } else {
            rates(one(rng, ["50/1h", "3/10m", "2/1h,5/24h", "4/1h"]))
        },
        source_limits: if wide {
            Vec::new()
        } else {
            rates(one(rng, ["10/10m,50/24h", "none", "5/1m", "20/1h"]))
        },
        budgets: Budgets {
            door: Door::Http,
            all: budgets(all),
            by_country: BTreeMap::from([("JM".parse().unwrap(), budgets(jamaica))]),
            other_countries: if wide {
                Vec::new()
            } else {
                budgets(one(rng, ["none", "none", "6/24h", "2/1h"]))
            },
            // This is not drawn at random, so that each seed gives the same run as before.
            only_country: seed.is_multiple_of(3).then(|| "US".parse().unwrap()),
            prices: Prices {
                by_country: BTreeMap::from([("US".parse().unwrap(), 5810)]),
                otherwise: Some(40_000),
                ..Prices::default()
            },
        },
        attempts: if siege {
            20
        } else {
            [1, 2, 3, 5, 5][rng.usize(..5)]
        },
        validity_minutes: [1, 2, 5, 10, 30, 60][rng.usize(..6)],
        kills_first: rng.bool(),
        accepts_twice: rng.bool(),
        provider_counts: rng.bool(),
        lax_expiry: rng.u32(0..5) == 0,
        instances: rng.usize(1..=3),
        plan,
        operations: if siege { 400 } else { rng.usize(40..=90) },
        most_at_once: if siege { 14 } else { rng.usize(2..=6) },
        siege,
        sign_ins: seed % 8 == 6,
        naive: None,
        twin: false,
    }
}

/// A time in which nothing happens.
pub(crate) fn pause(books: &mut Books) -> Duration {
    const TEN_MINUTES: u64 = 600_000;
    let until_windows_end = TEN_MINUTES - books.now.0 % TEN_MINUTES;
    let rng = &mut books.rng;
    let millis = match rng.u32(0..100) {
        // The time just before windows end, so that the next operations finish in the next windows.
        0..6 => until_windows_end.saturating_sub(rng.u64(1..200)),
        6..30 => rng.u64(0..500),
        30..47 => rng.u64(1_000..8_000),
        47..72 => rng.u64(25_000..40_000),
        72..88 => rng.u64(60_000..200_000),
        88..94 => rng.u64(600_000..1_300_000),
        94..98 => rng.u64(3_600_000..8_000_000),
        _ => rng.u64(80_000_000..260_000_000),
    };
    // In a siege, an attacker makes many guesses. Between them, the attacker often waits until more guesses are
    // allowed, and sometimes so long that all items may have expired.
    let millis = match rng.u32(0..100) {
        0 if books.setup.siege => 91 * 24 * 3_600_000,
        1..34 if books.setup.siege => 90_000_000,
        _ => millis,
    };
    Duration::from_millis(millis)
}

/// The next requests, all of which begin together.
pub(crate) fn choose(books: &mut Books, failed: &mut Vec<Intent>) -> Vec<Intent> {
    if books.setup.siege {
        return besiege(books, failed);
    }
    if books.paused.is_some() && books.rng.u32(0..4) == 0 {
        operate(books);
    }
    let choice = match books.setup.naive {
        // Only a cancel beside a send can violate this rule, and seldom does.
        Some(Naive::EndsAnyGeneration) if books.rng.bool() => 72,
        _ => books.rng.u32(0..100),
    };
    match choice {
        0..22 => vec![send(books)],
        22..25 => {
            let one = send(books);
            let mut other = one.clone();
            other.who = who(books);
            if books.rng.bool() {
                other.reference = Some(format!("shared-{}", books.rng.u32(0..3)));
            }
            vec![one, other]
        }
        43..53 => wrong_guess(books).into_iter().collect(),
        53..60 => {
            // Several equal guesses at once, by one caller or by several.
            let guess = if books.rng.u32(0..3) > 0 {
                right_guess(books)
            } else {
                wrong_guess(books)
            };
            let Some(guess) = guess else {
                return Vec::new();
            };
            let same_caller = books.rng.u32(0..3) == 0;
            let copies = books.rng.usize(2..=4);
            let copy = |books: &mut Books| {
                if same_caller {
                    guess.clone()
                } else {
                    Intent {
                        who: who(books),
                        ..guess.clone()
                    }
                }
            };
            (0..copies).map(|_| copy(books)).collect()
        }
        60..64 => foreign_guess(books).into_iter().collect(),
        64..68 => old_guess(books).into_iter().collect(),
        68..72 => of_known(books, What::Cancel).into_iter().collect(),
        72..75 => {
            let Some(cancel) = of_known(books, What::Cancel) else {
                return Vec::new();
            };
            let send = Intent {
                what: What::Send,
                who: who(books),
                ..cancel.clone()
            };
            vec![cancel, send]
        }
        75..80 => of_known(books, What::Claim).into_iter().collect(),
        80..82 => of_known(books, What::Status).into_iter().collect(),
        82..93 if !failed.is_empty() => {
            let place = if books.rng.bool() {
                failed.len() - 1
            } else {
                books.rng.usize(..failed.len())
            };
            vec![failed[place].clone()]
        }
        93..96 if books.setup.derived => {
            let number = books.rng.usize(..books.numbers.len());
            books.other_software_sends(number);
            Vec::new()
        }
        96..99 => {
            if books.rng.bool() || books.paused.is_some() {
                operate(books);
            }
            Vec::new()
        }
        99 => vec![intent(books, What::Unlock)],
        // 25 to 42, and the numbers that have no meaning in this setup.
        _ => right_guess(books).into_iter().collect(),
    }
}

/// Makes many guesses at once, or sends a new code when no attempt is left. Sometimes the person with the phone makes a
/// right guess among these guesses.
fn besiege(books: &mut Books, failed: &mut Vec<Intent>) -> Vec<Intent> {
    failed.clear();
    if books.is_locked(0) && books.rng.u32(0..10) == 0 {
        return vec![intent(books, What::Unlock)];
    }
    if !books.can_guess() || books.rng.u32(0..100) < 5 {
        let mut send = send(books);
        if books.rng.bool() {
            send.reference = Some(format!("shared-{}", books.rng.u32(0..6)));
        }
        return vec![send];
    }
    let Some(guess) = wrong_guess(books) else {
        return Vec::new();
    };
    let reference = books.codes.last().map(|code| code.reference.clone());
    let mut guesses: Vec<_> = (0..books.rng.usize(6..12))
        .map(|_| Intent {
            otp: format!("0{:05}", books.rng.u32(0..100_000)),
            reference: reference.clone(),
            ..guess.clone()
        })
        .collect();
    if books.rng.u32(0..100) < 7
        && let Some(right) = right_guess(books)
    {
        let place = books.rng.usize(..guesses.len());
        guesses.insert(place, right);
    }
    guesses
}

fn operate(books: &mut Books) {
    let mut switches = Switches {
        paused: books.paused.is_some(),
        ..Switches::default()
    };
    let number = books.rng.usize(..books.numbers.len());
    let (mut blocked, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    let now = books.now;
    if books.paused.is_some() || books.blocked.iter().any(Option::is_some) {
        switches.paused = false;
        books.paused = None;
        books.blocked.iter_mut().for_each(|blocked| *blocked = None);
    } else if books.rng.bool() {
        switches.paused = true;
        books.paused = Some(now);
    } else {
        let key = books
            .keys
            .number(&books.numbers[number])
            .as_str()
            .to_owned();
        blocked.insert(if books.rng.bool() {
            key.clone()
        } else {
            books.setup.numbers[number].to_owned()
        });
        if books.rng.u32(0..3) == 0 {
            allowed.insert(key);
        } else {
            books.blocked[number] = Some(now);
        }
    }
    books.trace(|_| {
        format!(
            "the operator sets the switches: paused {}, blocked {blocked:?}",
            switches.paused
        )
    });
    books.memory.switch(Switches {
        blocked,
        allowed,
        ..switches
    });
}

fn who(books: &mut Books) -> Who {
    let authenticated = books
        .setup
        .authenticated
        .unwrap_or_else(|| books.rng.bool());
    let rng = &mut books.rng;
    let address = (!authenticated || rng.u32(0..4) == 0).then(|| rng.u8(1..=2));
    Who {
        principal: authenticated.then(|| {
            if rng.u32(0..4) == 0 {
                "backend-2"
            } else {
                "backend-1"
            }
        }),
        address,
        // There are few keys, so some are used for two requests.
        key: (rng.u32(0..100) < 55).then(|| {
            format!(
                "key-{}",
                if rng.u32(0..10) == 0 {
                    rng.u32(0..20)
                } else {
                    rng.u32(100..)
                }
            )
        }),
        // There are few sessions. An owner comes back after other sessions have guessed.
        session: (books.setup.sign_ins && rng.u32(0..10) < 7).then(|| rng.u8(0..3)),
    }
}

fn intent(books: &mut Books, what: What) -> Intent {
    Intent {
        what,
        number: books.rng.usize(..books.numbers.len()),
        reference: None,
        otp: String::new(),
        attempts: books.setup.attempts,
        who: who(books),
    }
}

fn send(books: &mut Books) -> Intent {
    let mut intent = intent(books, What::Send);
    let of_number: Vec<_> = books
        .codes
        .iter()
        .filter(|code| code.number == intent.number)
        .collect();
    let known = of_number.last().map(|code| code.reference.clone());
    let number = books.numbers[intent.number].clone();
    let derived = ReferenceId::derived(BRAND, SOURCE, &number)
        .expose()
        .to_owned();
    intent.reference = match books.rng.u32(0..10) {
        0..2 => Some(format!("shared-{}", books.rng.u32(0..3))),
        2..6 if !books.setup.derived => known,
        6 if books.setup.derived => Some(derived),
        _ => None,
    };
    intent
}

/// A code that was sent, most often the newest.
fn held_code(books: &mut Books, any: bool) -> Option<usize> {
    let codes = books.codes.len();
    let age = if any {
        books.rng.usize(..codes.max(1))
    } else {
        books.rng.usize(..3).saturating_sub(1)
    };
    codes.checked_sub(1 + age)
}

fn guess_of(books: &mut Books, code: usize) -> Intent {
    let mut intent = intent(books, What::Verify);
    let code = &books.codes[code];
    intent.number = code.number;
    let derived = ReferenceId::derived(BRAND, SOURCE, &books.numbers[code.number]);
    let named = code.reference != derived.expose() || books.rng.bool();
    intent.reference = named.then(|| code.reference.clone());
    intent.otp.clone_from(&code.code);
    intent
}

fn right_guess(books: &mut Books) -> Option<Intent> {
    let code = held_code(books, false)?;
    Some(guess_of(books, code))
}

/// A guess with an old code, if possible with one that has been used.
fn old_guess(books: &mut Books) -> Option<Intent> {
    let used: Vec<_> = (0..books.codes.len())
        .filter(|code| books.codes[*code].uses > 0)
        .collect();
    let code = match used.len() {
        0 => held_code(books, true)?,
        many => used[books.rng.usize(..many)],
    };
    Some(guess_of(books, code))
}

fn wrong_guess(books: &mut Books) -> Option<Intent> {
    let mut guess = right_guess(books)?;
    WRONG[books.rng.usize(..WRONG.len())].clone_into(&mut guess.otp);
    Some(guess)
}

/// A guess under a name that belongs to another number or to none.
fn foreign_guess(books: &mut Books) -> Option<Intent> {
    let mut guess = if books.rng.bool() {
        right_guess(books)?
    } else {
        intent(books, What::Verify)
    };
    if guess.otp.is_empty() {
        WRONG[0].clone_into(&mut guess.otp);
    }
    match books.rng.u32(0..3) {
        0 => guess.number = books.rng.usize(..books.numbers.len()),
        1 => guess.reference = Some(format!("invented-{}", books.rng.u32(0..3))),
        _ => guess.reference = None,
    }
    Some(guess)
}

fn of_known(books: &mut Books, what: What) -> Option<Intent> {
    let code = held_code(books, false)?;
    Some(Intent {
        what,
        otp: String::new(),
        ..guess_of(books, code)
    })
}

/// The right guess of the person with the number, as a caller that no limit stops.
pub(crate) fn honest_guess(books: &mut Books, code: usize) -> Intent {
    let who = Who {
        principal: Some("backend-1"),
        address: None,
        key: None,
        session: None,
    };
    Intent {
        who,
        reference: Some(books.codes[code].reference.clone()),
        ..guess_of(books, code)
    }
}
