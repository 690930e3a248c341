//! The operator's own texts, and the lines for programs on phones.

use crate::packaged::Packaged;
use crate::world::{NUMBER, World};
use otp_lambda::texts::{Options, Texts};
use serde_json::{Value, json};
use simulator::Operation;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn the_texts_page_lists_every_language() {
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/channels-and-texts.md"
    ))
    .unwrap();
    let (_, listed) = page.split_once("**Texts** are built in for\n").unwrap();
    let (sms, voice) = listed.split_once(",\n**calls** for\n").unwrap();
    let names = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .map(|name| name.trim_matches('`').to_owned())
            .collect()
    };
    let texts = Texts::new(Options::default(), BTreeMap::new()).unwrap();
    assert_eq!(names(sms), texts.sms_languages().collect::<Vec<_>>());
    assert_eq!(
        names(voice.split_once(".\n").unwrap().0),
        texts.voice_languages().collect::<Vec<_>>()
    );
}

async fn text(world: &World, language: &str, brand: &str) -> String {
    let body = json!({ "destinationNumber": NUMBER, "language": language, "brandName": brand });
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.simulator.newest_to(NUMBER).unwrap().text
}

#[tokio::test]
async fn own_texts_replace_built_in_texts_and_add_languages() {
    let file = Packaged::new(
        r#"{"texts": {"en-US": {"sms": "{{brand}} says {{code}}"}, "eo": {"sms": "Kodo: {{code}}"}}}"#,
    );
    let world = World::with(&[file.setting()]).await;
    let said = text(&world, "en-US", "Acme").await;
    assert_eq!(said, format!("Acme says {}", world.newest_code()));
    let said = text(&world, "eo", "Acme").await;
    assert_eq!(said, format!("Kodo: {}", world.newest_code()));
    assert!(
        text(&world, "de-DE", "Acme").await.contains("Acme"),
        "the other languages keep their built-in texts"
    );
    assert_eq!(
        text(&world, "en", "Acme").await,
        format!("Acme says {}", world.newest_code())
    );
}

#[tokio::test]
async fn an_own_text_with_two_segments_is_logged_at_start() {
    let long = "x".repeat(150);
    let file = Packaged::new(&format!(
        r#"{{"texts": {{"en-US": {{"sms": "{{{{code}}}} {long} {{{{brand}}}}"}}, "eo": {{"sms": "{{{{code}}}}"}}}}}}"#
    ));
    let world = World::with(&[file.setting()]).await;
    let line = world.last_line();
    assert_eq!(
        (
            &line["message"],
            &line["level"],
            &line["languages"],
            &line["segments"]
        ),
        (
            &json!("long_text"),
            &json!("WARN"),
            &json!("en-US"),
            &json!(2)
        )
    );
    assert_eq!(world.log.text().lines().count(), 1);
}

/// The `long_text` lines at the start with these settings.
async fn long_text_lines(settings: &[(&str, &str)]) -> Vec<Value> {
    let log = World::with(settings).await.log.text();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["message"] == "long_text")
        .collect()
}

fn segments_and_languages(line: &Value) -> (u64, String) {
    let languages = line["languages"].as_str().unwrap().to_owned();
    (line["segments"].as_u64().unwrap(), languages)
}

/// The segments of the `long_text` lines, and the languages with so many.
async fn long_texts(settings: &[(&str, &str)]) -> Vec<(u64, String)> {
    let lines = long_text_lines(settings).await;
    lines.iter().map(segments_and_languages).collect()
}

#[tokio::test]
async fn built_in_texts_that_are_paid_for_twice_are_said_at_start() {
    let emoji = "🎉".repeat(20);
    let brand = ("BRAND_NAME", emoji.as_str());
    let lines = [
        ("WEBOTP_DOMAIN", "example.com"),
        ("ANDROID_APP_HASH", "FA+9qCX9VSu"),
    ];
    let two = "el-GR, he-IL, is-IS, ru-RU, ur-PK".to_owned();
    assert_eq!(long_texts(&lines).await, [(2, two)]);

    let with_the_brand = long_texts(&[brand]).await;
    let [(2, two)] = with_the_brand.as_slice() else {
        panic!("{with_the_brand:?}");
    };
    assert!(two.contains("en-US") && !two.contains("zh-CN"), "{two}");

    // One line for each number of segments.
    let with_both = long_texts(&[&lines[..], &[brand]].concat()).await;
    let [(2, two), (3, three)] = with_both.as_slice() else {
        panic!("{with_both:?}");
    };
    assert!(
        two.contains("zh-CN") && three.contains("en-US"),
        "{two}; {three}"
    );

    // The controls: texts that fit, texts that fit without the second sentence, and no SMS at all.
    assert_eq!(long_texts(&[]).await, []);
    assert_eq!(long_texts(&[("BRAND_NAME", "Joe’s Diner")]).await, []);
    assert_eq!(long_texts(&[brand, ("CHANNELS", "voice")]).await, []);
}

