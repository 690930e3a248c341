//! What a person reads or hears: the texts of a provider that takes templates.
//!
//! AWS makes the code, so a text goes there with `{{code}}` in it. Everything else is filled in here. AWS asks that the
//! template contain the placeholder; that it fills in each one where there are several, as calls and web addresses need
//! it, is what this module relies on, and has not been tried on AWS.
//!
//! The texts are constants in the binary: nothing is parsed at start but what the operator wrote.

mod segments;
mod sms;
mod voice;

pub use segments::{Encoding, Segments, segments};

use crate::language::{closest, is_well_formed};
use serde::Deserialize;
use sms::SMS;
use std::collections::BTreeMap;
use voice::VOICE;

/// What AWS puts the code in place of.
pub const CODE: &str = "{{code}}";

/// What the brand is put in place of.
pub const BRAND: &str = "{{brand}}";

/// Characters that AWS takes of a text.
pub const LONGEST_TEXT: usize = 6000;

/// Characters of the longest brand name that own texts are checked with.
const LONGEST_BRAND: usize = 20;

/// How SSML says the code: character by character, slowly.
const SPELLED: &str =
    r#"<prosody rate="slow"><say-as interpret-as="characters">{{code}}</say-as></prosody>"#;

/// What is added to the texts of short messages.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the built-in texts ask not to share the code. An operator's own text says what it says.
    pub do_not_share: bool,
    /// The host name of the website that may fill in the code by itself (`WebOTP`, and Safari likewise).
    pub web_otp_domain: Option<String>,
    /// The hash of the Android app that may read the message by itself (SMS Retriever): 11 characters.
    pub android_app_hash: Option<String>,
}

/// An operator's own texts in one language, in place of the built-in ones.
///
/// Each holds `{{code}}`, and `{{brand}}` where the brand is to stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTexts {
    /// The short message.
    pub sms: Option<String>,
    /// The call: SSML if it begins with `<speak>`, plain text otherwise.
    pub voice: Option<String>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceText {
    /// What is said, with `{{code}}` in it.
    pub body: String,
    /// How the body is written.
    pub body_type: BodyType,
    /// The language of the voice, as Amazon Polly names it.
    pub language_code: &'static str,
    /// The voice, as Amazon Polly names it.
    pub voice_id: &'static str,
}

/// How the body of a call is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// Plain text.
    Text,
    /// Speech Synthesis Markup Language.
    Ssml,
}

/// The built-in texts and an operator's own.
#[derive(Debug, Default)]
pub struct Texts {
    do_not_share: bool,
    /// What ends every short message, line break included.
    last_line: String,
    own: BTreeMap<String, Own>,
}

#[derive(Debug, Default)]
struct Own {
    sms: Option<String>,
    voice: Option<VoiceText>,
}

impl Texts {
    /// The built-in texts, and by language tag an operator's own in addition or in their place.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each as a sentence that begins with the setting and names the language and the channel.
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
                of_own.push(format!("`{tag}` is no language tag such as pt-BR"));
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

    /// The short message in exactly this language, complete but for `{{code}}`; `None` if there is none.
    ///
    /// Braces in the brand become parentheses, and controls of lines and direction spaces: a brand adds no placeholder and
    /// no line.
    #[must_use]
    pub fn sms(&self, language: &str, brand: &str) -> Option<String> {
        let mut text = match self.own_in(language).and_then(|own| own.sms.as_deref()) {
            Some(own) => own.to_owned(),
            None => self.built_in_sms(language)?,
        };
        text = text.replace(BRAND, &harmless(brand));
        text.push_str(&self.last_line);
        Some(text)
    }

    /// The call in exactly this language, complete but for `{{code}}`; `None` if there is none.
    ///
    /// The brand is taken as in [`sms`](Self::sms), and its markup is said, not obeyed.
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

    /// An operator's own short messages that are charged for more than once, by language, with how often that is.
    #[must_use]
    pub fn long_ones(&self, brand: &str, code_length: u8) -> Vec<(&str, usize)> {
        let own = self.own.iter().filter(|(_, own)| own.sms.is_some());
        let counted = own.filter_map(|(language, _)| {
            Some((
                language.as_str(),
                segments(&self.sms(language, brand)?, code_length.into()).count,
            ))
        });
        counted.filter(|(_, count)| *count > 1).collect()
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

    /// The languages of [`voice`](Self::voice): fewer, as not every language has a voice.
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

    fn built_in_sms(&self, language: &str) -> Option<String> {
        let (_, text, do_not_share) = SMS
            .iter()
            .find(|(tag, ..)| tag.eq_ignore_ascii_case(language))?;
        if !self.do_not_share {
            return Some((*text).to_owned());
        }
        // The full stop of Chinese and Japanese brings its own space.
        let space = if text.ends_with('。') { "" } else { " " };
        Some(format!("{text}{space}{do_not_share}"))
    }

    /// What is left of an operator's own texts when the wrong ones are reported.
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
            // A text for Austria is read by the voice of Germany.
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
    // The first pause is for the phone on its way to the ear, the second for the pen.
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

/// What a website and an app find the code by.
///
/// For a website the last line begins with `@host #code`, and what follows on it is ignored ("Origin-bound one-time codes
/// delivered via SMS", WICG, Parsing; so does Chromium's `sms_parser.cc`). For an app the hash is anywhere in the message
/// ("Perform SMS verification on a server", Google), in earlier versions of that page at the very end. The hash behind the
/// code on the same line is right by all of them. SMS Retriever also asks for at most 140 bytes, which is one segment.
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
    // An address such as 192.0.2.1 ends with a number, which no name does.
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

/// What is wrong in an operator's own text to which `added` characters are added.
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

/// The brand without anything that means more than itself.
fn harmless(brand: &str) -> String {
    let replaced = |character: char| match character {
        '{' => '(',
        '}' => ')',
        // Line and paragraph separators, and the marks that turn the direction of all that follows.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        character if character.is_control() => ' ',
        character => character,
    };
    brand.chars().map(replaced).collect()
}

/// The text as content of XML.
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
