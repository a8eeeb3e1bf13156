// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single files: opened, read, written, looked at, changed.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use tare::files::{FileType, OpenOptions};
use tare::{Kind, Sandbox, Spec};
use tare_oracle::{image, need};

use crate::archive::Tar;
use crate::harness::settle::kill_init;
use crate::harness::{Ground, line};
use crate::{errno, everywhere, fails, says, shell, single_id};

#[test]
fn file_written_outside_is_read_inside_and_back() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        files.write("/tmp/new", "hello").unwrap();
        says(
            sandbox,
            "cat /tmp/new; stat -c %a:%u:%g /tmp/new",
            "hello644:0:0",
        );
        shell(sandbox, "echo more >>/tmp/new");
        assert_eq!(files.read("/tmp/new").unwrap(), b"hellomore\n");
        files.write("/tmp/new", "x").unwrap();
        says(sandbox, "cat /tmp/new", "x");
        // A file of the image's, which an overlay has to copy.
        let before = files.read("/etc/passwd").unwrap();
        assert!(before.starts_with(b"root:"));
        files.write("/etc/passwd", "y").unwrap();
        says(sandbox, "cat /etc/passwd", "y");
    });
}

#[test]
fn file_of_procfs_is_put_whole() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let version = std::fs::read("/proc/version").unwrap();
        files.put("/proc/version", "/tmp/version").unwrap();
        assert_eq!(files.read("/tmp/version").unwrap(), version);
    });
}

#[test]
fn image_without_a_shell_has_files() {
    need!(image("static"));
    let ground = Ground::new();
    let spec = Spec {
        image: format!("oci:{}", image("static").display()),
        ..Spec::default()
    };
    let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
    let files = sandbox.files();
    files.create_dir_all("/a/b", 0o700).unwrap();
    files.write("/a/b/c", "x").unwrap();
    assert_eq!(files.read("/a/b/c").unwrap(), b"x");
    files.remove_dir_all("/a").unwrap();
    assert!(!files.exists("/a").unwrap());
}

#[test]
fn open_options_mean_what_they_say() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let open = |path: &str, options: &OpenOptions| files.open(path, options);
        let new = OpenOptions::new;
        fails(open("/tmp/a", new().read(true)), libc::ENOENT);
        for wrong in [
            new().read(true).create(true),
            &new(),
            new().read(true).truncate(true),
            new().append(true).truncate(true),
        ] {
            let error = open("/tmp/a", wrong).unwrap_err();
            let told = (error.kind(), error.errno());
            assert_eq!(told, (Kind::Invalid, Some(libc::EINVAL)));
        }
        let mut options = new().read(true).write(true).create_new(true).clone();
        let mut file = open("/tmp/a", options.mode(0o4750)).unwrap();
        says(sandbox, "stat -c %a /tmp/a", "4750");
        file.write_all(b"abc").unwrap();
        file.seek(SeekFrom::Start(1)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bc");
        let again = open("/tmp/a", new().write(true).create_new(true));
        fails(again, libc::EEXIST);
        let mut file = open("/tmp/a", new().append(true)).unwrap();
        file.write_all(b"d").unwrap();
        assert_eq!(files.read("/tmp/a").unwrap(), b"abcd");
        let mut file = open("/tmp/a", new().read(true)).unwrap();
        file.write_all(b"x").expect_err("opened for reading");
        drop(open("/tmp/a", new().write(true).truncate(true)).unwrap());
        assert_eq!(files.read("/tmp/a").unwrap(), b"");
        files.symlink("a", "/tmp/l").unwrap();
        open("/tmp/l", new().read(true)).unwrap();
        fails(open("/tmp/l", new().read(true).follow(false)), libc::ELOOP);
        files.symlink("none", "/tmp/dangling").unwrap();
        fails(files.write("/tmp/dangling", "x"), libc::ENOENT);
    });
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    for path in ["", "tmp/x", "./x", "../x"] {
        let error = files.read(path).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{path:?}: {error}");
    }
    assert_eq!(files.read("/tmp/\0").unwrap_err().kind(), Kind::Invalid);
    fails(files.read("/x".repeat(2048)), libc::ENAMETOOLONG);
    let name = format!("/{}", "x".repeat(256));
    fails(files.read(name), libc::ENAMETOOLONG);
    for (path, code) in [("/tmp", libc::EISDIR), ("/etc/passwd/x", libc::ENOTDIR)] {
        assert_eq!(errno(files.read(path)), code, "{path}");
        assert_eq!(errno(files.write(path, "")), code, "{path}");
    }
    for path in ["/", "/tmp/.", "/tmp/.."] {
        assert_eq!(errno(files.remove_dir_all(path)), libc::EINVAL, "{path}");
    }
}

