//! Code verification with End User Messaging, and the feedback about its messages.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Channel, Feedback, Message, Operation, Service, Simulator};

use crate::client::{
    Answer, NUMBER, SIGNATURE, call, get, post, request, send as send_by_pinpoint, started,
};

const PATIENCE: Duration = Duration::from_secs(2);
const SEND: &str = "/v1/notify-code-verifications/send";
const VALIDATE: &str = "/v1/notify-code-verifications/validate";

/// The body of a text with every field and these changes. A null removes a field.
fn text(changes: Value) -> Value {
    let mut body = json!({
        "channel": "TEXT", "destinationIdentity": NUMBER, "originationIdentity": "+12065550100",
        "overrideChannelParameters": {"text": {
            "inlineTemplateBody": "{{code}} is your code from Ex\u{e4}mple {{brand}}. Again: {{code}}",
            "destinationCountryParameters": {"IN_ENTITY_ID": "1101", "IN_TEMPLATE_ID": "1107"},
        }},
        "overrideCodeConfigurationParameters":
            {"codeType": "NUMERIC", "codeLength": 6, "validityPeriodMinutes": 10, "maxAttempts": 3},
        "configurationSetName": "codes", "context": {"tenant": "a b"}, "referenceId": "signup",
    });
    if let Value::Object(changes) = changes {
        body.as_object_mut().unwrap().extend(changes);
    }
    body
}

fn voice(parameters: &Value) -> Value {
    text(json!({"channel": "VOICE", "overrideChannelParameters": {"voice": parameters}}))
}

fn chat(parameters: &Value) -> Value {
    text(json!({"channel": "WHATSAPP", "overrideChannelParameters": {"whatsApp": parameters}}))
}

fn try_send(simulator: &Simulator, body: &Value) -> Answer {
    call(
        PATIENCE,
        simulator,
        Service::EndUserMessaging,
        Operation::Send,
        body,
    )
    .unwrap()
}

fn sent(simulator: &Simulator, body: &Value) -> Message {
    let answer = try_send(simulator, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    simulator.newest_to(NUMBER).unwrap()
}

fn try_validate(simulator: &Simulator, body: &Value) -> Answer {
    call(
        PATIENCE,
        simulator,
        Service::EndUserMessaging,
        Operation::Verify,
        body,
    )
    .unwrap()
}

fn status(simulator: &Simulator, code: &str) -> Value {
    let body = json!({"destinationIdentity": NUMBER, "referenceId": "signup", "code": code});
    let answer = try_validate(simulator, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["status"].clone()
}

/// The path of the only field that is wrong.
fn field(answer: &Answer) -> String {
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("ValidationException"))
    );
    let body = answer.json();
    assert_eq!(body["fieldList"][0]["message"], body["message"]);
    body["fieldList"][0]["path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_send_returns_two_ids_and_the_message_has_the_code_in_every_placeholder() {
    let simulator = started().await;
    let answer = try_send(&simulator, &text(json!({})));
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert!(answer.header("x-amzn-requestid").is_some());
    let message = simulator.newest_to(NUMBER).unwrap();
    let answer = answer.json();
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["messageId"], message.message_id);
    assert_ne!(answer["verificationId"], message.message_id);

    let code = &message.code;
    assert_eq!(
        message.text,
        format!("{code} is your code from Exämple {{{{brand}}}}. Again: {code}")
    );
    assert_eq!(
        (message.channel, message.service),
        (Channel::Sms, Service::EndUserMessaging)
    );
    assert_eq!(
        (message.from.as_str(), message.reference_id.as_str()),
        ("+12065550100", "signup")
    );
    assert_eq!(
        message.expires_at,
        message.sent_at + Duration::from_mins(10)
    );
}

