//! Devices that have verified a number.

use super::DynamoDb;
use crate::ledger::{ItemName, Unavailable};
use crate::time::Millis;

impl DynamoDb {
    /// Has no condition: a repeat of the request that has verified the number writes the same again.
    pub(super) async fn write_device(
        &self,
        item: &ItemName,
        expires: Millis,
    ) -> Result<(), Unavailable> {
        self.update(item, "SET #exp = :expires, #ttl = :ttl")
            .number(":expires", expires.0)
            .number(":ttl", expires.seconds())
            .repeatable()
            .run()
            .await?;
        Ok(())
    }

    pub(super) async fn has_device(
        &self,
        item: &ItemName,
        now: Millis,
    ) -> Result<bool, Unavailable> {
        let expires = match self.table.read(item).await? {
            Some(item) => item.time("exp")?,
            None => None,
        };
        Ok(expires.is_some_and(|expires| expires > now))
    }
}
