//! The properties, as bits of [`State::broken`](crate::state::State::broken).

/// The provider is asked at most as often as a code allows; of equal guesses at once, one is asked.
pub const I1: u32 = 1;
/// Between two successes, at most a hundred guesses at a number's codes reach the provider. The guesses at both doors
/// (HTTP and sign-ins) count together. The ledger counts every guess that reaches the provider.
pub const I2: u32 = 1 << 1;
/// One success per code.
pub const I3: u32 = 1 << 2;
/// One message per idempotency key.
pub const I4: u32 = 1 << 3;
/// No message without its record.
pub const I5: u32 = 1 << 4;
/// A success has the right number, reference and code, and is in time.
pub const I6: u32 = 1 << 5;
/// At each door (HTTP or sign-ins), no window gets more messages than the window allows. The windows of sign-ins also
/// count earlier messages over HTTP. After failed guesses, further sends must wait.
pub const I7: u32 = 1 << 6;
/// Budgets are never overspent, by both doors together, and refused sends get back what they have spent.
pub const I8: u32 = 1 << 7;
/// An ended verification stays as it is until the next send, and the code of its message is never right again.
pub const END: u32 = 1 << 8;
/// The newest code on a phone can be verified: the record still names its issuer.
pub const LIVE: u32 = 1 << 9;
/// A success is redeemed once, in time, and only if it is not the success of a sign-in.
pub const REDEEM: u32 = 1 << 10;
/// A cancel ends no code that is newer than the code that it has seen.
pub const CANCEL: u32 = 1 << 11;
/// Only the owner can spend the last attempt, and two deliveries of one answer cost one attempt.
pub const OWNER: u32 = 1 << 12;
/// A decoy sends no message, asks no provider, counts nothing and never succeeds.
pub const DECOY: u32 = 1 << 13;
/// No message leaves later than ten seconds after a pause.
pub const PAUSE: u32 = 1 << 14;
/// No step over HTTP depends on the counters of sign-ins.
pub const DOORS: u32 = 1 << 15;
/// A sign-in without a message takes no place in the windows. A guess at a code that was not sent counts for no number.
pub const FREE: u32 = 1 << 16;

pub const ALL: [(&str, u32); 17] = [
    ("I1", I1),
    ("I2", I2),
    ("I3", I3),
    ("I4", I4),
    ("I5", I5),
    ("I6", I6),
    ("I7", I7),
    ("I8", I8),
    ("what has ended stays ended", END),
    ("the newest code can be verified", LIVE),
    ("a success is redeemed once", REDEEM),
    ("a cancel ends what it saw", CANCEL),
    ("the last attempt is the owner's", OWNER),
    ("a decoy does nothing", DECOY),
    ("a pause stops messages", PAUSE),
    ("HTTP does not see sign-ins", DOORS),
    ("only messages count", FREE),
];

/// The names of the broken properties.
#[must_use]
pub fn names(broken: u32) -> Vec<&'static str> {
    ALL.iter()
        .filter(|(_, bit)| broken & bit != 0)
        .map(|(name, _)| *name)
        .collect()
}
