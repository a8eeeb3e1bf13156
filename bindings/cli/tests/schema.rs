// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare schema`: equal to `docs/schema/`, agrees with the parser, and holds
//! for a conversation.

mod common;

use common::rpc::{Row, Rpc};
use common::{Tare, rows};
use jsonschema::Validator;
use serde_json::{Value, json};
use tare_oracle::need;

fn printed(subject: &str) -> String {
    let said = Tare::new().run(&["schema", subject]);
    said.ok();
    said.stdout
}

fn validator(subject: &str) -> Validator {
    let schema: Value = serde_json::from_str(&printed(subject)).unwrap();
    jsonschema::draft202012::meta::validate(&schema).expect("a schema");
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Returns the validator's errors.
fn wrong(validator: &Validator, value: &Value) -> Vec<String> {
    let errors = validator.iter_errors(value);
    errors
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect()
}

#[test]
fn schema_in_the_docs_is_what_is_printed() {
    for subject in ["spec", "rpc"] {
        let path = format!(
            "{}/../../docs/schema/{subject}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == printed(subject), "try: make schema");
    }
}

#[test]
fn schema_and_parser_agree_on_specs() {
    let rows = include_str!("../../../tests/data/specs.json");
    let rows: Value = serde_json::from_str(rows).unwrap();
    let validator = validator("spec");
    for row in rows["right"].as_array().unwrap() {
        assert_eq!(wrong(&validator, row), [""; 0], "{row}");
        // The full form, with every default, is right as well.
        let full = tare::Spec::from_json(&row.to_string()).unwrap().to_json();
        let full: Value = serde_json::from_str(&full).unwrap();
        assert_eq!(wrong(&validator, &full), [""; 0], "{full}");
    }
    for row in rows["wrong"].as_array().unwrap() {
        if let Ok(spec) = serde_json::from_str::<Value>(row["text"].as_str().unwrap()) {
            let beyond = row.get("beyond_schema").is_some();
            assert_eq!(validator.is_valid(&spec), beyond, "{row}");
        }
    }
}

#[test]
fn schema_of_requests_judges_as_the_parser() {
    let validator = validator("rpc");
    let table = include_str!("rpc/requests.txt").replace("SLEEPING", "1");
    for row in rows(&table).map(Row::new).filter(|row| row.method != "sh") {
        let params = row.params();
        let request = json!({"id": 1, "method": row.method, "params": params});
        let is_taken = row.answer.starts_with('{');
        let is_misread = row.in_schema && row.answer.starts_with("invalid; parse ");
        if is_taken || is_misread {
            assert_eq!(validator.is_valid(&request), is_taken, "{request}");
        }
    }
    assert!(validator.is_valid(&json!({"id": "a", "method": "hello"})));
    for refused in [
        json!({"id": 1}),
        json!({"id": 1, "method": "opne"}),
        json!({"method": "hello"}),
        json!({"id": 1.5, "method": "hello"}),
        json!({"id": 1, "method": "hello", "more": 1}),
    ] {
        assert!(!validator.is_valid(&refused), "{refused}");
    }
}

#[test]
fn schema_of_replies_is_true() {
    need!(root, overlay);
    let validator = validator("rpc");
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    rpc.send("hello", json!({}));
    rpc.send("open", json!({"sandbox": "a"}));
    rpc.send("effective", json!({"sandbox": "a"}));
    rpc.send("run", json!({"sandbox": "a", "argv": ["printf", "a\\377"]}));
    rpc.send(
        "run",
        json!({"sandbox": "a", "argv": ["sh", "-c", "echo x >&2; kill -9 $$"]}),
    );
    rpc.send("run", json!({"sandbox": "a", "argv": ["none"]}));
    rpc.line("x");
    let mut answers = 0;
    while answers < 7 {
        let line = rpc.next();
        assert_eq!(wrong(&validator, &line), [""; 0], "{line}");
        answers += usize::from(line.get("event").is_none());
    }
}