#[tokio::test]
async fn a_right_code_is_valid_once_and_all_other_codes_are_invalid() {
    let simulator = started().await;
    assert_eq!(status(&simulator, "123456"), "INVALID");
    let code = sent(&simulator, &text(json!({}))).code;
    assert_eq!(status(&simulator, "wrong1"), "INVALID");
    assert_eq!(status(&simulator, &code), "VALID");
    assert_eq!(status(&simulator, &code), "INVALID");

    let code = sent(&simulator, &text(json!({}))).code;
    for _ in 0..3 {
        assert_eq!(status(&simulator, "wrong1"), "INVALID");
    }
    assert_eq!(status(&simulator, &code), "INVALID");

    let code = sent(&simulator, &text(json!({}))).code;
    simulator.advance(Duration::from_mins(10));
    assert_eq!(status(&simulator, &code), "INVALID");
}

#[tokio::test]
async fn a_code_is_valid_only_for_its_own_number_reference_and_service() {
    let simulator = started().await;
    let by_pinpoint = send_by_pinpoint(&simulator);
    let code = sent(&simulator, &text(json!({}))).code;
    let answer = try_validate(
        &simulator,
        &json!({"destinationIdentity": NUMBER, "code": code}),
    );
    assert_eq!(answer.json(), json!({"status": "INVALID"}));
    for (to, reference) in [("+14255550143", "signup"), (NUMBER, "login")] {
        let body = json!({"destinationIdentity": to, "referenceId": reference, "code": code});
        assert_eq!(
            try_validate(&simulator, &body).json(),
            json!({"status": "INVALID"})
        );
    }
    // Two codes can be equal by chance.
    if by_pinpoint != code {
        assert_eq!(status(&simulator, &by_pinpoint), "INVALID");
        assert!(!crate::client::verify(&simulator, &code));
    }
    assert_eq!(status(&simulator, &code), "VALID");
    assert!(crate::client::verify(&simulator, &by_pinpoint));

    let code = sent(&simulator, &text(json!({"referenceId": null}))).code;
    assert_eq!(status(&simulator, &code), "INVALID");
    let answer = try_validate(
        &simulator,
        &json!({"destinationIdentity": NUMBER, "code": code}),
    );
    assert_eq!(answer.json(), json!({"status": "VALID"}));
}

