//! The ledger in one DynamoDB table.
//!
//! Every step is one request to one item, and what must not happen stands in its condition: DynamoDB decides on the
//! condition and writes in one go, whoever else is at the item. Reads are consistent. There are no transactions, which
//! cost double and refuse each other, no index and no scan.
//!
//! Names and numbers of the items are one to five letters, as DynamoDB bills them with every write.
//!
//! An item that cannot be understood is [`Unavailable`]: it is never taken for a missing one, which would give fresh
//! guesses.

use super::{Account, CONNECT, SharedHttpClient, cause};
use crate::ledger::{
    Again, Attempt, Charge, GUESS_PENDING, Guess, GuessOutcome, HeldKey, ItemName, KEY_KEPT,
    KeyOutcome, KeyReservation, LOCKED, Ledger, Mac, Millis, NUMBER_KEPT, Number, NumberCharge,
    Opening, Question, REDEEMABLE, REMEMBERED_SENDS, Reservation, Settled, State, Success,
    Switches, Transition, USED, Unavailable, UsedCode, VERIFICATION_KEPT, Verification,
};
use crate::policy::{GUESS_STOPS, SendLimits, Spending};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;
use std::str::FromStr;
use std::time::Duration;

/// How long one step may take. DynamoDB answers within a few milliseconds or not at all.
const STEP: Duration = Duration::from_secs(1);

/// A verification whose state allows guesses. As [`State::is_open`].
const OPEN: &str = "#st IN (:reserved, :sent, :unclear)";

/// The ledger in one table, whose partition key is the string `pk` and whose time to live is `ttl`.
pub struct DynamoDb {
    client: Client,
    table: String,
}

impl DynamoDb {
    /// Uses `table` of `account`, through `http_client`; `endpoint` takes the place of AWS's.
    #[must_use]
    pub fn new(
        account: &Account,
        table: String,
        endpoint: Option<String>,
        http_client: SharedHttpClient,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_timeout(STEP)
            .build();
        Self {
            client: Client::new(&account.sdk_config(endpoint, http_client, timeouts)),
            table,
        }
    }

    async fn read(&self, key: &ItemName) -> Result<Option<Item>, Unavailable> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(key.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Unavailable(format!("GetItem: {}", cause(&error))))?;
        Ok(output.item.map(Item))
    }

    fn update<'a>(&'a self, key: &'a ItemName, update: impl Into<String>) -> Update<'a> {
        Update {
            ledger: self,
            key,
            expression: update.into(),
            condition: None,
            values: BTreeMap::new(),
        }
    }

    /// The write that takes a place in the windows. Which of the last sends must be how old is `limits`' to say; all
    /// that can be remembered are remembered, whatever it says, so that a setting that changes meets a full history.
    fn reservation<'a>(
        &'a self,
        key: &'a ItemName,
        limits: &SendLimits,
        now: Millis,
        more: &str,
        guesses: &str,
    ) -> Update<'a> {
        let older = (1..REMEMBERED_SENDS)
            .rev()
            .map(|k| format!("#t{} = if_not_exists(#t{k}, :zero)", k + 1));
        let slots: Vec<String> = older.collect();
        let windows = limits.conditions().map(|(count, window)| {
            format!(
                "(attribute_not_exists(#t{count}) OR #t{count} <= :now_less_{}s)",
                window.as_secs()
            )
        });
        let conditions: Vec<String> = windows.chain([guesses.to_owned()]).collect();
        let mut update = self
            .update(key, format!("SET {}, #t1 = :now{more}", slots.join(", ")))
            .when(conditions.join(" AND "))
            .number(":now", now.0);
        for (_, window) in limits.conditions() {
            update = update.number(
                format!(":now_less_{}s", window.as_secs()),
                now.minus(window).0,
            );
        }
        update
    }
}

