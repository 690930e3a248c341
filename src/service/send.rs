//! Sends a code: counts it, writes its verification, asks the provider and records the outcome, in this order.

use super::devices;
use super::idempotency::Reservation;
use super::latencies::Act;
use super::limits::Charges;
use super::refusals;
use super::send_plan::SendPlan;
use super::send_record::{BegunSend, PreparedSend, record_send};
use super::{Call, Limits, ReferenceIds, SendRequest, Sent, SentReceipt, Service, minutes};
use crate::error::Error;
use crate::ledger::{CodeReference, Door, Issuer, ItemName, Looked, Unavailable};
use crate::phone::Country;
use crate::provider::{Channel, Message, Receipt};
use crate::reference::ReferenceId;
use crate::telemetry::Metric;
use crate::time::Millis;
use std::borrow::Cow;
use tokio::time::Instant;

/// A send that is counted, with its names.
struct CountedSend<'a> {
    request: &'a SendRequest,
    country: Country,
    reference: ReferenceId,
    item: ItemName,
    /// Whether the last send was so long ago that its connections to the table are closed.
    after_silence: bool,
}

impl Service {
    /// Sends one message with a code. A repeat with the same idempotency key gets the same response and sends nothing.
    ///
    /// # Errors
    ///
    /// No code was sent, with one exception: if the error has `delivery: "unknown"`, a message may have been sent.
    pub async fn send(&self, request: &SendRequest, call: &mut Call<'_>) -> Result<Sent, Error> {
        // The country comes first because its check costs nothing: SMS pumping to other countries is refused for free.
        let country = self.check_number(&request.to, Some(request.channel), call)?;
        let Some(limits) = &self.limits else {
            return self.send_uncounted(request, country, call).await;
        };
        let outcome = self.send_counted(request, country, limits, call).await;
        outcome.map_err(|error| {
            error.if_ledger_unavailable(
                "The ledger could not be reached in time, so no message was sent. The request may count in the limits. \
                 Try again shortly.",
            )
        })
    }

    /// Sends a code under every limit of the ledger.
    async fn send_counted(
        &self,
        request: &SendRequest,
        country: Country,
        limits: &Limits,
        call: &mut Call<'_>,
    ) -> Result<Sent, Error> {
        let now = call.now;
        let (preparing, recording) = (call.time_to_prepare(), call.time_to_record());
        let reference = self.reference(request, Some(limits), call, now)?;
        let item = limits.hasher.verification(&reference, &request.to);
        // All that a send needs to read is read at once and first, because each further request to the table would be
        // another round trip. What was read may be old when it is used. The later steps have conditions for this case.
        let mut sources = limits.sources("send", &call.caller, now);
        let after_silence = limits.switches.ends_a_silence(now);
        let looked = preparing
            .run(async {
                let look = limits.look_before_send(&request.to, &item, &sources, now);
                let (looked, counters) = look.await?;
                limits
                    .count_source_of_send(&mut sources, &counters, now)
                    .await?;
                Ok(looked)
            })
            .await;
        let looked = match looked {
            Ok(looked) => looked,
            Err(error) => {
                limits.give_back(&sources, call).await;
                return Err(error);
            }
        };
        // The key is reserved before the number, its prefix and the budgets are counted. If the key were reserved
        // later, a client that repeats its request would use up the limits of its own user. Up to here, only the
        // client's address has been counted.
        let mut begun = BegunSend::new()?;
        let for_device = self.is_random_for_device(request, limits, call);
        let reservation = limits
            .reserve_key(request, begun.holder, for_device, call)
            .await?;
        if let Reservation::Finished { receipt, at } = reservation {
            let reference = self.reference(request, Some(limits), call, at)?;
            return Ok(Sent { reference, receipt });
        }
        let send = CountedSend {
            request,
            country,
            reference,
            item,
            after_silence,
        };
        let prepared = preparing
            .run(self.prepare_send(&send, looked, limits, &mut begun, call))
            .await;
        let outcome = match prepared {
            Ok(prepared) => {
                self.send_prepared(request, country, limits, prepared, call)
                    .await
            }
            Err(error) => Err(error),
        };
        let recorded = record_send(
            limits,
            &reservation,
            &begun,
            &outcome,
            self.providers.current.as_ref(),
        );
        call.record.budget_use = begun.budget_use();
        // The message has been sent or not. A failure to record that must not change the response.
        match recording.run(recorded).await {
            Ok(steps) => {
                for (step, recorded) in steps {
                    call.record.best_effort(step, recorded);
                }
            }
            Err(error) => {
                let cause = error.cause().unwrap_or_default().to_owned();
                call.record.best_effort("outcome", Err(Unavailable(cause)));
            }
        }
        outcome
    }

