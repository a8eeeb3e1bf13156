// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/spec.md`: compares its tables with `docs/schema/spec.json`, key by
//! key.

use serde_json::Value;

/// Marks around the tables in the page.
const MARKS: [&str; 2] = ["<!-- keys -->\n", "<!-- end of keys -->\n"];
/// Tables of keys, in the order of the page: definition, heading.
const TABLES: [(&str, &str); 4] = [
    ("Limits", "`limits`"),
    ("Security", "`security`"),
    ("Namespaces", "`namespaces`"),
    ("IdMap", "A line of `namespaces.user.maps`"),
];
/// Values with several notations, each described once: definition, word.
const VALUES: [(&str, &str); 8] = [
    ("ByteSize", "size"),
    ("Mount", "mount"),
    ("ExtraHost", "host line"),
    ("Rlimit", "rlimit"),
    ("Seccomp", "filter"),
    ("Device", "device"),
    ("DeviceRule", "device rule"),
    ("BestEffortKey", "key"),
];

struct Page {
    schema: Value,
    text: String,
    /// Definitions that the tables name.
    named: Vec<String>,
}

impl Page {
    fn new(schema: Value) -> Self {
        Self {
            schema,
            text: String::new(),
            named: Vec::new(),
        }
    }

    /// Returns the whole text.
    fn write(mut self) -> String {
        let whole = self.schema.clone();
        self.table("Keys", &whole);
        for (name, heading) in TABLES {
            let part = self.definition(name).clone();
            self.table(heading, &part);
        }
        self.mounts();
        self.words();
        self.values();
        let known = self.schema["$defs"].as_object().unwrap().keys();
        let unnamed: Vec<&String> = known
            .filter(|name| !self.named.contains(name) && !TABLES.iter().any(|(n, _)| n == name))
            .collect();
        assert!(unnamed.is_empty(), "not in the page: {unnamed:?}");
        self.text
    }

    fn definition(&self, name: &str) -> &Value {
        let part = &self.schema["$defs"][name];
        assert!(part.is_object(), "no definition {name}");
        part
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str, row: &str) {
        self.line(&format!("\n## {heading}\n"));
        self.line(row);
        let columns = row.matches('|').count() - 1;
        self.line(&format!("|{}", "---|".repeat(columns)));
    }

    /// Adds a row for each key of a table.
    fn table(&mut self, heading: &str, part: &Value) {
        self.heading(heading, "| key | type | default | |");
        let required = part["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in part["properties"].as_object().unwrap() {
            let (told, default) = self.told(value);
            let default = match default {
                Some(default) => default,
                None if required.iter().any(|name| name == key) => "must be there".to_owned(),
                None => panic!("{key}: its description tells no default"),
            };
            let kind = self.kind(value);
            self.line(&format!("| `{key}` | {kind} | {default} | {told} |"));
        }
    }

    /// Returns a key's effect and default, both from the description.
    fn told(&self, value: &Value) -> (String, Option<String>) {
        let own = plain(value);
        let (told, default) = match own.split_once("Default: ") {
            Some((told, default)) => {
                let default = default.trim_end_matches('.').to_owned();
                (told.trim().to_owned(), Some(default))
            }
            None => (own, None),
        };
        if !told.is_empty() {
            return (told, default);
        }
        let name = reference(value).expect("a key without a sentence has a definition");
        (plain(self.definition(name)), default)
    }

    /// Returns the types that a key takes.
    fn kind(&mut self, value: &Value) -> String {
        if let Some(name) = reference(value) {
            let name = name.to_owned();
            self.named.push(name.clone());
            if let Some((_, word)) = VALUES.iter().find(|(n, _)| *n == name) {
                return format!("[{word}](#values)");
            }
            if TABLES.iter().any(|(n, _)| *n == name) {
                return "table".into();
            }
            let part = self.definition(&name).clone();
            return self.kind(&part);
        }
        if let Some(choices) = value["oneOf"].as_array().or(value["anyOf"].as_array()) {
            let kinds: Vec<String> = choices.clone().iter().map(|one| self.kind(one)).collect();
            let kinds: Vec<String> = kinds.into_iter().filter(|kind| !kind.is_empty()).collect();
            return kinds.join(", ");
        }
        if let Some(word) = value["const"].as_str() {
            return format!("`{word}`");
        }
        if let Some(words) = value["enum"].as_array() {
            let words: Vec<String> = words.iter().map(|w| format!("`{}`", text(w))).collect();
            return words.join(", ");
        }
        let kinds = match &value["type"] {
            Value::Array(kinds) => kinds.iter().map(text).collect(),
            kind => vec![text(kind)],
        };
        let kinds: Vec<String> = kinds.iter().map(|kind| self.simple(kind, value)).collect();
        kinds.concat()
    }

