// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacking in another process: as an ordinary user, under a umask, without
//! some system calls; and the host's own state, which must not change.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tare_oracle::again::{in_role, role, this_program};
use tare_oracle::tree::{Field, manifest};
use tare_oracle::{built, need, ordinary_user};

use crate::cage::{options, unpack_into};
use crate::metadata::{assert_all_modes, of_all_modes};
use crate::tar::{Head, Tar};

/// State of a process that the library must leave alone.
fn state() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let keys = [
        "Umask",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "Threads",
        "CapEff",
        "NoNewPrivs",
    ];
    let lines = status
        .lines()
        .filter(|l| keys.iter().any(|key| l.starts_with(key)));
    let mut state: Vec<_> = lines.map(str::to_owned).collect();
    let cwd = std::env::current_dir().unwrap();
    let fds = fs::read_dir("/proc/self/fd").unwrap().count();
    state.push(format!("{} {fds}", cwd.display()));
    state
}

/// Runs as the other process, told by its environment; not a test.
#[test]
#[ignore = "run by the tests of this file"]
#[allow(clippy::print_stdout, reason = "its parent reads it")]
fn other_process() {
    let Some((_, place)) = role() else {
        return;
    };
    let before = state();
    let blob = fs::read(place.join("blob")).unwrap();
    let result = unpack_into(&place.join("root"), &blob, &options());
    // The kernel counts threads until it is done with them, after the join.
    let began = Instant::now();
    while state() != before && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(state(), before);
    match result {
        Ok(unpacked) => println!("notes {:?}", unpacked.notes),
        Err(error) => panic!("refused: {error}"),
    }
}

/// Puts a layer and a root into `place`, and runs [`other_process`] through
/// `command`, which ends in a program to run.
fn run_through(mut command: Command, blob: &[u8], place: &Path) -> (bool, String) {
    fs::write(place.join("blob"), blob).unwrap();
    fs::create_dir_all(place.join("root")).unwrap();
    let command = in_role(&mut command, "hosts::other_process", "unpack", place.into());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// Unpacks entries of all modes under a umask, by a program that gets this one.
#[track_caller]
fn assert_all_modes_under(umask: &str, through: &[&OsStr]) {
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    command.args(through).arg(this_program());
    let (works, text) = run_through(command, &of_all_modes(), temp.path());
    assert!(works && text.contains("1 passed"), "{text}");
    assert_all_modes(&manifest(temp.path().join("root")).unwrap());
}

#[test]
fn e09_umask_of_the_host_changes_no_mode_and_stays() {
    for umask in ["000", "022", "077", "777"] {
        assert_all_modes_under(umask, &[]);
    }
}

#[test]
fn e09_modes_are_exact_where_unshare_is_forbidden() {
    need!(root);
    let enosys = built("tare-oracle", "enosys");
    let words = [enosys.as_os_str(), "unshare".as_ref(), "--".as_ref()];
    assert_all_modes_under("077", &words);
}

#[test]
fn layer_without_openat2_is_unpacked_unless_a_symlink_leads_on() {
    need!(root);
    let enosys = built("tare-oracle", "enosys");
    for (words, expected) in [
        ("d/f=x h=>d/f", None),
        (
            "d/ s->d s/f=x",
            Some("entry \"s/f\" at byte 1024: openat2: ENOSYS"),
        ),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new(&enosys);
        command.args(["openat2", "--"]).arg(this_program());
        let (works, text) = run_through(command, &Tar::of(words).end(), temp.path());
        assert_eq!(works, expected.is_none(), "{text}");
        assert!(text.contains(expected.unwrap_or("1 passed")), "{text}");
    }
}

#[test]
fn e08_e09_ordinary_user_gets_exact_modes_and_no_devices() {
    need!(root, user("plain"));
    let user = ordinary_user(false);
    let temp = user.tempdir();
    let root = temp.path().join("root");
    let mut modes = of_all_modes();
    modes.truncate(modes.len() - 1024);
    let tar = Tar(modes)
        .head(Head::new(b'3', "null").device(1, 3))
        .head(Head::new(b'6', "fifo"))
        .put(Head::new(b'0', "owned").owner(12, 34), "x")
        .head(Head::new(b'2', "l").link("d0").owner(12, 34))
        .add("l/through .wh.gone opaque/.wh..wh..opq");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(user.uid), Some(user.gid)).unwrap();
    let (works, text) = run_through(user.command(this_program()), &tar.end(), temp.path());
    assert!(works && text.contains("skipped device"), "{text}");
    let tree = manifest(&root).unwrap();
    assert_all_modes(&tree);
    let owner = format!("{}:{}", user.uid, user.gid);
    for path in tree.entries().keys() {
        assert_eq!(tree.field(path, Field::Owner), Some(&owner[..]));
    }
    assert_eq!(tree.field("null", Field::Type), None);
    assert_eq!(tree.field("fifo", Field::Type), Some("fifo"));
    assert_eq!(tree.field("gone", Field::Device), Some("0:0"));
    assert_eq!(tree.field("d0/through", Field::Type), Some("file"));
    let opaque = &tree.entries()[Path::new("opaque")];
    let key = (Field::Xattrs, "xattr user.overlay.opaque".to_owned());
    assert_eq!(opaque.get(&key).map(String::as_str), Some("79"));
}