#[test]
fn what_is_no_stored_file_is_refused_at_once() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        files.create_fifo("/tmp/pipe", 0o600).unwrap();
        let pipe = files.metadata("/tmp/pipe").unwrap();
        assert_eq!(pipe.file_type(), FileType::Fifo);
        for path in ["/tmp/pipe", "/dev/null", "/dev/ptmx", "/dev/stdin"] {
            let read = files.read(path).unwrap_err();
            let write = files.write(path, "x").unwrap_err();
            // /dev/stdin leads to a magic link.
            let code = match path {
                "/dev/stdin" => libc::ELOOP,
                _ => libc::EINVAL,
            };
            for error in [read, write] {
                assert_eq!(error.errno(), Some(code), "{error}");
            }
        }
        let core = "/proc/sys/kernel/core_pattern";
        for path in ["/proc/uptime", "/proc/1/mem", core, "/sys/kernel/profiling"] {
            let read = files.read(path).unwrap_err();
            for error in [read, files.write(path, "x").unwrap_err()] {
                let seen = (error.kind(), error.errno());
                let known = [
                    (Kind::Unsupported, Some(libc::EOPNOTSUPP)),
                    (Kind::NotFound, Some(libc::ENOENT)),
                ];
                assert!(known.contains(&seen), "{path}: {error}");
            }
        }
        let error = files.read("/proc/uptime").unwrap_err();
        assert!(error.cure().unwrap().contains("cat"), "{error}");
        assert!(files.metadata("/proc/uptime").unwrap().is_file());
    });
}

#[test]
fn metadata_is_what_the_sandbox_sees() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let script = "cd /tmp; printf 12345 >a; chmod 1640 a; ln a b; ln -s a l; touch -d @86400 a";
        shell(sandbox, script);
        let a = files.metadata("/tmp/l").unwrap();
        let seen = (a.file_type(), a.len(), a.permissions(), a.nlink());
        assert_eq!(seen, (FileType::File, 5, 0o1640, 2));
        assert_eq!((a.uid(), a.gid(), a.mtime()), (0, 0, (86400, 0)));
        assert_eq!(a.modified(), UNIX_EPOCH + Duration::from_secs(86400));
        let seen = line(sandbox, "stat -c '%i %b' /tmp/a");
        assert_eq!(seen, format!("{} {}", a.ino(), a.blocks()));
        let link = files.symlink_metadata("/tmp/l").unwrap();
        assert!(link.is_symlink());
        assert_eq!(files.read_link("/tmp/l").unwrap(), Path::new("a"));
        fails(files.read_link("/tmp/a"), libc::EINVAL);
        assert!(files.metadata("/tmp").unwrap().is_dir());
        let null = files.metadata("/dev/null").unwrap();
        let seen = (null.file_type(), null.rdev());
        assert_eq!(seen, (FileType::CharDevice, libc::makedev(1, 3)));
        assert!(files.exists("/tmp/l").unwrap());
        assert!(!files.exists("/tmp/a/x").unwrap() && !files.exists("/none").unwrap());
    });
}

#[test]
fn attributes_are_set() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        files.write("/tmp/a", "x").unwrap();
        files.set_permissions("/tmp/a", 0o6711).unwrap();
        let time = UNIX_EPOCH - Duration::from_millis(1500);
        files.set_modified("/tmp/a", time).unwrap();
        let seen = files.metadata("/tmp/a").unwrap();
        assert_eq!(seen.permissions(), 0o6711);
        assert_eq!(seen.mtime(), (-2, 500_000_000));
        assert_eq!(seen.modified(), time);
        files.set_permissions("/home/alice", 0o2770).unwrap();
        files.create_fifo("/tmp/pipe", 0o600).unwrap();
        files.set_permissions("/tmp/pipe", 0o622).unwrap();
        says(sandbox, "stat -c %a /home/alice /tmp/pipe", "2770\n622");
        fails(files.set_permissions("/dev/null", 0o600), libc::EINVAL);
        fails(files.set_permissions("/proc/self", 0o600), libc::EOPNOTSUPP);
        if single_id() {
            fails(files.set_owner("/tmp/a", 7, 8), libc::EINVAL);
        } else {
            files.set_owner("/tmp/a", 7, 8).unwrap();
            says(sandbox, "stat -c %u:%g:%a /tmp/a", "7:8:711");
            let mut options = OpenOptions::new();
            options.write(true).create(true).owner(1000, 50);
            options.mode(0o6755);
            files.write_with("/home/alice/new", "", &options).unwrap();
            says(sandbox, "stat -c %u:%g:%a /home/alice/new", "1000:50:6755");
        }
    });
}

