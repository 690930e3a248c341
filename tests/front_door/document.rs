//! `docs/openapi.yaml`, and the comparison of a response with it. The tests of the front door compare every response of
//! the function, see [`World::text`](crate::world::World::text).

use crate::with;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex_automata::dfa::regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use yaml_rust2::{Yaml, YamlLoader};

/// The document, with the ranges of the provider that these tests have.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let documents = YamlLoader::load_from_str(&text).unwrap();
        narrowed(&from_yaml(&documents[0]))
    })
}

fn from_yaml(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) => json!(text),
        Yaml::Integer(number) => json!(number),
        Yaml::Boolean(value) => json!(value),
        Yaml::Null => Value::Null,
        Yaml::Array(items) => items.iter().map(from_yaml).collect(),
        Yaml::Hash(entries) => entries
            .iter()
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), from_yaml(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => panic!("{other:?} in docs/openapi.yaml"),
    }
}

/// Replaces the keywords of each schema by those of its `x-pinpoint`, if the provider is Pinpoint.
fn narrowed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(narrowed).collect(),
        Value::Object(members) => {
            let mut members: Map<_, _> = members
                .iter()
                .map(|(name, value)| (name.clone(), narrowed(value)))
                .collect();
            if let Some(Value::Object(narrow)) = members.remove("x-pinpoint")
                && with::NAME == otp_lambda::aws::pinpoint::NAME
            {
                members.extend(narrow);
            }
            members.into()
        }
        other => other.clone(),
    }
}

/// The value at this place, behind its `$ref`.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let target = document.pointer(reference.trim_start_matches('#'));
            resolved(document, target.unwrap_or_else(|| panic!("{reference}")))
        }
        None => value,
    }
}

/// One request with its response.
pub(crate) struct Exchange {
    /// The path in the document; `None` if the request had another one.
    pub(crate) path: Option<String>,
    /// Whether nothing stands before this path.
    pub(crate) is_exact: bool,
    pub(crate) request: Option<Value>,
    pub(crate) status: u64,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Exchange {
    /// Reads an event and its response; `None` if the event is no HTTP event. Every response over HTTP has headers and
    /// a body of JSON.
    pub(crate) fn read(document: &Value, event: &Value, answer: &Value) -> Option<Self> {
        let status = answer.get("statusCode")?.as_u64()?;
        // A stage or a base path can stand before the path.
        let asked = event.get("rawPath").or_else(|| event.get("path"));
        let asked = asked.and_then(Value::as_str).unwrap_or_default();
        let paths = document["paths"].as_object().unwrap();
        let path = paths.keys().find(|path| asked.ends_with(path.as_str()));
        let is_encoded = event.get("isBase64Encoded") == Some(&json!(true));
        let body = event.get("body").and_then(Value::as_str);
        let request = body.and_then(|body| {
            if is_encoded {
                serde_json::from_slice(&BASE64.decode(body).ok()?).ok()
            } else {
                serde_json::from_str(body).ok()
            }
        });
        let headers = answer
            .get("headers")
            .or_else(|| answer.get("multiValueHeaders"))
            .and_then(Value::as_object)
            .unwrap_or_else(|| panic!("no headers: {answer}"));
        let own = answer["body"].as_str().unwrap();
        let text = |value: &Value| {
            let first = value.pointer("/0").unwrap_or(value);
            first.as_str().unwrap().to_owned()
        };
        Some(Self {
            path: path.cloned(),
            is_exact: path.is_some_and(|path| path == asked),
            request,
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            body: serde_json::from_str(own).unwrap_or_else(|_| panic!("no JSON: {own}")),
        })
    }

    /// Everything in which the exchange differs from the document.
    pub(crate) fn differences(&self, document: &Value) -> Vec<String> {
        let code = self.body.get("code").and_then(Value::as_str);
        let operation = self.path.as_ref().map(|path| {
            let methods = &document["paths"][path];
            &methods["post"]
        });
        let responses = match (operation, code) {
            // The event could not be read, so the function did not see the route.
            (None, Some("malformed_request")) => {
                &document["paths"]["/otp/send"]["post"]["responses"]
            }
            (None, _) | (_, Some("method_not_allowed")) => &document["x-other-responses"],
            // The path of the document is only the end of another path.
            (Some(_), Some("route_not_found")) if !self.is_exact => &document["x-other-responses"],
            (Some(operation), _) => &operation["responses"],
        };
        let place = format!("{} of {:?}", self.status, self.path);
        let of_dry_run = operation
            .filter(|_| self.status == 200)
            .and_then(|operation| operation.get("x-dry-run-response"));
        let documented = responses.get(self.status.to_string());
        let Some(response) = documented.or(of_dry_run) else {
            return vec![format!("{place} is not in the document")];
        };
        let response = resolved(document, response);
        let mut found = self.differences_in_headers(document, response);
        let content_type = self.headers.get("content-type").map_or("", String::as_str);
        match response["content"].get(content_type) {
            Some(content) => {
                found.extend(mismatches(
                    document,
                    &content["schema"],
                    &self.body,
                    "response",
                ));
            }
            None => found.push(format!("the content type {content_type}")),
        }
        if let Some(code) = code {
            let codes = response["x-codes"].as_array();
            if !codes.is_some_and(|codes| codes.contains(&json!(code))) {
                found.push(format!("the error code {code}"));
            }
        }
        if let (200..=299, Some(operation)) = (self.status, operation) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let request = self.request.as_ref().unwrap_or(&Value::Null);
            found.extend(mismatches(document, schema, request, "request"));
        }
        found
            .iter()
            .map(|found| format!("{place}: {found}"))
            .collect()
    }

