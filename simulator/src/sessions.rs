//! Temporary credentials with a session policy, as AWS STS gives them. For these credentials alone, the simulator
//! checks permissions, and only those of a send. So `make probe` can ask which permissions a send needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Query, Request},
    http::{HeaderMap, Response, StatusCode, Uri, header},
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::rfc3339,
    desk::Desk,
    failure::{Operation, Service},
    wire::{Refusal, random_id},
};

const SEND: &str = "end-user-messaging:SendNotifyCodeVerification";

const LARGEST_BODY: usize = 64 * 1024;

/// The actions that each access key may call.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<String, BTreeSet<String>>);

impl Sessions {
    fn start(&mut self, policy: &Value) -> String {
        let statements = policy.get("Statement").and_then(Value::as_array);
        let actions = statements
            .into_iter()
            .flatten()
            .filter(|statement| statement.get("Effect") == Some(&"Allow".into()))
            .filter_map(|statement| statement.get("Action")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned);
        let id = random_id().replace('-', "").to_ascii_uppercase();
        let key = format!("ASIA{}", id.get(..16).unwrap_or_default());
        self.0.insert(key.clone(), actions.collect());
        key
    }

    /// The first of these actions that the session of the access key may not call.
    fn missing<'a>(
        &self,
        access_key: &str,
        mut needed: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let allowed = self.0.get(access_key)?;
        needed.find(|action| !allowed.contains(*action))
    }
}

/// Refuses a send if the session of its access key does not allow every action that a send needs.
pub(crate) fn check_permissions(
    desk: &Desk,
    headers: &HeaderMap,
    service: Service,
    operation: Operation,
) -> Result<(), Refusal> {
    if service != Service::EndUserMessaging || operation != Operation::Send {
        return Ok(());
    }
    let access_key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("Credential="))
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or_default();
    let facts = desk.facts();
    let needed = &facts.end_user_messaging.permissions;
    let needed = std::iter::once(SEND).chain(needed.iter().map(String::as_str));
    let missing = desk.sessions(|sessions| sessions.missing(access_key, needed));
    let Some(action) = missing else {
        return Ok(());
    };
    Err(Refusal::modelled(
        StatusCode::FORBIDDEN,
        "AccessDeniedException",
        format!(
            "User: arn:aws:sts::000000000000:federated-user/desk is not authorized to perform: {action} because no \
             session policy allows the {action} action"
        ),
    ))
}

pub(crate) fn is_for_sts(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    action: String,
    policy: Option<String>,
}

const IDENTITY: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:user/desk</Arn><UserId>AIDADESK</UserId>\
    <Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";

const UNKNOWN: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>The simulator \
    knows GetCallerIdentity, and GetFederationToken and AssumeRole with a session policy.</Message></Error></ErrorResponse>";

/// `GetCallerIdentity`, and `GetFederationToken` and `AssumeRole` with a session policy.
pub(crate) async fn answer(desk: &Desk, request: Request) -> Response<Body> {
    let body = to_bytes(request.into_body(), LARGEST_BODY).await;
    let asked = body.ok().and_then(|body| {
        let uri: Uri = format!("/?{}", str::from_utf8(&body).ok()?).parse().ok()?;
        Query::<Asked>::try_from_uri(&uri).ok()
    });
    let body = asked.and_then(|Query(asked)| match asked.action.as_str() {
        "GetCallerIdentity" => Some(IDENTITY.to_owned()),
        action @ ("GetFederationToken" | "AssumeRole") => {
            let policy = serde_json::from_str(&asked.policy?).ok()?;
            Some(session(desk, action, &policy))
        }
        _ => None,
    });
    let (status, body) = match body {
        Some(body) => (StatusCode::OK, body),
        None => (StatusCode::BAD_REQUEST, UNKNOWN.to_owned()),
    };
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn session(desk: &Desk, action: &str, policy: &Value) -> String {
    let key = desk.sessions(|sessions| sessions.start(policy));
    let until = rfc3339(desk.now() + Duration::from_mins(15));
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>desk</SecretAccessKey><SessionToken>desk</SessionToken>\
         <Expiration>{until}</Expiration></Credentials></{action}Result></{action}Response>"
    )
}
