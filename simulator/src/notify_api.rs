//! The operations of SMS Voice V2 that manage Notify configurations, and its spending limit for them.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    desk::Desk,
    notify::{
        ARN, COUNTRIES, Choices, Configuration, Country, TEMPLATES, Template, Tier, countries_of,
        id_of,
    },
    wire::{Fields, InvalidField, Refusal},
};

/// The configurations of an account.
const MOST: usize = 25;

/// The most dollars a month.
const MOST_DOLLARS: u64 = 1000;

type Outcome = Result<Value, Refusal>;

/// The operation of this name; `None` if this module does not have it.
pub(crate) fn operation(name: &str) -> Option<fn(&Arc<Desk>, &Value) -> Outcome> {
    Some(match name {
        "CreateNotifyConfiguration" => create,
        "DescribeNotifyConfigurations" => describe,
        "UpdateNotifyConfiguration" => update,
        "DeleteNotifyConfiguration" => delete,
        "DescribeNotifyTemplates" => templates,
        "ListNotifyCountries" => countries,
        "DescribeSpendLimits" => spend_limits,
        "SetNotifyMessageSpendLimitOverride" => set_spend_limit,
        "DeleteNotifyMessageSpendLimitOverride" => |desk, _| Ok(delete_spend_limit(desk)),
        _ => return None,
    })
}

fn create(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let display_name = fields
        .matching("DisplayName", 1..=15, |c| {
            c.is_ascii_alphanumeric() || "_ -".contains(c)
        })
        .and_then(|name| fields.present("DisplayName", name))
        .map_err(invalid)?;
    if fields.required("UseCase").map_err(invalid)? != "CODE_VERIFICATION" {
        return Err(invalid(
            fields.invalid("UseCase", "must be CODE_VERIFICATION."),
        ));
    }
    let token = fields
        .matching("ClientToken", 1..=64, |c| c.is_ascii_graphic())
        .map_err(invalid)?;
    let Some(channels) = strings(body, "EnabledChannels", 1..=4).map_err(invalid)? else {
        return Err(invalid(fields.invalid("EnabledChannels", "is required.")));
    };
    let choices = Choices {
        channels: channels_of(channels).map_err(invalid)?,
        countries: match strings(body, "EnabledCountries", 0..=300).map_err(invalid)? {
            Some(countries) => countries_in(countries, Tier::Basic)?,
            None => countries_of(Tier::Basic),
        },
        default_template: template_in(&fields)?,
        pool: fields
            .matching("PoolId", 0..=256, is_identifier)
            .map_err(invalid)?
            .map(str::to_owned),
        is_protected: flag(body, "DeletionProtectionEnabled").map_err(invalid)? == Some(true),
    };
    let tags = tags(body).map_err(invalid)?;
    // AWS checks the reputation of the account. Here, a display name can ask for a refusal.
    if display_name.to_ascii_lowercase().contains("reputation") {
        return Err(Refusal::modelled(
            StatusCode::BAD_REQUEST,
            "AccessDeniedException",
            "The account does not have enough reputation to use notify.",
        )
        .with("Reason", "INSUFFICIENT_ACCOUNT_REPUTATION"));
    }
    desk.notify(|notify, now| {
        let same = |own: &&Configuration| token.is_some() && own.token.as_deref() == token;
        if let Some(known) = notify.all().find(same) {
            return Ok(with_tags(known, now));
        }
        if notify
            .all()
            .filter(|own| own.created > SystemTime::UNIX_EPOCH)
            .count()
            >= MOST
        {
            return Err(Refusal::modelled(
                StatusCode::BAD_REQUEST,
                "ServiceQuotaExceededException",
                "The account has as many notify configurations as it may have.",
            )
            .with("Reason", "NOTIFY_CONFIGURATIONS_PER_ACCOUNT"));
        }
        let created = notify.create(display_name, choices, now);
        created.token = token.map(str::to_owned);
        created.tags = tags;
        Ok(with_tags(created, now))
    })
}

