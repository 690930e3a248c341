//! The bounds within which the model is checked.

use crate::config::{Config, Guard};
use crate::state::{NONE, Provider, Request, WRONG};

/// The windows of the default `SEND_LIMITS`, as far as a run can reach them.
const WINDOWS: &[(usize, u16)] = &[(1, 30), (2, 600)];
/// Windows in which sends to one number overlap.
const WIDE: &[(usize, u16)] = &[(2, 600)];

/// One number and three requests; nothing fails.
pub const WIDER: &[(usize, u16)] = &[(3, 600)];

const SEND: Request = Request::Send { to: 0, key: NONE };
const SEND_WITH_KEY: Request = Request::Send { to: 0, key: 0 };
const GUESS: Request = guess(0, 0);
const REDEEM: Request = Request::Redeem { to: 0, key: 0 };
const REDEEM_TOO: Request = Request::Redeem { to: 0, key: 1 };
const CANCEL: Request = Request::Cancel { to: 0 };
const SIGN_IN: Request = Request::SignIn { session: 0 };
const UNKNOWN: Request = Request::UnknownSignIn { session: 0 };
const SIGN_IN_TOO: Request = Request::SignIn { session: 1 };

const fn guess(to: u8, key: u8) -> Request {
    Request::Verify {
        to,
        code: WRONG,
        key,
    }
}

const CONTINUE: Request = Request::Continue { session: 0 };
const RESEND: Request = Request::ResendForSignIn {
    session: 0,
    nonce: 1,
};

const fn answer(session: u8, nonce: u8) -> Request {
    Request::Answer {
        session,
        code: WRONG,
        nonce,
    }
}

/// One number, three requests, nothing fails.
pub const BASE: Config = Config {
    requests: &[SEND, GUESS],
    sign_in: false,
    begins: 3,
    at_once: 3,
    faults: 0,
    passes: 1,
    pass: &[31, 331],
    short_passes: 0,
    changes: 0,
    pauses: 0,
    provider: Provider::Pinpoint,
    failures: &[0],
    sign_in_failures: 0,
    spent: 0,
    attempts: 2,
    budget: 4,
    windows: WINDOWS,
};

/// The same with sign-ins, at a door of their own.
const DOORS: Config = Config {
    sign_in: true,
    ..BASE
};

/// One verification: all HTTP requests about it, with a crash, a lost answer or a failure at any step.
pub const ONE_NUMBER: Config = Config {
    requests: &[
        SEND,
        SEND_WITH_KEY,
        GUESS,
        guess(0, 1),
        Request::Status { to: 0 },
        REDEEM,
        CANCEL,
        Request::Unlock { number: 0 },
    ],
    faults: 1,
    passes: 2,
    changes: 1,
    ..BASE
};

/// Two numbers, which share the budget.
pub const TWO_NUMBERS: Config = Config {
    requests: &[
        SEND,
        GUESS,
        Request::Send { to: 1, key: NONE },
        guess(1, 0),
        CANCEL,
    ],
    faults: 1,
    passes: 1,
    changes: 1,
    budget: 2,
    ..BASE
};

/// Two sessions sign in to one number, or the first is a decoy. The number gets codes over HTTP as well.
pub const SIGN_INS: Config = Config {
    requests: &[
        SIGN_IN,
        SIGN_IN_TOO,
        UNKNOWN,
        CONTINUE,
        answer(0, 0),
        answer(1, 2),
        RESEND,
        SEND,
    ],
    sign_in: true,
    faults: 1,
    passes: 1,
    ..BASE
};

/// A number at the hundredth failure.
pub const AT_THE_LOCK: Config = Config {
    requests: &[SEND, GUESS, Request::Unlock { number: 0 }],
    begins: 4,
    passes: 1,
    failures: &[9, 98],
    attempts: 3,
    ..BASE
};

/// Sends that overlap, because the windows leave room for two.
pub const OVERLAPPING_SENDS: Config = Config {
    requests: &[SEND, SEND_WITH_KEY, GUESS, CANCEL],
    faults: 1,
    short_passes: 1,
    windows: WIDE,
    ..BASE
};

/// A success that is redeemed, twice and too late.
pub const REDEEMS: Config = Config {
    requests: &[SEND, GUESS, REDEEM, REDEEM_TOO],
    begins: 4,
    pass: &[601],
    ..BASE
};

/// Two sessions that use one code with few attempts.
pub const LAST_ATTEMPT: Config = Config {
    requests: &[
        SIGN_IN,
        SIGN_IN_TOO,
        answer(0, 0),
        answer(1, 2),
        Request::Redeem { to: 1, key: 0 },
    ],
    sign_in: true,
    begins: 4,
    faults: 1,
    passes: 0,
    short_passes: 1,
    ..BASE
};

/// A user who cannot be sent a code, beside a code over HTTP.
pub const DECOYS: Config = Config {
    requests: &[SEND, UNKNOWN, answer(0, 0), RESEND],
    sign_in: true,
    passes: 0,
    windows: WIDE,
    ..BASE
};

/// Sign-ins after an update: HTTP has spent more than its part, and counted more failures.
pub const AFTER_AN_UPDATE: Config = Config {
    requests: &[SIGN_IN, answer(0, 0), answer(0, 3), RESEND, SEND, GUESS],
    sign_in: true,
    begins: 4,
    failures: &[60],
    sign_in_failures: 39,
    spent: 3,
    ..BASE
};

