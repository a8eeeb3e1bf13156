// SPDX-License-Identifier: MIT OR Apache-2.0
//! Views of a host with more than one mounted file system.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{env, process};

use tare::{Command, Sandbox, ShownMount, Spec};
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{CALLERS, caller, need, needs};

use crate::harness::settle::is_readable;
use crate::harness::{Ground, sh, text};

/// The kind of caller of the test below.
const KIND: &str = "TARE_TEST_VIEW_KIND";
/// The directory with mounts in it.
const DIR: &str = "TARE_TEST_VIEW_DIR";
/// Files in `DIR/many`: more than are copied and bound.
const MANY: usize = 5500;

#[test]
fn ordinary_users_see_a_host_with_other_mounts() {
    if let Some(dir) = env::var_os(DIR) {
        return user_finds_the_mounts(Path::new(&dir));
    }
    let test = "view::ordinary_users_see_a_host_with_other_mounts";
    if let Ok(kind) = env::var(KIND) {
        return root_mounts_for_a_user(&kind, test);
    }
    need!(root, callers, program("mount"), program("unshare"));
    for kind in CALLERS {
        let mut unshare = process::Command::new("/usr/bin/unshare");
        unshare.arg("-m").arg(this_program()).env(KIND, kind);
        passes_again(&mut unshare, test);
    }
}

/// Returns whether the kernel knows a kind of file systems.
pub(crate) fn is_known(kind: &str) -> bool {
    needs::filesystem(kind).is_ok()
}

/// Mounts two overlays on each other, with parts below `dir`: the kernel
/// refuses a third layer.
pub(crate) fn mount_overlays(dir: &Path, mut lower: PathBuf) -> PathBuf {
    for depth in ["1", "2"] {
        let [upper, work, on] = ["u", "w", "m"].map(|name| dir.join(format!("{name}{depth}")));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        let [l, u, w] = [&lower, &upper, &work].map(|path| path.display().to_string());
        let options = format!("lowerdir={l},upperdir={u},workdir={w}");
        assert!(mount("overlay", &options, &on));
        lower = on;
    }
    lower
}

