//! The types and lengths of numbers, and the proof about all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::phone::plan::{CallingCode, Digit, Leaf, Position, Table};
use crate::phone::{Hint, InvalidPhoneNumber, NumberType, PhoneNumber, TABLE};
use otp_lambda::policy::AllowedTypes;
use otp_lambda::provider::Channel;
use simulator::sized;

use crate::{
    ORACLE, PhoneNumberFormat, PhoneNumberType, country, examples, oracle, parse,
    proof::{self, Example},
    refusal,
};

fn named(kind: PhoneNumberType) -> NumberType {
    match kind {
        PhoneNumberType::FixedLine => NumberType::Fixed,
        PhoneNumberType::Mobile => NumberType::Mobile,
        PhoneNumberType::FixedLineOrMobile => NumberType::FixedOrMobile,
        PhoneNumberType::TollFree => NumberType::TollFree,
        PhoneNumberType::PremiumRate => NumberType::Premium,
        PhoneNumberType::SharedCost => NumberType::SharedCost,
        PhoneNumberType::PersonalNumber => NumberType::Personal,
        PhoneNumberType::VoIP => NumberType::Voip,
        PhoneNumberType::Pager => NumberType::Pager,
        PhoneNumberType::UAN => NumberType::Uan,
        PhoneNumberType::VoiceMail => NumberType::Voicemail,
        PhoneNumberType::Unknown => NumberType::Unassigned,
    }
}

/// libphonenumber itself is asked, and not its patterns as the proof reads them.
#[test]
fn every_example_number_has_its_country_and_type() {
    let examples = examples();
    assert!(examples.len() > 1000, "{}", examples.len());
    let mut refused = BTreeSet::new();
    let mut types: BTreeMap<NumberType, usize> = BTreeMap::new();
    for (region, kind, e164) in &examples {
        let number = ORACLE.parse(e164, None).unwrap();
        let expected = named(ORACLE.get_number_type(&number));
        match PhoneNumber::parse(e164) {
            Err(_) => {
                refused.insert(format!("{region} {kind:?}"));
            }
            Ok(number) => {
                let country = number.country().map(|country| country.to_string());
                // Toll-free numbers of +1 are the examples of several regions.
                let region = ORACLE
                    .get_region_for_number(&ORACLE.parse(e164, None).unwrap())
                    .map(|region| region.to_string());
                assert_eq!(number.number_type(), expected, "{e164}");
                assert_eq!(country, region, "{e164}");
                *types.entry(expected).or_default() += 1;
            }
        }
    }
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    // The expected refusals have these reasons. An Argentine landline looks like a mobile number without its 9. The
    // numbers of Gabon and the Gambia are from before their numbering plans changed. The Belarusian number begins with
    // the domestic prefix. The Iranian number has only six digits. The Canadian number has only seven, and works only
    // inside Canada.
    assert_eq!(
        refused,
        [
            "AR FixedLine",
            "BY TollFree",
            "CA UAN",
            "GA FixedLine",
            "GA Mobile",
            "GM Mobile",
            "IR UAN"
        ]
    );
    assert!(types[&NumberType::Premium] > 100, "{types:?}");
    assert!(types[&NumberType::Personal] > 40, "{types:?}");
}

/// Whoever owns such a number earns by codes, or has no phone there.
#[test]
fn no_example_of_a_type_without_phones_is_served_by_default_and_none_is_called() {
    let allowed = AllowedTypes::default();
    let mut refused: BTreeMap<NumberType, usize> = BTreeMap::new();
    for (_, kind, e164) in &examples() {
        let Ok(number) = PhoneNumber::parse(e164) else {
            continue;
        };
        let number_type = number.number_type();
        let of_phones = [
            PhoneNumberType::FixedLine,
            PhoneNumberType::Mobile,
            PhoneNumberType::VoIP,
        ];
        let is_served = allowed.check(number_type, None).is_ok();
        assert_eq!(is_served, of_phones.contains(kind), "{e164} {kind:?}");
        let is_called = allowed.check(number_type, Some(Channel::Voice)).is_ok();
        assert!(is_served || !is_called, "{e164}");
        if !is_served {
            *refused.entry(number_type).or_default() += 1;
        }
    }
    assert!(refused[&NumberType::Premium] > 100, "{refused:?}");
    assert_eq!(refused.len(), 7, "{refused:?}");
}

