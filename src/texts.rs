//! The texts of messages, for a provider that takes templates.
//!
//! AWS makes the code, so a text goes to AWS with the placeholder `{{code}}`, which AWS requires. This module fills in
//! everything else. The text of a call contains the placeholder twice, and so does an SMS with a last line for
//! websites. This module relies on AWS to replace both placeholders. The replacement of both has not been tried on AWS.
//!
//! The built-in texts are constants in the binary. Only the operator's own texts are read when the function starts.

mod segments;
mod sms;
mod voice;

pub use segments::{Encoding, Segments, segments};

use crate::language::{closest, is_well_formed};
use serde::Deserialize;
use sms::SMS;
use std::collections::BTreeMap;
use voice::VOICE;

/// The placeholder that AWS replaces with the code.
pub const CODE: &str = "{{code}}";

/// The placeholder that this module replaces with the brand.
pub const BRAND: &str = "{{brand}}";

/// The most characters that AWS accepts in a text.
pub const LONGEST_TEXT: usize = 6000;

/// The operator's own texts are checked with a brand of this many characters, the longest that is allowed.
const LONGEST_BRAND: usize = 20;

/// Makes the voice say the code slowly, character by character.
const SPELLED: &str =
    r#"<prosody rate="slow"><say-as interpret-as="characters">{{code}}</say-as></prosody>"#;

/// Additions to the texts of SMS.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the built-in texts ask the reader not to share the code. A text asks this only if the sentence costs no
    /// further segment. An operator's own texts stay as they are.
    pub do_not_share: bool,
    /// The host name of the website in which browsers fill in the code (`WebOTP`, and the same in Safari).
    pub web_otp_domain: Option<String>,
    /// The hash of the operator's Android app, 11 characters. By the hash, Google's SMS Retriever finds the app that
    /// may read the message.
    pub android_app_hash: Option<String>,
}

/// An operator's own texts in one language, in place of the built-in ones.
///
/// Each text must contain `{{code}}` and may contain `{{brand}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTexts {
    /// The text of the SMS.
    pub sms: Option<String>,
    /// The text of the call: SSML if it begins with `<speak>`, plain text otherwise.
    pub voice: Option<String>,
}

/// The text of an SMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsText {
    /// The text, with `{{code}}` in it.
    pub body: String,
    /// The number of segments with the code filled in. Each costs as much as one message.
    pub segments: usize,
}

/// The text of a call and the voice that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceText {
    /// The text, with `{{code}}` in it.
    pub body: String,
    /// The format of the body.
    pub body_type: BodyType,
    /// The language of the voice, as Amazon Polly names it.
    pub language_code: &'static str,
    /// The voice, as Amazon Polly names it.
    pub voice_id: &'static str,
}

/// The format of a call's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// Plain text.
    Text,
    /// Speech Synthesis Markup Language.
    Ssml,
}

/// The built-in texts and the operator's own.
#[derive(Debug, Default)]
pub struct Texts {
    do_not_share: bool,
    /// The end of every SMS, with its line break.
    last_line: String,
    own: BTreeMap<String, Own>,
}

#[derive(Debug, Default)]
struct Own {
    sms: Option<String>,
    voice: Option<VoiceText>,
}

impl Texts {
    /// Combines the built-in texts with the operator's own. The map `own` has a language tag for each text, and a text
    /// replaces the built-in text of its language.
    ///
    /// # Errors
    ///
    /// All problems. Each is a sentence that begins with the setting and names the language and the channel.
    pub fn new(options: Options, own: BTreeMap<String, OwnTexts>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let domain = options
            .web_otp_domain
            .map(|domain| domain.to_ascii_lowercase());
        if let Some(domain) = domain.as_deref().filter(|domain| !is_host_name(domain)) {
            problems.push(format!(
                "WEBOTP_DOMAIN must be the host name of a website such as www.example.com, not `{domain}`."
            ));
        }
        let hash = options.android_app_hash;
        if let Some(hash) = hash.as_deref().filter(|hash| !is_app_hash(hash)) {
            problems.push(format!(
                "ANDROID_APP_HASH must be the hash of an Android app, 11 letters, digits, `+` and `/`, not `{hash}`."
            ));
        }
        let mut texts = Self {
            do_not_share: options.do_not_share,
            last_line: last_line(domain, hash),
            own: BTreeMap::new(),
        };
        let mut of_own = Vec::new();
        for (tag, own) in own {
            if !is_well_formed(&tag) {
                of_own.push(format!("`{tag}` is not a language tag such as pt-BR"));
            } else if texts.own_in(&tag).is_some() {
                of_own.push(format!("`{tag}` is named twice"));
            } else {
                let checked = texts.checked(&tag, own, &mut of_own);
                texts.own.insert(tag, checked);
            }
        }
        problems.extend(
            of_own
                .into_iter()
                .map(|what| format!("CONFIG_FILE has texts that cannot be sent: {what}.")),
        );
        if problems.is_empty() {
            Ok(texts)
        } else {
            Err(problems)
        }
    }

