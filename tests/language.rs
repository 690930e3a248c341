//! Languages: the closest text for each reader.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use otp_lambda::language::{closest, is_well_formed, of_country};
use otp_lambda::phone::Country;
use std::collections::BTreeSet;

/// The languages of Pinpoint, in its order.
#[rustfmt::skip]
const PINPOINT: &[&str] = &[
    "de-DE", "en-GB", "en-US", "es-419", "es-ES", "fr-CA", "fr-FR", "it-IT", "ja-JP", "ko-KR", "pt-BR", "zh-CN",
    "zh-TW",
];

/// Asserts the result of each wish. A line is `wish wish > result`; the result `-` means none.
fn each(available: &[&str], wishes_and_answers: &str) {
    for line in wishes_and_answers
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (wishes, answer) = line.split_once(" > ").unwrap();
        for wish in wishes.split(' ') {
            let got = closest(wish, available.iter().copied()).unwrap_or("-");
            assert_eq!(got, answer, "for {wish} of {available:?}");
        }
    }
}

#[test]
fn an_equal_tag_wins_in_any_case() {
    each(
        PINPOINT,
        "
        fr-CA fr-ca FR_CA fr_CA > fr-CA
        es-419 ES-419 es_419 > es-419
        zh-TW ZH_tw > zh-TW
        ",
    );
    each(&["pt-BR", "pt-PT"], "pt-PT > pt-PT");
}

#[test]
fn with_pinpoints_languages_a_reader_gets_the_closest_one() {
    each(
        PINPOINT,
        "
        de de-AT de-CH de-LI de-Latn-DE de-1996 > de-DE
        en en-CA en-PH en-US en-US-posix en-u-ca-gregory en-US-x-gb > en-US
        en-AU en-NZ en-ZA en-IE en-IN en-SG en-KE en-NG en-001 en-150 en-Latn-GB > en-GB
        es es-AR es-MX es-CO es-US es-u-co-trad > es-419
        es-GQ es-EA es-IC es-Latn-ES es-ES-valencia > es-ES
        fr fr-BE fr-CH fr-SN fr-Latn-FR > fr-FR
        fr-Latn-CA > fr-CA
        it it-CH it-VA > it-IT
        ja ja-Jpan-JP ja-JP-u-ca-japanese > ja-JP
        ko ko-KP > ko-KR
        pt pt-PT pt-AO pt-MZ > pt-BR
        zh zh-SG zh-Hans zh-Hans-HK zh-Hans-CN cmn cmn-CN zh-cmn-Hans-CN > zh-CN
        zh-HK zh-MO zh-Hant zh-Hant-HK zh-Hant-US zh-hant_tw yue yue-HK cmn-Hant > zh-TW
        ar ru hi nl sv uk und > -
        ",
    );
}

#[test]
fn old_and_alternative_codes_mean_the_same_language() {
    each(
        &[
            "nb-NO", "he-IL", "id-ID", "fil-PH", "ms-MY", "sw-KE", "fa-IR", "ro-RO", "ar",
        ],
        "
        no nn nn-NO no-NO nb > nb-NO
        iw iw-IL he > he-IL
        in in-ID id > id-ID
        tl tl-PH fil > fil-PH
        zsm-MY ms-SG > ms-MY
        swh sw-TZ > sw-KE
        prs-AF pes fa-AF > fa-IR
        mo ro-MD > ro-RO
        arb ar-EG ar-SA ar-Arab > ar
        ",
    );
}

#[test]
fn nobody_gets_an_unreadable_script() {
    each(
        &["zh-CN"],
        "zh-TW zh-HK zh-Hant yue > -\n zh zh-SG zh-Hans-TW > zh-CN",
    );
    each(
        &["zh-TW"],
        "zh zh-CN zh-SG cmn > -\n zh-HK zh-Hant-SG > zh-TW",
    );
    each(
        &["uz-UZ"],
        "uz uz-Latn > uz-UZ\n uz-Cyrl uz-Cyrl-UZ uz-AF uz-Arab > -",
    );
    each(&["pa-IN"], "pa pa-Guru > pa-IN\n pa-PK pa-Arab > -");
    each(&["az-AZ"], "az az-Latn > az-AZ\n az-Cyrl az-IR > -");
    each(&["hi-IN"], "hi hi-Deva > hi-IN\n hi-Latn hi-Latn-IN > -");
    each(&["kk-KZ"], "kk kk-Cyrl-KZ > kk-KZ\n kk-Latn kk-CN > -");
    each(&["ru-RU"], "ru ru-Cyrl ru-KZ > ru-RU\n ru-Latn uk be > -");
}

