//! The code verification of AWS End User Messaging on the wire.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    routing::any,
};
use serde_json::{Value, json};

use crate::{
    codes::{CodeKey, DIGITS, LETTERS, LETTERS_AND_DIGITS, Rules},
    desk::{Desk, SendRequest},
    failure::{Failure, Operation, Service},
    message::{Content, PLACEHOLDER},
    wire::{Asked, Call, Members, OnTheWire, Refusal, Unfit, answer, is_e164, random_id},
};

pub(crate) fn routes() -> Router<Arc<Desk>> {
    let send = |State(desk): State<Arc<Desk>>, request: Request| async move {
        answer(&desk, CodeCall(Operation::Send), request).await
    };
    let validate = |State(desk): State<Arc<Desk>>, request: Request| async move {
        answer(&desk, CodeCall(Operation::Verify), request).await
    };
    Router::new()
        .route("/v1/notify-code-verifications/send", any(send))
        .route("/v1/notify-code-verifications/validate", any(validate))
}

struct CodeCall(Operation);

impl Call for CodeCall {
    const SERVICE: Service = Service::EndUserMessaging;
    const SIGNING_NAME: &'static str = "end-user-messaging";
    const CONTENT_TYPE: &'static str = "application/json";

    fn operation(&self) -> Operation {
        self.0
    }

    fn application_id(&self) -> &'static str {
        ""
    }

    fn admit(&self, _: &Desk, method: &Method) -> Result<(), Refusal> {
        if method != Method::POST {
            return Err(Refusal::gateway(
                StatusCode::NOT_FOUND,
                "UnknownOperationException",
                "Unknown operation",
            ));
        }
        Ok(())
    }

    fn destination<'a>(&self, body: &'a Value) -> Option<&'a str> {
        body.get("destinationIdentity")?.as_str()
    }

    fn carry_out(&self, desk: &Desk, asked: &Asked<'_>) -> Result<Value, Refusal> {
        if self.0 == Operation::Send {
            send(desk, asked)
        } else {
            validate(desk, asked).map_err(invalid)
        }
    }

    fn refusal(failure: &Failure) -> Option<Refusal> {
        Some(match failure {
            Failure::BadRequest => Refusal::modelled(
                StatusCode::BAD_REQUEST,
                "ValidationException",
                "The request is not valid.",
            ),
            Failure::Forbidden | Failure::AccessDenied => Refusal::modelled(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                Refusal::NOT_AUTHORIZED,
            ),
            Failure::NotFound => not_found("notify-code-configuration", "desk"),
            Failure::Conflict => Refusal::modelled(
                StatusCode::CONFLICT,
                "ConflictException",
                "The request conflicts with the current state of the resource.",
            ),
            Failure::ServiceQuotaExceeded => Refusal::modelled(
                StatusCode::BAD_REQUEST,
                "ServiceQuotaExceededException",
                "The request would exceed a service quota for your account.",
            ),
            Failure::TooManyRequests => Refusal::modelled(
                StatusCode::TOO_MANY_REQUESTS,
                "ThrottlingException",
                "Rate exceeded",
            ),
            Failure::InternalServerError => Refusal::modelled(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerException",
                "An unexpected error occurred during the processing of the request.",
            ),
            _ => return Refusal::of_the_gateway(failure),
        })
    }

    fn too_large() -> Refusal {
        Refusal::gateway(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            "Request entity too large",
        )
    }

    fn refused(refusal: Refusal, _: &str) -> OnTheWire {
        let mut body = refusal.more;
        body.insert("message".to_owned(), refusal.message.into());
        (
            refusal.status,
            Some(refusal.error_type),
            Value::Object(body).to_string(),
        )
    }
}

fn send(desk: &Desk, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let Parsed {
        key,
        from,
        rules,
        template,
    } = parse(asked.body).map_err(invalid)?;
    let content = match template {
        Template::Inline(content) => content,
        // There are none of either here.
        Template::Managed(id) => return Err(not_found("notify-template", id)),
        Template::OfConfiguration(id) => return Err(not_found("notify-code-configuration", id)),
    };
    if let Some(refusal) = asked
        .failure
        .and_then(|failure| undeliverable(failure, &key.to))
    {
        return Err(refusal);
    }
    let request = SendRequest {
        key,
        from: from.to_owned(),
        rules,
        content,
    };
    let message_id = random_id();
    desk.send(request, message_id.clone());
    Ok(json!({"verificationId": random_id(), "messageId": message_id}))
}

