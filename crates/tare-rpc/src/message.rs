// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client may ask: the requests, as they are read and as the schema shows them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use tare::spec::{ByteSize, Limits, Rlimit, from_json, nearest};
use tare::{Error, Kind, PoolSize, Result, Size, Spec};

use crate::bytes::{Data, Encoding};
use crate::files::{Get, GetTar, ListDir, Mkdir, Put, PutTar, ReadFile, Remove, Stat, WriteFile};
use crate::value::{Mode, Seconds, SignalNumber};

/// A request's name, which its answer and its events bear: a number or a text that no other request
/// without an answer has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(untagged, expecting = "a number from 0 up, or a text")]
pub(crate) enum Id {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// The frame of every request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    id: Id,
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A request, read and checked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) call: Call,
}

/// A line that is no request; with its id, if that could be read.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<Id>,
    pub(crate) error: Error,
}

/// Ties every method's name to its parameters, once for the reader and the schema.
macro_rules! methods {
    ($($name:literal $variant:ident $why:literal,)*) => {
        /// What is asked for.
        #[derive(Debug)]
        pub(crate) enum Call {
            $(#[doc = $why] $variant($variant),)*
        }

        impl Call {
            /// Every method.
            pub(crate) const METHODS: &[&str] = &[$($name),*];

            fn read(method: &str, params: &str) -> Result<Self> {
                match method {
                    $($name => from_json(concat!("parse ", $name, " request"), params).map(Self::$variant),)*
                    _ => Err(unknown(method)),
                }
            }

            /// Name, description and the schema of the parameters of every method.
            pub(crate) fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, &'static str, schemars::Schema)> {
                vec![$(($name, $why, generator.subschema_for::<$variant>())),*]
            }
        }
    };
}

methods! {
    "hello" Hello "Tells version, methods and bounds.",
    "open" Open "Opens a sandbox.",
    "open_pool" OpenPool "Has sandboxes made ahead, for `open` to take.",
    "close_pool" ClosePool "Ends a pool's waiting sandboxes; answered when nothing of them is left.",
    "run" Run "Runs a command: events as it goes, the answer when it has ended.",
    "stdin" Input "Sends input to a command; answered when the command's pipe has taken it.",
    "signal" Signal "Sends a signal to a command itself.",
    "kill" Kill "Kills a command and everything that it started.",
    "resize" Resize "Tells a command's terminal another size.",
    "commands" List "Lists the commands that run in a sandbox.",
    "cancel" Cancel "Ends the wait for another request's answer, which is an error with ECANCELED then.",
    "reset" Reset "Ends everything in a sandbox and starts again from the image.",
    "freeze" Freeze "Stops everything in a sandbox.",
    "thaw" Thaw "Lets everything in a sandbox go on.",
    "usage" Measure "Says what all in a sandbox use, and have used.",
    "watch" WatchSandbox "Tells what happens to a sandbox, until it is gone.",
    "set_limits" SetLimits "Changes limits of a sandbox while commands run.",
    "effective" Inspect "Says what is really in force in a sandbox.",
    "read_file" ReadFile "Reads a regular file inside.",
    "write_file" WriteFile "Makes or empties a regular file inside and writes to it.",
    "list_dir" ListDir "Lists a directory inside.",
    "stat" Stat "Says what is known of a file inside.",
    "mkdir" Mkdir "Makes a directory inside.",
    "remove" Remove "Removes a file or directory inside.",
    "put" Put "Copies a file or directory of the host to the inside.",
    "get" Get "Copies a file or directory from inside to the host.",
    "put_tar" PutTar "Makes inside what a tar archive of the host holds.",
    "get_tar" GetTar "Makes a tar archive on the host of what is inside.",
    "close" Close "Ends a sandbox; answered when nothing of it is left.",
}

/// Parameters of `hello`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(crate) struct Hello {
    /// The version of the protocol that the client speaks. Default: not checked.
    pub(crate) protocol: Option<u32>,
}

/// Parameters of `open`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    /// The name that it is to have here; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) sandbox: String,
    /// What to make. Default: every key's own.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// The pool to take it from; not together with `spec`. Default: none, it is made now.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

/// Parameters of `open_pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenPool {
    /// The name that it is to have here; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) pool: String,
    /// What to make. Default: every key's own.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// So many wait even if none is taken. Default: 2.
    #[serde(default = "OpenPool::min")]
    pub(crate) min: usize,
    /// No more than so many wait, whatever the demand. Default: 16.
    #[serde(default = "OpenPool::max")]
    pub(crate) max: usize,
}

