// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of `tare run`, most of them docker-run(1)'s: each has its effect.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use common::{TARE, Tare, everybody, rows};
use tare_oracle::need;

#[test]
fn flags_do_what_they_say() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for row in rows(include_str!("flags.txt")) {
            let of_root = row.strip_prefix("root: ");
            if of_root.is_some() && !tare.is_root() {
                continue;
            }
            let (line, output) = of_root.unwrap_or(row).rsplit_once(" => ").expect(row);
            let (flags, script) = line.split_once("-- ").expect(row);
            let flags: Vec<&str> = flags.split_whitespace().collect();
            let said = tare.script(&flags, script);
            assert_eq!(said.ok(), output.replace("\\n", "\n"), "{row}");
        }
        // The shell is the entry point, and takes a line as argument.
        let said = tare.run(&["run", "--entrypoint", "sh", "host", "-c", "echo ran"]);
        assert_eq!(said.ok(), "ran");
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn network_of_the_host_has_its_interfaces() {
    need!(root, overlay);
    let said = Tare::new().script(&["--network", "host"], "cat /proc/net/dev");
    let outside = fs::read_to_string("/proc/net/dev").unwrap();
    assert_eq!(said.ok().lines().count(), outside.lines().count());
}

#[test]
fn groups_are_added_where_the_caller_has_them() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let said = tare.script(&["--group-add", "7", "--group-add", "daemon"], "id -G");
        match tare.ids() {
            ["0"] => said.fails(125, &["look up user", "EPERM", "subuid"]),
            _ => assert_eq!(said.ok(), "0 1 7"),
        }
    }
}

#[test]
fn files_hold_variables_labels_and_the_id() {
    need!(root, overlay);
    let tare = Tare::new();
    let dir = tare.tempdir();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("env"), "# of a file\nA=1\nB=a b\n CALLERS\n").unwrap();
    fs::write(path("labels"), "one=1\n").unwrap();
    let (env, labels, id) = (path("env"), path("labels"), path("id"));
    let flags = ["--env-file", &env, "-e", "A=2", "--label-file", &labels];
    let more = ["--name", "box", "--cidfile", &id, "--json"];
    let script = ["host", "--", "sh", "-c", "echo $A $B $CALLERS"];
    let args = [&["run"], &flags[..], &more, &script].concat();
    let said = common::Said::of(tare.command(&args).env("CALLERS", "own").output().unwrap());
    let json = said.json();
    assert_eq!(json["stdout"], "2 a b own\n");
    let effective = &json["effective"];
    assert_eq!(effective["labels"]["one"], "1");
    assert_eq!(effective["labels"]["name"], "box");
    assert_eq!(effective["name"], fs::read_to_string(&id).unwrap());
    // An open that fails leaves no file.
    fs::remove_file(&id).unwrap();
    tare.run(&["run", "--cidfile", &id, "no-such-image"])
        .fails(125, &["no-such-image"]);
    assert!(!fs::exists(&id).unwrap());
}

#[test]
fn command_in_the_host_begins_where_its_caller_is() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let script = "pwd; echo $PATH $LANG $LC_TIME $OTHER";
        let run = |flags: &[&str]| {
            let args = [&["run"], flags, &["host", "--", "sh", "-c", script]].concat();
            let mut command = tare.command(&args);
            command.current_dir(dir.path());
            command
                .env("PATH", "/bin:/own")
                .env("LANG", "C")
                .env("LC_TIME", "POSIX");
            common::Said::of(command.env("OTHER", "x").output().unwrap())
        };
        let own = fs::canonicalize(dir.path()).unwrap();
        let wanted = format!("{}\n/bin:/own C POSIX", own.display());
        assert_eq!(run(&[]).ok(), wanted);
        assert!(
            run(&["--clean-env"])
                .ok()
                .starts_with("/\n/usr/local/sbin:")
        );
        assert!(
            run(&["-w", "/etc", "-e", "LANG=x"])
                .ok()
                .starts_with("/etc\n/bin:/own x ")
        );
    }
}

#[test]
fn caller_in_a_directory_that_is_not_shown_is_told_where_to_begin() {
    need!(root, overlay);
    let tare = Tare::new();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = tare.command(&["run", "host", "--", "pwd"]);
    let said = common::Said::of(command.current_dir(&dir).output().unwrap());
    said.fails(125, &["change directory", "/dev/shm/", "-w /"]);
    // A removed directory is no directory of the caller any more.
    let script = format!("mkdir gone; cd gone; rmdir ../gone; {TARE} run host -- pwd");
    let mut command = tare.shell(&script);
    let said = common::Said::of(command.current_dir(&dir).output().unwrap());
    assert_eq!(said.ok(), "/");
}

#[test]
fn path_may_be_any_bytes() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let source = dir.path().join(std::ffi::OsStr::from_bytes(b"a\\b\xff"));
        fs::write(&source, "content").unwrap();
        let mut volume = source.as_os_str().to_owned();
        volume.push(":/mnt/x");
        let mut command = tare.command(&["run", "-v"]);
        let output = command.arg(volume).args(["host", "cat", "/mnt/x"]).output();
        assert_eq!(common::Said::of(output.unwrap()).ok(), "content");
    }
}

/// Runs only as root, because root has cgroups on every machine.
#[test]
fn limits_are_read_back() {
    need!(
        root,
        overlay,
        controller("pids"),
        controller("memory"),
        controller("cpu")
    );
    for (flags, key, value) in [
        ("-m 64m", "limits.memory", "67108864"),
        (
            "-m 64m --memory-swap 80m --cpus 0.5 --pids-limit 17",
            "limits.pids",
            "17",
        ),
        ("--cpuset-cpus 0", "limits.cpuset", "0"),
        // By the version of cgroups.
        ("-c 512", "limits.cpu_weight", "512 or 50"),
        ("--cpu-quota 50000", "limits.cpus", "50000 or 50000 100000"),
        (
            "--cpu-quota 50000 --cpu-period 25000",
            "limits.cpus",
            "200000 or 200000 100000",
        ),
    ] {
        let flags = [&["--json"][..], &flags.split(' ').collect::<Vec<_>>()].concat();
        let json = Tare::new().script(&flags, "true").json();
        let limits = json["effective"]["cgroup"]["limits"].as_array().unwrap();
        let limit = limits.iter().find(|limit| limit["key"] == key);
        let found = limit.unwrap()["value"].as_str().unwrap();
        assert!(
            value.split(" or ").any(|one| one == found),
            "{flags:?}: {found}"
        );
    }
}

/// The rule allows a device missing in the default list: /dev/loop-control,
/// whose node is made inside.
#[test]
fn device_rule_allows_a_node_wherever_it_is() {
    need!(root, overlay, user("subids"));
    let script = "mknod /n c 10 237 && : </n && echo opened";
    let flags = ["--device-cgroup-rule", "c 10:237 rwm"];
    assert_eq!(Tare::new().script(&flags, script).ok(), "opened");
    let said = Tare::new().script(&[], script);
    assert!(said.stderr.contains("not permitted"), "{said:?}");
    Tare::of(tare_oracle::ordinary_user(true))
        .script(&flags, script)
        .fails(125, &["security.device_rules", "security.devices"]);
}
