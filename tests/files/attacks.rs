// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attempts of a hostile sandbox while the host reads and writes its files.

use std::fs;
use std::time::{Duration, Instant};

use tare::{Command, Kind, Stdout};

use crate::harness::{Ground, sh};
use crate::{errno, everywhere, fails, says, shell};

#[test]
fn link_out_of_the_root_stays_inside() {
    everywhere(|ground, sandbox| {
        let files = sandbox.files();
        let victim = ground.path("victim");
        fs::write(&victim, "outside").unwrap();
        let up = "../".repeat(20);
        let shown = victim.to_str().unwrap();
        for (name, target) in [
            ("abs", shown.to_owned()),
            ("rel", format!("{up}{shown}")),
            ("dots", up),
        ] {
            files.symlink(&target, format!("/tmp/{name}")).unwrap();
        }
        for path in ["/tmp/abs", "/tmp/rel"] {
            assert_eq!(errno(files.read(path)), libc::ENOENT, "{path}");
            assert_eq!(errno(files.write(path, "inside")), libc::ENOENT, "{path}");
        }
        files.write("/tmp/dots/made", "inside").unwrap();
        files.write("/../../made2", "inside").unwrap();
        says(sandbox, "cat /made /made2", "insideinside");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "outside");
    });
}

#[test]
fn link_into_a_kernel_file_system_is_refused() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        let kernels = [
            "/proc/1/mem",
            "/proc/self/mem",
            "/proc/1/oom_score_adj",
            "/proc/sys/kernel/hostname",
            "/proc/sysrq-trigger",
            "/sys/fs/cgroup/cgroup.procs",
            "/sys/kernel/mm/ksm/run",
        ];
        for target in kernels {
            files.symlink(target, "/tmp/x").unwrap();
            for outcome in [
                files.write("/tmp/x", "1"),
                files.read("/tmp/x").map(drop),
                files.set_permissions("/tmp/x", 0o777),
                files.set_owner("/tmp/x", 0, 0),
            ] {
                let code = errno(outcome);
                let known = [libc::EOPNOTSUPP, libc::ENOENT];
                assert!(known.contains(&code), "{target}: {code}");
            }
            files.remove_file("/tmp/x").unwrap();
        }
        let dirs = ["/proc/1", "/proc/sys/kernel", "/sys/fs/cgroup"];
        for target in dirs.into_iter().chain(["/dev/pts", "/dev/mqueue"]) {
            files.symlink(target, "/tmp/d").unwrap();
            for outcome in [
                files.write("/tmp/d/new", "1"),
                files.create_dir("/tmp/d/new", 0o755),
                files.symlink("x", "/tmp/d/new"),
                files.create_fifo("/tmp/d/new", 0o600),
                files.rename("/etc/group", "/tmp/d/new"),
                files.hard_link("/etc/group", "/tmp/d/new"),
                files.remove_file("/tmp/d/new"),
                files.remove_dir("/tmp/d/new"),
            ] {
                assert_eq!(errno(outcome), libc::EOPNOTSUPP, "{target}");
            }
            files.remove_file("/tmp/d").unwrap();
        }
    });
}

#[test]
fn magic_links_are_refused() {
    everywhere(|_, sandbox| {
        let files = sandbox.files();
        for (target, rest) in [
            ("/proc/1/root", "/etc/passwd"),
            ("/proc/self/root", "/etc/passwd"),
            ("/proc/1/cwd", "/etc/passwd"),
            ("/proc/self/exe", ""),
            ("/proc/1/fd/3", ""),
            ("/proc/1/ns/mnt", ""),
            ("/proc/1/map_files", "/x"),
        ] {
            files.symlink(target, "/tmp/x").unwrap();
            let path = format!("/tmp/x{rest}");
            for code in [errno(files.read(&path)), errno(files.write(&path, "x"))] {
                use libc::{EACCES, ELOOP, ENOENT, EOPNOTSUPP, EPERM};
                let refused = [ELOOP, EACCES, ENOENT, EOPNOTSUPP, EPERM];
                assert!(refused.contains(&code), "{target}: {code}");
            }
            files.remove_file("/tmp/x").unwrap();
        }
    });
}

