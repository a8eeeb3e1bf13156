// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of a client: methods and their parameters.
#![forbid(unsafe_code)]

use tare::spec::{from_json, nearest};
use tare::{Error, Kind, Result};

use crate::params::command::{Cancel, Input, Kill, Resize, Run, Signal};
use crate::params::files::{
    Get, GetTar, ListDir, Mkdir, Put, PutTar, ReadFile, Remove, Stat, WriteFile,
};
use crate::params::sandbox::{
    Close, ClosePool, Freeze, Hello, Inspect, List, Measure, Open, OpenPool, Reset, SetLimits,
    Thaw, WatchSandbox,
};

/// Ties every method's name to its parameters, for the reader and the schema.
macro_rules! methods {
    ($($name:literal $variant:ident $why:literal,)*) => {
        /// A call with its parameters.
        #[derive(Debug)]
        pub(crate) enum Call {
            $(#[doc = $why] $variant($variant),)*
        }

        impl Call {
            /// Names of all methods.
            pub(crate) const METHODS: &[&str] = &[$($name),*];

            pub(crate) fn read(method: &str, params: &str) -> Result<Self> {
                match method {
                    $($name => from_json(concat!("parse ", $name, " request"), params).map(Self::$variant),)*
                    _ => Err(unknown(method)),
                }
            }

            /// Returns name, description and the schema of the parameters of
            /// every method.
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

fn unknown(method: &str) -> Error {
    let why = format_args!("{method:?} is no method");
    let error = Error::new(Kind::Invalid, "parse request: method", why);
    match nearest(method, Call::METHODS.iter().copied()) {
        Some(name) => error.with_cure(format!("{name:?}")),
        None => error,
    }
}