#[async_trait]
impl Ledger for DynamoDb {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        let Some(item) = self.read(&ItemName::of_switches()).await? else {
            return Ok(Switches::default());
        };
        Ok(Switches {
            paused: item.flag("paused")?.unwrap_or_default(),
            blocked: item.set("block")?,
            allowed: item.set("allow")?,
        })
    }

    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let Some(below) = cap.checked_sub(1) else {
            return Ok(false);
        };
        let written = self
            .update(key, "ADD #n :one SET #ttl = :ttl")
            .when("attribute_not_exists(#n) OR #n <= :below_cap")
            .number(":below_cap", below)
            .number(":ttl", expires.seconds())
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable> {
        // A counter whose time was over may be gone: it must not come back as −1, without an end.
        self.update(key, "SET #n = #n - :one")
            .when("attribute_exists(#n)")
            .run()
            .await?;
        Ok(())
    }

    async fn spend(&self, spending: &Spending) -> Result<Option<usize>, Unavailable> {
        let lines = &spending.lines;
        if lines.is_empty() {
            return Ok(None);
        }
        // Conditions do no arithmetic, so it is the room below the cap that each counter is held against.
        let rooms: Vec<Option<u64>> = lines
            .iter()
            .map(|line| line.cap.checked_sub(line.amount))
            .collect();
        if let Some(index) = rooms.iter().position(Option::is_none) {
            return Ok(Some(index));
        }
        let adds: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| format!("#{} :amount{i}", line.counter))
            .collect();
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
                &spending.key,
                format!("ADD {} SET #ttl = :ttl", adds.join(", ")),
            )
            .when(caps.join(" AND "))
            .number(":ttl", spending.expires.seconds());
        for (i, (line, room)) in lines.iter().zip(&rooms).enumerate() {
            update = update
                .number(format!(":amount{i}"), line.amount)
                .number(format!(":room{i}"), room.unwrap_or(0));
        }
        let Written::Refused(item) = update.run().await? else {
            return Ok(None);
        };
        let item =
            item.ok_or_else(|| Unavailable("a budget without an item was refused".to_owned()))?;
        for (index, (line, room)) in lines.iter().zip(rooms).enumerate() {
            if item.number::<u64>(&line.counter)?.unwrap_or(0) > room.unwrap_or(0) {
                return Ok(Some(index));
            }
        }
        Err(Unavailable("a budget that has room was refused".to_owned()))
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        if spending.lines.is_empty() {
            return Ok(());
        }
        let lines = spending.lines.iter().enumerate();
        let back: Vec<String> = lines
            .map(|(i, line)| format!("#{0} = #{0} - :amount{i}", line.counter))
            .collect();
        let mut update = self
            .update(&spending.key, format!("SET {}", back.join(", ")))
            .when("attribute_exists(#pk)");
        for (i, line) in spending.lines.iter().enumerate() {
            update = update.number(format!(":amount{i}"), line.amount);
        }
        update.run().await?;
        Ok(())
    }

    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Mac,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        let written = self
            .update(
                key,
                "SET #st = :claimed, #at = :now, #fp = :fp, #ttl = :ttl REMOVE #ans",
            )
            .when("attribute_not_exists(#pk) OR #st = :released OR #at <= :now_less_kept")
            .text(":fp", fingerprint.as_str())
            .number(":now", now.0)
            .number(":now_less_kept", now.minus(KEY_KEPT).0)
            .number(":ttl", now.plus(KEY_KEPT).seconds())
            .run()
            .await?;
        match written {
            Written::Done(_) => Ok(KeyReservation::Reserved),
            Written::Refused(Some(item)) => Ok(KeyReservation::Held(item.held_key()?)),
            Written::Refused(None) => Err(Unavailable(
                "an idempotency key that nobody holds was refused".to_owned(),
            )),
        }
    }

    // Neither of the two below has a condition: while a key is held nobody else can claim it, and nothing that runs
    // for less than a day can outlive its claim.

    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable> {
        self.update(key, "SET #st = :released").run().await?;
        Ok(())
    }

    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable> {
        let update = match answer {
            Some(answer) => self
                .update(key, "SET #st = :done, #ans = :answer")
                .text(":answer", answer),
            None => self.update(key, "SET #st = :unclear"),
        };
        update.run().await?;
        Ok(())
    }

    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable> {
        self.read(key)
            .await?
            .map_or_else(|| Ok(Number::default()), |item| item.the_number())
    }

    async fn reserve_send(
        &self,
        key: &ItemName,
        limits: &SendLimits,
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        // What holds failures must not expire, or waiting would clear them: so there are two writes, and each makes
        // sure that it meets the kind of item that it is for.
        let without_failures = self
            .reservation(
                key,
                limits,
                now,
                ", #ttl = :ttl",
                "(attribute_not_exists(#f) OR #f = :zero)",
            )
            .number(":ttl", now.plus(NUMBER_KEPT).seconds());
        match without_failures.run().await?.item() {
            (true, item) => return Ok(Reservation::Reserved(item.the_number()?)),
            (false, item) if item.failures()? == 0 => {
                return Ok(Reservation::Refused(item.the_number()?));
            }
            (false, _) => {}
        }
        let mut with_failures = self.reservation(
            key,
            limits,
            now,
            "",
            &format!("({})", guesses_below_a_stop()),
        );
        for (failures, wait) in guess_stops() {
            with_failures = with_failures.number(format!(":f{failures}"), failures.into());
            if let Some(wait) = wait {
                with_failures = with_failures
                    .number(format!(":now_less_{}s", wait.as_secs()), now.minus(wait).0);
            }
        }
        match with_failures.run().await?.item() {
            (true, item) => Ok(Reservation::Reserved(item.the_number()?)),
            (false, item) => Ok(Reservation::Refused(item.the_number()?)),
        }
    }

    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        let ttl = if forget.is_some() {
            ", #ttl = :ttl"
        } else {
            " REMOVE #ttl"
        };
        let written = self
            .update(
                key,
                format!("SET #f = if_not_exists(#f, :zero) + :one, #lf = :now{ttl}"),
            )
            .when("attribute_not_exists(#f) OR #f < :locked")
            .number(":ttl", forget.unwrap_or_default().seconds())
            .number(":now", now.0)
            .number(":locked", LOCKED.into())
            .run()
            .await?;
        match written {
            Written::Done(item) => {
                let failures = needed("f", item.number("f")?)?;
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
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        // The epoch is how a charge knows whether it is still counted: within one, failures only grow.
        let same_epoch = if charge.epoch == 0 {
            "attribute_not_exists(#ep)"
        } else {
            "#ep = :epoch"
        };
        let clear = |set: &str, condition: String| {
            self.update(key, format!("SET {set}, #ep = :next"))
                .when(condition)
                .number(":charged", charge.failures.into())
                .number(":epoch", charge.epoch)
                .number(":next", charge.epoch + 1)
                .number(":ttl", now.plus(NUMBER_KEPT).seconds())
        };
        let all = clear(
            "#f = :zero, #ttl = :ttl",
            format!("#f = :charged AND {same_epoch}"),
        );
        let Written::Refused(Some(item)) = all.run().await? else {
            return Ok(());
        };
        if item.epoch()? == charge.epoch && item.failures()? > charge.failures {
            clear("#f = #f - :charged", same_epoch.to_owned())
                .run()
                .await?;
        }
        Ok(())
    }

    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        self.update(
            key,
            "SET #f = :zero, #ep = if_not_exists(#ep, :zero) + :one, #ttl = :ttl",
        )
        .number(":ttl", now.plus(NUMBER_KEPT).seconds())
        .run()
        .await?;
        Ok(())
    }

    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable> {
        self.read(key)
            .await?
            .map(|item| item.verification())
            .transpose()
    }

    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let (own, not_own) = if new.owner.is_some() {
            (", #own = :own", "")
        } else {
            ("", ", #own")
        };
        // Taken out one by one, and not written over: another may come in at the same time.
        let forget = if new.forget.is_empty() {
            ""
        } else {
            " DELETE #used :forget"
        };
        let update = self.update(
            key,
            format!(
                "SET #gen = :next, #st = :state, #exp = :exp, #first = :first, #left = :left, #sends = :one, \
                 #prov = :prov, #ch = :ch, #len = :len, #lang = :lang, #brand = :brand, #ttl = :ttl{own} \
                 REMOVE #mid, #lr, #lo, #la, #lq, #vk, #vc, #va, #claimed{not_own}{forget}"
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
            .text(":own", new.owner.map(Mac::as_str).unwrap_or_default())
            .text(":state", word_of(new.state))
            .number(":exp", new.expires.0)
            .number(":first", new.first.0)
            .number(":left", new.left.into())
            .text(":prov", new.provider)
            .text(":ch", new.channel)
            .number(":len", new.code_length.into())
            .text(":lang", new.language)
            .text(":brand", new.brand_name)
            .texts(":forget", new.forget.iter().map(text_of_used))
            .number(":ttl", new.expires.plus(VERIFICATION_KEPT).seconds())
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        again: &Again<'_>,
    ) -> Result<bool, Unavailable> {
        let written = self
            .update(
                key,
                "SET #gen = :next, #st = :reserved, #exp = :exp, #sends = #sends + :one, \
                 #prov = :prov, #ch = :ch, #lang = :lang, #ttl = :ttl REMOVE #lr, #lo, #la, #lq",
            )
            .when(format!("#gen = :seen AND {OPEN} AND #left > :zero"))
            .number(":seen", seen)
            .number(":next", seen.saturating_add(1))
            .number(":exp", again.expires.0)
            .text(":prov", again.provider)
            .text(":ch", again.channel)
            .text(":lang", again.language)
            .number(":ttl", again.expires.plus(VERIFICATION_KEPT).seconds())
            .run()
            .await?;
        Ok(written.is_done())
    }

    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        let update = match *outcome {
            Settled::Sent {
                message_id: Some(id),
            } => self
                .update(key, "SET #st = :sent, #mid = :mid")
                .text(":mid", id),
            Settled::Sent { message_id: None } => self.update(key, "SET #st = :sent REMOVE #mid"),
            Settled::Unclear => self.update(key, "SET #st = :unclear"),
            Settled::Failed => self.update(key, "SET #st = :failed"),
            Settled::Back { state, expires } => self
                .update(key, "SET #st = :state, #exp = :exp, #ttl = :ttl")
                .text(":state", word_of(state))
                .number(":exp", expires.0)
                .number(":ttl", expires.plus(VERIFICATION_KEPT).seconds()),
        };
        update
            .when("#gen = :gen AND #st = :reserved")
            .number(":gen", generation)
            .run()
            .await?;
        Ok(())
    }

    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &Mac,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let over = "#lo = :unclear OR (#lo = :asking AND #la <= :now_less_asking)";
        // No parentheses that are not needed: DynamoDB refuses them.
        let (own, over, nonce) = match question {
            Some(_) => (
                " AND (#left > :one OR #own = :session)",
                format!("(#lq <> :nonce AND ({over}))"),
                ", #lq = :nonce",
            ),
            None => ("", over.to_owned(), " REMOVE #lq"),
        };
        // `<>` also holds where there is none.
        let written = self
            .update(
                key,
                format!("SET #left = #left - :one, #lr = :guess, #lo = :asking, #la = :now{nonce}"),
            )
            .when(format!(
                "{OPEN} AND #exp > :now AND #left > :zero{own} AND (#lr <> :guess OR {over})"
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
        key: &ItemName,
        generation: u64,
        guess: &Mac,
        said: GuessOutcome,
    ) -> Result<(), Unavailable> {
        self.update(key, "SET #lo = :said")
            .when("#gen = :gen AND #lr = :guess")
            .text(
                ":said",
                match said {
                    GuessOutcome::Asking => "asking",
                    GuessOutcome::Invalid => "invalid",
                    GuessOutcome::Unclear => "unclear",
                },
            )
            .number(":gen", generation)
            .text(":guess", guess.as_str())
            .run()
            .await?;
        Ok(())
    }

    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        let used = UsedCode {
            code: success.code.clone(),
            until: success.at.plus(USED),
        };
        self.update(
            key,
            "SET #st = :verified, #vk = :winner, #vc = :code, #va = :at ADD #used :used",
        )
        .when(format!("#gen = :gen AND {OPEN}"))
        .number(":gen", generation)
        .text(":winner", success.winner.as_str())
        .text(":code", success.code.as_str())
        .number(":at", success.at.0)
        .texts(":used", iter::once(text_of_used(&used)))
        .step()
        .await
    }

    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        self.update(key, "SET #st = :canceled")
            .when(format!("{OPEN} AND #exp > :now AND #left > :zero"))
            .number(":now", now.0)
            .step()
            .await
    }

    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Mac,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.update(key, "SET #claimed = :claimant")
            .when(
                "#st = :verified AND attribute_not_exists(#own) AND attribute_not_exists(#claimed) AND \
                 #va > :now_less_claimable",
            )
            .text(":claimant", redeemer.as_str())
            .number(":now_less_claimable", now.minus(REDEEMABLE).0)
            .step()
            .await
    }
}

