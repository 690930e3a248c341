//! The costs of each step: its requests, and the units that AWS bills. A change here changes the bill.

use crate::emulator::Emulator;
use crate::shared::{
    AGAIN, HOLDER, MINUTE, OPENING, SENT, START, USED_UNTIL, as_opened, at, charge, done, guess,
    paid, reserve, seconds, sent, spending, the_counter, the_key, the_number, the_verification,
    windows,
};
use otp_lambda::ledger::{
    Charge, Digest, GUESS_PENDING, GuessOutcome, LOCKED, Ledger, Opening, Settled, Success,
};
use std::fmt::Write;

/// A digest as long as a real one.
fn digest<Purpose>(text: &str) -> Digest<Purpose> {
    Digest::stored(format!("{text:x<43}"))
}

/// Adds a line to the table: the step, and the requests and units since the line before.
fn line(table: &mut String, emulator: &Emulator, step: &str) {
    let requests = emulator.requests();
    let units = |is_read: bool| -> usize {
        requests
            .iter()
            .filter(|request| request.is_read() == is_read)
            .map(|request| request.units)
            .sum()
    };
    writeln!(
        table,
        "{step:<44} {} {} {}",
        requests.len(),
        units(false),
        units(true)
    )
    .unwrap();
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one line for each step")]
async fn each_step_costs_what_the_table_says() {
    let emulator = Emulator::new();
    emulator.measure();
    let ledger = emulator.ledger();
    let (v, n, i) = (the_verification(), the_number(), the_key());
    let mut table = String::new();
    macro_rules! costs {
        ($step:literal, $call:expr) => {
            emulator.requests();
            $call.await.unwrap();
            line(&mut table, &emulator, $step);
        };
    }

    costs!("switches", ledger.switches());
    costs!("count", ledger.count(&the_counter(), 1, START));
    costs!("count, refused", ledger.count(&the_counter(), 1, START));
    costs!("count, cap of 0", ledger.count(&the_counter(), 0, START));
    costs!("uncount", ledger.uncount(&the_counter()));

    let text = spending(&[
        ("m", 1, 2),
        ("m13", 1, 2),
        ("mUS", 1, 2),
        ("u", 5810, 1_000_000),
    ]);
    costs!("spend", ledger.spend(&text));
    costs!("spent", ledger.spent(&text));
    costs!("refund", ledger.refund(&text));
    costs!("spend without budgets", ledger.spend(&spending(&[])));
    costs!(
        "spend more than a cap",
        ledger.spend(&spending(&[("m", 2, 1)]))
    );

    costs!(
        "reserve_key",
        ledger.reserve_key(&i, HOLDER, &digest("f"), START)
    );
    costs!(
        "reserve_key, held",
        ledger.reserve_key(&i, HOLDER, &digest("f"), START)
    );
    costs!("release_key", ledger.release_key(&i, HOLDER));
    costs!(
        "finish_key",
        ledger.finish_key(&i, HOLDER, Some(&"a".repeat(500)))
    );
    costs!(
        "finish_key, a long answer",
        ledger.finish_key(&i, HOLDER, Some(&"a".repeat(1000)))
    );

    for second in 0..20 {
        reserve(&ledger, "20/1h", seconds(second)).await;
    }
    costs!("number", ledger.number(&n));
    costs!(
        "reserve_send",
        ledger.reserve_send(&n, &windows("20/1h"), at(61 * MINUTE))
    );
    costs!(
        "reserve_send, refused",
        ledger.reserve_send(&n, &windows("1/1h"), at(61 * MINUTE))
    );
    costs!("charge_number", ledger.charge_number(&n, LOCKED, START));
    costs!(
        "reserve_send with failures",
        ledger.reserve_send(&n, &windows("20/1h"), at(62 * MINUTE))
    );
    costs!(
        "reserve_send with failures, refused",
        ledger.reserve_send(&n, &windows("1/1h"), at(62 * MINUTE))
    );
    costs!(
        "clear_failures",
        ledger.clear_failures(
            &n,
            Charge {
                failures: 1,
                epoch: 0
            },
            START
        )
    );
    let charge = charge(&ledger, START).await;
    ledger.charge_number(&n, LOCKED, START).await.unwrap();
    costs!(
        "clear_failures in part",
        ledger.clear_failures(&n, charge, START)
    );
    costs!("unlock", ledger.unlock(&n, START));

    let opening = Opening {
        brand_name: "A brand of 20 letters",
        left: 5,
        ..OPENING
    };
    costs!("open", ledger.open(&v, None, &opening));
    let id = "m".repeat(64);
    costs!("settle", ledger.settle(&v, 1, HOLDER, &sent(Some(&id))));
    costs!(
        "settle, moved on",
        ledger.settle(&v, 1, HOLDER, &Settled::Unclear)
    );
    costs!("reopen", ledger.reopen(&v, SENT, &AGAIN));
    costs!(
        "settle Back",
        ledger.settle(&v, 2, HOLDER, &Settled::Back(&as_opened()))
    );
    costs!(
        "spend_attempt",
        ledger.spend_attempt(&v, &digest("g"), None, START)
    );
    costs!(
        "spend_attempt, repeated",
        ledger.spend_attempt(&v, &digest("g"), None, START)
    );
    costs!(
        "note_answer",
        ledger.note_answer(&v, 2, &digest("g"), GuessOutcome::Invalid)
    );
    paid(guess(&ledger, "h", at(GUESS_PENDING)).await);
    let success = Success {
        winner: digest("w"),
        code: digest("c"),
        at: START,
    };
    costs!("consume", ledger.consume(&v, 2, &success, USED_UNTIL));
    done(ledger.redeem(&v, 2, &digest("x"), START).await.unwrap());
    costs!("redeem, again", ledger.redeem(&v, 2, &digest("c"), START));
    costs!("verification", ledger.verification(&v));
    costs!(
        "open over a verified verification",
        ledger.open(&v, Some(2), &opening)
    );
    costs!("cancel", ledger.cancel(&v, 3, START));

    assert_eq!(table, EXPECTED, "\n{table}");
}

/// Step, requests, write units, read units.
const EXPECTED: &str = "\
switches                                     1 0 1
count                                        1 1 0
count, refused                               1 1 0
count, cap of 0                              0 0 0
uncount                                      1 1 0
spend                                        1 1 0
spent                                        1 0 1
refund                                       1 1 0
spend without budgets                        0 0 0
spend more than a cap                        0 0 0
reserve_key                                  1 1 0
reserve_key, held                            1 1 0
release_key                                  1 1 0
finish_key                                   1 1 0
finish_key, a long answer                    1 2 0
number                                       1 0 1
reserve_send                                 1 1 0
reserve_send, refused                        1 1 0
charge_number                                1 1 0
reserve_send with failures                   2 2 0
reserve_send with failures, refused          2 2 0
clear_failures                               1 1 0
clear_failures in part                       2 2 0
unlock                                       1 1 0
open                                         1 1 0
settle                                       1 1 0
settle, moved on                             1 1 0
reopen                                       1 1 0
settle Back                                  1 1 0
spend_attempt                                1 1 0
spend_attempt, repeated                      1 1 0
note_answer                                  1 1 0
consume                                      1 1 0
redeem, again                                1 1 0
verification                                 1 0 1
open over a verified verification            1 1 0
cancel                                       1 1 0
";
