// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user of a command; and the whole suite once more, run by ordinary users.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{env, fs};

use tare::{Command, Kind, Sandbox, Spec};
use tare_oracle::again::{all_pass_again, passes_again, this_program};
use tare_oracle::{need, ordinary_user};

use crate::harness::{Ground, open_default, sh, text};
use crate::trees::Mounted;

#[test]
fn user_words_give_ids_groups_and_home() {
    need!(root);
    let (_ground, sandbox) = open_default();
    for (user, expected) in [
        ("", "0 0 0 /root"),
        ("root", "0 0 0 /root"),
        ("alice", "1000 1000 1000 10 50 /home/alice"),
        ("1000", "1000 1000 1000 10 50 /home/alice"),
        ("alice:staff", "1000 50 50 /home/alice"),
        ("alice:77", "1000 77 77 /home/alice"),
        ("bob", "1001 100 100 10 /"),
        ("1234", "1234 0 0 /"),
        ("1234:4321", "1234 4321 4321 /"),
        ("0:alice", "0 1000 1000 /root"),
        ("2147483647", "2147483647 0 0 /"),
    ] {
        let command = sh("echo $(id -u) $(id -g) $(id -G) $HOME").user(user);
        assert_eq!(text(&sandbox, command).trim_end(), expected, "{user:?}");
    }
}

#[test]
fn user_unknown_or_malformed_is_refused() {
    let (_ground, sandbox) = open_default();
    for (user, kind) in [
        ("no-such-user", Kind::NotFound),
        ("root:no-such-user", Kind::NotFound),
        ("1000x", Kind::Invalid),
        ("-1", Kind::Invalid),
        ("+1", Kind::Invalid),
        ("2147483648", Kind::Invalid),
        ("4294967296", Kind::Invalid),
        ("0:4294967295", Kind::Invalid),
    ] {
        let error = sandbox.spawn(Command::new("true").user(user)).unwrap_err();
        let seen = (error.step(), error.kind());
        assert_eq!(seen, ("look up user", kind), "{user:?}: {error}");
    }
    // As with Docker, an empty part is the default.
    for user in ["0:", ":"] {
        let output = sandbox.run(sh("id -u; id -g").user(user)).unwrap();
        assert_eq!(output.stdout, b"0\n0\n", "{user:?}");
    }
}

#[test]
fn user_who_is_not_root_has_no_capability() {
    need!(root);
    let (_ground, sandbox) = open_default();
    let command = sh("grep Cap /proc/self/status | grep -v CapBnd").user("alice");
    let shown = text(&sandbox, command);
    assert_eq!(shown.matches("0000000000000000").count(), 4, "{shown}");
}

/// The directory that [`ordinary_users_see_a_host_whose_entries_vanish`]
/// changes all the time.
const CHANGING: &str = "TARE_TEST_CHANGING";

fn user_opens_a_changing_host_again_and_again(dir: OsString) {
    let ground = Ground::new();
    for write in ["memory", "disk", "none"] {
        for _ in 0..100 {
            let spec = Spec::from_json(&format!(r#"{{"write": {write:?}}}"#)).unwrap();
            let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
            let shown = text(&sandbox, Command::new("ls").arg(&dir));
            assert!(shown.contains("stays\n"), "{write}: {shown}");
        }
    }
}

#[test]
fn ordinary_users_see_a_host_whose_entries_vanish() {
    if let Some(dir) = env::var_os(CHANGING) {
        return user_opens_a_changing_host_again_and_again(dir);
    }
    need!(
        root,
        user("plain"),
        userns,
        overlay,
        kernel(5, 11),
        program("mount")
    );
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("stays")).unwrap();
    // The directory below a mount is taken whole; the directory around a mount,
    // entry by entry.
    let _mounted = Mounted::tmpfs(&dir.path().join("mounted"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                for n in 0..20 {
                    let path = dir.path().join(n.to_string());
                    match n % 3 {
                        0 => fs::create_dir(path),
                        1 => fs::write(path, ""),
                        _ => symlink("stays", path),
                    }
                    .unwrap();
                }
                for n in 0..20 {
                    let path = dir.path().join(n.to_string());
                    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
                }
            }
        });
        let mut command = ordinary_user(false).command(this_program());
        let passes = || {
            passes_again(
                command.env(CHANGING, dir.path()),
                "users::ordinary_users_see_a_host_whose_entries_vanish",
            )
        };
        let passed = catch_unwind(AssertUnwindSafe(passes));
        stop.store(true, Relaxed);
        passed.unwrap();
    });
}

/// Runs all other tests in this binary as the user; tests that need root skip
/// themselves.
#[track_caller]
fn all_pass_for(subids: bool) {
    all_pass_again(&mut ordinary_user(subids).command(this_program()), 2);
}

#[test]
fn ordinary_users_with_one_id_pass_all() {
    need!(user("plain"), userns, overlay, kernel(5, 11));
    all_pass_for(false);
}

#[test]
fn ordinary_users_with_subordinate_ids_pass_all() {
    need!(user("subids"), userns, overlay, kernel(5, 11));
    all_pass_for(true);
}
