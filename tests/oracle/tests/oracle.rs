// SPDX-License-Identifier: MIT OR Apache-2.0
//! The oracles themselves: leftovers made on purpose must be seen, and seen to
//! go.
//!
//! Every test here starts children or opens files, so every one holds
//! `Host::exclusive`.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tare_oracle::host::Area;
use tare_oracle::tree::{Field, compare, manifest};
use tare_oracle::{Host, Victim, image, need, ordinary_user};

const SOON: Duration = Duration::from_secs(5);

/// Runs `leave` and expects a line of `area` that was not there, within
/// `SOON`, since a child may not be yet what it will be; then undoes it by
/// dropping what `leave` returned, and expects no difference.
#[track_caller]
fn must_see<T>(area: Area, watched: &[&Path], leave: impl FnOnce() -> T) {
    let before = Host::snapshot_with(watched);
    let left = leave();
    let wanted = format!("+ {area}: ");
    let deadline = Instant::now() + SOON;
    loop {
        let seen = before.diff(&before.again());
        if seen.iter().any(|line| line.starts_with(&wanted)) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "nothing of {wanted:?} in {seen:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
    drop(left);
    before.assert_unchanged(SOON);
}

/// Runs `program` at the end.
struct Undo(Command);

impl Drop for Undo {
    fn drop(&mut self) {
        assert!(self.0.status().expect("undo").success());
    }
}

fn command(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null());
    command
}

fn run(line: &str) {
    assert!(command(line).status().expect("sh").success(), "{line}");
}

#[test]
fn host_sees_descriptors() {
    let _alone = Host::exclusive();
    must_see(Area::Descriptors, &[], || {
        fs::File::open("/dev/null").unwrap()
    });
    let file = fs::File::open("/dev/null").unwrap();
    let before = Host::snapshot();
    nix::fcntl::fcntl(&file, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let seen = before.diff(&before.again());
    let number = format!("+ descriptor: {} ", file.as_raw_fd());
    assert!(seen.iter().any(|l| l.starts_with(&number)), "{seen:?}");
}

#[test]
fn host_sees_threads() {
    let _alone = Host::exclusive();
    must_see(Area::Threads, &[], || {
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || ended.recv().is_err());
        end
    });
}

#[test]
fn host_sees_children_zombies_and_their_namespaces() {
    let _alone = Host::exclusive();
    struct Child(std::process::Child);
    impl Drop for Child {
        fn drop(&mut self) {
            let _ = self.0.kill();
            self.0.wait().expect("wait");
        }
    }
    must_see(Area::Processes, &[], || {
        Child(command("sleep 60; true").spawn().unwrap())
    });
    must_see(Area::Processes, &[], || {
        let child = Child(command("exit 0").spawn().unwrap());
        thread::sleep(Duration::from_millis(100));
        child
    });
    need!(root);
    must_see(Area::NetworkNamespaces, &[], || {
        Child(command("exec unshare -n sleep 60").spawn().unwrap())
    });
}

#[test]
fn host_sees_orphans_of_the_library_and_no_others() {
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    // A process whose comm begins with tare- and whose parent is gone.
    let program = dir.path().join("tare-init");
    fs::copy("/bin/sleep", &program).unwrap();
    let orphan = |program: &str| {
        let line = format!("{program} 60 </dev/null >/dev/null 2>&1 & echo $!");
        let output = command(&line).output().unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        Undo(command(&format!("kill {pid}")))
    };
    must_see(Area::Processes, &[], || orphan(program.to_str().unwrap()));
    let before = Host::snapshot();
    let foreign = orphan("sleep");
    before.assert_unchanged(SOON);
    drop(foreign);
}

/// Starts a lookalike of a spawner: with the helper's comm, without a parent,
/// holding a pidfd of `host`.
fn fake_spawner(dir: &Path, host: u32) -> Undo {
    let program = dir.join("tare-spawner");
    fs::copy("/usr/bin/python3", &program).unwrap();
    let script = format!(
        "import os, sys, time\nif os.fork(): os._exit(0)\nfd = os.pidfd_open({host})\n\
         print(os.getpid(), flush=True)\nos.closerange(0, 3)\ntime.sleep(60)"
    );
    let output = Command::new(program)
        .args(["-c", &script])
        .output()
        .unwrap();
    let pid = String::from_utf8(output.stdout).unwrap();
    Undo(command(&format!("kill {pid}")))
}

