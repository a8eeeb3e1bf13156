// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity of the caller to the kernel, and of a command in a view of the
//! host.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::{env, fs, process};

use tare::image::{ImportOptions, Root};
use tare::{Command, Sandbox, Spec, Store};
use tare_oracle::again::{passes_again, test_of, this_program};
use tare_oracle::{image, need, ordinary_user};

use crate::harness::{Ground, line, open_default, run, sh, text};
use crate::odd::behind;

/// The caller that a test process stands for.
pub(crate) const CALLER: &str = "TARE_TEST_CALLER";

/// Every kind of caller: root of the machine, ordinary users, and user 0 of a
/// user namespace with a single id and with many.
pub(crate) const CALLERS: [&str; 5] = ["root", "plain", "subids", "root-of-one", "root-of-many"];

/// A command that runs this test program as a caller.
pub(crate) fn as_caller(caller: &str) -> process::Command {
    let exe = this_program();
    match caller {
        "root" => process::Command::new(exe),
        kind => tare_oracle::caller(kind).command(exe),
    }
}

/// Runs a test of this program as a caller, in a process that `prepare` may
/// change.
#[track_caller]
pub(crate) fn again(test: &str, caller: &str, prepare: impl FnOnce(&mut process::Command)) {
    let mut command = as_caller(caller);
    command.env(CALLER, caller);
    prepare(&mut command);
    passes_again(&mut command, test);
}

pub(crate) fn is_again() -> bool {
    env::var_os(CALLER).is_some()
}

/// Runs a test's check for every caller, each in a process of its own.
#[track_caller]
pub(crate) fn for_each_caller(check: impl FnOnce(&str)) {
    for_callers(&CALLERS, |_| (), check);
}

/// Runs a test's check for some callers, each in a process that `prepare` may
/// change: the test of this name once more.
#[track_caller]
pub(crate) fn for_callers<F: FnOnce(&str)>(
    callers: &[&str],
    prepare: impl Fn(&mut process::Command),
    check: F,
) {
    if let Ok(caller) = env::var(CALLER) {
        return check(&caller);
    }
    need!(root);
    if callers != ["root"] {
        need!(callers);
    }
    for caller in callers {
        again(test_of(&check), caller, &prepare);
    }
}

fn open_host(ground: &Ground, json: &str) -> Sandbox {
    let spec = Spec::from_json(json).unwrap();
    Sandbox::open(&ground.store, &spec).unwrap_or_else(|e| panic!("{json}: {e}"))
}

#[test]
fn caller_of_any_kind_opens_the_default() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        let report = tare::doctor(Some(&ground.path("store")));
        assert!(report.ok, "{report:?}");
        for sandbox in [open_host(&ground, "{}"), ground.open()] {
            let effective = sandbox.effective().unwrap();
            let ids = match caller {
                "root" => "host",
                "plain" | "root-of-one" => "single",
                _ => "subordinate",
            };
            assert_eq!(effective.ids, ids);
            let has_users = effective.namespaces.iter().any(|kind| kind == "user");
            assert_eq!(has_users, caller != "root");
            assert_eq!(effective.cgroup["devices"].is_null(), caller != "root");
            let script = "id -u; echo x >/dev/null; head -c 1 /dev/zero | wc -c; : >/made";
            assert_eq!(line(&sandbox, script), "0\n1");
        }
        if ids_are_many(caller) {
            let command = sh("id -u; id -g").user("1000:50");
            assert_eq!(text(&ground.open(), command), "1000\n50\n");
        }
    });
}

pub(crate) fn ids_are_many(caller: &str) -> bool {
    matches!(caller, "root" | "subids" | "root-of-many")
}

/// The owners of an image's files are the same for every caller with many ids.
#[test]
fn caller_with_many_ids_keeps_the_owners_of_files() {
    for_each_caller(|caller| {
        let (_ground, sandbox) = open_default();
        let script = "touch /f && chown 7:8 /f 2>/dev/null; stat -c %u:%g /f";
        let owner = if ids_are_many(caller) { "7:8" } else { "0:0" };
        assert_eq!(line(&sandbox, script), owner);
    });
}

