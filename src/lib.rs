//! Phone verification in your own AWS account, as one Lambda function: send a code, verify a code.
//!
//! AWS makes, delivers and checks the codes. This program decides which requests are served, tells callers
//! what happened, and keeps codes and phone numbers out of every log.
//!
//! The modules in reading order:
//!
//! - [`app`]: the entry point, which recognizes each event and hands it on
//! - [`http`]: the HTTP API: requests, responses and the origins they come from
//! - [`cognito`]: the triggers of Amazon Cognito
//! - [`delivery`]: what AWS tells about messages after their send
//! - `operator`: the commands that an operator invokes directly
//! - [`service`]: what a send, a verify and a sign-in do, in which order
//! - [`policy`]: which numbers are served, and how often
//! - [`ledger`]: what is stored about verifications, guesses and limits
//! - [`provider`]: the AWS services that make and check codes
//! - [`phone`], [`otp`], [`reference`](mod@reference): phone numbers, codes and reference IDs
//! - [`device`]: tokens of devices that have verified a number
//! - [`typed`]: input as people type it, made plain for the parsers
//! - [`texts`], [`language`]: what a person reads or hears, and in which language
//! - [`error`]: every error code, declared once
//! - [`settings`]: from the environment to types
//! - [`telemetry`]: log lines
//! - [`aws`]: the adapters, the only modules that name the AWS SDK
//! - [`time`](mod@time), `json`: points in time, and a reader of JSON objects

pub mod app;
pub mod aws;
pub mod cognito;
pub mod delivery;
pub mod device;
pub mod error;
pub mod http;
mod json;
pub mod language;
pub mod ledger;
mod operator;
pub mod otp;
pub mod phone;
pub mod policy;
pub mod provider;
pub mod reference;
pub mod service;
pub mod settings;
pub mod telemetry;
pub mod texts;
pub mod time;
pub mod typed;
