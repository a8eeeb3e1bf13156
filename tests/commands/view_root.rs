// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root's view of a machine with more than one file system, and copy-on-write views of directories with mounts below.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, process};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare::{Command, Sandbox, Spec};
use tare_oracle::{need, ordinary_user};

use crate::harness::{Ground, run, sh, text};
use crate::view::{again, mount, mount_dead, mount_trigger};

/// Says that a test has a mount namespace of its own.
const OWN: &str = "TARE_TEST_VIEW_OWN";
/// The directory with mounts below it, for an ordinary user.
const DIR: &str = "TARE_TEST_VIEW_COW";

/// Runs a test of this file once more, in a mount namespace of its own.
#[track_caller]
fn again_alone(test: &str) {
    again(
        &format!("view_root::{test}"),
        "/usr/bin/unshare",
        |command| command.arg("-m").env(OWN, "1"),
    );
}

fn is_alone() -> bool {
    env::var_os(OWN).is_some()
}

/// Runs mount(8).
#[track_caller]
fn mount_with<const N: usize>(arguments: [&str; N]) {
    let status = process::Command::new("mount").args(arguments).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

#[track_caller]
fn bind(from: &Path, to: &Path) {
    mount_with(["--bind", from.to_str().unwrap(), to.to_str().unwrap()]);
}

fn spec(json: &str) -> Spec {
    Spec::from_json(json).unwrap()
}

/// How the sandbox says that it shows a path.
fn told(sandbox: &Sandbox, path: &Path) -> String {
    let mounts = sandbox.effective().unwrap().mounts;
    let path = path.display().to_string();
    let found = mounts.iter().find(|mount| mount.path == path);
    found.map_or(String::new(), |mount| mount.shown.clone())
}

/// Runs a script with the directory as its `$1`.
#[track_caller]
fn script(sandbox: &Sandbox, script: &str, dir: &Path) -> String {
    let command = Command::from_argv(["sh", "-c", script, "sh"]).arg(dir);
    text(sandbox, command).trim_end().to_owned()
}

#[test]
fn root_sees_other_mounts() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("root_in_a_namespace_sees_other_mounts");
}

/// Mounts of many kinds below a directory.
fn mount_all(dir: &Path) -> UnixListener {
    let mnt = dir.join("mnt");
    assert!(mount("tmpfs", "mode=751,uid=1234,gid=4321", &mnt));
    fs::write(mnt.join("file"), "mounted").unwrap();
    assert!(mount("tmpfs", "mode=755", &mnt.join("below/this one")));
    fs::write(mnt.join("below/this one/file"), "deeper").unwrap();
    for content in ["under", "top"] {
        assert!(mount("tmpfs", "mode=755", &dir.join("stacked")));
        fs::write(dir.join("stacked/file"), content).unwrap();
    }
    assert!(mount("tmpfs", "mode=755", &dir.join("cover/hidden")));
    fs::write(dir.join("cover/hidden/file"), "hidden").unwrap();
    assert!(mount("tmpfs", "mode=755", &dir.join("cover")));
    fs::write(dir.join("file"), "under a file").unwrap();
    bind(&mnt.join("file"), &dir.join("file"));
    let listener = UnixListener::bind(mnt.join("socket")).unwrap();
    fs::write(dir.join("socket"), "").unwrap();
    bind(&mnt.join("socket"), &dir.join("socket"));
    assert!(mount("proc", "nosuid", &dir.join("chroot/proc")));
    for (name, options) in [
        ("ro", "ro"),
        ("locked", "nosuid,noexec,nodev"),
        ("rw", "rw"),
    ] {
        let place = dir.join(name);
        assert!(mount("tmpfs", "mode=755", &place));
        let program = place.join("program");
        fs::write(&program, "#!/bin/sh\necho ran").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let options = format!("remount,bind,{options}");
        mount_with(["-o", &options, place.to_str().unwrap()]);
    }
    let unbindable = dir.join("unbindable");
    assert!(mount("tmpfs", "mode=755", &unbindable));
    mount_with(["--make-unbindable", unbindable.to_str().unwrap()]);
    listener
}

