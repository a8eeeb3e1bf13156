// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures of a sandbox's files.

use std::fs;
use std::io::Read as _;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tare::files::OpenOptions;

use super::{command, cure};
use crate::blocks::{Head, Tar};
use crate::harness::{line, open_default, text};

#[test]
fn file_at_a_path_that_begins_as_it_should_is_read() {
    let (_ground, sandbox) = open_default();
    let error = sandbox.files().read("etc/passwd").unwrap_err();
    let begin = cure(&error);
    let begin = begin.strip_prefix("a path that begins with ").unwrap();
    assert!(sandbox.files().read(format!("{begin}etc/passwd")).is_ok());
}

#[test]
fn file_opens_with_the_options_that_its_error_names() {
    let (_ground, sandbox) = open_default();
    let files = sandbox.files();
    let new = OpenOptions::new;
    let error = files.open("/new", &new()).unwrap_err();
    assert_eq!(
        cure(&error),
        "read, write or append; create and truncate only with write"
    );
    for wrong in [
        new().read(true).create(true),
        new().append(true).truncate(true),
    ] {
        assert_eq!(cure(&files.open("/new", wrong).unwrap_err()), cure(&error));
    }
    for right in [
        new().write(true).create(true),
        new().write(true).truncate(true),
        new().write(true),
        new().read(true),
        new().append(true),
    ] {
        files
            .open("/new", right)
            .unwrap_or_else(|e| panic!("{right:?}: {e}"));
    }
}

#[test]
fn file_above_the_limit_is_read_by_a_higher_one_or_in_parts() {
    let (_ground, sandbox) = open_default();
    let files = sandbox.files();
    let error = files.read_at_most("/etc/passwd", 4).unwrap_err();
    assert_eq!(cure(&error), "a higher limit, or open it and read in parts");
    assert!(
        files
            .read_at_most("/etc/passwd", 4096)
            .unwrap()
            .starts_with(b"root:")
    );
    let mut part = [0; 4];
    let mut file = files
        .open("/etc/passwd", OpenOptions::new().read(true))
        .unwrap();
    file.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"root");
}

#[test]
fn file_that_is_none_is_read_by_a_command() {
    let (_ground, sandbox) = open_default();
    let files = sandbox.files();
    for path in ["/proc/uptime", "/dev/null"] {
        let cure = cure(&files.read(path).unwrap_err());
        let program = cure.strip_prefix("a command inside, such as ").unwrap();
        let read = tare::Command::from_argv([program, path]);
        assert_eq!(text(&sandbox, read).is_empty(), path == "/dev/null");
    }
}

/// Files of sysfs have the size of a page, and fewer bytes.
#[test]
fn file_that_holds_less_than_its_size_is_put_as_a_copy() {
    let (ground, sandbox) = open_default();
    let files = sandbox.files();
    let file = "/sys/kernel/profiling";
    let error = files.put(file, "/tmp/f").unwrap_err();
    let copy = ground.path("copy").display().to_string();
    let script = command(&cure(&error))
        .replace("FILE", file)
        .replace("COPY", &copy);
    assert!(
        process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    );
    files.put(&copy, "/tmp/f").unwrap();
    assert_eq!(files.read("/tmp/f").unwrap(), fs::read(file).unwrap());
}

#[test]
fn file_that_changes_is_put_once_its_writer_has_ended() {
    let (ground, sandbox) = open_default();
    let files = sandbox.files();
    let path = ground.path("changing");
    let content = vec![1; 1 << 20];
    fs::write(&path, &content).unwrap();
    let stop = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                fs::write(&path, &content).unwrap();
            }
        });
        let error = (0..100_000).find_map(|_| files.put(&path, "/tmp/f").err());
        stop.store(true, Relaxed);
        error.expect("a file that was cut")
    });
    assert_eq!(cure(&error), "again, or end what writes to it");
    fs::write(&path, &content).unwrap();
    files.put(&path, "/tmp/f").unwrap();
    assert_eq!(files.read("/tmp/f").unwrap(), content);
}

#[test]
fn files_are_copied_into_the_directory_that_the_error_wants() {
    let (ground, sandbox) = open_default();
    let files = sandbox.files();
    let full = ground.dir("full");
    fs::write(full.join("file"), "x").unwrap();
    let error = files.get("/etc", &full).unwrap_err();
    assert_eq!(cure(&error), "a new or empty directory");
    for dir in [ground.path("new"), ground.dir("empty")] {
        files.get("/etc", &dir).unwrap();
        assert!(dir.join("passwd").exists());
    }
}

#[test]
fn files_of_ids_that_the_sandbox_has_are_unpacked() {
    let (_ground, sandbox) = open_default();
    let files = sandbox.files();
    let put = |id: u64| {
        let tar = Tar::new()
            .put(Head::new(b'0', "f").mode(0o644).owner(id, id), "x")
            .end();
        files.put_tar("/tmp", &tar[..])
    };
    // Root has all of them.
    if let Err(error) = put(20_000_000) {
        assert_eq!(cure(&error), "ids that the sandbox has");
        put(0).unwrap();
    }
    assert_eq!(line(&sandbox, "cat /tmp/f"), "x");
}
