//! Reads several items with one request.

use super::DynamoDb;
use super::item::Item;
use crate::ledger::{ItemName, Looked, Unavailable, Wanted};
use std::collections::BTreeMap;

impl DynamoDb {
    pub(super) async fn look_at_items(&self, wanted: &Wanted<'_>) -> Result<Looked, Unavailable> {
        let switches = ItemName::of_switches();
        let names = [wanted.verification, wanted.number]
            .into_iter()
            .chain(wanted.counters)
            .chain(wanted.switches.then_some(&switches));
        let found = Found(self.table.read_all(names).await?);
        Ok(Looked {
            switches: wanted
                .switches
                .then(|| found.of(&switches, Item::switches))
                .transpose()?,
            verification: found
                .0
                .get(wanted.verification.as_str())
                .map(Item::verification)
                .transpose()?,
            number: found.of(wanted.number, Item::known_number)?,
            counters: wanted
                .counters
                .iter()
                .map(|counter| found.of(counter, Item::count))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The items that are in the table, by their names.
struct Found(BTreeMap<String, Item>);

impl Found {
    /// Reads an item. An item that is not in the table is read as an empty one.
    fn of<T>(
        &self,
        name: &ItemName,
        read: impl FnOnce(&Item) -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        match self.0.get(name.as_str()) {
            Some(item) => read(item),
            None => read(&Item::default()),
        }
    }
}
