//! The ledger in one DynamoDB table.
//!
//! Every step but `look` is about one item, and most steps are one request. A write has a condition with everything
//! that must hold before the write. DynamoDB checks the condition and writes in one atomic operation. The modules
//! `table` and `update` say when a request is repeated. Reads are consistent. The module `look` reads several items with
//! one request.
//!
//! There are no transactions, because they cost twice as much and conflict with each other. There is no index and no
//! scan.
//!
//! Attribute names are short, because DynamoDB bills them with every write.

mod budgets;
mod devices;
mod item;
mod keys;
mod look;
mod sends;
mod settlement;
mod table;
mod update;

use crate::ledger::{
    Attempt, Charge, CodeDigest, Digest, FAILURES_KEPT, Fingerprint, GUESS_PENDING, GuessOutcome,
    Holder, ItemName, KeyReservation, Ledger, Looked, NUMBER_KEPT, Number, NumberCharge, Opening,
    Question, REDEEMABLE, Redeemer, Resend, Reservation, Seen, SendWindow, Settled, SpendOutcome,
    Spending, Success, Switches, Transition, Unavailable, UsedCode, VERIFICATION_KEPT,
    Verification, Wanted,
};
use crate::time::Millis;
use async_trait::async_trait;
use aws_config::SdkConfig;
use item::{required, text_of_issuers, text_of_used, word_of, word_of_outcome};
use std::time::Duration;
use table::Table;
use update::{Update, Written};

/// The condition for [`State::is_open`](crate::ledger::State::is_open).
const OPEN: &str = "#st IN (:reserved, :sent, :unclear)";

/// A table whose partition key is the string `pk` and whose time to live attribute is `ttl`.
pub struct DynamoDb {
    table: Table,
}

impl DynamoDb {
    /// Uses the table named `table` in the account and region of `config`.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            table: Table::new(config, table),
        }
    }

    fn update<'a>(&'a self, item: &'a ItemName, update: impl Into<String>) -> Update<'a> {
        Update::new(&self.table, item, update)
    }
}

#[async_trait]
impl Ledger for DynamoDb {
    async fn connect(&self) {
        self.table.connect().await;
    }

    async fn switches(&self) -> Result<Switches, Unavailable> {
        let item = self.table.read(&ItemName::of_switches()).await?;
        item.unwrap_or_default().switches()
    }

