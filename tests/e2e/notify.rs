//! Notify configurations: Boto3 as an independent check of the simulated API.

use crate::boto3::{boto3, settings_of_end_user_messaging};
use otp_lambda::aws::notify::BASIC_COUNTRIES;
use serde_json::json;
use simulator::Simulator;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn botocore_accepts_every_response_about_notify_configurations() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let settings = settings_of_end_user_messaging(&simulator);
    let found = tokio::task::block_in_place(|| boto3(&settings, "boto3_notify.py", &[]));
    let expected = json!({
        "created": {
            "Status": "PENDING", "Tier": "BASIC", "EnabledCountries": ["CA", "US"],
            "Tags": [{ "Key": "team", "Value": "login" }],
        },
        "pending": "ConflictException",
        "statuses": ["ACTIVE", "ACTIVE", "REJECTED", "REQUIRES_VERIFICATION", "PENDING"],
        "text": "Your ExampleCorp verification code is CODE.",
        "verdict": "VALID",
        "tooFast": "ThrottlingException",
        "refusals": {
            "unknown": "ResourceNotFoundException",
            "rejected": "ConflictException",
            "country": "ValidationException",
            "noTemplate": "ValidationException",
            "unknownTemplate": "ResourceNotFoundException",
            "inactiveTemplate": "ValidationException",
            "templateOfCalls": "ValidationException",
            "templateOfAdvanced": "ValidationException",
            "callsByTexts": "ValidationException",
            "whatsapp": "ValidationException",
            "spent": "ServiceQuotaExceededException",
        },
        "limits": [["NOTIFY_MESSAGE_MONTHLY_SPEND_LIMIT", 0, true]],
        "updated": {
            "EnabledCountries": ["DE"], "EnabledChannels": ["SMS"],
            "DefaultTemplateId": "notify-code-verification-german-001",
        },
        "byDefault": ["messageId", "verificationId"],
        "management": {
            "protected": "ConflictException DELETION_PROTECTION_ENABLED",
            "unknown": "ResourceNotFoundException",
            "describe": "ResourceNotFoundException",
            "reputation": "AccessDeniedException INSUFFICIENT_ACCOUNT_REPUTATION",
            "name": "ValidationException FIELD_VALIDATION_FAILED",
            "long": "ValidationException FIELD_VALIDATION_FAILED",
            "channel": "ValidationException FIELD_VALIDATION_FAILED",
            "country": "ValidationException INVALID_PARAMETER",
            "template": "ResourceNotFoundException",
            "limit": "ValidationException REQUESTED_SPEND_LIMIT_HIGHER_THAN_SERVICE_LIMIT",
            "token": "ValidationException INVALID_NEXT_TOKEN",
        },
        "full": "ServiceQuotaExceededException NOTIFY_CONFIGURATIONS_PER_ACCOUNT",
        "made": 21,
        "countries": [34, 30, 33],
        // The list of the function and that of the simulator are the same.
        "basic": BASIC_COUNTRIES.join(","),
        "german": ["notify-code-verification-german-001"],
        "reason": [true],
        "checked": [
            "CreateNotifyConfiguration", "DeleteNotifyConfiguration", "DeleteNotifyMessageSpendLimitOverride",
            "DescribeNotifyConfigurations", "DescribeNotifyTemplates", "DescribeSpendLimits", "ListNotifyCountries",
            "SendNotifyCodeVerification", "SetNotifyMessageSpendLimitOverride", "UpdateNotifyConfiguration",
            "ValidateNotifyCodeVerification",
        ],
    });
    assert_eq!(found, expected, "{found:#}");
}
