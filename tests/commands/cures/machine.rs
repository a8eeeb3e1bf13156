// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures of machines: a caller meets an error, a shell runs the cure, the
//! caller tries again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{env, fs, process};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tare::{Command, Error, Kind, Sandbox, Spec};
use tare_oracle::again::only;
use tare_oracle::need;
use tempfile::NamedTempFile;

use super::{command, cure};
use crate::blocks::{Head, Tar};
use crate::harness::Ground;
use crate::identity::{CALLER, as_caller};
use crate::image_trees;
use crate::odd::behind;

/// The file for the shell's part of a cure.
pub(super) const TOLD: &str = "TARE_TEST_TOLD";
/// A limit that a caller sets before its try.
const LIMIT: &str = "TARE_TEST_LIMIT";
/// The attempt of a caller.
pub(super) const TRIES: &str = "TARE_TEST_TRIES";
/// The shell tries, and runs each cure, until no cure is printed.
pub(super) const LOOP: &str = "round=0; while [ $round -lt 9 ]; do \
    : >$TARE_TEST_TOLD; export TARE_TEST_ROUND=$round; \"$@\" || exit; \
    [ -s $TARE_TEST_TOLD ] || break; . $TARE_TEST_TOLD; round=$((round + 1)); done; \
    echo cured by $round";

/// A mount namespace of a machine's own.
const PRIVATE: &[&str] = &["unshare", "-m"];
const ORDINARY: &[&str] = &["plain", "subids"];
const ALL: &[&str] = &["root", "plain", "subids"];

/// A file that every caller may write to.
pub(super) fn told() -> NamedTempFile {
    let told = NamedTempFile::new().unwrap();
    fs::set_permissions(told.path(), fs::Permissions::from_mode(0o666)).unwrap();
    told
}

/// Root's `breaks` changes a machine; each of `callers` tries, and meets an
/// error whose cure helps.
#[track_caller]
fn is_cured(callers: &[&str], tries: &str, breaks: &str) {
    is_cured_in(PRIVATE, callers, tries, breaks);
}

/// The same behind other words than unshare(1) with a mount namespace.
#[track_caller]
fn is_cured_in(before: &[&str], callers: &[&str], tries: &str, breaks: &str) {
    need!(root, callers);
    for caller in callers {
        let told = told();
        let mut command = as_caller(caller);
        let envs = [(CALLER, *caller), (TRIES, tries)];
        command.envs(envs).env(TOLD, told.path()).current_dir("/");
        let script = format!("set -e; {breaks}; {LOOP}");
        behind(
            &mut command,
            &[before, &["bash", "-c", &script, "bash"]].concat(),
        );
        assert_cured(command, &format!("{breaks}, {caller}"));
    }
}

/// Has a shell run this program's [`caller_tries_and_tells`] until it succeeds.
#[track_caller]
pub(super) fn assert_cured(mut shell: process::Command, what: &str) {
    let output = only(&mut shell, "cures::machine::caller_tries_and_tells")
        .output()
        .unwrap();
    let [shown, errors] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let cured = (1..9).any(|n| shown.contains(&format!("cured by {n}\n")));
    assert!(output.status.success() && cured, "{what}: {shown}{errors}");
}

/// The other side of [`is_cured`].
#[test]
fn caller_tries_and_tells() {
    let (Some(told), Ok(tries)) = (env::var_os(TOLD), env::var(TRIES)) else {
        return;
    };
    if let Err(error) = attempt(&tries) {
        fs::write(told, pasted(&cure(&error))).unwrap();
    }
}

/// The words that a user would paste, with capitals replaced.
fn pasted(line: &str) -> String {
    if line.contains("by a larger range in /etc/subuid and /etc/subgid and: unshare ") {
        // The caller comes by unshare(1) each time.
        let larger = "s/^tare-t-subids:.*/tare-t-subids:1000000:200000/";
        return format!("sed -i {larger} /etc/subuid /etc/subgid\n");
    }
    match line.strip_suffix("=DIR, for a directory of your own") {
        Some(name) => format!("export {name}=/tmp\n"),
        // Root pastes the command here.
        None => command(line).replace("sudo ", "") + "\n",
    }
}

/// The cure of a check of doctor; `None` if the check is well.
fn doctors(name: &str) -> Option<String> {
    let report = tare::doctor(Some(Path::new("/tmp/no/store")));
    let check = report.checks.into_iter().find(|c| c.name == name && !c.ok);
    check.and_then(|check| check.cure)
}

/// A limit too low for starting this program, until a cure was pasted:
/// `nofile=SOFT:HARD`, without HARD for the present hard limit.
fn limit_once() {
    let Ok(limit) = env::var(LIMIT) else { return };
    if env::var("TARE_TEST_ROUND").as_deref() != Ok("0") {
        return;
    }
    let (name, numbers) = limit.split_once('=').unwrap();
    let resource = match name {
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        _ => Resource::RLIMIT_FSIZE,
    };
    let (soft, hard) = numbers.split_once(':').unwrap();
    let hard = hard.parse().unwrap_or(getrlimit(resource).unwrap().1);
    setrlimit(resource, soft.parse().unwrap(), hard).unwrap();
}