fn validate(desk: &Desk, asked: &Asked<'_>) -> Result<Value, Unfit> {
    let members = Members::of(asked.body)?;
    let to = members.matching("destinationIdentity", 1..=20, is_identity)?;
    let reference_id = members.matching("referenceId", 1..=256, is_name)?;
    let code = members.matching("code", 4..=8, |character| character.is_ascii_alphanumeric())?;
    let key = key(members.present("destinationIdentity", to)?, reference_id);
    let code = members.present("code", code)?;
    // No code is empty.
    let is_right = desk.verify(&key, if asked.every_guess_is_wrong { "" } else { code });
    let status = match asked.failure {
        Some(Failure::UnheardOfStatus) => "LOST_IN_SPACE",
        _ if is_right => "VALID",
        _ => "INVALID",
    };
    Ok(json!({ "status": status }))
}

/// The codes of an account are in one key space, without applications.
fn key(to: &str, reference_id: Option<&str>) -> CodeKey {
    CodeKey {
        service: Service::EndUserMessaging,
        application_id: String::new(),
        to: to.to_owned(),
        reference_id: reference_id.unwrap_or_default().to_owned(),
    }
}

struct Parsed<'a> {
    key: CodeKey,
    from: &'a str,
    rules: Rules,
    template: Template<'a>,
}

/// What gives a message its words.
enum Template<'a> {
    Inline(Content),
    /// One of AWS's own.
    Managed(&'a str),
    OfConfiguration(&'a str),
}

fn parse(body: &Value) -> Result<Parsed<'_>, Unfit> {
    let members = Members::of(body)?;
    let channel = members.required("channel")?;
    let to = members.matching("destinationIdentity", 1..=20, is_identity)?;
    let to = members.present("destinationIdentity", to)?;
    if channel != "WHATSAPP" && !is_e164(to) {
        return Err(members.unfit(
            "destinationIdentity",
            "must be a phone number in E.164 format.",
        ));
    }
    let from = members.matching("originationIdentity", 1..=256, |c| {
        c.is_ascii_alphanumeric() || "_:/+-".contains(c)
    })?;
    let from = members.present("originationIdentity", from)?;
    let configuration = members.matching("notifyCodeConfiguration", 1..=256, |c| {
        c.is_ascii_alphanumeric() || "_:/-".contains(c)
    })?;
    let reference_id = members.matching("referenceId", 1..=256, is_name)?;
    // What goes into the events about a message: only the shape can be wrong here.
    members.matching("configurationSetName", 1..=256, is_name)?;
    pairs(&members, "context", 5, 100, 800)?;

    let rules = rules(&members.inside("overrideCodeConfigurationParameters")?)?;
    let parameters = members.inside("overrideChannelParameters")?;
    // Those of other channels may be there, too, and say nothing.
    let content = match channel {
        "TEXT" => text(&parameters.inside("text")?)?,
        "VOICE" => call(&parameters.inside("voice")?)?,
        "WHATSAPP" => chat(&parameters.inside("whatsApp")?)?,
        _ => return Err(members.unfit("channel", "must be TEXT, VOICE or WHATSAPP.")),
    };
    let managed = managed(&parameters.inside("notify")?)?.filter(|_| channel != "WHATSAPP");
    let template = match (configuration, content, managed) {
        (Some(configuration), ..) => Template::OfConfiguration(configuration),
        (_, Some(content), _) => Template::Inline(content),
        (.., Some(managed)) => Template::Managed(managed),
        _ => {
            return Err(members.unfit(
                "overrideChannelParameters",
                "must have the template of the channel.",
            ));
        }
    };
    Ok(Parsed {
        key: key(to, reference_id),
        from,
        rules,
        template,
    })
}

/// How the code is made. The defaults are those of AWS's documentation.
fn rules(overrides: &Members<'_>) -> Result<Rules, Unfit> {
    let characters = match overrides.optional("codeType")?.unwrap_or("NUMERIC") {
        "NUMERIC" => DIGITS,
        "ALPHA" => LETTERS,
        "ALPHANUMERIC" => LETTERS_AND_DIGITS,
        _ => return Err(overrides.unfit("codeType", "must be NUMERIC, ALPHA or ALPHANUMERIC.")),
    };
    Ok(Rules {
        characters,
        length: overrides.within("codeLength", 4..=8, 6)?.into(),
        validity: Duration::from_mins(
            overrides
                .within("validityPeriodMinutes", 1..=60, 10)?
                .into(),
        ),
        attempts: overrides.within("maxAttempts", 1..=5, 3)?.into(),
    })
}

fn text(parameters: &Members<'_>) -> Result<Option<Content>, Unfit> {
    // For India and the like, passed on to the operators there: only the shape can be wrong here.
    pairs(parameters, "destinationCountryParameters", 10, 64, 64)?;
    Ok(inline_template(parameters)?.map(|template| Content::Text { template }))
}

