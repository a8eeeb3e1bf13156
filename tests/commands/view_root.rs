// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root's view of a machine with more than one file system.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, process};

use tare::{Command, Sandbox, Spec};
use tare_oracle::again::{passes_again, test_of, this_program};
use tare_oracle::{caller, need, needs};

use crate::harness::settle::is_readable;
use crate::harness::{Ground, run, sh, text};
use crate::view::{is_known, mount, mount_dead, mount_overlays, mount_trigger};

/// Marks a test in a mount namespace of its own.
const OWN: &str = "TARE_TEST_VIEW_OWN";

/// Runs `body` in a mount namespace of its own: its test once more.
#[track_caller]
pub(crate) fn alone<F: FnOnce()>(body: F) {
    if env::var_os(OWN).is_some() {
        return body();
    }
    need!(root, overlay, program("mount"), program("unshare"));
    let mut unshare = process::Command::new("/usr/bin/unshare");
    unshare.arg("-m").arg(this_program()).env(OWN, "1");
    passes_again(&mut unshare, test_of(&body));
}

/// Runs a test once more as uid 0 of a user namespace with many ids, which has
/// mount and pid namespaces of its own: procfs takes the second. Its directory
/// is below the user's home, because a view copies what is beside its mounts.
#[track_caller]
fn again_alone_as_namespace_root(test: &str) {
    let user = caller("root-of-many");
    let temp = user.tempdir();
    let mut unshare = user.command("/usr/bin/unshare");
    unshare
        .args(["--mount", "--pid", "--fork", "--mount-proc"])
        .arg(this_program())
        .env(OWN, "1")
        .env("TMPDIR", temp.path());
    passes_again(&mut unshare, test);
}

