//! The changes that a send makes to its verification, as in `src/service/send_plan.rs`.

use crate::config::Guard;
use crate::ledger::{NEVER, Opening, Reopening};
use crate::send::end_texts;
use crate::state::{Issuer, Issuers, RecordState, Running, State, Time};
use crate::{MAX_LIFETIME, Model, PLAIN_MARGIN, VALIDITY, session_of};

/// The changes that a send will make to its verification.
pub(crate) struct Plan {
    pub(crate) generation: u8,
    pub(crate) expires: Time,
    pub(crate) sends: u8,
    pub(crate) left: u8,
    /// As in [`Issuer::Provider`].
    pub(crate) reference: u8,
    pub(crate) issuer: Issuer,
}

impl Model {
    pub(crate) fn write(
        &self,
        state: &mut State,
        target: usize,
        running: &Running,
        plan: &Plan,
    ) -> bool {
        let (seen, now) = (&running.seen, running.now);
        let issuers = self.issuers(running, plan);
        let plain_until = if is_plain(plan.issuer) {
            now + VALIDITY + PLAIN_MARGIN
        } else {
            seen.plain_until
        };
        if running.facts.is_resend {
            let resend = Reopening {
                expires: plan.expires,
                issuers,
                plain_until,
                holder: running.holder,
            };
            return self.reopen(state, target, seen, &resend);
        }
        let opening = Opening {
            state: RecordState::Reserved,
            now,
            expires: plan.expires,
            left: plan.left,
            issuers,
            plain_until,
            owner: session_of(running),
            holder: running.holder,
        };
        let opened = self.open(state, target, seen.generation, &opening);
        if opened {
            end_texts(state, target);
        }
        opened
    }

    /// The issuer that a send is about to ask.
    #[must_use]
    pub fn issuer_of_send(&self, running: &Running) -> Issuer {
        self.planned(running).issuer
    }

    pub(crate) fn planned(&self, running: &Running) -> Plan {
        let (seen, now) = (&running.seen, running.now);
        let generation = seen.generation + 1;
        let is_resend = running.facts.is_resend;
        let reference = if seen.plain_until > now && self.has(Guard::OwnReference) {
            generation
        } else {
            0
        };
        let latest = if is_resend {
            seen.first + MAX_LIFETIME
        } else {
            NEVER
        };
        Plan {
            generation,
            expires: (now + VALIDITY).min(latest),
            sends: if is_resend { seen.sends + 1 } else { 1 },
            left: if is_resend {
                seen.left
            } else {
                self.config.attempts
            },
            reference,
            issuer: if running.facts.is_refused {
                Issuer::Decoy
            } else {
                Issuer::Provider {
                    provider: running.provider,
                    reference,
                }
            },
        }
    }

    /// The issuers of the codes that may be valid until the outcome of the send is known, the newest first.
    fn issuers(&self, running: &Running, plan: &Plan) -> Issuers {
        let mut issuers = Issuers::default();
        issuers[0] = plan.issuer;
        if !running.facts.is_resend || !self.has(Guard::IssuersOfBoth) {
            return issuers;
        }
        let is_over = |earlier: &Issuer| is_plain(plan.issuer) && is_plain(*earlier);
        let earlier = running.seen.issuers.iter();
        let earlier = earlier.filter(|earlier| **earlier != Issuer::Nobody && !is_over(earlier));
        for (place, earlier) in issuers.iter_mut().skip(1).zip(earlier) {
            *place = *earlier;
        }
        issuers
    }
}

fn is_plain(issuer: Issuer) -> bool {
    matches!(issuer, Issuer::Provider { reference: 0, .. })
}
