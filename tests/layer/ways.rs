// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree, written by many programs in all their formats, is unpacked alike.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use tare_oracle::need;
use tare_oracle::tree::{Field, Manifest, compare, manifest};

use crate::cage::Cage;

/// A line of `ways.txt`.
struct Way {
    flags: Vec<String>,
    command: String,
}

fn ways() -> Vec<Way> {
    let lines = include_str!("ways.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (_, rest) = line.split_once(' ').unwrap();
            let (flags, command) = rest.trim_start().split_once(' ').unwrap();
            Way {
                flags: flags.split(',').map(str::to_owned).collect(),
                command: command.trim_start().to_owned(),
            }
        })
        .collect()
}

/// A tree of all that each format of tar holds; only names below `long` are too
/// much for some.
fn make_tree(root: &Path) {
    let put = |name: &str, mode: u32, bytes: &[u8]| {
        fs::write(root.join(name), bytes).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    };
    let long = format!("long/{}/{}", "d".repeat(70), "e".repeat(70));
    for dir in ["d", "d/shut", "sticky", &long] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    put("d/f", 0o640, &[b'x'; 3000]);
    put("d/empty", 0, b"");
    put("block", 0o644, &[b'b'; 1024]);
    put("setuid", 0o6711, b"s");
    put("name with spaces", 0o644, b"n");
    put("long/\u{fc}", 0o644, b"u");
    put(&format!("{long}/file"), 0o600, b"far away");
    symlink("f", root.join("d/s")).unwrap();
    symlink("../no/where", root.join("dangling")).unwrap();
    symlink("x".repeat(99), root.join(&long).join("s")).unwrap();
    fs::hard_link(root.join("d/f"), root.join("another name")).unwrap();
    let mut holes = File::create(root.join("holes")).unwrap();
    for at in [4096, 1 << 20] {
        holes.seek(SeekFrom::Start(at)).unwrap();
        holes.write_all(b"data").unwrap();
    }
    holes.set_len(3 << 20).unwrap();
    for (name, uid, gid) in [("d", 7, 8), ("d/f", 1000, 100), ("holes", 65534, 65534)] {
        chown(root.join(name), Some(uid), Some(gid)).unwrap();
    }
    for (name, mode) in [("sticky", 0o1777), ("d/shut", 0), ("d", 0o2750)] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let script = "import os; os.setxattr('block', 'user.a', b'b\\n')";
    run(Command::new("python3")
        .args(["-c", script])
        .current_dir(root));
    set_times(root, &mut 1_000_000_000);
}

/// Gives each file and directory, the deepest first, a time of whole seconds.
fn set_times(dir: &Path, seconds: &mut u64) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => set_times(&entry.path(), seconds),
            kind if kind.is_symlink() => {
                let path = entry.path();
                run(Command::new("touch").args(["-h", "-d", "@5"]).arg(path));
            }
            _ => set_time(&entry.path(), seconds),
        }
    }
    set_time(dir, seconds);
}

fn set_time(path: &Path, seconds: &mut u64) {
    *seconds += 1;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*seconds);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

/// Parts of a tree that a way keeps.
fn kept(tree: &Manifest, flags: &[String]) -> Manifest {
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let keep = |path: &Path, field: Field, _: &str| {
        let counts = match field {
            Field::Hardlink => !has("single"),
            Field::Mode => !has("plain"),
            Field::Xattrs => has("xattrs"),
            _ => true,
        };
        // Programs list the root, or do not.
        counts && path != Path::new("")
    };
    tree.clone().only(keep)
}

fn without_long(lines: Vec<String>) -> Vec<String> {
    let is_long = |line: &String| line.contains("long");
    lines.into_iter().filter(|line| !is_long(line)).collect()
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

#[test]
fn e11_tree_written_in_any_way_is_unpacked_alike() {
    need!(
        root,
        program("bsdtar"),
        program("busybox"),
        program("cpio"),
        program("pax"),
        program("perl"),
        program("python3"),
        program("go")
    );
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("tree");
    fs::create_dir(&root).unwrap();
    make_tree(&root);
    let writer = temp.path().join("write");
    let source = peers().join("write.go");
    run(Command::new("go")
        .args([OsStr::new("build"), OsStr::new("-o")])
        .arg(&writer)
        .arg(source));
    let expected = manifest(&root).unwrap();
    let mut wrong = Vec::new();
    for pax in [false, true] {
        let archive = by_rust(&root, pax);
        let single = ["single".to_owned()];
        wrong.extend(differences("Rust's tar", &archive, &expected, &single));
    }
    let ways = ways();
    assert!(ways.len() >= 50, "{}", ways.len());
    for Way { flags, command } in ways {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("set -e; {command}")])
            .current_dir(&root);
        shell
            .env("PEERS", peers())
            .env("GO_WRITER", &writer)
            .env("LC_ALL", "C.UTF-8");
        let archive = run(&mut shell);
        wrong.extend(differences(&command, &archive, &expected, &flags));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Unpacks an archive; a line for each thing that is not as expected.
fn differences(way: &str, archive: &[u8], expected: &Manifest, flags: &[String]) -> Vec<String> {
    let cage = Cage::new();
    let mut lines = match cage.unpack(archive) {
        Ok(_) => compare(&kept(expected, flags), &kept(&cage.tree(), flags)),
        Err(error) => vec![error.to_string()],
    };
    if flags.iter().any(|flag| flag == "short") {
        lines = without_long(lines);
    }
    lines.iter().map(|line| format!("{way}: {line}")).collect()
}

/// The tree written by Rust's tar; with `pax`, each entry has a PAX time,
/// beside a GNU long name if needed.
fn by_rust(root: &Path, pax: bool) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    if !pax {
        tar.append_dir_all(".", root).unwrap();
        return tar.into_inner().unwrap();
    }
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let name = path.strip_prefix(root).unwrap();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
        if !name.as_os_str().is_empty() {
            tar.append_pax_extensions([("atime", &b"1.5"[..])]).unwrap();
            tar.append_path_with_name(&path, name).unwrap();
        }
    }
    tar.into_inner().unwrap()
}
