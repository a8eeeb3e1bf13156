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
    /// Where.
    pub(crate) sandbox: String,
    /// Program and arguments. Default: the image's own command.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) argv: Option<Vec<Data>>,
    /// Variables over the sandbox's environment. Default: none.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Data>,
    /// Working directory inside, absolute, which must be there. Default: the
    /// sandbox's.
    #[serde(default)]
    pub(crate) cwd: Option<Data>,
    /// `USER[:GROUP]`, by name or number. Default: the sandbox's.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// All of its input; not together with `stdin`. Default: none.
    #[serde(default)]
    pub(crate) input: Option<Data>,
    /// Whether input will come by `stdin` requests. Default: `null`, `/dev/null`.
    #[serde(default)]
    pub(crate) stdin: Stream,
    /// Whether its standard output comes as events. Default: `pipe`.
    #[serde(default = "Stream::pipe")]
    pub(crate) stdout: Stream,
    /// Whether its standard error comes as events, or goes where its standard output goes. Default: `pipe`.
    #[serde(default)]
    pub(crate) stderr: Stderr,
    /// How output is written: `auto` (text where it is UTF-8) or `base64`. Default: `auto`.
    #[serde(default)]
    pub(crate) encoding: Encoding,
    /// After this time it is killed with everything that it started. Default: never.
    #[serde(default)]
    pub(crate) timeout: Option<Seconds>,
    /// Bytes of output, both streams together, after which it is killed. Default: `limits.output`.
    #[serde(default)]
    pub(crate) output_limit: Option<ByteSize>,
    /// Gives it a terminal of this size, whose output are the `stdout` events. Default: none.
    #[serde(default)]
    pub(crate) tty: Option<Terminal>,
    /// Resource limits in the place of the sandbox's of the same name; not
    /// `locks`. Default: none.
    #[serde(default)]
    pub(crate) rlimits: BTreeMap<String, Rlimit>,
    /// Capabilities added to what `cap_drop` leaves, or `ALL`. The sandbox has
    /// each. Default: none.
    #[serde(default)]
    pub(crate) cap_add: Vec<String>,
    /// Capabilities taken from the sandbox's, or `ALL`. Default: none.
    #[serde(default)]
    pub(crate) cap_drop: Vec<String>,
    /// File mode creation mask. Default: `022`.
    #[serde(default)]
    pub(crate) umask: Option<Mode>,
}

/// What is at the other end of a standard stream.
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

/// What is at the other end of standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stderr {
    /// `/dev/null`.
    Null,
    /// The client.
    #[default]
    Pipe,
    /// The same as of standard output.
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
    /// The id of the `run` request.
    pub(crate) command: Id,
    /// What to send. Default: nothing.
    #[serde(default)]
    pub(crate) data: Data,
    /// Whether that is the end; with a terminal, Ctrl-D is sent. Default: false.
    #[serde(default)]
    pub(crate) eof: bool,
}

/// Parameters of `signal`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    /// The id of the `run` request.
    pub(crate) command: Id,
    /// Its number, or its name as `TERM` or `SIGTERM`.
    pub(crate) signal: SignalNumber,
}

/// Parameters of `kill`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    /// The id of the `run` request.
    pub(crate) command: Id,
}

/// Parameters of `cancel`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// The id of the other request.
    pub(crate) request: Id,
}

/// Parameters of `resize`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resize {
    /// The id of the `run` request.
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
