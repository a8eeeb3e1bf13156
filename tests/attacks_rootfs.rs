// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks by the image on the mounts over it: links, files and races in the
//! place of mount points.
#![forbid(unsafe_code)]

mod attacks;

use std::fs;
use std::path::Path;

use attacks::{Stage, everybody, is_root, probing, ran, said, shell};
use tare::{Sandbox, Size};

/// Mount points of the kernel's file systems, and the entries that an image
/// could have there.
const KERNEL: [&str; 2] = ["proc", "sys"];

fn core_pattern() -> Vec<u8> {
    fs::read("/proc/sys/kernel/core_pattern").unwrap()
}

#[test]
fn a01_kernel_directory_that_is_no_directory_is_refused() {
    everybody(|| {
        let stage = Stage::new();
        stage.dir("bad/sys/kernel");
        let victim = stage.victim.path().to_owned();
        for name in KERNEL {
            for target in ["/bad", "bad", "../../bad", "/none"] {
                stage.relink(target, name);
                let why = stage.refused("{}");
                assert!(why.contains("ELOOP"), "{name} -> {target:?}: {why}");
            }
            stage.relink(&victim, name);
            assert!(stage.refused("{}").contains("ELOOP"));
            stage.remove(name);
            stage.file(name, "a file");
            assert!(stage.refused("{}").contains("ENOTDIR"), "{name}");
            stage.remove(name);
            stage.dir(name);
        }
        stage.victim.assert_intact();
    });
}

#[test]
fn a01_filled_kernel_directory_is_covered() {
    everybody(|| {
        let stage = Stage::new();
        for name in KERNEL {
            stage.dir(&format!("{name}/self/attr"));
            stage.file(&format!("{name}/planted"), "planted");
        }
        let sandbox = stage.open("{}");
        // PROC_SUPER_MAGIC and SYSFS_MAGIC; the root of either file system is
        // its first inode.
        let types = said(
            &sandbox,
            shell("stat -f -c %t /proc /sys; stat -c %i /proc /sys"),
        );
        assert_eq!(types, "9fa0\n62656572\n1\n1\n");
        assert_eq!(
            said(
                &sandbox,
                shell("ls -d /proc/planted /sys/planted 2>/dev/null; true")
            ),
            ""
        );
    });
}