fn attempt(tries: &str) -> Result<(), Error> {
    if tries == "doctor open files" {
        limit_once();
    }
    if let Some(name) = tries.strip_prefix("doctor ") {
        return match doctors(name) {
            None => Ok(()),
            Some(cure) => Err(Error::new(Kind::Unsupported, "doctor", name).with_cure(cure)),
        };
    }
    let ground = &Ground::new();
    limit_once();
    let opened = |spec: &Spec| Sandbox::open(&ground.store, spec);
    match tries {
        "host" => opened(&Spec::default()).and_then(|s| s.run(Command::new("true")).map(drop)),
        "image" => opened(&ground.spec()).and_then(|s| s.run(Command::new("true")).map(drop)),
        "many" => {
            let all: Result<Vec<_>, _> = (0..60).map(|_| opened(&ground.spec())).collect();
            all.map(drop)
        }
        "few processes" => opened(&ground.spec()).map(drop),
        "file size" => {
            let sandbox = opened(&ground.spec())?;
            let files = sandbox.files();
            files.get("/bin/busybox", ground.path("copy")).map(drop)
        }
        "user" => {
            let sandbox = opened(&ground.spec())?;
            sandbox.run(Command::new("true").user("1000")).map(drop)
        }
        "owner" => {
            let layer = Tar::new().put(Head::new(b'0', "f").mode(0o644).owner(70_000, 0), "x");
            let image = image_trees::image(ground, "oci", &[layer]);
            image_trees::seen(ground, image.to_string(), "auto", "cat /f").map(drop)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn machine_without_procfs_is_cured() {
    is_cured(ALL, "host", "umount -l /proc");
}

#[test]
fn machine_whose_procfs_is_read_only_is_cured() {
    let breaks = "mount --bind /proc /proc; mount -o remount,bind,ro /proc";
    is_cured(ORDINARY, "host", breaks);
}

#[test]
fn machine_whose_cgroups_are_read_only_is_cured() {
    let breaks = "for m in $(awk '$9 ~ /^cgroup/ || $8 ~ /^cgroup/ {print $5}' /proc/self/mountinfo); do \
                  mount --bind $m $m; mount -o remount,bind,ro $m; done";
    is_cured(&["root"], "host", breaks);
}

#[test]
fn machine_whose_cgroups_are_covered_is_cured() {
    for breaks in [
        "mount -t tmpfs none /sys/fs/cgroup",
        "mount -t tmpfs none /sys",
    ] {
        for tries in ["host", "doctor cgroups"] {
            is_cured(&["root"], tries, breaks);
        }
    }
}

#[test]
fn machine_that_runs_no_memfd_is_cured() {
    need!(root, kernel(6, 3));
    let before = &["unshare", "-m", "--pid", "--fork", "--mount-proc"];
    let breaks = "sysctl -qw vm.memfd_noexec=2";
    is_cured_in(before, ALL, "host", breaks);
}

#[test]
fn machine_whose_programs_of_ids_are_nosuid_is_cured() {
    let breaks = "mount --bind /usr/bin /usr/bin; mount -o remount,bind,nosuid /usr/bin";
    is_cured(&["subids"], "doctor subordinate ids", breaks);
}

/// Hard limits, too: where they are met, root alone raises them, but each user
/// may lower those of a shell that has more.
#[test]
fn machine_with_low_limits_is_cured() {
    for (limit, callers, tries) in [
        ("nofile=100:", ALL, "many"),
        ("nofile=100:100", ALL, "many"),
        ("nofile=90:90", ORDINARY, "doctor open files"),
        ("nproc=1:", ORDINARY, "few processes"),
        ("nproc=1:1", ORDINARY, "few processes"),
        ("fsize=65536:", ALL, "file size"),
    ] {
        is_cured(callers, tries, &format!("export {LIMIT}={limit}"));
    }
}

/// A cgroup for the test, with room for the shell, two threads and one process
/// more.
const FULL: &str = "top=/sys/fs/cgroup/pids; [ -d $top ] || top=/sys/fs/cgroup; \
    ! [ -e $top/cgroup.subtree_control ] || echo +pids >$top/cgroup.subtree_control; \
    dir=$top/cures-$$; mkdir $dir; echo 4 >$dir/pids.max; \
    trap 'echo $$ >$top/cgroup.procs; \
          for n in 1 2 3 4 5 6 7 8 9; do rmdir $dir 2>/dev/null && break; sleep 0.2; done' EXIT; \
    echo $$ >$dir/cgroup.procs";

#[test]
fn machine_whose_cgroup_is_full_is_cured() {
    need!(root, controller("pids"));
    is_cured(&["root"], "image", FULL);
}

/// A copy of `/etc`, in which the machine's users can be changed.
const OWN_ETC: &str =
    "dir=$(mktemp -d); mount -t tmpfs none $dir; cp -a /etc $dir; mount --bind $dir/etc /etc";

#[test]
fn user_without_subordinate_ids_is_given_some() {
    for tries in ["doctor subordinate ids", "user"] {
        is_cured(&["plain"], tries, OWN_ETC);
    }
}

#[test]
fn root_of_ids_that_do_not_reach_is_given_more() {
    is_cured(&["root-of-many"], "owner", OWN_ETC);
}

#[test]
fn user_whose_ids_do_not_reach_is_given_more() {
    is_cured(&["subids"], "owner", OWN_ETC);
}

#[test]
fn doctor_without_a_directory_for_a_store_is_given_one() {
    let breaks = "export TMPDIR=/no/such";
    is_cured(ALL, "doctor sandbox", breaks);
}
