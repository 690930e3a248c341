//! The protocol of code verification in AWS End User Messaging.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    routing::any,
};
use serde_json::{Value, json};

use crate::{
    codes::{CodeKey, DIGITS, LETTERS, LETTERS_AND_DIGITS, Rules, Verdict},
    desk::{Desk, SendRequest},
    facts::NotAccepted,
    failure::{Failure, Operation, Service},
    message::{Content, PLACEHOLDER},
    notify::{Asked, Refused, is_notify_configuration},
    wire::{
        Call, CallInput, Fields, InvalidField, Refusal, WireResponse, answer, is_e164, random_id,
    },
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

    fn carry_out(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
        if self.0 == Operation::Send {
            send(desk, input)
        } else {
            validate(desk, input)
        }
    }

    fn refusal(failure: &Failure) -> Option<Refusal> {
        Some(match failure {
            Failure::BadRequest => not_valid(),
            Failure::NotFound => not_found("notify-code-configuration", "desk"),
            Failure::Conflict => conflict(),
            Failure::ServiceQuotaExceeded => Refusal::modelled(
                StatusCode::BAD_REQUEST,
                "ServiceQuotaExceededException",
                "The request would exceed a service quota for your account.",
            ),
            _ => return Refusal::with_common_name(failure),
        })
    }

    fn too_large() -> Refusal {
        Refusal::entity_too_large()
    }

    fn refused(refusal: Refusal, _: &str) -> WireResponse {
        let mut body = refusal.more;
        body.insert("message".to_owned(), refusal.message.into());
        (
            refusal.status,
            Some(refusal.error_type),
            Value::Object(body).to_string(),
        )
    }
}