    fn differences_in_headers(&self, document: &Value, response: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let documented = response.get("headers").and_then(Value::as_object);
        let documented: BTreeMap<String, &Value> = documented
            .into_iter()
            .flatten()
            .map(|(name, header)| (name.to_lowercase(), resolved(document, header)))
            .collect();
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| *name != "content-type")
        {
            let Some(header) = documented.get(name) else {
                found.push(format!("the header {name}"));
                continue;
            };
            let schema = &header["schema"];
            let value = match schema["type"].as_str() {
                Some("integer") => value
                    .parse::<u64>()
                    .map_or(json!(value), |number| json!(number)),
                _ => json!(value),
            };
            found.extend(mismatches(document, schema, &value, name));
        }
        for (name, header) in documented {
            if header.get("required") == Some(&json!(true)) && !self.headers.contains_key(&name) {
                found.push(format!("without the header {name}"));
            }
        }
        found
    }
}

/// Compares a response with the document, if it is one to an HTTP request.
#[track_caller]
pub(crate) fn check(event: &str, answer: &str) {
    // An event can nest deeper than this parser goes, and can have half a character.
    let read = |text: &str| serde_json::from_str(text).ok();
    let exchange = read(event)
        .zip(read(answer))
        .and_then(|(event, answer)| Exchange::read(document(), &event, &answer));
    if let Some(exchange) = exchange {
        let differences = exchange.differences(document());
        assert_eq!(differences, [""; 0], "{event}\n{answer}");
    }
}

/// Where a value does not match a schema. An object may have no other members than those of its schema: clients must
/// ignore other members, but this program must not have any. A keyword that this function does not know is a mismatch.
pub(crate) fn mismatches(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    if schema.get("$ref").is_some() {
        found.extend(mismatches(document, resolved(document, schema), value, at));
    }
    for (keyword, rule) in schema.as_object().into_iter().flatten() {
        match keyword.as_str() {
            "properties" => found.extend(of_members(document, rule, value, at)),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| mismatches(document, rule, item, at)));
            }
            "oneOf" => {
                let fits = |one: &&Value| mismatches(document, one, value, at).is_empty();
                let fitting = rule.as_array().unwrap().iter().filter(fits).count();
                if fitting != 1 {
                    found.push(format!("{at} matches {fitting} of oneOf: {value}"));
                }
            }
            "required" => {
                let names = rule.as_array().unwrap().iter().filter_map(Value::as_str);
                let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                found.extend(missing.map(|name| format!("{at} without {name}")));
            }
            _ if !meets(keyword, rule, value) => {
                found.push(format!("{at}: {keyword} {rule} against {value}"));
            }
            _ => {}
        }
    }
    found
}

fn of_members(document: &Value, properties: &Value, value: &Value, at: &str) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    members
        .flat_map(|(name, value)| {
            let at = format!("{at}.{name}");
            match properties.get(name) {
                Some(schema) => mismatches(document, schema, value, &at),
                None => vec![format!("{at} is not in the document")],
            }
        })
        .collect()
}

/// Whether a value meets a keyword about itself.
fn meets(keyword: &str, rule: &Value, value: &Value) -> bool {
    let length = |value: &Value| value.as_str().map(|text| text.chars().count() as u64);
    let limit = || rule.as_u64().unwrap();
    match keyword {
        "$ref" | "description" | "externalDocs" | "additionalProperties" | "x-backends-only" => {
            true
        }
        "type" => match rule {
            Value::Array(types) => types.iter().any(|one| is_of_type(one, value)),
            one => is_of_type(one, value),
        },
        "const" | "x-always" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_u64().is_none_or(|number| number >= limit()),
        "maximum" => value.as_u64().is_none_or(|number| number <= limit()),
        "minLength" => length(value).is_none_or(|length| length >= limit()),
        "maxLength" => length(value).is_none_or(|length| length <= limit()),
        "minItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 >= limit()),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|items| (1..items.len()).all(|at| !items[..at].contains(&items[at]))),
        "pattern" => value
            .as_str()
            .is_none_or(|text| matches(rule.as_str().unwrap(), text)),
        "format" => match rule.as_str().unwrap() {
            "date-time" => value.as_str().is_none_or(|text| {
                matches(
                    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
                    text,
                )
            }),
            "int32" => value
                .as_u64()
                .is_none_or(|number| i32::try_from(number).is_ok()),
            "int64" => value
                .as_u64()
                .is_none_or(|number| i64::try_from(number).is_ok()),
            _ => false,
        },
        _ => false,
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    static PATTERNS: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut patterns = PATTERNS.lock().unwrap();
    let regex = patterns
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).unwrap());
    regex.is_match(text)
}
