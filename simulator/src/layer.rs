//! The steps of the ledger as values. A test can watch, delay, fail or replace every step in one place.
//!
//! To do so, a test implements [`Layer`], and [`Layered`] makes a [`Ledger`] of the test's layer.

mod owned;
mod step;

pub use owned::{OwnedOpening, OwnedResend, OwnedSettled};
pub use step::{Reply, Step};

use async_trait::async_trait;
use otp_lambda::{
    ledger::{
        Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, Holder, ItemName, KeyReservation,
        Ledger, Number, NumberCharge, Opening, Question, Redeemer, Resend, Reservation, Seen,
        SendWindow, Settled, SpendOutcome, Spending, Success, Switches, Transition, Unavailable,
        Verification,
    },
    time::Millis,
};

use self::owned::own;
use crate::steps::with_steps;

/// Does the steps of a ledger, usually by [running](Step::run) them on another ledger.
#[async_trait]
pub trait Layer: Send + Sync {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable>;
}

/// The [`Ledger`] whose steps a [`Layer`] does.
#[derive(Clone, Debug)]
pub struct Layered<L>(pub L);

/// Implements [`Ledger`] by steps.
macro_rules! layered {
    ($($step:ident = $method:ident $(($arg:ident: $($type:tt)+))* -> $reply:ty;)*) => {
        #[async_trait]
        impl<L: Layer> Ledger for Layered<L> {
            $(async fn $method(&self, $($arg: $($type)+),*) -> Result<$reply, Unavailable> {
                let step = Step::$step { $($arg: own!($arg: $($type)+)),* };
                self.0.step(step).await?.try_into()
            })*
        }
    };
}

with_steps!(layered);
