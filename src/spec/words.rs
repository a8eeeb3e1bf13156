// SPDX-License-Identifier: MIT OR Apache-2.0
//! serde's sentences about JSON, in the words of the documentation.
#![forbid(unsafe_code)]

/// Rewrites a sentence of serde's. A `secret` sentence quotes no value, because
/// its type is enough.
pub(super) fn plain(text: &str, secret: bool) -> String {
    let between = |start: &str, end: &str| text.strip_prefix(start)?.split_once(end);
    let wrong = between("invalid type: ", "").or_else(|| between("invalid value: ", ""));
    // The value may hold anything, so the last comma separates.
    if let Some((got, expected)) = wrong.and_then(|(_, rest)| rest.rsplit_once(", expected ")) {
        let got = if secret { kind(got) } else { value(got) };
        return format!("expected {}, got {got}", wanted(expected));
    }
    if secret && text.contains(['`', '"']) {
        return "cannot be read".to_owned();
    }
    if let Some((key, _)) = between("missing field `", "`") {
        return format!("the key {key:?} is missing");
    }
    if let Some((key, _)) = between("duplicate field `", "`") {
        return format!("the key {key:?} is there twice");
    }
    if let Some((key, _)) = between("unknown field `", "`") {
        return format!("unknown key {key:?}");
    }
    if let Some((word, known)) = between("unknown variant `", "`, expected ") {
        let known = known.trim_start_matches("one of ").replace('`', "\"");
        return format!("{word:?} is none of the words {known}");
    }
    text.to_owned()
}

/// A value's type and the value, as serde describes both.
fn parts(got: &str) -> (&str, &str) {
    let at = got.find(['`', '"']).unwrap_or(got.len());
    (got[..at].trim_end(), got[at..].trim_matches('`'))
}

fn kind(got: &str) -> &str {
    match parts(got).0 {
        "sequence" => "a list",
        "map" => "an object",
        "null" | "unit value" => "null",
        "string" => "a string",
        "integer" | "floating point" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

fn value(got: &str) -> &str {
    match parts(got) {
        (_, "") => kind(got),
        (_, value) => value,
    }
}

fn wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_of_serde_is_plain() {
        for (text, plain_text, secret_text) in [
            (
                r#"invalid type: sequence, expected a number or a string such as "512m""#,
                r#"expected a number or a string such as "512m", got a list"#,
                r#"expected a number or a string such as "512m", got a list"#,
            ),
            (
                r#"invalid type: string "a, expected b", expected u64"#,
                r#"expected a whole number, got "a, expected b""#,
                "expected a whole number, got a string",
            ),
            (
                "invalid value: integer `-1`, expected u16",
                "expected a whole number, got -1",
                "expected a whole number, got a number",
            ),
            (
                "invalid type: boolean `true`, expected a map",
                "expected an object, got true",
                "expected an object, got true or false",
            ),
            (
                "invalid type: null, expected a string",
                "expected a string, got null",
                "expected a string, got null",
            ),
            (
                "missing field `id`",
                r#"the key "id" is missing"#,
                "cannot be read",
            ),
            (
                "unknown field `a`, expected `b` or `c`",
                r#"unknown key "a""#,
                "cannot be read",
            ),
            (
                "unknown variant `a`, expected one of `b`, `c`",
                r#""a" is none of the words "b", "c""#,
                "cannot be read",
            ),
            ("trailing comma", "trailing comma", "trailing comma"),
        ] {
            assert_eq!(plain(text, false), plain_text);
            assert_eq!(plain(text, true), secret_text);
        }
    }
}
