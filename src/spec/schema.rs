// SPDX-License-Identifier: MIT OR Apache-2.0
//! JSON Schemas of the keys with more than one notation; the others' are
//! derived.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    ByteSize, Device, DeviceRule, ExtraHost, Mount, MountKind, RLIMITS, Rlimit, Seccomp, Tmpfs,
    best_effort,
};

/// Gives a type a name and a schema.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(ByteSize, "ByteSize", {
    "description": "Bytes: a number, or one with a unit behind it, powers of 1024: \"256m\", \"1.5g\", \"512KiB\".",
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {
            "type": "string",
            "pattern": "^\\s*([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\\s*$",
        },
    ],
});

schema!(Rlimit, "Rlimit", {
    "description": "A number, \"SOFT:HARD\" or \"unlimited\".",
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {
            "type": "string",
            "pattern": "^(unlimited|-1|[0-9]+)(:(unlimited|-1|[0-9]+))?$",
        },
    ],
});

/// A mount with a directory's options.
fn of_directory() -> MountKind {
    MountKind::Bind("/".into())
}

/// A mount with a tmpfs's options.
fn of_memory() -> MountKind {
    MountKind::Tmpfs(Tmpfs::default())
}

/// The pattern of `SOURCE:TARGET[:options]`.
fn mount_pattern() -> String {
    let options = of_directory().patterns().join("|");
    let path = r"([^:\\]|\\.)+";
    format!("^{path}:/{path}(:(({options})(,({options}))*)?)?$")
}

/// The schema of both tables of a mount.
const TARGET: &str = "Absolute path inside; a missing one is made.";

schema!(Mount, "Mount", {
    "description": "\"SOURCE:TARGET[:options]\", or a table. A colon or backslash in a path of the \
        text is written \\: or \\\\.",
    "anyOf": [
        {
            "type": "string",
            "pattern": mount_pattern(),
        },
        {
            "type": "object",
            "properties": {
                "type": {
                    "enum": ["bind", "cow"],
                    "description": "`bind` shows the source itself, `cow` a copy-on-write view of a directory.",
                },
                "source": {
                    "type": "string",
                    "minLength": 1,
                    "description": "File or directory of the host, with what is mounted below it.",
                },
                "target": {"type": "string", "pattern": "^/.", "description": TARGET},
                "options": {
                    "type": "array",
                    "items": {"enum": of_directory().patterns()},
                    "description": "Restrictions; `cow` is the same as the type. Default: empty.",
                },
            },
            "required": ["type", "source", "target"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": {
                "type": {"const": "tmpfs", "description": "An empty file system in memory."},
                "target": {"type": "string", "pattern": "^/.", "description": TARGET},
                "options": {
                    "type": "array",
                    "items": {"type": "string", "pattern": format!("^({})$", of_memory().patterns().join("|"))},
                    "description": format!("`{}`. Default: half of memory, mode 1777.", of_memory().options().join("`, `")),
                },
            },
            "required": ["type", "target"],
            "additionalProperties": false,
        },
    ],
});

schema!(Device, "Device", {
    "description": "/dev/NAME[:/dev/NAME[:rwm]]: source, target, and what is allowed of reading, writing, mknod.",
    "type": "string",
    "pattern": "^/[^:]*(:/dev/[^:]*(:[rwm]+)?)?$",
});

schema!(DeviceRule, "DeviceRule", {
    "description": "TYPE MAJOR:MINOR ACCESS, such as \"c 10:200 rwm\" or \"b 8:* r\"; \"a\" is everything.",
    "type": "string",
    "pattern": "^\\s*(a|[abc]\\s+([0-9]+|\\*):([0-9]+|\\*)\\s+[rwm]+)\\s*$",
});

schema!(ExtraHost, "ExtraHost", {
    "description": "NAME:ADDRESS or NAME=ADDRESS, of IPv4 or IPv6.",
    "type": "string",
    "pattern": "^[!\"$-<>-~]+[:=]\\[?[0-9a-fA-F.:]+\\]?$",
});

schema!(Seccomp, "Seccomp", {
    "description": "\"default\" (Docker's), \"off\", or a profile in Docker's JSON form.",
    "anyOf": [{"enum": ["default", "off"]}, {"type": "object"}],
});

/// An entry of `best_effort`.
pub(super) struct BestEffortKey;

schema!(BestEffortKey, "BestEffortKey", {
    "description": "A key that depends on the machine, dotted: \"limits.io\"; or a table that holds some: \"limits\".",
    "enum": best_effort_keys(),
});

/// Lists the names for `best_effort`: tables, and keys of theirs.
fn best_effort_keys() -> Vec<&'static str> {
    ["limits", "security"]
        .into_iter()
        .chain(best_effort::KEYS)
        .collect()
}

/// `limits.cpus`: a number, or a text with a number.
pub(super) struct Cpus;

schema!(Cpus, "Cpus", {
    "anyOf": [
        {"type": "number", "minimum": 0.01, "maximum": 4096},
        {"type": "string", "pattern": "^[0-9]*\\.?[0-9]+$"},
        {"type": "null"},
    ],
});

/// The keys that `limits.rlimits` may have.
pub(super) fn rlimit_names() -> serde_json::Value {
    let names: Vec<&str> = RLIMITS.iter().map(|(name, _)| *name).collect();
    serde_json::json!({"enum": names})
}
