// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of docker-run(1) that `tare run` lacks. Each tells why, and is
//! accepted with a value that has no effect. `--require` names its replacement.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use tare::{Error, Kind, Result};

/// A flag of docker-run(1) that `tare run` lacks.
struct Row {
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    why: &'static str,
    cure: &'static str,
}

/// Values that a [`Row`] accepts.
enum Takes {
    /// A flag with a value; the listed values have no effect.
    Value(&'static [&'static str]),
    /// A flag that is on or off; this word has no effect.
    Switch(&'static str),
}

use Takes::{Switch, Value};

const NONE: &[&str] = &[];
/// Platforms of this machine in Docker's words.
const PLATFORMS: &[&str] = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => &["linux", "linux/amd64", "linux/x86_64"],
    b"aarch64" => &["linux", "linux/arm64", "linux/arm64/v8", "linux/aarch64"],
    _ => &["linux"],
};

const fn row(long: &'static str, takes: Takes, why: &'static str, cure: &'static str) -> Row {
    Row {
        long,
        short: None,
        takes,
        why,
        cure,
    }
}

const fn short(short: char, row: Row) -> Row {
    Row {
        short: Some(short),
        ..row
    }
}

const DETACH: &str = "no daemon keeps a command that its caller has left";
const LOOPBACK: &str = "a sandbox has a loopback alone, or the network of others";
const NETWORK: &str = "--network host, or --network /run/netns/NAME";
const WEIGHT: &str = "block input and output have a weight, no ceiling";
const RESOLVER: &str = "name servers are those of /etc/resolv.conf";
const RESOLV_CONF: &str = "-v FILE:/etc/resolv.conf:ro";
const HEALTH: &str = "health is what the caller looks at";
const CHECK: &str = "a second command in the sandbox, by tare rpc or a library";
const STOP: &str = "a sandbox is not stopped, but gone when its command ends";
const TIMEOUT: &str = "timeout -s INT -k 10s 1h COMMAND, inside";
const WINDOWS: &str = "the flag is for Windows";
const LOG: &str = "output goes to the caller and is not kept";
const CPUS: &str = "--cpus, --cpu-shares";