#[test]
fn names_are_moved_linked_and_removed() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        files.write("/tmp/a", "a").unwrap();
        files.write("/tmp/b", "b").unwrap();
        files.hard_link("/tmp/a", "/tmp/a2").unwrap();
        fails(files.hard_link("/tmp/a", "/tmp/b"), libc::EEXIST);
        files.rename("/tmp/a", "/tmp/b").unwrap();
        says(sandbox, "cat /tmp/b /tmp/a2; ls /tmp", "aaa2\nb");
        // An image's file by the image's own link to its directory.
        files.rename("/link/group", "/home/group").unwrap();
        says(
            sandbox,
            "ls /etc /home",
            "/etc:\nhostname\nhosts\npasswd\nresolv.conf\n\n/home:\nalice\ngroup",
        );
        files.remove_file("/home/group").unwrap();
        fails(files.remove_file("/home/group"), libc::ENOENT);
        fails(files.remove_file("/home/alice"), libc::EISDIR);
        fails(files.remove_dir("/home"), libc::ENOTEMPTY);
        files.remove_dir("/home/alice").unwrap();
        // The link goes, its target stays.
        files.remove_file("/link").unwrap();
        assert!(files.exists("/etc/passwd").unwrap());
    });
}

#[test]
fn names_of_any_bytes_are_names() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let names: [&[u8]; 5] = [b"a\nb", b"\xff\xfe", b" ", b"-rf *", b"\x1b[2J"];
        for name in names {
            let path = Path::new("/tmp").join(std::ffi::OsStr::from_bytes(name));
            files.write(&path, name).unwrap();
            assert_eq!(files.read(&path).unwrap(), name);
        }
        let entries = files.read_dir("/tmp").unwrap();
        let seen = entries.map(|e| e.unwrap().file_name().as_bytes().to_vec());
        let mut seen: Vec<_> = seen.collect();
        seen.sort();
        let mut expected = names.map(<[u8]>::to_vec);
        expected.sort();
        assert_eq!(seen, expected);
    });
}

#[test]
fn write_none_is_read_only() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"write": "none"}"#);
    let files = sandbox.files();
    assert!(files.read("/etc/passwd").unwrap().starts_with(b"root:"));
    for outcome in [
        files.write("/tmp/a", ""),
        files.write("/etc/passwd", ""),
        files.create_dir("/a", 0o755),
        files.remove_file("/etc/passwd"),
        files.remove_dir_all("/home"),
        files.rename("/etc/passwd", "/etc/x"),
        files.symlink("x", "/tmp/x"),
        files.set_permissions("/etc/passwd", 0o777),
    ] {
        fails(outcome, libc::EROFS);
    }
}

#[test]
fn large_and_sparse_files_are_whole() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    let files = sandbox.files();
    let mixed = |n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    let part: Vec<u8> = (0..1 << 20).map(mixed).collect();
    let options = OpenOptions::new().write(true).create(true).clone();
    let mut file = files.open("/big", &options).unwrap();
    for _ in 0..100 {
        file.write_all(&part).unwrap();
    }
    assert_eq!(files.metadata("/big").unwrap().len(), 100 << 20);
    let error = files.read("/big").unwrap_err();
    let told = (error.errno(), error.kind());
    assert_eq!(told, (Some(libc::EFBIG), Kind::Exhausted));
    assert!(error.cure().is_some());
    let whole = files.read_at_most("/big", 100 << 20).unwrap();
    assert!(whole.chunks(1 << 20).all(|chunk| chunk == part));
    let mut file = files.open("/sparse", &options).unwrap();
    file.seek(SeekFrom::Start(1 << 32)).unwrap();
    file.write_all(b"end").unwrap();
    let sparse = files.metadata("/sparse").unwrap();
    assert_eq!(sparse.len(), (1 << 32) + 3);
    assert!(sparse.blocks() < 1024);
}

#[test]
fn file_outlives_a_reset_and_the_sandbox() {
    let ground = Ground::new();
    let sandbox = ground.open();
    sandbox.files().write("/tmp/a", "kept").unwrap();
    let mut options = OpenOptions::new();
    let mut file = sandbox.files().open("/tmp/a", options.read(true)).unwrap();
    sandbox.reset().unwrap();
    assert!(!sandbox.files().exists("/tmp/a").unwrap());
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    file.rewind().unwrap();
    sandbox.close().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "keptkept");
}

#[test]
fn sandbox_that_was_killed_says_that_it_is_gone() {
    let ground = Ground::new();
    let sandbox = ground.open();
    sandbox.files().read_dir("/").unwrap();
    kill_init(&sandbox);
    while sandbox.files().exists("/").is_ok() {}
    let error = sandbox.files().read("/etc/passwd").unwrap_err();
    assert_eq!(error.kind(), Kind::Broken, "{error}");
    assert!(error.to_string().contains("the sandbox is gone"), "{error}");
}

/// Odd names that no image engine refuses are accepted, too, and reported.
#[test]
fn archive_goes_in_but_for_what_is_left_out() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    let far = [("mtime", &b"99999999999"[..])];
    let tar = Tar::new().pax(&far).add("f").pax(&far).add("w@0:0");
    let archive = [&tar.end()[..], b"behind"].concat();
    let copied = files.put_tar("/tmp", &archive[..]).unwrap();
    let said = copied.left_out.join("\n");
    for word in ["after 2446", "0:0", "follows the end"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(files.symlink_metadata("/tmp/f").unwrap().is_file());
    fails(files.symlink_metadata("/tmp/w"), libc::ENOENT);
}
