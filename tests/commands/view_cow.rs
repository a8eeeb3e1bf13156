// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copy-on-write views of directories with mounts below, and directories of
//! users in those of others.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tare::Sandbox;
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{CALLERS, caller, need};

use crate::harness::Ground;
use crate::view::mount;
use crate::view_root::{alone, script, spec, told};

/// The directory of an ordinary user's that a test is about.
const DIR: &str = "TARE_TEST_VIEW_COW";

#[test]
fn cow_shows_the_mounts_below_a_directory() {
    alone(|| {
        let ground = Ground::new();
        // Elsewhere, and in the sandbox's own file systems.
        assert!(mount("tmpfs", "mode=1777", Path::new("/dev/shm")));
        for dir in [ground.dir("machine").as_path(), Path::new("/dev/shm")] {
            let project = dir.join("project");
            mount_project(&project, (0, 0));
            fs::set_permissions(&project, Permissions::from_mode(0o2775)).unwrap();
            chown(&project, Some(1234), Some(4321)).unwrap();
            assert_cows(&ground, &project, "1234 4321 2775");
        }
    });
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

/// The directory is shown with its mounts, in images and views of the host, and
/// nothing reaches it.
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
    if let Some(dir) = env::var_os(DIR) {
        let project = Path::new(&dir).join("project");
        let mode = fs::metadata(&project).unwrap().mode() & 0o7777;
        return assert_cows(&Ground::new(), &project, &format!("0 0 {mode:o}"));
    }
    need!(root, callers);
    alone(|| {
        for kind in CALLERS {
            let user = caller(kind);
            let temp = user.tempdir();
            let metadata = fs::metadata(temp.path()).unwrap();
            let owner = (metadata.uid(), metadata.gid());
            let shm = Path::new("/dev/shm");
            assert!(mount("tmpfs", "mode=1777", shm));
            for dir in [temp.path(), shm] {
                mount_project(&dir.join("project"), owner);
                let mut command = user.command(this_program());
                let test = "view_cow::cow_of_ordinary_users_shows_the_mounts_below_a_directory";
                passes_again(command.env(DIR, dir), test);
            }
        }
    });
}

/// A user's directory, in one of root's, in a directory that is taken whole.
#[test]
fn own_directories_of_users_are_written_wherever_they_are() {
    if let Some(dir) = env::var_os(DIR) {
        return user_writes_in_the_working_directory(Path::new(&dir));
    }
    need!(root, callers);
    for kind in CALLERS {
        let user = caller(kind);
        let temp = user.tempdir();
        let owner = fs::metadata(temp.path()).unwrap();
        let own = temp.path().join("department/own");
        fs::create_dir_all(own.join("below")).unwrap();
        fs::write(own.join("below/file"), "old").unwrap();
        for path in ["", "below", "below/file"] {
            chown(own.join(path), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let mut command = user.command(this_program());
        passes_again(
            command.env(DIR, &own).current_dir(&own),
            "view_cow::own_directories_of_users_are_written_wherever_they_are",
        );
        assert_eq!(fs::read(own.join("below/file")).unwrap(), b"old");
        assert!(!own.join("new").exists());
    }
}

fn user_writes_in_the_working_directory(dir: &Path) {
    for write in ["memory", "disk"] {
        let ground = Ground::new();
        let sandbox =
            Sandbox::open(&ground.store, &spec(&format!(r#"{{"write": {write:?}}}"#))).unwrap();
        let seen = "cd $1 && echo new >new && echo new >>below/file && mv new below && cat below/file below/new";
        assert_eq!(script(&sandbox, seen, dir), "oldnew\nnew", "{write}");
    }
}