#[test]
fn read_only_mount_cannot_be_written_through_a_link() {
    let ground = Ground::new();
    let volume = ground.dir("volume");
    fs::write(volume.join("f"), "x").unwrap();
    let json = format!(r#"{{"mounts": ["{}:/v:ro"]}}"#, volume.display());
    let sandbox = ground.open_with(&json);
    let files = sandbox.files();
    files.symlink("/v/f", "/tmp/f").unwrap();
    assert_eq!(files.read("/tmp/f").unwrap(), b"x");
    fails(files.write("/tmp/f", "y"), libc::EROFS);
    fails(files.set_permissions("/tmp/f", 0o777), libc::EROFS);
    assert_eq!(fs::read(volume.join("f")).unwrap(), b"x");
}

/// A process inside swaps the meaning of a name as fast as it can, while the
/// host works with the name.
#[test]
fn name_that_is_swapped_meanwhile_leads_nowhere_else() {
    let ground = Ground::new();
    let victim = ground.path("victim");
    fs::write(&victim, "outside").unwrap();
    let sandbox = ground.open();
    let files = sandbox.files();
    shell(
        &sandbox,
        "mkdir -p /tmp/real; echo inside >/tmp/real/f; mkfifo /tmp/pipe",
    );
    files.symlink("/proc/sys/kernel", "/tmp/kernel").unwrap();
    let racer = "cd /tmp; while :; do
        ln -sfn real d; ln -sfn kernel d; ln -sfn /proc/1 d; ln -sfn ../../../.. d
        ln -sf real/f f; ln -sf pipe f; ln -sf /proc/1/mem f; ln -sf /dev/null f; rm -f f; echo x >f; rm -f f; done";
    let racer = sh(racer).stdout(Stdout::Null).stderr(Stdout::Null);
    let racing = sandbox.spawn(racer).unwrap();
    let began = Instant::now();
    let (mut good, mut refused) = (0, 0);
    for round in 0.. {
        let enough = Duration::from_secs(if round < 2000 { 60 } else { 5 });
        if began.elapsed() >= enough {
            break;
        }
        for outcome in [
            files.write("/tmp/f", "inside\n"),
            files.write("/tmp/d/f", "inside\n"),
            files.read("/tmp/f").map(drop),
            files.create_dir("/tmp/d/new", 0o755),
            files.remove_dir_all("/tmp/d/new"),
            files.set_permissions("/tmp/f", 0o600),
        ] {
            match outcome {
                Ok(()) => good += 1,
                Err(error) => {
                    assert_ne!(error.kind(), Kind::Broken, "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(good > 0 && refused > 0, "{good} {refused}");
    racing.kill().unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "outside");
    let script = "stat -c %a /dev/null; ls /proc/sys/kernel | grep -c '^new$' || true";
    says(&sandbox, script, "666\n0");
}

/// open(2) would wait for the holder of a lease, up to 45 seconds, and the init
/// with it.
#[test]
fn lease_inside_does_not_stop_the_sandbox() {
    let ground = Ground::new();
    let sandbox = ground.open_host();
    let files = sandbox.files();
    files.write("/dev/shm/leased", "x").unwrap();
    // F_SETLEASE, F_WRLCK
    let program = r#"$SIG{IO} = "IGNORE"; open F, "+<", "/dev/shm/leased"; fcntl(F, 1024, 1) or die;
        $| = 1; print "+"; sleep 9 while 1"#;
    let command = Command::from_argv(["perl", "-e", program]);
    let holder = sandbox.spawn(command.stdout(Stdout::Piped)).unwrap();
    let mut out = fs::File::from(holder.take_stdout().unwrap());
    let mut ready = [0];
    std::io::Read::read_exact(&mut out, &mut ready).unwrap();
    let began = Instant::now();
    let error = files.write("/dev/shm/leased", "y").unwrap_err();
    let told = (error.kind(), error.errno());
    assert_eq!(told, (Kind::Busy, Some(libc::EAGAIN)), "{error}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    says(&sandbox, "echo alive", "alive");
    let cure = "again, or end who holds a lease on it (fcntl F_SETLEASE)";
    assert_eq!(error.cure(), Some(cure));
    holder.kill().unwrap();
    holder.wait().unwrap();
    files.write("/dev/shm/leased", "y").unwrap();
}