impl OpenPool {
    fn min() -> usize {
        PoolSize::default().min
    }

    fn max() -> usize {
        PoolSize::default().max
    }
}

/// Parameters of `close_pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosePool {
    /// Which.
    pub(crate) pool: String,
}

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

/// Declares parameters that only name a sandbox.
macro_rules! of_a_sandbox {
    ($($name:ident $why:literal,)*) => {$(
        #[doc = $why]
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Which.
            pub(crate) sandbox: String,
        }
    )*};
}

of_a_sandbox! {
    List "Parameters of `commands`.",
    Reset "Parameters of `reset`.",
    Freeze "Parameters of `freeze`.",
    Thaw "Parameters of `thaw`.",
    Measure "Parameters of `usage`.",
    WatchSandbox "Parameters of `watch`.",
    Inspect "Parameters of `effective`.",
    Close "Parameters of `close`.",
}

/// Parameters of `set_limits`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetLimits {
    /// Which.
    pub(crate) sandbox: String,
    /// Those to change: `memory`, `swap`, `cpus`, `cpu_weight`, `cpuset`, `pids`, `io`.
    pub(crate) limits: Limits,
}

impl Request {
    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Refused> {
        let refused = |id, error| Refused { id, error };
        let text = std::str::from_utf8(line).map_err(|e| {
            let error = Error::new(Kind::Invalid, "parse request", e);
            refused(None, error)
        })?;
        let frame: Frame<'_> =
            from_json("parse request", text).map_err(|error| refused(id_of(text), error))?;
        let params = frame.params.map_or("{}", RawValue::get);
        match Call::read(&frame.method, params) {
            Ok(call) => Ok(Self { id: frame.id, call }),
            Err(error) => Err(refused(Some(frame.id), error)),
        }
    }
}

/// The id of a request that is wrong otherwise.
fn id_of(text: &str) -> Option<Id> {
    let mut line: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::from_value(line.get_mut("id")?.take()).ok()
}

fn unknown(method: &str) -> Error {
    let why = format_args!("{method:?} is no method");
    let error = Error::new(Kind::Invalid, "parse request: method", why);
    match nearest(method, Call::METHODS.iter().copied()) {
        Some(name) => error.with_cure(format!("{name:?}")),
        None => error,
    }
}

/// A duration as the time limit of a command.
impl From<Seconds> for Duration {
    fn from(Seconds(duration): Seconds) -> Self {
        duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_wrong_lines_are_refused_by_name() {
        // Line, the id that the refusal bears, what it says.
        let rows = [
            ("", None, "EOF"),
            ("{", None, "EOF"),
            ("[]", None, "expected an object"),
            (r#"[1,"hello",null]"#, None, "expected an object"),
            (
                r#"{"id":1,"method":"stat","params":["a","/",true]}"#,
                Some(1),
                "expected an object",
            ),
            (r#"{"id":1}"#, Some(1), "missing field `method`"),
            (r#"{"method":"hello"}"#, None, "missing field `id`"),
            (r#"{"id":-1,"method":"hello"}"#, None, "a number from 0 up"),
            (r#"{"id":1,"method":"opne"}"#, Some(1), r#"try: "open""#),
            (
                r#"{"id":1,"method":"hello","param":{}}"#,
                Some(1),
                r#"try: "params""#,
            ),
            (r#"{"id":1,"method":"hello"} 1"#, None, "trailing"),
            (
                r#"{"id":1,"method":"hello","id":2}"#,
                Some(2),
                "duplicate field",
            ),
            (
                r#"{"id":1,"method":"run"}"#,
                Some(1),
                "missing field `sandbox`",
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","comand":"x"}}"#,
                Some(1),
                "parse run request",
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","time_out":1}}"#,
                Some(1),
                r#"try: "timeout""#,
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","timeout":-1}}"#,
                Some(1),
                "parse run request: timeout",
            ),
            (
                r#"{"id":1,"method":"signal","params":{"command":2,"signal":"TREM"}}"#,
                Some(1),
                "parse signal request: signal",
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","argv":["a",{"base64":"!"}]}}"#,
                Some(1),
                "parse run request: argv[1]",
            ),
        ];
        for (line, id, part) in rows {
            let refused = Request::read(line.as_bytes()).expect_err(line);
            assert_eq!(refused.id, id.map(Id::Number), "{line}");
            let said = refused.error.to_string();
            assert!(said.contains(part), "{line}: {said:?} lacks {part:?}");
            assert_eq!(refused.error.kind(), Kind::Invalid, "{line}");
        }
        assert!(Request::read(b"\xff").is_err());
    }
}
