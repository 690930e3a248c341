//! The send of a sign-in. The send takes the same steps whether a message is sent or not, and the app sees the same
//! result.

use super::idempotency::Reservation;
use super::latencies::Act;
use super::send_plan::SendPlan;
use super::send_record::recorded_message_id;
use super::sign_in::items;
use super::sign_in_counters::{Count, Counted, Counters};
use super::{Call, Limits, SendRequest, Service, SignIn};
use crate::error::{Error, ErrorCode};
use crate::ledger::{Holder, Issuer, ItemName, Settled, Unavailable};
use crate::phone::Country;
use crate::provider::{Provider, Receipt};
use crate::reference::ReferenceId;
use crate::telemetry::Metric;
use crate::time::Millis;
use futures_util::future::join3;

/// A send of a sign-in, before its first step.
pub(super) struct SignInSend<'a> {
    pub(super) request: &'a SendRequest,
    pub(super) plan: SendPlan,
    pub(super) key: Reservation,
    pub(super) holder: Holder,
}

/// The progress of a send, so that its outcome can be recorded wherever the send ends.
#[derive(Default)]
struct Progress {
    /// Whether the verification may have been written.
    is_begun: bool,
    counted: Counted,
}

/// The end that a send has come to.
enum Fate {
    /// Another request has opened the verification first.
    Overtaken,
    Sent(Issuer, Receipt),
    /// The message may have been sent.
    Unclear(Error),
    /// Nothing was sent, for this reason. Decoys have no reason.
    Unsent(Option<Error>),
}

