// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the identity of a command: capabilities, ids, groups, names,
//! environment, the terminal.
#![forbid(unsafe_code)]

mod attacks;

use std::fs;
use std::time::{Duration, Instant};

use attacks::{Stage, again, answers, command, everybody, is_single, probing, ran, said, shell};
use tare::{Command, Kind, Sandbox, Spec, Stdin};
use tare_oracle::need;

/// Docker's fourteen.
const DEFAULT: u64 = 0xa804_25fb;

/// The capability sets of a command, by their names in proc_pid_status(5).
#[track_caller]
fn caps(sandbox: &Sandbox, command: Command) -> [u64; 5] {
    let status = said(sandbox, command);
    ["CapInh:", "CapAmb:", "CapPrm:", "CapEff:", "CapBnd:"].map(|key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        u64::from_str_radix(line.expect(key).trim(), 16).expect("a number")
    })
}

fn status() -> Command {
    command(["/bin/cat", "/proc/self/status"])
}

#[test]
fn c01_nothing_is_inheritable() {
    everybody(|| {
        let stage = Stage::new();
        let all = r#"{"security": {"cap_add": ["NET_ADMIN", "SYS_TIME"]}}"#;
        for (spec, expected) in [("{}", DEFAULT), (all, DEFAULT | 1 << 12 | 1 << 25)] {
            let sandbox = stage.open(spec);
            assert_eq!(
                caps(&sandbox, status()),
                [0, 0, expected, expected, expected]
            );
            if !is_single() {
                let user = status().user("1000:1000");
                assert_eq!(caps(&sandbox, user), [0, 0, 0, 0, expected]);
            }
        }
    });
}

#[test]
fn c01_nothing_is_inherited_from_a_host_that_has_some() {
    need!(root, program("setpriv"));
    let wrapper = [
        "setpriv",
        "--inh-caps=+chown,+net_raw",
        "--ambient-caps=+chown,+net_raw",
    ];
    again(&wrapper, ("C01", "1"), || {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        assert!(!own.contains("CapAmb:\t0000000000000000"), "{own}");
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        assert_eq!(caps(&sandbox, status()), [0, 0, DEFAULT, DEFAULT, DEFAULT]);
        let user = status().user("1000:1000");
        assert_eq!(caps(&sandbox, user), [0, 0, 0, 0, DEFAULT]);
    });
}

#[test]
fn c02_no_capabilities_are_none_at_all() {
    everybody(|| {
        let stage = Stage::new();
        for spec in [
            r#"{"security": {"profile": "strict"}}"#,
            r#"{"security": {"cap_drop": ["ALL"]}}"#,
        ] {
            assert_eq!(caps(&stage.open(spec), status()), [0; 5], "{spec}");
        }
    });
}