#[tokio::test]
async fn codes_have_the_requested_characters_and_length_and_are_case_sensitive() {
    let simulator = started().await;
    for (kind, allowed) in [
        ("NUMERIC", "0123456789"),
        ("ALPHA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("ALPHANUMERIC", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
    ] {
        for length in [4, 8] {
            let rules = json!({"codeType": kind, "codeLength": length});
            let code = sent(
                &simulator,
                &text(json!({ "overrideCodeConfigurationParameters": rules })),
            )
            .code;
            assert!(
                code.len() == length && code.chars().all(|character| allowed.contains(character)),
                "{code}"
            );
            assert_eq!(status(&simulator, &code), "VALID");
        }
    }
    let rules = json!({"codeType": "ALPHA"});
    let code = sent(
        &simulator,
        &text(json!({ "overrideCodeConfigurationParameters": rules })),
    )
    .code;
    assert_eq!(status(&simulator, &code.to_ascii_lowercase()), "INVALID");
    assert_eq!(status(&simulator, &code), "VALID");
}

#[tokio::test]
async fn absent_optional_fields_have_awss_defaults() {
    let simulator = started().await;
    let message = sent(
        &simulator,
        &json!({
            "channel": "TEXT", "destinationIdentity": NUMBER, "originationIdentity": "ExampleCo",
            "overrideChannelParameters": {"text": {"inlineTemplateBody": "{{code}}"}},
        }),
    );
    assert!(message.code.len() == 6 && message.code.bytes().all(|digit| digit.is_ascii_digit()));
    assert_eq!(
        message.expires_at,
        message.sent_at + Duration::from_mins(10)
    );
    assert_eq!(
        (
            message.reference_id.as_str(),
            message.language.as_str(),
            message.brand.as_str()
        ),
        ("", "", "")
    );
    assert_eq!(simulator.codes()[0].attempts_left, 3);
}

#[tokio::test]
async fn a_call_has_the_words_that_a_person_hears() {
    let simulator = started().await;
    let template = "<speak>Example &amp; Co: <say-as interpret-as=\"digits\">{{code}}</say-as><break time=\"1s\"/> \
                    Again: <prosody rate=\"slow\"><say-as interpret-as='characters'>{{code}}</say-as></prosody></speak>";
    let message = sent(
        &simulator,
        &voice(&json!({
            "inlineTemplateBody": template, "languageCode": "en-GB", "voiceId": "Amy", "voiceMessageBodyTextType": "SSML",
        })),
    );
    let spelled = message
        .code
        .chars()
        .map(String::from)
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(
        message.text,
        format!("Example & Co: {spelled} … Again: {spelled}")
    );
    assert_eq!(
        (message.channel, message.language.as_str()),
        (Channel::Voice, "en-GB")
    );
    assert_eq!(message.voice_id.as_deref(), Some("Amy"));
    assert_eq!(status(&simulator, &message.code), "VALID");

    // A plain text is read out unchanged, with its tags.
    let plain = json!({"inlineTemplateBody": "<b>{{code}}", "languageCode": "en-GB"});
    let message = sent(&simulator, &voice(&plain));
    assert_eq!(
        (message.text, message.voice_id),
        (format!("<b>{}", message.code), None)
    );
}

#[tokio::test]
async fn a_whatsapp_message_names_its_template() {
    let simulator = started().await;
    let message = sent(
        &simulator,
        &chat(&json!({"whatsAppTemplateName": "otp_en", "languageCode": "en"})),
    );
    assert_eq!(
        (message.channel, message.template.as_deref()),
        (Channel::WhatsApp, Some("otp_en"))
    );
    assert_eq!(
        (message.language.as_str(), message.text),
        ("en", format!("{} is your verification code.", message.code))
    );
    assert_eq!(status(&simulator, &message.code), "VALID");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn an_invalid_send_is_a_validation_exception_that_points_at_the_field() {
    let simulator = started().await;
    let rules = |rules: Value| json!({ "overrideCodeConfigurationParameters": rules });
    let body = |template: Value| json!({"overrideChannelParameters": {"text": {"inlineTemplateBody": template}}});
    for (changes, path) in [
        (json!({"channel": null}), "/channel"),
        (json!({"channel": "SMS"}), "/channel"),
        (json!({"channel": "text"}), "/channel"),
        (json!({"destinationIdentity": null}), "/destinationIdentity"),
        (json!({"destinationIdentity": 1}), "/destinationIdentity"),
        (
            json!({"destinationIdentity": "14255550142"}),
            "/destinationIdentity",
        ),
        (
            json!({"destinationIdentity": "+1 425 555 0142"}),
            "/destinationIdentity",
        ),
        (json!({"originationIdentity": null}), "/originationIdentity"),
        (json!({"originationIdentity": ""}), "/originationIdentity"),
        (
            json!({"originationIdentity": "a b"}),
            "/originationIdentity",
        ),
        (
            json!({"notifyCodeConfiguration": "a b"}),
            "/notifyCodeConfiguration",
        ),
        (json!({"referenceId": ""}), "/referenceId"),
        (json!({"referenceId": "+14255550142"}), "/referenceId"),
        (json!({"referenceId": "x".repeat(257)}), "/referenceId"),
        (
            json!({"configurationSetName": "arn:aws:x"}),
            "/configurationSetName",
        ),
        (
            json!({"context": {"1": "a", "2": "a", "3": "a", "4": "a", "5": "a", "6": "a"}}),
            "/context",
        ),
        (json!({"context": {"a b": "a"}}), "/context"),
        (json!({"context": {"a": " "}}), "/context"),
        (json!({"context": {"a": 1}}), "/context/a"),
        (json!({"context": []}), "/context"),
        (
            rules(json!({"codeType": "numeric"})),
            "/overrideCodeConfigurationParameters/codeType",
        ),
        (
            rules(json!({"codeLength": 3})),
            "/overrideCodeConfigurationParameters/codeLength",
        ),
        (
            rules(json!({"codeLength": 9})),
            "/overrideCodeConfigurationParameters/codeLength",
        ),
        (
            rules(json!({"codeLength": "6"})),
            "/overrideCodeConfigurationParameters/codeLength",
        ),
        (
            rules(json!({"validityPeriodMinutes": 0})),
            "/overrideCodeConfigurationParameters/validityPeriodMinutes",
        ),
        (
            rules(json!({"validityPeriodMinutes": 61})),
            "/overrideCodeConfigurationParameters/validityPeriodMinutes",
        ),
        (
            rules(json!({"maxAttempts": 0})),
            "/overrideCodeConfigurationParameters/maxAttempts",
        ),
        (
            rules(json!({"maxAttempts": 6})),
            "/overrideCodeConfigurationParameters/maxAttempts",
        ),
        (rules(json!(1)), "/overrideCodeConfigurationParameters"),
        (
            json!({"overrideChannelParameters": null}),
            "/overrideChannelParameters",
        ),
        (
            json!({"overrideChannelParameters": {"voice": {"inlineTemplateBody": "{{code}}", "languageCode": "en"}}}),
            "/overrideChannelParameters",
        ),
        (body(json!(null)), "/overrideChannelParameters"),
        (
            body(json!("no code")),
            "/overrideChannelParameters/text/inlineTemplateBody",
        ),
        (
            body(json!("{{ code }}")),
            "/overrideChannelParameters/text/inlineTemplateBody",
        ),
        (
            body(json!("")),
            "/overrideChannelParameters/text/inlineTemplateBody",
        ),
        (
            body(json!(format!("{{{{code}}}}{}", "x".repeat(5993)))),
            "/overrideChannelParameters/text/inlineTemplateBody",
        ),
    ] {
        assert_eq!(
            field(&try_send(&simulator, &text(changes.clone()))),
            path,
            "{changes}"
        );
    }
    for (parameters, path) in [
        (
            json!({"inlineTemplateBody": "{{code}}"}),
            "/overrideChannelParameters/voice/languageCode",
        ),
        (
            json!({"inlineTemplateBody": "{{code}}", "languageCode": "x"}),
            "/overrideChannelParameters/voice/languageCode",
        ),
        (
            json!({"inlineTemplateBody": "{{code}}", "languageCode": "en", "voiceId": "A-b"}),
            "/overrideChannelParameters/voice/voiceId",
        ),
        (
            json!({"inlineTemplateBody": "{{code}}", "languageCode": "en", "voiceMessageBodyTextType": "ssml"}),
            "/overrideChannelParameters/voice/voiceMessageBodyTextType",
        ),
        (
            json!({"inlineTemplateBody": "<speak>A & B {{code}}</speak>", "languageCode": "en",
            "voiceMessageBodyTextType": "SSML"}),
            "/overrideChannelParameters/voice/inlineTemplateBody",
        ),
        (json!({"languageCode": "en"}), "/overrideChannelParameters"),
    ] {
        assert_eq!(
            field(&try_send(&simulator, &voice(&parameters))),
            path,
            "{parameters}"
        );
    }
    for (parameters, path) in [
        (
            json!({"whatsAppTemplateName": "otp"}),
            "/overrideChannelParameters/whatsApp/languageCode",
        ),
        (json!({"languageCode": "en"}), "/overrideChannelParameters"),
    ] {
        assert_eq!(
            field(&try_send(&simulator, &chat(&parameters))),
            path,
            "{parameters}"
        );
    }
    for body in [json!([]), json!(null)] {
        assert_eq!(field(&try_send(&simulator, &body)), "");
    }
    assert!(simulator.inbox().is_empty());
}

#[tokio::test]
async fn every_value_in_range_is_accepted() {
    let simulator = started().await;
    for (length, validity, attempts) in [(4, 1, 1), (8, 60, 5)] {
        let rules = json!({"codeLength": length, "validityPeriodMinutes": validity, "maxAttempts": attempts});
        let message = sent(
            &simulator,
            &text(json!({ "overrideCodeConfigurationParameters": rules })),
        );
        assert_eq!(message.code.len(), length);
        assert_eq!(
            message.expires_at,
            message.sent_at + Duration::from_mins(validity)
        );
    }
    for changes in [
        json!({"referenceId": "a-Z_9".repeat(51)}),
        json!({"context": {"1": "a", "2": "a", "3": "a", "4": "a", "5": "a"}}),
        json!({"overrideChannelParameters": {"text": {"inlineTemplateBody": format!("{{{{code}}}}{}", "x".repeat(5992))}}}),
        json!({"somethingNew": [1]}),
    ] {
        sent(&simulator, &text(changes));
    }
}

#[tokio::test]
async fn configurations_and_managed_templates_are_not_found() {
    let simulator = started().await;
    for (changes, kind, id) in [
        (
            json!({"notifyCodeConfiguration": "mine"}),
            "notify-code-configuration",
            "mine",
        ),
        (
            json!({"notifyCodeConfiguration": "mine", "overrideChannelParameters": null}),
            "notify-code-configuration",
            "mine",
        ),
        (
            json!({"overrideChannelParameters": {"notify": {"notifyTemplateId": "theirs"}}}),
            "notify-template",
            "theirs",
        ),
    ] {
        let answer = try_send(&simulator, &text(changes));
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (404, Some("ResourceNotFoundException"))
        );
        let body = answer.json();
        assert_eq!(
            (&body["resourceType"], &body["resourceId"]),
            (&json!(kind), &json!(id))
        );
    }
    assert!(simulator.inbox().is_empty());
}

#[tokio::test]
async fn a_malformed_code_is_a_validation_exception_and_costs_no_attempt() {
    let simulator = started().await;
    sent(&simulator, &text(json!({})));
    for (code, path) in [
        (json!("123"), "/code"),
        (json!("123456789"), "/code"),
        (json!("12 456"), "/code"),
        (json!("١٢٣٤٥٦"), "/code"),
        (json!(123_456), "/code"),
        (json!(null), "/code"),
    ] {
        let body = json!({"destinationIdentity": NUMBER, "referenceId": "signup", "code": code});
        assert_eq!(field(&try_validate(&simulator, &body)), path, "{body}");
    }
    let body = json!({"destinationIdentity": NUMBER, "referenceId": "a b", "code": "123456"});
    assert_eq!(field(&try_validate(&simulator, &body)), "/referenceId");
    assert_eq!(
        field(&try_validate(&simulator, &json!({"code": "123456"}))),
        "/destinationIdentity"
    );
    assert_eq!(simulator.codes()[0].attempts_left, 3);
}

#[tokio::test]
async fn only_a_post_with_a_signature_for_this_service_is_accepted() {
    let simulator = started().await;
    let body = text(json!({}));
    for path in [SEND, VALIDATE] {
        let answer = post(&simulator, path, &body).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (403, Some("InvalidSignatureException"))
        );
        let signature = SIGNATURE.replace("mobiletargeting", "end-user-messaging");
        let answer = request(
            simulator.address,
            "GET",
            path,
            &[("authorization", &signature)],
            b"",
        )
        .unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (404, Some("UnknownOperationException"))
        );
    }
    assert!(simulator.inbox().is_empty());
}