#[test]
fn surplus_digits_of_a_mobile_number_are_refused_in_every_region() {
    let mut kept = BTreeSet::new();
    let mut refused = 0;
    for (region, kind, e164) in &examples() {
        if *kind != PhoneNumberType::Mobile {
            continue;
        }
        for surplus in ["5", "55", "555"] {
            let text = format!("{e164}{surplus}");
            if PhoneNumber::parse(&text).is_err() {
                refused += 1;
                continue;
            }
            let number = ORACLE.parse(&text, None).unwrap();
            assert!(ORACLE.is_valid_number(&number), "{text}");
            kept.insert(region.to_string());
        }
    }
    assert!(refused > 680, "{refused}");
    // The numbers of these have several lengths that nothing tells apart.
    assert_eq!(
        Vec::from_iter(kept),
        ["AT", "AX", "FI", "ID", "NZ", "SO", "TK"]
    );
}

/// The walk is complete: see the module `proof`.
#[test]
fn every_number_there_is_has_one_key_type_and_country() {
    let compared = proof::compare(&TABLE, &oracle::plans());
    assert_eq!(compared.differences, Vec::<String>::new());
    assert!(compared.visits > 50_000, "{}", compared.visits);
    assert_eq!(compared.valid.len(), 11, "{:?}", compared.valid);
    let people = compared.domestic.keys().find(|(_, refused)| {
        !matches!(
            refused,
            NumberType::TollFree | NumberType::Premium | NumberType::SharedCost
        )
    });
    assert_eq!(people, None, "{:?}", compared.domestic);
}

/// The proof reads libphonenumber's patterns with code of its own. For each visit of the proof, this test asks
/// libphonenumber itself about one number.
#[test]
fn libphonenumber_agrees_with_the_automata_about_a_number_of_each_visit() {
    let compared = proof::compare(&TABLE, &oracle::plans());
    let mut valid = 0;
    let mut respelled = 0;
    for example in compared.examples.iter().step_by(sized(25, 1)) {
        let Example {
            e164,
            known,
            is_accepted,
        } = example;
        // Numbers of +1 with other than ten digits work only inside a country.
        let is_local = e164.starts_with("+1") && e164.len() != "+14255550142".len();
        let Some(number) = ORACLE.parse(e164, None).ok().filter(|_| !is_local) else {
            assert_eq!(*known, None, "{e164}");
            continue;
        };
        if ORACLE.format(&number, PhoneNumberFormat::E164) != e164.as_str() {
            // The crate loses a zero of a number that has nothing else.
            let is_zero = number.national_number == 0;
            assert!(!is_accepted || is_zero, "{e164}");
            respelled += 1;
            continue;
        }
        let found = named(ORACLE.get_number_type(&number));
        match known {
            Some((region, number_type)) => {
                let own = ORACLE
                    .get_region_for_number(&number)
                    .map(|region| region.to_string());
                assert_eq!(
                    (own.as_deref(), found),
                    (Some(region.as_str()), *number_type)
                );
                valid += 1;
            }
            None => assert_eq!(found, NumberType::Unassigned, "{e164}"),
        }
    }
    assert!(valid > sized(100, 4_000), "{valid}");
    assert!(respelled > sized(10, 1_000), "{respelled}");
}

/// The control of the proof. The proof finds nothing wrong in the table as it is. If the table is damaged, the proof
/// must find the damage, whatever its kind.
#[test]
fn a_damaged_table_is_found() {
    let plans = oracle::plans();
    let find = |leaf: &Leaf, of: &dyn Fn(&(u8, u16)) -> bool| {
        let first = usize::from(leaf.first);
        TABLE.lengths[first..first + usize::from(leaf.count)]
            .iter()
            .any(of)
    };
    let is_type = |of: NumberType| move |(outcome, _): &(u8, u16)| *outcome == of.number();
    let damaged = |leaves: Vec<Leaf>, lengths: Vec<(u8, u16)>, nodes: Vec<u8>| {
        let table = Table {
            leaves: leaves.leak(),
            lengths: lengths.leak(),
            nodes: nodes.leak(),
            ..TABLE.clone()
        };
        proof::compare_until(1, &table, &plans).differences
    };
    let (leaves, lengths, nodes) = (
        TABLE.leaves.to_vec(),
        TABLE.lengths.to_vec(),
        TABLE.nodes.to_vec(),
    );
    // A leaf of another country.
    let mut other = leaves.clone();
    let own = other.iter().position(|leaf| leaf.country < 245).unwrap();
    other[own].country = (other[own].country + 1) % 245;
    assert!(!damaged(other, lengths.clone(), nodes.clone()).is_empty());

    // Premium numbers that count as mobile.
    let mut other = lengths.clone();
    let premium = other.iter().position(is_type(NumberType::Premium)).unwrap();
    other[premium].0 = NumberType::Mobile.number();
    assert!(!damaged(leaves.clone(), other, nodes.clone()).is_empty());

    // One more digit than the mobile numbers of some leaf have, and one fewer.
    let is_mobile = is_type(NumberType::Mobile);
    let leaf = leaves.iter().find(|leaf| find(leaf, &is_mobile)).unwrap();
    let at = usize::from(leaf.first);
    for change in [|mask: u16| mask | mask << 1, |mask: u16| mask >> 1] {
        let mut other = lengths.clone();
        other[at].1 = change(other[at].1);
        assert!(!damaged(leaves.clone(), other, nodes.clone()).is_empty());
    }

    // A digit that leads where its neighbour does: the mask of a node loses a run.
    let mut other = nodes.clone();
    let node = usize::from(TABLE.codes[10].node);
    other[node] ^= 0b10;
    assert!(!damaged(leaves, lengths, other).is_empty());
}