    /// The SMS in exactly the language `language`, with everything but the code. `code_length` is the length that the
    /// code will have. `None` if the language has no text.
    ///
    /// In the brand, braces become parentheses, and characters that control lines or direction become spaces. So a
    /// brand can add neither a placeholder nor a line. The second sentence of a built-in text asks the reader not to
    /// share the code. This sentence is left out if the text takes one segment without the sentence and more segments
    /// with the sentence.
    #[must_use]
    pub fn sms(&self, language: &str, brand: &str, code_length: u8) -> Option<SmsText> {
        let brand = harmless(brand);
        let complete = |text: &str| {
            let body = text.replace(BRAND, &brand) + &self.last_line;
            let segments = segments(&body, code_length.into()).count;
            SmsText { body, segments }
        };
        if let Some(own) = self.own_in(language).and_then(|own| own.sms.as_deref()) {
            return Some(complete(own));
        }
        let (_, text, do_not_share) = SMS
            .iter()
            .find(|(tag, ..)| tag.eq_ignore_ascii_case(language))?;
        if !self.do_not_share {
            return Some(complete(text));
        }
        // The full stop of Chinese and Japanese includes its space.
        let space = if text.ends_with('。') { "" } else { " " };
        let whole = complete(&format!("{text}{space}{do_not_share}"));
        if whole.segments == 1 {
            return Some(whole);
        }
        let short = complete(text);
        Some(if short.segments == 1 { short } else { whole })
    }

    /// The call in exactly this language, complete except for `{{code}}`. `None` if this language has no text.
    ///
    /// The brand is changed as in [`sms`](Self::sms), and markup in the brand is escaped.
    #[must_use]
    pub fn voice(&self, language: &str, brand: &str) -> Option<VoiceText> {
        let mut call = match self.own_in(language).and_then(|own| own.voice.clone()) {
            Some(own) => own,
            None => built_in_voice(language)?,
        };
        let brand = harmless(brand);
        call.body = call.body.replace(
            BRAND,
            &if call.body_type == BodyType::Ssml {
                escaped(&brand)
            } else {
                brand
            },
        );
        Some(call)
    }

    /// The languages in which the SMS takes several segments, by the brand and the number of segments.
    #[must_use]
    pub fn long_ones<'a>(
        &'a self,
        brands: impl Iterator<Item = &'a str>,
        code_length: u8,
    ) -> BTreeMap<(&'a str, usize), Vec<&'a str>> {
        let mut long: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for brand in brands {
            for language in self.sms_languages() {
                let sms = self.sms(language, brand, code_length);
                if let Some(sms) = sms.filter(|sms| sms.segments > 1) {
                    let languages = long.entry((brand, sms.segments)).or_default();
                    languages.push(language);
                }
            }
        }
        long
    }

    /// The languages of [`sms`](Self::sms).
    pub fn sms_languages(&self) -> impl Iterator<Item = &str> + Clone {
        let own = self
            .own
            .iter()
            .filter(|(_, own)| own.sms.is_some())
            .map(|(tag, _)| tag.as_str());
        let added = own.filter(|tag| {
            !SMS.iter()
                .any(|(built_in, ..)| built_in.eq_ignore_ascii_case(tag))
        });
        SMS.iter().map(|(language, ..)| *language).chain(added)
    }

    /// The languages of [`voice`](Self::voice). There are fewer, because not every language has a voice.
    pub fn voice_languages(&self) -> impl Iterator<Item = &str> + Clone {
        let own = self
            .own
            .iter()
            .filter(|(_, own)| own.voice.is_some())
            .map(|(tag, _)| tag.as_str());
        let added = own.filter(|tag| {
            !VOICE
                .iter()
                .any(|call| call.language.eq_ignore_ascii_case(tag))
        });
        VOICE.iter().map(|call| call.language).chain(added)
    }

    fn own_in(&self, language: &str) -> Option<&Own> {
        self.own
            .iter()
            .find(|(tag, _)| tag.eq_ignore_ascii_case(language))
            .map(|(_, own)| own)
    }

    /// Adds the problems of an operator's own texts to `problems`, and returns the texts.
    fn checked(&self, tag: &str, own: OwnTexts, problems: &mut Vec<String>) -> Own {
        let mut report = |channel: &str, what: &str| {
            problems.push(format!("the {channel} text of `{tag}` {what}"));
        };
        let sms = own.sms.inspect(|text| {
            for what in wrong_in(text, self.last_line.chars().count()) {
                report("sms", &what);
            }
        });
        let voice = own.voice.and_then(|body| {
            let is_ssml = body.starts_with("<speak>");
            for what in wrong_in(&body, 0) {
                report("voice", &what);
            }
            if is_ssml && !body.trim_end().ends_with("</speak>") {
                report(
                    "voice",
                    "begins with <speak> and does not end with </speak>",
                );
            }
            // A text in `de-AT`, for example, gets the voice of `de-DE`.
            let voice =
                closest(tag, VOICE.iter().map(|call| call.language)).and_then(built_in_voice);
            if voice.is_none() {
                report("voice", "has no voice that could read it");
            }
            Some(VoiceText {
                body,
                body_type: if is_ssml {
                    BodyType::Ssml
                } else {
                    BodyType::Text
                },
                ..voice?
            })
        });
        Own { sms, voice }
    }
}