#[tokio::test]
async fn records_name_the_service() {
    let simulator = started().await;
    send_by_pinpoint(&simulator);
    let body = text(json!({}));
    let message_id = sent(&simulator, &body).message_id;
    feedback(
        &simulator,
        &json!({"MessageId": message_id, "MessageFeedbackStatus": "FAILED"}),
    );
    let requests = simulator.requests(Operation::Send);
    let services: Vec<_> = requests.iter().map(|request| request.service).collect();
    assert_eq!(services, [Service::Pinpoint, Service::EndUserMessaging]);
    assert_eq!(
        (&requests[1].body, requests[1].application_id.as_str()),
        (&body, "")
    );
    assert_eq!(
        simulator.requests(Operation::Feedback)[0].body["MessageId"],
        message_id
    );

    let listed = get(&simulator, "/simulator/requests").json();
    assert_eq!(
        listed["counts"],
        json!({"send": 2, "verify": 0, "feedback": 1})
    );
    assert_eq!(listed["requests"][1]["service"], "end-user-messaging");
    assert_eq!(listed["requests"][2]["service"], "pinpoint-sms-voice-v2");
}

fn feedback(simulator: &Simulator, body: &Value) -> Answer {
    call(
        PATIENCE,
        simulator,
        Service::PinpointSmsVoiceV2,
        Operation::Feedback,
        body,
    )
    .unwrap()
}