fn send(desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
    let Parsed {
        key,
        from,
        rules,
        template,
    } = parse(input.body).map_err(invalid)?;
    if let Some(refusal) = input
        .failure
        .and_then(|failure| undeliverable(failure, &key.to))
    {
        return Err(refusal);
    }
    let facts = desk.facts();
    if !facts.end_user_messaging.notify_identity.takes(from) {
        return Err(not_found("notify-configuration", from));
    }
    if desk.refuses_a_send(&key) {
        return Err(conflict());
    }
    let content = match template {
        Template::Inline(content) => content,
        // The simulator has neither.
        Template::Managed(id) => return Err(not_found("notify-template", id)),
        Template::OfConfiguration(id) => return Err(not_found("notify-code-configuration", id)),
        Template::Notify(asked) => {
            let message = desk
                .notify(|notify, now| notify.send(asked, now))
                .map_err(refused_by_notify)?;
            Content::Notify {
                message,
                is_call: asked.channel == "VOICE",
            }
        }
    };
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

fn validate(desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
    let (key, code) = guess(input.body).map_err(invalid)?;
    // The empty string never equals a code.
    let verdict = desk.verify(&key, if input.every_guess_is_wrong { "" } else { code });
    let status = match (input.failure, verdict) {
        (Some(Failure::UnheardOfStatus), _) => "LOST_IN_SPACE",
        (_, Verdict::Right) => "VALID",
        (_, Verdict::Not(NotAccepted::Wrong)) => "INVALID",
        (_, Verdict::Not(NotAccepted::NotFound)) => {
            return Err(not_found("notify-code-verification", &key.reference_id));
        }
        (_, Verdict::Not(NotAccepted::BadRequest)) => return Err(not_valid()),
    };
    Ok(json!({ "status": status }))
}

fn guess(body: &Value) -> Result<(CodeKey, &str), InvalidField> {
    let fields = Fields::of(body)?;
    let to = fields.matching("destinationIdentity", 1..=20, is_identity)?;
    let reference_id = fields.matching("referenceId", 1..=256, is_name)?;
    let code = fields.matching("code", 4..=8, |character| character.is_ascii_alphanumeric())?;
    let key = key(fields.present("destinationIdentity", to)?, reference_id);
    Ok((key, fields.present("code", code)?))
}

/// An account has one key space for its codes, without applications.
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

/// The source of a message's text.
enum Template<'a> {
    Inline(Content),
    /// One of AWS's own templates.
    Managed(&'a str),
    OfConfiguration(&'a str),
    Notify(Asked<'a>),
}

fn parse(body: &Value) -> Result<Parsed<'_>, InvalidField> {
    let fields = Fields::of(body)?;
    let channel = fields.required("channel")?;
    let to = fields.matching("destinationIdentity", 1..=20, is_identity)?;
    let to = fields.present("destinationIdentity", to)?;
    if channel != "WHATSAPP" && !is_e164(to) {
        return Err(fields.invalid(
            "destinationIdentity",
            "must be a phone number in E.164 format.",
        ));
    }
    let from = fields.matching("originationIdentity", 1..=256, |c| {
        c.is_ascii_alphanumeric() || "_:/+-".contains(c)
    })?;
    let from = fields.present("originationIdentity", from)?;
    let configuration = fields.matching("notifyCodeConfiguration", 1..=256, |c| {
        c.is_ascii_alphanumeric() || "_:/-".contains(c)
    })?;
    let reference_id = fields.matching("referenceId", 1..=256, is_name)?;
    // AWS uses this name in the events about a message. The simulator makes no such events, and checks only the syntax.
    fields.matching("configurationSetName", 1..=256, is_name)?;
    pairs(&fields, "context", 5, 100, 800)?;

    let rules = rules(&fields.inside("overrideCodeConfigurationParameters")?)?;
    let parameters = fields.inside("overrideChannelParameters")?;
    // The parameters of other channels are allowed and ignored.
    let content = match channel {
        "TEXT" => text(&parameters.inside("text")?)?,
        "VOICE" => call(&parameters.inside("voice")?)?,
        "WHATSAPP" => chat(&parameters.inside("whatsApp")?)?,
        _ => return Err(fields.invalid("channel", "must be TEXT, VOICE or WHATSAPP.")),
    };
    let notify = parameters.inside("notify")?;
    let managed = managed(&notify)?.filter(|_| channel != "WHATSAPP");
    let is_notify = is_notify_configuration(from);
    if is_notify && channel == "WHATSAPP" {
        return Err(fields.invalid(
            "channel",
            "must be TEXT or VOICE for a notify configuration.",
        ));
    }
    let template = match (configuration, content, managed) {
        // The route follows from the sender, and other parameters are ignored.
        (None, ..) if is_notify => Template::Notify(Asked {
            from,
            to,
            channel,
            template: managed,
            voice: notify.optional("voiceId")?,
        }),
        (Some(configuration), ..) => Template::OfConfiguration(configuration),
        (_, Some(content), _) => Template::Inline(content),
        (.., Some(managed)) => Template::Managed(managed),
        _ => {
            return Err(fields.invalid(
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

/// The defaults are from AWS's documentation.
fn rules(overrides: &Fields<'_>) -> Result<Rules, InvalidField> {
    let characters = match overrides.optional("codeType")?.unwrap_or("NUMERIC") {
        "NUMERIC" => DIGITS,
        "ALPHA" => LETTERS,
        "ALPHANUMERIC" => LETTERS_AND_DIGITS,
        _ => return Err(overrides.invalid("codeType", "must be NUMERIC, ALPHA or ALPHANUMERIC.")),
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

fn text(parameters: &Fields<'_>) -> Result<Option<Content>, InvalidField> {
    // For countries such as India and passed on to their operators, so only the syntax is checked.
    pairs(parameters, "destinationCountryParameters", 10, 64, 64)?;
    Ok(inline_template(parameters)?.map(|template| Content::Text { template }))
}

/// AWS does not document what happens to invalid SSML. Here it is refused.
fn call(voice: &Fields<'_>) -> Result<Option<Content>, InvalidField> {
    let language = voice.matching("languageCode", 2..=35, |c| !c.is_whitespace())?;
    let voice_id = voice.matching("voiceId", 1..=64, |c| c.is_ascii_alphanumeric())?;
    let is_ssml = match voice
        .optional("voiceMessageBodyTextType")?
        .unwrap_or("TEXT")
    {
        "TEXT" => false,
        "SSML" => true,
        _ => return Err(voice.invalid("voiceMessageBodyTextType", "must be TEXT or SSML.")),
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
    if content.render("000000").is_none() {
        return Err(voice.invalid("inlineTemplateBody", "must be well-formed SSML."));
    }
    Ok(Some(content))
}

fn chat(parameters: &Fields<'_>) -> Result<Option<Content>, InvalidField> {
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

fn inline_template(parameters: &Fields<'_>) -> Result<Option<String>, InvalidField> {
    let Some(template) = parameters.matching("inlineTemplateBody", 1..=6000, |_| true)? else {
        return Ok(None);
    };
    if !template.contains(PLACEHOLDER) {
        return Err(parameters.invalid(
            "inlineTemplateBody",
            "must contain the placeholder {{code}}.",
        ));
    }
    Ok(Some(template.to_owned()))
}

/// The ID of one of AWS's own templates.
fn managed<'a>(notify: &Fields<'a>) -> Result<Option<&'a str>, InvalidField> {
    notify.matching("voiceId", 1..=64, |c| c.is_ascii_alphanumeric())?;
    notify.matching("notifyTemplateId", 1..=256, is_name)
}

/// Checks a map of strings: the number of pairs and the lengths of names and values.
fn pairs(
    fields: &Fields<'_>,
    name: &str,
    most: usize,
    longest_name: usize,
    longest_value: usize,
) -> Result<(), InvalidField> {
    let map = fields.inside(name)?;
    if map.names().count() > most {
        return Err(fields.invalid(name, &format!("must have at most {most} pairs.")));
    }
    for key in map.names() {
        let value = map.matching(key, 1..=longest_value, |_| true)?;
        let is_trimmed = value.is_none_or(|value| value.trim() == value);
        if !(1..=longest_name).contains(&key.chars().count())
            || key.contains(char::is_whitespace)
            || !is_trimmed
        {
            return Err(fields.invalid(name, "has a name or a value that is not allowed."));
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

/// The refusal for a number that cannot receive the message. AWS documents neither the exception nor the text of the
/// exception, so the simulator makes up both. Two facts are certain: only the text gives the reason, and the text may
/// contain the number.
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

fn refused_by_notify(refused: Refused) -> Refusal {
    match refused {
        Refused::NotFound(kind, id) => not_found(kind, &id),
        Refused::Invalid(_, why) => {
            Refusal::modelled(StatusCode::BAD_REQUEST, "ValidationException", why)
        }
        Refused::NotActive(status) => Refusal::modelled(
            StatusCode::CONFLICT,
            "ConflictException",
            format!("The notify configuration is not active: its status is {status}."),
        ),
        Refused::Quota(_, why) => Refusal::modelled(
            StatusCode::BAD_REQUEST,
            "ServiceQuotaExceededException",
            why,
        ),
        Refused::TooFast => Refusal::modelled(
            StatusCode::TOO_MANY_REQUESTS,
            "ThrottlingException",
            "Rate exceeded",
        ),
    }
}

fn conflict() -> Refusal {
    Refusal::modelled(
        StatusCode::CONFLICT,
        "ConflictException",
        "The request conflicts with the current state of the resource.",
    )
}

fn not_valid() -> Refusal {
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ValidationException",
        "The request is not valid.",
    )
}

fn invalid(invalid_field: InvalidField) -> Refusal {
    let fields = json!([{"path": invalid_field.path, "message": invalid_field.message}]);
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ValidationException",
        invalid_field.message,
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
