// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole trees: as archives in and out, and the caller's own files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use tare::Kind;
use tare::files::{Copied, Files};
use tare_oracle::need;
use tare_oracle::tree::{Field, Manifest, compare, manifest};

use crate::archive::{Head, Tar};
use crate::harness::Ground;
use crate::{errno, everywhere, fails, says, shell, single_id};

/// Some of everything that an archive can hold, made inside by a command.
const MAKE: &str = "mkdir -p /tmp/t/d/e /tmp/t/empty; cd /tmp/t
    printf content >f; : >zero; chmod 4755 f; ln f d/hard; ln -s ../f d/soft; ln -s /etc/passwd abs
    mkfifo -m 640 pipe; chmod 1777 d; chmod 2750 d/e; chmod 555 empty
    dd if=/dev/zero of=sparse bs=1 count=1 seek=10000000 2>/dev/null
    touch \"new
line\" '-rf' ' '; printf '\\303\\244' | xargs touch; printf '\\377' | xargs touch
    mkdir $(printf 'n%.0s' $(seq 200)); touch $(printf 'n%.0s' $(seq 200))/$(printf 'm%.0s' $(seq 200))
    touch -d @1234567 f d/e; touch -h -d @99 d/soft; touch -d @-5 zero; touch -d @77 /tmp/t";

