// SPDX-License-Identifier: MIT OR Apache-2.0
//! Odd machines: parts of procfs and cgroups are missing, a root that is no
//! mount, a confined host. A sandbox opens, or the error names reason and cure.

use std::os::unix::process::CommandExt as _;
use std::{env, process};

use tare::{Command, Error, Sandbox, Spec};
use tare_oracle::again::this_program;
use tare_oracle::need;

use crate::harness::{Ground, sh, text};
use crate::identity::{CALLER, CALLERS, for_callers, for_each_caller};

/// Has `command` run behind other words, such as unshare(1).
pub(crate) fn behind(command: &mut process::Command, words: &[&str]) {
    let mut new = process::Command::new(words[0]);
    new.args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        new.env(name, value.unwrap_or_default());
    }
    if let Some(dir) = command.get_current_dir() {
        new.current_dir(dir);
    }
    *command = new;
}

/// Has a command run in a mount namespace that `script` has changed.
pub(crate) fn on(script: &str) -> impl Fn(&mut process::Command) + use<> {
    let script = format!("set -e; {script}; exec \"$@\"");
    move |command| behind(command, &["unshare", "-m", "sh", "-c", &script, "sh"])
}

/// Callers for which no program needs a procfs or a root of its own.
const SIMPLE: [&str; 3] = ["root", "plain", "subids"];

/// Opens a view of the host, which `doctor` must know before.
fn open(ground: &Ground) -> Result<Sandbox, Error> {
    let opened = Sandbox::open(&ground.store, &Spec::default());
    let report = tare::doctor(Some(&ground.path("store")));
    assert_eq!(report.ok, opened.is_ok(), "{report:?} {opened:?}");
    let last = report.checks.last().unwrap();
    assert_eq!((&*last.name, last.ok), ("sandbox", opened.is_ok()));
    if let Err(error) = &opened {
        assert_eq!(last.cure.as_deref(), error.cure());
    }
    opened
}