/// Up to which failures a code is sent after which wait since the last: fewer than 10 at once, fewer than 30 after …
fn guess_stops() -> impl Iterator<Item = (u32, Option<Duration>)> {
    let below = GUESS_STOPS.iter().map(|stop| stop.failures).chain([LOCKED]);
    below.zip(iter::once(None).chain(GUESS_STOPS.iter().map(|stop| Some(stop.wait))))
}

/// `#f < :f10 OR (#f < :f30 AND #lf <= :now_less_900s) OR …`
fn guesses_below_a_stop() -> String {
    let alternatives: Vec<String> = guess_stops()
        .map(|(failures, wait)| match wait {
            None => format!("#f < :f{failures}"),
            Some(wait) => format!(
                "(#f < :f{failures} AND #lf <= :now_less_{}s)",
                wait.as_secs()
            ),
        })
        .collect();
    alternatives.join(" OR ")
}

/// One `UpdateItem` in the making.
///
/// In the expressions `#name` stands for the attribute `name`, since about every tenth word is reserved, and `:name`
/// for a value that is given or that is a [`constant`]. DynamoDB refuses names and values that no expression uses, so
/// only those go out that one does.
struct Update<'a> {
    ledger: &'a DynamoDb,
    key: &'a ItemName,
    expression: String,
    condition: Option<String>,
    values: BTreeMap<String, AttributeValue>,
}