/// Runs a program of the host.
#[track_caller]
fn host(command: &mut Command) {
    let said = command.output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

fn get(files: &Files<'_>, from: &str, to: &Path) -> Copied {
    files.get_tar(from, File::create(to).unwrap()).unwrap()
}

fn put(files: &Files<'_>, to: &str, from: &Path) -> Copied {
    files.put_tar(to, File::open(from).unwrap()).unwrap()
}

#[test]
fn archive_out_and_in_is_the_same_tree() {
    everywhere(|ground, sandbox| {
        let files = sandbox.files();
        shell(sandbox, MAKE);
        if !single_id() {
            let script =
                "cd /tmp/t; chown 1000:50 d; chown -h 7:8 d/soft; chown 5:6 f; chmod 4755 f";
            shell(sandbox, script);
        }
        let mut archive = Vec::new();
        let out = files.get_tar("/tmp/t", &mut archive).unwrap();
        assert_eq!(out.left_out, Vec::<String>::new());
        files.create_dir("/tmp/u", 0o700).unwrap();
        let back = files.put_tar("/tmp/u", &*archive).unwrap();
        assert_eq!((back.entries, &back.left_out), (out.entries, &vec![]));
        // Every attribute, as a program inside sees it.
        let list = "find . -exec stat -c '%n %F %a %u:%g %s %h %Y %t:%T' {} + | sort; find . -type l -exec readlink {} ';' | sort; find . -type f -exec md5sum {} + | sort";
        let seen = |dir: &str| {
            let output = shell(sandbox, &format!("cd {dir}; {list}"));
            assert!(output.status.success() && output.stderr.is_empty());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert_eq!(seen("/tmp/t"), seen("/tmp/u"));
        assert!(files.metadata("/tmp/u/sparse").unwrap().blocks() < 100);
        // Once more over existing files, also compressed.
        fs::write(ground.path("a.tar"), &archive).unwrap();
        host(Command::new("gzip").arg("-k").arg(ground.path("a.tar")));
        put(&files, "/tmp/u", &ground.path("a.tar.gz"));
        assert_eq!(seen("/tmp/t"), seen("/tmp/u"));
    });
}

#[test]
fn archive_is_read_by_others_as_it_was_meant() {
    need!(root, program("tar"), program("python3"));
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    shell(&sandbox, MAKE);
    let script = "cd /tmp/t; chown 3000000:4000000000 f; mknod dev c 1 3; chown 1000:50 d";
    shell(&sandbox, script);
    let path = ground.path("a.tar");
    get(&files, "/tmp/t", &path);
    // The results of the library's reader, GNU tar's and Python's.
    let dirs = ["ours", "gnu", "python"].map(|name| ground.dir(name));
    let volumes = ground.open_with(&format!(r#"{{"mounts": ["{}:/v"]}}"#, dirs[0].display()));
    let put = put(&volumes.files(), "/v", &path);
    assert_eq!(put.left_out, Vec::<String>::new());
    let words = ["--numeric-owner", "--same-owner", "-xpC"].map(OsStr::new);
    let gnu = [dirs[1].as_os_str(), OsStr::new("-f"), path.as_os_str()];
    host(Command::new("tar").args(words).args(gnu));
    let code = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], numeric_owner=True, filter='fully_trusted')";
    let mut python = Command::new("python3");
    host(python.args(["-c", code]).args([&path, &dirs[2]]));
    let ours = manifest(&dirs[0]).unwrap();
    let difference = compare(&ours, &manifest(&dirs[1]).unwrap());
    assert_eq!(difference, Vec::<String>::new(), "GNU tar");
    // Python leaves links their time and sets times of files in floating point.
    let timeless = |tree: Manifest| tree.only(|_, field, _| field != Field::Mtime);
    let difference = compare(&timeless(ours), &timeless(manifest(&dirs[2]).unwrap()));
    assert_eq!(difference, Vec::<String>::new(), "Python");
}

#[test]
fn debian_goes_out_and_in() {
    need!(root, image("debian"));
    let ground = Ground::new();
    let json = format!(
        r#"{{"image": "oci:{}", "write": "disk"}}"#,
        tare_oracle::image("debian").display()
    );
    let sandbox = ground.open_with(&json);
    let files = sandbox.files();
    let (first, second) = (ground.dir("first"), ground.dir("second"));
    let path = ground.path("a.tar");
    let out = get(&files, "/usr", &path);
    assert!(out.entries > 1000 && out.left_out.is_empty(), "{out:?}");
    files.create_dir("/again", 0o755).unwrap();
    put(&files, "/again", &path);
    let shown = |dir: &Path, to: &str| format!("{:?}", format!("{}:{to}", dir.display()));
    let mounts = [shown(&first, "/first"), shown(&second, "/second")].join(",");
    let copier = ground.open_with(&format!(r#"{{"mounts": [{mounts}]}}"#));
    put(&copier.files(), "/first", &path);
    let path = ground.path("b.tar");
    get(&files, "/again", &path);
    put(&copier.files(), "/second", &path);
    let (first, second) = (manifest(&first).unwrap(), manifest(&second).unwrap());
    assert!(first.entries().len() > 1000);
    assert_eq!(compare(&first, &second), Vec::<String>::new());
}

#[test]
fn archive_of_one_file_and_of_the_root() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let mut archive = Vec::new();
        files.get_tar("/etc/passwd", &mut archive).unwrap();
        files.put_tar("/tmp", &*archive).unwrap();
        says(sandbox, "cmp /etc/passwd /tmp/passwd && ls /tmp", "passwd");
        let mut archive = Vec::new();
        let out = files.get_tar("/", &mut archive).unwrap();
        for name in ["proc", "sys", "dev/pts", "dev/mqueue"] {
            let begin = format!("{name:?}: ");
            let mut lines = out.left_out.iter();
            assert!(
                lines.any(|line| line.starts_with(&begin)),
                "{name}: {out:?}"
            );
        }
        fails(files.get_tar("/dev/null", io::sink()), libc::EINVAL);
        fails(files.get_tar("/none", io::sink()), libc::ENOENT);
        fails(files.get_tar("/proc", io::sink()), libc::EOPNOTSUPP);
        fails(files.put_tar("/none", &*archive), libc::ENOENT);
        fails(files.put_tar("/etc/passwd", &*archive), libc::ENOTDIR);
    });
}

#[test]
fn attributes_that_programs_set_go_along() {
    need!(program("setfattr"));
    let ground = Ground::new();
    let sandbox = ground.open_host();
    let files = sandbox.files();
    let script =
        "cd /var; mkdir t; touch t/f; setfattr -n user.a -v x=y t/f; setfattr -n user.d -v z t";
    let made = shell(&sandbox, script);
    if !made.status.success() {
        // KERNEL(6.6): tmpfs has no user attributes before.
        return;
    }
    let mut archive = Vec::new();
    files.get_tar("/var/t", &mut archive).unwrap();
    files.create_dir("/var/u", 0o755).unwrap();
    let back = files.put_tar("/var/u", &*archive).unwrap();
    assert!(back.left_out.is_empty(), "{back:?}");
    let get = "getfattr --only-values -n user";
    says(
        &sandbox,
        &format!("cd /var/u; {get}.a f; {get}.d ."),
        "x=yz",
    );
}

#[test]
fn deep_tree_goes_out_and_in() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    let path = "/d".repeat(1000);
    files
        .create_dir_all(format!("/tmp/a{path}"), 0o755)
        .unwrap();
    files.write(format!("/tmp/a{path}/f"), "x").unwrap();
    let mut archive = Vec::new();
    files.get_tar("/tmp/a", &mut archive).unwrap();
    files.create_dir("/tmp/b", 0o755).unwrap();
    files.put_tar("/tmp/b", &*archive).unwrap();
    assert_eq!(files.read(format!("/tmp/b{path}/f")).unwrap(), b"x");
    // Names that no archive holds, and no path reaches.
    let script =
        "cd /tmp/b; d=$(printf 'x%.0s' $(seq 200)); for n in $(seq 30); do mkdir $d; cd $d; done";
    shell(&sandbox, script);
    fails(files.get_tar("/tmp/b", io::sink()), libc::ENAMETOOLONG);
}

