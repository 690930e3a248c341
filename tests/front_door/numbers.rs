//! The numbers that get codes: by type, by channel, and by country where the metadata knows none.

use crate::world::{Answer, World};
use otp_lambda::phone::METADATA_VERSION;
use serde_json::json;
use simulator::Operation;

const ANYWHERE: (&str, &str) = ("ALLOWED_COUNTRIES", "*");

async fn send(world: &World, number: &str) -> Answer {
    world
        .post("/otp/send", &json!({ "destinationNumber": number }))
        .await
}

#[tokio::test]
async fn numbers_that_somebody_earns_by_get_no_codes() {
    let world = World::with(&[ANYWHERE]).await;
    for (number, named) in [
        ("+19005550142", "premium"),
        ("+449012345678", "premium"),
        ("+499001234567", "premium"),
        ("+447012345678", "personal"),
        ("+18005550142", "toll-free"),
        ("+447640123456", "pager"),
    ] {
        let answer = send(&world, number).await;
        answer.is_problem(403, "number_type_not_allowed");
        assert_eq!(answer.body["field"], "destinationNumber");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("the type {named},")), "{detail}");
    }
    assert!(world.simulator.requests(Operation::Send).is_empty());
    // The control.
    assert_eq!(send(&world, "+447400123456").await.status, 202);
}

#[tokio::test]
async fn a_setting_names_the_types_that_get_codes() {
    let world = World::with(&[ANYWHERE, ("ALLOWED_NUMBER_TYPES", "toll-free, mobile")]).await;
    for number in ["+18005550142", "+447400123456"] {
        assert_eq!(send(&world, number).await.status, 202, "{number}");
    }
    for number in ["+14255550142", "+442079460123", "+19005550142"] {
        send(&world, number)
            .await
            .is_problem(403, "number_type_not_allowed");
    }
}

#[tokio::test]
async fn a_number_without_a_country_does_not_blame_the_list_of_countries() {
    for countries in ["*", "US"] {
        let world = World::with(&[("ALLOWED_COUNTRIES", countries)]).await;
        for number in [
            "+13575550142",
            "+14715550142",
            "+881612345678",
            "+79401234567",
        ] {
            let answer = send(&world, number).await;
            answer.is_problem(403, "country_unknown");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(
                detail.contains(METADATA_VERSION) && detail.contains("EXTRA_PREFIXES"),
                "{detail}"
            );
        }
        assert!(world.simulator.requests(Operation::Send).is_empty());
    }
}

#[tokio::test]
async fn an_operator_can_name_the_country_of_a_new_area_code() {
    let world = World::with(&[
        ("ALLOWED_COUNTRIES", "US"),
        ("EXTRA_PREFIXES", "+1357=US,+1471=CA"),
    ])
    .await;
    assert_eq!(send(&world, "+13575550142").await.status, 202);
    send(&world, "+14715550142")
        .await
        .is_problem(403, "country_not_allowed");
    send(&world, "+19995550142")
        .await
        .is_problem(403, "country_unknown");
}

#[tokio::test]
async fn an_operator_can_open_new_ranges_for_every_way_in() {
    let range = ("EXTRA_PREFIXES", "+446=GB,+4915123xxxxxxxx=DE");
    let test_number = ("TEST_NUMBERS", "+446123456780=123456@2999-01-31");
    let world = World::counted(&[("ALLOWED_COUNTRIES", "GB,DE"), range, test_number]).await;
    for number in ["+446123456789", "+4915123456789 01", "+446123456780"] {
        assert_eq!(send(&world, number).await.status, 202, "{number}");
    }
    let verified = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": "+446123456780", "otp": "123456" }),
        )
        .await;
    assert_eq!(verified.status, 200);
    // The control: other lengths and beginnings stay refused.
    for number in ["+44612345678901", "+445", "+4915124123456789"] {
        send(&world, number)
            .await
            .is_problem(422, "invalid_phone_number");
    }
    let world = World::counted(&[("ALLOWED_COUNTRIES", "GB,DE")]).await;
    for number in ["+446123456789", "+491512345678901"] {
        send(&world, number)
            .await
            .is_problem(422, "invalid_phone_number");
    }
}
