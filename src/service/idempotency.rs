//! The caller's `Idempotency-Key`: all requests with the same key send one message.

use super::{Call, Caller, Limits, SendRequest, Sent, SentReceipt};
use crate::error::{Error, ErrorCode};
use crate::ledger::{HeldKey, Holder, ItemName, KeyOutcome, KeyReservation, Unavailable};
use crate::reference::ReferenceId;
use crate::time::Millis;
use std::time::Duration;

/// The longest time that the first request with an idempotency key can take. If the key is still reserved after this
/// time, the request has crashed, and the outcome of the request is unknown.
const KEY_IN_USE: Duration = Duration::from_secs(30);

/// The answer to a send that reserves its idempotency key.
pub(super) enum Reservation {
    NoKey,
    /// The key is new, and this request holds it.
    Reserved(ItemName),
    /// An earlier request, which reserved the key at `at`, has finished under it.
    Finished {
        receipt: SentReceipt,
        at: Millis,
    },
}

impl Limits {
    /// Reserves the caller's idempotency key, if there is one. `is_random_for_device` says that the reference ID is random
    /// only because the caller gives a device token.
    ///
    /// If it is unclear whether the key was reserved, this request releases the key. If the key stayed reserved, a
    /// later request with the key would have to assume that this request has crashed and may have sent a message.
    pub(super) async fn reserve_key(
        &self,
        request: &SendRequest,
        holder: Holder,
        is_random_for_device: bool,
        call: &mut Call<'_>,
    ) -> Result<Reservation, Error> {
        let reserved = call
            .time_to_prepare()
            .run(self.try_to_reserve_key(
                request,
                holder,
                is_random_for_device,
                &call.caller,
                call.now,
            ))
            .await;
        if let Err(error) = &reserved
            && error.code() == ErrorCode::LedgerUnavailable
            && let Some(item) = self.key_item(request, &call.caller)
        {
            let released = self.store.release_key(&item, holder);
            call.best_effort("release of the idempotency key", released)
                .await;
        }
        reserved
    }

    fn key_item(&self, request: &SendRequest, caller: &Caller) -> Option<ItemName> {
        let key = caller.idempotency_key.as_ref()?;
        Some(self.hasher.idempotency(&caller.namespace(&request.to), key))
    }

    async fn try_to_reserve_key(
        &self,
        request: &SendRequest,
        holder: Holder,
        is_random_for_device: bool,
        caller: &Caller,
        now: Millis,
    ) -> Result<Reservation, Error> {
        let Some(item) = self.key_item(request, caller) else {
            return Ok(Reservation::NoKey);
        };
        let sizes = format!(
            "{} {} {}",
            request.code_length, request.validity_minutes, request.allowed_attempts
        );
        let mut fields = vec![
            request.to.expose(),
            &request.brand_name,
            &request.source,
            &request.language,
            request.channel.name(),
            &sizes,
            request.reference.as_ref().map_or("", ReferenceId::expose),
        ];
        // The reference ID of the response would be another one without the token. The token itself does not count: a
        // device may get a new one between the request and its repeat.
        if is_random_for_device {
            fields.push("device");
        }
        let fingerprint = self.hasher.fingerprint(&fields);
        let reserved = self.store.reserve_key(&item, holder, &fingerprint, now);
        let held = match reserved.await? {
            KeyReservation::Reserved => return Ok(Reservation::Reserved(item)),
            KeyReservation::Held(held) => held,
        };
        if held.fingerprint != fingerprint {
            return Err(Error::new(
                ErrorCode::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request. Use a new key for each request.",
            )
            .with_field("Idempotency-Key"));
        }
        Ok(match repeat(held, now)? {
            Reservation::Finished { receipt, at } => Reservation::Finished {
                receipt: SentReceipt {
                    message_id: receipt.message_id.and_then(|id| self.hasher.unseal(&id)),
                    ..receipt
                },
                at,
            },
            other => other,
        })
    }

    /// Records the outcome under the idempotency key, or releases the key if certainly no message was sent.
    ///
    /// If this step fails, the key stays reserved. No message is then sent under the key for
    /// [`KEY_KEPT`](crate::ledger::KEY_KEPT).
    pub(super) async fn finish_key(
        &self,
        reservation: &Reservation,
        holder: Holder,
        outcome: &Result<Sent, Error>,
    ) -> Result<(), Unavailable> {
        let Reservation::Reserved(item) = reservation else {
            return Ok(());
        };
        match outcome {
            Ok(sent) => {
                let sealed = |id: &String| self.hasher.seal(id);
                let receipt = SentReceipt {
                    message_id: sent.receipt.message_id.as_ref().and_then(sealed),
                    ..sent.receipt.clone()
                };
                let response = serde_json::to_string(&receipt).ok();
                let response = response.as_deref();
                self.store.finish_key(item, holder, response).await
            }
            Err(error) if error.is_delivery_unknown() => {
                self.store.finish_key(item, holder, None).await
            }
            Err(_) => self.store.release_key(item, holder).await,
        }
    }
}

/// The response to a request whose idempotency key is held by an earlier one.
fn repeat(held: HeldKey, now: Millis) -> Result<Reservation, Error> {
    let age = now.since(held.at);
    match held.outcome {
        KeyOutcome::Answered(response) => match serde_json::from_str(&response) {
            Ok(receipt) => Ok(Reservation::Finished {
                receipt,
                at: held.at,
            }),
            Err(error) => Err(Error::new(
                ErrorCode::InternalError,
                "The stored response to this Idempotency-Key cannot be read.",
            )
            .with_cause(format!("stored response: {error}"))
            .with_unknown_delivery()),
        },
        KeyOutcome::Pending if age < KEY_IN_USE => Err(Error::new(
            ErrorCode::IdempotencyKeyInUse,
            "The first request with this Idempotency-Key is not finished.",
        )
        .with_retry_after(KEY_IN_USE.saturating_sub(age))),
        KeyOutcome::Pending => Err(maybe_sent(
            "The first request with this Idempotency-Key did not finish, and its message may have been sent.",
        )),
        KeyOutcome::Unclear => Err(maybe_sent(
            "It is not known whether the first request with this Idempotency-Key sent its message.",
        )),
    }
}

fn maybe_sent(known: &'static str) -> Error {
    Error::new(ErrorCode::ProviderTimeout, known)
        .with_more_detail(
            "No further message is sent under this key: ask the person, and use a new key for another code.",
        )
        .with_unknown_delivery()
}
