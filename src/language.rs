//! Languages: the closest available text for a reader, and the usual language of each country.
//!
//! Tags are those of BCP 47 (RFC 5646), such as `pt-BR` and `zh-Hant-HK`. The tables are judgement calls, based on
//! CLDR's likely subtags and parent locales. The tables have one aim: that the reader understands a short text.

mod countries;

use crate::phone::Country;
use countries::OF_COUNTRIES;
use std::sync::Arc;

/// A BCP 47 tag, shared by the provider's limits and the requests that choose it.
pub type Tag = Arc<str>;

/// The length of the longest tag, in characters. RFC 5646, section 4.4.1, asks all software to accept this length, and
/// AWS accepts no more.
pub const LONGEST_TAG: usize = 35;

/// The setting that takes the place of a tag: use the language of the number's country.
pub const BY_COUNTRY: &str = "country";

/// The language of countries that are not in the table.
const OTHERWISE: &str = "en";

/// Whether the text has the shape of a language tag. The language need not exist.
///
/// A tag has subtags with hyphens between them. The first subtag has 2 to 8 ASCII letters. The others have 1 to 8 ASCII
/// letters and digits. The whole tag has at most [`LONGEST_TAG`] characters.
#[must_use]
pub fn is_well_formed(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = subtags.next().unwrap_or_default();
    tag.len() <= LONGEST_TAG
        && (2..=8).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// Finds the tag in `available` that a reader of `wish` understands best. Returns `None` if the reader might understand
/// none of these tags.
///
/// An equal tag wins. Case does not count, and `_` counts as `-`. If no tag is equal, only tags of the same language in
/// a script that the reader can read are considered. The order among them is: the region nearest to that of `wish`,
/// then no region, then the order of `available`. The parts of a tag for extensions and private use do not change how a
/// text is read, so these parts are ignored.
#[must_use]
pub fn closest<T: AsRef<str>>(wish: &str, available: impl Iterator<Item = T> + Clone) -> Option<T> {
    let wish = wish.replace('_', "-");
    if !is_well_formed(&wish) {
        return None;
    }
    if let Some(exact) = available
        .clone()
        .find(|tag| tag.as_ref().eq_ignore_ascii_case(&wish))
    {
        return Some(exact);
    }
    let wish = Reading::of(&wish);
    let mut readable = available
        .map(|tag| {
            let offer = Reading::of(tag.as_ref());
            (tag, offer)
        })
        .filter(|(_, offer)| offer.language == wish.language && wish.can_read(offer.script))
        .collect::<Vec<_>>();
    // The sort is stable: tags of equal rank stay in the order of `available`.
    readable.sort_by_key(|(_, offer)| {
        let nearest = wish.nearest_regions();
        let region = match &offer.region {
            region if *region == wish.region => 0,
            Some(region) => nearest
                .iter()
                .position(|near| near == region)
                .map_or(nearest.len() + 2, |at| at + 1),
            None => nearest.len() + 1,
        };
        (offer.script != wish.script, region)
    });
    readable.into_iter().next().map(|(tag, _)| tag)
}

/// The language that most people in `country` read, as a tag with that country: `de-CH`.
///
/// In a country of several languages, the result is the language in which networks and banks send their texts: `ru-KZ`
/// for Kazakhstan, `en-IN` for India. For a country that is not in the table, the result is English. This program need
/// not have a text in the language.
#[must_use]
pub fn of_country(country: Country) -> &'static str {
    let region = |tag: &'static str| tag.rsplit('-').next().unwrap_or_default();
    let found = OF_COUNTRIES.binary_search_by(|tag| region(tag).cmp(country.as_str()));
    found
        .ok()
        .and_then(|index| OF_COUNTRIES.get(index))
        .copied()
        .unwrap_or(OTHERWISE)
}

/// The parts of a tag that decide who can read a text.
struct Reading {
    /// The primary language in lower case, with other codes replaced as in `SPELLINGS`.
    language: String,
    script: [u8; 4],
    /// The region in upper case: two letters or three digits.
    region: Option<String>,
}

impl Reading {
    fn of(tag: &str) -> Self {
        let mut subtags = tag.split('-');
        let primary = subtags.next().unwrap_or_default().to_ascii_lowercase();
        let language = SPELLINGS
            .iter()
            .find(|(old, _)| *old == primary)
            .map_or(primary.as_str(), |(_, new)| new);
        let (mut script, mut region) = (None, None);
        // A single letter or digit begins an extension or private use.
        for subtag in subtags.take_while(|subtag| subtag.len() > 1) {
            let letters = subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
            match subtag.len() {
                4 if letters && script.is_none() && region.is_none() => script = written(subtag),
                2 if letters && region.is_none() => region = Some(subtag.to_ascii_uppercase()),
                3 if region.is_none() && subtag.bytes().all(|byte| byte.is_ascii_digit()) => {
                    region = Some(subtag.to_owned());
                }
                // A variant, or an extended language such as `zh-yue`, which is read like its first subtag.
                _ => {}
            }
        }
        let script = script.unwrap_or_else(|| match primary.as_str() {
            "sh" => *b"Latn",
            "yue" if region.is_none() => *b"Hant",
            _ => usual_script(language, region.as_deref().unwrap_or_default()),
        });
        Self {
            language: language.to_owned(),
            script,
            region,
        }
    }

