//! Phone verification in your own AWS account, as one Lambda function: send a one-time password,
//! verify it.
//!
//! AWS makes, delivers and checks the code. This program decides who may ask, tells the caller
//! what happened, and keeps codes and phone numbers out of every log.
//!
//! The modules in reading order:
//!
//! - [`event`]: the one entry point, from a Lambda event to an answer
//! - [`http`]: requests in, answers out, for every HTTP origin
//! - [`cognito`]: the triggers of Amazon Cognito
//! - [`service`]: the order of effects of a send and of a verify
//! - [`policy`]: which numbers are served, and how often
//! - [`ledger`]: what is remembered of verifications, guesses and limits
//! - [`provider`]: what is asked of the service that makes and checks codes
//! - [`phone`], [`otp`], [`reference`](mod@reference): the three types that everything is about
//! - [`texts`], [`language`]: what a person reads or hears, and in which language
//! - [`error`]: every refusal and failure, in one table
//! - [`config`]: from the environment to types
//! - [`telemetry`]: what the operator sees
//! - [`aws`]: the adapters, the only modules that name the AWS SDK

pub mod app;
pub mod aws;
pub mod cognito;
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
