//! Limits of the ledger and switches of the operator, and the responses of refused requests.

use crate::world::{Answer, KEY, NUMBER, World};
use otp_lambda::ledger::Switches;
use serde_json::{Value, json};
use simulator::Operation;
use std::time::{Duration, UNIX_EPOCH};

impl World {
    pub(crate) async fn send_to(&self, number: &str) -> Answer {
        self.post("/otp/send", &json!({ "destinationNumber": number }))
            .await
    }

    fn sends(&self) -> usize {
        self.simulator.requests(Operation::Send).len()
    }
}

#[track_caller]
fn is_limited(answer: &Answer, limit: &str) -> u64 {
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["limit"], limit, "{answer:?}");
    answer.body["retryAfter"].as_u64().unwrap()
}

#[tokio::test]
async fn send_limits_count_all_codes_to_a_number() {
    let world = World::counted(&[("SEND_LIMITS", "2/90s,3/24h")]).await;
    let send = async |source: &str| {
        world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": NUMBER, "source": source }),
            )
            .await
    };
    assert_eq!(send("a").await.status, 202);
    assert_eq!(send("b").await.status, 202);
    let wait = is_limited(&send("c").await, "number");
    assert!((89..=90).contains(&wait), "{wait}");
    world.advance(Duration::from_secs(90));
    assert_eq!(send("c").await.status, 202);
    let wait = is_limited(&send("d").await, "number");
    assert!((86_300..=86_400).contains(&wait), "{wait}");
    assert_eq!(world.sends(), 3);
}

#[tokio::test]
async fn prefix_limits_count_neighboring_numbers_together() {
    let world = World::counted(&[("PREFIX_LIMITS", "2/1h")]).await;
    assert_eq!(world.send_to("+14255550142").await.status, 202);
    assert_eq!(world.send_to("+14255550143").await.status, 202);
    let wait = is_limited(&world.send_to("+14255550144").await, "prefix");
    assert!(wait <= 3600, "{wait}");
    assert_eq!(world.send_to("+12065550144").await.status, 202);
    world.advance(Duration::from_hours(1));
    assert_eq!(world.send_to("+14255550144").await.status, 202);
}

#[tokio::test]
async fn source_limits_count_the_client_address_that_a_caller_passes_on() {
    let world = World::counted(&[("SOURCE_LIMITS", "2/10m")]).await;
    let send = async |number: &str, address: Value| {
        world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": number, "clientIp": address }),
            )
            .await
    };
    assert_eq!(send("+14255550142", json!("2001:db8::1")).await.status, 202);
    assert_eq!(send("+14255550143", json!("2001:db8::2")).await.status, 202);
    is_limited(
        &send("+14255550144", json!("2001:db8:0:0:1::1")).await,
        "source",
    );
    assert_eq!(
        send("+14255550144", json!("2001:db8:0:1::1")).await.status,
        202
    );
    assert_eq!(
        world.send_to("+14255550145").await.status,
        202,
        "no address, no limit"
    );
}

