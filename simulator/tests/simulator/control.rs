//! The control API.

use serde_json::{Value, json};

use crate::client::{get, post, request, send, started, try_send, try_verify, verify};

#[tokio::test]
async fn the_clock_moves() {
    let simulator = started().await;
    let code = send(&simulator);
    let moved = post(
        &simulator,
        "/simulator/clock",
        &json!({"advanceSeconds": 600}),
    )
    .unwrap()
    .json();
    assert_eq!(moved["offsetSeconds"], 600);
    assert!(moved["now"].as_str().unwrap().ends_with('Z'));
    assert!(!verify(&simulator, &code));

    // The largest offset: the time can still be formatted.
    post(
        &simulator,
        "/simulator/clock",
        &json!({"advanceSeconds": u64::MAX}),
    )
    .unwrap();
    assert_eq!(
        get(&simulator, "/simulator/clock").json()["now"]
            .as_str()
            .unwrap()
            .as_bytes()[0],
        b'2'
    );
}

#[tokio::test]
async fn failures_are_queued_listed_and_cleared() {
    let simulator = started().await;
    let path = "/simulator/failures";
    post(
        &simulator,
        path,
        &json!({"operation": "send", "failure": "too-many-requests", "times": 2}),
    )
    .unwrap();
    let slow = json!({"operation": "send", "failure": {"slow": 10}, "times": "until-cleared"});
    assert_eq!(
        post(&simulator, path, &slow).unwrap().json(),
        json!({"send": [{"failure": "too-many-requests", "times": 2}, {"failure": {"slow": 10}, "times": "until-cleared"}],
               "verify": [], "feedback": []})
    );
    assert_eq!(try_send(&simulator).unwrap().status, 429);
    let listed = get(&simulator, path).json();
    assert_eq!(
        listed["queued"]["send"][0],
        json!({"failure": "too-many-requests", "times": 1})
    );
    assert!(
        listed["available"]["send"].as_array().unwrap().len()
            > listed["available"]["verify"].as_array().unwrap().len()
    );

    let cleared = request(simulator.address, "DELETE", path, &[], b"").unwrap();
    assert_eq!(
        cleared.json(),
        json!({"send": [], "verify": [], "feedback": []})
    );
    assert_eq!(try_send(&simulator).unwrap().status, 200);
}

#[tokio::test]
async fn every_available_failure_can_be_queued_and_unknown_ones_cannot() {
    let simulator = started().await;
    let path = "/simulator/failures";
    let available = get(&simulator, path).json()["available"].clone();
    for operation in ["send", "verify", "feedback"] {
        for offer in available[operation].as_array().unwrap() {
            let body = json!({"operation": operation, "failure": offer["failure"]});
            assert_eq!(post(&simulator, path, &body).unwrap().status, 200, "{body}");
        }
    }
    for body in [
        json!({"operation": "verify", "failure": "opt-out"}),
        json!({"operation": "feedback", "failure": "unheard-of-status"}),
        json!({"operation": "send", "failure": "explode"}),
        json!({"operation": "send", "failure": "hang", "times": 0}),
        json!({"operation": "send", "failure": "hang", "times": "often"}),
        json!({"operation": "send", "failure": "hang", "time": 1}),
        json!({"operation": "delete", "failure": "hang"}),
    ] {
        assert_eq!(post(&simulator, path, &body).unwrap().status, 422, "{body}");
    }
}

#[tokio::test]
async fn requests_are_counted_and_a_reset_removes_everything() {
    let simulator = started().await;
    send(&simulator);
    try_verify(&simulator, "wrong").unwrap();
    try_verify(&simulator, "wrong").unwrap();
    let counted = get(&simulator, "/simulator/requests").json();
    assert_eq!(
        counted["counts"],
        json!({"send": 1, "verify": 2, "feedback": 0})
    );
    assert_eq!(counted["requests"][0]["operation"], "send");
    assert_eq!(counted["requests"][0]["body"]["BrandName"], "ExampleCorp");
    assert_eq!(
        counted["requests"][2]["headers"]["content-type"],
        "application/json"
    );

    post(&simulator, "/simulator/applications", &json!({"known": []})).unwrap();
    post(
        &simulator,
        "/simulator/clock",
        &json!({"advanceSeconds": 60}),
    )
    .unwrap();
    assert_eq!(
        post(&simulator, "/simulator/reset", &Value::Null)
            .unwrap()
            .status,
        204
    );
    assert_eq!(
        get(&simulator, "/simulator/requests").json()["counts"],
        json!({"send": 0, "verify": 0, "feedback": 0})
    );
    assert_eq!(
        get(&simulator, "/simulator/clock").json()["offsetSeconds"],
        0
    );
    assert_eq!(get(&simulator, "/inbox").json(), json!({"messages": []}));
    assert_eq!(try_send(&simulator).unwrap().status, 200);
}

#[tokio::test]
async fn known_applications_can_be_set_and_unset() {
    let simulator = started().await;
    post(
        &simulator,
        "/simulator/applications",
        &json!({"known": ["other"]}),
    )
    .unwrap();
    assert_eq!(try_send(&simulator).unwrap().status, 404);
    post(
        &simulator,
        "/simulator/applications",
        &json!({"known": null}),
    )
    .unwrap();
    assert_eq!(try_send(&simulator).unwrap().status, 200);
}

#[tokio::test]
async fn posts_that_need_no_cors_preflight_are_refused() {
    let simulator = started().await;
    for path in ["clock", "failures", "applications", "reset"] {
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
        ] {
            let headers = [("content-type", content_type)];
            let answer = request(
                simulator.address,
                "POST",
                &format!("/simulator/{path}"),
                &headers,
                b"{}",
            )
            .unwrap();
            assert_eq!(answer.status, 415, "{path} {content_type}");
        }
    }
}
