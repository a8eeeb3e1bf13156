// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manual page of a spec's keys, from the schema of their types.
#![forbid(unsafe_code)]

use serde_json::Value;

/// The file's name.
pub(super) const NAME: &str = "tare-spec.1";

const HEAD: &str = r#".SH NAME
tare\-spec \- keys of a sandbox
.SH SYNOPSIS
\fBtare run \-\-spec\fR \fIFILE\fR
.SH DESCRIPTION
A spec is a JSON object with these keys. A dot leads into a table:
\fBlimits.memory\fR is {"limits": {"memory": "256m"}}.
An unknown key is an error that names the nearest.
\fBtare schema spec\fR prints the JSON Schema.
.SH KEYS
"#;

/// Writes the page, in man(7).
pub(super) fn page() -> String {
    let schema = tare_rpc::schema::spec();
    let mut page = format!(".TH tare-spec 1 \"\" \"tare {}\"\n{HEAD}", tare::VERSION);
    list("", &schema, &schema["$defs"], &mut page);
    page + ".SH SEE ALSO\n\\fBtare\\-run\\fR(1)\n"
}

/// Lists the keys of a table, those of an inner table behind it.
fn list(table: &str, part: &Value, definitions: &Value, page: &mut String) {
    for (key, value) in part["properties"].as_object().into_iter().flatten() {
        let path = format!("{table}{key}");
        let told = value["description"].as_str().unwrap_or_default();
        let told: Vec<&str> = told.split_whitespace().collect();
        *page += &format!(".TP\n\\fB{path}\\fR\n{}\n", escaped(&told.join(" ")));
        let named = value["$ref"].as_str();
        let named = named.and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(inner) = named.map(|name| &definitions[name])
            && inner["properties"].is_object()
        {
            list(&format!("{path}."), inner, definitions, page);
        }
    }
}

/// Text of which roff takes nothing for a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_the_keys_of_tables() {
        let page = page();
        for key in [
            "best_effort",
            "limits.memory",
            "security.cap_add",
            "namespaces.user",
        ] {
            assert!(page.contains(&format!("\n.TP\n\\fB{key}\\fR\n")), "{key}");
        }
        assert_eq!(escaped(r".a -b \c"), r"\&.a \-b \ec");
    }
}
