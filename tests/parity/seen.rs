// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts that the kernel shows inside a sandbox: short lines of the golden
//! text.

use std::collections::BTreeSet;
use std::fs;

use tare::{Command, Sandbox, Size};

use crate::mounts::{self, Mount};

/// Facts, each once.
pub(crate) type Facts = BTreeSet<String>;

/// The output of a busybox applet, without a shell that changes anything first.
#[track_caller]
pub(crate) fn applet(sandbox: &Sandbox, words: &str) -> String {
    let argv = ["busybox"].into_iter().chain(words.split(' '));
    output(sandbox, Command::from_argv(argv))
}

/// The output of a line of shell.
#[track_caller]
pub(crate) fn shell(sandbox: &Sandbox, line: &str) -> String {
    output(sandbox, Command::from_argv(["/bin/sh", "-c", line]))
}

#[track_caller]
fn output(sandbox: &Sandbox, command: Command) -> String {
    let output = sandbox.run(command).expect("run a command");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// One space between words.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything, of a sandbox that was opened with the default spec.
pub(crate) fn facts(sandbox: &Sandbox) -> Facts {
    let mut facts = confinement(sandbox);
    let mounts = mounts::inside(sandbox);
    mounts::facts(sandbox, &mounts, &mut facts);
    dev(sandbox, &mounts, &mut facts);
    names(sandbox, &mut facts);
    terminal(sandbox, &mut facts);
    facts
}

/// Facts of a sandbox with any image.
pub(crate) fn confinement(sandbox: &Sandbox) -> Facts {
    let mut facts = Facts::new();
    status(sandbox, &mut facts);
    process(sandbox, &mut facts);
    namespaces(sandbox, &mut facts);
    limits(sandbox, &mut facts);
    network(sandbox, &mut facts);
    let mounts = mounts::inside(sandbox);
    mounts::hidden(sandbox, &mounts, &mut facts);
    facts
}

fn status(sandbox: &Sandbox, facts: &mut Facts) {
    const SHOWN: [&str; 13] = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Umask",
        "SigBlk",
    ];
    for line in applet(sandbox, "cat /proc/self/status").lines() {
        let (name, value) = line.split_once(':').expect("a name");
        if SHOWN.contains(&name) || name == "SigIgn" {
            facts.insert(format!("status {name} {}", plain(value)));
        }
    }
    let score = |text: &str| text.trim().parse::<i32>().expect("a number");
    let own = score(&fs::read_to_string("/proc/self/oom_score_adj").expect("a score"));
    let inside = score(&applet(sandbox, "cat /proc/self/oom_score_adj"));
    facts.insert(match inside == own.max(0) {
        true => "oom_score_adj as the caller, 0 at least".into(),
        false => format!("oom_score_adj {inside}"),
    });
    // Where there is no security module, both fail alike.
    let label = shell(
        sandbox,
        "busybox cat /proc/self/attr/current 2>/dev/null; true",
    );
    let own = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let label = if label == own {
        "as the caller"
    } else {
        &label
    };
    facts.insert(format!("apparmor {}", label.trim()));
}

fn process(sandbox: &Sandbox, facts: &mut Facts) {
    // Number, name, state, parent, group, session; the name has no space.
    let stat = applet(sandbox, "cat /proc/self/stat");
    let fields: Vec<&str> = stat.split(' ').collect();
    if fields[4] == fields[0] && fields[5] == fields[0] {
        facts.insert("process leads a session".into());
    }
    let first = applet(sandbox, "cat /proc/1/comm");
    let first = if fields[0] == "1" {
        "the command"
    } else {
        first.trim()
    };
    facts.insert(format!("process 1 is {first}"));
    facts.insert(format!(
        "process directory {}",
        applet(sandbox, "pwd").trim()
    ));
    // The shell's own, and one that `ls` has on the directory if the shell
    // became it.
    let all = shell(sandbox, "ls /proc/$$/fd; true");
    for number in all.split_whitespace() {
        let target = shell(
            sandbox,
            &format!("busybox readlink /proc/$$/fd/{number}; true"),
        );
        let kind = target.split(':').next().unwrap_or_default();
        facts.insert(format!("descriptor {number} {}", kind.trim()));
    }
}

