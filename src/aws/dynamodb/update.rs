use super::item::Item;
use crate::aws::cause;
use crate::ledger::{ItemName, Transition, Unavailable};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use std::collections::{BTreeMap, HashMap};

/// Builds one `UpdateItem` request.
///
/// In expressions, `#name` stands for the attribute `name`, because about one word in ten is reserved, and `:name` for a
/// value that was set here or is a [`constant`]. DynamoDB rejects names and values that no expression uses, so the request
/// contains only those in use.
pub(super) struct Update<'a> {
    client: &'a Client,
    table: &'a str,
    item: &'a ItemName,
    expression: String,
    condition: Option<String>,
    values: BTreeMap<String, AttributeValue>,
}

/// The outcome of an update.
pub(super) enum Written {
    /// The item after the update.
    Done(Item),
    /// The condition did not hold; the item as it stands, if there is one.
    Refused(Option<Item>),
}

impl<'a> Update<'a> {
    pub(super) fn new(
        client: &'a Client,
        table: &'a str,
        item: &'a ItemName,
        expression: impl Into<String>,
    ) -> Self {
        Self {
            client,
            table,
            item,
            expression: expression.into(),
            condition: None,
            values: BTreeMap::new(),
        }
    }

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

    pub(super) async fn run(self) -> Result<Written, Unavailable> {
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
            .client
            .update_item()
            .table_name(self.table)
            .key("pk", text(self.item.as_str()))
            .set_expression_attribute_names(Some(names.collect()))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .update_expression(self.expression)
            .set_condition_expression(self.condition)
            .return_values(ReturnValue::AllNew)
            .set_return_values_on_condition_check_failure(on_failure)
            .send()
            .await;
        match outcome {
            // DynamoDB always returns the item, so a response without it is not from DynamoDB.
            Ok(output) => match output.attributes {
                Some(item) => Ok(Written::Done(Item(item))),
                None => Err(Unavailable(
                    "UpdateItem: a response without the item".to_owned(),
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

/// The words of an expression that begin with `sigil`.
fn words(expression: &str, sigil: char) -> impl Iterator<Item = &str> {
    let between = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | ':'));
    expression
        .split(between)
        .filter(move |word| word.starts_with(sigil))
}

/// Values that need not be set: they mean the same in every expression.
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
