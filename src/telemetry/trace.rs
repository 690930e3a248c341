//! X-Ray's tracing header, which Lambda gives to each invocation.

/// The ID of the invocation's trace; `None` if X-Ray keeps no trace of it, because tracing is off or has not chosen it.
///
/// The caller may have chosen the ID, so it must have the form of X-Ray's IDs.
pub(crate) fn sampled_trace(header: &str) -> Option<String> {
    let parts = || header.split(';').map(str::trim);
    if !parts().any(|part| part == "Sampled=1") {
        return None;
    }
    let root = parts().find_map(|part| part.strip_prefix("Root="))?;
    let groups = root.split('-').map(str::len);
    let is_digit = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    // With a letter, it is no phone number. An ID by chance has one.
    let has_letter = root.bytes().any(|byte| byte.is_ascii_alphabetic());
    (root.starts_with("1-") && groups.eq([1, 8, 24]) && root.bytes().all(is_digit) && has_letter)
        .then(|| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn only_a_trace_that_xray_keeps_has_an_id() {
        for (header, is_kept) in [
            ("Root={};Parent=53995c3f42cd8ad8;Sampled=1", true),
            (
                "Root={};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0",
                true,
            ),
            ("Sampled=1; Root={}", true),
            ("Root={};Parent=53995c3f42cd8ad8;Sampled=0", false),
            ("Root={};Parent=53995c3f42cd8ad8;Sampled=?", false),
            ("Root={};Parent=53995c3f42cd8ad8", false),
            ("Parent=53995c3f42cd8ad8;Sampled=1", false),
            ("", false),
        ] {
            let found = sampled_trace(&header.replace("{}", ROOT));
            assert_eq!(found.as_deref(), is_kept.then_some(ROOT), "{header}");
        }
    }

    #[test]
    fn what_is_no_id_of_xray_is_not_taken() {
        for root in [
            "",
            "5759e988-bd862e3fe1be46a994272793",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759e988-bd862e3fe1be46a9942727931",
            "1-5759e98-8bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a99427279g",
            "1-5759e988-bd862e3fe1be46a99427\"793",
            "1-01425555-014200000000000000000000",
        ] {
            assert_eq!(
                sampled_trace(&format!("Root={root};Sampled=1")),
                None,
                "{root}"
            );
        }
    }
}
