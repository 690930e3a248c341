//! The page `examples/web` at `/try/`. In place of the person who copies the page, the desk fills in the lines that this
//! person would change.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use otp_lambda::{
    otp::CodeCharacters, phone::Country, policy::AllowedCountries, settings::Settings,
};

use crate::{desk::Desk, inbox::service_url};

const PAGE: &str = include_str!("../../examples/web/index.html");

const FILES: &[(&str, &str)] = &[
    ("otp.css", include_str!("../../examples/web/otp.css")),
    ("otp.mjs", include_str!("../../examples/web/otp.mjs")),
];

macro_rules! messages {
    ($($language:literal)*) => {
        /// The words of the page by language.
        const MESSAGES: &[(&str, &str)] = &[
            $((concat!($language, ".json"), include_str!(concat!("../../examples/web/messages/", $language, ".json")))),*
        ];
    };
}

messages! { "ar" "de" "en" "es" "fr" "it" "ja" "ko" "nl" "pt" "zh" }

/// The settings that the page must know.
#[derive(Clone, Debug)]
pub struct Choices {
    countries: String,
    channels: String,
    code_type: &'static str,
}

impl Choices {
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let countries = match &settings.rules.allowed_countries {
            AllowedCountries::Any => "*".to_owned(),
            AllowedCountries::Only(countries) => {
                let codes: Vec<_> = countries.iter().map(Country::as_str).collect();
                codes.join(",")
            }
        };
        let limits = settings.provider.current.limits();
        let channels: Vec<_> = limits
            .channels
            .iter()
            .map(|own| own.channel.name())
            .collect();
        Self {
            countries,
            channels: channels.join(","),
            code_type: match settings.provider.codes().characters {
                CodeCharacters::Digits => "numeric",
                CodeCharacters::Letters => "alphabetic",
                CodeCharacters::LettersAndDigits => "alphanumeric",
            },
        }
    }
}

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/try", get(async || Redirect::permanent("/try/")))
        .route("/try/", get(page))
        .route("/try/{file}", get(file))
        .route("/try/messages/{file}", get(messages))
}

/// The page, with a policy for the browser: only files of this folder may run, and only the service may be called.
async fn page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let (Some(service), Some(choices)) = (service_url(&desk, &headers), desk.choices()) else {
        let absent = "There is no service to try. Start the desk with `make run`.\n";
        return (StatusCode::NOT_FOUND, absent).into_response();
    };
    (headers_of_page(&service), fill(&service, &choices)).into_response()
}

/// The headers of a page that people copy.
pub(crate) fn headers_of_page(service: &str) -> [(HeaderName, String); 5] {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {service}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]
}

fn fill(service: &str, choices: &Choices) -> String {
    let mut filled = PAGE.to_owned();
    for (name, value) in [
        ("otp-api", service),
        ("otp-countries", &choices.countries),
        ("otp-channels", &choices.channels),
        ("otp-code-type", choices.code_type),
    ] {
        filled = with_meta(&filled, name, value).unwrap_or(filled);
    }
    filled
}

/// The page with another value of `<meta name="…">`. `None` if it has no such line.
pub(crate) fn with_meta(page: &str, name: &str, value: &str) -> Option<String> {
    let start = format!("<meta name=\"{name}\" content=\"");
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once('"')?;
    Some(format!("{before}{start}{value}\"{after}"))
}

async fn file(Path(name): Path<String>) -> Response {
    find(FILES, &name)
}

async fn messages(Path(name): Path<String>) -> Response {
    find(MESSAGES, &name)
}