fn namespaces(sandbox: &Sandbox, facts: &mut Facts) {
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let path = format!("/proc/self/ns/{kind}");
        let own = fs::read_link(&path).expect("a namespace");
        let inside = applet(sandbox, &format!("readlink {path}"));
        let same = own.to_str() == Some(inside.trim());
        let whose = if same { "the caller" } else { "its own" };
        facts.insert(format!("namespace {kind} of {whose}"));
    }
}

/// Entries of `/dev`. Of a device that is the host's own, mode and owner are
/// the host's too.
fn dev(sandbox: &Sandbox, mounts: &[Mount], facts: &mut Facts) {
    let found = shell(
        sandbox,
        "cd /dev; busybox find . -exec busybox stat -c '%n|%F|%t|%T|%a|%u:%g|%N' {} +",
    );
    for line in found.lines() {
        let [name, kind, major, minor, mode, owner, link] =
            line.splitn(7, '|').collect::<Vec<_>>()[..]
        else {
            panic!("{line}");
        };
        let name = name.strip_prefix("./").unwrap_or(name);
        let number = |hex| u32::from_str_radix(hex, 16).expect("a number");
        let numbers = format!("{}:{}", number(major), number(minor));
        let foreign = mounts
            .iter()
            .any(|m| m.target == format!("/dev/{name}") && m.is_bind());
        facts.insert(match (kind, link.split_once(" -> ")) {
            ("symbolic link", Some((_, target))) => {
                format!("dev {name} -> {}", target.trim_matches('\''))
            }
            ("character special file", _) if foreign => {
                format!("dev {name} c {numbers} of the host")
            }
            ("character special file", _) => format!("dev {name} c {numbers} {mode} {owner}"),
            _ => format!("dev {name} {kind} {mode} {owner}"),
        });
    }
    // Docker too makes this link only where the kernel has the file.
    if fs::metadata("/proc/kcore").is_err() && !facts.contains("dev core -> /proc/kcore") {
        facts.insert("dev core -> /proc/kcore".into());
    }
    let nodes = [
        "b 7 0", "b 8 0", "b 254 0", "c 1 1", "c 1 2", "c 1 3", "c 1 4", "c 1 5", "c 1 7", "c 1 8",
        "c 1 9", "c 1 11", "c 4 64", "c 5 0", "c 5 1", "c 5 2", "c 10 200", "c 10 229", "c 10 232",
        "c 136 0",
    ];
    for node in nodes {
        let answers = output(
            sandbox,
            Command::from_argv(
                ["probe", "node"]
                    .into_iter()
                    .chain(node.split(' '))
                    .chain(["/tmp/node"]),
            ),
        );
        if answers.contains("mknod ok") {
            facts.insert("devices can be made".into());
            let (kind, numbers) = node.split_once(' ').expect("two words");
            if !answers.contains("open EPERM") {
                facts.insert(format!("device {kind} {} opens", numbers.replace(' ', ":")));
            }
        }
    }
}

/// The limits by the names that setrlimit(2) and docker-run(1) have for them.
fn limits(sandbox: &Sandbox, facts: &mut Facts) {
    const NAMES: [(&str, &str); 16] = [
        ("Max address space", "as"),
        ("Max core file size", "core"),
        ("Max cpu time", "cpu"),
        ("Max data size", "data"),
        ("Max file size", "fsize"),
        ("Max file locks", "locks"),
        ("Max locked memory", "memlock"),
        ("Max msgqueue size", "msgqueue"),
        ("Max nice priority", "nice"),
        ("Max open files", "nofile"),
        ("Max processes", "nproc"),
        ("Max resident set", "rss"),
        ("Max realtime priority", "rtprio"),
        ("Max realtime timeout", "rttime"),
        ("Max pending signals", "sigpending"),
        ("Max stack size", "stack"),
    ];
    let own = fs::read_to_string("/proc/self/limits").expect("limits");
    let inside = applet(sandbox, "cat /proc/self/limits");
    for (title, name) in NAMES {
        let of = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(title));
            let words = line.expect("a limit").split_whitespace().take(2);
            words.collect::<Vec<_>>().join(" ")
        };
        let inside = of(&inside);
        // A caller may have none for core dumps either.
        let inherited = inside == of(&own) && name != "core";
        let value = if inherited { "inherited" } else { &inside };
        facts.insert(format!("ulimit {name} {value}"));
    }
}