fn describe(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let ids = strings(body, "NotifyConfigurationIds", 0..=5).map_err(invalid)?;
    let ids = ids.filter(|ids| !ids.is_empty());
    let filters = filters(body).map_err(invalid)?;
    desk.notify(|notify, now| {
        let chosen: Vec<Value> = match &ids {
            Some(ids) => ids
                .iter()
                .map(|id| {
                    let known = notify.all().find(|own| own.id == id_of(id));
                    known
                        .map(|known| shown(known, now))
                        .ok_or_else(|| not_found("notify-configuration", id_of(id)))
                })
                .collect::<Result<_, _>>()?,
            None => notify.all().map(|own| shown(own, now)).collect(),
        };
        let fits = |configuration: &Value| {
            filters.iter().all(|(name, values)| {
                let member = match name.as_str() {
                    "display-name" => "DisplayName",
                    "enabled-countries" => "EnabledCountries",
                    "enabled-channels" => "EnabledChannels",
                    "default-template" => "DefaultTemplateId",
                    "default-pool" => "PoolId",
                    "use-case" => "UseCase",
                    "status" => "Status",
                    "deletion-protection-enabled" => "DeletionProtectionEnabled",
                    "tier-upgrade-status" => "TierUpgradeStatus",
                    _ => return false,
                };
                has_one_of(configuration, member, values)
            })
        };
        page(
            body,
            "NotifyConfigurations",
            chosen.into_iter().filter(fits),
        )
    })
}

fn update(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let id = identifier(&fields)?;
    let channels = match strings(body, "EnabledChannels", 1..=4).map_err(invalid)? {
        Some(channels) => Some(channels_of(channels).map_err(invalid)?),
        None => None,
    };
    let countries = strings(body, "EnabledCountries", 0..=300).map_err(invalid)?;
    let unset =
        fields.optional("DefaultTemplateId").map_err(invalid)? == Some("UNSET_DEFAULT_TEMPLATE");
    let template = if unset { None } else { template_in(&fields)? };
    let pool = fields
        .matching("PoolId", 1..=256, is_identifier)
        .map_err(invalid)?;
    let protected = flag(body, "DeletionProtectionEnabled").map_err(invalid)?;
    desk.notify(|notify, now| {
        let own = notify
            .get_mut(id)
            .ok_or_else(|| not_found("notify-configuration", id_of(id)))?;
        if let Some(countries) = countries {
            own.choices.countries = countries_in(countries, own.tier)?;
        }
        if let Some(channels) = channels {
            own.choices.channels = channels;
        }
        if unset || template.is_some() {
            own.choices.default_template = template;
        }
        if let Some(pool) = pool {
            let kept = (pool != "UNSET_DEFAULT_POOL_FOR_NOTIFY").then(|| pool.to_owned());
            own.choices.pool = kept;
        }
        if let Some(protected) = protected {
            own.choices.is_protected = protected;
        }
        Ok(shown(own, now))
    })
}

fn delete(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let id = identifier(&fields)?;
    desk.notify(|notify, now| {
        let own = notify
            .get_mut(id)
            .ok_or_else(|| not_found("notify-configuration", id_of(id)))?;
        if own.choices.is_protected {
            return Err(Refusal::modelled(
                StatusCode::BAD_REQUEST,
                "ConflictException",
                "Deletion protection is enabled on the notify configuration.",
            )
            .with("Reason", "DELETION_PROTECTION_ENABLED")
            .with("ResourceType", "notify-configuration")
            .with("ResourceId", id_of(id)));
        }
        let removed = shown(own, now);
        notify.remove(id);
        Ok(removed)
    })
}

