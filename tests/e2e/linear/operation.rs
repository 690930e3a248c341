//! The requests of clients in a history, and the answers that they get. Small numbers name codes, messages and keys.

use serde_json::Value;

/// A request, with the observations about it.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its place in the history of the number.
    pub(crate) id: usize,
    pub(crate) request: Request,
    /// The verification, by its index in the history.
    pub(crate) reference: usize,
    pub(crate) answer: Answer,
    /// Whether a request to the table failed meanwhile. If so, the answer may be older than the last writes.
    pub(crate) had_faults: bool,
    /// Whether the table executed a failed request after the function had given it up and repeated it.
    pub(crate) had_overdue: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    Send {
        /// The idempotency key.
        key: Option<usize>,
        /// The message that the answer names.
        text: Option<usize>,
    },
    Verify {
        guess: Guess,
        /// Requests with the same winner are repeats of each other.
        winner: usize,
    },
    Status,
    Redeem {
        /// Requests with the same redeemer are repeats of each other.
        redeemer: usize,
    },
    Cancel,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    /// The number of the guess. Equal guesses have the same number.
    pub(crate) name: usize,
    /// Whether no other request of the history has this guess at this verification.
    pub(crate) is_unique: bool,
    /// Whether it is the code of a message.
    pub(crate) is_code: bool,
}

/// An answer over HTTP. Without one, the status is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    /// The error code; empty in a success.
    pub(crate) code: String,
    /// `status` in the body of a success.
    pub(crate) phase: String,
    pub(crate) left: Option<u64>,
    pub(crate) limit: String,
    pub(crate) message: Option<String>,
}

impl Answer {
    pub(crate) fn new(status: u64, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self {
            status,
            code: text("code"),
            phase: if status < 300 {
                text("status")
            } else {
                String::new()
            },
            left: body["attemptsLeft"].as_u64(),
            limit: text("limit"),
            message: body["messageId"].as_str().map(str::to_owned),
        }
    }

    /// Whether the answer does not show if the request had its effect.
    pub(crate) fn is_unknown(&self) -> bool {
        self.status == 0 || self.code == "ledger_unavailable"
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn is_phase(&self, phase: &str, left: Option<u64>) -> bool {
        self.is_success() && self.phase == phase && self.left == left
    }

    pub(crate) fn is_error(&self, code: &str) -> bool {
        self.code == code
    }

    pub(crate) fn is_error_with(&self, code: &str, left: u8) -> bool {
        self.code == code && self.left == Some(left.into())
    }
}
