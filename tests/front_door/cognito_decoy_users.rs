//! The numbers that decoys show, and the limits and attempts of users that they do not touch.

use crate::pool::{Next, SignIn, User};
use crate::world::{NUMBER, World};
use serde_json::json;
use simulator::Operation;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[tokio::test]
async fn a_decoys_number_is_stable_and_from_an_allowed_country() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("ALLOWED_COUNTRIES", "GB"),
        ("COGNITO_SHOWN_NUMBER", "+4"),
    ])
    .await;
    let shown = async |name: &str| {
        let sign_in = SignIn::begin(&world, &User::unknown(name)).await;
        sign_in.shown["destinationNumber"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut numbers = BTreeSet::new();
    for name in [
        "nobody",
        "somebody",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "a@example.com",
        "",
        "ü",
    ] {
        let number = shown(name).await;
        assert!(number.starts_with("+44*******"), "{number}");
        assert_eq!(shown(name).await, number, "{name}");
        numbers.insert(number);
    }
    assert!(numbers.len() > 3, "not the same for all: {numbers:?}");
    assert_eq!(shown("+447700900123").await, "+44*******0123");
    assert!(world.simulator.requests(Operation::Send).is_empty());
}

/// Cognito passes on a user's name as it is stored, and an unknown name as it was typed.
#[tokio::test]
async fn an_unknown_name_is_one_user_however_it_is_typed() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    let first = SignIn::begin(&world, &User::unknown("alice@example.com")).await;
    first.is("sent", "3");
    for typed in [
        "Alice@example.com",
        "ALICE@EXAMPLE.COM",
        " alice@example.com",
    ] {
        let again = SignIn::begin(&world, &User::unknown(typed)).await;
        again.is("adopted", "2");
        let number = "destinationNumber";
        assert_eq!(again.shown[number], first.shown[number], "{typed}");
    }
}

#[tokio::test]
async fn a_decoys_number_is_the_same_in_all_apps_of_a_pool() {
    // A real user's number is the same in all apps, too.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    for user in [
        User {
            name: "alice".to_owned(),
            ..User::with_number(NUMBER)
        },
        User::unknown("bob"),
    ] {
        let other = User {
            client: "another0client0of0the0same0pool0",
            ..user.clone()
        };
        let [one, two] = [
            SignIn::begin(&world, &user).await,
            SignIn::begin(&world, &other).await,
        ];
        assert_eq!(
            one.shown["destinationNumber"], two.shown["destinationNumber"],
            "{}",
            user.name
        );
    }
    let elsewhere = SignIn::begin(
        &world,
        &User {
            pool: "us-east-1_other",
            ..User::unknown("bob")
        },
    )
    .await;
    let here = SignIn::begin(&world, &User::unknown("bob")).await;
    assert_ne!(
        elsewhere.shown["destinationNumber"], here.shown["destinationNumber"],
        "the control"
    );
}

#[tokio::test]
async fn decoys_numbers_are_spread_over_the_allowed_countries() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("ALLOWED_COUNTRIES", "FK,GB,US"),
        ("COGNITO_SHOWN_NUMBER", "+4"),
        ("PREFIX_LIMITS", "none"),
    ])
    .await;
    let mut by_country = BTreeMap::new();
    for name in 0..100 {
        let sign_in = SignIn::begin(&world, &User::unknown(&format!("user{name}"))).await;
        sign_in.is("sent", "3");
        let number = sign_in.shown["destinationNumber"].as_str().unwrap();
        *by_country
            .entry(number.split('*').next().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert!(
        by_country.len() == 3 && by_country.values().all(|count| *count > 20),
        "{by_country:?}"
    );
}

#[tokio::test]
async fn failures_are_forgotten_after_a_year_of_a_decoy_as_of_a_user() {
    // These items must expire, because an attacker can create any number of them.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0"), ("PREFIX_LIMITS", "none")]).await;
    for user in [
        User::unknown("nobody"),
        User::unknown("+14255550147"),
        User::with_number(NUMBER),
    ] {
        SignIn::begin(&world, &user)
            .await
            .answer(&world, "000000")
            .await;
    }
    let numbers = || world.ledger.numbers().len();
    assert_eq!(numbers(), 3);
    world.advance(Duration::from_hours(364 * 24));
    assert_eq!(numbers(), 3);
    world.advance(Duration::from_hours(2 * 24));
    assert_eq!(numbers(), 0);
}

#[tokio::test]
async fn a_decoy_uses_none_of_a_users_limits_or_attempts() {
    // All three users get decoys. The first user is unknown and has a real user's number as the name. The second user
    // is unknown, too, and the event has the real user's number as an attribute. The third user exists and has the same
    // number, but has not verified it.
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    for user in [
        User::unknown(NUMBER),
        User {
            not_found: true,
            ..User::with_number(NUMBER)
        },
        User {
            name: "claims-it".to_owned(),
            ..User::with_number(NUMBER)
        }
        .but("phone_number_verified", json!("false")),
    ] {
        for _ in 0..3 {
            let mut sign_in = SignIn::begin(&world, &user).await;
            for guess in 0..4 {
                sign_in.answer(&world, &format!("00000{guess}")).await;
            }
        }
    }
    assert!(world.simulator.requests(Operation::Send).is_empty());
    let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    sign_in.is("sent", "3");
    let code = world.simulator.newest_to(NUMBER).unwrap().code;
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn a_decoy_never_succeeds() {
    let world = World::counted(&[
        ("COGNITO_FLOOR_MS", "0"),
        ("TEST_NUMBERS", "+14255550142=246810@2099-01-31"),
    ])
    .await;
    // For an unknown user, even the fixed code of a test number is wrong.
    let mut sign_in = SignIn::begin(&world, &User::unknown(NUMBER)).await;
    assert_eq!(sign_in.answer(&world, "246810").await, Next::Asked);
    // A decoy with a real user's session, and a real user with a decoy's.
    let real = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    let crossed = SignIn {
        private: real.private.clone(),
        ..sign_in.clone()
    };
    assert!(!crossed.verify(&world, "246810").await);
    let crossed = SignIn {
        private: sign_in.private.clone(),
        ..real.clone()
    };
    assert!(!crossed.verify(&world, "246810").await);
    assert!(real.verify(&world, "246810").await);
}