pub(crate) fn mount(kind: &str, options: &str, on: &Path) -> bool {
    fs::create_dir_all(on).unwrap();
    let options = format!("rw,{options}");
    let mut mount = process::Command::new("mount");
    mount.args(["-t", kind, "-o", &options, "none"]).arg(on);
    mount
        .stderr(process::Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// A FUSE file system that never answers, as long as the device is open.
pub(crate) fn mount_dead(on: &Path) -> File {
    fs::create_dir_all(on).unwrap();
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        device.as_raw_fd()
    );
    let (flags, data) = (nix::mount::MsFlags::empty(), Some(options.as_str()));
    nix::mount::mount(Some("dead"), on, Some("fuse"), flags, data).unwrap();
    device
}

/// An autofs trigger; a byte in the pipe is a request to mount.
pub(crate) fn mount_trigger(on: &Path) -> std::io::PipeReader {
    fs::create_dir_all(on).unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let options = format!(
        "fd={},pgrp={},minproto=5,maxproto=5,direct",
        write.as_raw_fd(),
        nix::unistd::getpgrp()
    );
    let (flags, data) = (nix::mount::MsFlags::empty(), Some(options.as_str()));
    nix::mount::mount(Some("trigger"), on, Some("autofs"), flags, data).unwrap();
    read
}

/// Runs in a separate mount namespace.
fn root_mounts_for_a_user(kind: &str, test: &str) {
    let user = caller(kind);
    let temp = user.tempdir();
    let dir = temp.path();
    assert!(mount("tmpfs", "mode=777", &dir.join("mnt")));
    fs::write(dir.join("mnt/file"), "mounted").unwrap();
    assert!(mount("tmpfs", "mode=777", &dir.join("mnt/deeper/mnt")));
    fs::write(dir.join("mnt/deeper/mnt/file"), "deeper").unwrap();
    assert!(mount("proc", "nosuid", &dir.join("chroot/proc")));
    assert!(mount("tmpfs", "mode=777", &dir.join("many/mnt")));
    fs::write(dir.join("unread"), "").unwrap();
    fs::set_permissions(dir.join("unread"), Permissions::from_mode(0o600)).unwrap();
    for n in 0..MANY {
        fs::write(dir.join(format!("many/{n}")), "").unwrap();
    }
    assert!(mount("tmpfs", "mode=777", &dir.join("layers")));
    mount_overlays(&dir.join("layers"), dir.join("mnt"));
    for kind in ["hugetlbfs", "binfmt_misc"] {
        assert!(!is_known(kind) || mount(kind, "nosuid", &dir.join(kind)));
    }
    let dead = is_known("fuse").then(|| mount_dead(&dir.join("dead")));
    let trigger = is_known("autofs").then(|| mount_trigger(&dir.join("trigger")));
    let mut command = user.command(this_program());
    passes_again(command.env(DIR, dir), test);
    if let Some(trigger) = &trigger {
        assert!(!is_readable(trigger, Duration::ZERO), "it was triggered");
    }
    drop(dead);
}

/// Properties of a directory, beside its mounts, with an effect on its view.
fn make_entries(dir: &Path) -> UnixListener {
    fs::write(dir.join("file"), "content").unwrap();
    fs::set_permissions(dir.join("file"), Permissions::from_mode(0o640)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options().write(true).open(dir.join("file")).unwrap();
    file.set_modified(time).unwrap();
    fs::write(dir.join("other"), "").unwrap();
    symlink("file", dir.join("link")).unwrap();
    fs::create_dir(dir.join("plain")).unwrap();
    fs::write(dir.join("plain/file"), "below").unwrap();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    UnixListener::bind(dir.join("socket")).unwrap()
}

fn user_finds_the_mounts(dir: &Path) {
    // Root made the directory in this user's home.
    let _listener = make_entries(dir);
    let ground = Ground::new();
    for write in ["memory", "disk"] {
        let spec = Spec::from_json(&format!(r#"{{"write": {write:?}}}"#)).unwrap();
        let begun = Instant::now();
        let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_seen(&sandbox, dir);
        assert_told(&sandbox, dir);
        sandbox.reset().unwrap();
        let script = format!("cat {}/file", dir.display());
        assert_eq!(text(&sandbox, sh(&script)), "content", "{write}");
    }
    assert_eq!(fs::read(dir.join("file")).unwrap(), b"content");
    assert!(dir.join("other").exists() && !dir.join("mnt/new").exists());
    let spec = Spec::from_json(r#"{"write": "none"}"#).unwrap();
    let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
    let script = "cd $1; cat mnt/file; for d in . mnt plain; do touch $d/new 2>/dev/null && echo $d; done; true";
    let command = Command::from_argv(["sh", "-c", script, "sh"]).arg(dir);
    assert_eq!(text(&sandbox, command), "mounted");
}

#[track_caller]
fn assert_seen(sandbox: &Sandbox, dir: &Path) {
    let script = r#"cd "$1" || exit
        stat -c '%u %a %Y %F' file; stat -c %F fifo socket; readlink link
        cat mnt/file mnt/deeper/mnt/file plain/file layers/m1/file layers/m2/file; echo
        echo more >>file && mv file renamed && cat renamed && rm other && echo written
        echo new >mnt/new && echo new >mnt/deeper/mnt/new && echo new >plain/new && echo new
        ls chroot/proc hugetlbfs binfmt_misc dead trigger 2>/dev/null | grep -v :$ | tr -d '\n'
        n=$(ls many | wc -l); test $n -gt 5000 -a $n -le 5121 && echo many
        perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un("socket")) or die $!; print "connected\n"'
        "#;
    let command = Command::from_argv(["sh", "-c", script, "sh"]).arg(dir);
    let expected = "0 640 1000000000 regular file\nfifo\nsocket\nfile\n\
        mounteddeeperbelowmountedmounted\ncontentmore\nwritten\nnew\nmany\nconnected\n";
    assert_eq!(text(sandbox, command), expected);
}

#[track_caller]
fn assert_told(sandbox: &Sandbox, dir: &Path) {
    let mounts = sandbox.effective().unwrap().mounts;
    let told = |name: &str| {
        let path = dir.join(name).display().to_string();
        let found = mounts.iter().find(|mount: &&ShownMount| mount.path == path);
        found.map_or(("", ""), |mount| (&*mount.shown, &*mount.why))
    };
    for (name, shown) in [
        ("mnt", "cow"),
        ("mnt/deeper/mnt", "cow"),
        ("layers/m2", "read-only"),
        ("chroot/proc", ""),
        ("plain", ""),
        ("file", ""),
        // The file cannot be copied, either.
        ("unread", "read-only"),
    ] {
        assert_eq!(told(name).0, shown, "{name}");
    }
    if fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .contains("/dead ")
    {
        assert_eq!(told("dead"), ("left out", "no answer within 1 s"));
    }
    let count = |shown: &str| {
        let many = dir.join("many/").display().to_string();
        let of = mounts
            .iter()
            .filter(|m| m.path.starts_with(&many) && m.shown == shown);
        of.count()
    };
    assert!(
        count("read-only") <= 1024 && count("left out") > 300,
        "{mounts:?}"
    );
}