/// The same control for numbers that nobody has: the table is damaged where no valid number is.
#[test]
fn damage_to_what_the_table_says_about_unassigned_numbers_is_found() {
    let plans = oracle::plans();
    let differences = |table: &Table| proof::compare_until(1, table, &plans).differences;
    let with_leaf = |text: &str, change: &dyn Fn(&mut Leaf)| {
        let mut leaves = TABLE.leaves.to_vec();
        let leaf = leaf_of(text);
        assert_eq!(parse(text).number_type(), NumberType::Unassigned);
        change(&mut leaves[leaf]);
        let table = Table {
            leaves: leaves.leak(),
            ..TABLE.clone()
        };
        differences(&table)
    };
    // Unassigned numbers that are refused.
    for text in ["+445005550142", "+13575550142"] {
        assert_ne!(
            with_leaf(text, &|leaf| leaf.count = 0),
            Vec::<String>::new()
        );
    }
    // Unassigned numbers that count as a sibling's.
    for (text, sibling) in [("+445005550142", "GG"), ("+13575550142", "CA")] {
        let own = TABLE
            .countries
            .iter()
            .position(|own| own == sibling.as_bytes());
        let own = u8::try_from(own.unwrap()).unwrap();
        assert_ne!(
            with_leaf(text, &|leaf| leaf.country = own),
            Vec::<String>::new()
        );
    }
    // A calling code more, one fewer, and one whose lengths are others.
    let mut more = TABLE.codes.to_vec();
    let unknown = CallingCode {
        code: 999,
        ..more[20]
    };
    more.push(unknown);
    let mut fewer = TABLE.codes.to_vec();
    fewer.remove(7);
    let mut other = TABLE.codes.to_vec();
    other[7].lengths <<= 1;
    for codes in [more, fewer, other] {
        let table = Table {
            codes: codes.leak(),
            ..TABLE.clone()
        };
        assert_ne!(differences(&table), Vec::<String>::new());
    }
}

#[test]
fn the_table_stays_small() {
    let bytes = size_of_val(TABLE.codes)
        + size_of_val(TABLE.nodes)
        + size_of_val(TABLE.leaves)
        + size_of_val(TABLE.lengths)
        + size_of_val(TABLE.countries);
    assert!(bytes <= 25_000, "{bytes}");
}