#[test]
fn caller_who_is_root_without_sys_admin_has_a_user_namespace() {
    need!(userns, overlay, kernel(5, 11));
    let words = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"];
    let lacks = |command: &mut _| behind(command, &[&["setpriv"][..], &words].concat());
    for_callers(&["root"], lacks, |_| {
        let ground = Ground::new();
        let sandbox = open_host(&ground, "{}");
        assert_eq!(sandbox.effective().unwrap().ids, "subordinate");
        assert_eq!(line(&sandbox, "id -u; echo x >/dev/null"), "0");
        assert!(tare::doctor(Some(&ground.path("store"))).ok);
        let made = run(&sandbox, sh("mknod /dev/here c 1 3"));
        assert!(!made.status.success(), "a device");
    });
}

#[test]
fn caller_with_no_new_privs_has_one_id() {
    let prepare = |command: &mut process::Command| {
        // SAFETY: prctl is async-signal-safe and takes numbers only.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_no_new_privs()?)) };
    };
    for_callers(&["subids"], prepare, |_| {
        let ground = Ground::new();
        for sandbox in [open_host(&ground, "{}"), ground.open()] {
            assert_eq!(sandbox.effective().unwrap().ids, "single");
            assert_eq!(line(&sandbox, "id -u"), "0");
            let spawned = sandbox.spawn(Command::new("true").user("1000"));
            let error = spawned.unwrap_err();
            assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
        }
        let report = tare::doctor(Some(&ground.path("store")));
        let mut checks = report.checks.iter();
        let check = checks.find(|c| c.name == "subordinate ids").unwrap();
        assert!(report.ok && !check.ok, "{report:?}");
        assert!(check.found.contains("no_new_privs"), "{check:?}");
    });
}

/// Users of a namespace keep images where they may write.
#[test]
fn caller_who_is_root_of_a_namespace_has_a_store_of_its_own() {
    for_each_caller(|caller| {
        let path = Store::default_path().unwrap();
        let home = env::var("HOME").unwrap();
        let expected = match caller {
            "root" => "/var/lib/tare".to_owned(),
            _ => format!("{home}/.local/share/tare"),
        };
        assert_eq!(path.display().to_string(), expected);
    });
}

/// The home of each caller, with files that user 0 inside owns.
#[test]
fn home_in_the_view_of_the_host_is_the_callers_own() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        let sandbox = open_host(&ground, "{}");
        let own = match caller {
            "root" => "/root".to_owned(),
            _ => env::var("HOME").unwrap(),
        };
        let script = "echo $HOME; cd; pwd; : >made-inside";
        assert_eq!(line(&sandbox, script), format!("{own}\n{own}"));
        for user in ["root", "0:0"] {
            assert_eq!(
                text(&sandbox, sh("echo $HOME").user(user)),
                format!("{own}\n")
            );
        }
        if ids_are_many(caller) {
            let command = sh("echo $HOME").user("tare-t-plain");
            let other = ordinary_home("tare-t-plain");
            assert_eq!(text(&sandbox, command), format!("{other}\n"));
        }
        let set = sh("echo $HOME").env("HOME", "/elsewhere");
        assert_eq!(text(&sandbox, set), "/elsewhere\n");
        // An image has its own users.
        assert_eq!(line(&ground.open(), "echo $HOME"), "/root");
        assert!(!Path::new(&own).join("made-inside").exists());
    });
}

fn ordinary_home(name: &str) -> String {
    let user = nix::unistd::User::from_name(name).unwrap().unwrap();
    user.dir.display().to_string()
}