pub(crate) fn find(files: &'static [(&'static str, &'static str)], name: &str) -> Response {
    let Some((_, content)) = files.iter().find(|(own, _)| *own == name) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let content_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "mjs")) => "text/javascript; charset=utf-8",
        _ => "application/json",
    };
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        *content,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
    };

    use otp_lambda::{
        error::ErrorCode,
        phone::{NumberType, PhoneNumber, TABLE},
    };
    use serde_json::Value;

    use super::*;

    /// The calling code of a number.
    fn calling_code(number: &PhoneNumber) -> &'static str {
        let digits = &number.expose()[1..];
        let codes = TABLE.codes.iter().map(|row| row.code.to_string());
        let code = codes.filter(|code| digits.starts_with(code.as_str()));
        code.max_by_key(String::len).unwrap().leak()
    }

    /// Whether a mobile number of the country has a zero behind its calling code. Tries each digit behind the zero, in
    /// numbers of each length. Italy and San Marino have no prefix for domestic calls, so a zero is never one there,
    /// and their landlines count, too.
    fn begins_with_zero(country: Country, code: &str) -> bool {
        let is_asked = |number: &PhoneNumber| {
            let landlines = ["IT", "SM"].contains(&country.as_str());
            landlines || number.number_type() == NumberType::Mobile
        };
        let mut fill = (1_u64..).map(|step| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
        (0..10).any(|second| {
            (4..=9).any(|length| {
                fill.by_ref().take(4).any(|digits| {
                    let rest = &format!("{digits:020}")[20 - length..];
                    PhoneNumber::parse(&format!("+{code}0{second}{rest}"))
                        .is_ok_and(|number| number.country() == Some(country) && is_asked(&number))
                })
            })
        })
    }

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        text.split_once(start).unwrap().1.split_once(end).unwrap().0
    }

    #[test]
    fn the_page_knows_every_calling_code_and_every_country_whose_numbers_begin_with_zero() {
        let script = FILES[1].1;
        let (mut codes, mut zeros) = (Vec::new(), Vec::new());
        for country in Country::all() {
            let number = PhoneNumber::stand_in(country, [0; 16]);
            let Some(number) = number.filter(|own| own.country() == Some(country)) else {
                continue;
            };
            let code = calling_code(&number);
            codes.push(format!("{}{code}", country.as_str()));
            if begins_with_zero(country, code) {
                zeros.push(format!("'{}'", country.as_str()));
            }
        }
        let table = between(script, "fromEntries(`", "`");
        let shown: Vec<_> = table.split_whitespace().collect();
        assert_eq!(shown, codes, "{}", codes.join(" "));
        assert!(codes.len() > 230, "{}", codes.len());
        assert_eq!(
            between(script, "zeroStays = new Set([", "])"),
            zeros.join(", ")
        );
    }

    /// The words of a language by their path, such as `errors.code_expired`.
    fn words(text: &str) -> BTreeMap<String, String> {
        let value: Value = serde_json::from_str(text).unwrap();
        let mut words = BTreeMap::new();
        for (name, value) in value.as_object().unwrap() {
            match value {
                Value::Object(inner) => words.extend(inner.iter().map(|(own, value)| {
                    (format!("{name}.{own}"), value.as_str().unwrap().to_owned())
                })),
                _ => {
                    words.insert(name.clone(), value.as_str().unwrap().to_owned());
                }
            }
        }
        words
    }

    fn placeholders(text: &str) -> BTreeSet<&str> {
        let parts = text.split('{').skip(1);
        parts.map(|part| part.split_once('}').unwrap().0).collect()
    }

    /// The words that a language lacks, has too much or has left empty, beside English.
    fn faults(english: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
        let names: BTreeSet<_> = english.keys().chain(other.keys()).collect();
        let differs = |name: &&&String| match (english.get(**name), other.get(**name)) {
            (Some(one), Some(two)) => {
                two.trim().is_empty() || placeholders(one) != placeholders(two)
            }
            _ => true,
        };
        names
            .iter()
            .filter(differs)
            .map(|name| (**name).clone())
            .collect()
    }

    #[test]
    fn every_language_has_words_for_every_error_code() {
        let english = words(
            MESSAGES
                .iter()
                .find(|(name, _)| *name == "en.json")
                .unwrap()
                .1,
        );
        let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        let shown = english
            .keys()
            .filter_map(|name| name.strip_prefix("errors."));
        assert_eq!(shown.collect::<BTreeSet<_>>(), codes);
        for (name, text) in MESSAGES {
            assert_eq!(faults(&english, &words(text)), [""; 0], "{name}");
        }
        // The control: a word that is absent, empty, too many or without its placeholder is a fault.
        let mut broken = english.clone();
        broken.remove("errors.code_expired");
        broken.insert("send".to_owned(), " ".to_owned());
        broken.insert("more".to_owned(), "More".to_owned());
        broken.insert("wait".to_owned(), "Wait.".to_owned());
        assert_eq!(
            faults(&english, &broken),
            ["errors.code_expired", "more", "send", "wait"]
        );
    }

    #[test]
    fn the_page_the_folder_and_the_script_have_the_same_languages_and_words() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/web/messages");
        let files: BTreeSet<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let served: BTreeSet<_> = MESSAGES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(files, served);
        let script = FILES[1].1;
        let listed: BTreeSet<_> = between(script, "languages = [", "]")
            .split(", ")
            .map(|name| format!("{}.json", name.trim_matches('\'')))
            .collect();
        assert_eq!(files, listed);
        // Before the script runs, the page has the English words.
        let english = words(
            MESSAGES
                .iter()
                .find(|(name, _)| *name == "en.json")
                .unwrap()
                .1,
        );
        let places: Vec<_> = PAGE.split("data-words=\"").skip(1).collect();
        assert!(places.len() > 8);
        for place in places {
            let (name, rest) = place.split_once("\">").unwrap();
            assert_eq!(
                rest.split('<').next(),
                english.get(name).map(String::as_str),
                "{name}"
            );
        }
    }

    #[test]
    fn the_desk_fills_in_each_line() {
        let choices = Choices {
            countries: "FR,US".to_owned(),
            channels: "sms,voice".to_owned(),
            code_type: "alphabetic",
        };
        let page = fill("http://localhost:1", &choices);
        for line in [
            "<meta name=\"otp-api\" content=\"http://localhost:1\">",
            "<meta name=\"otp-countries\" content=\"FR,US\">",
            "<meta name=\"otp-channels\" content=\"sms,voice\">",
            "<meta name=\"otp-code-type\" content=\"alphabetic\">",
        ] {
            assert!(page.contains(line), "{line}");
        }
        assert_eq!(with_meta(PAGE, "otp-brand", "x"), None);
    }
}
