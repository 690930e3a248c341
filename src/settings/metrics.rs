//! The setting of the metrics.

use super::LedgerSettings;
use super::reader::Reader;
use crate::phone::Country;
use crate::telemetry::{Detail, MOST_COUNTRIES, MOST_COUNTRIES_WITH_DELIVERIES, Metrics};
use tracing::level_filters::LevelFilter;

impl Reader<'_> {
    pub(super) fn metrics(
        &mut self,
        ledger: Option<&LedgerSettings>,
        log_level: LevelFilter,
    ) -> Option<Metrics> {
        let detail = self.choice(
            "METRICS",
            ("off", None),
            [("basic", Some(Detail::Basic)), ("full", Some(Detail::Full))],
        )?;
        if log_level < LevelFilter::INFO {
            self.report(
                "METRICS",
                "needs the lines of LOG_LEVEL `info`, from which CloudWatch makes the metrics: set LOG_LEVEL to `info`, or METRICS to \
                 `off`.",
            );
        }
        Some(Metrics {
            detail,
            // Outside Lambda there may be no name.
            ledger: self
                .raw("LEDGER_TABLE")
                .or_else(|| self.raw("AWS_LAMBDA_FUNCTION_NAME"))
                .unwrap_or_else(|| "local".to_owned()),
            countries: self.countries_with_metrics(ledger),
        })
    }

    /// The countries that the operator names: first those with budgets of their own, then those that are allowed, in
    /// the operator's order.
    fn countries_with_metrics(&self, ledger: Option<&LedgerSettings>) -> Vec<Country> {
        let with_budgets = ledger
            .into_iter()
            .flat_map(|own| own.policy.budgets.by_country.keys().copied());
        let allowed = self.raw("ALLOWED_COUNTRIES").unwrap_or_default();
        let allowed = allowed
            .split(',')
            .filter_map(|part| part.trim().parse().ok());
        let most = if self.is_set("DELIVERY_TOPIC") {
            MOST_COUNTRIES_WITH_DELIVERIES
        } else {
            MOST_COUNTRIES
        };
        let mut countries: Vec<Country> = Vec::new();
        for country in with_budgets.chain(allowed) {
            if !countries.contains(&country) && countries.len() < most {
                countries.push(country);
            }
        }
        countries
    }
}
