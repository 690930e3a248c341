//! Texts of messages: each fits into one segment, has the right letters, and contains nothing unexpected.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use otp_lambda::language::{closest, is_well_formed};
use otp_lambda::texts::{
    BRAND, BodyType, CODE, Encoding, Options, OwnTexts, Segments, Texts, segments,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[rustfmt::skip]
const PINPOINT: &[&str] = &[
    "de-DE", "en-GB", "en-US", "es-419", "es-ES", "fr-CA", "fr-FR", "it-IT", "ja-JP", "ko-KR", "pt-BR", "zh-CN",
    "zh-TW",
];

/// Twenty characters from the basic table.
const LONGEST_BRAND: &str = "Example & Sons, Ltd.";
const LONGEST_CODE: usize = 8;

fn built_in(do_not_share: bool) -> Texts {
    Texts::new(
        Options {
            do_not_share,
            ..Options::default()
        },
        BTreeMap::new(),
    )
    .unwrap()
}

fn with_lines(
    web_otp_domain: Option<&str>,
    android_app_hash: Option<&str>,
) -> Result<Texts, Vec<String>> {
    let options = Options {
        do_not_share: false,
        web_otp_domain: web_otp_domain.map(str::to_owned),
        android_app_hash: android_app_hash.map(str::to_owned),
    };
    Texts::new(options, BTreeMap::new())
}

fn own(texts: &[(&str, Option<&str>, Option<&str>)]) -> Result<Texts, Vec<String>> {
    let texts = texts.iter().map(|(tag, sms, voice)| {
        (
            (*tag).to_owned(),
            OwnTexts {
                sms: sms.map(str::to_owned),
                voice: voice.map(str::to_owned),
            },
        )
    });
    Texts::new(Options::default(), texts.collect())
}

/// The problems of one own text.
fn refusals(tag: &str, sms: Option<&str>, voice: Option<&str>) -> String {
    own(&[(tag, sms, voice)]).unwrap_err().join("; ")
}

/// The body of an SMS with the longest code.
fn sms(texts: &Texts, language: &str, brand: &str) -> String {
    let code_length = u8::try_from(LONGEST_CODE).unwrap();
    texts.sms(language, brand, code_length).unwrap().body
}

/// Every message with its language.
fn messages(do_not_share: bool) -> Vec<(String, String)> {
    let texts = built_in(do_not_share);
    texts
        .sms_languages()
        .map(|tag| (tag.to_owned(), sms(&texts, tag, "Brand")))
        .collect()
}

// ---- one segment

#[test]
fn every_message_is_one_segment_with_the_longest_brand_and_code() {
    assert_eq!(
        segments(LONGEST_BRAND, 0),
        Segments {
            count: 1,
            encoding: Encoding::Gsm7,
            units: 20
        }
    );
    for do_not_share in [false, true] {
        let texts = built_in(do_not_share);
        for language in texts.sms_languages() {
            let text = sms(&texts, language, LONGEST_BRAND);
            let length = segments(&text, LONGEST_CODE);
            assert_eq!(length.count, 1, "{language}: {length:?}: {text}");
            // With the second sentence, where it is wanted: nothing was left out to fit.
            let with_sentence = text.len() > sms(&built_in(false), language, LONGEST_BRAND).len();
            assert_eq!(with_sentence, do_not_share, "{language}: {text}");
        }
    }
}

#[test]
fn gsm7_texts_have_room_for_a_last_line() {
    let options = Options {
        do_not_share: true,
        web_otp_domain: Some("www.example.com".to_owned()),
        android_app_hash: Some("FA+9qCX9VSu".to_owned()),
    };
    let texts = Texts::new(options, BTreeMap::new()).unwrap();
    for language in texts.sms_languages() {
        let text = sms(&texts, language, LONGEST_BRAND);
        let length = segments(&text, LONGEST_CODE);
        let one = if length.encoding == Encoding::Gsm7 {
            1
        } else {
            2
        };
        assert_eq!(length.count, one, "{language}: {length:?}");
        // The second sentence is left out only where it alone is outside the GSM alphabet.
        let whole = sms(&built_in(true), language, LONGEST_BRAND);
        assert_eq!(
            text.starts_with(&whole),
            !["cy-GB", "ro-RO"].contains(&language),
            "{language}: {text}"
        );
    }
}

#[test]
fn the_second_sentence_is_left_out_if_it_would_add_a_segment() {
    let lines = [
        (None, ""),
        (Some("example.com"), "\n@example.com #{{code}}"),
    ];
    let emoji = "🎉".repeat(20);
    let mut seen = BTreeMap::from([("whole", 0), ("short", 0), ("whole in two", 0)]);
    for (domain, last_line) in lines {
        let options = Options {
            do_not_share: true,
            web_otp_domain: domain.map(str::to_owned),
            android_app_hash: None,
        };
        let texts = Texts::new(options, BTreeMap::new()).unwrap();
        for (language, pattern) in messages(true) {
            for brand in ["Acme", "Joe’s Diner", "Łódź Bank", &emoji] {
                let whole = pattern.replace("Brand", brand) + last_line;
                let short = sms(&with_lines(domain, None).unwrap(), &language, brand);
                for code_length in [4, 8] {
                    let count = |text: &str| segments(text, code_length.into()).count;
                    let (expected, kind) = match (count(&whole), count(&short)) {
                        (1, _) => (&whole, "whole"),
                        (_, 1) => (&short, "short"),
                        _ => (&whole, "whole in two"),
                    };
                    *seen.get_mut(kind).unwrap() += 1;
                    let sent = texts.sms(&language, brand, code_length).unwrap();
                    assert_eq!(&sent.body, expected, "{language}, {brand}");
                    assert_eq!(sent.segments, count(&sent.body), "{language}, {brand}");
                }
            }
        }
    }
    assert!(seen.values().all(|times| *times > 20), "{seen:?}");
}

#[test]
fn the_alphabet_has_127_characters_and_10_that_need_an_escape() {
    let units = |character: char| {
        let length = segments(&character.to_string(), 0);
        (length.encoding == Encoding::Gsm7).then_some(length.units)
    };
    let all: Vec<usize> = ('\0'..=char::MAX).filter_map(units).collect();
    let of = |units| all.iter().filter(|own| **own == units).count();
    // One of the 128 is the escape character, which no text can contain.
    assert_eq!((of(1), of(2)), (127, 10));
}

#[test]
fn one_character_too_many_adds_a_segment() {
    let gsm7 = |count, units| Segments {
        count,
        encoding: Encoding::Gsm7,
        units,
    };
    let ucs2 = |count, units| Segments {
        count,
        encoding: Encoding::Ucs2,
        units,
    };
    assert_eq!(segments("", 0), gsm7(1, 0));
    assert_eq!(segments(&"a".repeat(160), 0), gsm7(1, 160));
    assert_eq!(segments(&"a".repeat(161), 0), gsm7(2, 161));
    assert_eq!(segments(&"a".repeat(306), 0), gsm7(2, 306));
    assert_eq!(segments(&"a".repeat(307), 0), gsm7(3, 307));
    assert_eq!(segments(&"я".repeat(70), 0), ucs2(1, 70));
    assert_eq!(segments(&"я".repeat(71), 0), ucs2(2, 71));
    assert_eq!(segments(&"я".repeat(135), 0), ucs2(3, 135));
    // The code's digits count, not its placeholder.
    assert_eq!(
        segments(&format!("{}{CODE}", "a".repeat(152)), 8),
        gsm7(1, 160)
    );
    assert_eq!(
        segments(&format!("{}{CODE}", "a".repeat(153)), 8),
        gsm7(2, 161)
    );
    assert_eq!(segments(&format!("{CODE}{CODE}"), 6), gsm7(1, 12));
}

#[test]
fn each_character_is_counted_in_its_encoding() {
    for character in
        "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0:;<=>?¡AZÄÖÑÜ§¿azäöñüà".chars()
    {
        let length = segments(&character.to_string(), 0);
        assert_eq!(
            (length.encoding, length.units),
            (Encoding::Gsm7, 1),
            "{character}"
        );
    }
    for character in "€^{}\\[~]|".chars() {
        let length = segments(&character.to_string(), 0);
        assert_eq!(
            (length.encoding, length.units),
            (Encoding::Gsm7, 2),
            "{character}"
        );
    }
    for character in "çáíóúâêãõëï`\tžяあ\u{200f}’–".chars() {
        let length = segments(&character.to_string(), 0);
        assert_eq!(
            (length.encoding, length.units),
            (Encoding::Ucs2, 1),
            "{character}"
        );
    }
    assert_eq!(
        segments("😀", 0),
        Segments {
            count: 1,
            encoding: Encoding::Ucs2,
            units: 2
        }
    );
    assert_eq!(segments(&format!("{}á", "a".repeat(70)), 0).count, 2);
    assert_eq!(segments(&format!("{}€", "a".repeat(158)), 0).count, 1);
    assert_eq!(segments(&format!("{}€", "a".repeat(159)), 0).count, 2);
    // A segment never ends inside an escape sequence or a surrogate pair.
    assert_eq!(
        segments(&format!("{}€{}", "a".repeat(152), "a".repeat(152)), 0).count,
        3
    );
    assert_eq!(
        segments(&format!("{}😀{}", "я".repeat(66), "я".repeat(66)), 0).count,
        3
    );
}

// ---- the parts of a text

#[test]
fn there_are_texts_in_many_languages_and_in_all_of_pinpoints() {
    let texts = built_in(false);
    let sms: Vec<&str> = texts.sms_languages().collect();
    let voice: Vec<&str> = texts.voice_languages().collect();
    for languages in [&sms, &voice] {
        assert!(languages.len() >= 25, "{languages:?}");
        assert!(
            languages.is_sorted()
                && languages.iter().collect::<BTreeSet<_>>().len() == languages.len()
        );
        assert!(languages.iter().all(|tag| is_well_formed(tag)));
        assert!(PINPOINT.iter().all(|tag| languages.contains(tag)));
    }
    // Every language of calls has an SMS too.
    assert!(
        voice
            .iter()
            .all(|tag| closest(tag, sms.iter().copied()).is_some())
    );
}

#[test]
fn every_message_contains_code_and_brand_once_and_no_other_placeholder() {
    for do_not_share in [false, true] {
        for (language, text) in messages(do_not_share) {
            assert_eq!(text.matches(CODE).count(), 1, "{language}: {text}");
            assert_eq!(text.matches("Brand").count(), 1, "{language}: {text}");
            assert_eq!(text.matches(['{', '}']).count(), 4, "{language}: {text}");
            assert!(
                text.matches(char::is_whitespace).all(|space| space == " "),
                "{language}: {text}"
            );
            assert!(
                !text.contains("  ") && text.trim() == text,
                "{language}: {text}"
            );
        }
    }
}

#[test]
fn the_second_sentence_is_added_and_changes_nothing_else() {
    for ((language, text), (_, longer)) in messages(false).into_iter().zip(messages(true)) {
        let added = longer.strip_prefix(&text).unwrap();
        assert!(added.chars().count() > 5, "{language}: {added}");
        assert_eq!(
            added.starts_with(' '),
            !["ja-JP", "zh-CN", "zh-TW"].contains(&language.as_str()),
            "{language}"
        );
    }
}

#[test]
fn every_call_spells_the_code_twice_and_is_well_formed() {
    let texts = built_in(true);
    for language in texts.voice_languages() {
        let call = texts.voice(language, "Brand").unwrap();
        let body = &call.body;
        assert_eq!(call.body_type, BodyType::Ssml);
        assert_eq!(body.matches(CODE).count(), 2, "{language}: {body}");
        assert_eq!(
            body.matches(r#"<say-as interpret-as="characters">{{code}}</say-as>"#)
                .count(),
            2,
            "{body}"
        );
        assert_eq!(body.matches("Brand").count(), 1, "{language}: {body}");
        assert_eq!(body.matches(['{', '}']).count(), 8, "{language}: {body}");
        assert!(is_balanced(body), "{language}: {body}");
        assert!(
            is_well_formed(call.language_code)
                && call.voice_id.bytes().all(|b| b.is_ascii_alphabetic())
        );
    }
}

/// Whether the elements are closed in order, and every `&` and `<` is escaped.
fn is_balanced(xml: &str) -> bool {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some((text, after)) = rest.split_once('<') {
        let Some((tag, next)) = after.split_once('>') else {
            return false;
        };
        if text.replace("&amp;", "").contains('&') || (open.is_empty() && !text.is_empty()) {
            return false;
        }
        match tag.strip_prefix('/') {
            Some(name) if open.pop() != Some(name) => return false,
            None if !tag.ends_with('/') => open.push(tag.split(' ').next().unwrap()),
            _ => {}
        }
        rest = next;
    }
    open.is_empty() && rest.is_empty()
}

#[test]
fn every_voice_speaks_the_language_of_its_text() {
    // The values of `VoiceId` in AWS's API for voice messages.
    #[rustfmt::skip]
    const VOICES: &[&str] = &[
        "AMY", "ASTRID", "BIANCA", "BRIAN", "CAMILA", "CARLA", "CARMEN", "CELINE", "CHANTAL", "CONCHITA",
        "CRISTIANO", "DORA", "EMMA", "ENRIQUE", "EWA", "FILIZ", "GERAINT", "GIORGIO", "GWYNETH", "HANS", "INES",
        "IVY", "JACEK", "JAN", "JOANNA", "JOEY", "JUSTIN", "KARL", "KENDRA", "KIMBERLY", "LEA", "LIV", "LOTTE",
        "LUCIA", "LUPE", "MADS", "MAJA", "MARLENE", "MATHIEU", "MATTHEW", "MAXIM", "MIA", "MIGUEL", "MIZUKI", "NAJA",
        "NICOLE", "PENELOPE", "RAVEENA", "RICARDO", "RUBEN", "RUSSELL", "SALLI", "SEOYEON", "TAKUMI", "TATYANA",
        "VICKI", "VITORIA", "ZEINA", "ZHIYU",
    ];
    let texts = built_in(false);
    for language in texts.voice_languages() {
        let call = texts.voice(language, "Brand").unwrap();
        assert!(
            VOICES.contains(&call.voice_id.to_ascii_uppercase().as_str()),
            "{language}: {}",
            call.voice_id
        );
        let spoken = match language {
            "ar" => "arb",
            "es-419" => "es-MX",
            "zh-CN" | "zh-TW" => "cmn-CN",
            other => other,
        };
        assert_eq!(call.language_code, spoken);
    }
}

// ---- letters

/// The letters of a language.
fn alphabet(language: &str) -> fn(char) -> bool {
    let primary = language.split('-').next().unwrap();
    match primary {
        "ru" | "uk" | "bg" => |c| matches!(c, '\u{400}'..='\u{45f}' | 'Ґ' | 'ґ'),
        "el" => |c| matches!(c, '\u{370}'..='\u{3ff}'),
        "ar" | "fa" | "ur" => |c| matches!(c, '\u{620}'..='\u{6d3}'),
        "he" => |c| matches!(c, '\u{5d0}'..='\u{5ea}'),
        "hi" | "mr" => |c| matches!(c, '\u{900}'..='\u{963}' | '\u{970}'..='\u{97f}'),
        "bn" => |c| matches!(c, '\u{980}'..='\u{9e3}'),
        "ta" => |c| matches!(c, '\u{b80}'..='\u{be3}'),
        "te" => |c| matches!(c, '\u{c00}'..='\u{c63}'),
        "th" => |c| matches!(c, '\u{e00}'..='\u{e4e}'),
        "ko" => |c| matches!(c, '\u{ac00}'..='\u{d7a3}'),
        "ja" => |c| matches!(c, '\u{3041}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}'),
        "zh" => |c| matches!(c, '\u{4e00}'..='\u{9fff}'),
        "vi" => |c| {
            c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{1b0}' | '\u{1ea0}'..='\u{1ef9}')
        },
        _ => {
            |c| c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{17f}' | '\u{218}'..='\u{21b}')
        }
    }
}

/// Punctuation.
fn is_mark(character: char) -> bool {
    " .,:()'-。、：【】[]।۔،".contains(character)
}

/// The words of a text, without placeholders and markup.
fn words(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        words.push_str(before);
        rest = after.split_once('>').unwrap().1;
    }
    words.push_str(rest);
    words.replace(CODE, "").replace(BRAND, "")
}

#[test]
fn every_text_has_only_letters_of_its_language() {
    let texts = built_in(true);
    let sms = texts.sms_languages().map(|tag| (tag, sms(&texts, tag, "")));
    let calls = texts
        .voice_languages()
        .map(|tag| (tag, texts.voice(tag, "").unwrap().body));
    for (language, text) in sms.chain(calls) {
        let is_letter = alphabet(language);
        let words = words(&text);
        assert!(
            words.chars().filter(|c| is_letter(*c)).count() >= 8,
            "{language}: {words}"
        );
        for character in words.chars().filter(|c| !is_mark(*c)) {
            assert!(is_letter(character), "{language}: {character:?} in {words}");
        }
        // Each decomposed letter would take one unit more. These scripts have composed letters.
        assert!(
            !words
                .chars()
                .any(|c| matches!(c, '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}')),
            "{language}"
        );
    }
}

#[test]
fn a_look_alike_from_another_script_is_noticed() {
    assert!(!alphabet("ru-RU")('a') && alphabet("ru-RU")('а'));
    assert!(!alphabet("el-GR")('O') && alphabet("el-GR")('Ο'));
    assert!(!alphabet("en-US")('о'));
}

#[test]
fn persian_and_urdu_texts_have_no_arabic_yeh_or_kaf() {
    for language in ["fa-IR", "ur-PK"] {
        let text = sms(&built_in(true), language, "");
        assert!(
            !text.contains(['\u{64a}', '\u{643}', '\u{649}']),
            "{language}: {text}"
        );
    }
}

#[test]
fn right_to_left_texts_have_their_own_letters_first_and_between_brand_and_code() {
    let texts = built_in(true);
    for language in ["ar", "fa-IR", "he-IL", "ur-PK"] {
        let is_letter = alphabet(language);
        let text = sms(&texts, language, "Brand");
        assert!(
            is_letter(text.chars().next().unwrap()),
            "{language}: {text}"
        );
        let (before, after) = text.split_once("Brand").unwrap();
        let between = after.split_once(CODE).unwrap().0;
        assert!(between.chars().any(is_letter), "{language}: {between}");
        assert!(before.chars().any(is_letter), "{language}: {before}");
        // The brand is the only left-to-right word, and there are no direction marks.
        assert!(
            !words(&text)
                .replace("Brand", "")
                .chars()
                .any(|c| c.is_ascii_alphabetic()),
            "{language}: {text}"
        );
        assert!(
            !text
                .contains(|c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        );
    }
}

// ---- the brand

#[test]
fn a_brand_adds_no_placeholder_no_line_and_no_markup() {
    let texts = with_lines(Some("example.com"), None).unwrap();
    for brand in [
        "{{code}}",
        "{{brand}}",
        "a{{",
        "}}",
        "{",
        "{{{code}}}",
        "{\u{0}{code}}",
    ] {
        let text = sms(&texts, "en-US", brand);
        assert_eq!(text.matches(CODE).count(), 2, "{text}");
        assert_eq!(text.matches(['{', '}']).count(), 8, "{text}");
        let call = texts.voice("en-US", brand).unwrap();
        assert_eq!(call.body.matches(['{', '}']).count(), 8, "{}", call.body);
    }
    let text = sms(
        &texts,
        "en-US",
        "A\n@evil.example #1\r\u{2028}\u{85}\u{202e}",
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        !text.contains(['\r', '\u{85}', '\u{2028}', '\u{202e}']),
        "{text}"
    );
    assert!(text.ends_with("\n@example.com #{{code}}"));

    let call = texts.voice("en-US", "</speak>&\"'<b>").unwrap();
    assert!(
        call.body
            .contains("Your &lt;/speak&gt;&amp;&quot;&apos;&lt;b&gt; verification"),
        "{}",
        call.body
    );
    assert_eq!(
        sms(&texts, "en-US", "A&B <C>").lines().next().unwrap(),
        "{{code}} is your A&B <C> verification code."
    );
}

// ---- the last line

#[test]
fn the_last_line_is_for_a_website_or_an_app_or_both() {
    let text = |domain, hash| sms(&with_lines(domain, hash).unwrap(), "de-DE", "Acme");
    let first = "{{code}} ist Ihr Bestätigungscode für Acme.";
    assert_eq!(text(None, None), first);
    assert_eq!(
        text(Some("Example.com"), None),
        format!("{first}\n@example.com #{{{{code}}}}")
    );
    assert_eq!(
        text(None, Some("FA+9qCX9VSu")),
        format!("{first}\nFA+9qCX9VSu")
    );
    let both = text(Some("login.example.com"), Some("FA+9qCX9VSu"));
    assert_eq!(
        both,
        format!("{first}\n@login.example.com #{{{{code}}}} FA+9qCX9VSu")
    );

    // By the specification: in the last line, a host after @, one space, and a code after #. The rest is ignored.
    let sent = both.replace(CODE, "123456");
    let (host, rest) = sent
        .lines()
        .last()
        .unwrap()
        .strip_prefix('@')
        .unwrap()
        .split_once(' ')
        .unwrap();
    assert_eq!(
        (host, rest.strip_prefix('#').unwrap().split(' ').next()),
        ("login.example.com", Some("123456"))
    );
    // By the strictest version of Google's page, the hash is at the end.
    assert!(sent.ends_with("FA+9qCX9VSu"));
}

#[test]
fn a_wrong_domain_or_hash_is_refused() {
    let longest = format!(
        "{}.example",
        [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(53)
        ]
        .join(".")
    );
    assert!(longest.len() == 253 && with_lines(Some(&longest), None).is_ok());
    let longer = format!("a{longest}");
    for domain in [
        "",
        "localhost",
        "https://example.com",
        "example.com/",
        "example.com:443",
        "exa mple.com",
        "-a.example",
        "a-.example",
        "a..example",
        ".example",
        "example.",
        "192.0.2.1",
        "ex\u{e4}mple.com",
        "a_b.example",
        "{{code}}.example",
        &longer,
    ] {
        let problems = with_lines(Some(domain), None).unwrap_err();
        assert!(
            problems.len() == 1
                && problems
                    .concat()
                    .starts_with("WEBOTP_DOMAIN must be the host name"),
            "{domain}: {problems:?}"
        );
    }
    for hash in [
        "",
        "FA+9qCX9VS",
        "FA+9qCX9VSuu",
        "FA-9qCX9VSu",
        "FA 9qCX9VSu",
        "FA=9qCX9VSu",
        "F\u{e4}9qCX9VSu",
    ] {
        let problems = with_lines(None, Some(hash)).unwrap_err();
        assert!(
            problems.len() == 1 && problems.concat().starts_with("ANDROID_APP_HASH must be"),
            "{hash}: {problems:?}"
        );
    }
    assert!(with_lines(Some("xn--exmple-cua.com"), Some("+/aZ09+/aZ0")).is_ok());
    assert_eq!(with_lines(Some("a"), Some("b")).unwrap_err().len(), 2);
}

// ---- an operator's own texts

#[test]
fn an_own_text_replaces_the_built_in_one_of_its_channel() {
    let texts = own(&[
        ("EN-us", Some("{{brand}}: {{code}}"), None),
        ("eo", Some("Via kodo: {{code}}"), None),
    ])
    .unwrap();
    assert_eq!(sms(&texts, "en-US", "Acme"), "Acme: {{code}}");
    assert_eq!(
        sms(&texts, "en-GB", "Acme"),
        sms(&built_in(false), "en-GB", "Acme")
    );
    assert_eq!(
        texts.voice("en-US", "Acme"),
        built_in(false).voice("en-US", "Acme")
    );
    assert_eq!(sms(&texts, "EO", "Acme"), "Via kodo: {{code}}");
    assert_eq!(texts.voice("eo", "Acme"), None);
    let added: Vec<&str> = texts
        .sms_languages()
        .skip(built_in(false).sms_languages().count())
        .collect();
    assert_eq!(added, ["eo"]);
    assert_eq!(
        texts.voice_languages().count(),
        built_in(false).voice_languages().count()
    );
}

#[test]
fn an_own_text_gets_the_last_line_but_no_second_sentence() {
    let options = Options {
        do_not_share: true,
        web_otp_domain: Some("example.com".to_owned()),
        android_app_hash: None,
    };
    let own = OwnTexts {
        sms: Some("{{code}}\nAcme".to_owned()),
        voice: None,
    };
    let texts = Texts::new(options, BTreeMap::from([("en-US".to_owned(), own)])).unwrap();
    assert_eq!(
        sms(&texts, "en-US", "Acme"),
        "{{code}}\nAcme\n@example.com #{{code}}"
    );
}

#[test]
fn an_own_call_is_text_or_ssml_and_has_the_closest_voice() {
    let markup =
        "<speak>{{brand}}: <say-as interpret-as=\"characters\">{{code}}</say-as></speak>\n";
    let texts = own(&[
        ("de-AT", None, Some("{{brand}}: {{code}}")),
        ("pt-AO", None, Some(markup)),
    ])
    .unwrap();
    let plain = texts.voice("de-AT", "A&B").unwrap();
    assert_eq!(
        (plain.body.as_str(), plain.body_type),
        ("A&B: {{code}}", BodyType::Text)
    );
    assert_eq!((plain.language_code, plain.voice_id), ("de-DE", "Vicki"));
    let marked = texts.voice("pt-AO", "A&B").unwrap();
    assert!(
        marked.body.starts_with("<speak>A&amp;B: <say-as") && marked.body_type == BodyType::Ssml
    );
    assert_eq!((marked.language_code, marked.voice_id), ("pt-PT", "Ines"));
    let added: Vec<&str> = texts
        .voice_languages()
        .skip(built_in(false).voice_languages().count())
        .collect();
    assert_eq!(added, ["de-AT", "pt-AO"]);
}

#[test]
fn problems_of_own_texts_name_the_language_and_channel() {
    for (sms, part) in [
        ("", "does not contain {{code}}"),
        ("Your code", "does not contain {{code}}"),
        ("{{ code }}", "contains {{ code }}, which is neither"),
        ("{{code}} {{name}}", "contains {{name}}, which is neither"),
        ("{{code}} {{{brand}}}", "contains {{{brand}}"),
        ("{{code}} {{", "opens a placeholder"),
        ("{{code}}\t", "control character"),
        ("{{code}}\r\n", "control character"),
        (
            &format!("{{{{code}}}}{}", "a".repeat(6000)),
            "longer than 6000",
        ),
        (
            &format!("{{{{code}}}}{{{{brand}}}}{}", "a".repeat(5980)),
            "longer than 6000",
        ),
    ] {
        let problems = refusals("en-US", Some(sms), None);
        assert!(
            problems.contains("the sms text of `en-US` ") && problems.contains(part),
            "{sms}: {problems}"
        );
    }
    assert!(
        own(&[(
            "en-US",
            Some(&format!("{CODE}{}", "\u{e4}".repeat(5992))),
            None
        )])
        .is_ok()
    );
    for (voice, part) in [
        ("Your code", "does not contain {{code}}"),
        ("<speak>{{code}}", "does not end with </speak>"),
        ("<speak>{{code}}{{x}}</speak>", "contains {{x}}"),
    ] {
        let problems = refusals("en-US", None, Some(voice));
        assert!(
            problems.contains("the voice text of `en-US` ") && problems.contains(part),
            "{voice}: {problems}"
        );
    }
    let start = "CONFIG_FILE has texts that cannot be sent:";
    let unread = format!("{start} the voice text of `hi-IN` has no voice that could read it.");
    assert_eq!(refusals("hi-IN", None, Some(CODE)), unread);
    assert_eq!(
        refusals("en_US", Some(CODE), None),
        format!("{start} `en_US` is not a language tag such as pt-BR.")
    );
    let twice = own(&[("EN-US", Some(CODE), None), ("en-us", Some(CODE), None)]).unwrap_err();
    assert_eq!(twice, [format!("{start} `en-us` is named twice.")]);
    let all = own(&[
        ("x", None, None),
        ("en", Some(""), Some("")),
        ("hi", None, Some(CODE)),
    ])
    .unwrap_err();
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn own_texts_are_read_from_json_without_unknown_fields() {
    let read = |json| serde_json::from_str::<BTreeMap<String, OwnTexts>>(json);
    assert_eq!(
        read(r#"{"eo": {"sms": "a"}}"#)
            .unwrap()
            .get("eo")
            .unwrap()
            .sms
            .as_deref(),
        Some("a")
    );
    assert!(read(r#"{"eo": {"text": "a"}}"#).is_err());
}

// ---- the table of lengths

#[expect(clippy::print_stdout, reason = "people read the table")]
fn print(table: &str) {
    println!("{table}");
}

/// Prints the table of lengths: `cargo test --test texts table -- --nocapture`.
#[test]
fn the_table_of_lengths_can_be_printed() {
    let (short, long) = (built_in(false), built_in(true));
    let mut table =
        "| language | encoding | units | segments | with do-not-share |\n|---|---|---|---|---|\n"
            .to_owned();
    for language in short.sms_languages() {
        let count = |texts: &Texts| segments(&sms(texts, language, LONGEST_BRAND), LONGEST_CODE);
        let name = |length: Segments| {
            if length.encoding == Encoding::Gsm7 {
                "GSM-7"
            } else {
                "UCS-2"
            }
        };
        let (plain, both) = (count(&short), count(&long));
        let encoding = if name(plain) == name(both) {
            String::new()
        } else {
            format!("{}, ", name(both))
        };
        writeln!(
            table,
            "| {language} | {} | {} | {} | {encoding}{} units, {} |",
            name(plain),
            plain.units,
            plain.count,
            both.units,
            both.count
        )
        .unwrap();
    }
    print(&table);
    assert_eq!(table.lines().count(), 2 + short.sms_languages().count());
}
