// SPDX-License-Identifier: MIT OR Apache-2.0
//! JSON Schemas of a spec and of the protocol, from the types of the reader and
//! the writer.
#![forbid(unsafe_code)]

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use tare::{Effective, SandboxUsage, Spec, Status};

use crate::bytes::Data;
use crate::call::Call;
use crate::failure::Failure;
use crate::files::{Content, CopyReport, Entries, FileStat};
use crate::id::Id;
use crate::reply::{Commands, Greeting, Opened};

/// Returns the schema of a spec.
pub fn spec() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Spec>()
        .to_value()
}

/// Returns the schema of a conversation: requests and replies, a line each.
pub fn rpc() -> Value {
    let mut requests = SchemaSettings::draft2020_12().into_generator();
    let id = requests.subschema_for::<Id>().to_value();
    let asked: Vec<Value> = Call::schemas(&mut requests)
        .into_iter()
        .map(|(method, why, params)| request(&id, method, why, params.to_value()))
        .collect();
    let mut definitions = requests.take_definitions(true);
    // Replies have every key; requests may leave keys out.
    let mut replies = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let result = json!({"anyOf": [
        replies.subschema_for::<Status>(),
        replies.subschema_for::<Effective>(),
        replies.subschema_for::<SandboxUsage>(),
        replies.subschema_for::<Greeting>(),
        replies.subschema_for::<Opened>(),
        replies.subschema_for::<Commands<'_>>(),
        replies.subschema_for::<Content<'_>>(),
        replies.subschema_for::<FileStat>(),
        replies.subschema_for::<Entries<'_>>(),
        replies.subschema_for::<CopyReport>(),
        {"description": "Done.", "type": "object", "maxProperties": 0},
    ]});
    let failure = replies.subschema_for::<Failure<'_>>().to_value();
    let data = replies.subschema_for::<Data>().to_value();
    definitions.extend(replies.take_definitions(true));
    let told = [
        line(
            "The one answer to a request.",
            json!({"id": &id, "result": result}),
        ),
        line(
            "The answer to a request that failed; id is null if the line had none that can be told.",
            json!({"id": {"anyOf": [&id, {"type": "null"}]}, "error": failure}),
        ),
        line(
            "A command executes.",
            json!({"id": &id, "event": {"const": "started"}}),
        ),
        line(
            "A sandbox is watched.",
            json!({"id": &id, "event": {"const": "watching"}}),
        ),
        line(
            "The kernel killed processes of a sandbox for want of memory.",
            json!({"id": &id, "event": {"const": "oom"}, "oom_kills": {"type": "integer", "minimum": 1}}),
        ),
        line(
            "A command has written something.",
            json!({"id": &id, "event": {"enum": ["stdout", "stderr"]}, "data": data}),
        ),
    ];
    definitions.insert("Request".into(), json!({"oneOf": asked}));
    definitions.insert("Reply".into(), json!({"oneOf": told}));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tare rpc",
        "description": "A line of a conversation with tare rpc, protocol 1.",
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Reply"}],
        "$defs": definitions,
    })
}

fn request(id: &Value, method: &str, why: &str, params: Value) -> Value {
    let mut request = line(
        why,
        json!({"id": id, "method": {"const": method}, "params": params}),
    );
    if method == "hello" {
        // All parameters of `hello` are optional.
        request["required"] = json!(["id", "method"]);
    }
    request
}

/// Returns the schema of an object with exactly these keys.
fn line(why: &str, properties: Value) -> Value {
    let keys: Vec<&String> = properties
        .as_object()
        .map_or(Vec::new(), |p: &Map<String, Value>| p.keys().collect());
    json!({
        "description": why,
        "type": "object",
        "required": keys,
        "properties": properties,
        "additionalProperties": false,
    })
}