const ROWS: [Row; 59] = [
    row(
        "annotation",
        Value(NONE),
        "no other runtime reads it",
        "--label NAME=TEXT",
    ),
    short(
        'a',
        row(
            "attach",
            Value(NONE),
            "both outputs are attached always",
            "-i, for the input too",
        ),
    ),
    row(
        "blkio-weight-device",
        Value(NONE),
        "there is one weight for all devices",
        "--blkio-weight",
    ),
    row(
        "cgroup-parent",
        Value(NONE),
        "cgroups are made below the caller's own",
        "systemd-run --scope --slice=NAME tare run ...",
    ),
    row("cpu-count", Value(NONE), WINDOWS, CPUS),
    row("cpu-percent", Value(NONE), WINDOWS, CPUS),
    row(
        "cpu-rt-period",
        Value(NONE),
        "no real-time budget is set",
        "--cap-add SYS_NICE --ulimit rtprio=99",
    ),
    row(
        "cpu-rt-runtime",
        Value(NONE),
        "no real-time budget is set",
        "--cap-add SYS_NICE --ulimit rtprio=99",
    ),
    row(
        "cpuset-mems",
        Value(NONE),
        "memory nodes are inherited",
        "numactl --membind=0 tare run ...",
    ),
    short(
        'd',
        row(
            "detach",
            Switch("false"),
            DETACH,
            "tare run ... &, or tare rpc",
        ),
    ),
    row("detach-keys", Value(NONE), DETACH, "Ctrl-Z, then bg"),
    row("device-read-bps", Value(NONE), WEIGHT, "--blkio-weight"),
    row("device-read-iops", Value(NONE), WEIGHT, "--blkio-weight"),
    row("device-write-bps", Value(NONE), WEIGHT, "--blkio-weight"),
    row("device-write-iops", Value(NONE), WEIGHT, "--blkio-weight"),
    row(
        "disable-content-trust",
        Switch("true"),
        "signatures are not looked at",
        "NAME@sha256:DIGEST",
    ),
    row("dns", Value(NONE), RESOLVER, RESOLV_CONF),
    row("dns-option", Value(NONE), RESOLVER, RESOLV_CONF),
    row("dns-search", Value(NONE), RESOLVER, RESOLV_CONF),
    row(
        "domainname",
        Value(NONE),
        "the NIS domain is the caller's",
        "--hostname NAME.DOMAIN",
    ),
    row("expose", Value(NONE), LOOPBACK, NETWORK),
    row(
        "gpus",
        Value(NONE),
        "no driver's files are looked for",
        "--device /dev/dri/renderD128",
    ),
    row("health-cmd", Value(NONE), HEALTH, CHECK),
    row("health-interval", Value(NONE), HEALTH, CHECK),
    row("health-retries", Value(NONE), HEALTH, CHECK),
    row("health-start-interval", Value(NONE), HEALTH, CHECK),
    row("health-start-period", Value(NONE), HEALTH, CHECK),
    row("health-timeout", Value(NONE), HEALTH, CHECK),
    row("io-maxbandwidth", Value(NONE), WINDOWS, "--blkio-weight"),
    row("io-maxiops", Value(NONE), WINDOWS, "--blkio-weight"),
    row("ip", Value(NONE), LOOPBACK, NETWORK),
    row("ip6", Value(NONE), LOOPBACK, NETWORK),
    row("isolation", Value(&["default"]), WINDOWS, "no --isolation"),
    row(
        "kernel-memory",
        Value(NONE),
        "the kernel's memory counts as memory",
        "--memory",
    ),
    row("link", Value(NONE), LOOPBACK, NETWORK),
    row("link-local-ip", Value(NONE), LOOPBACK, NETWORK),
    row(
        "log-driver",
        Value(&["none"]),
        LOG,
        "tare run ... >FILE 2>&1",
    ),
    row("log-opt", Value(NONE), LOG, "tare run ... >FILE 2>&1"),
    row("mac-address", Value(NONE), LOOPBACK, NETWORK),
    row(
        "memory-reservation",
        Value(NONE),
        "memory has a ceiling, no reserve",
        "--memory",
    ),
    row(
        "memory-swappiness",
        Value(NONE),
        "swappiness is the machine's",
        "--memory-swap",
    ),
    row("network-alias", Value(NONE), LOOPBACK, NETWORK),
    row("no-healthcheck", Switch("true"), HEALTH, CHECK),
    row(
        "oom-kill-disable",
        Switch("false"),
        "a command without memory would hang for ever",
        "--memory with a higher SIZE",
    ),
    row(
        "oom-score-adj",
        Value(&["0"]),
        "the score is the caller's",
        "choom -n 500 -- tare run ...",
    ),
    row(
        "pid",
        Value(&["private"]),
        "processes of others are never seen",
        "no --pid",
    ),
    row(
        "platform",
        Value(PLATFORMS),
        "an image in the store is of one platform",
        "tare image import --platform OS/ARCHITECTURE",
    ),
    short('p', row("publish", Value(NONE), LOOPBACK, NETWORK)),
    short('P', row("publish-all", Switch("false"), LOOPBACK, NETWORK)),
    row(
        "pull",
        Value(&["missing", "never"]),
        "images come from files and directories",
        "skopeo copy docker://NAME oci:DIR; tare image import oci:DIR NAME",
    ),
    row(
        "require",
        Value(NONE),
        "use --best-effort for keys that may be left out",
        "--best-effort KEYS",
    ),
    row(
        "restart",
        Value(&["no"]),
        "no daemon starts a command again",
        "until tare run ...; do sleep 1; done",
    ),
    row(
        "runtime",
        Value(NONE),
        "tare makes sandboxes itself",
        "no --runtime",
    ),
    row(
        "sig-proxy",
        Switch("true"),
        "signals are passed on always",
        "setsid tare run ...",
    ),
    row("stop-signal", Value(NONE), STOP, TIMEOUT),
    row("stop-timeout", Value(NONE), STOP, TIMEOUT),
    row(
        "use-api-socket",
        Switch("false"),
        "there is no engine to speak to",
        "no --use-api-socket",
    ),
    row(
        "volume-driver",
        Value(&["local"]),
        "a volume is a directory of the host",
        "-v DIR:TARGET",
    ),
    row(
        "volumes-from",
        Value(NONE),
        "a sandbox's files go with it",
        "-v DIR:TARGET, in both",
    ),
];