/// What an update came to.
enum Written {
    /// It happened; the item as it is now.
    Done(Item),
    /// Its condition did not hold; the item as it is.
    Refused(Option<Item>),
}

impl Update<'_> {
    fn when(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    fn text(mut self, name: impl Into<String>, value: &str) -> Self {
        self.values.insert(name.into(), text(value));
        self
    }

    fn number(mut self, name: impl Into<String>, value: u64) -> Self {
        self.values.insert(name.into(), number(value));
        self
    }

    fn texts(mut self, name: impl Into<String>, values: impl Iterator<Item = String>) -> Self {
        self.values
            .insert(name.into(), AttributeValue::Ss(values.collect()));
        self
    }

    async fn run(self) -> Result<Written, Unavailable> {
        let expressions = format!(
            "{} {}",
            self.expression,
            self.condition.as_deref().unwrap_or_default()
        );
        let names = words(&expressions, '#')
            .map(|name| (name.to_owned(), name.trim_start_matches('#').to_owned()));
        let mut values = HashMap::new();
        for name in words(&expressions, ':') {
            let value = self.values.get(name).cloned().or_else(|| constant(name));
            values.insert(
                name.to_owned(),
                value.ok_or_else(|| Unavailable(format!("{name} has no value")))?,
            );
        }
        let on_failure = self
            .condition
            .as_ref()
            .map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
        let outcome = self
            .ledger
            .client
            .update_item()
            .table_name(&self.ledger.table)
            .key("pk", text(self.key.as_str()))
            .set_expression_attribute_names(Some(names.collect()))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .update_expression(self.expression)
            .set_condition_expression(self.condition)
            .return_values(ReturnValue::AllNew)
            .set_return_values_on_condition_check_failure(on_failure)
            .send()
            .await;
        match outcome {
            // Without the item it is no answer of DynamoDB's.
            Ok(output) => match output.attributes {
                Some(item) => Ok(Written::Done(Item(item))),
                None => Err(Unavailable(
                    "UpdateItem: an answer without the item".to_owned(),
                )),
            },
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    Ok(Written::Refused(
                        refusal
                            .item()
                            .filter(|item| !item.is_empty())
                            .cloned()
                            .map(Item),
                    ))
                }
                _ => Err(Unavailable(format!("UpdateItem: {}", cause(&error)))),
            },
        }
    }

    /// [`run`](Self::run), of a verification.
    async fn step(self) -> Result<Transition, Unavailable> {
        match self.run().await? {
            Written::Done(_) => Ok(Transition::Applied),
            Written::Refused(item) => Ok(Transition::Refused(
                item.map(|item| item.verification()).transpose()?,
            )),
        }
    }
}