/// An operator who pauses and resumes.
pub const PAUSE: Config = Config {
    requests: &[SEND],
    pauses: 2,
    passes: 2,
    pass: &[11, 31],
    windows: WIDE,
    ..BASE
};

/// Whether the counterexample for a missing condition is at least half a million states away.
#[must_use]
pub fn is_far(guard: Guard) -> bool {
    matches!(
        guard,
        Guard::OwnReference
            | Guard::RedeemGeneration
            | Guard::ReopenKeepsLeft
            | Guard::SettleOnlyNewest
    )
}

/// The smallest bounds in which a missing condition breaks a property.
#[must_use]
pub fn of_guard(guard: Guard) -> Config {
    match guard {
        Guard::PayFirst
        | Guard::PayLeft
        | Guard::PayUnexpired
        | Guard::PayOpen
        | Guard::ConsumeGeneration
        | Guard::ConsumeWinner
        | Guard::ReplayWinner
        | Guard::ConsumeOpen => Config {
            requests: const { &[SEND, GUESS, guess(0, 1), CANCEL] },
            begins: 4,
            attempts: if matches!(guard, Guard::PayFirst | Guard::PayLeft) {
                1
            } else {
                2
            },
            ..BASE
        },
        Guard::PayNotPending | Guard::PayNotWrong => Config {
            requests: const { &[SEND, GUESS] },
            begins: 4,
            ..BASE
        },
        Guard::NoteUnclear => Config {
            requests: const { &[SEND, GUESS] },
            begins: 2,
            faults: 1,
            ..BASE
        },
        Guard::ChargeLocked | Guard::ClearUpToCharge | Guard::ClearEpoch | Guard::StopsHold => {
            AT_THE_LOCK
        }
        Guard::WindowsHold => BASE,
        Guard::ReopenGeneration => Config {
            requests: const { &[SEND] },
            windows: WIDER,
            ..BASE
        },
        Guard::ReopenKeepsLeft => Config {
            begins: 5,
            passes: 0,
            windows: WIDE,
            ..BASE
        },
        Guard::OpenGeneration
        | Guard::ReopenOpen
        | Guard::SettleReserved
        | Guard::SettleHolder
        | Guard::SettleOnlyNewest
        | Guard::SettleBack
        | Guard::IssuersOfBoth
        | Guard::OwnReference
        | Guard::CancelOpen
        | Guard::CancelGeneration => Config {
            requests: const { &[SEND, GUESS, CANCEL] },
            begins: 4,
            faults: 1,
            windows: WIDE,
            ..BASE
        },
        Guard::KeyReserved | Guard::KeyHolder | Guard::KeyKeptIfUnclear => Config {
            requests: const { &[SEND_WITH_KEY] },
            faults: 1,
            passes: 1,
            ..BASE
        },
        Guard::WriteAhead
        | Guard::SpendCap
        | Guard::SpendFirst
        | Guard::RefundOnlyUnsent
        | Guard::RefundRefused => Config {
            requests: const { &[SEND] },
            faults: 1,
            budget: if matches!(guard, Guard::RefundRefused) {
                2
            } else {
                1
            },
            ..BASE
        },
        Guard::RedeemVerified | Guard::RedeemOnce | Guard::RedeemInTime => REDEEMS,
        Guard::RedeemGeneration => Config {
            requests: const { &[SEND, GUESS, REDEEM] },
            begins: 5,
            passes: 0,
            windows: WIDE,
            ..BASE
        },
        Guard::Pause => PAUSE,
        _ => of_sign_in_guard(guard),
    }
}

/// As [`of_guard`], for the conditions of sign-ins.
fn of_sign_in_guard(guard: Guard) -> Config {
    match guard {
        Guard::PayOwner | Guard::PayQuestion | Guard::RedeemNotSignIn => LAST_ATTEMPT,
        Guard::DecoyAsksNobody => Config {
            requests: const { &[SEND, UNKNOWN, answer(0, 0)] },
            passes: 0,
            ..DOORS
        },
        Guard::SplitLimits => Config {
            requests: const { &[SEND, SIGN_IN] },
            windows: WIDE,
            budget: 2,
            ..DOORS
        },
        Guard::DoorsApart => Config {
            requests: const { &[SEND, SIGN_IN] },
            ..DOORS
        },
        Guard::WaitForHttp => Config {
            requests: const { &[SEND, SIGN_IN] },
            pass: &[7],
            ..DOORS
        },
        Guard::BudgetBesideHttp => Config {
            requests: const { &[SIGN_IN] },
            budget: 2,
            spent: 2,
            ..DOORS
        },
        Guard::LockBesideHttp => AFTER_AN_UPDATE,
        Guard::WriteBeforeCounting => Config {
            requests: const { &[SIGN_IN, SIGN_IN_TOO] },
            windows: WIDE,
            ..DOORS
        },
        Guard::CountOnlyMessages | Guard::ChargeOnlyCodes => DECOYS,
        Guard::UnsentKeepsIssuers => Config {
            requests: const { &[SIGN_IN, RESEND] },
            faults: 1,
            windows: WIDE,
            ..DOORS
        },
        _ => SIGN_INS,
    }
}