/// A call. AWS does not say what becomes of a template that is no SSML although it is said to be some: it is refused.
fn call(voice: &Members<'_>) -> Result<Option<Content>, Unfit> {
    let language = voice.matching("languageCode", 2..=35, |c| !c.is_whitespace())?;
    let voice_id = voice.matching("voiceId", 1..=64, |c| c.is_ascii_alphanumeric())?;
    let is_ssml = match voice
        .optional("voiceMessageBodyTextType")?
        .unwrap_or("TEXT")
    {
        "TEXT" => false,
        "SSML" => true,
        _ => return Err(voice.unfit("voiceMessageBodyTextType", "must be TEXT or SSML.")),
    };
    let Some(template) = inline_template(voice)? else {
        return Ok(None);
    };
    let language = voice.present("languageCode", language)?.to_owned();
    let content = Content::Call {
        template,
        is_ssml,
        language,
        voice_id: voice_id.map(str::to_owned),
    };
    if content.with("000000").is_none() {
        return Err(voice.unfit("inlineTemplateBody", "must be well-formed SSML."));
    }
    Ok(Some(content))
}

fn chat(parameters: &Members<'_>) -> Result<Option<Content>, Unfit> {
    let language = parameters.matching("languageCode", 2..=35, |c| !c.is_whitespace())?;
    let Some(template) =
        parameters.matching("whatsAppTemplateName", 1..=512, |c| !c.is_whitespace())?
    else {
        return Ok(None);
    };
    let language = parameters.present("languageCode", language)?.to_owned();
    Ok(Some(Content::WhatsApp {
        template: template.to_owned(),
        language,
    }))
}

fn inline_template(parameters: &Members<'_>) -> Result<Option<String>, Unfit> {
    let Some(template) = parameters.matching("inlineTemplateBody", 1..=6000, |_| true)? else {
        return Ok(None);
    };
    if !template.contains(PLACEHOLDER) {
        return Err(parameters.unfit(
            "inlineTemplateBody",
            "must contain the placeholder {{code}}.",
        ));
    }
    Ok(Some(template.to_owned()))
}

/// The name of one of AWS's own templates.
fn managed<'a>(notify: &Members<'a>) -> Result<Option<&'a str>, Unfit> {
    notify.matching("voiceId", 1..=64, |c| c.is_ascii_alphanumeric())?;
    notify.matching("notifyTemplateId", 1..=256, is_name)
}

/// A map of strings, of so many pairs and so many characters.
fn pairs(
    members: &Members<'_>,
    name: &str,
    most: usize,
    longest_name: usize,
    longest_value: usize,
) -> Result<(), Unfit> {
    let map = members.inside(name)?;
    if map.names().count() > most {
        return Err(members.unfit(name, &format!("must have at most {most} pairs.")));
    }
    for key in map.names() {
        let value = map.matching(key, 1..=longest_value, |_| true)?;
        let is_trimmed = value.is_none_or(|value| value.trim() == value);
        if !(1..=longest_name).contains(&key.chars().count())
            || key.contains(char::is_whitespace)
            || !is_trimmed
        {
            return Err(members.unfit(name, "has a name or a value that is not allowed."));
        }
    }
    Ok(())
}

fn is_identity(character: char) -> bool {
    character.is_ascii_graphic() && character != '#'
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// What AWS says of a number that cannot have the message. Which exception, and in which words, is not documented; that no
/// other member tells the reason, and that the number may be in it, is all that can be relied on.
fn undeliverable(failure: &Failure, to: &str) -> Option<Refusal> {
    Some(match failure {
        Failure::OptOut => Refusal::modelled(
            StatusCode::CONFLICT,
            "ConflictException",
            format!("Destination phone number {to} has opted out of receiving messages."),
        ),
        Failure::PermanentFailure => Refusal::modelled(
            StatusCode::BAD_REQUEST,
            "ValidationException",
            format!("Destination phone number {to} is a landline and cannot receive this message."),
        ),
        _ => return None,
    })
}

fn invalid(unfit: Unfit) -> Refusal {
    let fields = json!([{"path": unfit.path, "message": unfit.message}]);
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ValidationException",
        unfit.message,
    )
    .with("fieldList", fields)
}

fn not_found(resource_type: &str, resource_id: &str) -> Refusal {
    Refusal::modelled(
        StatusCode::NOT_FOUND,
        "ResourceNotFoundException",
        "Resource not found",
    )
    .with("resourceType", resource_type)
    .with("resourceId", resource_id)
}
