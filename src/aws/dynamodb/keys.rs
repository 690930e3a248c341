//! Idempotency keys.

use super::DynamoDb;
use super::update::Written;
use crate::ledger::{Fingerprint, Holder, ItemName, KEY_KEPT, KeyReservation, Unavailable};
use crate::time::Millis;

impl DynamoDb {
    pub(super) async fn reserve_free_key(
        &self,
        item: &ItemName,
        holder: Holder,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        let written = self
            .update(
                item,
                "SET #st = :claimed, #by = :by, #at = :now, #fp = :fp, #ttl = :ttl REMOVE #ans",
            )
            .when("(attribute_not_exists(#pk) OR #st = :released OR #at <= :now_less_kept)")
            .number(":by", holder.0)
            .text(":fp", fingerprint.as_str())
            .number(":now", now.0)
            .number(":now_less_kept", now.minus(KEY_KEPT).0)
            .number(":ttl", now.plus(KEY_KEPT).seconds())
            .repeatable()
            .run()
            .await?;
        match written {
            Written::Done(_) => Ok(KeyReservation::Reserved),
            Written::Refused(Some(item)) => Ok(KeyReservation::Held(item.held_key()?)),
            Written::Refused(None) => {
                Err(Unavailable("a free idempotency key was refused".to_owned()))
            }
        }
    }

    pub(super) async fn release_held_key(
        &self,
        item: &ItemName,
        holder: Holder,
    ) -> Result<(), Unavailable> {
        self.update(item, "SET #st = :released")
            .when("#by = :by")
            .number(":by", holder.0)
            .repeatable()
            .run()
            .await?;
        Ok(())
    }

    pub(super) async fn finish_held_key(
        &self,
        item: &ItemName,
        holder: Holder,
        response: Option<&str>,
    ) -> Result<(), Unavailable> {
        let update = match response {
            Some(response) => self
                .update(item, "SET #st = :done, #ans = :answer")
                .text(":answer", response),
            None => self.update(item, "SET #st = :unclear REMOVE #ans"),
        };
        update
            .when("#by = :by")
            .number(":by", holder.0)
            .repeatable()
            .run()
            .await?;
        Ok(())
    }
}
