//! The tests that every provider must pass.

mod callers;
mod cognito;
mod cognito_decoy_users;
mod cognito_decoys;
mod cognito_define;
mod cognito_events;
mod cognito_fields;
mod cognito_outages;
mod cognito_sessions;
mod cognito_sign_up;
mod emulators;
mod ends;
mod foreign;
mod hostile;
mod ledger;
mod limits;
mod logs;
mod numbers;
mod operator;
mod origins;
mod provider;
mod public;
mod references;
mod send;
mod tls;
mod verify;