impl Written {
    fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Whether it happened, and the item; a missing one is empty.
    fn item(self) -> (bool, Item) {
        match self {
            Self::Done(item) => (true, item),
            Self::Refused(item) => (false, item.unwrap_or_default()),
        }
    }
}

/// The words of an expression that begin with `sigil`.
fn words(expression: &str, sigil: char) -> impl Iterator<Item = &str> {
    let between = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | ':'));
    expression
        .split(between)
        .filter(move |word| word.starts_with(sigil))
}

/// What a value means in every expression.
fn constant(name: &str) -> Option<AttributeValue> {
    match name {
        ":zero" => Some(number(0)),
        ":one" => Some(number(1)),
        ":reserved" | ":sent" | ":unclear" | ":failed" | ":verified" | ":canceled" | ":asking"
        | ":claimed" | ":released" | ":done" => Some(text(name.trim_start_matches(':'))),
        _ => None,
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A state, as the items have it.
fn word_of(state: State) -> &'static str {
    match state {
        State::Reserved => "reserved",
        State::Sent => "sent",
        State::Unclear => "unclear",
        State::Failed => "failed",
        State::Verified => "verified",
        State::Canceled => "canceled",
    }
}

/// A used code, as the items have it: until when it is refused, and which it is.
fn text_of_used(used: &UsedCode) -> String {
    format!("{} {}", used.until.0, used.code.as_str())
}

fn used_of_text(text: &str) -> Option<UsedCode> {
    let (until, code) = text.split_once(' ')?;
    Some(UsedCode {
        code: Mac::stored(code),
        until: Millis(until.parse().ok()?),
    })
}

const STATES: [State; 6] = [
    State::Reserved,
    State::Sent,
    State::Unclear,
    State::Failed,
    State::Verified,
    State::Canceled,
];

/// An item as it was read.
#[derive(Default)]
struct Item(HashMap<String, AttributeValue>);

impl Item {
    fn the_number(&self) -> Result<Number, Unavailable> {
        let mut sends = Vec::new();
        for k in 1..=REMEMBERED_SENDS {
            match self.number(&format!("t{k}"))? {
                // Zero fills the places that no send has had yet.
                None | Some(0) => break,
                Some(at) => sends.push(Millis(at)),
            }
        }
        let failures = self.failures()?;
        let last = self.time("lf")?.filter(|_| failures > 0);
        Ok(Number {
            sends,
            failures,
            last_failure: last.unwrap_or_default(),
        })
    }

    fn failures(&self) -> Result<u32, Unavailable> {
        Ok(self.number("f")?.unwrap_or(0))
    }

    fn epoch(&self) -> Result<u64, Unavailable> {
        Ok(self.number("ep")?.unwrap_or(0))
    }

    fn held_key(&self) -> Result<HeldKey, Unavailable> {
        let outcome = match needed("st", self.text("st")?)? {
            "claimed" => KeyOutcome::Pending,
            "unclear" => KeyOutcome::Unclear,
            "done" => KeyOutcome::Answered(needed("ans", self.text("ans")?)?.to_owned()),
            _ => return Err(not_understood("st")),
        };
        Ok(HeldKey {
            fingerprint: needed("fp", self.mac("fp")?)?,
            at: needed("at", self.time("at")?)?,
            outcome,
        })
    }

    fn verification(&self) -> Result<Verification, Unavailable> {
        let owned = |name| Ok(needed(name, self.text(name)?)?.to_owned());
        let word = needed("st", self.text("st")?)?;
        let state = STATES
            .into_iter()
            .find(|state| word_of(*state) == word)
            .ok_or_else(|| not_understood("st"))?;
        let last_guess = match self.mac("lr")? {
            None => None,
            Some(mac) => Some(Guess {
                mac,
                said: match needed("lo", self.text("lo")?)? {
                    "asking" => GuessOutcome::Asking,
                    "invalid" => GuessOutcome::Invalid,
                    "unclear" => GuessOutcome::Unclear,
                    _ => return Err(not_understood("lo")),
                },
                at: needed("la", self.time("la")?)?,
                question: self.mac("lq")?,
            }),
        };
        let success = match self.mac("vk")? {
            None => None,
            Some(winner) => Some(Success {
                winner,
                code: needed("vc", self.mac("vc")?)?,
                at: needed("va", self.time("va")?)?,
            }),
        };
        let used = self
            .set("used")?
            .iter()
            .map(|text| used_of_text(text))
            .collect::<Option<_>>();
        Ok(Verification {
            generation: needed("gen", self.number("gen")?)?,
            state,
            expires: needed("exp", self.time("exp")?)?,
            first: needed("first", self.time("first")?)?,
            left: needed("left", self.number("left")?)?,
            sends: needed("sends", self.number("sends")?)?,
            provider: owned("prov")?,
            message_id: self.text("mid")?.map(str::to_owned),
            channel: owned("ch")?,
            code_length: needed("len", self.number("len")?)?,
            language: owned("lang")?,
            brand_name: owned("brand")?,
            last_guess,
            success,
            redeemed_by: self.mac("claimed")?,
            used: needed("used", used)?,
            owner: self.mac("own")?,
        })
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Unavailable> {
        self.get(name, |value| value.as_s().ok().map(String::as_str))
    }

    fn mac(&self, name: &str) -> Result<Option<Mac>, Unavailable> {
        Ok(self.text(name)?.map(Mac::stored))
    }

    fn time(&self, name: &str) -> Result<Option<Millis>, Unavailable> {
        Ok(self.number(name)?.map(Millis))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Unavailable> {
        self.get(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Unavailable> {
        self.get(name, |value| value.as_bool().ok().copied())
    }

    fn set(&self, name: &str) -> Result<BTreeSet<String>, Unavailable> {
        let set = self.get(name, |value| {
            Some(value.as_ss().ok()?.iter().cloned().collect())
        })?;
        Ok(set.unwrap_or_default())
    }

    fn get<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<Option<T>, Unavailable> {
        self.0
            .get(name)
            .map(|value| read(value).ok_or_else(|| not_understood(name)))
            .transpose()
    }
}

fn needed<T>(name: &str, value: Option<T>) -> Result<T, Unavailable> {
    value.ok_or_else(|| not_understood(name))
}

fn not_understood(name: &str) -> Unavailable {
    Unavailable(format!("an item's `{name}` is missing or not understood"))
}
