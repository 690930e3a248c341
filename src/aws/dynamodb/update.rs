use super::item::Item;
use super::table::{Failure, FailureKind, Repeats, Table, answer_to, within_step};
use crate::ledger::{ItemName, Transition, Unavailable};
use crate::time::Millis;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Refuses an update if it was already the last one of the item. `<>` also holds if the attribute is missing.
const NOT_DONE: &str = "#w <> :mark";

/// The age up to which another update counts as recent. This age has to be several seconds, for two reasons: an update
/// carries the time at which its invocation began, but may run several seconds later, and the clocks of two machines
/// may differ a little.
const RECENT: Duration = Duration::from_secs(10);

/// Builds one `UpdateItem` request.
///
/// In an expression, `#name` stands for the attribute `name`. The `#` is needed because DynamoDB reserves many words,
/// and an attribute may have such a word as its name. `:name` stands for a value that was set here, or for a
/// [`constant`]. DynamoDB rejects names and values that no expression uses, so the request contains only the names and
/// values in use.
pub(super) struct Update<'a> {
    table: &'a Table,
    item: &'a ItemName,
    expression: String,
    condition: Option<String>,
    values: BTreeMap<String, AttributeValue>,
    mark: Result<String, Unavailable>,
    repeat: Repeat,
    returns: ReturnValue,
}

/// Whether an update may run a second time. Every update writes a mark of its own into the item. If an update's mark is
/// missing, the update may still have been carried out, because a later update replaces the mark.
enum Repeat {
    /// A second run would subtract twice.
    Never,
    Always,
    /// Updates of this kind write their time into this attribute. The update may run again only if the attribute is
    /// missing, or if its time is more than `RECENT` before the time of this update. A more recent time in the
    /// attribute shows that an update of the same kind was made a moment ago, perhaps by the first run.
    UnlessRecent(&'static str, Millis),
}

impl Repeat {
    fn is_safe(&self, seen: &Item) -> Result<bool, Unavailable> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::UnlessRecent(attribute, now) => {
                let last = seen.time(attribute)?;
                Ok(last.is_none_or(|last| last < now.minus(RECENT)))
            }
        }
    }
}

/// The outcome of an update.
pub(super) enum Written {
    /// The attributes that the update has written, as they are now. All attributes after a repeat, or with
    /// [`returning_item`](Update::returning_item).
    Done(Item),
    /// The condition did not hold. Holds the item as it stands, if there is one.
    Refused(Option<Item>),
}

impl<'a> Update<'a> {
    pub(super) fn new(table: &'a Table, item: &'a ItemName, expression: impl Into<String>) -> Self {
        Self {
            table,
            item,
            expression: expression.into(),
            condition: None,
            values: BTreeMap::new(),
            mark: random_mark(),
            repeat: Repeat::Never,
            returns: ReturnValue::UpdatedNew,
        }
    }