    fn simple(&mut self, kind: &str, value: &Value) -> String {
        match kind {
            "null" => String::new(),
            "integer" => match (value["minimum"].as_u64(), value["maximum"].as_u64()) {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                _ => "whole number".into(),
            },
            "number" => "number".into(),
            "boolean" => "`true`, `false`".into(),
            "string" => "text".into(),
            "array" => format!("list of {}", self.kind(&value["items"])),
            "object" => match (&value["properties"], &value["additionalProperties"]) {
                (Value::Object(keys), _) => {
                    let keys: Vec<String> = keys
                        .clone()
                        .iter()
                        .map(|(key, value)| format!("`{key}`: {}", self.kind(value)))
                        .collect();
                    format!("table of {}", keys.join(" and "))
                }
                (_, values @ Value::Object(_)) => {
                    format!("table: name to {}", self.kind(values))
                }
                _ => "table".into(),
            },
            other => panic!("no words for the type {other}"),
        }
    }

    /// Describes the tables that an entry of `mounts` may be.
    fn mounts(&mut self) {
        let choices = self.definition("Mount")["anyOf"].clone();
        let tables = choices.as_array().unwrap().iter();
        let tables = tables.filter(|one| one["properties"].is_object());
        for (part, heading) in
            tables.zip(["A `bind` or `cow` of `mounts`", "A `tmpfs` of `mounts`"])
        {
            self.table(heading, part);
        }
    }

    /// Describes each word of a key that takes a few words.
    fn words(&mut self) {
        self.heading("Words", "| key | word | |");
        let parts = self.schema["$defs"].as_object().unwrap().clone();
        let whole = [("", self.schema.clone())].into_iter();
        let tables = TABLES.map(|(name, _)| (name, self.definition(name).clone()));
        for (table, part) in whole.chain(tables) {
            for (key, value) in part["properties"].as_object().unwrap() {
                let dot = if table.is_empty() { "" } else { "." };
                let key = format!("{}{dot}{key}", table.to_lowercase());
                let choices = reference(value).map(|name| &parts[name]["oneOf"]);
                for choice in choices.and_then(Value::as_array).into_iter().flatten() {
                    let word = self.kind(choice);
                    self.line(&format!("| `{key}` | {word} | {} |", plain(choice)));
                }
            }
        }
    }

    fn values(&mut self) {
        self.heading("Values", "| value | written as |");
        for (name, word) in VALUES {
            assert!(self.named.iter().any(|n| n == name), "{name} is no key's");
            let told = plain(self.definition(name));
            self.line(&format!("| {word} | {told} |"));
        }
    }
}

fn reference(value: &Value) -> Option<&str> {
    let choices = [&value["anyOf"], &value["oneOf"]];
    let inner = choices.into_iter().filter_map(Value::as_array).flatten();
    let own = std::iter::once(value).chain(inner);
    own.filter_map(|one| one["$ref"].as_str())
        .find_map(|path| path.strip_prefix("#/$defs/"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Returns a description as a cell of a table: a single line without Rust's
/// examples.
fn plain(value: &Value) -> String {
    let told = value["description"].as_str().unwrap_or_default();
    let told = told.split("```").next().unwrap_or_default();
    let words: Vec<&str> = told.split_whitespace().collect();
    let line = words.join(" ");
    line.replace('\\', r"\\").replace('|', r"\|")
}

fn page() -> (String, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec.md");
    (path.to_owned(), std::fs::read_to_string(path).unwrap())
}

#[test]
fn page_has_examples_that_the_parser_takes() {
    let (_, page) = page();
    let blocks: Vec<&str> = page.split("```json\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let json = block.split("```").next().unwrap();
        let spec = tare::Spec::from_json(json);
        assert!(spec.is_ok(), "{json}: {spec:?}");
    }
}

#[test]
fn page_tells_of_each_key_of_the_spec() {
    let schema = include_str!("../../../docs/schema/spec.json");
    let (path, page) = page();
    let (head, rest) = page.split_once(MARKS[0]).unwrap();
    let (kept, tail) = rest.split_once(MARKS[1]).unwrap();
    let tables = Page::new(serde_json::from_str(schema).unwrap()).write();
    let wanted = format!("{}\n", tables.trim());
    if std::env::var_os("TARE_BLESS").is_some() {
        let page = [head, MARKS[0], &wanted, MARKS[1], tail].concat();
        return std::fs::write(path, page).unwrap();
    }
    assert!(
        kept == wanted,
        "try: TARE_BLESS=1 cargo test -p tare-cli page"
    );
}
