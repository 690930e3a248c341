use super::DynamoDb;
use super::item::{text_of_issuers, word_of};
use super::update::Update;
use crate::ledger::{ItemName, Settled, VERIFICATION_KEPT};

impl DynamoDb {
    /// The update that records the outcome of a reserved send.
    pub(super) fn settlement<'a>(
        &'a self,
        item: &'a ItemName,
        outcome: &Settled<'_>,
    ) -> Update<'a> {
        match *outcome {
            Settled::Sent {
                issuer,
                message_id: Some(id),
            } => self
                .update(item, "SET #st = :sent, #prov = :prov, #mid = :mid")
                .text(":prov", &issuer.to_string())
                .text(":mid", id),
            Settled::Sent {
                issuer,
                message_id: None,
            } => self
                .update(item, "SET #st = :sent, #prov = :prov REMOVE #mid")
                .text(":prov", &issuer.to_string()),
            Settled::Unclear => self.update(item, "SET #st = :unclear"),
            Settled::Unsent { issuers } => self
                .update(item, "SET #st = :sent, #prov = :prov REMOVE #mid")
                .text(":prov", &text_of_issuers(issuers)),
            Settled::Failed { plain_until } => self
                .update(item, "SET #st = :failed, #pu = :pu")
                .number(":pu", plain_until.0),
            Settled::Back(earlier) => self
                .update(
                    item,
                    "SET #st = :state, #exp = :exp, #sends = :sends, #prov = :prov, #pu = :pu, #ch = :ch, #lang = :lang, \
                     #ttl = :ttl",
                )
                .text(":state", word_of(earlier.state))
                .number(":exp", earlier.expires.0)
                .number(":sends", earlier.sends.into())
                .text(":prov", &text_of_issuers(&earlier.issuers))
                .number(":pu", earlier.plain_until.0)
                .text(":ch", &earlier.channel)
                .text(":lang", &earlier.language)
                .number(":ttl", earlier.expires.plus(VERIFICATION_KEPT).seconds()),
        }
    }
}
