//! The ID by which a caller finds its request in the log: `X-Request-Id`, or the trace ID of a `traceparent`.
//!
//! Callers choose the ID, and the log must have no number, code or reference ID. So an ID that could have one is not
//! used: it is neither logged nor returned, and it is never an error.

use super::body;
use super::request::Request;
use crate::json::Entries;
use crate::reference::ReferenceId;
use crate::service::Service;
use crate::telemetry::Record;
use crate::typed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lambda_http::http::{HeaderMap, HeaderName};
use serde_json::Value;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: &str = "traceparent";

/// The most characters of an ID.
const LONGEST: usize = 64;

/// As many digits in a row could be a code, or a part of a phone number.
const DIGITS_OF_A_CODE: usize = 4;

/// As many of the last digits of a number say whose number it is, also in a national spelling.
const LAST_DIGITS: usize = 6;

/// Writes the caller's ID of the request into the log line, unless it has something of the request that the log must not
/// have.
pub(super) fn log_id(request: &Request, service: &Service, record: &mut Record) {
    record.correlation_id = read(&request.headers);
    if record.correlation_id.is_none() && record.trace_id.is_none() {
        return;
    }
    for key in request.headers.get_all("idempotency-key") {
        record.keep_out(key.to_str().unwrap_or_default());
    }
    // The whole body may be refused later. Nothing of it may be in the log then, either.
    let body = fields(request);
    let all = |name| {
        let named = body.iter().filter(move |(given, _)| given == name);
        named.filter_map(|(_, value)| value.as_str())
    };
    let rules = service.rules();
    for number in all("destinationNumber") {
        let number = typed::number(number);
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let last = digits.len().checked_sub(LAST_DIGITS);
        record.keep_out(last.and_then(|at| digits.get(at..)).unwrap_or_default());
        // A derived reference ID is a hash of little more than the number.
        if let Ok(to) = rules.extra_prefixes.read(&number) {
            let brand = all("brandName").next();
            let source = all("source").next();
            let derived = ReferenceId::derived(
                brand.unwrap_or(&rules.defaults.brand_name),
                source.unwrap_or(&rules.defaults.source),
                &to,
            );
            record.keep_out(derived.expose());
        }
    }
    for guess in all("otp") {
        record.keep_out(&typed::code(guess));
    }
    for secret in all("referenceId").chain(all("deviceToken")) {
        record.keep_out(secret);
    }
}

/// The members of the body, as far as it is a JSON object.
fn fields(request: &Request) -> Vec<(String, Value)> {
    let body = request.body.as_deref().unwrap_or_default();
    // A longer body is refused.
    if body.len() > 2 * body::LIMIT {
        return Vec::new();
    }
    let read: Result<Entries<Value>, _> = if request.is_base64_encoded {
        serde_json::from_slice(&BASE64.decode(body).unwrap_or_default())
    } else {
        serde_json::from_str(body)
    };
    read.map_or_else(|_| Vec::new(), |Entries(fields)| fields)
}

fn read(headers: &HeaderMap) -> Option<String> {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    only(REQUEST_ID.as_str())
        .filter(|id| is_usable(id))
        .or_else(|| trace_id(only(TRACEPARENT)?))
        .map(str::to_owned)
}

/// Whether an ID can have no number and no code, except on purpose.
///
/// There is no `@`, so no email address fits.
fn is_usable(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    (1..=LONGEST).contains(&id.len())
        && id.bytes().all(is_allowed)
        && (!has_long_digits(id) || is_random(id))
}

/// Whether an ID has as many digits in a row as a code. Signs between the digits make no difference, because numbers and
/// addresses are written with signs.
fn has_long_digits(id: &str) -> bool {
    let mut rows = id.split(|c: char| c.is_ascii_alphabetic());
    rows.any(|row| row.bytes().filter(u8::is_ascii_digit).count() >= DIGITS_OF_A_CODE)
}

/// Whether an ID has a form that only programs write: a UUID, a ULID, or 16 or 32 hexadecimal digits. In these forms,
/// several digits often stand in a row by chance.
pub(super) fn is_random(id: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = || id.split('-').map(str::len);
    let is_uuid_like = id.len() == 36 && groups().eq([8, 4, 4, 4, 12]) && id.split('-').all(is_hex);
    let is_hex_id = [16, 32].contains(&id.len()) && is_hex(id);
    // Crockford's base 32 has neither I, L, O nor U.
    let is_of_a_ulid =
        |byte: u8| byte.is_ascii_alphanumeric() && !b"ilou".contains(&byte.to_ascii_lowercase());
    let is_ulid = id.len() == 26 && id.bytes().all(is_of_a_ulid);
    let has_a_letter = id.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_uuid_like || is_hex_id || is_ulid) && has_a_letter
}

/// The trace ID of a `traceparent` of W3C Trace Context.
fn trace_id(header: &str) -> Option<&str> {
    let is_hex = |text: &str, length: usize| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == length && text.bytes().all(is_digit)
    };
    let is_id = |text: &str, length| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let mut parts = header.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = parts.next()?;
    // Later versions may append parts. The version ff is forbidden.
    let is_complete = version != "00" || parts.next().is_none();
    (is_hex(version, 2)
        && version != "ff"
        && is_id(trace, 32)
        && is_id(parent, 16)
        && is_hex(flags, 2)
        && is_complete)
        .then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_be_a_number_a_code_or_an_address_are_not_usable() {
        for id in [
            "a",
            "req-42",
            "abc_123-x=",
            "JKJaXmPLvHcESHA=",
            "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "3F2504E0-4F89-41D3-9A0C-0305E82C3301",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00f067aa0ba902b7",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            &"x".repeat(64),
        ] {
            assert!(is_usable(id), "{id}");
        }
        for id in [
            "",
            &"x".repeat(65),
            "a b",
            "a\"b",
            "a\\b",
            "a,b",
            "ä",
            "+14255550142",
            "14255550142",
            "call-14255550142-now",
            "signup-881027",
            "x1234",
            "06-12-34-56-78",
            "142-555-501-42",
            "signup-881-027",
            "12_34=5",
            "ip-192-0-2-10",
            "192.0.2.10",
            "2001:db8::1",
            "jane@example.com",
            // Forms of random IDs that are only digits, or nearly such forms.
            "00000000-0000-0000-0000-014255550142",
            "00000000000000000000014255550142",
            "0000014255550142",
            "01425555014201425555014226",
            "3f2504e04f8941-d3-9a0c-0305e82c33014",
            "tel-14255550142-aaaaaaaaaaaaaaaaaaaa",
            "callfor14255550142abcdefgh",
        ] {
            assert!(!is_usable(id), "{id}");
        }
    }

    #[test]
    fn a_traceparent_is_as_w3c_says() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for (header, is_valid) in [
            (good.clone(), true),
            (good.replace("-01", "-00"), true),
            (good.replace("00-4b", "01-4b"), true),
            (good.replace("00-4b", "01-4b") + "-more", true),
            (good.clone() + "-more", false),
            (good.replace("00-4b", "ff-4b"), false),
            (good.replace("00-4b", "0-4b"), false),
            (good.replace("00-4b", "0x-4b"), false),
            (good.replace(TRACE, &"0".repeat(32)), false),
            (good.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (good.to_uppercase(), false),
            (good.replace("4736", "473"), false),
            (good.replace("4736", "473g"), false),
            (good.replace("-01", "-1"), false),
            (good.replace("-01", ""), false),
            (String::new(), false),
        ] {
            assert_eq!(trace_id(&header), is_valid.then_some(TRACE), "{header}");
        }
    }
}
