//! Steps of the ledger as values, so that a test can watch, delay, fail or replace each step in one place.
//!
//! A test implements [`Layer`]; [`Layered`] makes a [`Ledger`] of it.

use async_trait::async_trait;
use otp_lambda::{
    ledger::{
        Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, Issuer, ItemName, KeyReservation,
        Ledger, Number, NumberCharge, Opening, Question, Redeemer, Resend, Reservation, SendWindow,
        SessionDigest, Settled, SpendOutcome, Spending, State, Success, Switches, Transition,
        Unavailable, UsedCode, Verification,
    },
    time::Millis,
};

/// Does the steps of a ledger, usually by [running](Step::run) them on another ledger.
#[async_trait]
pub trait Layer: Send + Sync {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable>;
}

/// The [`Ledger`] whose steps a [`Layer`] does.
#[derive(Clone, Debug)]
pub struct Layered<L>(pub L);

impl<L: Layer> Layered<L> {
    async fn call<T>(&self, step: Step) -> Result<T, Unavailable>
    where
        T: TryFrom<Reply, Error = Unavailable>,
    {
        self.0.step(step).await?.try_into()
    }
}

/// One step of the [`Ledger`]: the method of the same name, with its arguments.
#[derive(Clone, Debug)]
pub enum Step {
    Switches,
    Count {
        item: ItemName,
        cap: u64,
        expires: Millis,
    },
    Uncount {
        item: ItemName,
    },
    Spend {
        spending: Spending,
    },
    Refund {
        spending: Spending,
    },
    ReserveKey {
        item: ItemName,
        fingerprint: Fingerprint,
        now: Millis,
    },
    ReleaseKey {
        item: ItemName,
    },
    FinishKey {
        item: ItemName,
        response: Option<String>,
    },
    Number {
        item: ItemName,
    },
    ReserveSend {
        item: ItemName,
        windows: Vec<SendWindow>,
        now: Millis,
    },
    ChargeNumber {
        item: ItemName,
        forget: Option<Millis>,
        now: Millis,
    },
    ClearFailures {
        item: ItemName,
        charge: Charge,
        now: Millis,
    },
    Unlock {
        item: ItemName,
        now: Millis,
    },
    Verification {
        item: ItemName,
    },
    Open {
        item: ItemName,
        seen: Option<u64>,
        new: OwnedOpening,
    },
    Reopen {
        item: ItemName,
        seen: u64,
        resend: OwnedResend,
    },
    Settle {
        item: ItemName,
        generation: u64,
        outcome: OwnedSettled,
    },
    SpendAttempt {
        item: ItemName,
        guess: CodeDigest,
        question: Option<Question>,
        now: Millis,
    },
    NoteAnswer {
        item: ItemName,
        generation: u64,
        guess: CodeDigest,
        outcome: GuessOutcome,
    },
    Consume {
        item: ItemName,
        generation: u64,
        success: Success,
    },
    Cancel {
        item: ItemName,
        now: Millis,
    },
    Redeem {
        item: ItemName,
        redeemer: Redeemer,
        now: Millis,
    },
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

impl Step {
    /// Does this step on `ledger`.
    ///
    /// # Errors
    ///
    /// The error of `ledger`.
    pub async fn run(&self, ledger: &dyn Ledger) -> Result<Reply, Unavailable> {
        Ok(match self {
            Self::Switches => ledger.switches().await?.into(),
            Self::Count { item, cap, expires } => ledger.count(item, *cap, *expires).await?.into(),
            Self::Uncount { item } => ledger.uncount(item).await?.into(),
            Self::Spend { spending } => ledger.spend(spending).await?.into(),
            Self::Refund { spending } => ledger.refund(spending).await?.into(),
            Self::ReserveKey {
                item,
                fingerprint,
                now,
            } => ledger.reserve_key(item, fingerprint, *now).await?.into(),
            Self::ReleaseKey { item } => ledger.release_key(item).await?.into(),
            Self::FinishKey { item, response } => {
                ledger.finish_key(item, response.as_deref()).await?.into()
            }
            Self::Number { item } => ledger.number(item).await?.into(),
            Self::ReserveSend { item, windows, now } => {
                ledger.reserve_send(item, windows, *now).await?.into()
            }
            Self::ChargeNumber { item, forget, now } => {
                ledger.charge_number(item, *forget, *now).await?.into()
            }
            Self::ClearFailures { item, charge, now } => {
                ledger.clear_failures(item, *charge, *now).await?.into()
            }
            Self::Unlock { item, now } => ledger.unlock(item, *now).await?.into(),
            Self::Verification { item } => ledger.verification(item).await?.into(),
            Self::Open { item, seen, new } => ledger.open(item, *seen, &new.borrow()).await?.into(),
            Self::Reopen { item, seen, resend } => {
                ledger.reopen(item, *seen, &resend.borrow()).await?.into()
            }
            Self::Settle {
                item,
                generation,
                outcome,
            } => ledger
                .settle(item, *generation, &outcome.borrow())
                .await?
                .into(),
            Self::SpendAttempt {
                item,
                guess,
                question,
                now,
            } => ledger
                .spend_attempt(item, guess, question.as_ref(), *now)
                .await?
                .into(),
            Self::NoteAnswer {
                item,
                generation,
                guess,
                outcome,
            } => ledger
                .note_answer(item, *generation, guess, *outcome)
                .await?
                .into(),
            Self::Consume {
                item,
                generation,
                success,
            } => ledger.consume(item, *generation, success).await?.into(),
            Self::Cancel { item, now } => ledger.cancel(item, *now).await?.into(),
            Self::Redeem {
                item,
                redeemer,
                now,
            } => ledger.redeem(item, redeemer, *now).await?.into(),
        })
    }

