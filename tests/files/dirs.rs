// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories: made, listed, removed; large ones and deep ones; many threads
//! at once.

use std::collections::BTreeSet;
use std::thread;

use crate::harness::Ground;
use crate::{everywhere, fails, says, shell};

#[test]
fn directories_are_made_with_their_mode() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        files.create_dir("/tmp/a", 0o1777).unwrap();
        fails(files.create_dir("/tmp/a", 0o700), libc::EEXIST);
        fails(files.create_dir("/tmp/x/y", 0o700), libc::ENOENT);
        files.create_dir_all("/tmp/a/b/c", 0o750).unwrap();
        files.create_dir_all("/tmp/a/b/c", 0o700).unwrap();
        files.create_dir_all("/", 0o700).unwrap();
        // Through a link to a directory.
        files.create_dir_all("/link/d/e", 0o711).unwrap();
        says(
            sandbox,
            "stat -c %a /tmp/a /tmp/a/b /tmp/a/b/c /etc/d/e",
            "1777\n750\n750\n711",
        );
        fails(files.create_dir_all("/etc/passwd", 0o700), libc::EEXIST);
        fails(files.create_dir_all("/etc/passwd/a", 0o700), libc::ENOTDIR);
        for path in ["/proc/a", "/sys/a/b", "/sys/fs/cgroup/a", "/dev/pts/a"] {
            fails(files.create_dir_all(path, 0o755), libc::EOPNOTSUPP);
        }
    });
}

#[test]
fn directory_is_listed_with_kinds() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let script = "cd /tmp; mkdir d; printf x >f; ln -s no l; mkfifo p; nc -lU s & sleep 0.2";
        shell(sandbox, script);
        let entries = files.read_dir("/tmp").unwrap().map(Result::unwrap);
        let mut seen: Vec<_> = entries
            .map(|e| format!("{} {:?}", e.file_name().display(), e.file_type()))
            .filter(|seen| !seen.starts_with('s'))
            .collect();
        seen.sort();
        assert_eq!(seen, ["d Directory", "f File", "l Symlink", "p Fifo"]);
        fails(files.read_dir("/tmp/f"), libc::ENOTDIR);
        fails(files.read_dir("/tmp/p"), libc::ENOTDIR);
        fails(files.read_dir("/proc"), libc::EOPNOTSUPP);
        let mut devices = files.read_dir("/dev").unwrap();
        assert!(devices.any(|e| e.unwrap().file_name() == "null"));
    });
}

#[test]
fn ten_thousand_entries_are_listed_and_removed() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let script = "mkdir -p /tmp/many/d/e; cd /tmp/many; seq 10000 | xargs touch; touch d/e/f";
        shell(sandbox, script);
        let entries = files.read_dir("/tmp/many").unwrap();
        let names = entries.map(|e| e.unwrap().file_name().to_owned());
        let names: Vec<_> = names.collect();
        assert_eq!(names.len(), 10_001);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 10_001);
        files.remove_dir_all("/tmp/many").unwrap();
        says(sandbox, "ls /tmp", "");
    });
}

#[test]
fn directories_deeper_than_any_path_are_removed() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    let step = "mkdir -p abcdefgh/x; touch abcdefgh/f; cd abcdefgh";
    shell(
        &sandbox,
        &format!("cd /tmp; for n in $(seq 1000); do {step}; done"),
    );
    fails(
        files.metadata(format!("/tmp{}", "/abcdefgh".repeat(1000))),
        libc::ENAMETOOLONG,
    );
    files.remove_dir_all("/tmp/abcdefgh").unwrap();
    says(&sandbox, "ls /tmp", "");
}

#[test]
fn removing_follows_no_link_and_enters_no_mount() {
    let ground = Ground::new();
    let volume = ground.dir("volume");
    std::fs::write(volume.join("kept"), "x").unwrap();
    let json = format!(r#"{{"mounts": ["{}:/top/sub/volume"]}}"#, volume.display());
    let sandbox = ground.open_with(&json);
    let files = sandbox.files();
    files.symlink("/etc", "/top/link").unwrap();
    files.symlink("/top", "/other").unwrap();
    fails(files.remove_dir_all("/other"), libc::ENOTDIR);
    fails(files.remove_dir_all("/top"), libc::EBUSY);
    assert!(volume.join("kept").exists());
    assert!(files.exists("/etc/passwd").unwrap());
    // A named directory is emptied as far as possible.
    fails(files.remove_dir_all("/top/sub/volume"), libc::EBUSY);
    assert!(!volume.join("kept").exists());
}

#[test]
fn many_threads_work_while_commands_run() {
    let ground = Ground::new();
    let sandbox = ground.open();
    thread::scope(|scope| {
        for n in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let files = sandbox.files();
                for round in 0..50 {
                    let path = format!("/tmp/{n}/{round}");
                    files.create_dir_all(&path, 0o755).unwrap();
                    files.write(format!("{path}/f"), &path).unwrap();
                    assert_eq!(files.read(format!("{path}/f")).unwrap(), path.as_bytes());
                    if round % 10 == n {
                        says(sandbox, &format!("cat {path}/f"), &path);
                    }
                }
                assert_eq!(files.read_dir(format!("/tmp/{n}")).unwrap().count(), 50);
                files.remove_dir_all(format!("/tmp/{n}")).unwrap();
            });
        }
    });
    says(&sandbox, "ls /tmp", "");
}
