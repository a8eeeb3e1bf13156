// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines that the client gets: answers, refusals, events.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Serialize;

use super::bytes::{Data, Shown};
use super::input::{HELD, LINE};
use super::message::{Call, Id};
use crate::failure::Failure;

/// What came of a request.
#[derive(Serialize)]
pub(super) struct Answer<'a, T: Serialize> {
    pub(super) id: &'a Id,
    pub(super) result: T,
}

/// Why nothing came of it.
#[derive(Serialize)]
pub(super) struct Refusal<'a> {
    pub(super) id: Option<&'a Id>,
    pub(super) error: Failure<'a>,
}

/// Something that happened before the answer.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    pub(super) id: &'a Id,
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) oom_kills: Option<u64>,
}

/// The answer to `commands`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Commands<'a> {
    /// Those that run, in the order of their start.
    pub(super) commands: Vec<OneCommand<'a>>,
}

/// A command that runs.
#[derive(Serialize, JsonSchema)]
pub(super) struct OneCommand<'a> {
    /// The id of the `run` request.
    pub(super) command: &'a Id,
    /// Program and arguments.
    pub(super) argv: Vec<Data>,
    /// Nanoseconds since its start.
    pub(super) wall_ns: u64,
}

/// The answer to `hello`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Greeting {
    /// The version of tare, semver.org.
    version: &'static str,
    /// The version of the protocol.
    protocol: u32,
    /// For which processors it was built.
    architecture: &'static str,
    /// What was built in.
    features: &'static [&'static str],
    /// What can be asked for.
    methods: &'static [&'static str],
    /// What bounds the client.
    limits: Bounds,
}

/// What bounds the client.
#[derive(Serialize, JsonSchema)]
struct Bounds {
    /// Bytes of the longest request.
    line: usize,
    /// Bytes that requests without an answer may hold together.
    held: usize,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Self {
            version: tare::VERSION,
            protocol: super::PROTOCOL,
            architecture: std::env::consts::ARCH,
            features: tare::FEATURES,
            methods: Call::METHODS,
            limits: Bounds {
                line: LINE,
                held: HELD,
            },
        }
    }
}
