//! AWS on your desk. A local server speaks the protocols of Amazon Pinpoint's OTP API and of code
//! verification in AWS End User Messaging, and shows the messages on a page. The crate also has API
//! Gateway [in front of a handler](front) and a [ledger in memory](MemoryLedger).
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulator::{Failure, Operation, Simulator};
//!
//! let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await?;
//! // Point a client at `simulator.url()` (AWS SDKs read it from AWS_ENDPOINT_URL), send, and read
//! // the code:
//! let message = simulator.newest_to("+14255550142");
//! simulator.fail_next(Operation::Send, Failure::Throttled);
//! # Ok(())
//! # }
//! ```
//!
//! # Protocols
//!
//! | request | |
//! |---|---|
//! | `POST /v1/apps/{application-id}/otp` | `SendOTPMessage` |
//! | `POST /v1/apps/{application-id}/verify-otp` | `VerifyOTPMessage` |
//! | `POST /v1/notify-code-verifications/send` | `SendNotifyCodeVerification` |
//! | `POST /v1/notify-code-verifications/validate` | `ValidateNotifyCodeVerification` |
//! | `POST /`, `x-amz-target: PinpointSMSVoiceV2.PutMessageFeedback` | `PutMessageFeedback` |
//! | `POST /`, `x-amz-target: PinpointSMSVoiceV2.…` | the operations of Notify configurations, without their sends |
//! | `GET /` | the inbox page |
//! | `GET /inbox`, `GET /inbox?to=+14255550142` | `{"messages": […]}`, the newest first |
//! | `GET /inbox/updates` | the state of the page as server-sent events, after every change |
//!
//! Bodies, headers and errors are those of the real services, so boto3 and the AWS SDKs work
//! unchanged. These are the differences:
//!
//! - A request needs a Signature Version 4 whose scope names the service (`mobiletargeting`,
//!   `end-user-messaging`, `sms-voice`). The signature is **not** verified, so any credentials will
//!   do.
//! - Every application ID exists, unless [`Simulator::know_only_applications`] restricts them. The simulated End User
//!   Messaging has no code configuration, so every send must carry its own template, or come from a Notify
//!   configuration.
//! - Where AWS does not document what a service does, the simulator does this:
//!   - Both services: a second send under the same reference replaces the first code. A right code
//!     is accepted once, and only with the same capital and small letters. A guess under an unknown
//!     reference is wrong. A code belongs to its reference, its number and the service that sent it.
//!   - Pinpoint: the defaults are `CodeLength` 6, `ValidityPeriod` 15 (minutes), `AllowedAttempts` 3
//!     and `Language` `en-US`. All texts but the English one are [our own](mod@crate::texts).
//!   - End User Messaging: a call is refused if its template claims to be SSML but is not. A send to a number that has
//!     opted out, or to a landline, gets an exception: see [`Failure`]. The simulator writes the text of a WhatsApp
//!     message, which Meta writes in reality. Feedback is accepted only for messages of End User Messaging, and the
//!     last feedback counts.
//!
//! The simulator's clock shows wall time until [`Simulator::advance`] moves it forward.
//!
//! Anyone who reaches the server can read the codes. For this reason the server listens only on loopback addresses, and
//! responds only to requests for `localhost`, `127.0.0.1` and `[::1]`. If the server responded to requests for any host
//! name, a web page could reach the server through a host name of the page's owner.
//!
//! # Scenario numbers
//!
//! Some numbers decide what happens to every send, or to every verify:
//!
//! | send | verify | what the client sees |
//! |---|---|---|
//! | `+14255550110` | – | 200, `OPT_OUT` |
//! | `+14255550111` | – | 200, `PERMANENT_FAILURE` |
//! | `+14255550112` | – | 200, `PERMANENT_FAILURE`, message says opted out |
//! | `+14255550113` | – | 200, `THROTTLED` |
//! | `+14255550114` | – | 200, `TEMPORARY_FAILURE` |
//! | `+14255550115` | – | 200, `UNKNOWN_FAILURE` |
//! | `+14255550116` | – | 200, `DUPLICATE` |
//! | `+14255550150` | `+14255550160` | 500 `InternalServerErrorException` |
//! | `+14255550151` | `+14255550161` | 429 `TooManyRequestsException` |
//! | `+14255550152` | `+14255550162` | 403 `AccessDeniedException` |
//! | `+14255550153` | `+14255550163` | 400 `BadRequestException` |
//! | `+14255550154` | `+14255550164` | the normal response, late |
//! | `+14255550155` | `+14255550165` | no response, ever |
//! | `+14255550156` | `+14255550166` | connection closed, but it was carried out |
//! | – | `+14255550167` | 200, `Valid` is false, whatever the guess |
//!
//! These are Pinpoint's responses. End User Messaging gives the same response, or the nearest one
//! that it has ([`Scenario::outcome_at`]). Other area codes work as well ([why](scenarios())), and all
//! other numbers are ordinary. Late means three seconds.
//!
//! A [queued](Simulator::fail_next) failure takes precedence over the outcome of a scenario number. If the queued
//! failure is `Failure::Successful`, the next send succeeds even to a scenario number. [`Failure`] says when a message
//! is sent or an attempt is used up in spite of the failure.
//!
//! # Control over HTTP
//!
//! For tests in other languages. Every POST needs `content-type: application/json`.
//!
//! | request | body | response |
//! |---|---|---|
//! | `GET /simulator/clock` | | `{"now": "2026-11-23T10:15:00Z", "offsetSeconds": 0}` |
//! | `POST /simulator/clock` | `{"advanceSeconds": 600}` | the same |
//! | `GET /simulator/failures` | | `{"queued": {"send": […], "verify": […], "feedback": […]}, "available": {…}}`: the queue, and all failures that exist |
//! | `POST /simulator/failures` | `{"operation": "send", "failure": "throttled", "times": 2}` | `{"send": […], "verify": […], "feedback": […]}`: the queue |
//! | `DELETE /simulator/failures` | | the same, empty |
//! | `GET /simulator/scenarios` | | `{"scenarios": [{"number": "+14255550110", "operation": "send", "outcome": "opt-out", "sees": "200, OPT_OUT"}, …]}` |
//! | `GET /simulator/log?about=NAME` | | the lines of the function's log that have this pseudonym of a number |
//! | `GET /simulator/requests` | | `{"counts": {"send": 1, "verify": 0, "feedback": 0}, "requests": […]}` |
//! | `POST /simulator/applications` | `{"known": ["an-application-id"]}`, or `{"known": null}` for any | 204 |
//! | `POST /simulator/facts` | the file of `make probe` | 204 |
//! | `POST /simulator/reset` | | 204 |
//!
//! Failures and scenarios are those of the service that [`Simulator::describe`] chose (by default
//! Pinpoint) or that `?service=end-user-messaging` or `?service=pinpoint` names.
//!
//! `times` is a number (1 by default) or `"until-cleared"`. A failure is a variant of [`Failure`] in
//! kebab case; `{"slow": 1500}` is in milliseconds.

pub mod emf;
pub mod facts;
pub mod front;
pub mod invoke;
pub mod layer;
mod lines;
pub mod local;
pub mod options;

mod calls;
mod clock;
mod codes;
mod cognito_web;
mod control;
mod cors;
mod desk;
mod end_user_messaging;
mod failure;
mod free_port;
mod inbox;
mod memory;
mod message;
mod notify;
mod notify_api;
mod pinpoint;
mod pool;
mod requests;
mod scenarios;
mod sdk;
mod server;
mod sessions;
mod simulator;
mod sms_voice;
mod ssml;
mod steps;
mod test_size;
pub mod texts;
mod try_it;
mod wire;

pub use self::{
    calls::Call,
    codes::{CodeKey, IssuedCode},
    desk::Recorded,
    failure::{Failure, Operation, Queued, Service, Times},
    free_port::free_port,
    memory::MemoryLedger,
    message::{Channel, Feedback, Message},
    pool::{CLIENT_ID, POOL_ID},
    requests::send_request,
    scenarios::{Outcome, Scenario, scenarios},
    sdk::simulated_config,
    server::{Access, Bound, bind_or_next, bind_or_next_on},
    simulator::Simulator,
    test_size::{is_full, sized},
    try_it::Choices,
};
