// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of `tare run` that are on or off, in the notation of docker-run(1):
//! `--rm`, `--rm=true`, `--rm=false`.
#![forbid(unsafe_code)]

use clap::{ArgAction, Args};

use crate::value;

macro_rules! switches {
    ($($(#[$attribute:meta])* $name:ident)*) => {
        /// Flags that are off by default.
        #[derive(Debug, Args)]
        pub(super) struct Switches {$(
            $(#[$attribute])*
            #[arg(
                long,
                action = ArgAction::Set,
                num_args = 0..=1,
                require_equals = true,
                default_value = "false",
                default_missing_value = "true",
                hide_default_value = true,
                value_name = "BOOL",
                value_parser = value::boolean
            )]
            pub(super) $name: bool,
        )*}
    };
}

switches! {
    /// Pass standard input on; without it the command's input is empty
    #[arg(short)]
    interactive
    /// Give the command a terminal
    #[arg(short)]
    tty
    /// Make the root read-only; as --write none
    #[arg(help_heading = "Storage", conflicts_with = "write")]
    read_only
    /// Restrict only by namespaces: every capability and device, no filter, no
    /// mask
    #[arg(help_heading = "Security")]
    privileged
    /// Show no progress of an import
    #[arg(short)]
    quiet
    /// Accepted and always on: the sandbox is gone when the command ends
    rm
    /// Accepted and always on: process 1 forwards signals and reaps
    init
    /// With the image `host`: begin in `/` without the caller's PATH, LANG and
    /// LC_*
    clean_env
    /// Print the result as a JSON object: status, output and usage of the
    /// command
    json
}