#[test]
fn a02_mount_over_a_kernel_file_system_is_refused() {
    everybody(|| {
        let stage = Stage::new();
        let source = stage.beside("volume");
        fs::create_dir(&source).unwrap();
        for target in [
            "/proc",
            "/proc/self/attr",
            "/proc/sys/kernel",
            "/proc/./sys",
            "//proc//cpuinfo",
            "/tmp/../proc",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/",
        ] {
            for text in [
                format!("{}:{target}", source.display()),
                format!("{}:{target}:cow", source.display()),
            ] {
                let json = format!(r#"{{"mounts": [{text:?}]}}"#);
                let error = tare::Spec::from_json(&json).unwrap_err();
                assert_eq!(error.kind(), tare::Kind::Invalid, "{json}: {error}");
            }
        }
    });
}

#[test]
fn a02_mount_through_a_link_into_a_kernel_file_system_is_refused() {
    everybody(|| {
        let stage = Stage::new();
        let source = stage.beside("volume");
        fs::create_dir(&source).unwrap();
        stage.dir("data");
        for (link, target) in [
            ("/proc", "/data/self"),
            ("/proc/sys", "/data/kernel"),
            ("../proc/self/attr", "/data"),
            ("/proc", "/data/sys/kernel"),
            ("/sys", "/data/fs/cgroup"),
            ("/sys/kernel", "/data"),
        ] {
            stage.relink(link, "data");
            for options in ["", ":ro", ":cow"] {
                let text = format!("{}:{target}{options}", source.display());
                let why = stage.refused(&format!(r#"{{"mounts": [{text:?}]}}"#));
                assert!(why.contains("attach mount"), "{link} {text}: {why}");
            }
            let table = format!(r#"{{"mounts": [{{"type": "tmpfs", "target": {target:?}}}]}}"#);
            stage.refused(&table);
        }
    });
}

#[test]
fn a02_mount_through_a_link_onto_what_is_hidden_is_refused() {
    everybody(|| {
        let stage = Stage::new();
        let (dir, file) = (stage.beside("volume"), stage.beside("file"));
        fs::create_dir(&dir).unwrap();
        fs::write(&file, "volume").unwrap();
        let masked = stage.open("{}").effective().unwrap().masked_paths;
        let there: Vec<_> = masked.iter().filter(|p| Path::new(p).exists()).collect();
        assert!(!there.is_empty(), "{masked:?}");
        // The last spec hides more paths.
        for path in there.into_iter().map(String::as_str).chain(["/dev/null"]) {
            stage.relink(path, "data");
            let source = if Path::new(path).is_dir() {
                &dir
            } else {
                &file
            };
            for options in ["", ":ro"] {
                let text = format!("{}:/data{options}", source.display());
                let why = stage.refused(&format!(r#"{{"mounts": [{text:?}]}}"#));
                assert!(why.contains("EXDEV"), "{path} {text}: {why}");
            }
        }
    });
}

#[test]
fn a02_link_to_the_root_does_not_lose_what_was_asked_for() {
    everybody(|| {
        let stage = Stage::new();
        let source = stage.beside("volume");
        fs::create_dir(&source).unwrap();
        stage.relink("/", "data");
        for json in [
            format!(r#"{{"mounts": ["{}:/data:ro"]}}"#, source.display()),
            r#"{"mounts": [{"type": "tmpfs", "target": "/data"}]}"#.to_owned(),
            r#"{"security": {"readonly_paths": ["/data"]}}"#.to_owned(),
            r#"{"security": {"masked_paths": ["/data"]}}"#.to_owned(),
        ] {
            let why = stage.refused(&json);
            assert!(why.contains("EBUSY"), "{json}: {why}");
        }
    });
}

/// Every mask is the null device or an empty directory that stays empty.
#[track_caller]
fn assert_masked(sandbox: &Sandbox) {
    for path in sandbox.effective().unwrap().masked_paths {
        let look =
            format!("stat -c '%F %t:%T' {path} 2>/dev/null && ls -A {path}; mkdir {path}/x 2>&1");
        let seen = said(sandbox, shell(&format!("{look}; true")));
        let file = seen.starts_with(&format!("character special file 1:3\n{path}\n"));
        let directory = seen.starts_with("directory 0:0\nmkdir: ") && seen.contains("Read-only");
        let absent = seen.starts_with("mkdir: ") && !seen.contains("Read-only");
        assert!(file || directory || absent, "{path}: {seen}");
    }
}

#[test]
fn a03_masks_are_the_null_device_for_any_image() {
    everybody(|| {
        let before = core_pattern();
        let stage = Stage::new();
        for target in [
            "/proc/sys/kernel/core_pattern",
            "/etc/passwd",
            "zero",
            "/none",
        ] {
            stage.relink(target, "dev/null");
            assert_masked(&stage.open("{}"));
        }
        stage.remove("dev/null");
        stage.file("dev/null", "a file");
        assert_masked(&stage.open("{}"));
        if is_root() {
            stage.remove("dev/null");
            let path = stage.at("dev/null");
            let node = std::process::Command::new("mknod")
                .arg(path)
                .args(["c", "1", "5"])
                .status();
            assert!(node.unwrap().success());
            assert_masked(&stage.open("{}"));
        }
        assert_eq!(core_pattern(), before);
    });
}

#[test]
fn a03_names_that_link_to_devices_do_not_replace_them() {
    everybody(|| {
        let before = core_pattern();
        let stage = Stage::new();
        for name in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
            for target in [
                "/dev/null",
                "../dev/zero",
                "/proc/sys/kernel/core_pattern",
                "/proc/kcore",
            ] {
                stage.relink(target, name);
                let sandbox = stage.open("{}");
                assert_masked(&sandbox);
                let devices = said(&sandbox, shell("stat -c %t:%T /dev/null /dev/zero"));
                assert_eq!(devices, "1:3\n1:5\n", "{name} -> {target}");
                let covered = said(&sandbox, shell("cat /proc/self/mountinfo"));
                assert!(!covered.contains("core_pattern"), "{covered}");
            }
            stage.remove(name);
        }
        assert_eq!(core_pattern(), before);
    });
}

#[test]
fn a04_console_is_the_terminal_and_nothing_else() {
    everybody(|| {
        let before = core_pattern();
        let stage = Stage::new();
        stage.dir("dev/pts");
        stage.link("/proc/sys/kernel/core_pattern", "dev/console");
        stage.link("/proc/sys/kernel/core_pattern", "dev/pts/0");
        stage.link("/proc/sys/kernel/core_pattern", "dev/ptmx");
        let sandbox = stage.open("{}");
        let size = Size {
            rows: 24,
            columns: 80,
        };
        let line = "stat -c %t:%T /dev/console /dev/pts/0; readlink /proc/self/fd/0; echo x > /dev/console";
        let seen = said(&sandbox, shell(line).tty(size));
        assert_eq!(seen, "88:0\r\n88:0\r\n/dev/pts/0\r\nx\r\n");
        assert_eq!(core_pattern(), before);
    });
}

#[test]
fn a04_console_that_a_command_has_replaced_is_left_alone() {
    everybody(|| {
        let stage = Stage::new();
        let volume = stage.beside("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("precious"), "precious").unwrap();
        let json = format!(r#"{{"mounts": ["{}:/v"]}}"#, volume.display());
        for plant in [
            "ln -s /v/precious /dev/console",
            "ln -s /v/new /dev/console",
            "mkdir /dev/console",
            "ln -s /proc/1/mem /dev/console",
        ] {
            let sandbox = stage.open(&json);
            ran(&sandbox, shell(plant));
            let size = Size {
                rows: 24,
                columns: 80,
            };
            let seen = said(&sandbox, shell("readlink /proc/self/fd/0").tty(size));
            assert_eq!(seen, "/dev/pts/0\r\n", "{plant}");
            let mounts = said(&sandbox, shell("cat /proc/self/mountinfo"));
            assert!(
                !mounts.contains("/dev/console") && !mounts.contains("precious"),
                "{mounts}"
            );
            assert_eq!(fs::read_dir(&volume).unwrap().count(), 1, "{plant}");
            assert_eq!(fs::read(volume.join("precious")).unwrap(), b"precious");
        }
    });
}

#[test]
fn a05_mount_target_that_another_sandbox_swaps_stays_inside() {
    everybody(|| {
        // A link that was put there is rarely seen: while names change, the
        // kernel has a walk through links begin anew.
        const STARTS: usize = 100;
        const MOST: usize = 5_000;
        let before = core_pattern();
        let stage = Stage::new();
        fs::create_dir(stage.beside("other")).unwrap();
        let up = format!("../../../../../..{}", stage.victim.path().display());
        let (mut hits, mut misses, mut starts) = (0, 0, 0);
        for (n, target) in ["/proc/self", "/proc/sys/kernel", &up].iter().enumerate() {
            let volume = stage.beside(&format!("volume{n}"));
            fs::create_dir_all(volume.join("x/y")).unwrap();
            std::os::unix::fs::symlink(target, volume.join("l")).unwrap();
            let shared = format!("{}:/v", volume.display());
            let attacker = stage.open(&format!(r#"{{"mounts": [{shared:?}]}}"#));
            let swapping = attacker.spawn(probing("swap /v/x /v/l")).unwrap();
            let second = format!("{}:/v/x/y", stage.beside("other").display());
            let json = format!(r#"{{"mounts": [{shared:?}, {second:?}]}}"#);
            let enough = starts + STARTS;
            while starts < enough || (hits == 0 || misses == 0) && starts < MOST {
                starts += 1;
                match Sandbox::open(&stage.store, &stage.spec(&json)) {
                    Err(_) => hits += 1,
                    Ok(sandbox) => {
                        let mounts = said(&sandbox, shell("cat /proc/self/mountinfo"));
                        let points: Vec<_> = mounts
                            .lines()
                            .filter_map(|line| line.split(' ').nth(4))
                            .collect();
                        let astray = ["/proc/self", "/proc/sys/kernel"];
                        assert!(
                            !points
                                .iter()
                                .any(|p| astray.iter().any(|a| p.starts_with(a)))
                        );
                        let inside = points.contains(&"/v/x/y") || points.contains(&"/v/l/y");
                        if inside { misses += 1 } else { hits += 1 }
                    }
                }
            }
            swapping.kill().unwrap();
        }
        // A race that was never won, or always, shows nothing.
        assert!(hits > 0 && misses > 0, "{hits} swaps seen, {misses} not");
        stage.victim.assert_intact();
        assert_eq!(core_pattern(), before);
    });
}

#[test]
fn a06_dev_that_is_a_link_is_refused() {
    everybody(|| {
        let stage = Stage::new();
        let absolute = stage.victim.path().to_owned();
        for target in [
            absolute.as_path(),
            "../victim".as_ref(),
            "/tmp".as_ref(),
            "tmp".as_ref(),
        ] {
            stage.relink(target, "dev");
            let why = stage.refused("{}");
            assert!(
                why.contains("ELOOP") && why.contains("/dev"),
                "{target:?}: {why}"
            );
        }
        stage.victim.assert_intact();
    });
}

#[test]
fn a08_mount_point_through_a_link_is_made_inside() {
    everybody(|| {
        let stage = Stage::new();
        let victim = stage.victim.path().display().to_string();
        fs::create_dir(stage.beside("volume")).unwrap();
        fs::write(stage.beside("volume/here"), "").unwrap();
        // The targets of the links inside.
        stage.dir(&victim[1..]);
        for target in [victim.clone(), format!("../../../../../..{victim}")] {
            stage.relink(&target, "data");
            for point in ["/data/new/deep", "/data/dir"] {
                let mount = format!("{}:{point}", stage.beside("volume").display());
                let sandbox = stage.open(&format!(r#"{{"mounts": [{mount:?}]}}"#));
                let inside = format!("ls {}", point.replace("/data", &victim));
                assert_eq!(said(&sandbox, shell(&inside)), "here\n");
            }
        }
        stage.victim.assert_intact();
    });
}

#[test]
fn a09_working_directory_through_a_link_is_made_inside() {
    everybody(|| {
        let stage = Stage::new();
        let victim = stage.victim.path().display().to_string();
        for target in [
            victim.clone(),
            format!("../../../../../../../..{victim}"),
            "/proc/self/root/tmp".into(),
        ] {
            stage.relink(&target, "a");
            for cwd in ["/a/b", "/a/b/c/d", "/a", "/a/../a/new"] {
                let sandbox = stage.open(&format!(r#"{{"workdir": {cwd:?}}}"#));
                for command in [
                    shell("pwd; cat file secret ../file ../secret 2>/dev/null; true"),
                    shell("pwd").cwd(cwd),
                ] {
                    match sandbox.run(command) {
                        Err(error) => assert_eq!(error.step(), "change directory", "{error}"),
                        Ok(output) => stage.victim.assert_unread(&output.stdout),
                    }
                }
            }
        }
        stage.victim.assert_intact();
    });
}