/// A brand of `BRAND_NAMES` is reported as it would be if it were the only brand.
#[tokio::test]
async fn texts_that_are_paid_for_twice_are_said_of_every_brand() {
    let hearts = "💛".repeat(20);
    let brands = ["Acme", "Żółta Łódź i Spółka", hearts.as_str()];
    let [acme, _, _] = brands;
    let last_line = ("WEBOTP_DOMAIN", "example.com");
    let listed = format!("{acme};{};{hearts};{hearts}", brands[1]);
    let settings = [last_line, ("BRAND_NAME", acme), ("BRAND_NAMES", &listed)];
    let lines = long_text_lines(&settings).await;
    let mut counts = BTreeSet::new();
    for brand in brands {
        let of_brand: Vec<(u64, String)> = lines
            .iter()
            .filter(|line| line["brand"] == brand)
            .map(segments_and_languages)
            .collect();
        let alone = long_texts(&[last_line, ("BRAND_NAME", brand)]).await;
        assert_eq!(of_brand, alone, "{brand}");
        counts.insert(
            of_brand
                .iter()
                .map(|(_, languages)| languages.len())
                .sum::<usize>(),
        );
    }
    // The control: the brands differ.
    assert_eq!(counts.len(), 3, "{lines:?}");
}

#[tokio::test]
async fn the_second_sentence_is_left_out_if_the_text_then_takes_one_segment() {
    let world = World::new().await;
    let said = text(&world, "en-US", "Joe’s Diner").await;
    let code = world.newest_code();
    assert_eq!(
        said,
        format!("{code} is your Joe’s Diner verification code.")
    );
    // The control: in the letters of GSM, both sentences fit.
    let said = text(&world, "en-US", "Joes Diner").await;
    assert!(
        said.ends_with("verification code. Do not share it with anyone."),
        "{said}"
    );
}

#[tokio::test]
async fn a_brand_cannot_add_a_placeholder() {
    let world = World::new().await;
    let said = text(&world, "en-US", "{{code}}").await;
    let code = world.newest_code();
    assert_eq!(said.matches(&code).count(), 1, "{said}");
    let asked = world
        .simulator
        .requests(Operation::Send)
        .last()
        .unwrap()
        .body
        .clone();
    let template = asked["overrideChannelParameters"]["text"]["inlineTemplateBody"]
        .as_str()
        .unwrap();
    assert_eq!(template.matches("{{").count(), 1, "{template}");
}

#[tokio::test]
async fn a_brand_cannot_add_speech_markup() {
    let world = World::with(&[("CHANNELS", "voice")]).await;
    let body = json!({ "destinationNumber": NUMBER, "brandName": "A&B <break/>" });
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let heard = world.simulator.newest_to(NUMBER).unwrap().text;
    assert!(heard.contains("A&B <break/>"), "{heard}");
}

#[tokio::test]
async fn the_last_line_has_the_code_for_browsers_and_android_apps() {
    let world = World::with(&[
        ("WEBOTP_DOMAIN", "example.com"),
        ("ANDROID_APP_HASH", "FA+9qCX9VSu"),
    ])
    .await;
    let said = text(&world, "de-DE", "Acme").await;
    let code = world.newest_code();
    assert_eq!(
        said.lines().last().unwrap(),
        format!("@example.com #{code} FA+9qCX9VSu"),
        "{said}"
    );
}

#[tokio::test]
async fn the_second_sentence_can_be_left_out() {
    let with = World::new().await;
    let without = World::with(&[("DO_NOT_SHARE_LINE", "off")]).await;
    assert!(
        text(&with, "en-US", "Acme").await.len() > text(&without, "en-US", "Acme").await.len() + 10
    );
}