#[test]
fn c03_unknown_capabilities_are_refused() {
    everybody(|| {
        let stage = Stage::new();
        for name in [
            "CAP_SYS_ADMINN",
            "",
            "CAP_",
            "63",
            "SYS_ADMIN ",
            "cap_all,",
            "CAP_CAP_KILL",
        ] {
            for key in ["cap_add", "cap_drop"] {
                let spec = format!(r#"{{"security": {{"{key}": [{name:?}]}}}}"#);
                let why = stage.refused(&spec);
                assert!(why.contains("is not a capability"), "{spec}: {why}");
            }
        }
        // All that the kernel knows and we do not is gone from the bounding
        // set.
        let sandbox = stage.open(r#"{"security": {"profile": "privileged"}}"#);
        let known = sandbox.effective().unwrap().capabilities.len() as u32;
        let [.., bounding] = caps(&sandbox, status());
        assert_eq!(bounding.count_ones(), known);
    });
}

#[test]
fn c04_groups_are_those_of_the_image() {
    everybody(|| {
        let stage = Stage::new();
        stage.file(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\nbob:x:1001:100::/:/bin/sh\n",
        );
        stage.file(
            "etc/group",
            "root:x:0:\nusers:x:100:\naudio:x:29:alice,bob\nstaff:x:50:bob\nwide:x:4000:alice\nbroken:x:-1:alice\n",
        );
        let sandbox = stage.open("{}");
        let groups = |user: &str| {
            let status = said(&sandbox, status().user(user));
            let line = status.lines().find_map(|l| l.strip_prefix("Groups:"));
            line.unwrap().trim().to_owned()
        };
        if is_single() {
            // Denied by the kernel, user_namespaces(7): the caller's groups
            // stay, unmapped.
            assert!(sandbox.run(status().user("alice")).is_err());
            return;
        }
        assert_eq!(groups("0"), "0");
        assert_eq!(groups("alice"), "29 100 4000");
        assert_eq!(groups("1000"), "29 100 4000");
        assert_eq!(groups("bob"), "29 50 100");
        assert_eq!(groups("alice:staff"), "50");
        assert_eq!(groups("alice:7"), "7");
        assert_eq!(groups("1234"), "0");
    });
}

#[test]
fn c04_group_that_a_file_denies_stays_denied() {
    need!(root, program("setpriv"));
    // The host is in groups whose files its users may not read.
    let wrapper = ["setpriv", "--groups", "0,29,4000"];
    again(&wrapper, ("C04", "1"), || {
        let stage = Stage::new();
        stage.file("etc/denied", "for all but the group");
        stage.mode("etc/denied", 0o604);
        std::os::unix::fs::chown(stage.at("etc/denied"), Some(0), Some(29)).unwrap();
        stage.file("etc/given", "for the group");
        stage.mode("etc/given", 0o640);
        std::os::unix::fs::chown(stage.at("etc/given"), Some(0), Some(4000)).unwrap();
        stage.file(
            "etc/passwd",
            "alice:x:1000:100::/:/bin/sh\neve:x:1001:100::/:/bin/sh\n",
        );
        stage.file("etc/group", "audio:x:29:alice\n");
        let sandbox = stage.open("{}");
        let read = |user: &str| {
            said(
                &sandbox,
                probing("open r /etc/denied /etc/given").user(user),
            )
        };
        assert_eq!(read("alice"), "/etc/denied EACCES\n/etc/given EACCES\n");
        assert_eq!(read("eve"), "/etc/denied ok\n/etc/given EACCES\n");
    });
}

#[test]
fn c05_numbers_are_never_names_and_never_wrap() {
    everybody(|| {
        let stage = Stage::new();
        let names = [
            "4294967296",
            "2147483648",
            "-1",
            "0x0",
            "+0",
            " 0",
            "1",
            "4294967295",
            "1e3",
        ];
        let lines: String = names
            .iter()
            .map(|n| format!("{n}:x:0:0::/:/bin/sh\n"))
            .collect();
        let wrapping = "wraps:x:4294967296:0::/:\nlow:x:-1:0::/:\nhex:x:0x0:0::/:\nblank:x::0::/:\ngroup:x:5:4294967296::/:\n";
        stage.file("etc/passwd", format!("{lines}{wrapping}"));
        stage.file("etc/group", lines.replace(":0:0::/:/bin/sh", ":0:"));
        let sandbox = stage.open("{}");
        for name in names {
            for user in [name.to_owned(), format!("{name}:0"), format!("0:{name}")] {
                match sandbox.run(probing("ids").user(&user)) {
                    Err(_) => {}
                    Ok(output) => {
                        let ids = String::from_utf8(output.stdout).unwrap();
                        let exact = ["1 1 0 0\n", "0 0 1 1\n"];
                        assert!(
                            name == "1" && exact.contains(&ids.as_str()),
                            "{user}: {ids}"
                        );
                    }
                }
            }
        }
        for user in [
            "wraps", "low", "hex", "blank", "group", "none", "0:none", "0:0:0", "\u{660}",
        ] {
            let run = sandbox.run(probing("ids").user(user));
            let refused = run.as_ref().is_err_and(|e| e.step() == "look up user");
            assert!(refused, "{user:?}: {run:?}");
        }
    });
}

#[test]
fn c06_hostile_databases_are_bounded() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = |name: &str| {
            let sandbox = stage.open(r#"{"limits": {"output": "1m"}}"#);
            let began = Instant::now();
            for user in ["0", "", "alice", "0:staff", "7:7"] {
                // Any result is fine, soon.
                let _ = sandbox.run(command(["/bin/true"]).user(user));
            }
            let elapsed = began.elapsed();
            assert!(elapsed < Duration::from_secs(5), "{name}: {elapsed:?}");
            // The init is well: its memory did not grow.
            let status = said_or_nothing(&sandbox);
            assert!(
                !status.contains("VmRSS") || rss(&status) < 64 << 10,
                "{name}: {status}"
            );
        };
        for file in ["etc/passwd", "etc/group"] {
            let kept = fs::read(stage.at(file)).unwrap();
            for target in [
                "/proc/kcore",
                "/dev/zero",
                "/dev/tty",
                "/proc/self/fd/0",
                "/proc/self/mem",
                "/none",
                "passwd",
                "group",
                "/proc/1/environ",
            ] {
                stage.relink(target, file);
                sandbox(&format!("{file} -> {target}"));
            }
            let outside = stage.victim.path().join("passwd");
            stage.relink(outside, file);
            sandbox("victim");
            stage.remove(file);
            stage.dir(file);
            sandbox("directory");
            stage.remove(file);
            nix::unistd::mkfifo(&stage.at(file), nix::sys::stat::Mode::S_IRWXU).unwrap();
            sandbox("fifo");
            stage.remove(file);
            let sparse = fs::File::create(stage.at(file)).unwrap();
            sparse.set_len(10_000_000_000).unwrap();
            sandbox("sparse");
            sparse.set_len(10 << 20).unwrap();
            sandbox("all zeros");
            stage.file(file, ":".repeat(1 << 20));
            sandbox("colons");
            stage.file(file, "\n".repeat(9 << 20));
            sandbox("lines");
            let members = "alice,".repeat(1 << 20);
            stage.file(file, format!("staff:x:50:{members}\n"));
            sandbox("members");
            let groups: String = (0..5000).map(|n| format!("g{n}:x:{n}:root\n")).collect();
            stage.file(file, groups);
            sandbox("groups");
            stage.remove(file);
            fs::write(stage.at(file), kept).unwrap();
        }
        stage.victim.assert_intact();
    });
}

