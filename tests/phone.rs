//! Tests of phone numbers. Each phone must have one spelling, each number must have the right country, and no printed
//! text may show a number. The tests compare with libphonenumber.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::fs;

use otp_lambda::phone::{self, Country, InvalidPhoneNumber, LONGEST_TEXT, PhoneNumber, mask};
use proptest::prelude::*;
use rlibphonenumber::{PHONE_NUMBER_UTIL as ORACLE, PhoneNumberFormat, PhoneNumberType, Region};

#[path = "phone/judgements.rs"]
mod judgements;
#[path = "phone/oracle.rs"]
mod oracle;
#[path = "phone/proof.rs"]
mod proof;
#[path = "phone/table.rs"]
mod table;
#[path = "phone/types.rs"]
mod types;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/phone/countries.rs");

fn parse(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn country(text: &str) -> Option<String> {
    parse(text).country().map(|country| country.to_string())
}

fn refusal(text: &str) -> InvalidPhoneNumber {
    PhoneNumber::parse(text)
        .err()
        .unwrap_or_else(|| panic!("{text} was accepted as a number"))
}

// ---- one phone, one key

/// Twenty different numbers. Their calling codes have one to three digits. Some numbers are short, some are long, and
/// some have a zero that belongs to the number and is no domestic prefix.
const NUMBERS: [&str; 20] = [
    "+14255550142",
    "+18765550123",
    "+447700900123",
    "+4915123456789",
    "+33612345678",
    "+390669812345",
    "+393471234567",
    "+5491123456789",
    "+525512345678",
    "+79123456789",
    "+77012345678",
    "+919876543210",
    "+819012345678",
    "+821012345678",
    "+8613912345678",
    "+2250123456789",
    "+2290195123456",
    "+29051234",
    "+37061234567",
    "+6421234567",
];

/// Spellings of `number` with the same digits: with each separator between all digits, with groups of every size, with
/// brackets around the first group, with a separator at the end, and with a mix of these.
fn spellings(number: &str) -> Vec<String> {
    let digits = &number[1..];
    let join = |size: usize, separator: &str| {
        let groups: Vec<&str> = (0..digits.len())
            .step_by(size)
            .map(|start| &digits[start..(start + size).min(digits.len())])
            .collect();
        format!("+{}", groups.join(separator))
    };
    let mut spellings = vec![number.to_owned()];
    for separator in [" ", "-", ".", "(", ")"] {
        spellings.extend((1..=7).map(|size| join(size, separator)));
        spellings.push(format!("+{separator}{digits}"));
        spellings.push(format!("{number}{separator}"));
    }
    for separator in ["--", ") (", " - ", ".-.", "  "] {
        spellings.extend((4..=7).map(|size| join(size, separator)));
    }
    for cut in 1..=6 {
        spellings.push(format!(
            "+{} ({}) {}",
            &digits[..cut],
            &digits[cut..=cut],
            &digits[cut + 1..]
        ));
    }
    spellings
}

/// Texts that a careless parser would read as `number`.
fn lookalikes(number: &str) -> Vec<String> {
    let digits = &number[1..];
    let shifted = |zero: u32| -> String {
        digits
            .chars()
            .map(|digit| char::from_u32(zero + digit.to_digit(10).unwrap()).unwrap())
            .collect()
    };
    let mut lookalikes = vec![
        digits.to_owned(),
        format!("00{digits}"),
        format!("011{digits}"),
        format!("+00{digits}"),
        format!("+0{digits}"),
        format!("++{digits}"),
        format!("+ +{digits}"),
        format!("(+{digits})"),
        format!("tel:{number}"),
        format!("sms:{number}"),
        format!("{number};ext=1"),
        format!("{number}x1"),
        format!("{number}#1"),
        format!("{number},{number}"),
        format!("+{}", shifted(0xFF10)),  // full width
        format!("+{}", shifted(0x0660)),  // Arabic-Indic
        format!("+{}", shifted(0x0966)),  // Devanagari
        format!("+{}", shifted(0x1D7CE)), // mathematical bold
        format!("\u{FF0B}{digits}"),
        format!("\u{207A}{digits}"),
        format!("%2B{digits}"),
        format!("{number}\u{30C}"),
    ];
    let foreign = [
        "\0", "\t", "\n", "\r", "\u{b}", "\u{a0}", "\u{2009}", "\u{200b}", "\u{200e}", "\u{202e}",
        "\u{2066}", "\u{feff}", "\u{2010}", "\u{2011}", "\u{2212}", "\u{3000}", "/", "_", "~", "*",
        "#", ",", ";", "'", "\"", "\\", "O", "l",
    ];
    for odd in foreign {
        lookalikes.push(format!("{odd}{number}"));
        lookalikes.push(format!("+{odd}{digits}"));
        lookalikes.push(format!("+{}{odd}{}", &digits[..4], &digits[4..]));
        lookalikes.push(format!("{number}{odd}"));
    }
    for separator in [" ", "-", ".", "(", ")"] {
        lookalikes.push(format!("{separator}{number}"));
    }
    lookalikes
}

#[test]
fn every_spelling_of_a_number_gives_the_same_key() {
    let mut keys = HashSet::new();
    for number in NUMBERS {
        let expected = parse(number);
        assert_eq!(expected.expose(), number);
        let spellings: HashSet<String> = spellings(number)
            .into_iter()
            .filter(|text| text.len() <= LONGEST_TEXT)
            .collect();
        assert!(spellings.len() >= 40, "{number}: {}", spellings.len());
        for spelling in spellings {
            assert_eq!(parse(&spelling), expected, "{spelling}");
        }
        keys.insert(expected);
    }
    assert_eq!(
        keys.len(),
        NUMBERS.len(),
        "different numbers have different keys"
    );
}

#[test]
fn lookalikes_of_a_number_are_refused() {
    for number in NUMBERS {
        let lookalikes = lookalikes(number);
        assert!(lookalikes.len() >= 100);
        for text in lookalikes {
            assert!(
                PhoneNumber::parse(&text).is_err(),
                "{text:?} was accepted as a number"
            );
        }
    }
}

#[test]
fn a_domestic_prefix_after_the_calling_code_is_refused() {
    for (text, right) in [
        ("+44 (0)7700 900123", "+447700900123"),
        ("+4407700900123", "+447700900123"),
        ("+49 (0) 151 23456789", "+4915123456789"),
        ("+33 06 12 34 56 78", "+33612345678"),
        ("+91 0 98765 43210", "+919876543210"),
        ("+81 090 1234 5678", "+819012345678"),
        ("+82 010 1234 5678", "+821012345678"),
        ("+62 0812 345 678", "+62812345678"),
        ("+66 081 234 5678", "+66812345678"),
        ("+55 0 11 96123 4567", "+5511961234567"),
        ("+55 90 11 96123 4567", "+5511961234567"),
        ("+55 90 2345 6789", "+5523456789"),
        ("+7 8 912 345 67 89", "+79123456789"),
        ("+370 8 612 34567", "+37061234567"),
        ("+375 8 029 491 1911", "+375294911911"),
        ("+36 06 20 123 4567", "+36201234567"),
        ("+1 1 425 555 0142", "+14255550142"),
        ("+1 0 425 555 0142", "+14255550142"),
        ("+52 1 55 1234 5678", "+525512345678"),
        ("+250 0720 123 456", "+250720123456"),
        ("+54 11 15 2345 6789", "+5491123456789"),
        ("+54 0 11 2345 6789", "+5491123456789"),
        ("+54 11 2345 6789", "+5491123456789"),
        ("+61 1831 412 345 678", "+61412345678"),
        ("+61 1831 4123 4567", "+61412345678"),
        ("+61 0412 345 678", "+61412345678"),
        ("+86 17951 139 1234 5678", "+8613912345678"),
        ("+261 2212345", "+261202212345"),
        ("+378 886377", "+3780549886377"),
        ("+672 10123", "+672310123"),
    ] {
        let reason = refusal(text);
        assert!(
            matches!(
                reason,
                InvalidPhoneNumber::OtherSpelling(_) | InvalidPhoneNumber::TooLong
            ),
            "{text}: {reason}"
        );
        assert_eq!(parse(right).expose(), right);
    }
}

#[test]
fn an_italian_zero_is_part_of_the_number() {
    let landline = parse("+39 06 698 12345");
    assert_eq!(landline.expose(), "+390669812345");
    assert_ne!(Some(landline), PhoneNumber::parse("+39669812345").ok());
}

#[test]
fn surplus_digits_are_refused() {
    assert_eq!(refusal("+1 425 555 0142 0"), InvalidPhoneNumber::TooLong);
    assert_eq!(refusal("+44 7700 900123 99"), InvalidPhoneNumber::TooLong);
}

#[test]
fn a_number_has_7_to_15_digits_and_a_text_32_bytes() {
    assert_eq!(refusal("+290512"), InvalidPhoneNumber::TooShort);
    assert_eq!(parse("+2908999").expose(), "+2908999");
    assert_eq!(parse("+496912345678901").expose(), "+496912345678901");
    assert_eq!(refusal("+4915123456789012"), InvalidPhoneNumber::TooLong);
    assert_eq!(refusal(""), InvalidPhoneNumber::PlusMissing);
    assert_eq!(refusal("+"), InvalidPhoneNumber::TooShort);
    assert_eq!(refusal("+ ()-."), InvalidPhoneNumber::TooShort);
    let room = LONGEST_TEXT - "+14255550142".len();
    assert_eq!(
        parse(&format!("+14255550142{}", " ".repeat(room))).expose(),
        "+14255550142"
    );
    assert_eq!(
        refusal(&format!("+14255550142{}", " ".repeat(room + 1))),
        InvalidPhoneNumber::TextTooLong
    );
}

#[test]
fn an_unassigned_calling_code_is_refused() {
    for text in [
        "+9991234567",
        "+2101234567",
        "+0123456789",
        "+9971234567890",
        "+3841234567",
    ] {
        assert_eq!(
            refusal(text),
            InvalidPhoneNumber::UnknownCallingCode,
            "{text}"
        );
    }
}

// ---- countries

#[test]
fn a_jamaican_number_is_not_american() {
    for (text, expected) in [
        ("+18765550123", "JM"),
        ("+16585550123", "JM"),
        ("+18095550123", "DO"),
        ("+18295550123", "DO"),
        ("+17875550123", "PR"),
        ("+19395550123", "PR"),
        ("+12425550123", "BS"),
        ("+12465550123", "BB"),
        ("+14415550123", "BM"),
        ("+13405550123", "VI"),
        ("+16715550123", "GU"),
        ("+14165550123", "CA"),
        ("+16045550123", "CA"),
        ("+14255550142", "US"),
        ("+12125550142", "US"),
        ("+18002345678", "US"),
        ("+18001234567", "DO"),
    ] {
        assert_eq!(country(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn the_digits_after_a_shared_calling_code_decide_the_country() {
    for (text, expected) in [
        ("+79123456789", "RU"),
        ("+77012345678", "KZ"),
        ("+447911123456", "GG"),
        ("+447781123456", "GG"),
        ("+447624123456", "IM"),
        ("+447797123456", "JE"),
        ("+447400123456", "GB"),
        ("+393471234567", "IT"),
        ("+390669812345", "VA"),
        ("+4740612345", "NO"),
        ("+4779123456", "SJ"),
        ("+61412345678", "AU"),
        ("+61891641234", "CX"),
        ("+61891621234", "CC"),
        ("+212650123456", "MA"),
        ("+262692123456", "RE"),
        ("+262639012345", "YT"),
        ("+29051234", "SH"),
        ("+2908999", "TA"),
        ("+358412345678", "FI"),
        ("+35818123456", "AX"),
        ("+590690001234", "GP"),
        ("+59995181234", "CW"),
        ("+5997181234", "BQ"),
    ] {
        assert_eq!(country(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn an_unassigned_number_gets_the_main_country_of_its_calling_code() {
    assert_eq!(
        country("+447700900123").as_deref(),
        Some("GB"),
        "reserved for fiction"
    );
    assert_eq!(
        country("+447005550123").as_deref(),
        Some("GB"),
        "not assigned"
    );
    // The numbers next to those for fiction belong to another country.
    assert_eq!(country("+447700300123").as_deref(), Some("JE"));
}

#[test]
fn global_services_and_unassigned_area_codes_have_no_country() {
    for text in [
        "+80012345678",
        "+870773111632",
        "+881612345678",
        "+883510012345",
        "+88812345678901",
    ] {
        assert_eq!(country(text), None, "{text}");
    }
    // 211 and 911 are services, 999 and 237 are not area codes.
    for text in [
        "+12115550142",
        "+19115550142",
        "+19995550142",
        "+12375550142",
    ] {
        assert_eq!(country(text), None, "{text}");
    }
}

#[test]
fn a_country_is_two_upper_case_letters_of_the_metadata() {
    for text in ["GB", "US", "JM", "XK", "EH", "AC"] {
        assert_eq!(text.parse::<Country>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "G",
        "gb",
        "Gb",
        "GBR",
        "UK",
        "ZZ",
        "001",
        "--",
        "G ",
        " GB",
        "*",
        "ÄX",
        "\u{410}\u{420}",
    ] {
        assert!(text.parse::<Country>().is_err(), "{text:?}");
    }
}

// ---- masking

#[test]
fn a_mask_shows_the_calling_code_seven_stars_and_the_last_digits() {
    for (calling_code, national, expected) in [
        ("1", "4255550142", "+1*******0142"),
        ("44", "7700900123", "+44*******0123"),
        ("876", "123456789012", "+876*******9012"),
        ("65", "81234567", "+65*******4567"),
        ("65", "8123456", "+65*******56"),
        ("290", "51234", "+290*******34"),
        ("290", "5123", "+290*******23"),
        ("290", "512", "+290*******12"),
        ("290", "51", "+290*******"),
        ("290", "", "+290*******"),
    ] {
        assert_eq!(mask(calling_code, national), expected);
    }
    assert_eq!(parse("+2908999").masked(), "+290*******99");
    assert_eq!(format!("{}", parse("+1 (425) 555-0142")), "+1*******0142");
    assert_eq!(
        format!("{:?}", parse("+39 06 698 12345")),
        "PhoneNumber(+39*******2345)"
    );
}

fn has_run_of_digits(text: &str, length: usize) -> bool {
    text.as_bytes()
        .windows(length)
        .any(|window| window.iter().all(u8::is_ascii_digit))
}

/// Any number that the parser accepts, so that no property holds trivially.
fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\+1[2-9][0-9]{9}",
        "\\+447[4-9][0-9]{8}",
        "\\+4915[12][0-9]{8}",
        "\\+3934[0-9]{8}",
        "\\+54911[0-9]{8}",
        "\\+2902[0-9]{4}",
        "\\+35840[0-9]{7}",
    ]
}

proptest! {
    #[test]
    fn the_parser_never_panics_on_text(text in ".*") {
        let _ = PhoneNumber::parse(&text);
        let _ = text.parse::<Country>();
    }

    #[test]
    fn the_parser_never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = PhoneNumber::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn an_accepted_number_keeps_its_digits(text in "\\+[-0-9 .()]{6,31}") {
        if let Ok(number) = PhoneNumber::parse(&text) {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(number.expose(), format!("+{digits}"));
            prop_assert_eq!(&parse(number.expose()), &number);
        }
    }

    #[test]
    fn separators_change_nothing(
        number in any_number(),
        places in proptest::collection::vec((1..16_usize, "[-. ()]"), 0..16),
    ) {
        let mut spelling = number.clone();
        for (place, separator) in places {
            spelling.insert_str(place.min(spelling.len()), &separator);
        }
        prop_assert_eq!(parse(&spelling), parse(&number));
        let plain = parse(&number);
        prop_assert_eq!(plain.expose(), number);
    }

    #[test]
    fn a_printed_number_shows_at_most_four_digits_in_a_row(text in any_number()) {
        prop_assert!(has_run_of_digits(&text, 5));
        let number = parse(&text);
        for printed in [number.to_string(), format!("{number:?}"), format!("{number:#?}"), format!("{number:>40}")] {
            prop_assert!(!has_run_of_digits(&printed, 5));
            prop_assert_eq!(printed.matches('*').count(), 7);
            prop_assert!(PhoneNumber::parse(&printed).is_err());
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_text(text in "\\+?[0-9]{5,6}|\\+999[0-9]{8}|\\+440[0-9]{9}|[a-z]{9}|\\+1[0-9]{14,40}") {
        let reason = refusal(&text);
        let said = format!("{reason}{reason:?}");
        prop_assert!(!said.contains(&text));
        prop_assert!(!has_run_of_digits(&said, 3));
    }
}

// ---- the table against libphonenumber

const TYPES: [PhoneNumberType; 10] = [
    PhoneNumberType::FixedLine,
    PhoneNumberType::Mobile,
    PhoneNumberType::TollFree,
    PhoneNumberType::PremiumRate,
    PhoneNumberType::SharedCost,
    PhoneNumberType::PersonalNumber,
    PhoneNumberType::VoIP,
    PhoneNumberType::Pager,
    PhoneNumberType::UAN,
    PhoneNumberType::VoiceMail,
];

/// libphonenumber's example numbers, for every type and country.
fn examples() -> Vec<(Region, PhoneNumberType, String)> {
    let mut examples = Vec::new();
    for region in ORACLE.get_supported_regions() {
        for kind in TYPES {
            if let Ok(number) = ORACLE.get_example_number_for_type_and_region(region, kind) {
                examples.push((
                    region,
                    kind,
                    ORACLE.format(&number, PhoneNumberFormat::E164).into_owned(),
                ));
            }
        }
    }
    examples
}

#[test]
fn the_committed_table_equals_the_derived_one() {
    let committed = fs::read_to_string(TABLE).unwrap();
    let derived = table::countries_rs();
    assert!(
        derived.contains("CallingCode { code: 44, "),
        "the derived table has Britain"
    );
    assert!(
        committed == derived,
        "run `cargo test --workspace --test phone -- --ignored write_the_table` and read the difference"
    );
}

#[test]
#[ignore = "writes src/phone/countries.rs"]
fn write_the_table() {
    fs::write(TABLE, table::countries_rs()).unwrap();
}