#[test]
fn host_tells_its_spawners_from_those_of_others() {
    let _alone = Host::exclusive();
    need!(root, program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let seen = |host: u32| {
        let before = Host::snapshot();
        let spawner = fake_spawner(dir.path(), host);
        let seen = before.diff(&before.again());
        drop(spawner);
        before.assert_unchanged(SOON);
        seen.iter().any(|l| l.ends_with(" tare-spawner"))
    };
    assert!(seen(std::process::id()), "its own");
    assert!(!seen(1), "of another process that lives");
    // It says so when it is what it stays: a snapshot amid its exec(2) shows a
    // name that goes.
    let script = "import os, time\nos.write(1, b'x')\ntime.sleep(60)";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert!(seen(child.id()), "of its child");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn host_takes_a_mount_whose_directory_is_gone_for_that_of_others() {
    need!(root, program("unshare"));
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mounted");
    fs::create_dir(&at).unwrap();
    let at = at.display();
    run(&format!("mount -t tmpfs none {at}"));
    let before = Host::snapshot();
    run(&format!("unshare -m sh -c 'umount {at} && rmdir {at}'"));
    before.assert_unchanged(SOON);
    run(&format!("mkdir {at} && mount -t tmpfs none {at}"));
    let before = Host::snapshot();
    run(&format!("umount {at}"));
    let seen = before.diff(&before.again());
    assert!(
        seen.iter().any(|line| line.starts_with("- mount: ")),
        "{seen:?}"
    );
}

#[test]
fn host_sees_mounts_and_cgroups() {
    need!(root);
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    must_see(Area::Mounts, &[], || {
        run(&format!("mount -t tmpfs none {at}"));
        Undo(command(&format!("umount {at}")))
    });
    need!(cgroup_v2);
    let group = if Path::new("/sys/fs/cgroup/unified").exists() {
        "/sys/fs/cgroup/unified/tare-oracle-test"
    } else {
        "/sys/fs/cgroup/tare-oracle-test"
    };
    must_see(Area::Cgroups, &[], || {
        run(&format!("mkdir -p {group}/inner"));
        Undo(command(&format!("rmdir {group}/inner {group}")))
    });
}

#[test]
fn host_sees_keys_and_loop_devices() {
    need!(root, program("keyctl"));
    let _alone = Host::exclusive();
    must_see(Area::Keyrings, &[], || {
        run("keyctl add user tare-oracle-test x @u >/dev/null");
        Undo(command("keyctl purge user tare-oracle-test >/dev/null"))
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    must_see(Area::LoopDevices, &[], || {
        let output = command(&format!("losetup --show -f {}", file.display()))
            .output()
            .unwrap();
        let device = String::from_utf8(output.stdout).unwrap();
        Undo(command(&format!("losetup -d {device}")))
    });
}

#[test]
fn host_sees_directories() {
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    must_see(Area::Directories, &[dir.path()], || {
        tempfile::tempdir_in(&dir).unwrap()
    });
}

#[test]
fn host_sees_what_the_contract_forbids() {
    struct Umask(nix::sys::stat::Mode);
    impl Drop for Umask {
        fn drop(&mut self) {
            nix::sys::stat::umask(self.0);
        }
    }
    let _alone = Host::exclusive();
    must_see(Area::Contract, &[], || {
        Umask(nix::sys::stat::umask(nix::sys::stat::Mode::S_IRWXO))
    });
}

#[test]
fn host_unchanged_panics_listing_what_is_left() {
    let _alone = Host::exclusive();
    let before = Host::snapshot();
    let file = fs::File::open("/dev/zero").unwrap();
    let result = std::panic::catch_unwind(|| before.assert_unchanged(Duration::ZERO));
    let said = *result.unwrap_err().downcast::<String>().unwrap();
    drop(file);
    assert!(
        said.contains("+ descriptor: ") && said.contains("/dev/zero"),
        "{said}"
    );
}

/// Each way to change a victim, as shell run inside it.
const ATTACKS: [(&str, &str); 12] = [
    ("content", "echo x >file"),
    (
        "same length",
        "tr a-z n-za-m <secret >new && cat new >secret; rm new",
    ),
    ("new file", ": >dir/empty/new"),
    ("removed", "rm dir/file"),
    ("mode", "chmod 0644 secret"),
    ("setuid lost", "chmod 0755 setuid"),
    ("mtime", "touch -d 2001-01-01 file"),
    ("link target", "ln -sfn /etc dirlink"),
    ("type", "rm fifo; : >fifo"),
    ("hard link", "cp -p dir/hard x && mv x dir/hard"),
    ("xattr", "setfattr -n user.victim -v other file"),
    ("truncated", ": >ptmx"),
];

#[test]
fn victim_sees_every_change() {
    let _alone = Host::exclusive();
    need!(program("setfattr"));
    for (name, attack) in ATTACKS {
        let dir = tempfile::tempdir().unwrap();
        let victim = Victim::new(dir.path());
        victim.assert_intact();
        run(&format!("cd {} && {attack}", victim.path().display()));
        assert!(!victim.diff().is_empty(), "{name} went unseen");
    }
}

#[test]
fn victim_marker_is_found_where_it_leaked() {
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let victim = Victim::new(dir.path());
    let other = tempfile::tempdir().unwrap();
    assert!(victim.marker_below(other.path()).is_empty());
    fs::copy(victim.path().join("secret"), other.path().join("copy")).unwrap();
    symlink(victim.marker(), other.path().join("link")).unwrap();
    assert_eq!(victim.marker_below(other.path()).len(), 2);
    victim.assert_unread("nothing of the kind");
    let read = fs::read(victim.path().join("file")).unwrap();
    assert!(std::panic::catch_unwind(|| victim.assert_unread(read)).is_err());
}

#[test]
fn tree_equal_after_a_faithful_copy_and_not_after_a_plain_one() {
    let _alone = Host::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/sub")).unwrap();
    fs::write(at("a/sub/f"), "x").unwrap();
    fs::hard_link(at("a/sub/f"), at("a/g")).unwrap();
    fs::set_permissions(at("a/sub"), fs::Permissions::from_mode(0o1711)).unwrap();
    symlink("else\nwhere", at("a/l")).unwrap();
    run(&format!(
        "touch -d 2001-02-03T04:05:06.789 {0}/a/g; cp -a {0}/a {0}/b; cp -r {0}/a {0}/c",
        dir.path().display()
    ));
    let a = manifest(at("a")).unwrap();
    assert_eq!(
        compare(&a, &manifest(at("b")).unwrap()),
        Vec::<String>::new()
    );
    let lines = compare(&a, &manifest(at("c")).unwrap());
    for wanted in ["mtime", "hardlink"] {
        assert!(
            lines.iter().any(|l| l.contains(wanted)),
            "{wanted}: {lines:?}"
        );
    }
    assert_eq!(a.field("sub", Field::Mode), Some("1711"));
    assert_eq!(a.field("sub/f", Field::Hardlink), Some("g"));
    assert_eq!(a.field("l", Field::Target), Some("else\\nwhere"));
    let faithless = |path: &Path, field, _: &str| field != Field::Mtime && !path.ends_with("sub");
    let c = manifest(at("c")).unwrap().only(faithless);
    let a = a.only(faithless);
    assert!(compare(&a, &c).iter().all(|l| l.contains("hardlink")));
}

#[test]
fn tree_of_the_odd_image_has_what_makes_it_odd() {
    let _alone = Host::exclusive();
    need!(root, image("busybox"), program("umoci"));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let layout = image("busybox");
    run(&format!(
        "umoci raw unpack --image {}:odd {} >/dev/null",
        layout.display(),
        root.display()
    ));
    let odd = manifest(&root).unwrap();
    for (path, field, value) in [
        ("odd/null", Field::Device, "1:3"),
        ("odd/block", Field::Device, "7:200"),
        ("odd/fifo", Field::Owner, "12345:54321"),
        ("odd/closed", Field::Mode, "0000"),
        ("odd/setgid", Field::Mode, "2775"),
        ("odd/capable", Field::Mode, "4755"),
        ("odd/xattr", Field::Mtime, "97445.123456789"),
        ("odd/xattr", Field::Hardlink, "odd/hard"),
        ("odd/xattr", Field::Xattrs, "6f6464"),
    ] {
        assert_eq!(odd.field(path, field), Some(value), "{path}");
    }
    assert!(odd.field("odd/capable", Field::Xattrs).is_some());
}

#[test]
fn user_is_ordinary_with_and_without_subids() {
    let _alone = Host::exclusive();
    need!(user("plain"), user("subids"));
    for subids in [false, true] {
        let user = ordinary_user(subids);
        let output = user
            .command("/bin/sh")
            .args([
                "-c",
                "id -u; id -G; pwd; grep CapEff /proc/self/status; env | sort; ulimit -c",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let home = user.home.display();
        let begin = format!(
            "{}\n{}\n{home}\nCapEff:\t0000000000000000\n",
            user.uid, user.gid
        );
        assert!(said.starts_with(&begin), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
        let ranges = fs::read_to_string("/etc/subuid").unwrap();
        assert_eq!(ranges.contains(&format!("{}:", user.name)), subids);
        let dir = user.tempdir();
        let status = user
            .command("/usr/bin/touch")
            .arg(dir.path().join("x"))
            .status();
        assert!(status.unwrap().success());
    }
}

#[test]
fn user_may_be_root_of_a_user_namespace() {
    let _alone = Host::exclusive();
    need!(user("plain"), user("subids"), userns, program("newuidmap"));
    for subids in [false, true] {
        let output = ordinary_user(subids)
            .root_command("/bin/sh")
            .args([
                "-c",
                "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "0", "{said}");
        assert_eq!(lines.len(), if subids { 4 } else { 3 }, "{said}");
        let first = fs::read_link("/proc/self/ns/user").unwrap();
        assert_ne!(lines.last().copied(), first.to_str(), "{said}");
    }
}

#[test]
fn user_cannot_read_what_is_roots() {
    let _alone = Host::exclusive();
    need!(user("plain"));
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&secret, Some(0), Some(0)).unwrap();
    let output = ordinary_user(false)
        .command("/bin/cat")
        .arg(&secret)
        .output();
    assert!(!output.unwrap().status.success());
}
