// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flags of `tare run`: those of docker-run(1) where it has one.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tare::spec::{ByteSize, Device, Network, Require, Rlimit, Storage, Write};

use super::mounts::Mounts;
use crate::value::{self, SecurityOption};

/// What `tare run` was told. Without a flag, the spec decides; without one there, its defaults.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "tare run [OPTIONS] IMAGE [--] [COMMAND [ARG]...]\n       \
                      tare run [OPTIONS] --spec FILE -- [COMMAND [ARG]...]",
    after_help = "Exit status: the command's own; 128 and the signal's number if a signal ended it; \
                  123 if output was over the limit; 124 after the timeout; 125 when tare itself \
                  failed; 126 if the command cannot be executed; 127 if it is not there.\n\nSizes are in bytes, or have k, m, g or t behind \
                  them. Durations are in seconds, or have ms, s, m, h or d behind them."
)]
pub(crate) struct Flags {
    /// `host` (this machine with all that is mounted, copy-on-write),
    /// `dir:PATH`, `oci:PATH[:TAG]`, `archive:FILE` or `NAME[:TAG][@DIGEST]`;
    /// then the command, by default the image's own
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 0.., trailing_var_arg = true)]
    pub(super) words: Vec<OsString>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// Set a variable; without a value, to that of the caller's own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<OsString>,

    #[command(flatten)]
    pub(super) mounts: Mounts,

    /// Working directory inside; a missing one is made in an image, not in
    /// `host`
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<PathBuf>,

    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,

    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,

    /// none (a loopback of its own), host, or the path of a network namespace
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = value::network)]
    pub(super) network: Option<Network>,

    /// Most memory, page cache and tmpfs included
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) memory: Option<ByteSize>,

    /// Most memory and swap together; -1 for any amount of swap
    #[arg(
        long,
        value_name = "SIZE",
        help_heading = "Limits",
        allow_hyphen_values = true
    )]
    pub(super) memory_swap: Option<String>,

    /// Most processor time, in processors: 1.5
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub(super) cpus: Option<f64>,

    /// Processors to run on: 0-2,4
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub(super) cpuset_cpus: Option<String>,

    /// Most processes and threads; -1 for any number
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Limits",
        allow_hyphen_values = true
    )]
    pub(super) pids_limit: Option<i64>,

    /// Share of block input and output, 1 to 10000, 100 being everybody's
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    pub(super) blkio_weight: Option<u16>,

    /// Resource limit, such as nofile=1024:4096
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Limits", value_parser = value::pair::<Rlimit>)]
    pub(super) ulimit: Vec<(String, Rlimit)>,

    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) shm_size: Option<ByteSize>,

    /// Size of the writable layer when it is in memory
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) disk: Option<ByteSize>,

    /// Output kept with --json; a command that writes more is killed
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) output_limit: Option<ByteSize>,

    /// After this time, more than 0, the command and all that it started are
    /// killed
    #[arg(long, value_name = "DURATION", help_heading = "Limits", value_parser = value::timeout)]
    pub(super) timeout: Option<Duration>,

    /// Make the root read-only; the same as --write none
    #[arg(long, help_heading = "Storage", conflicts_with = "write")]
    pub(super) read_only: bool,

    /// Where writes to the root go: memory, disk or none
    #[arg(long, value_name = "WHERE", help_heading = "Storage", value_parser = value::word::<Write>)]
    pub(super) write: Option<Write>,

    /// What makes the copy-on-write root: auto, overlay or copy
    #[arg(long, value_name = "BACKEND", help_heading = "Storage", value_parser = value::word::<Storage>)]
    pub(super) storage: Option<Storage>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    pub(super) cap_add: Vec<String>,

    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    pub(super) cap_drop: Vec<String>,

    /// Restrict nothing but by namespaces: every capability and device, no filter, no mask
    #[arg(long, help_heading = "Security")]
    pub(super) privileged: bool,

    /// Show a device of the host inside
    #[arg(long, value_name = "SOURCE[:TARGET[:rwm]]", help_heading = "Security")]
    pub(super) device: Vec<Device>,

    /// no-new-privileges[:true|:false], seccomp=FILE, seccomp=unconfined or
    /// systempaths=unconfined
    #[arg(long, value_name = "OPTION", help_heading = "Security")]
    pub(super) security_opt: Vec<SecurityOption>,

    /// `all`, or the keys of the spec that may be left out where this machine cannot enforce
    /// them: limits.io,limits.swap
    #[arg(long, value_name = "KEYS", value_parser = value::require)]
    pub(super) require: Option<Require>,

    /// Run this program instead of the image's own entry point
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<OsString>,

    /// Free text, seen in the result's `effective`
    #[arg(short, long, value_name = "NAME[=TEXT]", value_parser = value::label)]
    pub(super) label: Vec<(String, String)>,

    /// Pass standard input on; without it the command's input is empty
    #[arg(short, long)]
    pub(super) interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    pub(super) tty: bool,

    /// Accepted, and always so: the sandbox is gone when the command ends
    #[arg(long)]
    rm: bool,

    /// Accepted, and always so: process 1 forwards signals and reaps
    #[arg(long)]
    init: bool,

    /// Read the spec from a file of JSON, `-` for standard input; flags override it
    #[arg(long, value_name = "FILE")]
    pub(super) spec: Option<PathBuf>,

    /// Print the result as one JSON object: how the command ended, its output, what it used
    #[arg(long)]
    pub(super) json: bool,
}