    fn can_read(&self, script: [u8; 4]) -> bool {
        // Readers of Serbian learn both of its scripts.
        self.script == script || self.language == "sr"
    }

    /// The regions whose spelling is similar, the most similar first.
    fn nearest_regions(&self) -> &'static [&'static str] {
        let region = self.region.as_deref().unwrap_or("-");
        let rows = || {
            NEAREST
                .iter()
                .filter(|(language, ..)| *language == self.language)
        };
        let named = rows().find(|(_, regions, _)| regions.split(' ').any(|one| one == region));
        named
            .or_else(|| rows().find(|(_, regions, _)| regions.is_empty()))
            .map_or(&[], |(.., nearest)| nearest)
    }
}

fn written(script: &str) -> Option<[u8; 4]> {
    let mut bytes: [u8; 4] = script.as_bytes().try_into().ok()?;
    bytes.make_ascii_lowercase();
    if let Some(first) = bytes.first_mut() {
        first.make_ascii_uppercase();
    }
    Some(bytes)
}

/// The script of a tag that names none.
fn usual_script(language: &str, region: &str) -> [u8; 4] {
    let row = USUAL_SCRIPTS.iter().find(|(_, languages, regions)| {
        let has = |list: &str, item| list.split(' ').any(|one| one == item);
        has(languages, language) && (regions.is_empty() || has(regions, region))
    });
    row.map_or(*b"Latn", |(script, ..)| **script)
}

/// Older and other codes of a language, and codes of languages that are read like it.
const SPELLINGS: &[(&str, &str)] = &[
    ("arb", "ar"),
    ("cmn", "zh"),
    ("in", "id"),
    ("iw", "he"),
    ("ji", "yi"),
    ("mo", "ro"),
    // Every reader of Norwegian can read both of its written forms; `no` names neither.
    ("nn", "nb"),
    ("no", "nb"),
    ("prs", "fa"),
    ("pes", "fa"),
    ("sh", "sr"),
    ("swh", "sw"),
    ("tl", "fil"),
    // Speakers of Cantonese read written Chinese.
    ("yue", "zh"),
    ("zsm", "ms"),
];

/// The usual scripts of languages. A row has a script, the languages that are written in it, and the regions for which
/// the row holds. A row without regions holds everywhere. The first row that fits decides, and a language without a row
/// is written in Latin letters.
const USUAL_SCRIPTS: &[(&[u8; 4], &str, &str)] = &[
    (b"Hant", "zh", "TW HK MO"),
    (b"Hans", "zh", ""),
    (b"Latn", "sr", "ME"),
    (b"Arab", "az", "IR"),
    (b"Arab", "uz tg tk", "AF"),
    (b"Arab", "kk ky", "CN"),
    (b"Mong", "mn", "CN"),
    (b"Arab", "pa", "PK"),
    (b"Deva", "sd", "IN"),
    (
        b"Cyrl",
        "ru uk be bg mk sr kk ky tg mn tt ba cv ce os ab",
        "",
    ),
    (b"Arab", "ar fa ur ps sd ug ckb ks bal", ""),
    (b"Hebr", "he yi", ""),
    (b"Deva", "hi mr ne sa mai bho doi kok brx", ""),
    (b"Beng", "bn as", ""),
    (b"Guru", "pa", ""),
    (b"Gujr", "gu", ""),
    (b"Orya", "or", ""),
    (b"Taml", "ta", ""),
    (b"Telu", "te", ""),
    (b"Knda", "kn", ""),
    (b"Mlym", "ml", ""),
    (b"Sinh", "si", ""),
    (b"Thai", "th", ""),
    (b"Laoo", "lo", ""),
    (b"Mymr", "my", ""),
    (b"Khmr", "km", ""),
    (b"Tibt", "bo dz", ""),
    (b"Ethi", "am ti", ""),
    (b"Geor", "ka", ""),
    (b"Armn", "hy", ""),
    (b"Grek", "el", ""),
    (b"Thaa", "dv", ""),
    (b"Jpan", "ja", ""),
    (b"Kore", "ko", ""),
];

/// The regions with the most similar spelling. A row has a language, the regions of readers, and the regions that are
/// nearest to these readers. `-` stands for a reader whose tag has no region. If a row names no region of readers, the
/// row holds for all other readers. The first row that fits decides.
const NEAREST: &[(&str, &str, &[&str])] = &[
    // As in CLDR's `en-001`: British spelling, except in places that follow the United States.
    (
        "en",
        "- US CA PH PR GU VI AS MP UM LR MH FM PW",
        &["US", "GB"],
    ),
    ("en", "", &["GB", "US"]),
    ("es", "ES EA IC GQ PH AD GI", &["ES", "419"]),
    ("es", "US PR", &["US", "419", "MX", "ES"]),
    // This row includes Spanish without a region: most of its readers are in the Americas.
    ("es", "", &["419", "MX", "US", "ES"]),
    ("fr", "CA", &["CA", "FR"]),
    ("fr", "", &["FR", "CA"]),
    ("pt", "- BR", &["BR", "PT"]),
    ("pt", "", &["PT", "BR"]),
    ("zh", "HK MO", &["HK", "TW"]),
    ("zh", "", &["CN", "TW", "HK"]),
];
