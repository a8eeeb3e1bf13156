// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of hosts: a sandbox resolves its own, in each view and on each
//! network.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use tare::{Sandbox, Spec};

use crate::harness::{Ground, line};
use crate::identity::for_each_caller;

const SPECS: [&str; 6] = [
    "{}",
    r#"{"hostname": "box.example"}"#,
    r#"{"network": "host"}"#,
    r#"{"network": "host", "hostname": "box"}"#,
    r#"{"namespaces": {"uts": false}}"#,
    r#"{"write": "none"}"#,
];

#[test]
fn own_name_is_found_by_every_caller() {
    for_each_caller(|_| {
        let ground = Ground::new();
        let before = fs::read_to_string("/etc/hosts").unwrap();
        for json in SPECS {
            let spec = Spec::from_json(json).unwrap();
            let host = Sandbox::open(&ground.store, &spec).unwrap();
            // As gethostbyname(3), with any addresses of the network.
            let found = line(&host, "getent hosts $(hostname)");
            assert!(found.starts_with("127.0."), "{json}: {found}");
            let hosts = line(&host, "cat /etc/hosts");
            let own = line(&host, "printf '127.0.0.1\\t'; hostname");
            assert_eq!(hosts, format!("{before}\n{own}"), "{json}");
            assert_eq!(
                line(&host, "echo $HOSTNAME"),
                line(&host, "hostname"),
                "{json}"
            );
            let image = ground.open_with(json);
            let script =
                "grep -cw \"$(hostname)\" /etc/hosts; grep -cw localhost /etc/hosts >/dev/null";
            assert_eq!(line(&image, script), "1", "{json}");
        }
        assert_eq!(fs::read_to_string("/etc/hosts").unwrap(), before);
    });
}

/// A file of the view, not a mount over it: its device is that of its
/// directory.
#[test]
fn own_name_takes_no_mount() {
    for_each_caller(|_| {
        let ground = Ground::new();
        for write in ["memory", "disk"] {
            let json = format!(r#"{{"write": {write:?}}}"#);
            let sandbox = Sandbox::open(&ground.store, &Spec::from_json(&json).unwrap()).unwrap();
            let devices = line(&sandbox, "stat -c %d /etc /etc/hosts | uniq | wc -l");
            assert_eq!(devices, "1", "{write}");
            assert_eq!(
                line(
                    &sandbox,
                    "grep -c ' /etc/hosts ' /proc/self/mountinfo; true"
                ),
                "0"
            );
            let script = "echo x >>/etc/hosts && rm /etc/hosts && ls -A /etc | grep -c tare; true";
            assert_eq!(line(&sandbox, script), "0");
        }
    });
}

/// A link as systemd-resolved leaves it in an image without a running systemd.
#[test]
fn names_files_that_dangle_get_their_targets() {
    for_each_caller(|_| {
        let ground = Ground::new();
        let etc = ground.root().join("etc");
        symlink(
            "../run/systemd/resolve/stub-resolv.conf",
            etc.join("resolv.conf"),
        )
        .unwrap();
        symlink("/var/names/one", etc.join("hosts")).unwrap();
        fs::create_dir_all(ground.root().join("var/names")).unwrap();
        symlink("two", ground.root().join("var/names/one")).unwrap();
        for (json, resolver) in [("{}", String::new()), (r#"{"network": "host"}"#, of_host())] {
            let sandbox = ground.open_with(json);
            let script = "cat /run/systemd/resolve/stub-resolv.conf";
            assert_eq!(line(&sandbox, script), resolver.trim_end(), "{json}");
            assert_eq!(
                line(
                    &sandbox,
                    "cmp /etc/resolv.conf /run/systemd/resolve/stub-resolv.conf"
                ),
                ""
            );
            assert_eq!(
                line(&sandbox, "grep -cw \"$(hostname)\" /var/names/two"),
                "1",
                "{json}"
            );
        }
        assert!(!ground.root().join("run/systemd").exists());
        // Links that lead to each other lead nowhere.
        fs::remove_file(etc.join("hosts")).unwrap();
        symlink("hosts", etc.join("hosts")).unwrap();
        assert_eq!(
            line(&ground.open(), "cat /etc/hosts 2>/dev/null || echo none"),
            "none"
        );
    });
}

fn of_host() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

#[test]
fn names_files_that_are_directories_stay_so() {
    for_each_caller(|_| {
        let ground = Ground::new();
        let names = ["hostname", "hosts", "resolv.conf"];
        for name in names {
            fs::create_dir(ground.root().join("etc").join(name)).unwrap();
        }
        let sandbox = ground.open();
        let script = "cd /etc; stat -c %F hostname hosts resolv.conf | uniq";
        assert_eq!(line(&sandbox, script), "directory");
        let root = fs::metadata(ground.root().join("etc/hosts")).unwrap();
        assert_eq!(root.nlink(), 2);
    });
}