#[tokio::test]
async fn guesses_status_requests_and_cancels_count_the_passed_on_address_each_for_itself() {
    let world = World::counted(&[
        ("SOURCE_LIMITS", "2/10m"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("CODE_LENGTH", "8"),
    ])
    .await;
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    let ask = async |operation: &str, address: Option<&str>| {
        let mut body = json!({ "destinationNumber": NUMBER });
        if operation == "verify" {
            // Codes have eight digits. This guess is right only once in ten million runs.
            body["otp"] = json!("99000000");
        }
        if let Some(address) = address {
            body["clientIp"] = json!(address);
        }
        world.post(&format!("/otp/{operation}"), &body).await
    };
    for (operation, status) in [("verify", 422), ("status", 200), ("cancel", 200)] {
        for _ in 0..2 {
            let answer = ask(operation, Some("192.0.2.1")).await;
            assert_eq!(answer.status, status, "{operation}: {answer:?}");
        }
        is_limited(&ask(operation, Some("192.0.2.1")).await, "source");
        // The controls: another address, and none.
        let answer = ask(operation, Some("192.0.2.2")).await;
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
        let answer = ask(operation, None).await;
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
    }
    let send = json!({ "destinationNumber": "+14255550143", "clientIp": "192.0.2.1" });
    assert_eq!(world.post("/otp/send", &send).await.status, 202);
    let claim = json!({ "destinationNumber": NUMBER, "claim": true, "clientIp": "192.0.2.1" });
    is_limited(&world.post("/otp/status", &claim).await, "source");
    for operation in ["verify", "status", "cancel"] {
        let answer = ask(operation, Some("192.0.2")).await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(answer.body["field"], "clientIp", "{operation}");
    }
}

#[tokio::test]
async fn a_country_without_a_budget_gets_half_of_the_messages_of_an_hour() {
    // The control: one country alone may have all of them, and so may a country whose budget the operator has removed.
    for (settings, messages, limit) in [
        (&[("BUDGETS", "42/1h")][..], 21, "country"),
        (
            &[("BUDGETS", "42/1h"), ("ALLOWED_COUNTRIES", "US")],
            42,
            "budget",
        ),
        (
            &[("BUDGETS", "42/1h"), ("COUNTRY_LIMITS", "*=none")],
            42,
            "budget",
        ),
    ] {
        let world = World::counted(settings).await;
        for nth in 0..messages {
            let number = format!("+142555502{nth:02}");
            assert_eq!(world.send_to(&number).await.status, 202, "{settings:?}");
        }
        is_limited(&world.send_to("+14255550199").await, limit);
        let line = world.last_line();
        assert_eq!(line["limit"], limit);
        if limit == "country" {
            assert_eq!(line["countryBudgetUsed"], 100);
            // Another country still has its part.
            assert_eq!(world.send_to("+447700900123").await.status, 202);
        }
    }
}

#[tokio::test]
async fn budgets_cap_sends_in_total_and_by_country_and_are_refunded() {
    let world = World::counted(&[
        ("BUDGETS", "4/1h,5/24h"),
        ("COUNTRY_LIMITS", "GB=1/1h;*=3/24h"),
        ("PREFIX_LIMITS", "9/1h"),
    ])
    .await;
    assert_eq!(world.send_to("+447700900123").await.status, 202);
    is_limited(&world.send_to("+447700900124").await, "country");
    for last in 1..=3 {
        assert_eq!(
            world.send_to(&format!("+1425555010{last}")).await.status,
            202
        );
    }
    // Four messages were sent in this hour, and three of them went to the United States. Two caps are now reached: the
    // cap for all countries, and the cap for the United States. The response names the cap for the United States.
    is_limited(&world.send_to("+14255550104").await, "country");
    assert_eq!(world.sends(), 4);
    // The charges of the refused sends are refunded.
    let prefixes: Vec<u64> = world.ledger.counters().into_values().collect();
    assert_eq!(prefixes.iter().sum::<u64>(), 4, "{prefixes:?}");
    let spent = world
        .ledger
        .budgets()
        .into_values()
        .flatten()
        .collect::<Vec<_>>();
    assert!(
        spent
            .iter()
            .any(|(counter, amount)| counter == "m" && *amount == 4),
        "{spent:?}"
    );
}

#[tokio::test]
async fn a_budget_in_money_uses_the_price_of_each_country() {
    let directory = std::env::temp_dir().join(format!("otp-lambda-prices-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("config.json");
    std::fs::write(&path, r#"{"prices":{"US":0.4,"*":0.9}}"#).unwrap();
    let world = World::counted(&[
        ("BUDGETS", "1USD/24h"),
        ("CONFIG_FILE", path.to_str().unwrap()),
    ])
    .await;
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(world.send_to("+14255550142").await.status, 202);
    is_limited(&world.send_to("+447700900123").await, "budget");
    assert_eq!(world.send_to("+14255550143").await.status, 202);
    is_limited(&world.send_to("+14255550144").await, "budget");
}

#[tokio::test]
async fn wrong_guesses_delay_sends_and_finally_lock_the_number() {
    let world = World::counted(&[
        ("SEND_LIMITS", "20/1s"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("CODE_LENGTH", "8"),
    ])
    .await;
    let mut guesses = 0;
    let mut guess = async |world: &World| {
        guesses += 1;
        // Codes have eight digits. One of these guesses is right only once in a million runs.
        let otp = format!("{:08}", 99_000_000 + guesses);
        world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
            .await
    };
    let new_code = async |world: &World| {
        world
            .post("/otp/cancel", &json!({ "destinationNumber": NUMBER }))
            .await;
        world.send_to(NUMBER).await
    };
    for stop in [10, 30, 100_u32] {
        while world
            .ledger
            .numbers()
            .values()
            .map(|number| number.failures)
            .max()
            .unwrap_or(0)
            < stop
        {
            let answer = new_code(&world).await;
            if answer.status != 202 {
                let wait = is_limited(&answer, "guesses");
                world.advance(Duration::from_secs(wait));
                assert_eq!(new_code(&world).await.status, 202);
            }
            for _ in 0..5 {
                guess(&world).await.is_problem(422, "invalid_code");
            }
        }
        let answer = new_code(&world).await;
        match stop {
            10 => assert!((890..=900).contains(&is_limited(&answer, "guesses"))),
            30 => assert!((86_300..=86_400).contains(&is_limited(&answer, "guesses"))),
            _ => answer.is_problem(403, "destination_locked"),
        }
    }
    assert_eq!(world.simulator.requests(Operation::Verify).len(), 100);
    world.advance(Duration::from_hours(24 * 364));
    world
        .send_to(NUMBER)
        .await
        .is_problem(403, "destination_locked");

    let unlock = json!({ "operation": "unlock", "destinationNumber": NUMBER }).to_string();
    world.raw(&unlock).await.unwrap();
    let code = world.code_on_the_phone().await;
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": code }),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_guess_at_a_locked_number_does_not_reach_the_provider() {
    let world = World::counted(&[
        ("SEND_LIMITS", "20/1s"),
        ("ALLOWED_ATTEMPTS", "5"),
        ("CODE_LENGTH", "8"),
    ])
    .await;
    // Codes under many references, all open at once, so that the lock comes while attempts are left.
    let mut asked = 0;
    let mut locked = false;
    'names: for name in 0.. {
        let body = json!({ "destinationNumber": NUMBER, "source": name.to_string() });
        let sent = world.post("/otp/send", &body).await;
        if sent.status != 202 {
            world.advance(Duration::from_secs(
                sent.body["retryAfter"].as_u64().unwrap(),
            ));
            world.post("/otp/send", &body).await;
        }
        for otp in 0..5 {
            let mut body = body.clone();
            body["otp"] = json!(format!("{:08}", 99_000_000 + otp));
            // One attempt of each code is kept for the end.
            if otp == 4 && asked < 96 {
                continue;
            }
            let answer = world.post("/otp/verify", &body).await;
            if answer.code() == "destination_locked" {
                assert_eq!(answer.body["valid"], json!(false));
                locked = true;
                break 'names;
            }
            answer.is_problem(422, "invalid_code");
            asked += 1;
        }
    }
    assert_eq!(
        (
            locked,
            asked,
            world.simulator.requests(Operation::Verify).len()
        ),
        (true, 100, 100)
    );
}

#[tokio::test]
async fn switches_take_effect_within_ten_seconds() {
    let world = World::counted(&[("SEND_LIMITS", "20/1s")]).await;
    let switched = async |switches: Switches, number: &str| {
        world.ledger.switch(switches);
        world.advance(Duration::from_secs(10));
        world.send_to(number).await
    };
    let entries_of = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    let key = world
        .ledger
        .numbers()
        .keys()
        .next()
        .unwrap()
        .as_str()
        .to_owned();

    world.ledger.switch(Switches {
        paused: true,
        ..Switches::default()
    });
    world.advance(Duration::from_secs(9));
    assert_eq!(
        world.send_to("+14255550199").await.status,
        202,
        "switches are cached for up to ten seconds"
    );
    world.advance(Duration::from_secs(1));
    let answer = world.send_to(NUMBER).await;
    answer.is_problem(503, "sending_paused");
    assert!(answer.headers.contains_key("retry-after"));
    // Codes that were sent before can still be verified.
    let code = world.newest_code();
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": code }),
        )
        .await;
    assert_eq!(answer.status, 200);

    let blocked = Switches {
        blocked: entries_of(&[&key]),
        ..Switches::default()
    };
    switched(blocked, NUMBER)
        .await
        .is_problem(403, "destination_blocked");
    assert_eq!(world.send_to("+14255550143").await.status, 202);
    let blocked = Switches {
        blocked: entries_of(&["+1425"]),
        allowed: entries_of(&[&key]),
        ..Switches::default()
    };
    switched(blocked, "+14255550144")
        .await
        .is_problem(403, "destination_blocked");
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    assert_eq!(world.send_to("+12065550144").await.status, 202);
}

#[tokio::test]
async fn switches_of_the_start_are_as_old_as_their_read() {
    let paused = || Switches {
        paused: true,
        ..Switches::default()
    };
    let world = World::counted(&[]).await;
    world.connect().await;
    world.ledger.switch(paused());
    world.advance(Duration::from_secs(9));
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    world.advance(Duration::from_secs(1));
    let answer = world.send_to("+14255550143").await;
    answer.is_problem(503, "sending_paused");

    // The control: a function that has read no switches at its start reads them for its first send.
    let world = World::counted(&[]).await;
    world.ledger.switch(paused());
    world.advance(Duration::from_secs(9));
    let answer = world.send_to(NUMBER).await;
    answer.is_problem(503, "sending_paused");
}

#[tokio::test]
async fn a_test_number_has_a_fixed_code_no_messages_and_the_usual_attempts() {
    let world = World::counted(&[
        ("TEST_NUMBERS", "+14255550142=246802@2999-12-31"),
        ("BUDGETS", "1/24h"),
    ])
    .await;
    let guess = async |otp: &str| {
        world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
            .await
    };
    assert!(
        world.log.text().contains("TEST_NUMBERS is set"),
        "logged at startup"
    );
    assert!(
        world
            .log
            .text()
            .lines()
            .next()
            .unwrap()
            .contains("\"WARN\"")
    );

    guess("246802")
        .await
        .is_problem(404, "verification_not_found");
    world.advance(Duration::from_mins(10));
    for _ in 0..3 {
        assert_eq!(world.send_to(NUMBER).await.status, 202, "no limit on sends");
    }
    world.send_to(NUMBER).await.is_problem(429, "resend_limit");
    guess("246803").await.is_problem(422, "invalid_code");
    assert_eq!(guess("246802").await.status, 200);
    guess("246802").await.is_problem(409, "already_verified");

    // The code is good once for each send.
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    assert_eq!(guess("246802").await.status, 200);
    guess("246802").await.is_problem(409, "already_verified");
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    world.advance(Duration::from_hours(1));
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    for otp in ["000001", "000002", "000003"] {
        guess(otp).await.is_problem(422, "invalid_code");
    }
    guess("246802").await.is_problem(410, "attempts_exhausted");
    assert_eq!((world.sends(), world.simulator.inbox().len()), (0, 0));
}

#[tokio::test]
async fn a_test_number_is_an_ordinary_number_after_its_last_day() {
    let world = World::counted(&[("TEST_NUMBERS", "+14255550142=246802@2026-01-31")]).await;
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    assert_eq!(world.sends(), 1, "an ordinary number");
}

#[tokio::test]
async fn a_test_number_is_one_until_the_end_of_its_last_day() {
    // The first moment of the year 3000.
    let end = UNIX_EPOCH + Duration::from_hours(9_028_800);
    let moment = Duration::from_millis(1);
    for (now, messages) in [(end - moment, 0), (end, 1)] {
        let settings = [("TEST_NUMBERS", "+14255550142=246802@2999-12-31")];
        let mut world = World::counted(&settings).await;
        world.set_now(now);
        assert_eq!(world.send_to(NUMBER).await.status, 202);
        assert_eq!(world.sends(), messages);
    }
}

/// The fixed code is no code of a message that was sent before.
#[tokio::test]
async fn a_number_that_becomes_a_test_number_keeps_the_code_that_was_sent() {
    let mut world = World::counted(&[]).await;
    assert_eq!(world.send_to(NUMBER).await.status, 202);
    let code = world.newest_code();
    world
        .reconfigure(&[
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", KEY),
            ("TEST_NUMBERS", "+14255550142=246802@2999-12-31"),
        ])
        .await;
    let guess = async |otp: &str| {
        let body = json!({ "destinationNumber": NUMBER, "otp": otp });
        world.post("/otp/verify", &body).await
    };
    guess("246802").await.is_problem(422, "invalid_code");
    assert_eq!(guess(&code).await.status, 200);
}

#[tokio::test]
async fn the_networks_of_an_ipv6_48_are_limited_together() {
    let limits = [
        ("SOURCE_LIMITS", "2/24h"),
        ("SOURCE_NETWORK_LIMITS", "5/24h"),
        ("REFERENCE_ID", "random"),
    ];
    let world = World::counted(&limits).await;
    let guess = async |address: &str| {
        let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": "r", "clientIp": address });
        world.post("/otp/verify", &body).await
    };
    // Each /64 has room for itself, and the /48 for five in all.
    for network in 0..5 {
        let answer = guess(&format!("2001:db8:1:{network:x}::1")).await;
        answer.is_problem(404, "verification_not_found");
    }
    let answer = guess("2001:db8:1:ffff::1").await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["limit"], "source");
    // The controls: another /48, addresses of IPv4 in any number, and the /64 tier on its own.
    for network in 0..20 {
        let answer = guess(&format!("2001:db8:{:x}::1", 0x100 + network)).await;
        answer.is_problem(404, "verification_not_found");
        let answer = guess(&format!("192.0.2.{network}")).await;
        answer.is_problem(404, "verification_not_found");
    }
    guess("2001:db8:100::2")
        .await
        .is_problem(404, "verification_not_found");
    guess("2001:db8:100::3")
        .await
        .is_problem(429, "rate_limited");
}

#[tokio::test]
async fn callers_cannot_ask_for_weaker_codes_than_the_operator_allows() {
    let floors = [("MIN_CODE_LENGTH", "6"), ("MAX_VALIDITY_PERIOD", "10")];
    for (settings, refused) in [(&floors[..], true), (&[][..], false)] {
        for (field, value) in [("codeLength", 5), ("validityPeriod", 11)] {
            let world = World::counted(settings).await;
            let answer = world
                .post(
                    "/otp/send",
                    &json!({ "destinationNumber": NUMBER, field: value }),
                )
                .await;
            if refused {
                answer.is_problem(400, "invalid_parameter");
                assert_eq!(answer.body["field"], field);
                let strong =
                    json!({ "destinationNumber": NUMBER, "codeLength": 8, "validityPeriod": 10 });
                assert_eq!(world.post("/otp/send", &strong).await.status, 202);
            } else {
                assert_eq!(answer.status, 202, "{field}: {answer:?}");
            }
        }
    }
}
