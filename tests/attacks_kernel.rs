// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the kernel's surface: system calls, namespaces, devices, keys,
//! settings, other processes.
#![forbid(unsafe_code)]

mod attacks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process;

use attacks::{
    Stage, answers, assert_denied, command, compiled, everybody, is_root, probing, ran, said, shell,
};
use serde_json::Value;
use tare_oracle::{Host, need};

/// The calls that Docker's default profile refuses container root on x86-64
/// with any arguments, with the errno; and the names of the calls that the
/// profile allows under some condition.
fn refused() -> BTreeMap<String, i32> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/docker-seccomp-default.json"
    );
    let profile: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|v| v.as_str()).map(Into::into).collect()
    };
    let docker = tare::Spec::default();
    let stage = Stage::new();
    let caps = stage
        .open(&docker.to_json())
        .effective()
        .unwrap()
        .capabilities;
    let (mut allowed, mut errnos) = (BTreeSet::new(), BTreeMap::new());
    for rule in profile["syscalls"].as_array().unwrap() {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let has = |key: &Value| list(key).iter().any(|cap| caps.contains(cap));
        let wanted = list(&includes["caps"]).is_empty() || has(&includes["caps"]);
        let arch = list(&includes["arches"]);
        let here = arch.is_empty() || arch.iter().any(|a| a == "amd64");
        if !wanted || !here || has(&excludes["caps"]) {
            continue;
        }
        for name in list(&rule["names"]) {
            match rule["action"].as_str() {
                Some("SCMP_ACT_ALLOW") => drop(allowed.insert(name)),
                _ => drop(errnos.insert(name, rule["errnoRet"].as_i64().unwrap_or(1) as i32)),
            }
        }
    }
    let known = numbers().into_keys().filter(|name| !allowed.contains(name));
    known
        .map(|name| {
            let errno = errnos.get(&name).copied().unwrap_or(libc::EPERM);
            (name, errno)
        })
        .collect()
}

/// Every call that this machine's headers know.
fn numbers() -> BTreeMap<String, u32> {
    let script = "echo '#include <sys/syscall.h>' | cc -E -dM -";
    let output = process::Command::new("sh")
        .args(["-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    });
    lines.collect()
}

/// The kernel's answers to every call of the probe: ABI and number, errno.
fn all_calls() -> BTreeMap<(String, u32), i32> {
    let stage = Stage::new();
    stage.copy(compiled("syscalls"), "bin/syscalls");
    let text = said(&stage.open("{}"), command(["/bin/syscalls"]));
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        (
            (words[0].to_owned(), words[1].parse().unwrap()),
            words[2].parse().unwrap(),
        )
    });
    lines.collect()
}

#[test]
fn d01_refused_calls_are_refused_inside() {
    need!(program("cc"));
    everybody(|| {
        let (answers, numbers) = (all_calls(), numbers());
        let newest = numbers.values().max().copied().unwrap();
        let mut checked = 0;
        for (name, errno) in refused() {
            // A call that the profile does not know answers like a missing
            // call.
            let expected = [errno, libc::ENOSYS];
            if let Some(found) = answers.get(&("native".into(), numbers[&name])) {
                // KERNEL(6.18): uprobe runs past every filter, and does nothing
                // unless the kernel planted it.
                assert!(
                    expected.contains(found) || name == "uprobe" || name == "uretprobe",
                    "{name}: {found}"
                );
                checked += 1;
            }
        }
        assert!(checked > 40, "{checked}");
        for ((abi, number), errno) in answers {
            // D03: a call newer than the profile does not exist, so that libc
            // falls back.
            let newer = abi == "native" && number > newest.max(470);
            if abi == "x32" || abi == "i386" || newer {
                assert_eq!(errno, libc::ENOSYS, "{abi} {number}");
            }
        }
    });
}

