// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of docker-run(1): each has its effect, and none is unknown.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use common::{TARE, Tare, everybody};
use tare_oracle::need;

/// Flags, a shell's line, and its output.
type Case = (&'static [&'static str], &'static str, &'static str);

const CASES: [Case; 20] = [
    (&["--umask", "0027"], "umask", "0027"),
    (
        &["--add-host", "db:10.0.0.1", "--add-host=six=::1"],
        "grep -wc -e 10.0.0.1 -e six /etc/hosts",
        "2",
    ),
    (
        &["--sysctl", "net.core.somaxconn=77"],
        "cat /proc/sys/net/core/somaxconn",
        "77",
    ),
    (
        &["--tmpfs", "/mnt:size=1m,noexec,nosuid"],
        "stat -f -c %b /mnt",
        "256",
    ),
    (
        &["--mount", r#"type=tmpfs,"dst=/mnt/a,b""#],
        "stat -f -c %T '/mnt/a,b'",
        "tmpfs",
    ),
    (
        &["-v", "/etc:/mnt:ro,z"],
        "test -s /mnt/passwd && echo there",
        "there",
    ),
    (
        &["--rm=true", "--init", "--tty=false"],
        "test -t 1 || echo none",
        "none",
    ),
    (
        &["--read-only=true"],
        "touch /x 2>/dev/null || echo read-only",
        "read-only",
    ),
    (&["--read-only=0"], "touch /x && echo writable", "writable"),
    (
        &["--storage-opt", "size=1m"],
        "df -k --output=size / | tail -n 1 | tr -d ' '",
        "1024",
    ),
    (
        &["--shm-size", "1m"],
        "df -k --output=size /dev/shm | tail -n 1 | tr -d ' '",
        "1024",
    ),
    (&["--uts", "private"], "hostname | wc -w", "1"),
    (&["--ipc=private", "--cgroupns=private"], "echo ran", "ran"),
    (&["--ulimit", "nofile=99"], "ulimit -n", "99"),
    (&["--entrypoint", "sh"], "echo ran", "ran"),
    (
        &["--network", "none", "--net=none"],
        "ls /sys/class/net",
        "lo",
    ),
    (
        &["--pull", "never", "--restart=no", "--sig-proxy"],
        "echo ran",
        "ran",
    ),
    (&["-q", "--name", "x", "--label", "a=b"], "echo ran", "ran"),
    (&["--env", "A=1", "-e", "B=2"], "echo $A$B", "12"),
    (&["--clean-env"], "pwd", "/"),
];

#[test]
fn flags_of_docker_do_what_they_say() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for (flags, script, output) in CASES {
            // The shell is the entry point then, and takes a line as argument.
            let said = match flags.contains(&"--entrypoint") {
                true => tare.run(&[&["run"], flags, &["host", "-c", script]].concat()),
                false => tare.script(flags, script),
            };
            assert_eq!(said.ok(), output, "{flags:?}");
        }
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn flag_without_a_meaning_here_is_one_line() {
    let tare = Tare::new();
    for (flags, words) in [
        (&["-d"][..], &["--detach: ", "try: tare run"][..]),
        (&["-p", "80:80"], &["--publish: ", "--network host"]),
        (&["--gpus=all"], &["--gpus: ", "--device"]),
        (&["--restart", "always"], &["--restart: "]),
        (
            &["--oom-kill-disable"],
            &["--oom-kill-disable: ", "--memory"],
        ),
        (&["-v", "/etc:/mnt:rshared"], &["rshared", "rprivate"]),
        (
            &["--mount", "type=volume,src=a,dst=/b"],
            &["names", "type=bind"],
        ),
        (&["--rm=maybe"], &["maybe", "true, false"]),
        (
            &["--add-host", "db:host-gateway"],
            &["host-gateway", "NAME:ADDRESS"],
        ),
        (
            &["--sysctl", "vm.swappiness=1"],
            &["vm.swappiness", "no namespace"],
        ),
        (&["--device-cgroup-rule", "c 1"], &["c 1", "rwm"]),
        (&["--env-file", "/no/such"], &["read env file", "ENOENT"]),
        (
            &["--cidfile", "/etc/passwd"],
            &["make cidfile", "EEXIST", "rm /etc/passwd"],
        ),
        (&["--cpus=1", "--cpu-quota=1"], &["--cpu-quota"]),
    ] {
        let args = [&["run"], flags, &["host", "true"]].concat();
        tare.run(&args).fails(125, words);
    }
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
fn limits_of_docker_are_read_back() {
    need!(root, overlay, controller("cpu"));
    for (flags, key, value) in [
        (&["-c", "512"][..], "limits.cpu_weight", ["512", "50"]),
        (
            &["--cpu-quota", "50000"],
            "limits.cpus",
            ["50000", "50000 100000"],
        ),
        (
            &["--cpu-quota", "50000", "--cpu-period", "25000"],
            "limits.cpus",
            ["200000", "200000 100000"],
        ),
    ] {
        let said = Tare::new().script(&[flags, &["--json"]].concat(), "true");
        let json = said.json();
        let limits = json["effective"]["cgroup"]["limits"].as_array().unwrap();
        let limit = limits.iter().find(|limit| limit["key"] == key);
        let found = limit.unwrap()["value"].as_str().unwrap();
        assert!(value.contains(&found), "{flags:?}: {found}");
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