fn templates(_: &Arc<Desk>, body: &Value) -> Outcome {
    let ids = strings(body, "TemplateIds", 1..=10).map_err(invalid)?;
    let filters = filters(body).map_err(invalid)?;
    let mut chosen = Vec::new();
    match &ids {
        Some(ids) => {
            for id in ids {
                let known = TEMPLATES.iter().find(|template| template.id == id);
                chosen.push(shown_template(
                    known.ok_or_else(|| not_found("notify-template", id))?,
                ));
            }
        }
        None => chosen.extend(TEMPLATES.iter().map(shown_template)),
    }
    let fits = |template: &Value| {
        filters.iter().all(|(name, values)| {
            let member = match name.as_str() {
                "template-type" => "TemplateType",
                "channels" => "Channels",
                "tier-access" => "TierAccess",
                "supported-countries" => "SupportedCountries",
                "language-code" => "LanguageCode",
                "supported-voice-ids" => "SupportedVoiceIds",
                _ => return false,
            };
            has_one_of(template, member, values)
        })
    };
    page(body, "NotifyTemplates", chosen.into_iter().filter(fits))
}

fn countries(_: &Arc<Desk>, body: &Value) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let channels = match strings(body, "Channels", 1..=4).map_err(invalid)? {
        Some(channels) => channels_of(channels).map_err(invalid)?,
        None => BTreeSet::new(),
    };
    let use_cases = strings(body, "UseCases", 1..=4).map_err(invalid)?;
    if use_cases.is_some_and(|cases| cases.iter().any(|case| case != "CODE_VERIFICATION")) {
        return Err(invalid(
            fields.invalid("UseCases", "must be CODE_VERIFICATION."),
        ));
    }
    let tier = fields.optional("Tier").map_err(invalid)?;
    if tier.is_some_and(|tier| !["BASIC", "ADVANCED"].contains(&tier)) {
        return Err(invalid(
            fields.invalid("Tier", "must be BASIC or ADVANCED."),
        ));
    }
    let fits = |country: &&Country| {
        (tier != Some("BASIC") || country.is_basic)
            && channels
                .iter()
                .all(|channel| channel == "SMS" || country.has_calls)
    };
    let shown = COUNTRIES.iter().filter(fits).map(|country| {
        json!({
            "IsoCountryCode": country.code,
            "CountryName": country.name,
            "SupportedChannels": if country.has_calls { json!(["SMS", "VOICE"]) } else { json!(["SMS"]) },
            "SupportedUseCases": ["CODE_VERIFICATION"],
            "SupportedTiers": if country.is_basic { json!(["BASIC", "ADVANCED"]) } else { json!(["ADVANCED"]) },
            "CustomerOwnedIdentityRequired": country.needs_own_identity,
        })
    });
    page(body, "NotifyCountries", shown)
}

fn spend_limits(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let limit = desk.notify(|notify, _| notify.spending_limit);
    let shown = json!({
        "Name": "NOTIFY_MESSAGE_MONTHLY_SPEND_LIMIT",
        "EnforcedLimit": limit.unwrap_or(MOST_DOLLARS),
        "MaxLimit": MOST_DOLLARS,
        "Overridden": limit.is_some(),
    });
    page(body, "SpendLimits", [shown].into_iter())
}

fn set_spend_limit(desk: &Arc<Desk>, body: &Value) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let Some(limit) = body.get("MonthlyLimit").and_then(Value::as_u64) else {
        return Err(invalid(
            fields.invalid("MonthlyLimit", "must be a number of dollars."),
        ));
    };
    if limit > MOST_DOLLARS {
        return Err(Refusal::modelled(
            StatusCode::BAD_REQUEST,
            "ValidationException",
            "The spend limit is higher than the limit of the service.",
        )
        .with("Reason", "REQUESTED_SPEND_LIMIT_HIGHER_THAN_SERVICE_LIMIT"));
    }
    desk.notify(|notify, _| notify.spending_limit = Some(limit));
    Ok(json!({ "MonthlyLimit": limit }))
}

fn delete_spend_limit(desk: &Arc<Desk>) -> Value {
    desk.notify(|notify, _| notify.spending_limit = None);
    json!({ "MonthlyLimit": MOST_DOLLARS })
}