/// The beginnings of mailboxes and free numbers do not keep new mobile numbers out.
#[test]
fn free_numbers_and_mailboxes_do_not_bound_the_lengths_of_mobile_numbers() {
    for text in [
        // Numbers that begin with 1530 are mailboxes of 12 and 13 digits in the metadata.
        "+4915301234567",
        "+6580012345",
        "+50680012345",
        "+68980012345",
    ] {
        assert_eq!(parse(text).number_type(), NumberType::Unassigned, "{text}");
    }
    // Surplus digits, and premium numbers with a digit more or fewer, stay refused.
    for text in [
        "+491530123456",
        "+65800123456789",
        "+59890123456",
        "+4990012345",
    ] {
        assert!(PhoneNumber::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_unknown_first_digit_is_no_domestic_prefix() {
    for (text, reason) in [
        ("+44612345678", InvalidPhoneNumber::UnknownBeginning),
        ("+61612345678", InvalidPhoneNumber::UnknownBeginning),
        (
            "+4407700900123",
            InvalidPhoneNumber::OtherSpelling(Hint::Domestic),
        ),
        (
            "+36 06 20 123 4567",
            InvalidPhoneNumber::OtherSpelling(Hint::Domestic),
        ),
    ] {
        assert_eq!(refusal(text), reason, "{text}");
    }
}

fn leaf_of(text: &str) -> usize {
    let digits = text.bytes().filter_map(Digit::of);
    let end = digits.fold(Position::START, |position, digit| {
        position.next(&TABLE, digit)
    });
    let Position::Leaf { leaf, .. } = end else {
        panic!("{text} ends at {end:?}")
    };
    usize::from(leaf)
}

#[test]
fn premium_numbers_and_their_like_are_told_apart() {
    for (text, expected) in [
        ("+14255550142", NumberType::FixedOrMobile),
        ("+447700900123", NumberType::Mobile),
        ("+442079460123", NumberType::Fixed),
        ("+19005550142", NumberType::Premium),
        ("+18005550142", NumberType::TollFree),
        ("+449012345678", NumberType::Premium),
        ("+447012345678", NumberType::Personal),
        ("+499001234567", NumberType::Premium),
        ("+447640123456", NumberType::Pager),
        ("+13575550142", NumberType::Unassigned),
    ] {
        assert_eq!(parse(text).number_type(), expected, "{text}");
    }
}

#[test]
fn surplus_digits_are_refused_by_the_leading_digits() {
    for text in [
        "+4915112345678",
        "+919876543210",
        "+818012345678",
        "+46701234567",
        "+447700900123",
    ] {
        assert!(PhoneNumber::parse(text).is_ok(), "{text}");
        for surplus in ["0", "00", "000"] {
            let text = format!("{text}{surplus}");
            let refused = PhoneNumber::parse(&text);
            assert_eq!(refused.err(), Some(InvalidPhoneNumber::TooLong), "{text}");
        }
    }
    assert_eq!(refusal("+62812345678901234"), InvalidPhoneNumber::TooLong);
}

#[test]
fn a_number_that_lacks_digits_is_refused() {
    for text in [
        "+1 425 555 01",
        "+1 425 5550",
        "+44 7700 90012",
        "+33 6 12 34 56 7",
        "+91 98765 4321",
        "+39 351 255",
        "+225 07 12 34 56",
    ] {
        assert_eq!(refusal(text), InvalidPhoneNumber::TooFewDigits, "{text}");
    }
}

#[test]
fn short_numbers_of_small_countries_are_numbers() {
    for (text, expected) in [
        ("+298211234", "FO"),
        ("+6834012", "NU"),
        ("+29051234", "SH"),
        ("+24740123", "AC"),
        ("+508551234", "PM"),
        ("+67740123", "SB"),
        ("+68271234", "CK"),
        ("+50051234", "FK"),
        ("+6907290", "TK"),
        ("+3725123456", "EE"),
        ("+37251234567", "EE"),
        ("+6421123456", "NZ"),
        ("+64211234567", "NZ"),
        ("+642112345678", "NZ"),
        ("+43664123456", "AT"),
        ("+436641234567", "AT"),
        ("+4366412345678", "AT"),
        ("+436641234567890", "AT"),
        ("+491701234567", "DE"),
        ("+4917012345678", "DE"),
    ] {
        assert_eq!(country(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn one_phone_has_one_key_across_calling_codes_and_plan_changes() {
    for (other, hint, key) in [
        ("+972599123456", Hint::Palestinian, "+970599123456"),
        ("+972569123456", Hint::Palestinian, "+970569123456"),
        ("+55 31 8888-7777", Hint::BrazilianNine, "+5531988887777"),
        (
            "+39 0549 882555",
            Hint::SanMarinoThroughItaly,
            "+3780549882555",
        ),
        ("+378 549 882555", Hint::SammarineseArea, "+3780549882555"),
        ("+378 882555", Hint::SammarineseArea, "+3780549882555"),
        ("+52 1 55 1234 5678", Hint::MexicanOne, "+525512345678"),
        ("+229 97 12 34 56", Hint::BenineseZeroOne, "+2290197123456"),
        ("+599 515 1234", Hint::CuracaoNine, "+59995151234"),
        ("+54 11 2345 6789", Hint::ArgentineNine, "+5491123456789"),
        // Israel and Palestine: landlines, and the other way around.
        ("+972 2 298 1234", Hint::Palestinian, "+97022981234"),
        ("+972 8 282 1234", Hint::Palestinian, "+97082821234"),
        ("+970 52 123 4567", Hint::Israeli, "+972521234567"),
        ("+970 2 628 1234", Hint::Israeli, "+97226281234"),
        ("+970 3 628 1234", Hint::Israeli, "+97236281234"),
        // Gabon: the old number with and without the zero of domestic calls, and the new one with it.
        ("+241 6 03 12 34", Hint::GaboneseEight, "+24166031234"),
        ("+241 06 03 12 34", Hint::GaboneseEight, "+24166031234"),
        ("+241 066 03 12 34", Hint::GaboneseEight, "+24166031234"),
        ("+241 7 28 01 50", Hint::GaboneseEight, "+24177280150"),
        ("+241 04 28 01 50", Hint::GaboneseEight, "+24174280150"),
        ("+241 01 76 16 16", Hint::GaboneseEight, "+24111761616"),
        // The Gambia, by operator.
        ("+220 701 2345", Hint::GambianNine, "+220877012345"),
        ("+220 201 2345", Hint::GambianNine, "+220872012345"),
        ("+220 401 2345", Hint::GambianNine, "+220874012345"),
        ("+220 301 2345", Hint::GambianNine, "+220833012345"),
        ("+220 501 2345", Hint::GambianNine, "+220835012345"),
        ("+220 601 2345", Hint::GambianNine, "+220866012345"),
        ("+220 899 012345", Hint::GambianSeven, "+2209012345"),
        // Kosovo, from before it had a calling code.
        ("+377 44 123 456", Hint::Kosovan, "+38344123456"),
        ("+386 49 123 456", Hint::Kosovan, "+38349123456"),
        ("+381 38 501 234", Hint::Kosovan, "+38338501234"),
        ("+353 48 9024 1234", Hint::NorthernIrish, "+442890241234"),
        ("+231 6 512 345", Hint::LiberianNine, "+231886512345"),
        ("+252 1 512 3456", Hint::SomaliNine, "+252615123456"),
        ("+252 2 404 6848", Hint::SomaliNine, "+252634046848"),
    ] {
        assert_eq!(
            refusal(other),
            InvalidPhoneNumber::OtherSpelling(hint),
            "{other}"
        );
        assert_eq!(parse(key).expose(), key);
    }
}

#[test]
fn satellites_and_disputed_territories_have_no_country() {
    for text in [
        "+79401234567",
        "+78401234567",
        "+79541234567",
        "+6286812345678",
        "+903921234567",
        "+905338523456",
        "+905428523456",
        "+905488523456",
    ] {
        assert_eq!(country(text), None, "{text}");
    }
    for (text, expected) in [
        ("+79531234567", "RU"),
        ("+6281212345678", "ID"),
        ("+905331234567", "TR"),
        // Turkish numbers beside those of Northern Cyprus.
        ("+905338112345", "TR"),
        ("+905428292345", "TR"),
        ("+905428952345", "TR"),
    ] {
        assert_eq!(country(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn an_old_spelling_that_is_stored_is_the_number_it_means() {
    for (stored, key) in [
        ("+5215512345678", "+525512345678"),
        ("+22997123456", "+2290197123456"),
        ("+4210904123456", "+421904123456"),
        ("+4407700900123", "+447700900123"),
        ("+553188887777", "+5531988887777"),
        ("+972599123456", "+970599123456"),
        ("+14255550142", "+14255550142"),
        ("+97222981234", "+97022981234"),
        ("+970521234567", "+972521234567"),
        ("+2416031234", "+24166031234"),
        ("+24106031234", "+24166031234"),
        ("+241066031234", "+24166031234"),
        ("+24104280150", "+24174280150"),
        ("+24101761616", "+24111761616"),
        ("+2207012345", "+220877012345"),
        ("+2203012345", "+220833012345"),
        ("+2206012345", "+220866012345"),
        ("+220899012345", "+2209012345"),
        ("+37744123456", "+38344123456"),
        ("+38649123456", "+38349123456"),
        ("+38138501234", "+38338501234"),
        ("+353489024 1234", "+442890241234"),
        ("+25215123456", "+252615123456"),
        ("+25224046848", "+252634046848"),
    ] {
        let number = PhoneNumber::parse_stored(stored).unwrap();
        assert_eq!(number.expose(), key, "{stored}");
    }
    // Radio numbers got no 9. This number is complete already.
    let radio = "+551178123456";
    assert_eq!(PhoneNumber::parse_stored(radio).unwrap().expose(), radio);
    // The first could be a landline or a mobile. The others have no meaning at all.
    for stored in [
        "+541123456789",
        "+4400000000000",
        "+390549882555",
        "+44770090012",
        "+1425555014",
        "14255550142",
    ] {
        assert!(PhoneNumber::parse_stored(stored).is_err(), "{stored}");
    }
}
