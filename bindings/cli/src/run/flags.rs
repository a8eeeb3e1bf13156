// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of `tare run`, named as in docker-run(1) if it has the flag.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tare::spec::{ByteSize, Device, DeviceRule, ExtraHost, Network, Rlimit, Storage, Write};

use super::foreign::Foreign;
use super::mounts::Mounts;
use super::switches::Switches;
use crate::value::{self, SecurityOption};

/// Flags of `tare run`. Without a flag, the spec decides; without a key there,
/// its default.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    override_usage = "tare run [OPTIONS] IMAGE [--] [COMMAND [ARG]...]\n       \
                      tare run [OPTIONS] --spec FILE -- [COMMAND [ARG]...]",
    after_help = "Exit status: the command's own; 128 and the signal's number if a signal ended it; \
                  123 if output was over the limit; 124 after the timeout; 125 when tare itself \
                  failed; 126 if the command cannot be executed; 127 if it is not there.\n\nSizes are in bytes, or have k, m, g or t behind \
                  them. Durations are in seconds, or have ms, s, m, h or d behind them."
)]
pub(crate) struct Flags {
    /// `host` (this machine with all mounts, copy-on-write), `dir:PATH`,
    /// `oci:PATH[:TAG]`, `archive:FILE` or `NAME[:TAG][@DIGEST]`; then the
    /// command, by default the image's own
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 0.., trailing_var_arg = true)]
    pub(super) words: Vec<OsString>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// Set a variable; without a value, to the caller's own value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<OsString>,

    /// Set variables from a file of lines NAME=VALUE or NAME, as --env has them
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) mounts: Mounts,

    /// Working directory inside; a missing one is made in an image, not in
    /// `host`
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<PathBuf>,

    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,

    /// Further groups of the user, by name or number
    #[arg(long, value_name = "GROUP")]
    pub(super) group_add: Vec<String>,

    /// Bits to clear in the modes of new files, in octal, as in podman-run(1)
    #[arg(long, value_name = "MODE", value_parser = value::umask)]
    pub(super) umask: Option<u32>,

    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,

    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(super) add_host: Vec<ExtraHost>,

    /// none (a private loopback), host, or the path of a network namespace
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = value::network)]
    pub(super) network: Option<Network>,

    /// Limit of memory, page cache and tmpfs included
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) memory: Option<ByteSize>,

    /// Limit of memory and swap together; -1 for unlimited swap
    #[arg(
        long,
        value_name = "SIZE",
        help_heading = "Limits",
        allow_hyphen_values = true
    )]
    pub(super) memory_swap: Option<String>,

    /// Limit of processor time, in processors: 1.5
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub(super) cpus: Option<f64>,

    /// Processor time of each --cpu-period, in microseconds
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Limits",
        conflicts_with = "cpus"
    )]
    pub(super) cpu_quota: Option<u32>,

    /// Length of a period of processor time, in microseconds
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Limits",
        requires = "cpu_quota",
        default_value_t = 100_000
    )]
    pub(super) cpu_period: u32,

    /// Share of processor time, 2 to 262144; the default of every process is
    /// 1024
    #[arg(short, long, value_name = "NUMBER", help_heading = "Limits", value_parser = value::cpu_shares)]
    pub(super) cpu_shares: Option<u16>,

    /// Processors to run on: 0-2,4
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub(super) cpuset_cpus: Option<String>,

    /// Limit of processes and threads; -1 for no limit
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Limits",
        allow_hyphen_values = true
    )]
    pub(super) pids_limit: Option<i64>,

    /// Share of block input and output, 1 to 10000; the default of every
    /// process is 100
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    pub(super) blkio_weight: Option<u16>,

    /// Resource limit, such as nofile=1024:4096
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Limits", value_parser = value::pair::<Rlimit>)]
    pub(super) ulimit: Vec<(String, Rlimit)>,

    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) shm_size: Option<ByteSize>,

    /// Size of the writable layer in memory
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) disk: Option<ByteSize>,

    /// Output kept with --json; a command that writes more is killed
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) output_limit: Option<ByteSize>,

    /// Time, more than 0, after which the command and all its processes are
    /// killed
    #[arg(long, value_name = "DURATION", help_heading = "Limits", value_parser = value::timeout)]
    pub(super) timeout: Option<Duration>,

    /// Target of writes to the root: memory, disk or none
    #[arg(long, value_name = "WHERE", help_heading = "Storage", value_parser = value::word::<Write>)]
    pub(super) write: Option<Write>,

    /// size=SIZE, the same as --disk
    #[arg(long, value_name = "OPTION", help_heading = "Storage", value_parser = value::storage, conflicts_with = "disk")]
    pub(super) storage_opt: Option<ByteSize>,

    /// Back end of the copy-on-write root: auto, overlay or copy
    #[arg(long, value_name = "BACKEND", help_heading = "Storage", value_parser = value::word::<Storage>)]
    pub(super) storage: Option<Storage>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    pub(super) cap_add: Vec<String>,

    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    pub(super) cap_drop: Vec<String>,

    /// Show a device of the host inside
    #[arg(long, value_name = "SOURCE[:TARGET[:rwm]]", help_heading = "Security")]
    pub(super) device: Vec<Device>,

    /// Allow devices by type, major, minor and access: "c 10:200 rwm"
    #[arg(long, value_name = "RULE", help_heading = "Security")]
    pub(super) device_cgroup_rule: Vec<DeviceRule>,

    /// Set a kernel parameter of the sandbox's own namespaces
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Security", value_parser = value::label)]
    pub(super) sysctl: Vec<(String, String)>,

    /// System V IPC and message queues: private or host
    #[arg(long, value_name = "MODE", help_heading = "Security", value_parser = value::ipc)]
    pub(super) ipc: Option<bool>,

    /// Host name: private or host
    #[arg(long, value_name = "MODE", help_heading = "Security", value_parser = value::is_private)]
    pub(super) uts: Option<bool>,

    /// View of cgroups: private or host
    #[arg(long, value_name = "MODE", help_heading = "Security", value_parser = value::is_private)]
    pub(super) cgroupns: Option<bool>,

    /// User ids: private (root's default is host) or host
    #[arg(long, value_name = "MODE", help_heading = "Security", value_parser = value::is_private)]
    pub(super) userns: Option<bool>,

    /// no-new-privileges[:true|:false], seccomp=FILE, seccomp=unconfined or
    /// systempaths=unconfined
    #[arg(long, value_name = "OPTION", help_heading = "Security")]
    pub(super) security_opt: Vec<SecurityOption>,

    /// Keys of the spec that may be left out where this machine cannot enforce
    /// them: limits.io,limits.swap; standard error names each that was
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub(super) best_effort: Vec<String>,

    /// Run this program instead of the image's own entry point
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<OsString>,

    /// Free text, shown in the result's `effective`
    #[arg(short, long, value_name = "NAME[=TEXT]", value_parser = value::label)]
    pub(super) label: Vec<(String, String)>,

    /// Labels from a file of lines NAME=TEXT
    #[arg(long, value_name = "FILE")]
    pub(super) label_file: Vec<PathBuf>,

    /// Name of the sandbox: the label `name`
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Write the sandbox's id to a new file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,

    #[command(flatten)]
    pub(super) switches: Switches,

    #[command(flatten)]
    pub(super) foreign: Foreign,

    /// Read the spec from a file of JSON, `-` for standard input; flags
    /// override it
    #[arg(long, value_name = "FILE")]
    pub(super) spec: Option<PathBuf>,
}
