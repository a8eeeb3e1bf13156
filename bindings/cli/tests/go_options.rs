// SPDX-License-Identifier: MIT OR Apache-2.0
//! Options of Go, `option_keys.go`, for the keys of `docs/schema/spec.json`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Names that are not the key's own in camel case: words of Go, and singulars
/// for options that give an entry.
const NAMES: [(&str, &str); 6] = [
    ("cpu_weight", "CPUWeight"),
    ("cpus", "CPUs"),
    ("io", "IO"),
    ("labels", "Label"),
    ("mounts", "Mount"),
    ("sysctls", "Sysctl"),
];
/// Tables whose keys have options.
const TABLES: [&str; 2] = ["limits", "security"];
const WIDTH: usize = 80;

struct Options {
    definitions: Map<String, Value>,
    text: String,
    /// Keys whose values are put together key by key, dotted.
    tables: Vec<String>,
    /// Keys whose values are added to those before.
    lists: Vec<String>,
}

impl Options {
    fn new(schema: &Value) -> Self {
        Self {
            definitions: schema["$defs"].as_object().unwrap().clone(),
            text: String::new(),
            tables: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Follows a reference, also one beside null.
    fn whole<'a>(&'a self, value: &'a Value) -> &'a Value {
        let choices = value["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
        let reference = |one: &'a Value| one["$ref"].as_str();
        let found = reference(value).or_else(|| match choices {
            [one, null] if null["type"] == "null" => reference(one),
            _ => None,
        });
        match found.and_then(|path| path.strip_prefix("#/$defs/")) {
            Some(name) => &self.definitions[name],
            None => value,
        }
    }

    /// Returns whether a value may be of the type.
    fn is(&self, value: &Value, kind: &str) -> bool {
        let value = self.whole(value);
        let own = match &value["type"] {
            Value::Array(kinds) => kinds.iter().any(|one| one == kind),
            one => one == kind,
        };
        // Words have no type of their own.
        let word = kind == "string" && (value["const"].is_string() || value["enum"].is_array());
        let choices = [&value["anyOf"], &value["oneOf"]];
        let mut choices = choices.into_iter().filter_map(Value::as_array).flatten();
        own || word || choices.any(|one| self.is(one, kind))
    }

    fn keys(&mut self, table: &str, keys: &Map<String, Value>) {
        for (key, value) in keys {
            let path = match table {
                "" => key.clone(),
                table => format!("{table}.{key}"),
            };
            let is_table = self.is(value, "object") && !self.is(value, "string");
            if is_table {
                self.tables.push(path.clone());
            }
            if table.is_empty() && self.is(value, "array") {
                self.lists.push(path.clone());
            }
            if is_table && TABLES.contains(&key.as_str()) {
                let inner = self.whole(value)["properties"].as_object().unwrap().clone();
                self.keys(key, &inner);
            } else if key != "image" && self.whole(value)["properties"].is_null() {
                self.option(table, key, &path, value);
            }
        }
    }

    fn option(&mut self, table: &str, key: &str, path: &str, value: &Value) {
        let name = name(key);
        let (parameter, given, what) = if self.is(value, "array") {
            let verb = if table.is_empty() { "adds to" } else { "sets" };
            let given = "append([]string{}, values...)";
            ("values ...string", given, format!("{verb} {path}"))
        } else if self.is(value, "object") && !self.is(value, "string") {
            let entry = "map[string]string{name: value}";
            (
                "name, value string",
                entry,
                format!("sets an entry of {path}"),
            )
        } else if self.is(value, "number") {
            ("n float64", "n", format!("sets {path}"))
        } else if self.is(value, "integer") && self.is(value, "string") {
            ("bytes int64", "bytes", format!("sets {path}, in bytes"))
        } else if self.is(value, "integer") {
            ("n int64", "n", format!("sets {path}"))
        } else if self.is(value, "boolean") {
            ("on bool", "on", format!("sets {path}"))
        } else {
            assert!(self.is(value, "string"), "{path}: {value}");
            ("value string", "value", format!("sets {path}"))
        };
        let also = match self.is(value, "object") && self.is(value, "string") {
            true => " Spec gives a table.",
            false => "",
        };
        self.comment(&format!("{name} {what}. {}{also}", told(value)));
        let body = match table {
            "" => format!("Spec({key:?}, {given})"),
            table => format!("Spec({table:?}, map[string]any{{{key:?}: {given}}})"),
        };
        // gofmt breaks a long function on one line.
        writeln!(
            self.text,
            "func {name}({parameter}) Option {{\n\treturn {body}\n}}"
        )
        .unwrap();
    }

    fn comment(&mut self, words: &str) {
        let mut line = String::from("\n//");
        for word in words.split_whitespace() {
            if line.trim_start().len() + 1 + word.len() > WIDTH {
                writeln!(self.text, "{line}").unwrap();
                line = String::from("//");
            }
            line.extend([" ", word]);
        }
        writeln!(self.text, "{line}").unwrap();
    }

    fn list(&mut self, about: &str, name: &str, keys: &[String]) {
        self.comment(about);
        let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        writeln!(self.text, "var {name} = []string{{{}}}", keys.join(", ")).unwrap();
    }
}

/// A key's description on one line.
fn told(value: &Value) -> String {
    let told = value["description"].as_str().unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    words.join(" ")
}

fn name(key: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(own, _)| *own == key) {
        return (*name).to_owned();
    }
    let words = key.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}

fn generated() -> String {
    let schema = include_str!("../../../docs/schema/spec.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut options = Options::new(&schema);
    let keys = schema["properties"].as_object().unwrap().clone();
    options.keys("", &keys);
    let (tables, lists) = (
        std::mem::take(&mut options.tables),
        std::mem::take(&mut options.lists),
    );
    let about = "tables are the keys whose values are put together key by key.";
    options.list(about, "tables", &tables);
    let about = "lists are the keys whose values are added to those before.";
    options.list(about, "lists", &lists);
    let head = "// SPDX-License-Identifier: MIT OR Apache-2.0\n\n\
                // Code generated from docs/schema/spec.json by `make schema`. DO NOT EDIT.\n\n\
                //go:build cgo\n\npackage tare\n";
    [head, &options.text].concat()
}

#[test]
fn go_has_an_option_for_each_key_of_the_spec() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../go/option_keys.go");
    let now = generated();
    if std::env::var_os("TARE_BLESS").is_some() {
        return std::fs::write(path, now).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == now, "{path} is old; try: make schema");
}