#[test]
fn d02_families_of_sockets_are_dockers() {
    need!(program("cc"));
    everybody(|| {
        let answers = all_calls();
        for family in 0..=46 {
            let errno = answers[&("family".to_owned(), family)];
            // AF_ALG is 38, AF_VSOCK 40; 39 is AF_NFC.
            if [38, 40].contains(&family) {
                assert_eq!(errno, libc::EPERM, "{family}");
            }
        }
        // socketcall(2), used by i386 programs.
        assert_eq!(answers[&("i386".to_owned(), 102)], libc::ENOSYS);
    });
}

#[test]
fn d05_cgroup_v1_cannot_be_mounted() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        assert_denied(&sandbox, "namespaces 0x12020000", &["EPERM", "ENOSYS"]);
        assert_denied(&sandbox, "mount /tmp none cgroup 0", &["EPERM"]);
        assert_denied(&sandbox, "mount /tmp none cgroup2 0", &["EPERM"]);
        let write = said(
            &sandbox,
            shell("find /sys/fs/cgroup -name release_agent 2>/dev/null; true"),
        );
        assert_eq!(write, "");
        let written = said(
            &sandbox,
            shell("mkdir /sys/fs/cgroup/x 2>&1; echo 1 > /sys/fs/cgroup/cgroup.procs; true"),
        );
        assert!(!written.is_empty());
        assert_eq!(
            said(&sandbox, shell("ls -d /sys/fs/cgroup/x 2>/dev/null; true")),
            ""
        );
    });
}

#[test]
fn d06_new_mount_calls_are_refused() {
    everybody(|| {
        let stage = Stage::new();
        let surface = answers(&stage.open("{}"), "surface");
        for call in [
            "fsopen",
            "open_tree",
            "mount_setattr",
            "move_mount",
            "pivot_root",
        ] {
            let answer = surface.iter().find(|(what, _)| what == call).unwrap();
            assert_eq!(answer.1, "EPERM", "{call}");
        }
    });
}

#[test]
fn d07_namespaces_cannot_be_made() {
    everybody(|| {
        let stage = Stage::new();
        // user, mnt, pid, net, ipc, uts, cgroup, and user with each of two
        // others
        let flags = "0x10000000 0x20000 0x20000000 0x40000000 0x8000000 0x4000000 0x2000000 0x10020000 0x50000000";
        let sandbox = stage.open("{}");
        for (what, answer) in answers(&sandbox, &format!("namespaces {flags}")) {
            let expected = if what.starts_with("clone3") {
                "ENOSYS"
            } else {
                "EPERM"
            };
            assert_eq!(answer, expected, "{what}");
        }
    });
}

#[test]
fn d08_devices_of_the_host_cannot_be_opened() {
    everybody(|| {
        let stage = Stage::new();
        let nodes = [
            "b 8 0", "b 254 0", "b 7 0", "c 1 1", "c 1 2", "c 10 229", "c 10 232", "c 4 64",
        ];
        if is_root() {
            for (n, node) in nodes.iter().enumerate() {
                let made = process::Command::new("mknod")
                    .arg(stage.at(&format!("etc/node{n}")))
                    .args(node.split(' '))
                    .status();
                assert!(made.unwrap().success());
                stage.mode(&format!("etc/node{n}"), 0o666);
            }
        }
        let sandbox = stage.open("{}");
        for (n, node) in nodes.iter().enumerate() {
            for place in ["/tmp/node", "/dev/shm/node", "/dev/node"] {
                // As with Docker, container root may make any node, and open
                // none of these.
                let tries = answers(&sandbox, &format!("node {node} {place}"));
                for (what, answer) in tries.into_iter().filter(|(what, _)| what == "open") {
                    let denied = ["EPERM", "EACCES", "ENOENT", "ENODEV", "ENXIO"];
                    assert!(
                        denied.contains(&answer.as_str()),
                        "{node} {place} {what} {answer}"
                    );
                }
            }
            assert_denied(
                &sandbox,
                &format!("open r /etc/node{n}"),
                &["EPERM", "EACCES", "ENOENT"],
            );
        }
        // Docker's devices can be made and used.
        if is_root() {
            assert_eq!(answers(&sandbox, "node c 1 3 /tmp/null")[1].1, "ok");
        }
    });
}