#[test]
fn archive_entry_cannot_leave_its_directory() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let before = files.read("/etc/passwd").unwrap();
        files.create_dir("/tmp/t", 0o755).unwrap();
        files.symlink("/etc", "/tmp/t/etc").unwrap();
        files.symlink("../../../etc", "/tmp/t/up").unwrap();
        let put = |tar: Tar| files.put_tar("/tmp/t", &*tar.end());
        for tar in [
            Tar::of("../passwd"),
            Tar::of("etc/passwd"),
            Tar::of("up/passwd"),
            Tar::of("etc/passwd->x"),
            Tar::new().head(Head::new(b'6', "etc/passwd")),
            Tar::of("etc/passwd/"),
            Tar::of("hard=>etc/passwd"),
            Tar::of("hard=>../../etc/passwd"),
        ] {
            let error = put(tar).unwrap_err();
            let known = [Some(libc::ENOENT), Some(libc::ELOOP)].contains(&error.errno());
            assert!(known || error.kind() == Kind::Corrupt, "{error}");
            assert_eq!(files.read("/etc/passwd").unwrap(), before, "{error}");
            assert!(!files.exists("/tmp/t/hard").unwrap());
        }
        // A link into the directory itself stays below the directory.
        files.create_dir("/tmp/t/real", 0o755).unwrap();
        files.symlink("/real", "/tmp/t/alias").unwrap();
        put(Tar::of("alias/f")).unwrap();
        assert!(files.exists("/tmp/t/real/f").unwrap());
        // A link that the archive brings itself leads nowhere else.
        put(Tar::of("in->/tmp")).unwrap();
        fails(put(Tar::of("in/f")), libc::EEXIST);
        // Files are replaced; directories, and links to them, are used.
        files.symlink("/etc/passwd", "/tmp/t/l").unwrap();
        put(Tar::of("l")).unwrap();
        assert!(files.symlink_metadata("/tmp/t/l").unwrap().is_file());
        put(Tar::of("alias/")).unwrap();
        assert!(files.symlink_metadata("/tmp/t/alias").unwrap().is_symlink());
        fails(put(Tar::of("real")), libc::EISDIR);
        assert_eq!(files.read("/etc/passwd").unwrap(), before);
    });
}

#[test]
fn broken_archive_is_refused_with_its_place() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let files = sandbox.files();
    let mut archive = Vec::new();
    files.get_tar("/etc", &mut archive).unwrap();
    for wrong in [&b""[..], b"no archive", &archive[..700]] {
        let error = files.put_tar("/tmp", wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
    struct Failing;
    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }
    impl io::Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cut = archive[..1024].chain(Failing);
    fails(files.put_tar("/tmp", cut), libc::EIO);
    fails(files.get_tar("/etc", Failing), libc::ENOSPC);
}