fn shown(own: &Configuration, now: SystemTime) -> Value {
    let created = own
        .created
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut members = json!({
        "NotifyConfigurationArn": format!("{ARN}{}", own.id),
        "NotifyConfigurationId": own.id,
        "DisplayName": own.display_name,
        "UseCase": "CODE_VERIFICATION",
        "EnabledCountries": own.choices.countries,
        "EnabledChannels": own.choices.channels,
        "Tier": own.tier.name(),
        "TierUpgradeStatus": own.tier.name(),
        "Status": own.status(now),
        "DeletionProtectionEnabled": own.choices.is_protected,
        "CreatedTimestamp": created.as_secs(),
    });
    for (name, value) in [
        ("DefaultTemplateId", own.choices.default_template.clone()),
        ("PoolId", own.choices.pool.clone()),
        ("RejectionReason", own.rejection(now).map(str::to_owned)),
    ] {
        if let (Some(members), Some(value)) = (members.as_object_mut(), value) {
            members.insert(name.to_owned(), value.into());
        }
    }
    members
}

fn with_tags(own: &Configuration, now: SystemTime) -> Value {
    let mut members = shown(own, now);
    let tags = own.tags.iter();
    let tags: Vec<_> = tags
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    if let Some(members) = members.as_object_mut() {
        members.insert("Tags".to_owned(), tags.into());
    }
    members
}

fn shown_template(template: &Template) -> Value {
    let all: Vec<_> = COUNTRIES.iter().map(|country| country.code).collect();
    let countries = if template.countries.is_empty() {
        &all
    } else {
        template.countries
    };
    let variable = |source: &str, sample: &str, longest: u64| {
        json!({
            "Type": "STRING", "Required": true, "Source": source, "Sample": sample, "MaxLength": longest,
        })
    };
    let mut members = json!({
        "TemplateId": template.id,
        "Version": 1,
        "TemplateType": "OTP_VERIFICATION",
        "Channels": [template.channel],
        "TierAccess": if template.in_basic { json!(["BASIC", "ADVANCED"]) } else { json!(["ADVANCED"]) },
        "Status": if template.is_active { "ACTIVE" } else { "INACTIVE" },
        "SupportedCountries": countries,
        "LanguageCode": template.language,
        "Content": template.content,
        "Variables": {
            "code": variable("CUSTOMER", "123456", 8),
            "display_name": variable("SYSTEM", "ExampleCorp", 15),
        },
        "CreatedTimestamp": 1_772_323_200,
    });
    if let (Some(members), true) = (members.as_object_mut(), template.channel == "VOICE") {
        members.insert("SupportedVoiceIds".to_owned(), json!(template.voices));
    }
    members
}

/// The page that the request asks for. A token is the number of the first entry.
fn page(body: &Value, name: &str, all: impl Iterator<Item = Value>) -> Outcome {
    let fields = Fields::of(body).map_err(invalid)?;
    let bad = |what: &str| {
        Refusal::modelled(StatusCode::BAD_REQUEST, "ValidationException", what)
            .with("Reason", "INVALID_NEXT_TOKEN")
    };
    let first: usize = match fields.optional("NextToken").map_err(invalid)? {
        Some(token) => token.parse().map_err(|_| bad("NextToken is not valid."))?,
        None => 0,
    };
    let most = fields.within("MaxResults", 1..=100, 100).map_err(invalid)?;
    let mut rest = all.skip(first);
    let shown: Vec<_> = rest.by_ref().take(most.into()).collect();
    let mut answer = Map::new();
    if rest.next().is_some() {
        let next = first + shown.len();
        answer.insert("NextToken".to_owned(), next.to_string().into());
    }
    answer.insert(name.to_owned(), shown.into());
    Ok(Value::Object(answer))
}

fn identifier<'a>(fields: &Fields<'a>) -> Result<&'a str, Refusal> {
    fields
        .matching("NotifyConfigurationId", 1..=256, is_identifier)
        .and_then(|id| fields.present("NotifyConfigurationId", id))
        .map_err(invalid)
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_:/-".contains(c)
}

fn channels_of(channels: Vec<String>) -> Result<BTreeSet<String>, InvalidField> {
    if channels.iter().all(|own| own == "SMS" || own == "VOICE") {
        return Ok(channels.into_iter().collect());
    }
    Err(InvalidField {
        path: "/EnabledChannels".to_owned(),
        message: "EnabledChannels must be SMS or VOICE.".to_owned(),
    })
}