    /// Sets the condition. If the condition has an `OR` at its top level, the condition must be in parentheses, because
    /// the request continues with `AND` and a second condition.
    pub(super) fn when(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    pub(super) fn text(mut self, name: impl Into<String>, value: &str) -> Self {
        self.values.insert(name.into(), text(value));
        self
    }

    pub(super) fn number(mut self, name: impl Into<String>, value: u64) -> Self {
        self.values.insert(name.into(), number(value));
        self
    }

    pub(super) fn texts(
        mut self,
        name: impl Into<String>,
        values: impl Iterator<Item = String>,
    ) -> Self {
        self.values
            .insert(name.into(), AttributeValue::Ss(values.collect()));
        self
    }

    /// Allows the update to run twice. There are two kinds of such updates. For the first kind, the update's condition
    /// refuses the second run. For the second kind, the second run makes a count too high by one, and a count that is
    /// too high breaks no limit.
    pub(super) fn repeatable(mut self) -> Self {
        self.repeat = Repeat::Always;
        self
    }

    /// Allows the update to run twice, unless another update of its kind was made lately. Updates of this kind write
    /// their time into `attribute`.
    pub(super) fn repeatable_unless_recent(mut self, attribute: &'static str, now: Millis) -> Self {
        self.repeat = Repeat::UnlessRecent(attribute, now);
        self
    }

    /// Lets the response have the whole item, and not only the attributes that the update has written.
    pub(super) fn returning_item(mut self) -> Self {
        self.returns = ReturnValue::AllNew;
        self
    }

    /// The mark of this update. The item has it as long as no other update follows.
    pub(super) fn mark(&self) -> Result<&str, Unavailable> {
        self.mark.as_deref().map_err(Clone::clone)
    }

    /// Runs the update, and repeats it where that is safe.
    ///
    /// Every update writes a random mark into the attribute `w`, and is refused if the item has that mark already. If a
    /// response is lost or has HTTP status 500, the item is read. If the item has the mark, the update was carried out,
    /// and no other update has followed.
    ///
    /// If the mark is missing, there are three possibilities: the update was not carried out, another update has
    /// replaced the mark, or the request is still on its way. In this case, the update is repeated only if the update
    /// allows a second run. The repeat has the same mark. So if the first request is still on its way and arrives late,
    /// one of the two requests does nothing.
    pub(super) async fn run(mut self) -> Result<Written, Unavailable> {
        let values = std::mem::take(&mut self.values);
        let mark = self.mark()?;
        let request = self.request(mark, values)?;
        let run = async {
            let mut repeats = Repeats::new();
            loop {
                let failure = match once(request.clone(), mark).await {
                    Ok(written) => return Ok(written),
                    Err(failure) => failure,
                };
                let may_repeat = match failure.kind {
                    FailureKind::Lasting => false,
                    FailureKind::NotExecuted => true,
                    FailureKind::Unclear => {
                        let seen = self.table.read(self.item).await?.unwrap_or_default();
                        if seen.has_mark(mark) {
                            return Ok(Written::Done(seen));
                        }
                        self.repeat.is_safe(&seen)?
                    }
                };
                if !may_repeat {
                    return Err(failure.into_unavailable());
                }
                repeats.next(failure).await?;
            }
        };
        within_step("UpdateItem", Box::pin(run)).await
    }

    fn request(
        &self,
        mark: &str,
        mut given: BTreeMap<String, AttributeValue>,
    ) -> Result<UpdateItemFluentBuilder, Unavailable> {
        let expression = self.expression.replacen("SET ", "SET #w = :mark, ", 1);
        let own = self.condition.as_ref();
        let condition = own.map_or_else(
            || NOT_DONE.to_owned(),
            |condition| format!("{condition} AND {NOT_DONE}"),
        );
        let both = [expression.as_str(), condition.as_str()];
        let all = |sigil| both.iter().flat_map(move |it| words(it, sigil));
        // Most words occur several times. Looking first is cheaper than a copy of each.
        let mut names = HashMap::new();
        for name in all('#') {
            if !names.contains_key(name) {
                names.insert(name.to_owned(), name.trim_start_matches('#').to_owned());
            }
        }
        let mut values = HashMap::from([(":mark".to_owned(), text(mark))]);
        for name in all(':') {
            if !values.contains_key(name) {
                let value = given.remove(name).or_else(|| constant(name));
                let value = value.ok_or_else(|| Unavailable(format!("{name} has no value")))?;
                values.insert(name.to_owned(), value);
            }
        }
        Ok(self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .key("pk", text(self.item.as_str()))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .update_expression(expression)
            .condition_expression(condition)
            .return_values(self.returns.clone())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
    }

    /// Runs an update of a verification.
    pub(super) async fn apply(self) -> Result<Transition, Unavailable> {
        match self.run().await? {
            Written::Done(_) => Ok(Transition::Applied),
            Written::Refused(item) => Ok(Transition::Refused(
                item.map(|item| item.verification()).transpose()?,
            )),
        }
    }
}

impl Written {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Sends the request once.
async fn once(request: UpdateItemFluentBuilder, mark: &str) -> Result<Written, Failure> {
    let error = match answer_to(request.send()).await {
        // Every update writes its mark, so DynamoDB returns something. A response without it is not from DynamoDB.
        Ok(output) => {
            return output
                .attributes
                .map(|item| Written::Done(Item(item)))
                .ok_or_else(|| Failure::unclear("UpdateItem: a response without attributes"));
        }
        Err(error) => error,
    };
    let Some(UpdateItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error()
    else {
        return Err(Failure::of("UpdateItem", &error));
    };
    let item = refusal.item().filter(|item| !item.is_empty());
    Ok(match item.cloned().map(Item) {
        // An earlier try was carried out.
        Some(item) if item.has_mark(mark) => Written::Done(item),
        item => Written::Refused(item),
    })
}

/// 48 random bits and no more, because DynamoDB bills an item by its size.
fn random_mark() -> Result<String, Unavailable> {
    let bits = getrandom::u64().map_err(|error| Unavailable(format!("no randomness: {error}")))?;
    let [_, _, mark @ ..] = bits.to_be_bytes();
    Ok(URL_SAFE_NO_PAD.encode(mark))
}

/// The words of an expression that begin with `sigil`, which is in no word but at its beginning.
fn words(expression: &str, sigil: char) -> impl Iterator<Item = &str> {
    let is_in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    expression.match_indices(sigil).map(move |(at, _)| {
        let word = expression.get(at..).unwrap_or_default();
        let end = word.bytes().skip(1).position(|byte| !is_in_word(byte));
        end.and_then(|end| word.get(..=end)).unwrap_or(word)
    })
}

/// Values that need not be set, because they mean the same in every expression.
fn constant(name: &str) -> Option<AttributeValue> {
    match name {
        ":zero" => Some(number(0)),
        ":one" => Some(number(1)),
        ":reserved" | ":sent" | ":unclear" | ":failed" | ":verified" | ":canceled" | ":asking"
        | ":claimed" | ":released" | ":done" => Some(text(name.trim_start_matches(':'))),
        _ => None,
    }
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_expression_are_found() {
        let expression = "SET #w = :mark, #t1=if_not_exists(#t2,:zero) ADD #used :used_2";
        let found = |sigil| words(expression, sigil).collect::<Vec<_>>();
        assert_eq!(found('#'), ["#w", "#t1", "#t2", "#used"]);
        assert_eq!(found(':'), [":mark", ":zero", ":used_2"]);
        assert_eq!(words("attribute_exists(#n)", ':').count(), 0);
    }
}
