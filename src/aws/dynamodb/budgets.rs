use super::DynamoDb;
use super::item::Item;
use super::update::Written;
use crate::ledger::{SpendOutcome, Spending, Unavailable};

impl DynamoDb {
    pub(super) async fn spend_budgets(
        &self,
        spending: &Spending,
    ) -> Result<SpendOutcome, Unavailable> {
        let lines = &spending.lines;
        if lines.is_empty() {
            return Ok(SpendOutcome::Spent(Vec::new()));
        }
        // A condition cannot add the amount to the counter. So the counter is compared with the cap less the amount.
        if let Some(line) = spending.over_alone() {
            return Ok(SpendOutcome::OverCap(line.clone()));
        }
        let rooms = lines.iter().map(|line| line.cap - line.amount);
        let adds: Vec<String> = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.amount > 0)
            .map(|(i, line)| format!("#{} :amount{i}", line.counter))
            .collect();
        if adds.is_empty() {
            let counters = self.read_budgets(spending).await?;
            return Ok(match spending.over(&counters) {
                Some(line) => SpendOutcome::OverCap(line.clone()),
                None => SpendOutcome::Spent(vec![0; counters.len()]),
            });
        }
        let caps: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| {
                format!(
                    "(attribute_not_exists(#{0}) OR #{0} <= :room{i})",
                    line.counter
                )
            })
            .collect();
        let mut update = self
            .update(
                &spending.item,
                format!("ADD {} SET #ttl = :ttl", adds.join(", ")),
            )
            .when(caps.join(" AND "))
            .repeatable()
            .number(":ttl", spending.expires.seconds());
        for (i, (line, room)) in lines.iter().zip(rooms).enumerate() {
            update = update
                .number(format!(":amount{i}"), line.amount)
                .number(format!(":room{i}"), room);
        }
        let item = match update.run().await? {
            // The response has the counters that were written, and no others. So it does not grow with the hours of
            // the day.
            Written::Done(item) => {
                let mut counters = counters(&item, spending)?;
                for (line, counter) in lines.iter().zip(&mut counters) {
                    if line.amount == 0 {
                        *counter = 0;
                    }
                }
                return Ok(SpendOutcome::Spent(counters));
            }
            Written::Refused(item) => item,
        };
        let item =
            item.ok_or_else(|| Unavailable("a budget without an item was refused".to_owned()))?;
        match spending.over(&counters(&item, spending)?) {
            Some(line) => Ok(SpendOutcome::OverCap(line.clone())),
            None => Err(Unavailable("a budget that has room was refused".to_owned())),
        }
    }

    pub(super) async fn read_budgets(&self, spending: &Spending) -> Result<Vec<u64>, Unavailable> {
        if spending.lines.is_empty() {
            return Ok(Vec::new());
        }
        let item = self.table.read(&spending.item).await?.unwrap_or_default();
        counters(&item, spending)
    }

    pub(super) async fn refund_budgets(&self, spending: &Spending) -> Result<(), Unavailable> {
        let lines = spending.adding().enumerate();
        let back: Vec<String> = lines
            .map(|(i, line)| format!("#{0} = #{0} - :amount{i}", line.counter))
            .collect();
        if back.is_empty() {
            return Ok(());
        }
        // The condition holds only if each counter has the amount, for two reasons. If DynamoDB has deleted the item,
        // this write must not bring the item back without a time to live. And a sign-in may refund an amount that the
        // sign-in has not spent. If a counter is smaller than this amount, the refund would make the counter negative,
        // and a negative counter cannot be read.
        let enough: Vec<String> = spending
            .adding()
            .enumerate()
            .map(|(i, line)| format!("#{} >= :amount{i}", line.counter))
            .collect();
        let mut update = self
            .update(&spending.item, format!("SET {}", back.join(", ")))
            .when(enough.join(" AND "));
        for (i, line) in spending.adding().enumerate() {
            update = update.number(format!(":amount{i}"), line.amount);
        }
        update.run().await?;
        Ok(())
    }
}

/// The counter of each line.
fn counters(item: &Item, spending: &Spending) -> Result<Vec<u64>, Unavailable> {
    let lines = spending.lines.iter();
    lines
        .map(|line| Ok(item.number(&line.counter)?.unwrap_or(0)))
        .collect()
}