/// Process 1's status, if a command can be started at all.
fn said_or_nothing(sandbox: &Sandbox) -> String {
    let run = sandbox.run(command(["/bin/cat", "/proc/1/status"]));
    run.map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).into())
}

/// Resident KiB.
fn rss(status: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn c07_environment_is_never_filled_from_the_host() {
    again(&["env"], ("TARE_CANARY", "canary-5f1e"), || {
        let stage = Stage::new();
        for name in ["TARE_CANARY=", "=x", "", "A=B", "A\0"] {
            let mut spec = stage.spec("{}");
            spec.env.insert(name.into(), "x".into());
            let error = Sandbox::open(&stage.store, &spec).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
            let sandbox = stage.open("{}");
            assert!(
                sandbox.run(shell("true").env(name, "x")).is_err(),
                "{name:?}"
            );
        }
        let sandbox = stage.open(r#"{"env": {"TARE_CANARY": "", "A": "1"}}"#);
        let seen = said(
            &sandbox,
            command(["/bin/busybox", "env"]).env("A", "2").env("A", "3"),
        );
        assert!(
            seen.contains("TARE_CANARY=\n") && !seen.contains("canary"),
            "{seen}"
        );
        assert!(
            seen.contains("A=3\n") && seen.matches("A=").count() == 1,
            "{seen}"
        );
        let long = "x".repeat(100_000);
        assert!(sandbox.run(shell("true").env("LONG", &long)).is_ok());
        assert!(
            sandbox
                .run(shell("true").env("LONG", long.repeat(11)))
                .is_err()
        );
    });
}

#[test]
fn c10_names_are_refused_before_any_use() {
    everybody(|| {
        let long = "x".repeat(300);
        for name in [
            "/", "a/b", "..", "../x", "a\0b", "a\nb", "", "-a", ".", "a b", "ä", &long,
        ] {
            let spec = Spec {
                hostname: Some(name.into()),
                ..Spec::default()
            };
            let error = spec.validate().expect_err(name);
            assert!(error.step().contains("hostname"), "{name:?}: {error}");
            assert!(!error.to_string().contains('\n') && !error.to_string().contains('\0'));
        }
        for device in [
            "/dev/null:/dev/../etc/x",
            "/dev/null:/etc/x",
            "dev/null",
            "/dev/null:/dev/x:z",
        ] {
            let spec = format!(r#"{{"security": {{"devices": [{device:?}]}}}}"#);
            assert!(Spec::from_json(&spec).is_err(), "{device}");
        }
        // Free text stays text.
        let stage = Stage::new();
        let mut spec = stage.spec("{}");
        let label = "../../x\n/y";
        spec.labels.insert(label.into(), label.into());
        let sandbox = Sandbox::open(&stage.store, &spec).unwrap();
        let effective = sandbox.effective().unwrap();
        assert_eq!(effective.labels[label], label);
        assert!(
            effective
                .name
                .bytes()
                .all(|b| b.is_ascii_digit() || b"-.".contains(&b)),
            "{}",
            effective.name
        );
    });
}

#[test]
fn c11_setuid_and_file_capabilities_gain_nothing() {
    everybody(|| {
        let stage = Stage::new();
        fs::copy(stage.at("bin/probe"), stage.at("bin/setuid")).unwrap();
        stage.mode("bin/setuid", 0o4755);
        for (spec, gains) in [
            ("{}", false),
            (r#"{"security": {"no_new_privs": false}}"#, true),
        ] {
            let sandbox = stage.open(spec);
            ran(
                &sandbox,
                shell(
                    "busybox cp /bin/busybox /tmp/busybox; probe filecap /tmp/busybox; busybox chmod 755 /tmp/busybox",
                ),
            );
            if is_single() {
                continue;
            }
            let ids = said(&sandbox, command(["/bin/setuid", "ids"]).user("1000:1000"));
            assert_eq!(
                ids,
                if gains {
                    "1000 0 1000 1000\n"
                } else {
                    "1000 1000 1000 1000\n"
                }
            );
            let status = command(["/tmp/busybox", "cat", "/proc/self/status"]).user("1000:1000");
            let [_, _, permitted, ..] = caps(&sandbox, status);
            assert_eq!(permitted, if gains { DEFAULT } else { 0 }, "{spec}");
            let raised = answers_as(&sandbox, "raise", "1000:1000");
            assert!(
                raised.iter().all(|(_, answer)| answer != "ok"),
                "{raised:?}"
            );
        }
    });
}

#[track_caller]
fn answers_as(sandbox: &Sandbox, words: &str, user: &str) -> Vec<(String, String)> {
    let lines = said(sandbox, probing(words).user(user));
    let pairs = lines.lines().filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn c12_nothing_is_typed_into_the_hosts_terminal() {
    need!(program("script"));
    // A terminal that controls a session of the host's.
    let wrapper = ["sh", "-c", "exec script -qefc \"$0 $*\" /dev/null"];
    again(&wrapper, ("C12", "1"), || {
        fs::File::open("/dev/tty").expect("a controlling terminal");
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        let seen = said(&sandbox, probing("terminal").stdin(Stdin::Inherit));
        for line in seen.lines() {
            let denied = ["EPERM", "EIO", "ENOTTY", "EINVAL", "ENXIO"];
            let answer = line.rsplit_once(' ').unwrap().1;
            assert!(denied.contains(&answer), "{seen}");
        }
        assert_eq!(seen.lines().count(), 4, "{seen}");
    });
}

#[test]
fn c12_terminal_of_the_sandbox_is_its_own() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        // Without a terminal no command can have a terminal.
        let none = answers(&sandbox, "terminal");
        assert!(none.iter().all(|(_, answer)| answer != "ok"), "{none:?}");
        let size = tare::Size {
            rows: 1,
            columns: 80,
        };
        let session = said(
            &sandbox,
            shell("cat /proc/self/stat | busybox cut -d' ' -f6,7; echo $$").tty(size),
        );
        let numbers: Vec<_> = session.split_whitespace().collect();
        assert!(numbers.len() == 3 && numbers[0] == numbers[2], "{session}");
    });
}
