// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of requests about commands.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tare::Size;
use tare::spec::{ByteSize, Rlimit};

use crate::bytes::{Data, Encoding};
use crate::id::Id;
use crate::value::{Mode, Seconds, SignalNumber};

/// Parameters of `run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// Name of the sandbox.
    pub(crate) sandbox: String,
    /// Program and arguments. Default: the image's own command.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) argv: Option<Vec<Data>>,
    /// Variables over the sandbox's environment. Default: none.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Data>,
    /// Working directory inside, absolute; must exist. Default: the sandbox's.
    #[serde(default)]
    pub(crate) cwd: Option<Data>,
    /// `USER[:GROUP]`, by name or number. Default: the sandbox's.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// The whole input; not together with `stdin`. Default: no input.
    #[serde(default)]
    pub(crate) input: Option<Data>,
    /// `pipe` for input by `stdin` requests. Default: `null`, `/dev/null`.
    #[serde(default)]
    pub(crate) stdin: Stream,
    /// `pipe` for standard output as events. Default: `pipe`.
    #[serde(default = "Stream::pipe")]
    pub(crate) stdout: Stream,
    /// `pipe` for standard error as events, `stdout` to join standard output.
    /// Default: `pipe`.
    #[serde(default)]
    pub(crate) stderr: Stderr,
    /// Encoding of output: `auto` (UTF-8 as text) or `base64`. Default: `auto`.
    #[serde(default)]
    pub(crate) encoding: Encoding,
    /// Time after which the command and all its processes are killed. Default:
    /// never.
    #[serde(default)]
    pub(crate) timeout: Option<Seconds>,
    /// Bytes of output, both streams together, after which the command is
    /// killed. Default: `limits.output`.
    #[serde(default)]
    pub(crate) output_limit: Option<ByteSize>,
    /// Size of the command's own terminal, whose output is the `stdout` events.
    /// Default: no terminal.
    #[serde(default)]
    pub(crate) tty: Option<Terminal>,
    /// Resource limits that replace the sandbox's limits of the same name; not
    /// `locks`. Default: none.
    #[serde(default)]
    pub(crate) rlimits: BTreeMap<String, Rlimit>,
    /// Capabilities to add after `cap_drop`, or `ALL`; the sandbox must have
    /// them. Default: none.
    #[serde(default)]
    pub(crate) cap_add: Vec<String>,
    /// Capabilities to drop, or `ALL`. Default: none.
    #[serde(default)]
    pub(crate) cap_drop: Vec<String>,
    /// File mode creation mask. Default: `022`.
    #[serde(default)]
    pub(crate) umask: Option<Mode>,
}

/// Other end of a standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// `/dev/null`.
    #[default]
    Null,
    /// The client.
    Pipe,
}

impl Stream {
    fn pipe() -> Self {
        Self::Pipe
    }
}

/// Other end of standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stderr {
    /// `/dev/null`.
    Null,
    /// The client.
    #[default]
    Pipe,
    /// The other end of standard output.
    Stdout,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terminal {
    /// Lines.
    rows: u16,
    /// Characters in a line.
    columns: u16,
}

impl From<Terminal> for Size {
    fn from(Terminal { rows, columns }: Terminal) -> Self {
        Self { rows, columns }
    }
}

/// Parameters of `stdin`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Id of the `run` request.
    pub(crate) command: Id,
    /// Bytes to send. Default: none.
    #[serde(default)]
    pub(crate) data: Data,
    /// True to end the input; with a terminal, sends Ctrl-D. Default: false.
    #[serde(default)]
    pub(crate) eof: bool,
}

/// Parameters of `signal`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    /// Id of the `run` request.
    pub(crate) command: Id,
    /// Number, or name as `TERM` or `SIGTERM`.
    pub(crate) signal: SignalNumber,
}

/// Parameters of `kill`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    /// Id of the `run` request.
    pub(crate) command: Id,
}

/// Parameters of `cancel`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Id of the other request.
    pub(crate) request: Id,
}

/// Parameters of `resize`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resize {
    /// Id of the `run` request.
    pub(crate) command: Id,
    /// Lines.
    rows: u16,
    /// Characters in a line.
    columns: u16,
}

impl Resize {
    pub(crate) fn size(&self) -> Size {
        Size {
            rows: self.rows,
            columns: self.columns,
        }
    }
}