/// A tree of the caller's own.
fn local_tree(at: &Path) {
    fs::create_dir_all(at.join("d/e")).unwrap();
    fs::write(at.join("f"), "content").unwrap();
    fs::set_permissions(at.join("f"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(at.join("d/.wh.x"), "no whiteout").unwrap();
    symlink("../f", at.join("d/soft")).unwrap();
    symlink("/etc/shadow", at.join("d/e/abs")).unwrap();
    let mut sparse = File::create(at.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(50 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    let time = UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
    for name in ["f", "d/e"] {
        let file = File::open(at.join(name)).unwrap();
        file.set_modified(time).unwrap();
    }
}

#[test]
fn local_tree_goes_in_and_out() {
    everywhere(|ground, sandbox| {
        let files = sandbox.files();
        let (local, back) = (ground.path("local"), ground.path("back"));
        local_tree(&local);
        let put = files.put(&local, "/tmp/in").unwrap();
        assert!(put.left_out.is_empty(), "{put:?}");
        says(
            sandbox,
            "cat /tmp/in/f; stat -c %a:%u:%g /tmp/in/f; cat /tmp/in/d/soft",
            "content640:0:0\ncontent",
        );
        assert!(files.metadata("/tmp/in/sparse").unwrap().blocks() < 1000);
        let got = files.get("/tmp/in", &back).unwrap();
        assert_eq!((got.entries, got.left_out), (put.entries, put.left_out));
        let counts = |path: &Path, field| field != Field::Mtime || !path.ends_with("soft");
        let seen = |at| {
            manifest(at)
                .unwrap()
                .only(|path, field, _| counts(path, field))
        };
        assert_eq!(compare(&seen(&local), &seen(&back)), Vec::<String>::new());
        assert!(fs::metadata(back.join("sparse")).unwrap().blocks() < 1000);
        // Into an existing directory: outside refused, inside merged.
        fails(files.get("/tmp/in", &back), libc::ENOTEMPTY);
        files.write("/tmp/in/other", "kept").unwrap();
        files.set_permissions("/tmp/in", 0o711).unwrap();
        fs::write(local.join("f"), "changed").unwrap();
        files.put(&local, "/tmp/in").unwrap();
        says(
            sandbox,
            "cd /tmp/in; cat f other; stat -c %a .",
            "changedkept711",
        );
    });
}

#[test]
fn local_file_goes_in_and_out() {
    everywhere(|ground, sandbox| {
        let files = sandbox.files();
        let (local, back) = (ground.path("local"), ground.path("back"));
        fs::write(&local, "one").unwrap();
        fs::set_permissions(&local, fs::Permissions::from_mode(0o4711)).unwrap();
        files.put(&local, "/tmp/f").unwrap();
        says(sandbox, "cat /tmp/f; stat -c %a /tmp/f", "one711");
        shell(sandbox, "chmod 6755 /tmp/f; ln -s f /tmp/l");
        files.get("/tmp/l", &back).unwrap();
        let seen = fs::symlink_metadata(&back).unwrap();
        assert_eq!((seen.mode(), seen.len()), (0o100755, 3));
        let was = fs::metadata(&local).unwrap();
        assert_eq!(seen.modified().unwrap(), was.modified().unwrap());
        // Existing files are replaced, not written to, on both sides.
        fs::remove_file(&back).unwrap();
        let victim = ground.path("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, &back).unwrap();
        files.get("/tmp/f", &back).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert_eq!(fs::read_to_string(&back).unwrap(), "one");
        files.symlink("/etc/passwd", "/tmp/link").unwrap();
        files.put(&local, "/tmp/link").unwrap();
        assert!(files.symlink_metadata("/tmp/link").unwrap().is_file());
        for entry in fs::read_dir(ground.path("")).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with(".tare"), "{name:?}");
        }
        for (from, to, code) in [
            ("none", "/tmp/x", libc::ENOENT),
            ("local", "/none/x", libc::ENOENT),
            ("local", "/home", libc::EISDIR),
            ("local", "/", libc::EINVAL),
        ] {
            assert_eq!(errno(files.put(ground.path(from), to)), code, "{from} {to}");
        }
        fails(files.put("/dev/null", "/tmp/x"), libc::EINVAL);
        fails(files.get("/dev/null", &back), libc::EINVAL);
        fails(files.get("/tmp/f", ground.root()), libc::EISDIR);
    });
}

#[test]
fn what_a_sandbox_leaves_outside_lends_no_rights() {
    everywhere(|ground, sandbox| {
        let script =
            "mkdir -p /tmp/t/d; cd /tmp/t; touch suid .wh.d; chmod 6777 suid; chmod 7777 d";
        shell(sandbox, &format!("{script}; mkfifo pipe; ln suid hard"));
        if !single_id() {
            shell(sandbox, "cd /tmp/t; chown -R 1000:50 .");
        }
        let back = ground.path("back");
        let got = sandbox.files().get("/tmp/t", &back).unwrap();
        assert_eq!(got.left_out, ["\"pipe\": fifo"]);
        let own = fs::metadata(ground.path("")).unwrap();
        let mut names = Vec::new();
        for entry in fs::read_dir(&back).unwrap() {
            let entry = entry.unwrap();
            let seen = entry.metadata().unwrap();
            assert_eq!(seen.mode() & 0o6000, 0, "{entry:?}");
            let owner = (seen.uid(), seen.gid());
            assert_eq!(owner, (own.uid(), own.gid()), "{entry:?}");
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(names, [".wh.d", "d", "hard", "suid"]);
    });
}
