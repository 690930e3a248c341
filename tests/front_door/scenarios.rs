//! The tests that every provider must pass.

mod cognito;
mod cognito_decoys;
mod cognito_define;
mod cognito_fields;
mod cognito_outages;
mod emulators;
mod ends;
mod hostile;
mod ledger;
mod limits;
mod logs;
mod operator;
mod origins;
mod provider;
mod public;
mod send;
mod tls;
mod verify;
