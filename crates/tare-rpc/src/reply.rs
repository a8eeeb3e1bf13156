// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines that the client gets: answers, refusals, events.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Serialize;

use crate::bytes::{Data, Shown};
use crate::call::Call;
use crate::failure::Failure;
use crate::id::Id;
use crate::input::{HELD, LINE};

/// What came of a request.
#[derive(Serialize)]
pub(crate) struct Answer<'a, T: Serialize> {
    pub(crate) id: &'a Id,
    pub(crate) result: T,
}

/// Why nothing came of it.
#[derive(Serialize)]
pub(crate) struct Refusal<'a> {
    pub(crate) id: Option<&'a Id>,
    pub(crate) error: Failure<'a>,
}

/// Something that happened before the answer.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a Id,
    pub(crate) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_kills: Option<u64>,
}

/// The answer to `commands`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Commands<'a> {
    /// Those that run, in the order of their start.
    pub(crate) commands: Vec<OneCommand<'a>>,
}

/// A command that runs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OneCommand<'a> {
    /// The id of the `run` request.
    pub(crate) command: &'a Id,
    /// Program and arguments.
    pub(crate) argv: Vec<Data>,
    /// Nanoseconds since its start.
    pub(crate) wall_ns: u64,
}

/// The answer to `hello`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Greeting {
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
    pub(crate) fn new() -> Self {
        Self {
            version: tare::VERSION,
            protocol: crate::PROTOCOL,
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
