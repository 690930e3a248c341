//! A step and its reply.

use otp_lambda::{
    ledger::{
        Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, Holder, ItemName, KeyReservation,
        Ledger, Number, NumberCharge, Question, Redeemer, Reservation, Seen, SendWindow,
        SpendOutcome, Spending, Success, Switches, Transition, Unavailable, Verification,
    },
    time::Millis,
};

use super::owned::{OwnedOpening, OwnedResend, OwnedSettled, lend, owned_type};
use crate::steps::with_steps;

/// Defines [`Step`] with a variant for each method of [`Ledger`].
macro_rules! define_step {
    ($($step:ident = $method:ident $(($arg:ident: $($type:tt)+))* -> $reply:ty;)*) => {
        /// One step of the [`Ledger`]: the method of the same name. Its fields are the arguments, as owned values.
        #[derive(Clone, Debug)]
        pub enum Step {
            $($step { $($arg: owned_type!($($type)+),)* },)*
        }

        impl Step {
            /// Does this step on `ledger`.
            ///
            /// # Errors
            ///
            /// The error of `ledger`.
            pub async fn run(&self, ledger: &dyn Ledger) -> Result<Reply, Unavailable> {
                Ok(match self {
                    $(Self::$step { $($arg),* } => {
                        ledger.$method($(lend!($arg: $($type)+)),*).await?.into()
                    })*
                })
            }

            /// The name of the method of [`Ledger`].
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$step { .. } => stringify!($method),)*
                }
            }
        }
    };
}

with_steps!(define_step);

impl Step {
    /// Whether this step changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Switches { .. }
                | Self::Counted { .. }
                | Self::Spent { .. }
                | Self::Number { .. }
                | Self::KnowsDevice { .. }
                | Self::Verification { .. }
        )
    }
}

/// Defines [`Reply`], and its conversions from and to what the methods of [`Ledger`] return.
macro_rules! replies {
    ($($variant:ident($type:ty),)*) => {
        /// The return type of a step.
        #[derive(Clone, Debug)]
        pub enum Reply {
            $($variant($type),)*
        }

        $(
            impl From<$type> for Reply {
                fn from(value: $type) -> Self {
                    Self::$variant(value)
                }
            }

            impl TryFrom<Reply> for $type {
                type Error = Unavailable;

                fn try_from(reply: Reply) -> Result<Self, Unavailable> {
                    match reply {
                        Reply::$variant(value) => Ok(value),
                        other => Err(Unavailable(format!("the reply to another step: {other:?}"))),
                    }
                }
            }
        )*
    };
}

replies! {
    Done(()),
    Is(bool),
    Counted(u64),
    Spent(Vec<u64>),
    Switches(Switches),
    Spend(SpendOutcome),
    Key(KeyReservation),
    Number(Number),
    Reservation(Reservation),
    Charge(NumberCharge),
    Verification(Option<Verification>),
    Attempt(Attempt),
    Transition(Transition),
}