#[test]
fn namespace_root_sees_mounts_of_its_own() {
    need!(
        root,
        user("subids"),
        userns,
        overlay,
        kernel(5, 11),
        program("mount"),
        program("unshare")
    );
    for test in [
        "view_root::root_sees_other_mounts",
        "view_root::root_sees_refused_mounts_read_only",
        "view_root::hidden_paths_are_hidden_on_every_mount",
        "view_root::workdir_on_another_mount_is_the_machines",
    ] {
        again_alone_as_namespace_root(test);
    }
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

pub(crate) fn spec(json: &str) -> Spec {
    Spec::from_json(json).unwrap()
}

/// The way in which the sandbox shows a path.
pub(crate) fn told(sandbox: &Sandbox, path: &Path) -> String {
    let mounts = sandbox.effective().unwrap().mounts;
    let path = path.display().to_string();
    let found = mounts.iter().find(|mount| mount.path == path);
    found.map_or(String::new(), |mount| mount.shown.clone())
}

/// Runs a script with the directory as its `$1`.
#[track_caller]
pub(crate) fn script(sandbox: &Sandbox, script: &str, dir: &Path) -> String {
    let command = Command::from_argv(["sh", "-c", script, "sh"]).arg(dir);
    text(sandbox, command).trim_end().to_owned()
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
fn root_sees_other_mounts() {
    alone(|| {
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
    });
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
    // Ordinary users get an overlay of each mount by its path, copies of files
    // and binds of sockets, which are not told. A directory of an id that the
    // sandbox has not is uid 0's.
    let [file, socket, unbindable] = match needs::root() {
        Ok(()) => ["cow", "read-only", "left out"],
        Err(_) => ["", "", "cow"],
    };
    let owner = match fs::metadata(dir.join("mnt")).unwrap().uid() {
        1234 => "1234 4321",
        _ => "0 0",
    };
    let expected = format!(
        "{owner} 751\nmounteddeepertopmounted\nchroot/proc:\n\ncover:\n\nunbindable:\n\
        ran\nran\nnoexec\nread-only\nmore\nconnected"
    );
    assert_eq!(script(sandbox, seen, dir), expected);
    let expected = [
        ("mnt", "cow"),
        ("mnt/below/this one", "cow"),
        ("stacked", "cow"),
        ("file", file),
        ("socket", socket),
        ("unbindable", unbindable),
        ("cover/hidden", ""),
        ("chroot/proc", ""),
    ];
    let names = expected.map(|(name, _)| name);
    let seen = names.map(|name| (name, told(sandbox, &dir.join(name))));
    assert_eq!(seen, expected.map(|(name, shown)| (name, shown.to_owned())));
    let table = script(sandbox, "cat /proc/self/mountinfo", dir);
    let point = format!(" {}/locked ", dir.display());
    let line = table.lines().find(|line| line.contains(&point)).unwrap();
    for option in ["nosuid", "noexec", "nodev"] {
        assert!(line.contains(option), "{line}");
    }
}

#[test]
fn root_starts_beside_mounts_that_do_not_answer() {
    alone(|| {
        let ground = Ground::new();
        let dir = &ground.dir("machine");
        let _dead = is_known("fuse").then(|| mount_dead(&dir.join("dead")));
        let trigger = is_known("autofs").then(|| mount_trigger(&dir.join("trigger")));
        let begun = Instant::now();
        let sandbox = Sandbox::open(&ground.store, &spec("{}")).unwrap();
        let listed = script(&sandbox, "ls -d $1/trigger && ls $1/dead", dir);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(listed, format!("{}/trigger", dir.display()));
        assert_eq!(
            told(&sandbox, &dir.join("dead")),
            if is_known("fuse") { "left out" } else { "" }
        );
        assert_eq!(told(&sandbox, &dir.join("trigger")), "");
        if let Some(trigger) = &trigger {
            assert!(!is_readable(trigger, Duration::ZERO), "it was triggered");
        }
    });
}

#[test]
fn root_sees_refused_mounts_read_only() {
    alone(|| {
        let ground = Ground::new();
        let dir = &ground.dir("machine");
        let layers = dir.join("layers");
        assert!(mount("tmpfs", "mode=755", &layers));
        fs::create_dir_all(layers.join("m0/inner")).unwrap();
        fs::write(layers.join("m0/file"), "bottom").unwrap();
        mount_overlays(&layers, layers.join("m0"));
        assert!(mount("tmpfs", "mode=755", &layers.join("m2/inner")));
        fs::write(layers.join("m2/inner/file"), "inner").unwrap();
        let sandbox = Sandbox::open(&ground.store, &spec("{}")).unwrap();
        let seen = "cd $1/layers; cat m1/file m2/file m2/inner/file; for d in m1 m2 m2/inner; do touch $d/new 2>/dev/null && echo :$d; done";
        // To an ordinary user a directory with mounts below is shown in parts.
        let (written, shown) = match needs::root() {
            Ok(()) => (":m1\n:m2/inner", "read-only"),
            Err(_) => (":m1\n:m2\n:m2/inner", "cow"),
        };
        assert_eq!(
            script(&sandbox, seen, dir),
            format!("bottombottominner{written}")
        );
        assert_eq!(told(&sandbox, &layers.join("m1")), "cow");
        assert_eq!(told(&sandbox, &layers.join("m2")), shown);
        assert_eq!(told(&sandbox, &layers.join("m2/inner")), "cow");
    });
}

#[test]
fn hidden_paths_are_hidden_on_every_mount() {
    alone(|| {
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
    });
}

#[test]
fn root_with_a_user_namespace_sees_other_mounts() {
    alone(|| {
        let ground = Ground::new();
        let dir = Path::new("/mnt");
        assert!(mount("tmpfs", "mode=777", dir));
        fs::write(dir.join("file"), "mounted").unwrap();
        let ids = r#"[{"inside": 0, "outside": 100000, "count": 65536}]"#;
        let json = format!(
            r#"{{"namespaces": {{"user": {{"maps": {{"uids": {ids}, "gids": {ids}}}}}}}}}"#
        );
        let sandbox = Sandbox::open(&ground.store, &spec(&json)).unwrap();
        let seen = "cat $1/file; echo; echo new >$1/new && cat $1/new";
        assert_eq!(script(&sandbox, seen, dir), "mounted\nnew");
        assert_eq!(told(&sandbox, dir), "cow");
        assert!(!dir.join("new").exists());
    });
}

#[test]
fn workdir_on_another_mount_is_the_machines() {
    alone(|| {
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
    });
}
