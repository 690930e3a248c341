//! The requests of the model, as the service gets them.

use crate::answers::{challenge, phase, refused, time_of, told};
use crate::world::{Running, World, otp, session_name, user};
use model::state::{self, Answer, DECOY, Request, SIGN_IN, Session, State};
use otp_lambda::service::{
    self, Call, Caller, Reference, SignIn, VerificationRequest, VerifyRequest,
};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::send_request;
use std::time::Duration;

impl World {
    /// The service begins a request.
    pub(crate) fn begin(&self, state: &State, request: Request) -> Running {
        let service = self.services[state.provider as usize].clone();
        let now = self.at(state.clock);
        let zero = self.zero;
        let to_time = move |at| time_of(zero, at);
        match request {
            Request::Send { to, key } => {
                let request = send_request(&self.services[0], self.phone(usize::from(to)));
                let caller = Self::app((key != state::NONE).then_some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let sent = service.send(&request, &mut call(caller, now, record)).await;
                    match sent {
                        Ok(sent) => Ok(Answer::Sent {
                            left: sent.receipt.attempts_left.unwrap(),
                            expires: to_time(Millis(sent.receipt.expires))?,
                            resend: to_time(Millis(sent.receipt.resend.unwrap()))?,
                        }),
                        Err(error) => refused(&error),
                    }
                })
            }
            Request::Verify { to, code, key } => {
                let request = self.verify_request(usize::from(to), code);
                let caller = Self::app(Some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let verified = service.verify(&request, call);
                    told(verified.await.map(|_| Answer::Right))
                })
            }
            Request::Status { to } => {
                let request = self.about(usize::from(to));
                let caller = Self::app(None);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let status = service.status(&request, call);
                    match status.await {
                        Ok(status) => Ok(Answer::Status {
                            phase: phase(status.phase),
                            left: status.attempts_left,
                            expires: to_time(status.expires)?,
                            resend: to_time(status.resend)?,
                        }),
                        Err(error) => refused(&error),
                    }
                })
            }
            Request::Redeem { to, key } => {
                let request = self.about(usize::from(to));
                let caller = Self::app(Some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let redeemed = service.redeem(&request, call);
                    told(redeemed.await.map(|_| Answer::Redeemed))
                })
            }
            Request::Cancel { to } => {
                let request = self.about(usize::from(to));
                let caller = Self::app(None);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let canceled = service.cancel(&request, call);
                    let canceled = canceled.await;
                    told(canceled.map(|(_, ended)| Answer::Canceled(phase(ended))))
                })
            }
            Request::Unlock { number } => {
                let number = self.phone(usize::from(number));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = call(Caller::default(), now, record);
                    told(service.unlock(&number, &call).await.map(|()| Answer::Done))
                })
            }
            request => self.begin_trigger(state, request),
        }
    }

    /// The service begins a request of a user pool.
    fn begin_trigger(&self, state: &State, request: Request) -> Running {
        let service = self.services[state.provider as usize].clone();
        let now = self.at(state.clock);
        let zero = self.zero;
        let to_time = move |at| time_of(zero, at);
        match request {
            Request::SignIn { session } | Request::UnknownSignIn { session } => {
                let is_decoy = matches!(request, Request::UnknownSignIn { .. });
                let sign_in = self.sign_in(session, is_decoy);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(Caller::default(), now, record);
                    let begun = service.begin_sign_in(&sign_in, call).await;
                    challenge(begun, &to_time)
                })
            }
            Request::Continue { session } => {
                let sign_in = self.asked(state, session);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(Caller::default(), now, record);
                    let continued = service.continue_sign_in(&sign_in, call).await;
                    challenge(continued, &to_time)
                })
            }
            Request::Answer {
                session,
                code,
                nonce,
            } => {
                let sign_in = self.asked(state, session);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(Caller::default(), now, record);
                    let nonce = format!("nonce {nonce}");
                    let answered = service.answer_sign_in(&sign_in, otp(code), &nonce, call);
                    told(answered.await.map(|()| Answer::Right))
                })
            }
            Request::ResendForSignIn { session, nonce } => {
                let sign_in = self.asked(state, session);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(Caller::default(), now, record);
                    let nonce = format!("nonce {nonce}");
                    let resent = service.resend_for_sign_in(&sign_in, &nonce, call);
                    told(resent.await.map(|()| Answer::Done))
                })
            }
            _ => panic!("not of a user pool: {request:?}"),
        }
    }

    /// The sign-in of a session that the user pool has a question of.
    fn asked(&self, state: &State, session: u8) -> SignIn {
        let is_decoy = state.sessions[usize::from(session)] == Session::Decoy;
        self.sign_in(session, is_decoy)
    }

    fn sign_in(&self, session: u8, is_decoy: bool) -> SignIn {
        let (target, kind) = if is_decoy {
            (DECOY, Session::Decoy)
        } else {
            (SIGN_IN, Session::Real)
        };
        SignIn {
            user: user(kind),
            number: self.phone(target),
            language: "en-US".into(),
            session: service::Session {
                name: session_name(session),
                is_decoy,
            },
        }
    }

    fn app(key: Option<u8>) -> Caller {
        Caller {
            principal: Some("app".to_owned()),
            idempotency_key: key.map(|key| format!("key {key}")),
            ..Caller::default()
        }
    }

    fn verify_request(&self, target: usize, code: u8) -> VerifyRequest {
        VerifyRequest {
            to: self.phone(target),
            otp: otp(code),
            reference: Reference::Given(self.reference(target)),
        }
    }

    fn about(&self, target: usize) -> VerificationRequest {
        VerificationRequest {
            to: self.phone(target),
            reference: Reference::Given(self.reference(target)),
        }
    }
}

fn call(caller: Caller, now: Millis, record: &mut Record) -> Call<'_> {
    Call::new(caller, now, Duration::MAX, record)
}
