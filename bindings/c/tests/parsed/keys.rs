// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of a spec, from `docs/schema/spec.json`, for the header's manual.

use serde_json::Value;

/// Stands for the keys in `cbindgen.toml`.
const MARK: &str = " * @keys of a spec@\n";
const WIDTH: usize = 100;

/// Puts the keys in the place of the mark.
pub(crate) fn with_spec_keys(text: &str) -> String {
    let schema = include_str!("../../../../docs/schema/spec.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut keys = String::new();
    list("", &schema, &schema["$defs"], &mut keys);
    for inner in ["*/", "/*"] {
        assert!(!keys.contains(inner), "a comment of C cannot hold {inner}");
    }
    assert!(text.contains(MARK), "cbindgen.toml lacks {MARK:?}");
    text.replace(MARK, &keys)
}

/// Lists the keys of a table, those of an inner table behind it.
fn list(table: &str, part: &Value, definitions: &Value, out: &mut String) {
    for (key, value) in part["properties"].as_object().unwrap() {
        let path = format!("{table}{key}");
        let told = value["description"].as_str().unwrap_or_default();
        wrap(&format!("{path}: {told}"), out);
        let named = value["$ref"].as_str();
        let named = named.and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(name) = named
            && definitions[name]["properties"].is_object()
        {
            list(&format!("{path}."), &definitions[name], definitions, out);
        }
    }
}

fn wrap(text: &str, out: &mut String) {
    let mut line = String::from(" *  ");
    for word in text.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            *out += &line;
            line = String::from("\n *     ");
        }
        line.extend([" ", word]);
    }
    *out += &line;
    out.push('\n');
}