#[test]
fn home_that_the_environment_names_counts_if_it_is_the_callers() {
    let check = || {
        let ground = Ground::new();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
        let home = user.unwrap().unwrap().dir.display().to_string();
        let expected = env::var("EXPECTED").unwrap_or(home);
        assert_eq!(line(&open_host(&ground, "{}"), "echo $HOME"), expected);
    };
    if is_again() {
        return check();
    }
    need!(callers);
    let homed = |caller, home: &Path, expected| {
        again(test_of(&check), caller, |command| {
            command.env("HOME", home).envs(expected);
        });
    };
    homed("plain", "/".as_ref(), None);
    homed("subids", "relative".as_ref(), None);
    homed("plain", "/nowhere".as_ref(), None);
    let own = ordinary_user(false).tempdir();
    homed("plain", own.path(), Some(("EXPECTED", own.path())));
}

/// A missing directory of the host stays missing; a missing directory of an
/// image is made.
#[test]
fn workdir_is_made_in_images_only() {
    for_each_caller(|_| {
        let ground = Ground::new();
        let missing = |json: &str, dir: Option<&str>, sandbox: &Sandbox| {
            let mut command = Command::new("pwd");
            if let Some(dir) = dir {
                command = command.cwd(dir);
            }
            let error = sandbox.spawn(command).expect_err(json);
            let seen = (error.step(), error.errno());
            assert_eq!(
                seen,
                ("change directory", Some(libc::ENOENT)),
                "{json}: {error}"
            );
        };
        for write in ["memory", "disk", "none"] {
            let json = format!(r#"{{"workdir": "/tmp/not/there", "write": {write:?}}}"#);
            let sandbox = open_host(&ground, &json);
            missing(&json, None, &sandbox);
            let looked = text(
                &sandbox,
                sh("pwd; ls -d /tmp/not 2>&1 | wc -l; test ! -e /tmp/not").cwd("/"),
            );
            assert_eq!(looked, "/\n1\n");
        }
        let json = r#"{"workdir": "/data/new", "mounts": [{"type": "tmpfs", "target": "/data"}]}"#;
        for image in [ground.spec_with(json), Spec::from_json(json).unwrap()] {
            let sandbox = Sandbox::open(&ground.store, &image).unwrap();
            missing(json, None, &sandbox);
            assert_eq!(text(&sandbox, sh("ls -A /data").cwd("/")), "");
        }
        let json = r#"{"workdir": "/of/the/spec"}"#;
        let sandbox = ground.open_with(json);
        assert_eq!(
            line(&sandbox, "pwd; stat -c %a:%u ."),
            "/of/the/spec\n755:0"
        );
        missing(json, Some("/of/a/command"), &sandbox);
        assert_eq!(line(&sandbox, "ls /of"), "the");
    });
}

/// Importing makes no user namespace, which an outer sandbox or container
/// forbids.
#[test]
fn image_in_a_default_sandbox_of_root_keeps_its_owners() {
    let name = "identity::image_in_a_default_sandbox_of_root_keeps_its_owners";
    let (ground, debian) = (Ground::new(), image("debian"));
    if !is_again() {
        need!(root, overlay, image("debian"));
        let sandbox = open_host(&ground, "{}");
        let command = Command::new(this_program())
            .args(["--exact", "--nocapture", name])
            .env(CALLER, "root")
            .env("TARE_IMAGES", debian.parent().unwrap());
        assert!(text(&sandbox, command).contains("1 passed"));
        return;
    }
    let reference = format!("oci:{}", debian.display()).parse().unwrap();
    let options = ImportOptions::default();
    let images = ground.store.images();
    let image = images.import(&reference, &options, &mut ()).unwrap();
    let dir = ground.dir("unpacked");
    ground
        .store
        .unpack(&reference, &dir, &options, &mut ())
        .unwrap();
    let Root::Layers(layers) = image.root() else {
        panic!("{image:?}")
    };
    for root in layers.iter().chain([&dir]) {
        let shadow = fs::metadata(root.join("etc/shadow"));
        if let Ok(shadow) = shadow {
            assert_eq!((shadow.uid(), shadow.gid()), (0, 42), "{root:?}");
        }
    }
    assert!(dir.join("etc/shadow").exists());
}
