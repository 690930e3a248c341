//! The rules: which numbers are served, how often, and for how much money. This module uses no
//! clock and no network.

mod brands;
mod budgets;
mod countries;
mod extra_prefixes;
mod guess_risk;
mod rates;
mod share;
mod types;

pub use brands::Brands;
pub use budgets::{Budget, Budgets, Period, Prices, Unit};
pub use countries::AllowedCountries;
pub use extra_prefixes::ExtraPrefixes;
pub use guess_risk::{CodePolicy, GuessChance, GuessRisk, rounded_up};
pub use rates::{Rate, SendLimits, Wait};
pub use share::{CanSplit, Shares, SignInShare};
pub use types::AllowedTypes;