    /// The name of the method of [`Ledger`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Switches => "switches",
            Self::Count { .. } => "count",
            Self::Uncount { .. } => "uncount",
            Self::Spend { .. } => "spend",
            Self::Refund { .. } => "refund",
            Self::ReserveKey { .. } => "reserve_key",
            Self::ReleaseKey { .. } => "release_key",
            Self::FinishKey { .. } => "finish_key",
            Self::Number { .. } => "number",
            Self::ReserveSend { .. } => "reserve_send",
            Self::ChargeNumber { .. } => "charge_number",
            Self::ClearFailures { .. } => "clear_failures",
            Self::Unlock { .. } => "unlock",
            Self::Verification { .. } => "verification",
            Self::Open { .. } => "open",
            Self::Reopen { .. } => "reopen",
            Self::Settle { .. } => "settle",
            Self::SpendAttempt { .. } => "spend_attempt",
            Self::NoteAnswer { .. } => "note_answer",
            Self::Consume { .. } => "consume",
            Self::Cancel { .. } => "cancel",
            Self::Redeem { .. } => "redeem",
        }
    }

    /// Whether this step changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Switches | Self::Number { .. } | Self::Verification { .. }
        )
    }
}

#[async_trait]
impl<L: Layer> Ledger for Layered<L> {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        self.call(Step::Switches).await
    }

    async fn count(&self, item: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let item = item.clone();
        self.call(Step::Count { item, cap, expires }).await
    }

    async fn uncount(&self, item: &ItemName) -> Result<(), Unavailable> {
        let item = item.clone();
        self.call(Step::Uncount { item }).await
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        let spending = spending.clone();
        self.call(Step::Spend { spending }).await
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        let spending = spending.clone();
        self.call(Step::Refund { spending }).await
    }

    async fn reserve_key(
        &self,
        item: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        self.call(Step::ReserveKey {
            item: item.clone(),
            fingerprint: fingerprint.clone(),
            now,
        })
        .await
    }

    async fn release_key(&self, item: &ItemName) -> Result<(), Unavailable> {
        let item = item.clone();
        self.call(Step::ReleaseKey { item }).await
    }

    async fn finish_key(&self, item: &ItemName, response: Option<&str>) -> Result<(), Unavailable> {
        self.call(Step::FinishKey {
            item: item.clone(),
            response: response.map(str::to_owned),
        })
        .await
    }

    async fn number(&self, item: &ItemName) -> Result<Number, Unavailable> {
        let item = item.clone();
        self.call(Step::Number { item }).await
    }

    async fn reserve_send(
        &self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        self.call(Step::ReserveSend {
            item: item.clone(),
            windows: windows.to_vec(),
            now,
        })
        .await
    }

    async fn charge_number(
        &self,
        item: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        let item = item.clone();
        self.call(Step::ChargeNumber { item, forget, now }).await
    }

    async fn clear_failures(
        &self,
        item: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        let item = item.clone();
        self.call(Step::ClearFailures { item, charge, now }).await
    }

    async fn unlock(&self, item: &ItemName, now: Millis) -> Result<(), Unavailable> {
        let item = item.clone();
        self.call(Step::Unlock { item, now }).await
    }

    async fn verification(&self, item: &ItemName) -> Result<Option<Verification>, Unavailable> {
        let item = item.clone();
        self.call(Step::Verification { item }).await
    }

    async fn open(
        &self,
        item: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        self.call(Step::Open {
            item: item.clone(),
            seen,
            new: new.into(),
        })
        .await
    }

    async fn reopen(
        &self,
        item: &ItemName,
        seen: u64,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        self.call(Step::Reopen {
            item: item.clone(),
            seen,
            resend: resend.into(),
        })
        .await
    }

    async fn settle(
        &self,
        item: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        self.call(Step::Settle {
            item: item.clone(),
            generation,
            outcome: outcome.into(),
        })
        .await
    }

    async fn spend_attempt(
        &self,
        item: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        self.call(Step::SpendAttempt {
            item: item.clone(),
            guess: guess.clone(),
            question: question.cloned(),
            now,
        })
        .await
    }

    async fn note_answer(
        &self,
        item: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        self.call(Step::NoteAnswer {
            item: item.clone(),
            generation,
            guess: guess.clone(),
            outcome,
        })
        .await
    }

    async fn consume(
        &self,
        item: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        self.call(Step::Consume {
            item: item.clone(),
            generation,
            success: success.clone(),
        })
        .await
    }

    async fn cancel(&self, item: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        let item = item.clone();
        self.call(Step::Cancel { item, now }).await
    }

    async fn redeem(
        &self,
        item: &ItemName,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.call(Step::Redeem {
            item: item.clone(),
            redeemer: redeemer.clone(),
            now,
        })
        .await
    }
}

