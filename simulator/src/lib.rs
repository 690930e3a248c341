//! AWS on your desk: Amazon Pinpoint's OTP API and the code verification of AWS End User Messaging as a local server, with
//! an inbox page instead of a phone, API Gateway in front of a handler, and the [ledger in memory](MemoryLedger).
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulator::{Failure, Operation, Simulator};
//!
//! let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await?;
//! // Point a client at `simulator.url()` (for the AWS SDKs: AWS_ENDPOINT_URL_PINPOINT, AWS_ENDPOINT_URL_ENDUSERMESSAGING,
//! // AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2), let it send, and read the code:
//! let message = simulator.newest_to("+14255550142");
//! simulator.fail_next(Operation::Send, Failure::Throttled);
//! # Ok(())
//! # }
//! ```
//!
//! # What it speaks
//!
//! | request | |
//! |---|---|
//! | `POST /v1/apps/{application-id}/otp` | `SendOTPMessage` |
//! | `POST /v1/apps/{application-id}/verify-otp` | `VerifyOTPMessage` |
//! | `POST /v1/notify-code-verifications/send` | `SendNotifyCodeVerification` |
//! | `POST /v1/notify-code-verifications/validate` | `ValidateNotifyCodeVerification` |
//! | `POST /`, `x-amz-target: PinpointSMSVoiceV2.PutMessageFeedback` | `PutMessageFeedback` |
//! | `GET /` | the inbox page |
//! | `GET /inbox`, `GET /inbox?to=+14255550142` | `{"messages": […]}`, newest first |
//! | `GET /inbox/updates` | the same and more as server-sent events, after every change |
//!
//! Bodies, headers and errors are those of the real services, so that neither boto3 nor the AWS SDKs can tell. Differences:
//!
//! - A request must carry a Signature Version 4 whose scope names the service (`mobiletargeting`, `end-user-messaging`,
//!   `sms-voice`), as a client makes it with any credentials. The signature itself is **not** verified.
//! - Any application id is known, until [`Simulator::know_only_applications`] says otherwise. No configuration and no
//!   managed template of End User Messaging is known: the template must be in the request.
//! - Where AWS documents nothing, this is a guess. Of both services: a second send under the same reference replaces the
//!   first code; a right code is accepted once, in the case it was sent in; an unknown reference is a wrong guess; a code
//!   is known by its reference and its number, to the service alone that sent it. Of Pinpoint: absent optional members mean
//!   `CodeLength` 6, `ValidityPeriod` 15 (minutes), `AllowedAttempts` 3, `Language` `en-US`, and the texts other than the
//!   English one are [our own wording](mod@crate::texts). Of End User Messaging: a template for a call that is said to be
//!   SSML and is none is refused; how a number that opted out or is a landline is told ([`Failure`]); the text of a
//!   WhatsApp message, which is Meta's. Feedback is taken for messages of End User Messaging alone, and the last one counts.
//!
//! Time is the simulator's own: wall time, until [`Simulator::advance`] moves it forward.
//!
//! The codes are readable by whoever reaches the server, so it listens on loopback addresses alone and answers only
//! requests for `localhost`, `127.0.0.1` and `[::1]`, whatever name a web page may have bound to this machine.
//!
//! # Scenario numbers
//!
//! Some numbers choose what happens to every send, or to every verify, without a word to the simulator:
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
//! | `+14255550154` | `+14255550164` | the normal answer, late |
//! | `+14255550155` | `+14255550165` | no answer, ever |
//! | `+14255550156` | `+14255550166` | connection closed, but it was carried out |
//! | – | `+14255550167` | 200, `Valid` is false, whatever the guess |
//!
//! That is Pinpoint. End User Messaging has the same, or what comes nearest to it ([`Scenario::outcome_at`]). Any other area
//! code does the same ([why](scenarios())), every other number is an ordinary one, and late is by three
//! seconds. A failure that is [queued](Simulator::fail_next) goes before the number's own; so `Failure::Successful` lets
//! one send to it pass. Whether a text leaves or an attempt is spent follows the rule of [`Failure`].
//!
//! # Control over HTTP
//!
//! For tests in other languages. Every POST has `content-type: application/json`.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /simulator/clock` | | `{"now": "2026-11-23T10:15:00Z", "offsetSeconds": 0}` |
//! | `POST /simulator/clock` | `{"advanceSeconds": 600}` | likewise |
//! | `GET /simulator/failures` | | `{"queued": {"send": […], "verify": […], "feedback": […]}, "available": {…}}`: what is to come, and every failure there is |
//! | `POST /simulator/failures` | `{"operation": "send", "failure": "throttled", "times": 2}` | `{"send": […], "verify": […], "feedback": […]}`: what is to come |
//! | `DELETE /simulator/failures` | | likewise, empty |
//! | `GET /simulator/scenarios` | | `{"scenarios": [{"number": "+14255550110", "operation": "send", "outcome": "opt-out", "sees": "200, OPT_OUT"}, …]}` |
//! | `GET /simulator/requests` | | `{"counts": {"send": 1, "verify": 0, "feedback": 0}, "requests": […]}` |
//! | `POST /simulator/applications` | `{"known": ["an-application-id"]}`, or `{"known": null}` for any | 204 |
//! | `POST /simulator/reset` | | 204 |
//!
//! Failures and scenarios are those of the service that [`Simulator::describe`] chose, by default Pinpoint; with
//! `?service=end-user-messaging` or `?service=pinpoint` they are that one's.
//!
//! `times` is a number or `"until-cleared"`, by default 1; the names of the failures are those of [`Failure`] in kebab
//! case, and `{"slow": 1500}` is in milliseconds.

pub mod front;

mod clock;
mod codes;
mod control;
mod desk;
mod end_user_messaging;
mod failure;
mod inbox;
mod memory;
mod message;
mod pinpoint;
mod scenarios;
mod server;
mod simulator;
mod sms_voice;
mod ssml;
pub mod texts;
mod wire;

pub use self::{
    codes::{CodeKey, IssuedCode},
    desk::Recorded,
    failure::{Failure, Operation, Queued, Service, Times},
    memory::MemoryLedger,
    message::{Channel, Feedback, Message},
    scenarios::{Outcome, Scenario, scenarios},
    server::{Bound, bind_or_next},
    simulator::Simulator,
};