#[test]
fn serbian_is_readable_in_both_scripts_but_the_requested_one_wins() {
    each(
        &["sr-Latn-RS"],
        "sr sr-RS sr-Cyrl sr-Latn sr-ME sh > sr-Latn-RS",
    );
    each(
        &["sr-Latn-RS", "sr-RS"],
        "sr sr-Cyrl sr-BA > sr-RS\n sr-Latn sr-Latn-BA sr-ME sh > sr-Latn-RS",
    );
    each(&["hr-HR", "bs-BA"], "sr sr-Latn > -");
}

#[test]
fn more_languages_give_a_closer_choice() {
    each(
        &[
            "en-US", "en-AU", "en-GB", "en-IN", "es-ES", "es-US", "es-MX", "es-419", "pt-BR",
            "pt-PT", "zh-TW", "zh-HK",
        ],
        "
        en-NZ en-ZA > en-GB
        en-IN en-Latn-IN > en-IN
        es-Latn-MX > es-MX
        es-PR > es-US
        es-AR es > es-419
        pt-AO pt-MZ > pt-PT
        pt > pt-BR
        zh-MO > zh-HK
        zh-Hant > zh-TW
        ",
    );
    each(&["es-ES", "es-MX"], "es es-AR > es-MX");
    each(&["de-CH", "de", "de-AT"], "de-LU > de");
    each(&["de-CH", "de-AT"], "de-LU de > de-CH");
}

#[test]
fn a_malformed_tag_gets_nothing() {
    each(
        PINPOINT,
        "x-private e en- -en en--US en-US-verylongsubtag 1n en-US.UTF-8 * ｅn > -",
    );
    assert_eq!(closest("", PINPOINT.iter().copied()), None);
    assert_eq!(
        closest(&"en-US-aaaaaaaa".repeat(1000), PINPOINT.iter().copied()),
        None
    );
}

#[test]
fn a_tag_must_be_well_formed() {
    for tag in [
        "en",
        "fil",
        "es-419",
        "zh-Hant-HK",
        "de-CH-1996",
        "en-u-ca-gregory",
        "abcdefgh",
        "sr-Latn-RS",
    ] {
        assert!(is_well_formed(tag), "{tag}");
    }
    let (longest, longer) = (
        "en-aaaaaaaa-bbbbbbbb-cccccccc-ddddd",
        "en-aaaaaaaa-bbbbbbbb-cccccccc-dddddd",
    );
    assert!(is_well_formed(longest) && longest.len() == 35);
    assert!(!is_well_formed(longer));
    for no in [
        "",
        "e",
        "e1",
        "abcdefghi",
        "en_US",
        "en-",
        "en--US",
        "en-abcdefghi",
        "en US",
        "d\u{e9}",
        "en-U\u{308}",
    ] {
        assert!(!is_well_formed(no), "{no}");
    }
}

#[test]
fn every_country_has_a_language() {
    let letters = || ('A'..='Z').map(String::from);
    let countries: Vec<Country> = letters()
        .flat_map(|a| letters().map(move |b| format!("{a}{b}")))
        .filter_map(|name| name.parse().ok())
        .collect();
    assert_eq!(countries.len(), 245);
    let mut languages = BTreeSet::new();
    for country in countries {
        let tag = of_country(country);
        assert!(is_well_formed(tag), "{tag}");
        let (language, region) = tag.rsplit_once('-').unwrap();
        assert_eq!(region, country.as_str(), "{tag}");
        languages.insert(language);
    }
    assert!(languages.len() > 50, "{languages:?}");
}

#[test]
fn the_language_of_a_country_is_that_of_its_usual_texts() {
    for tag in [
        "de-DE",
        "de-CH",
        "nl-BE",
        "en-CA",
        "en-IN",
        "en-US",
        "es-MX",
        "pt-BR",
        "pt-AO",
        "fr-SN",
        "ar-EG",
        "zh-HK",
        "zh-CN",
        "ja-JP",
        "ru-KZ",
        "uk-UA",
        "sr-Latn-RS",
        "el-CY",
        "nb-NO",
        "he-IL",
        "id-ID",
        "sw-TZ",
        "en-KE",
        "ur-PK",
        "bn-BD",
    ] {
        let country: Country = tag.rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(of_country(country), tag);
    }
}