#[test]
fn d09_keys_of_the_host_are_out_of_reach() {
    everybody(|| {
        let stage = Stage::new();
        for spec in ["{}", r#"{"security": {"seccomp": "off"}}"#] {
            // More than a user may have keys at once: each is given back.
            for _ in 0..250 {
                stage.open(spec).close().unwrap();
            }
            let sandbox = stage.open(spec);
            let seen = said(&sandbox, probing("keyring tare-host-key"));
            let denied = seen.contains("session EPERM");
            // A new session keyring has no name and no keys.
            let own = seen.contains("describes keyring;") && seen.contains("search @s ENOKEY");
            assert!(denied || own, "{spec}: {seen}");
        }
    });
}

#[test]
fn d10_settings_of_the_kernel_cannot_be_changed_or_read() {
    everybody(|| {
        let _alone = Host::exclusive();
        let before = Host::snapshot();
        {
            let stage = Stage::new();
            let sandbox = stage.open("{}");
            let denied = ["EROFS", "EACCES", "EPERM", "ENOENT", "EINVAL", "EIO"];
            assert_denied(
                &sandbox,
                "write /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/overcommit_memory \
                 /proc/sys/net/ipv4/ip_forward /proc/sys/fs/binfmt_misc/register /proc/irq/0/smp_affinity \
                 /proc/sys/kernel/modprobe /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled \
                 /sys/power/state /sys/kernel/mm/ksm/run",
                &denied,
            );
            assert_denied(
                &sandbox,
                "open w /proc/sysrq-trigger /proc/sys/kernel/core_pattern",
                &denied,
            );
            let masked = said(
                &sandbox,
                probing(
                    "read /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/latency_stats /proc/sched_debug",
                ),
            );
            for line in masked.lines() {
                let answer = line.rsplit_once(' ').unwrap().1;
                assert!(answer == "0" || answer == "ENOENT", "{line}");
            }
            let listed = "ls -A /sys/firmware /sys/devices/virtual/powercap /sys/kernel/debug /sys/kernel/tracing /sys/fs/bpf 2>/dev/null | grep -v :; true";
            assert_eq!(said(&sandbox, shell(listed)).trim(), "");
            sandbox.close().unwrap();
        }
        let left: Vec<_> = before.settle(std::time::Duration::from_secs(2));
        let changed: Vec<_> = left.iter().filter(|l| l.contains("sysctl")).collect();
        assert!(changed.is_empty(), "{changed:?}");
    });
}

#[test]
fn d11_far_reaching_calls_are_refused() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        for (what, answer) in answers(&sandbox, "surface") {
            // Harmless, and Docker's too; without the next one a handle is only
            // a number.
            let harmless = what == "name_to_handle_at";
            assert!(
                harmless || answer == "EPERM" || answer == "ENOSYS",
                "{what} {answer}"
            );
        }
        ran(&sandbox, shell("true"));
    });
}

#[test]
fn d15_processes_of_the_host_are_not_there() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        // The test's own process, and the machine's first ones, by their
        // numbers outside.
        for pid in [process::id(), 2, 3] {
            let inside = said(
                &sandbox,
                shell(&format!("ls -d /proc/{pid} 2>/dev/null; true")),
            );
            if !inside.is_empty() {
                continue;
            }
            for (what, answer) in answers(&sandbox, &format!("process {pid}")) {
                let absent = ["ESRCH", "ENOENT", "EBADF", "EPERM", "EINVAL"];
                assert!(absent.contains(&answer.as_str()), "{pid} {what} {answer}");
            }
        }
        ran(
            &sandbox,
            command(["/bin/busybox", "kill", "-9", "-1"]).user("0"),
        );
        // All visible processes.
        ran(&sandbox, shell("true"));
    });
}