#[test]
fn root_in_a_namespace_sees_other_mounts() {
    if !is_alone() {
        // The test above runs this.
        return;
    }
    let ground = Ground::new();
    let dir = &ground.dir("machine");
    let _listener = mount_all(dir);
    for write in ["memory", "disk"] {
        let sandbox =
            Sandbox::open(&ground.store, &spec(&format!(r#"{{"write": {write:?}}}"#))).unwrap();
        assert_seen(&sandbox, dir);
        sandbox.reset().unwrap();
        assert_eq!(script(&sandbox, "cat $1/mnt/file", dir), "mounted");
    }
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(
        (read("mnt/file"), read("file")),
        ("mounted".into(), "mounted".into())
    );
    assert!(!dir.join("mnt/new").exists() && !dir.join("mnt/below/this one/new").exists());
    let sandbox = Sandbox::open(&ground.store, &spec(r#"{"write": "none"}"#)).unwrap();
    let written = "cd $1; cat mnt/file; for d in . mnt 'mnt/below/this one' rw; do touch \"$d/new\" 2>/dev/null && echo $d; done; true";
    assert_eq!(script(&sandbox, written, dir), "mounted");
}

#[track_caller]
fn assert_seen(sandbox: &Sandbox, dir: &Path) {
    let seen = r#"cd "$1" || exit
        stat -c '%u %g %a' mnt; cat mnt/file "mnt/below/this one/file" stacked/file file; echo
        ls cover unbindable chroot/proc; ro/program; rw/program; locked/program 2>/dev/null || echo noexec
        touch ro/new 2>/dev/null || echo read-only
        for d in mnt "mnt/below/this one" stacked rw locked; do echo new >"$d/new" && mv "$d/new" "$d/newer"; done
        echo more >file && mv file renamed && cat renamed
        perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un("socket")) or die $!; print "connected\n"'
        "#;
    let expected = "1234 4321 751\nmounteddeepertopmounted\nchroot/proc:\n\ncover:\n\nunbindable:\n\
        ran\nran\nnoexec\nread-only\nmore\nconnected";
    assert_eq!(script(sandbox, seen, dir), expected);
    for (name, shown) in [
        ("mnt", "cow"),
        ("mnt/below/this one", "cow"),
        ("stacked", "cow"),
        ("file", "cow"),
        ("socket", "read-only"),
        ("unbindable", "left out"),
        ("cover/hidden", ""),
        ("chroot/proc", ""),
    ] {
        assert_eq!(told(sandbox, &dir.join(name)), shown, "{name}");
    }
    let table = script(sandbox, "cat /proc/self/mountinfo", dir);
    let point = format!(" {}/locked ", dir.display());
    let line = table.lines().find(|line| line.contains(&point)).unwrap();
    for option in ["nosuid", "noexec", "nodev"] {
        assert!(line.contains(option), "{line}");
    }
}

#[test]
fn root_starts_beside_mounts_that_do_not_answer() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("root_in_a_namespace_is_not_held_up");
}

#[test]
fn root_in_a_namespace_is_not_held_up() {
    if !is_alone() {
        return;
    }
    let ground = Ground::new();
    let dir = &ground.dir("machine");
    let known = |kind: &str| {
        let all = fs::read_to_string("/proc/filesystems").unwrap();
        all.split_whitespace().any(|word| word == kind)
    };
    let _dead = known("fuse").then(|| mount_dead(&dir.join("dead")));
    let trigger = known("autofs").then(|| mount_trigger(&dir.join("trigger")));
    let begun = Instant::now();
    let sandbox = Sandbox::open(&ground.store, &spec("{}")).unwrap();
    let listed = script(&sandbox, "ls -d $1/trigger && ls $1/dead", dir);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(listed, format!("{}/trigger", dir.display()));
    assert_eq!(
        told(&sandbox, &dir.join("dead")),
        if known("fuse") { "left out" } else { "" }
    );
    assert_eq!(told(&sandbox, &dir.join("trigger")), "");
    if let Some(trigger) = &trigger {
        let mut fds = [PollFd::new(trigger.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "it was triggered");
    }
}

#[test]
fn root_sees_refused_mounts_read_only() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("root_in_a_namespace_sees_refused_mounts");
}

#[test]
fn root_in_a_namespace_sees_refused_mounts() {
    if !is_alone() {
        return;
    }
    let ground = Ground::new();
    let dir = &ground.dir("machine");
    let layers = dir.join("layers");
    assert!(mount("tmpfs", "mode=755", &layers));
    fs::create_dir_all(layers.join("m0/inner")).unwrap();
    fs::write(layers.join("m0/file"), "bottom").unwrap();
    let mut lower = layers.join("m0");
    // The kernel refuses a third layer of overlays.
    for depth in ["1", "2"] {
        let [upper, work, on] = ["u", "w", "m"].map(|name| layers.join(format!("{name}{depth}")));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        let [l, u, w] = [&lower, &upper, &work].map(|path| path.display().to_string());
        let options = format!("lowerdir={l},upperdir={u},workdir={w}");
        assert!(mount("overlay", &options, &on));
        lower = on;
    }
    assert!(mount("tmpfs", "mode=755", &layers.join("m2/inner")));
    fs::write(layers.join("m2/inner/file"), "inner").unwrap();
    let sandbox = Sandbox::open(&ground.store, &spec("{}")).unwrap();
    let seen = "cd $1/layers; cat m1/file m2/file m2/inner/file; for d in m1 m2 m2/inner; do touch $d/new 2>/dev/null && echo :$d; done";
    assert_eq!(
        script(&sandbox, seen, dir),
        "bottombottominner:m1\n:m2/inner"
    );
    assert_eq!(told(&sandbox, &layers.join("m1")), "cow");
    assert_eq!(told(&sandbox, &layers.join("m2")), "read-only");
    assert_eq!(told(&sandbox, &layers.join("m2/inner")), "cow");
}

#[test]
fn hidden_paths_are_hidden_on_every_mount() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("hidden_paths_in_a_namespace");
}

#[test]
fn hidden_paths_in_a_namespace() {
    if !is_alone() {
        return;
    }
    let ground = Ground::new();
    let dir = &ground.dir("machine");
    let mnt = dir.join("mnt");
    assert!(mount("tmpfs", "mode=755", &mnt));
    fs::create_dir_all(mnt.join("secret/deep")).unwrap();
    fs::write(mnt.join("secret/file"), "secret").unwrap();
    fs::write(mnt.join("secret/deep/file"), "secret").unwrap();
    // Other names of the same files, and a mount below a hidden path.
    for (from, to) in [("mnt", "all"), ("mnt/secret/deep", "deep")] {
        fs::create_dir(dir.join(to)).unwrap();
        bind(&dir.join(from), &dir.join(to));
    }
    fs::write(dir.join("name"), "").unwrap();
    bind(&mnt.join("secret/file"), &dir.join("name"));
    symlink("mnt/secret", dir.join("link")).unwrap();
    assert!(mount("tmpfs", "mode=755", &mnt.join("secret/tmp")));
    fs::write(mnt.join("secret/tmp/file"), "secret").unwrap();
    for hidden in ["mnt/secret", "link", "all/secret"] {
        let json = format!(
            r#"{{"security": {{"masked_paths": [{:?}]}}}}"#,
            dir.join(hidden)
        );
        let sandbox = Sandbox::open(&ground.store, &spec(&json)).unwrap();
        let seen = script(&sandbox, "grep -rs . $1; ls -A $1/mnt", dir);
        assert_eq!(seen, "secret", "{hidden}");
    }
}

#[test]
fn cow_shows_the_mounts_below_a_directory() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("cow_in_a_namespace");
}

#[test]
fn cow_in_a_namespace() {
    if !is_alone() {
        return;
    }
    let ground = Ground::new();
    let dir = &ground.dir("machine");
    let project = dir.join("project");
    mount_project(&project, (0, 0));
    fs::set_permissions(&project, Permissions::from_mode(0o2775)).unwrap();
    chown(&project, Some(1234), Some(4321)).unwrap();
    assert_cows(&ground, &project, "1234 4321 2775");
}

/// A directory with files and mounts.
fn mount_project(project: &Path, (uid, gid): (u32, u32)) {
    assert!(mount("tmpfs", "mode=777", &project.join("mnt")));
    fs::write(project.join("mnt/file"), "mounted").unwrap();
    assert!(mount("tmpfs", "mode=777", &project.join("mnt/deeper")));
    fs::write(project.join("mnt/deeper/file"), "deeper").unwrap();
    fs::write(project.join("file"), "beside").unwrap();
    for path in ["", "file", "mnt/file", "mnt/deeper/file"] {
        chown(project.join(path), Some(uid), Some(gid)).unwrap();
    }
}

/// The directory is shown with its mounts, in images and views of the host, and nothing reaches it.
fn assert_cows(ground: &Ground, project: &Path, owner: &str) {
    let image = ground.spec().image;
    for (image, write) in [
        (image.as_str(), "memory"),
        ("host", "memory"),
        ("host", "disk"),
    ] {
        let mount = |options: &str| {
            spec(&format!(
                r#"{{"image": {image:?}, "write": {write:?}, "mounts": [{{"type": "cow", "source": {project:?}, "target": "/tmp/x y", "options": [{options}]}}]}}"#
            ))
        };
        let sandbox = Sandbox::open(&ground.store, &mount("")).unwrap();
        let seen = "cd '/tmp/x y'; stat -c '%u %g %a' .; cat file mnt/file mnt/deeper/file; echo; \
            for d in . mnt mnt/deeper; do echo new >$d/new && mv $d/new $d/newer && echo more >>$d/file; done; cat file";
        let expected = format!("{owner}\nbesidemounteddeeper\nbesidemore");
        assert_eq!(script(&sandbox, seen, project), expected, "{image}");
        for path in ["/tmp/x y/mnt", "/tmp/x y/mnt/deeper"] {
            assert_eq!(told(&sandbox, Path::new(path)), "cow", "{image} {path}");
        }
        let sandbox = Sandbox::open(&ground.store, &mount(r#""ro""#)).unwrap();
        let written = "cd '/tmp/x y'; cat mnt/deeper/file; for d in . mnt mnt/deeper; do touch $d/new 2>/dev/null && echo $d; done; true";
        assert_eq!(script(&sandbox, written, project), "deeper", "{image}");
    }
    assert_eq!(fs::read(project.join("mnt/file")).unwrap(), b"mounted");
    assert!(!project.join("newer").exists() && !project.join("mnt/deeper/newer").exists());
}

#[test]
fn cow_of_ordinary_users_shows_the_mounts_below_a_directory() {
    need!(
        root,
        user("plain"),
        user("subids"),
        userns,
        overlay,
        kernel(5, 11),
        program("mount"),
        program("unshare")
    );
    again_alone("cow_in_a_namespace_for_users");
}

#[test]
fn cow_in_a_namespace_for_users() {
    if !is_alone() {
        return;
    }
    for subids in [false, true] {
        let user = ordinary_user(subids);
        let temp = user.tempdir();
        let metadata = fs::metadata(temp.path()).unwrap();
        let owner = (metadata.uid(), metadata.gid());
        mount_project(&temp.path().join("project"), owner);
        let output = user
            .command(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "view_root::user_has_a_cow"])
            .env(DIR, temp.path())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && shown.contains("1 passed"),
            "{shown}{errors}"
        );
    }
}

#[test]
fn user_has_a_cow() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        // The test above runs this.
        return;
    };
    let mode = fs::metadata(dir.join("project")).unwrap().mode() & 0o7777;
    let owner = format!("0 0 {mode:o}");
    assert_cows(&Ground::new(), &dir.join("project"), &owner);
}

#[test]
fn workdir_on_another_mount_is_the_machines() {
    need!(root, overlay, program("mount"), program("unshare"));
    again_alone("workdir_in_a_namespace");
}

#[test]
fn workdir_in_a_namespace() {
    if !is_alone() {
        return;
    }
    let ground = Ground::new();
    let dir = ground.dir("machine");
    assert!(mount("tmpfs", "mode=755", &dir));
    File::create(dir.join("Makefile")).unwrap();
    let json = format!(r#"{{"workdir": {dir:?}}}"#);
    let sandbox = Sandbox::open(&ground.store, &spec(&json)).unwrap();
    assert_eq!(text(&sandbox, sh("ls")).trim_end(), "Makefile");
    let output = run(&sandbox, sh("echo all: >Makefile && cat Makefile"));
    assert_eq!(output.stdout, b"all:\n");
    assert_eq!(fs::metadata(dir.join("Makefile")).unwrap().len(), 0);
}