#[tokio::test]
async fn feedback_is_kept_with_the_message_and_the_last_one_counts() {
    let simulator = started().await;
    let message = sent(&simulator, &text(json!({})));
    assert_eq!(message.feedback, None);
    for (status, expected) in [
        ("FAILED", Feedback::Failed),
        ("RECEIVED", Feedback::Received),
    ] {
        let body = json!({"MessageId": message.message_id, "MessageFeedbackStatus": status});
        let answer = feedback(&simulator, &body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/x-amz-json-1.0"))
        );
        assert_eq!(answer.json(), body);
        assert_eq!(
            simulator.newest_to(NUMBER).unwrap().feedback,
            Some(expected)
        );
        assert_eq!(
            get(&simulator, "/inbox").json()["messages"][0]["feedback"],
            status
        );
    }
}

#[tokio::test]
async fn feedback_on_unknown_messages_is_not_found_and_invalid_feedback_is_refused() {
    let simulator = started().await;
    send_by_pinpoint(&simulator);
    let by_pinpoint = simulator.inbox()[0].message_id.clone();
    for id in ["nobodys", &by_pinpoint] {
        let answer = feedback(
            &simulator,
            &json!({"MessageId": id, "MessageFeedbackStatus": "RECEIVED"}),
        );
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["__type"]),
            (400, &json!("ResourceNotFoundException"))
        );
        assert_eq!(
            (&body["ResourceType"], &body["ResourceId"]),
            (&json!("message"), &json!(id))
        );
        assert!(body["Message"].is_string());
    }
    for (body, name) in [
        (json!({"MessageFeedbackStatus": "RECEIVED"}), "MessageId"),
        (
            json!({"MessageId": "a b", "MessageFeedbackStatus": "RECEIVED"}),
            "MessageId",
        ),
        (json!({"MessageId": "a"}), "MessageFeedbackStatus"),
        (
            json!({"MessageId": "a", "MessageFeedbackStatus": "received"}),
            "MessageFeedbackStatus",
        ),
    ] {
        let answer = feedback(&simulator, &body);
        assert_eq!(
            (answer.status, &answer.json()["__type"]),
            (400, &json!("ValidationException")),
            "{body}"
        );
        assert_eq!(answer.json()["Fields"][0]["Name"], name, "{body}");
    }
}

#[tokio::test]
async fn other_operations_of_sms_voice_are_unknown_and_not_recorded() {
    let simulator = started().await;
    let signature = SIGNATURE.replace("mobiletargeting", "sms-voice");
    for (target, content_type) in [
        (
            "PinpointSMSVoiceV2.SendTextMessage",
            "application/x-amz-json-1.0",
        ),
        ("PinpointSMSVoiceV2.PutMessageFeedback", "application/json"),
    ] {
        let headers = [
            ("authorization", signature.as_str()),
            ("content-type", content_type),
            ("x-amz-target", target),
        ];
        let answer = request(simulator.address, "POST", "/", &headers, b"{}").unwrap();
        assert_eq!(
            (answer.status, &answer.json()["__type"]),
            (400, &json!("UnknownOperationException"))
        );
    }
    assert!(simulator.requests(Operation::Feedback).is_empty());
    assert_eq!(
        get(&simulator, "/").header("content-type"),
        Some("text/html; charset=utf-8")
    );
}