fn countries_in(countries: Vec<String>, tier: Tier) -> Result<BTreeSet<String>, Refusal> {
    let allowed = countries_of(tier);
    match countries.iter().find(|code| !allowed.contains(*code)) {
        None => Ok(countries.into_iter().collect()),
        Some(code) => Err(Refusal::modelled(
            StatusCode::BAD_REQUEST,
            "ValidationException",
            format!("The country {code} is not available to the tier of the notify configuration."),
        )
        .with("Reason", "INVALID_PARAMETER")),
    }
}

fn template_in(fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
    let id = fields
        .matching("DefaultTemplateId", 0..=256, |c| {
            c.is_ascii_alphanumeric() || "_-".contains(c)
        })
        .map_err(invalid)?;
    match id.filter(|id| !id.is_empty()) {
        Some(id) if TEMPLATES.iter().all(|template| template.id != id) => {
            Err(not_found("notify-template", id))
        }
        id => Ok(id.map(str::to_owned)),
    }
}

fn flag(body: &Value, name: &str) -> Result<Option<bool>, InvalidField> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(of_shape(name, "must be true or false.")),
    }
}

fn strings(
    body: &Value,
    name: &str,
    counts: std::ops::RangeInclusive<usize>,
) -> Result<Option<Vec<String>>, InvalidField> {
    let Some(list) = body.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let texts: Option<Vec<_>> = list.as_array().and_then(|list| {
        list.iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect()
    });
    match texts {
        Some(texts) if counts.contains(&texts.len()) => Ok(Some(texts)),
        _ => Err(of_shape(
            name,
            &format!(
                "must be a list of {} to {} strings.",
                counts.start(),
                counts.end()
            ),
        )),
    }
}

fn filters(body: &Value) -> Result<Vec<(String, Vec<String>)>, InvalidField> {
    let Some(filters) = body.get("Filters").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let malformed = || of_shape("Filters", "must be a list of names with values.");
    let filters = filters.as_array().ok_or_else(malformed)?;
    filters
        .iter()
        .map(|filter| {
            let name = filter.get("Name").and_then(Value::as_str);
            let values = strings(filter, "Values", 1..=20)?;
            name.map(str::to_owned).zip(values).ok_or_else(malformed)
        })
        .collect()
}

fn tags(body: &Value) -> Result<Vec<(String, String)>, InvalidField> {
    let Some(tags) = body.get("Tags").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let malformed = || of_shape("Tags", "must be a list of keys with values.");
    let tags = tags.as_array().ok_or_else(malformed)?;
    tags.iter()
        .map(|tag| {
            let member = |name| tag.get(name).and_then(Value::as_str).map(str::to_owned);
            member("Key").zip(member("Value")).ok_or_else(malformed)
        })
        .collect()
}

/// Whether a member, or an entry of a member that is a list, is one of these values.
fn has_one_of(shown: &Value, member: &str, values: &[String]) -> bool {
    let is_one = |value: &Value| match value {
        Value::String(text) => values.iter().any(|own| own == text),
        Value::Bool(flag) => values.iter().any(|own| *own == flag.to_string()),
        _ => false,
    };
    match shown.get(member) {
        Some(Value::Array(entries)) => entries.iter().any(is_one),
        Some(value) => is_one(value),
        None => false,
    }
}

fn of_shape(name: &str, what: &str) -> InvalidField {
    InvalidField {
        path: format!("/{name}"),
        message: format!("{name} {what}"),
    }
}

fn invalid(InvalidField { path, message }: InvalidField) -> Refusal {
    let name = path.trim_start_matches('/').to_owned();
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ValidationException",
        message.clone(),
    )
    .with("Reason", "FIELD_VALIDATION_FAILED")
    .with("Fields", json!([{ "Name": name, "Message": message }]))
}

fn not_found(kind: &str, id: &str) -> Refusal {
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ResourceNotFoundException",
        "Resource not found",
    )
    .with("ResourceType", kind)
    .with("ResourceId", id)
}
