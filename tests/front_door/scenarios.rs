// What every provider is tried with: the tests of `main.rs` and of `end_user_messaging.rs` are these.

mod cognito;
mod cognito_decoys;
mod cognito_define;
mod cognito_fields;
mod cognito_outages;
mod emulators;
mod ends;
mod exchange;
mod hostile;
mod ledger;
mod limits;
mod logs;
mod money;
mod operator;
mod origins;
mod pool;
mod provider;
mod public;
mod send;
mod tls;
mod verify;
mod world;
