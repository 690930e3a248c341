//! The progress of a send, and the record of its outcome.

use super::Sent;
use super::idempotency::Reservation;
use super::limits::{Charges, Limits};
use super::send_plan::SendPlan;
use crate::error::Error;
use crate::ledger::{Door, Holder, Issuer, ItemName, Number, Settled, Unavailable};
use crate::provider::Provider;
use crate::reference::ReferenceId;
use crate::telemetry::BudgetUse;
use futures_util::future::{join, join3};

/// The progress of a send, so that its outcome can be recorded wherever the send ends.
pub(super) struct BegunSend {
    pub(super) holder: Holder,
    pub(super) charges: Charges,
    /// The charges at HTTP, if HTTP has refused the send and the door for devices was tried. They are given back,
    /// whatever becomes of the send.
    pub(super) refused: Option<Charges>,
    pub(super) prepared: Option<PreparedSend>,
}

impl BegunSend {
    /// How full the budgets are. If HTTP has refused the send, those of HTTP count: the part of devices is small, and
    /// is used only after HTTP's.
    pub(super) fn budget_use(&self) -> BudgetUse {
        self.refused.as_ref().unwrap_or(&self.charges).budget_use
    }

    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            holder: Holder::random()?,
            charges: Charges::default(),
            refused: None,
            prepared: None,
        })
    }
}

/// A counted send, with all that its later steps need: the write, the request to the provider, and the settlement.
pub(super) struct PreparedSend {
    /// The door that the send goes through.
    pub(super) door: Door,
    pub(super) reference: ReferenceId,
    /// The reference ID under which the provider will know the code.
    pub(super) known_as: ReferenceId,
    pub(super) item: ItemName,
    pub(super) issuer: Issuer,
    pub(super) plan: SendPlan,
    pub(super) number: Number,
    /// The segments of the message; `None` for a test number, which gets none.
    pub(super) segments: Option<u64>,
}

/// The message ID to record, if any. AWS's delivery events show the number that an ID belongs to. So the ledger keeps
/// the ID only if the provider needs it for feedback.
pub(super) fn recorded_message_id<'a>(
    provider: &dyn Provider,
    id: Option<&'a str>,
) -> Option<&'a str> {
    id.filter(|_| provider.wants_message_ids())
}

/// Records the outcome of a send in all items of the send. The steps for the items run concurrently. Returns each step
/// with its result, beginning with the step for the idempotency key.
pub(super) async fn record_send(
    limits: &Limits,
    reservation: &Reservation,
    begun: &BegunSend,
    outcome: &Result<Sent, Error>,
    provider: &dyn Provider,
) -> Result<[(&'static str, Result<(), Unavailable>); 3], Error> {
    let settle = async {
        let Some(prepared) = &begun.prepared else {
            return Ok(());
        };
        let settled = match outcome {
            Ok(sent) => Settled::Sent {
                issuer: &prepared.issuer,
                message_id: recorded_message_id(provider, sent.receipt.message_id.as_deref()),
            },
            Err(error) if error.is_delivery_unknown() => Settled::Unclear,
            // The person may have an earlier message of this verification. Its code stays valid.
            Err(_) => prepared.plan.without_this_send(),
        };
        let (item, generation) = (&prepared.item, prepared.plan.generation());
        limits
            .store
            .settle(item, generation, begun.holder, &settled)
            .await
    };
    let refund = async {
        let of_refused = async {
            match &begun.refused {
                Some(charges) => limits.refund(charges).await,
                None => Ok(()),
            }
        };
        let of_unsent = async {
            match outcome {
                Err(error) if !error.is_delivery_unknown() => limits.refund(&begun.charges).await,
                _ => Ok(()),
            }
        };
        let (of_refused, of_unsent) = join(of_refused, of_unsent).await;
        of_refused.and(of_unsent)
    };
    let key = limits.finish_key(reservation, begun.holder, outcome);
    let (key, settle, refund) = join3(key, settle, refund).await;
    Ok([
        ("end of the idempotency key", key),
        ("settle", settle),
        ("refund", refund),
    ])
}