fn built_in_voice(language: &str) -> Option<VoiceText> {
    let call = VOICE
        .iter()
        .find(|call| call.language.eq_ignore_ascii_case(language))?;
    // The pauses give people time: first to lift the phone to the ear, then to find a pen.
    let body = format!(
        r#"<speak><break time="1s"/>{} <break time="1s"/>{}</speak>"#,
        call.first, call.again
    );
    Some(VoiceText {
        body: body.replace(CODE, SPELLED),
        body_type: BodyType::Ssml,
        language_code: call.language_code,
        voice_id: call.voice_id,
    })
}

/// The last line of an SMS. This line lets a website or an Android app take the code from the message.
///
/// - A website (`WEBOTP_DOMAIN`) needs a last line that begins with `@host #code`. Browsers ignore the rest of the line
///   ("Origin-bound one-time codes delivered via SMS", WICG, Parsing; also Chromium's `sms_parser.cc`).
/// - An Android app gets the message from Google's SMS Retriever. The message must contain a hash of the app, which the
///   operator sets as `ANDROID_APP_HASH`. The hash may be anywhere in the message ("Perform SMS verification on a
///   server", Google). Earlier versions of Google's page ask for the hash at the very end.
///
/// A line with `@host #code` and then the hash satisfies all of these rules. SMS Retriever has one more rule: a message
/// has at most 140 bytes, which is one segment.
fn last_line(domain: Option<String>, hash: Option<String>) -> String {
    match (domain, hash) {
        (None, None) => String::new(),
        (Some(domain), None) => format!("\n@{domain} #{CODE}"),
        (None, Some(hash)) => format!("\n{hash}"),
        (Some(domain), Some(hash)) => format!("\n@{domain} #{CODE} {hash}"),
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // An address such as 192.0.2.1 ends with a number. A host name does not.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_app_hash(hash: &str) -> bool {
    hash.len() == 11
        && hash
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// The problems of an operator's own text. `added` is the number of characters that will follow it.
fn wrong_in(text: &str, added: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.contains(CODE) {
        wrong.push(format!("does not contain {CODE}"));
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, next)) = after.split_once("}}") else {
            wrong.push("opens a placeholder and does not close it".to_owned());
            break;
        };
        if name != "code" && name != "brand" {
            wrong.push(format!(
                "contains {{{{{name}}}}}, which is neither {CODE} nor {BRAND}"
            ));
        }
        rest = next;
    }
    if text
        .chars()
        .any(|character| character.is_control() && character != '\n')
    {
        wrong.push("contains a control character other than a line break".to_owned());
    }
    let longest_brand = "&".repeat(LONGEST_BRAND);
    let longest_brand = if text.starts_with("<speak>") {
        escaped(&longest_brand)
    } else {
        longest_brand
    };
    if text.replace(BRAND, &longest_brand).chars().count() + added > LONGEST_TEXT {
        wrong.push(format!(
            "is longer than {LONGEST_TEXT} characters, with the longest brand and all that is added"
        ));
    }
    wrong
}

/// Replaces the characters of a brand that could add a placeholder or a line, or change the direction of the text.
fn harmless(brand: &str) -> String {
    let replaced = |character: char| match character {
        '{' => '(',
        '}' => ')',
        // The separators of lines and paragraphs, and the marks that change the direction of the text after them.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        character if character.is_control() => ' ',
        character => character,
    };
    brand.chars().map(replaced).collect()
}

/// Escapes the text for XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            character => escaped.push(character),
        }
    }
    escaped
}