/// Such flags of the command line, with their values.
#[derive(Debug, Clone)]
pub(super) struct Foreign(Vec<(&'static str, OsString)>);

impl Foreign {
    /// # Errors
    /// [`Kind::Unsupported`] for the first flag with an effect: the reason, and
    /// an alternative.
    pub(super) fn check(&self) -> Result<()> {
        for (flag, value) in &self.0 {
            let row = ROWS.iter().find(|row| row.long == *flag);
            let row = row.expect("only flags of the table are written");
            if !row.takes.asks_for_nothing(value) {
                let why = format_args!("--{flag}: {}", row.why);
                return Err(
                    Error::new(Kind::Unsupported, "read command line", why).with_cure(row.cure)
                );
            }
        }
        Ok(())
    }
}

impl Takes {
    fn asks_for_nothing(&self, value: &OsString) -> bool {
        match self {
            Value(harmless) => harmless.iter().any(|one| value.eq_ignore_ascii_case(one)),
            Switch(harmless) => value == harmless,
        }
    }
}

impl Args for Foreign {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(ROWS.iter().map(Row::arg))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl Row {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long)
            .long(self.long)
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(OsString))
            .hide(true);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match self.takes {
            Value(_) => arg.num_args(1).allow_hyphen_values(true),
            Switch(_) => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(crate::value::boolean_word),
        }
    }
}

impl FromArgMatches for Foreign {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut written = Vec::new();
        for row in &ROWS {
            let values = matches.get_many::<OsString>(row.long).into_iter().flatten();
            written.extend(values.map(|value| (row.long, value.clone())));
        }
        Ok(Self(written))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::Flags;
    use super::*;

    /// Marks around the table in the page.
    const MARKS: [&str; 2] = ["<!-- flags -->\n", "<!-- end of flags -->\n"];

    /// Returns a row for each flag of docker-run(1): the help of `tare run`, or
    /// the reason for its absence.
    fn table() -> String {
        let command = Flags::augment_args(clap::Command::new("run"));
        let listed = include_str!("../../../../tests/data/docker-run.txt");
        let mut table = String::from("| flag | `tare run` |\n|---|---|\n");
        for flag in listed.lines().filter(|line| !line.starts_with('#')) {
            let row = ROWS.iter().find(|row| row.long == flag);
            let arg = command.get_arguments().find(|arg| {
                arg.get_long() == Some(flag)
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&flag))
            });
            let arg = arg.unwrap_or_else(|| panic!("--{flag} is not known"));
            let told = match row {
                None => {
                    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                    format!("works: {}", help.replace('|', "\\|").replace('\n', " "))
                }
                Some(row) => row.told(),
            };
            table.push_str(&format!("| `--{flag}` | {told} |\n"));
        }
        table
    }

    impl Row {
        fn told(&self) -> String {
            let harmless = match self.takes {
                Value([]) => String::new(),
                Value(words) => format!(" (`{}` is accepted)", words.join("`, `")),
                Switch(word) => format!(" (`{word}` is accepted)"),
            };
            format!("no: {}{harmless}; `{}`", self.why, self.cure)
        }
    }

    #[test]
    fn page_tells_of_each_flag_of_docker() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/docker.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once(MARKS[0]).unwrap();
        let (kept, tail) = rest.split_once(MARKS[1]).unwrap();
        let table = table();
        if std::env::var_os("TARE_BLESS").is_some() {
            let page = [head, MARKS[0], &table, MARKS[1], tail].concat();
            return std::fs::write(path, page).unwrap();
        }
        assert!(
            kept == table,
            "try: TARE_BLESS=1 cargo test -p tare-cli page"
        );
    }
}
