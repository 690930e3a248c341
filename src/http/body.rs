//! The JSON body of a request. It is read strictly: unknown and duplicate fields are rejected.

use crate::error::{Error, ErrorCode};
use crate::json::Entries;
use serde_json::Value;
use serde_json::error::Category;
use std::ops::RangeInclusive;

/// The most bytes of a body. Every valid request is far smaller.
pub(super) const LIMIT: usize = 4096;

/// The fields of a body that are not yet read.
pub(super) struct Body(Vec<(String, Value)>);

impl Body {
    /// Reads a JSON object that has only `accepted` fields, each at most once. A field that is `null` counts as left out.
    ///
    /// No error repeats a value. Clients sometimes put a phone number or a code where the name of a field belongs. So
    /// an error repeats a name only if the name can be neither a number nor a code.
    pub(super) fn read(body: &[u8], accepted: &[&str]) -> Result<Self, Error> {
        let malformed = |detail: String| Error::new(ErrorCode::MalformedRequest, detail);
        if body.is_empty() {
            return Err(malformed(
                "The request has no body. Expected: a JSON object.".into(),
            ));
        }
        if body.starts_with(b"\xEF\xBB\xBF") {
            return Err(malformed(
                "The body starts with a byte order mark. Send JSON without one.".into(),
            ));
        }
        let text =
            std::str::from_utf8(body).map_err(|_| malformed("The body is not UTF-8.".into()))?;
        let Entries::<Value>(mut fields) = serde_json::from_str(text).map_err(|error| {
            malformed(match error.classify() {
                Category::Data => "The body is not a JSON object.".into(),
                Category::Syntax | Category::Eof | Category::Io => {
                    format!(
                        "The body is not JSON: see line {}, column {}.",
                        error.line(),
                        error.column()
                    )
                }
            })
        })?;

        for (index, (name, _)) in fields.iter().enumerate() {
            if !accepted.contains(&name.as_str()) {
                return Err(malformed(format!(
                    "{} is not accepted here. Accepted: {}.",
                    quoted(name),
                    accepted.join(", ")
                )));
            }
            if fields
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == name)
            {
                return Err(malformed(format!("{} is given twice.", quoted(name))));
            }
        }
        // Serializers of many languages write `null` for a field that is left out.
        fields.retain(|(_, value)| !value.is_null());
        Ok(Self(fields))
    }

    /// Whether the body has the field, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    /// Takes out a string.
    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::invalid_parameter(
                name,
                format!("{name} must be a string."),
            )),
        }
    }

    /// Takes out a boolean.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(Error::invalid_parameter(
                name,
                format!("{name} must be true or false."),
            )),
        }
    }

    /// Takes out an integer within `range`: `6`, not `"6"` or `6.0`.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: &RangeInclusive<u8>,
    ) -> Result<Option<u8>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::invalid_parameter(
                name,
                format!(
                    "{name} must be an integer from {} to {}.",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// The error for a body that is compressed; `None` for any other body. The header `content-encoding` does not show
/// whether a body is compressed, because API Gateway may unpack a body and keep the header.
pub(super) fn if_compressed(body: &[u8], is_encoded: bool) -> Option<Error> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let is_text = std::str::from_utf8(body).is_ok_and(|text| text.trim_start().starts_with('{'));
    let is_compressed = body.starts_with(&GZIP) || body.starts_with(&ZSTD);
    (is_compressed || (is_encoded && !is_text && !body.is_empty())).then(|| {
        Error::new(
            ErrorCode::UnsupportedMediaType,
            "The body is compressed. Send plain JSON, without the header `content-encoding`.",
        )
    })
}

/// The name of a field for an error text, if it is safe to repeat.
fn quoted(name: &str) -> String {
    let plain = (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'-');
    if plain {
        format!("The field `{name}`")
    } else {
        "One of the fields".to_owned()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["destinationNumber", "codeLength"];

    fn detail(body: &[u8]) -> String {
        let error = Body::read(body, KNOWN).err().unwrap();
        assert_eq!(error.code(), ErrorCode::MalformedRequest);
        error.detail().to_owned()
    }

    #[test]
    fn a_body_must_be_one_utf8_json_object() {
        assert!(Body::read(b" {} ", KNOWN).is_ok());
        for (body, says) in [
            (&b""[..], "no body"),
            (b"{", "not JSON"),
            (b"[]", "not a JSON object"),
            (b"\"x\"", "not a JSON object"),
            (b"null", "not a JSON object"),
            (b"7", "not a JSON object"),
            (b"{} {}", "not JSON"),
            (b"{\"codeLength\":NaN}", "not JSON"),
            (b"{\"codeLength\":6,}", "not JSON"),
            (b"\xEF\xBB\xBF{}", "byte order mark"),
            (b"{\"a\":\"\xFF\"}", "not UTF-8"),
            (br#"{"destinationNumber":"\ud800"}"#, "not JSON"),
        ] {
            assert!(
                detail(body).contains(says),
                "{} for {}",
                detail(body),
                String::from_utf8_lossy(body)
            );
        }
        let deep = format!(
            "{{\"codeLength\":{}{}}}",
            "[".repeat(2000),
            "]".repeat(2000)
        );
        assert!(detail(deep.as_bytes()).contains("not JSON"));
    }

    #[test]
    fn a_duplicate_field_is_rejected_by_name() {
        assert_eq!(
            detail(br#"{"codeLength":6,"codeLength":6}"#),
            "The field `codeLength` is given twice."
        );
        assert_eq!(
            detail(br#"{"codeLength":6,"code\u004Cength":7}"#),
            "The field `codeLength` is given twice."
        );
    }

    #[test]
    fn an_unknown_field_is_named_only_if_its_name_cannot_hold_a_number() {
        assert!(
            detail(br#"{"code_length":6}"#)
                .starts_with("The field `code_length` is not accepted here.")
        );
        for hostile in ["+14255550142", "a1", "\u{661}", "x y", ""] {
            let body = serde_json::json!({ hostile: 1 }).to_string();
            assert!(
                detail(body.as_bytes()).starts_with("One of the fields is not accepted here."),
                "{hostile}"
            );
        }
    }

    #[test]
    fn numbers_must_be_json_integers_in_range() {
        let integer = |json: &str| {
            let body = format!("{{\"codeLength\":{json}}}");
            Body::read(body.as_bytes(), KNOWN)
                .unwrap()
                .integer("codeLength", &(5..=8))
        };
        assert_eq!(integer("6").unwrap(), Some(6));
        assert_eq!(integer("null").unwrap(), None);
        for bad in [
            "4",
            "9",
            "-6",
            "6.0",
            "6e0",
            "\"6\"",
            "true",
            "[6]",
            "262",
            "18446744073709551622",
        ] {
            let error = integer(bad).err().unwrap();
            assert_eq!(
                (error.code(), error.field()),
                (ErrorCode::InvalidParameter, Some("codeLength")),
                "{bad}"
            );
            assert_eq!(error.detail(), "codeLength must be an integer from 5 to 8.");
        }
    }
}