#[track_caller]
fn assert_works(ground: &Ground) {
    let host = open(ground).unwrap();
    assert_eq!(text(&host, sh("id -u; ls -d /proc/1")), "0\n/proc/1\n");
    for write in ["memory", "disk"] {
        let image = ground.open_with(&format!(r#"{{"write": {write:?}}}"#));
        assert_eq!(text(&image, sh("id -u; : >/new")), "0\n");
    }
}

/// The error of an open; its cure must have these words.
#[track_caller]
fn assert_refused(ground: &Ground, words: &[&str]) {
    let error = open(ground).expect_err("refused");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(error.cure().is_some(), "{error}");
}

#[test]
fn odd_procfs_of_processes_only_is_enough() {
    let prepare = on("mount -t proc -o subset=pid proc /proc");
    for_callers(&CALLERS, prepare, |_| assert_works(&Ground::new()));
}

#[test]
fn odd_procfs_that_hides_others_is_enough() {
    let prepare = on("mount -t proc -o hidepid=2 proc /proc");
    for_callers(&CALLERS, prepare, |_| assert_works(&Ground::new()));
}

#[test]
fn odd_machine_without_procfs_is_told() {
    let words = ["/proc", "mount -t proc proc /proc"];
    for_callers(&SIMPLE, on("umount -l /proc"), |_| {
        assert_refused(&Ground::new(), &words);
    });
}

#[test]
fn odd_procfs_that_is_read_only_is_told() {
    let script = "mount --bind /proc /proc; mount -o remount,bind,ro /proc";
    for_callers(&SIMPLE, on(script), |caller| match caller {
        // The command writes to its own procfs only.
        "root" => assert_works(&Ground::new()),
        _ => assert_refused(&Ground::new(), &["map", "mount -o remount,rw /proc"]),
    });
}

#[test]
fn odd_sysfs_that_is_covered_is_told() {
    let prepare = on("mount -t tmpfs none /sys");
    for_callers(&CALLERS, prepare, |caller| match caller {
        "root" => assert_refused(&Ground::new(), &["mount -t cgroup2"]),
        _ => assert_refused(&Ground::new(), &["mount sysfs", "systempaths=unconfined"]),
    });
}

#[test]
fn odd_cgroups_that_are_covered_are_none() {
    let prepare = on("mount -t tmpfs none /sys/fs/cgroup");
    for_callers(&CALLERS, prepare, |caller| match caller {
        "root" => assert_refused(&Ground::new(), &["security.devices", "mount -t cgroup2"]),
        _ => assert_works(&Ground::new()),
    });
}

/// The cure of the error above.
#[test]
fn odd_cgroups_that_cover_others_are_used() {
    let script = "mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";
    for_callers(&["root"], on(script), |_| {
        let ground = Ground::new();
        let cgroup = open(&ground).unwrap().effective().unwrap().cgroup;
        assert_eq!(cgroup["version"], "v2");
        let path = cgroup["paths"][0].as_str().unwrap();
        assert!(path.starts_with("/sys/fs/cgroup/"), "{path}");
    });
}

#[test]
fn odd_cgroups_that_are_read_only_are_told() {
    let script = "for m in $(awk '$9 ~ /^cgroup/ || $8 ~ /^cgroup/ {print $5}' /proc/self/mountinfo); do \
                  mount --bind $m $m; mount -o remount,bind,ro $m; done";
    let words = ["EROFS", "mount -o remount,bind,rw /sys/fs/cgroup"];
    for_callers(&CALLERS, on(script), |caller| match caller {
        "root" => assert_refused(&Ground::new(), &words),
        _ => assert_works(&Ground::new()),
    });
}

/// A root that is a directory of a file system, in which the machine's
/// directories are mounted.
pub(crate) const CHROOT: &str = "dir=$(mktemp -d); for name in $(ls -A /); do \
    if [ -L /$name ]; then cp -d /$name $dir; \
    elif [ -d /$name ]; then mkdir $dir/$name; mount --rbind /$name $dir/$name; fi; done; \
    chmod 755 $dir; set -- chroot $dir \"$@\"";

#[test]
fn odd_chroot_that_is_no_mount_serves_root() {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts().lines().count();
    for_callers(&SIMPLE, on(CHROOT), |caller| match caller {
        "root" => assert_works(&Ground::new()),
        _ => assert_refused(&Ground::new(), &["make user namespace", "pivot_root(8)"]),
    });
    assert_eq!(before, mounts().lines().count(), "{}", mounts());
}

/// Confines the calling process as a host that has all of `/` and may still
/// mount nothing.
pub(crate) fn landlock() -> std::io::Result<()> {
    const ALL: u64 = (1 << 13) - 1;
    let call = |number, args: [libc::c_long; 4]| {
        // SAFETY: numbers, and pointers to values that outlive the call.
        match unsafe { libc::syscall(number, args[0], args[1], args[2], args[3]) } {
            -1 => Err(std::io::Error::last_os_error()),
            done => Ok(done),
        }
    };
    let handled = ALL;
    let set = call(
        libc::SYS_landlock_create_ruleset,
        [&raw const handled as libc::c_long, 8, 0, 0],
    )?;
    // struct landlock_path_beneath_attr: u64 and i32, packed.
    // SAFETY: a literal that ends with a NUL.
    let root = unsafe { libc::open(c"/".as_ptr(), libc::O_PATH) };
    let mut rule = [0u8; 12];
    rule[..8].copy_from_slice(&ALL.to_ne_bytes());
    rule[8..].copy_from_slice(&root.to_ne_bytes());
    let rule = rule.as_ptr() as libc::c_long;
    call(libc::SYS_landlock_add_rule, [set, 1, rule, 0])?;
    nix::sys::prctl::set_no_new_privs()?;
    call(libc::SYS_landlock_restrict_self, [set, 0, 0, 0]).map(drop)
}

#[test]
fn odd_host_under_landlock_is_told() {
    need!(landlock);
    let prepare = |command: &mut process::Command| {
        // SAFETY: system calls alone, nothing is allocated.
        unsafe { command.pre_exec(landlock) };
    };
    for_callers(&SIMPLE, prepare, |_| {
        assert_refused(&Ground::new(), &["make mounts private", "Landlock"]);
    });
}

/// The number of sandboxes around the test process.
const DEPTH: &str = "TARE_TEST_DEPTH";

/// Permissions that an outer sandbox needs to give to an inner sandbox.
const OUTER: &str = r#"{"security": {"seccomp": "off", "masked_paths": [], "readonly_paths": []}}"#;

/// Runs a test of this program once more as a caller, in a sandbox and behind
/// other words. The test finds `depth` in [`DEPTH`].
#[track_caller]
fn passes_inside(outer: &Sandbox, words: &[&str], test: &str, caller: &str, depth: &str) {
    let exe = this_program().into_os_string();
    let argv = words.iter().map(Into::into).chain([exe]);
    let command = Command::from_argv(argv)
        .args(["--exact", "--nocapture", test])
        .env(CALLER, caller)
        .env(DEPTH, depth);
    let output = outer.run(command).unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{depth}: {shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn odd_sandbox_in_a_sandbox_in_a_sandbox_opens() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        let depth: u32 = env::var(DEPTH).map_or(0, |depth| depth.parse().unwrap());
        if depth == 2 {
            assert_eq!(text(&open(&ground).unwrap(), sh("id -u")), "0\n");
            assert_eq!(text(&ground.open(), sh("id -u; : >/new")), "0\n");
            return;
        }
        let outer = Sandbox::open(&ground.store, &Spec::from_json(OUTER).unwrap()).unwrap();
        // As user 0 of the sandbox, then as user 0 of another user namespace
        // inside.
        for words in [&[][..], &["unshare", "-r"]] {
            let name = "odd::odd_sandbox_in_a_sandbox_in_a_sandbox_opens";
            passes_inside(&outer, words, name, caller, &(depth + 1).to_string());
        }
    });
}

#[test]
fn odd_default_sandbox_says_what_keeps_another_one_out() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        if let Ok(cure) = env::var(DEPTH) {
            return assert_refused(&ground, &[&cure]);
        }
        for (json, cure) in [
            ("{}", "--security-opt seccomp=unconfined"),
            (
                r#"{"security": {"seccomp": "off"}}"#,
                "--security-opt systempaths=unconfined",
            ),
        ] {
            let outer = Sandbox::open(&ground.store, &Spec::from_json(json).unwrap()).unwrap();
            let name = "odd::odd_default_sandbox_says_what_keeps_another_one_out";
            passes_inside(&outer, &[], name, caller, cure);
        }
    });
}
