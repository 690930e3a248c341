//! Pinpoint's texts, by language.
//!
//! AWS publishes only the English text (`en-US` below). The other twelve texts were written for
//! this project. The real service sends other texts in these languages.

use std::collections::BTreeMap;

use otp_lambda::texts::{Options, Texts};

use crate::message::PLACEHOLDER;

/// Language tags in the API's spelling, with their texts. With a code of 8 digits and a brand of 20 characters, each
/// text fits into one SMS segment. If the brand has a letter outside GSM-7, the SMS is encoded in UCS-2, and a segment
/// has room for only 70 units. Each text fits even then.
const TEXTS: [(&str, &str); 13] = [
    ("de-DE", "Ihr Einmalpasswort von {{brand}} lautet: {{otp}}"),
    ("en-GB", "Your one-time password from {{brand}} is: {{otp}}"),
    (
        "en-US",
        "This is your One Time Password: {{otp}} from {{brand}}",
    ),
    (
        "es-419",
        "{{otp}} es tu contraseña de un solo uso de {{brand}}",
    ),
    (
        "es-ES",
        "Su contraseña de un solo uso para {{brand}} es: {{otp}}",
    ),
    (
        "fr-CA",
        "{{brand}} : votre mot de passe à usage unique est {{otp}}",
    ),
    (
        "fr-FR",
        "Votre mot de passe à usage unique {{brand}} : {{otp}}",
    ),
    ("it-IT", "La tua password monouso per {{brand}} è: {{otp}}"),
    ("ja-JP", "{{brand}}のワンタイムパスワードは{{otp}}です。"),
    ("ko-KR", "{{brand}} 일회용 비밀번호는 {{otp}}입니다."),
    ("pt-BR", "Sua senha de uso único para {{brand}}: {{otp}}"),
    ("zh-CN", "【{{brand}}】您的一次性密码是 {{otp}}。"),
    ("zh-TW", "您的 {{brand}} 一次性密碼為 {{otp}}。"),
];

/// The supported language tags, in the API's spelling.
pub fn languages() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(language, _)| *language)
}

/// `None` for an unsupported language.
#[must_use]
pub fn text(language: &str, brand: &str, code: &str) -> Option<String> {
    let (_, template) = TEXTS.iter().find(|(known, _)| *known == language)?;
    // The code goes in first: a brand named `{{otp}}` would otherwise become a placeholder.
    Some(
        template
            .replace("{{otp}}", code)
            .replace("{{brand}}", brand),
    )
}

/// The language of a text of End User Messaging. The text still has its placeholder for the code. If the text is not
/// one of the built-in texts, the result is empty.
pub(crate) fn language_of(template: &str) -> String {
    const BRAND: &str = "Qzq";
    let fits = |body: &str| {
        let mut parts = body
            .split(BRAND)
            .flat_map(|part| part.split(PLACEHOLDER))
            .filter(|part| !part.is_empty());
        let (_, length) = parts.try_fold((template, 0), |(rest, length), part| {
            let (_, rest) = rest.split_once(part)?;
            Some((rest, length + part.len()))
        })?;
        Some(length)
    };
    let best = [true, false].into_iter().filter_map(|do_not_share| {
        let options = Options {
            do_not_share,
            ..Options::default()
        };
        let texts = Texts::new(options, BTreeMap::new()).ok()?;
        let fitting = texts.sms_languages().filter_map(|language| {
            let length = fits(&texts.sms(language, BRAND, 6)?.body)?;
            Some((length, language.to_owned()))
        });
        fitting.max_by_key(|(length, _)| *length)
    });
    best.max_by_key(|(length, _)| *length)
        .map(|(_, language)| language)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_language_of_each_built_in_text_is_found() {
        for do_not_share in [true, false] {
            let options = Options {
                do_not_share,
                ..Options::default()
            };
            let texts = Texts::new(options, BTreeMap::new()).unwrap_or_default();
            assert!(texts.sms_languages().count() > 50);
            for language in texts.sms_languages() {
                let text = |language| texts.sms(language, "Łódź & Co.", 8).map(|sms| sms.body);
                let body = text(language).unwrap_or_default();
                // Some languages share a text.
                let found = language_of(&body);
                assert_eq!(text(&found), Some(body), "{language}: {found}");
            }
        }
        assert_eq!(language_of("Your PIN: {{code}}"), "");
    }

    #[test]
    fn all_thirteen_texts_differ_and_contain_brand_and_code_once() {
        let texts: BTreeSet<String> = languages()
            .map(|language| text(language, "ExampleCorp", "012345").unwrap())
            .collect();
        assert_eq!(texts.len(), 13);
        for text in texts {
            assert_eq!(text.matches("ExampleCorp").count(), 1, "{text}");
            assert_eq!(text.matches("012345").count(), 1, "{text}");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn the_english_text_is_the_published_one() {
        assert_eq!(
            text("en-US", "ExampleCorp", "012345").as_deref(),
            Some("This is your One Time Password: 012345 from ExampleCorp")
        );
    }

    #[test]
    fn every_text_fits_one_ucs2_segment_with_the_longest_code_and_brand() {
        for brand in [
            "ABCDEFGHIJKLMNOPQRST",
            "あいうえおかきくけこさしすせそたちつてと",
        ] {
            for language in languages() {
                let text = text(language, brand, "01234567").unwrap();
                let units = text.encode_utf16().count();
                assert!(units <= 70, "{language}: {units} units: {text}");
            }
        }
    }

    #[test]
    fn a_brand_that_looks_like_a_placeholder_is_not_replaced() {
        assert_eq!(
            text("en-US", "{{otp}}", "012345").as_deref(),
            Some("This is your One Time Password: 012345 from {{otp}}")
        );
        assert_eq!(text("xx-XX", "ExampleCorp", "012345"), None);
    }
}