    async fn count(&self, item: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let Some(below) = cap.checked_sub(1) else {
            return Ok(false);
        };
        let written = self
            .update(item, "ADD #n :one SET #ttl = :ttl")
            .when("(attribute_not_exists(#n) OR #n <= :below_cap)")
            .number(":below_cap", below)
            .number(":ttl", expires.seconds())
            .repeatable()
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn uncount(&self, item: &ItemName) -> Result<(), Unavailable> {
        // The condition holds only for a counter above zero, for two reasons. If DynamoDB has deleted the counter, this
        // write must not bring the counter back without a time to live. And a sign-in may take back a count that the
        // sign-in has not made. If this count were taken from a counter at zero, the counter would be negative, and
        // could not be read.
        self.update(item, "SET #n = #n - :one")
            .when("#n > :zero")
            .run()
            .await?;
        Ok(())
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        self.spend_budgets(spending).await
    }

    async fn spent(&self, spending: &Spending) -> Result<Vec<u64>, Unavailable> {
        self.read_budgets(spending).await
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        self.refund_budgets(spending).await
    }

    async fn reserve_key(
        &self,
        item: &ItemName,
        holder: Holder,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        self.reserve_free_key(item, holder, fingerprint, now).await
    }

    async fn release_key(&self, item: &ItemName, holder: Holder) -> Result<(), Unavailable> {
        self.release_held_key(item, holder).await
    }

    async fn finish_key(
        &self,
        item: &ItemName,
        holder: Holder,
        response: Option<&str>,
    ) -> Result<(), Unavailable> {
        self.finish_held_key(item, holder, response).await
    }

    async fn counted(&self, item: &ItemName) -> Result<u64, Unavailable> {
        self.table.read(item).await?.unwrap_or_default().count()
    }

    async fn number(&self, item: &ItemName) -> Result<Number, Unavailable> {
        let item = self.table.read(item).await?;
        item.unwrap_or_default().known_number()
    }

    async fn reserve_send(
        &self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        self.reserve_in_windows(item, windows, now).await
    }

    async fn charge_number(
        &self,
        item: &ItemName,
        lock: u32,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        // A number without failures has no attribute `f`. Its count is zero, which is below every lock except a lock of
        // zero.
        let is_open = if lock == 0 {
            "#f < :zero"
        } else {
            "(attribute_not_exists(#f) OR #f < :locked)"
        };
        let written = self
            .update(
                item,
                "SET #f = if_not_exists(#f, :zero) + :one, #lf = :now, #ttl = :ttl",
            )
            .when(is_open)
            .number(":ttl", now.plus(FAILURES_KEPT).seconds())
            .number(":now", now.0)
            .number(":locked", lock.into())
            .repeatable_unless_recent("lf", now)
            .returning_item()
            .run()
            .await?;
        match written {
            Written::Done(item) => {
                let failures = required("f", item.number("f")?)?;
                Ok(NumberCharge::Charged(Charge {
                    failures,
                    epoch: item.epoch()?,
                }))
            }
            Written::Refused(item) => {
                item.unwrap_or_default().failures()?;
                Ok(NumberCharge::Locked)
            }
        }
    }

    async fn clear_failures(
        &self,
        item: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        // Within an epoch, the count of failures only grows. So if the epoch is that of the charge, the count contains
        // the charge.
        let same_epoch = if charge.epoch == 0 {
            "attribute_not_exists(#ep)"
        } else {
            "#ep = :epoch"
        };
        let clear = |set: &str, condition: String, kept: Duration| {
            self.update(item, format!("SET {set}, #ttl = :ttl, #ep = :next"))
                .when(condition)
                .number(":charged", charge.failures.into())
                .number(":epoch", charge.epoch)
                .number(":next", charge.epoch + 1)
                .number(":ttl", now.plus(kept).seconds())
                .repeatable()
        };
        let all = clear(
            "#f = :zero",
            format!("#f = :charged AND {same_epoch}"),
            NUMBER_KEPT,
        );
        let Written::Refused(Some(item)) = all.run().await? else {
            return Ok(());
        };
        if item.epoch()? == charge.epoch && item.failures()? > charge.failures {
            let part = "#f = #f - :charged";
            clear(part, same_epoch.to_owned(), FAILURES_KEPT)
                .run()
                .await?;
        }
        Ok(())
    }

    async fn unlock(&self, item: &ItemName, now: Millis) -> Result<(), Unavailable> {
        self.update(
            item,
            "SET #f = :zero, #ep = if_not_exists(#ep, :zero) + :one, #ttl = :ttl",
        )
        .number(":ttl", now.plus(NUMBER_KEPT).seconds())
        .run()
        .await?;
        Ok(())
    }

    async fn remember_device(&self, item: &ItemName, expires: Millis) -> Result<(), Unavailable> {
        self.write_device(item, expires).await
    }

    async fn knows_device(&self, item: &ItemName, now: Millis) -> Result<bool, Unavailable> {
        self.has_device(item, now).await
    }

    async fn verification(&self, item: &ItemName) -> Result<Option<Verification>, Unavailable> {
        self.table
            .read(item)
            .await?
            .map(|item| item.verification())
            .transpose()
    }

    async fn look(&self, wanted: &Wanted<'_>) -> Result<Looked, Unavailable> {
        self.look_at_items(wanted).await
    }

    async fn open(
        &self,
        item: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let (own, not_own) = if new.owner.is_some() {
            (", #own = :own", "")
        } else {
            ("", ", #own")
        };
        // Single codes are deleted, and the set is not overwritten: another request may add a code at the same time.
        let forget = if new.forget.is_empty() {
            ""
        } else {
            " DELETE #used :forget"
        };
        let update = self.update(
            item,
            format!(
                "SET #gen = :next, #st = :state, #by = :by, #exp = :exp, #first = :first, #left = :left, #sends = :one, \
                 #prov = :prov, #pu = :pu, #ch = :ch, #len = :len, #lang = :lang, #brand = :brand, #ttl = :ttl{own} \
                 REMOVE #mid, #lr, #lo, #la, #lq, #vk, #vc, #va, #claimed, #ca{not_own}{forget}"
            ),
        );
        let update = match seen {
            None => update.when("attribute_not_exists(#gen)").number(":next", 1),
            Some(seen) => update
                .when("#gen = :seen")
                .number(":seen", seen)
                .number(":next", seen.saturating_add(1)),
        };
        let written = update
            .text(":own", new.owner.map(Digest::as_str).unwrap_or_default())
            .text(":state", word_of(new.state))
            .number(":by", new.holder.0)
            .number(":exp", new.expires.0)
            .number(":first", new.first.0)
            .number(":left", new.left.into())
            .text(":prov", &text_of_issuers(new.issuers))
            .number(":pu", new.plain_until.0)
            .text(":ch", new.channel)
            .number(":len", new.code_length.into())
            .text(":lang", new.language)
            .text(":brand", new.brand_name)
            .texts(":forget", new.forget.iter().map(text_of_used))
            .number(":ttl", new.expires.plus(VERIFICATION_KEPT).seconds())
            .repeatable()
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn reopen(
        &self,
        item: &ItemName,
        seen: Seen,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        let written = self
            .update(
                item,
                "SET #gen = :next, #st = :reserved, #by = :by, #exp = :exp, #sends = #sends + :one, \
                 #prov = :prov, #pu = :pu, #ch = :ch, #lang = :lang, #ttl = :ttl REMOVE #lr, #lo, #lq",
            )
            .when(format!("#gen = :seen AND #st = :state AND {OPEN} AND #left > :zero"))
            .number(":seen", seen.generation)
            .text(":state", word_of(seen.state))
            .number(":next", seen.generation.saturating_add(1))
            .number(":by", resend.holder.0)
            .number(":exp", resend.expires.0)
            .text(":prov", &text_of_issuers(resend.issuers))
            .number(":pu", resend.plain_until.0)
            .text(":ch", resend.channel)
            .text(":lang", resend.language)
            .number(":ttl", resend.expires.plus(VERIFICATION_KEPT).seconds())
            .repeatable()
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn settle(
        &self,
        item: &ItemName,
        generation: u64,
        holder: Holder,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        self.settlement(item, outcome)
            .when("#gen = :gen AND #by = :by AND #st = :reserved")
            .number(":gen", generation)
            .number(":by", holder.0)
            .repeatable()
            .run()
            .await?;
        Ok(())
    }

    async fn spend_attempt(
        &self,
        item: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let retry = "#lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking)";
        // DynamoDB rejects redundant parentheses.
        let (own, retry, nonce) = match question {
            Some(_) => (
                " AND (#left > :one OR #own = :session)",
                format!("(#lq <> :nonce AND ({retry}))"),
                ", #lq = :nonce",
            ),
            None => ("", retry.to_owned(), " REMOVE #lq"),
        };
        // `<>` also holds if the attribute is missing.
        let written = self
            .update(
                item,
                format!("SET #left = #left - :one, #lr = :guess, #lo = :asking, #la = :now{nonce}"),
            )
            .when(format!(
                "{OPEN} AND #exp > :now AND #left > :zero{own} AND (#lr <> :guess OR {retry})"
            ))
            .text(":guess", guess.as_str())
            .text(
                ":session",
                question
                    .map(|question| question.session.as_str())
                    .unwrap_or_default(),
            )
            .text(
                ":nonce",
                question
                    .map(|question| question.nonce.as_str())
                    .unwrap_or_default(),
            )
            .number(":now", now.0)
            .number(":now_less_asking", now.minus(GUESS_PENDING).0)
            .repeatable_unless_recent("la", now)
            .returning_item()
            .run()
            .await?;
        match written {
            Written::Done(item) => Ok(Attempt::Paid(item.verification()?)),
            Written::Refused(item) => Ok(Attempt::Refused(
                item.map(|item| item.verification()).transpose()?,
            )),
        }
    }

    async fn note_answer(
        &self,
        item: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        self.update(item, "SET #lo = :said")
            .when("#gen = :gen AND #lr = :guess")
            .text(":said", word_of_outcome(outcome))
            .number(":gen", generation)
            .text(":guess", guess.as_str())
            .repeatable()
            .run()
            .await?;
        Ok(())
    }

    async fn consume(
        &self,
        item: &ItemName,
        generation: u64,
        success: &Success,
        used_until: Option<Millis>,
    ) -> Result<Transition, Unavailable> {
        let used = used_until.map(|until| UsedCode {
            code: success.code.clone(),
            until,
        });
        let add = if used.is_some() {
            " ADD #used :used"
        } else {
            ""
        };
        self.update(
            item,
            format!("SET #st = :verified, #vk = :winner, #vc = :code, #va = :at{add}"),
        )
        .when(format!("#gen = :gen AND {OPEN}"))
        .number(":gen", generation)
        .text(":winner", success.winner.as_str())
        .text(":code", success.code.as_str())
        .number(":at", success.at.0)
        .texts(":used", used.iter().map(text_of_used))
        .repeatable()
        .apply()
        .await
    }

    async fn cancel(
        &self,
        item: &ItemName,
        generation: u64,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.update(item, "SET #st = :canceled")
            .when(format!(
                "#gen = :gen AND {OPEN} AND #exp > :now AND #left > :zero"
            ))
            .number(":gen", generation)
            .number(":now", now.0)
            .repeatable()
            .apply()
            .await
    }

    async fn redeem(
        &self,
        item: &ItemName,
        generation: u64,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.update(item, "SET #claimed = :claimant, #ca = :now")
            .when(
                "#gen = :gen AND #st = :verified AND attribute_not_exists(#own) AND \
                 attribute_not_exists(#claimed) AND #va > :now_less_claimable",
            )
            .number(":gen", generation)
            .text(":claimant", redeemer.as_str())
            .number(":now", now.0)
            .number(":now_less_claimable", now.minus(REDEEMABLE).0)
            .repeatable()
            .apply()
            .await
    }
}
