// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare doctor`: text and JSON, for root and for ordinary users, without
//! leftovers.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use common::{Said, Tare, everybody};
use tare_oracle::{need, ordinary_user};

#[test]
fn doctor_finds_what_sandboxes_then_do() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let said = tare.run(&["doctor", "--json"]);
        let report = said.json();
        let opens = tare.script(&[], "true").status == 0;
        assert_eq!(report["ok"], opens, "{said:?}");
        for check in report["checks"].as_array().unwrap() {
            // Every negative finding gives a reason.
            let silent = check["found"].as_str().unwrap().is_empty();
            assert!(check["ok"] == true || !silent, "{check}");
        }
        let can = |name: &str| {
            let checks = report["checks"].as_array().unwrap();
            let check = checks.iter().find(|c| c["name"] == name);
            check.unwrap_or_else(|| panic!("{name}: {said:?}"))["ok"] == true
        };
        for (name, flags) in [
            ("limits.memory", ["-m", "64m"]),
            ("limits.pids", ["--pids-limit", "50"]),
            ("limits.cpus", ["--cpus", "1"]),
            ("limits.cpu_weight", ["--cpu-shares", "1024"]),
            ("limits.cpuset", ["--cpuset-cpus", "0"]),
            ("limits.io", ["--blkio-weight", "100"]),
        ] {
            let said = tare.script(&flags, "true");
            assert_eq!(can(name), said.status == 0, "{name}: {said:?}");
        }
    }
}

#[test]
fn doctor_leaves_no_cgroup() {
    need!(root, cgroup_v2);
    let tare = Tare::new();
    let child = tare.command(&["doctor"]).spawn().unwrap();
    // Cgroups are named after the process that makes them.
    let prefix = format!("tare-{}-", child.id());
    child.wait_with_output().unwrap();
    let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        // Files that vanish meanwhile belong to other processes.
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            assert!(!name.to_string_lossy().starts_with(&prefix), "{entry:?}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
}

#[test]
fn doctor_text_is_a_table_with_cures() {
    for tare in everybody() {
        let said = tare.run(&["doctor"]);
        let lines: Vec<&str> = said.stdout.lines().collect();
        assert!(
            lines.iter().any(|l| l.starts_with("ok    kernel ")),
            "{said:?}"
        );
        assert!(lines.last().unwrap().contains("sandbox"), "{said:?}");
    }
}

#[test]
fn doctor_in_a_setuid_program_ignores_the_callers_environment() {
    need!(root, user("plain"), user("subids"));
    let (caller, other) = (ordinary_user(false), ordinary_user(true));
    let dir = caller.tempdir();
    let program = dir.path().join("tare");
    fs::copy(env!("CARGO_BIN_EXE_tare"), &program).unwrap();
    let found = |owner: u32, mode| {
        // A change of the owner drops the set-user-id bit.
        chown(&program, Some(owner), None).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        let mut command = caller.command(&program);
        let command = command
            .args(["doctor", "--json"])
            .env("TARE_STORE", dir.path());
        let said = Said::of(command.env("XDG_DATA_HOME", dir.path()).output().unwrap());
        let report = said.json();
        let checks = report["checks"].as_array().unwrap();
        let store = checks.iter().find(|check| check["name"] == "store");
        store.unwrap()["found"].as_str().unwrap().to_owned()
    };
    let named = format!("{}: writable", dir.path().display());
    assert_eq!(found(caller.uid, 0o755), named);
    let of_root = found(0, 0o4755);
    assert!(of_root.starts_with("/var/lib/tare: "), "{of_root}");
    let of_other = found(other.uid, 0o4755);
    assert!(of_other.contains("set-user-id program"), "{of_other}");
}