    /// Counts a send in every limit, and writes its verification. If HTTP refuses the send because of a limit, a device
    /// of the number can have a place that is kept for such devices.
    async fn prepare_send<'a>(
        &self,
        send: &CountedSend<'_>,
        looked: Looked,
        limits: &Limits,
        begun: &'a mut BegunSend,
        call: &Call<'_>,
    ) -> Result<&'a PreparedSend, Error> {
        let to = &send.request.to;
        let charges = &mut begun.charges;
        let http = self.count_send(Door::Http, send, looked, limits, charges, call);
        let counted = match http.await {
            Err(refusal) if limits.is_for_device(&refusal, to, call).await? => {
                // The counts of HTTP are given back when the outcome is recorded.
                begun.refused = Some(std::mem::take(&mut begun.charges));
                let door = Door::Device;
                let looked = limits.look(door, to, &send.item, call.now).await?;
                self.count_send(door, send, looked, limits, &mut begun.charges, call)
                    .await
                    .map_err(|own| devices::sooner(refusal, own))?
            }
            counted => counted?,
        };
        // The verification is written before the provider is asked, for two reasons. A code without a record could be
        // guessed at without limit. And if the function crashes after this step, the person can still verify the code.
        //
        // `begun` takes note of the send before the ledger does. If the write to the ledger has an unclear outcome, the
        // send must still be settled.
        let prepared = begun.prepared.insert(counted);
        let PreparedSend {
            item, plan, issuer, ..
        } = &*prepared;
        let written = limits
            .write_ahead(send.request, begun.holder, (item, plan, issuer), call.now)
            .await?;
        if written {
            Ok(prepared)
        } else {
            Err(refusals::in_progress(
                "Another request is changing this verification.",
            ))
        }
    }

    /// Counts a send in every limit of a door. `looked` is what was read at this door.
    async fn count_send(
        &self,
        door: Door,
        send: &CountedSend<'_>,
        looked: Looked,
        limits: &Limits,
        charges: &mut Charges,
        call: &Call<'_>,
    ) -> Result<PreparedSend, Error> {
        let now = call.now;
        let CountedSend {
            request,
            country,
            reference,
            item,
            after_silence,
        } = send;
        let number_item = limits.hasher.number_at(door, &request.to);
        let is_test = limits.test_number(&request.to, now).is_some();
        let at_once = !after_silence && limits.is_ample_prefix(door, &looked.counters);
        let plan = limits
            .plan_send(request, door, looked, is_test, self.provider_limits(), now)
            .await?;

        let code_reference = plan.code_reference(now);
        let known_as = limits.known_as(code_reference, reference, &request.to);
        let message = self.planned_message(request, *country, &known_as, &plan);
        let segments = (!is_test).then(|| self.providers.current.segments(&message));
        if let Some(segments) = segments {
            let message = (*country, request.channel, segments);
            limits
                .count_message(door, &request.to, message, at_once, charges, now)
                .await?;
        }
        // The number's windows are the last limit that can refuse. A place in these windows is not refunded. If a later
        // limit could refuse, people would lose a place without getting a message.
        let number = limits
            .reserve_send(door, &number_item, is_test, &plan, call.now_again())
            .await?;
        Ok(PreparedSend {
            door,
            reference: reference.clone(),
            known_as,
            item: item.clone(),
            issuer: self.issuer(is_test, code_reference),
            plan,
            number,
            segments,
        })
    }

    /// Asks the provider to send. The limits have counted the send, and its verification is written.
    async fn send_prepared(
        &self,
        request: &SendRequest,
        country: Country,
        limits: &Limits,
        prepared: &PreparedSend,
        call: &mut Call<'_>,
    ) -> Result<Sent, Error> {
        let PreparedSend {
            door,
            reference,
            known_as,
            plan,
            number,
            segments,
            ..
        } = prepared;
        call.record.door = (*door == Door::Device).then_some(*door);
        let receipt = if prepared.issuer == Issuer::TestNumber {
            Receipt {
                message_id: None,
                request_id: None,
            }
        } else {
            let message = self.planned_message(request, country, known_as, plan);
            call.record.charge = limits.charge((country, request.channel), *segments);
            let sent = self.send_message(&message, call).await;
            // A message that the provider has refused keeps its place in the number's windows.
            let windows = &limits.of(*door).send_limits;
            let next = windows.next_send(number).since(call.now);
            sent.map_err(|error| error.not_before(next))?
        };
        let receipt = self.receipt(request, limits, prepared, receipt, call.now);
        Ok(Sent {
            reference: reference.clone(),
            receipt,
        })
    }

    pub(super) fn issuer(&self, is_test: bool, reference: CodeReference) -> Issuer {
        if is_test {
            Issuer::TestNumber
        } else {
            Issuer::Provider {
                name: Cow::Borrowed(self.providers.current.name()),
                reference,
            }
        }
    }

    /// Whether the reference ID is random only because the caller gives a device token, which may be a wrong one. With the
    /// derived ID, a stranger could use up the guesses at the device's code.
    fn is_random_for_device(
        &self,
        request: &SendRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> bool {
        request.reference.is_none()
            && !call.caller.is_user
            && self.rules.reference_ids == ReferenceIds::Derived
            && limits.has_device(&call.caller)
    }

    /// How a send gets its reference ID if the caller does not choose one.
    ///
    /// A user never gets a derived reference ID, because anyone who knows a phone number can compute the derived ID.
    /// With the derived ID, a user could wait until the owner of the number succeeds, and then use the owner's
    /// success. A device gets none either.
    pub(super) fn reference_ids(
        &self,
        request: &SendRequest,
        limits: Option<&Limits>,
        call: &Call<'_>,
    ) -> ReferenceIds {
        let for_device = limits.is_some_and(|it| self.is_random_for_device(request, it, call));
        if call.caller.is_user || for_device {
            ReferenceIds::Random
        } else {
            self.rules.reference_ids
        }
    }

    /// The reference ID of a send that was first requested at `at`. A repeat with the same idempotency key gets the
    /// same random ID, so the ledger need not store the ID.
    pub(super) fn reference(
        &self,
        request: &SendRequest,
        limits: Option<&Limits>,
        call: &Call<'_>,
        at: Millis,
    ) -> Result<ReferenceId, Error> {
        if let Some(reference) = &request.reference {
            return Ok(reference.clone());
        }
        let reference_ids = self.reference_ids(request, limits, call);
        match (reference_ids, limits, &call.caller.idempotency_key) {
            (ReferenceIds::Derived, _, _) => {
                let SendRequest {
                    brand_name,
                    source,
                    to,
                    ..
                } = request;
                Ok(ReferenceId::derived(brand_name, source, to))
            }
            (ReferenceIds::Random, Some(limits), Some(key)) => {
                Ok(limits
                    .hasher
                    .reference(&call.caller.namespace(&request.to), key, at))
            }
            (ReferenceIds::Random, _, _) => ReferenceId::random(),
        }
    }

    /// The message of a counted send. A resend keeps some fields of the first message.
    pub(super) fn planned_message<'a>(
        &'a self,
        request: &'a SendRequest,
        country: Country,
        reference: &'a ReferenceId,
        plan: &'a SendPlan,
    ) -> Message<'a> {
        Message {
            brand_name: &plan.brand_name,
            code_length: plan.code_length,
            validity_minutes: plan.validity_minutes,
            allowed_attempts: plan.left,
            ..self.message(request, country, reference)
        }
    }

    pub(super) fn message<'a>(
        &'a self,
        request: &'a SendRequest,
        country: Country,
        reference: &'a ReferenceId,
    ) -> Message<'a> {
        let is_india = country.as_str() == "IN";
        Message {
            to: &request.to,
            reference,
            brand_name: &request.brand_name,
            code_length: request.code_length,
            validity_minutes: request.validity_minutes,
            allowed_attempts: request.allowed_attempts,
            channel: request.channel,
            language: &request.language,
            origination_identity: self.rules.origination.identity(country, request.channel),
            dlt: self.rules.dlt.as_ref().filter(|_| is_india),
        }
    }

    pub(super) async fn send_message(
        &self,
        message: &Message<'_>,
        call: &mut Call<'_>,
    ) -> Result<Receipt, Error> {
        let provider = &self.providers.current;
        let asked = Instant::now();
        let outcome = provider.send(message, call.provider_time_left()).await;
        self.latencies.remember(Act::Send, asked.elapsed());
        call.record
            .provider_answered(provider.name(), asked.elapsed());
        match &outcome {
            Ok(_) => call.record.count(Metric::Sent),
            Err(error) if error.is_delivery_unknown() => {
                call.record.count(Metric::UnknownDeliveries);
            }
            Err(_) => {}
        }
        let receipt = outcome?;
        call.record.provider_request(receipt.request_id.clone());
        Ok(receipt)
    }

    fn receipt(
        &self,
        request: &SendRequest,
        limits: &Limits,
        PreparedSend {
            door, plan, number, ..
        }: &PreparedSend,
        receipt: Receipt,
        now: Millis,
    ) -> SentReceipt {
        let next = if plan.is_resend() && !plan.is_last_send() {
            self.channels_after(request.channel)
        } else {
            Vec::new()
        };
        SentReceipt {
            message_id: receipt.message_id,
            channel: request.channel.name().to_owned(),
            code_length: plan.code_length,
            sent: now.0,
            expires: plan.expires.0,
            attempts_left: Some(plan.left),
            resend: Some(
                limits
                    .next_send(*door, number, plan.sends, plan.expires)
                    .max(now)
                    .0,
            ),
            next,
        }
    }

    /// The channels that follow `channel` in the operator's order.
    fn channels_after(&self, channel: Channel) -> Vec<String> {
        let channels = self
            .provider_limits()
            .channels
            .iter()
            .map(|own| own.channel);
        channels
            .skip_while(|own| *own != channel)
            .skip(1)
            .map(|own| own.name().to_owned())
            .collect()
    }

    /// Sends a code without a ledger, as AWS's example does. Nothing is counted or remembered.
    async fn send_uncounted(
        &self,
        request: &SendRequest,
        country: Country,
        call: &mut Call<'_>,
    ) -> Result<Sent, Error> {
        let reference = self.reference(request, None, call, call.now)?;
        let message = self.message(request, country, &reference);
        let receipt = self.send_message(&message, call).await?;
        // The validity counts from before the call. Otherwise a caller could rely on a code that has expired.
        let sent = call.now;
        let receipt = SentReceipt {
            message_id: receipt.message_id,
            channel: request.channel.name().to_owned(),
            code_length: request.code_length,
            sent: sent.0,
            expires: sent.plus(minutes(request.validity_minutes)).0,
            attempts_left: None,
            resend: None,
            next: Vec::new(),
        };
        Ok(Sent { reference, receipt })
    }
}