impl Service {
    /// Sends a code for a sign-in, or takes the same steps without sending. Returns false if another request has opened
    /// the verification meanwhile.
    ///
    /// # Errors
    ///
    /// The ledger could not be reached, and nothing was sent.
    pub(super) async fn send_for_sign_in(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        send: SignInSend<'_>,
        call: &mut Call<'_>,
    ) -> Result<bool, Error> {
        let item = items(limits, sign_in).verification;
        let recording = call.time_to_record();
        let mut progress = Progress::default();
        // The send has a box of its own, because it is far larger than all else in a sign-in.
        let sending = self.do_send(limits, sign_in, &send, &item, &mut progress, call);
        let fate = Box::pin(sending).await;
        let provider = self.providers.current.as_ref();
        let recorded = record(limits, provider, &send, &item, &progress, &fate);
        match recording.run(async { Ok(recorded.await) }).await {
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
        call.record.budget_use = progress.counted.budget_use;
        match fate? {
            Fate::Overtaken => return Ok(false),
            Fate::Unclear(error) => call.failed(&error),
            Fate::Unsent(Some(error)) => {
                call.record.count(Metric::SignInsRefused);
                call.failed(&error);
            }
            Fate::Unsent(None) => call.record.count(Metric::Decoys),
            Fate::Sent(..) => {}
        }
        Ok(true)
    }

    async fn do_send(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        send: &SignInSend<'_>,
        item: &ItemName,
        progress: &mut Progress,
        call: &mut Call<'_>,
    ) -> Result<Fate, Error> {
        let now = call.now;
        let SignInSend { request, plan, .. } = send;
        let reference = items(limits, sign_in).reference;
        let code_reference = plan.code_reference(now);
        let known_as = limits.known_as(code_reference, &reference, &request.to);
        let is_test = limits.test_number(&request.to, now).is_some();
        let preparing = call.time_to_prepare();

        let decoys = Counters::decoys(limits, &reference, now);
        let served = self.served_country(sign_in, request, call);
        let mut real = match &served {
            Ok(country) => self.counters(limits, send, (*country, &known_as), &decoys, now),
            Err(_) => Counters::decoys(limits, &reference, now),
        };
        let permitted = preparing
            .run(permission(limits, request, served, &mut real, now))
            .await?;
        let issuer = match &permitted {
            Ok(_) => self.issuer(is_test, code_reference),
            Err(_) => Issuer::Decoy,
        };
        let (refused, country) = match permitted {
            Ok(country) => (Ok(()), Some(country)),
            Err(reason) => (Err(reason), None),
        };

        // The verification is written before anything is counted and before the provider is asked. If two sign-ins
        // begin at once, only one of them can write. So only one takes a place in the windows.
        progress.is_begun = true;
        let mut count = Count {
            limits,
            real: (!is_test).then_some(&real),
            decoys: &decoys,
            refused,
            now,
        };
        let written = preparing
            .run(async {
                let ahead = limits.write_ahead(request, send.holder, (item, plan, &issuer), now);
                if !ahead.await? {
                    return Ok(false);
                }
                count.all(&mut progress.counted).await?;
                Ok(true)
            })
            .await?;
        if !written {
            progress.is_begun = false;
            return Ok(Fate::Overtaken);
        }
        let country = match (count.refused, country) {
            (Ok(()), Some(country)) => country,
            (refused, _) => {
                self.wait_as_if_asked(Act::Send, call).await;
                return Ok(Fate::Unsent(refused.err().flatten()));
            }
        };
        if issuer == Issuer::TestNumber {
            self.wait_as_if_asked(Act::Send, call).await;
            return Ok(Fate::Sent(issuer, Receipt::default()));
        }
        let message = self.planned_message(request, country, &known_as, plan);
        let segments = self.providers.current.segments(&message);
        call.record.charge = limits.charge((country, request.channel), Some(segments));
        Ok(match self.send_message(&message, call).await {
            Ok(receipt) => Fate::Sent(issuer, receipt),
            Err(error) if error.is_delivery_unknown() => Fate::Unclear(error),
            Err(error) => Fate::Unsent(Some(error)),
        })
    }

    /// The country of the sign-in's number. An error says why nothing can be sent; a decoy needs no reason.
    fn served_country(
        &self,
        sign_in: &SignIn,
        request: &SendRequest,
        call: &mut Call<'_>,
    ) -> Result<Country, Option<Error>> {
        if sign_in.session.is_decoy {
            return Err(None);
        }
        self.check_number(&request.to, Some(request.channel), call)
            .map_err(Some)
    }

    fn counters(
        &self,
        limits: &Limits,
        send: &SignInSend<'_>,
        (country, known_as): (Country, &ReferenceId),
        decoys: &Counters,
        now: Millis,
    ) -> Counters {
        let request = send.request;
        let message = self.planned_message(request, country, known_as, &send.plan);
        let segments = self.providers.current.segments(&message);
        let of_message = (country, request.channel, segments);
        Counters::real(limits, &request.to, of_message, decoys, now)
    }
}

/// Decides whether a message may be sent to this country, as far as the answer is known before anything is counted. The
/// steps are the same for a decoy. The inner error says why no message may be sent.
async fn permission(
    limits: &Limits,
    request: &SendRequest,
    served: Result<Country, Option<Error>>,
    real: &mut Counters,
    now: Millis,
) -> Result<Result<Country, Option<Error>>, Error> {
    let switches = limits.check_switches(&request.to, now).await;
    let switches = match switches {
        Err(error) if error.code() == ErrorCode::LedgerUnavailable => return Err(error),
        switches => switches,
    };
    let room = real.read(limits, now).await?;
    // A test number gets no messages, so it needs no room in the limits.
    let is_test = limits.test_number(&request.to, now).is_some();
    let room = if is_test { Ok(()) } else { room };
    Ok(served.and_then(|country| {
        let allowed = switches.and(room);
        allowed.map(|()| country).map_err(Some)
    }))
}

/// Records the outcome of a send. Every outcome takes the same number of steps.
async fn record(
    limits: &Limits,
    provider: &dyn Provider,
    send: &SignInSend<'_>,
    item: &ItemName,
    progress: &Progress,
    fate: &Result<Fate, Error>,
) -> [(&'static str, Result<(), Unavailable>); 3] {
    let earlier = send.plan.issuers_without_this_send();
    let settled = match fate {
        Ok(Fate::Sent(issuer, receipt)) => Settled::Sent {
            issuer,
            message_id: recorded_message_id(provider, receipt.message_id.as_deref()),
        },
        Ok(Fate::Unclear(_)) => Settled::Unclear,
        Ok(Fate::Unsent(_) | Fate::Overtaken) => Settled::Unsent { issuers: &earlier },
        // The sign-in ends here. A new one can begin at once.
        Err(_) => send.plan.without_this_send(),
    };
    let settle = async {
        if !progress.is_begun {
            return Ok(());
        }
        let generation = send.plan.generation();
        limits
            .store
            .settle(item, generation, send.holder, &settled)
            .await
    };
    let may_be_sent = matches!(fate, Ok(Fate::Sent(..) | Fate::Unclear(_)));
    let key = async {
        let Reservation::Reserved(key) = &send.key else {
            return Ok(());
        };
        if progress.is_begun && fate.is_ok() {
            limits.store.finish_key(key, send.holder, None).await
        } else {
            limits.store.release_key(key, send.holder).await
        }
    };
    let back = progress.counted.give_back(limits, may_be_sent);
    let (key, settle, back) = join3(key, settle, back).await;
    [
        ("end of the idempotency key", key),
        ("settle", settle),
        ("refund", back),
    ]
}