/// An [`Opening`] that owns its data.
#[derive(Clone, Debug)]
pub struct OwnedOpening {
    pub state: State,
    pub first: Millis,
    pub expires: Millis,
    pub left: u8,
    pub issuers: Vec<Issuer>,
    pub channel: String,
    pub code_length: u8,
    pub language: String,
    pub brand_name: String,
    pub owner: Option<SessionDigest>,
    pub forget: Vec<UsedCode>,
}

impl From<&Opening<'_>> for OwnedOpening {
    fn from(new: &Opening<'_>) -> Self {
        Self {
            state: new.state,
            first: new.first,
            expires: new.expires,
            left: new.left,
            issuers: new.issuers.to_vec(),
            channel: new.channel.to_owned(),
            code_length: new.code_length,
            language: new.language.to_owned(),
            brand_name: new.brand_name.to_owned(),
            owner: new.owner.cloned(),
            forget: new.forget.to_vec(),
        }
    }
}

impl OwnedOpening {
    #[must_use]
    pub fn borrow(&self) -> Opening<'_> {
        Opening {
            state: self.state,
            first: self.first,
            expires: self.expires,
            left: self.left,
            issuers: &self.issuers,
            channel: &self.channel,
            code_length: self.code_length,
            language: &self.language,
            brand_name: &self.brand_name,
            owner: self.owner.as_ref(),
            forget: &self.forget,
        }
    }
}

/// A [`Resend`] that owns its data.
#[derive(Clone, Debug)]
pub struct OwnedResend {
    pub expires: Millis,
    pub issuers: Vec<Issuer>,
    pub channel: String,
    pub language: String,
}

impl From<&Resend<'_>> for OwnedResend {
    fn from(resend: &Resend<'_>) -> Self {
        Self {
            expires: resend.expires,
            issuers: resend.issuers.to_vec(),
            channel: resend.channel.to_owned(),
            language: resend.language.to_owned(),
        }
    }
}

impl OwnedResend {
    #[must_use]
    pub fn borrow(&self) -> Resend<'_> {
        Resend {
            expires: self.expires,
            issuers: &self.issuers,
            channel: &self.channel,
            language: &self.language,
        }
    }
}

/// A [`Settled`] that owns its data.
#[derive(Clone, Debug)]
pub enum OwnedSettled {
    Sent { message_id: Option<String> },
    Unclear,
    Failed,
    Back { state: State, expires: Millis },
}

impl From<&Settled<'_>> for OwnedSettled {
    fn from(outcome: &Settled<'_>) -> Self {
        match *outcome {
            Settled::Sent { message_id } => Self::Sent {
                message_id: message_id.map(str::to_owned),
            },
            Settled::Unclear => Self::Unclear,
            Settled::Failed => Self::Failed,
            Settled::Back { state, expires } => Self::Back { state, expires },
        }
    }
}

impl OwnedSettled {
    #[must_use]
    pub fn borrow(&self) -> Settled<'_> {
        match self {
            Self::Sent { message_id } => Settled::Sent {
                message_id: message_id.as_deref(),
            },
            Self::Unclear => Settled::Unclear,
            Self::Failed => Settled::Failed,
            Self::Back { state, expires } => Settled::Back {
                state: *state,
                expires: *expires,
            },
        }
    }
}
