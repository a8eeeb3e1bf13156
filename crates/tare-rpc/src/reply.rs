// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replies to the client: answers, errors, events.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Serialize;
use tare::spec::LeftOut;

use crate::bytes::{Data, Shown};
use crate::call::Call;
use crate::failure::Failure;
use crate::id::Id;
use crate::input::{HELD, LINE};

/// Answer to a request.
#[derive(Serialize)]
pub(crate) struct Answer<'a, T: Serialize> {
    pub(crate) id: &'a Id,
    pub(crate) result: T,
}

/// Error of a request.
#[derive(Serialize)]
pub(crate) struct Refusal<'a> {
    pub(crate) id: Option<&'a Id>,
    pub(crate) error: Failure<'a>,
}

/// An event before the answer.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a Id,
    pub(crate) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_kills: Option<u64>,
}

/// Answer to `open` and `reset` if keys were left out.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Opened {
    /// Keys of the spec that are not in force, because `best_effort` names them
    /// and this machine cannot enforce them.
    pub(crate) left_out: Vec<LeftOut>,
}

/// Answer to `commands`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Commands<'a> {
    /// Running commands, in the order of their start.
    pub(crate) commands: Vec<OneCommand<'a>>,
}

/// A running command.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OneCommand<'a> {
    /// Id of the `run` request.
    pub(crate) command: &'a Id,
    /// Program and arguments.
    pub(crate) argv: Vec<Data>,
    /// Nanoseconds since the start.
    pub(crate) wall_ns: u64,
}

/// Answer to `hello`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Greeting {
    /// Version of tare, semver.org.
    version: &'static str,
    /// Version of the protocol.
    protocol: u32,
    /// Processor architecture of the build.
    architecture: &'static str,
    /// Features of the build.
    features: &'static [&'static str],
    /// Names of all methods.
    methods: &'static [&'static str],
    /// Bounds for the client.
    limits: Bounds,
}

/// Bounds for the client.
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