fn network(sandbox: &Sandbox, facts: &mut Facts) {
    const UP: u32 = 1;
    for name in applet(sandbox, "ls /sys/class/net").split_whitespace() {
        let flags = applet(sandbox, &format!("cat /sys/class/net/{name}/flags"));
        let flags = flags.trim().trim_start_matches("0x");
        if u32::from_str_radix(flags, 16).expect("flags") & UP != 0 {
            facts.insert(format!("interface {name} up"));
        }
    }
    let port = applet(sandbox, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    facts.insert(format!(
        "sysctl net.ipv4.ip_unprivileged_port_start {}",
        port.trim()
    ));
    // Inside, first, count: the last id of the last line, of those that the
    // setting can name.
    let map = applet(sandbox, "cat /proc/self/gid_map");
    let last = map.lines().map(|line| {
        let mut words = line
            .split_whitespace()
            .map(|w| w.parse::<u64>().expect("an id"));
        words.next().unwrap() + words.nth(1).unwrap() - 1
    });
    let last = last.max().expect("a map").min(i32::MAX as u64);
    let range = plain(&applet(sandbox, "cat /proc/sys/net/ipv4/ping_group_range"));
    let every = range == format!("0 {last}");
    let range = if every { "is every group" } else { &range };
    facts.insert(format!("sysctl net.ipv4.ping_group_range {range}"));
}

fn names(sandbox: &Sandbox, facts: &mut Facts) {
    let hostname = applet(sandbox, "hostname").trim().to_owned();
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if hostname.len() == 12 && hostname.chars().all(digit) {
        facts.insert("hostname is 12 hexadecimal digits".into());
    }
    let named = |text: &str| plain(text).replace(&hostname, "HOSTNAME");
    for path in ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] {
        let stat = applet(sandbox, &format!("stat -c %a|%u:%g {path}"));
        facts.insert(format!("file {path} {}", stat.trim().replace('|', " ")));
        let name = path.strip_prefix("/etc/").expect("a file of /etc");
        for line in applet(sandbox, &format!("cat {path}")).lines() {
            facts.insert(format!("{name} {}", named(line)));
        }
    }
    for line in applet(sandbox, "env").lines() {
        facts.insert(format!("env {}", named(line)));
    }
    // What the image of these tests holds, and where we mount.
    let image = ["bin", "dev", "etc", "proc", "sys", "tmp"];
    for name in applet(sandbox, "ls -A /").split_whitespace() {
        if !image.contains(&name) {
            facts.insert(format!("root holds {name}"));
        }
    }
}

fn terminal(sandbox: &Sandbox, facts: &mut Facts) {
    let script = "busybox env; for n in 0 1 2; do echo descriptor $n $(busybox readlink /proc/$$/fd/$n); done; \
                  cat /proc/self/mountinfo; \
                  busybox stat -c 'dev console c %t:%T %a %u:%g' /dev/console; busybox readlink /proc/$$/fd/0";
    let size = Size {
        rows: 24,
        columns: 80,
    };
    let command = Command::from_argv(["/bin/sh", "-c", script]).tty(size);
    let output = sandbox.run(command).expect("run with a terminal");
    let shown = String::from_utf8(output.stdout).expect("text");
    for line in shown.lines().map(str::trim_end) {
        if line.starts_with("TERM=") {
            facts.insert(format!("terminal env {line}"));
        } else if line.starts_with("descriptor ") {
            facts.insert(format!("terminal {line}"));
        } else if let Some(rest) = line.strip_prefix("dev console c ") {
            // stat(1) counts in sixteens: 88 is 136.
            facts.insert(format!(
                "terminal dev console c {}",
                rest.replacen("88:", "136:", 1)
            ));
        }
    }
    let console = mounts::read(&shown, "")
        .into_iter()
        .find(|m| m.target == "/dev/console");
    if let Some(mount) = console {
        facts.insert(format!(
            "terminal mount /dev/console {} {}",
            mount.kind, mount.flags
        ));
    }
}
