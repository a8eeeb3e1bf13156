// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the mounts of a running sandbox: mounts that cross to the host
//! and back, restrictions that could be undone.
#![forbid(unsafe_code)]

mod attacks;

use std::fs;

use attacks::{Stage, again, answers, assert_denied, everybody, probing, ran, said, shell};
use nix::unistd::geteuid;
use tare_oracle::need;
use tare_oracle::needs::kernel;

/// The mounts of a default sandbox; masks and read-only paths lie below the
/// first ones.
const MOUNTS: [&str; 6] = [
    "/proc",
    "/sys",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// A mount namespace in which everything is shared, as on a host under systemd.
const SHARED: [&str; 6] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-c",
    "mount --make-rshared / && exec \"$0\" \"$@\"",
];

#[track_caller]
fn on_host(program: &str, args: &[&str]) {
    let status = std::process::Command::new(program).args(args).status();
    assert!(status.unwrap().success(), "{program} {args:?}");
}

#[test]
fn a12_mounts_do_not_cross() {
    need!(root);
    again(&SHARED, ("A12", "1"), || {
        let stage = Stage::new();
        let path = |name: &str| stage.beside(name).display().to_string();
        for dir in ["volume", "volume/before", "volume/after", "elsewhere"] {
            fs::create_dir(stage.beside(dir)).unwrap();
        }
        on_host("mount", &["-t", "tmpfs", "early", &path("volume/before")]);
        let json = format!(
            r#"{{"mounts": ["{}:/v"], "security": {{"cap_add": ["SYS_ADMIN"], "seccomp": "off"}}}}"#,
            path("volume")
        );
        let sandbox = stage.open(&json);
        on_host("mount", &["-t", "tmpfs", "late", &path("volume/after")]);
        on_host("mount", &["-t", "tmpfs", "later", &path("elsewhere")]);
        // Earlier mounts are part of the bind; later mounts are not.
        let inside = said(&sandbox, shell("cat /proc/self/mountinfo"));
        assert!(
            inside.contains(" early ") && !inside.contains(" late"),
            "{inside}"
        );
        assert!(
            !inside.contains("shared:") && !inside.contains("master:"),
            "{inside}"
        );
        // The other direction, even with the right to mount.
        let done = answers(&sandbox, "mount /v/after inside tmpfs 0");
        assert_eq!(done[0].1, "ok");
        let outside = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!outside.contains(" inside "), "{outside}");
        sandbox.close().unwrap();
        for dir in ["volume/after", "volume/before", "elsewhere"] {
            on_host("umount", &[&path(dir)]);
        }
    });
}

#[test]
fn a12_old_root_is_gone() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        let mounts = said(&sandbox, shell("cat /proc/self/mountinfo"));
        for line in mounts.lines() {
            let point = line.split(' ').nth(4).unwrap();
            let known = MOUNTS
                .iter()
                .any(|m| point == *m || point.starts_with(&format!("{m}/")));
            assert!(point == "/" || known, "{line}");
            assert!(
                !line.contains("shared:") && !line.contains("master:"),
                "{line}"
            );
        }
        let seen = said(
            &sandbox,
            shell("cd /; cd ..; ls -a; cd /proc/1/root; cat ../../../etc/hostname"),
        );
        stage.victim.assert_unread(&seen);
    });
}

#[test]
fn a12_nothing_lies_above_or_below_the_root() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        // A way out of a chroot, CAP_SYS_CHROOT being one of Docker's default
        // capabilities.
        let top = answers(&sandbox, "escape");
        let inside = said(&sandbox, shell("ls -A /"));
        let mut seen: Vec<_> = top
            .iter()
            .filter(|(what, _)| what == "top has")
            .map(|(_, name)| name.as_str())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, inside.lines().collect::<Vec<_>>());
        // Under a filter, this kernel may be as an older one.
        let status = fs::read_to_string("/proc/self/status").unwrap();
        if kernel(6, 15).is_err() || !status.contains("Seccomp:\t0\n") {
            // Where pivot_root serves, the kernel's first root (rootfs) lies
            // below, as in every mount namespace.
            return;
        }
        // A process that may unmount the root finds no file of the host, and no
        // place to write.
        let json = r#"{"security": {"cap_add": ["SYS_ADMIN"], "seccomp": "off"}}"#;
        let sandbox = stage.open(json);
        let bottom = answers(&sandbox, "bottom");
        if bottom[0] != ("umount".into(), "ok".into()) {
            // In a user namespace the root is locked.
            assert!(!geteuid().is_root(), "{bottom:?}");
            return;
        }
        for (what, answer) in &bottom {
            assert_ne!(what, "bottom has", "{bottom:?}");
            let written = ["write", "mkdir"].contains(&what.as_str()) && answer == "ok";
            assert!(!written, "{bottom:?}");
        }
    });
}

#[test]
fn a13_restrictions_cannot_be_unmounted() {
    everybody(|| {
        let stage = Stage::new();
        let volume = stage.beside("volume");
        fs::create_dir(&volume).unwrap();
        let sandbox = stage.open(&format!(r#"{{"mounts": ["{}:/v:ro"]}}"#, volume.display()));
        for target in [
            "/proc/kcore",
            "/proc/sys",
            "/sys",
            "/sys/firmware",
            "/v",
            "/dev",
            "/",
        ] {
            assert_denied(&sandbox, &format!("umount {target}"), &["EPERM"]);
            // MS_REMOUNT, and the same of the mount alone with MS_BIND.
            for flags in ["0x20", "0x1020"] {
                assert_denied(
                    &sandbox,
                    &format!("mount {target} none none {flags}"),
                    &["EPERM"],
                );
            }
            assert_denied(
                &sandbox,
                &format!("mount {target} / none 0x5000"),
                &["EPERM"],
            );
        }
        let write = said(&sandbox, shell("echo x > /v/new; echo $?"));
        assert_eq!(write, "1\n");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
    });
}

#[test]
fn a13_read_only_bind_is_so_to_its_leaves() {
    need!(root);
    again(&SHARED, ("A13", "1"), || {
        let stage = Stage::new();
        let path = |name: &str| stage.beside(name).display().to_string();
        fs::create_dir_all(stage.beside("volume/leaf")).unwrap();
        on_host("mount", &["-t", "tmpfs", "leaf", &path("volume/leaf")]);
        let sandbox = stage.open(&format!(r#"{{"mounts": ["{}:/v:ro"]}}"#, path("volume")));
        let seen = said(&sandbox, shell("mkdir /v/x /v/leaf/x 2>&1; true"));
        assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
        sandbox.close().unwrap();
        on_host("umount", &[&path("volume/leaf")]);
    });
}

#[test]
fn i07_deep_tree_goes_with_its_sandbox() {
    everybody(|| {
        let stage = Stage::new();
        let scratch = stage.beside("store/scratch");
        let sandbox = stage.open(r#"{"write": "disk", "workdir": "/tmp/deep"}"#);
        assert_eq!(said(&sandbox, probing("deep 1100")), "deep ok\n");
        let planted = "busybox mkdir -p r1/r0/r0 r2/x; echo x > r2/x/file; busybox chmod 0 r2";
        ran(&sandbox, shell(planted));
        assert_ne!(fs::read_dir(&scratch).unwrap().count(), 0);
        sandbox.close().unwrap();
        let left: Vec<_> = fs::read_dir(&scratch).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        stage.victim.assert_intact();
    });
}
