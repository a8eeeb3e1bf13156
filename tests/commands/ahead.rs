// SPDX-License-Identifier: MIT OR Apache-2.0
//! The prestarted sandbox: used once, only where it fits, and gone without a
//! taker.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::Sandbox;
use tare_oracle::{Host, need};

use crate::harness::settle::{await_end, await_some, await_that, children, helper_of};
use crate::harness::{Ground, line};

/// The helper of a store that has had two sandboxes, and the third, which
/// waits.
fn third(ground: &Ground, json: &str) -> (i32, i32) {
    let first = ground.open_with(json);
    let helper = helper_of(&first);
    ground.open_with(json).close().unwrap();
    first.close().unwrap();
    let waiting = || match children(helper, "tare-ahead")[..] {
        [one] => Some((helper, one)),
        _ => None,
    };
    await_some("none waits", waiting)
}

/// Facts of a sandbox from inside, without the numbers that differ and without
/// the order of mounts.
fn inside(sandbox: &Sandbox) -> String {
    let script = r"
        cut -d' ' -f4-6,8- /proc/self/mountinfo | sort
        find /dev /etc | sort | while read name; do stat -c '%n %F %a %u %g %t %T' $name; done
        cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start
        grep -E 'Cap|Seccomp:|NoNew' /proc/1/status /proc/self/status
        ip addr; sed 's/tare-[-.0-9]*//' /proc/self/cgroup; ls /proc/sys/kernel | wc -l; ls /sys";
    line(sandbox, script)
}

#[test]
fn ahead_one_is_like_one_from_the_beginning() {
    for json in [
        r#"{"hostname": "n"}"#,
        r#"{"hostname": "n", "mounts": [{"type": "tmpfs", "target": "/t"}, "/usr:/u:ro"]}"#,
        r#"{"hostname": "n", "write": "none", "security": {"masked_paths": ["/proc/keys"]}}"#,
    ] {
        let ground = Ground::new();
        let all: Vec<String> = (0..4)
            .map(|_| {
                let sandbox = ground.open_with(json);
                // So that the next is there, not half made.
                thread::sleep(Duration::from_millis(50));
                let inside = inside(&sandbox);
                sandbox.close().unwrap();
                inside
            })
            .collect();
        assert!(all[0].contains("/dev/null character"), "{}", all[0]);
        assert!(all.iter().all(|one| *one == all[0]), "{json}: {all:#?}");
    }
}

#[test]
fn ahead_one_is_used_once_and_only_where_it_fits() {
    let of_all = [
        ("{}", true),
        (r#"{"hostname": "other", "env": {"A": "1"}}"#, true),
        (r#"{"mounts": ["/usr:/u:ro"]}"#, true),
        (r#"{"limits": {"shm": "1m"}}"#, false),
        (r#"{"network": "host"}"#, false),
        (r#"{"sysctls": {"net.core.somaxconn": "77"}}"#, false),
        (r#"{"write": "disk"}"#, false),
    ];
    // The keys that cgroups are made from.
    let of_root = [
        (r#"{"limits": {"cpu_weight": 50}}"#, false),
        (r#"{"security": {"devices": ["/dev/fuse"]}}"#, false),
        (r#"{"security": {"device_rules": ["c 10:237 r"]}}"#, false),
    ];
    let of_root = tare_oracle::needs::root().is_ok().then_some(of_root);
    for (json, fits) in of_all.into_iter().chain(of_root.into_iter().flatten()) {
        match fits {
            // After mounts by others, a new one is made.
            true => assert!((0..20).any(|_| uses_the_one_ahead(json)), "{json}"),
            false => assert!(!uses_the_one_ahead(json), "{json}"),
        }
    }
}

/// Returns whether a sandbox of a spec is the sandbox prestarted for an empty
/// spec.
fn uses_the_one_ahead(json: &str) -> bool {
    let ground = Ground::new();
    let (helper, one) = third(&ground, "{}");
    let sandbox = ground.open_with(json);
    let is_init = children(helper, "tare-init").contains(&one);
    assert_eq!(line(&sandbox, "cat /dev/null; echo works"), "works");
    let next = ground.open();
    assert_eq!(line(&next, "hostname | wc -c"), "13");
    sandbox.close().unwrap();
    next.close().unwrap();
    await_end(one);
    is_init
}

#[test]
fn ahead_one_that_is_killed_is_not_missed() {
    let ground = Ground::new();
    let (_, one) = third(&ground, "{}");
    kill(Pid::from_raw(one), Signal::SIGKILL).unwrap();
    for _ in 0..3 {
        let sandbox = ground.open();
        assert_eq!(line(&sandbox, "echo works"), "works");
        sandbox.close().unwrap();
    }
}

#[test]
fn ahead_one_ends_without_a_taker_and_with_a_sweep() {
    let ground = Ground::new();
    let (helper, one) = third(&ground, "{}");
    await_end(one);
    // Until the helper has taken notice.
    await_that("one is left", || children(helper, "tare-ahead").is_empty());
    assert_eq!(line(&ground.open(), "echo works"), "works");
    let (_, one) = third(&ground, "{}");
    ground.store.recover().unwrap();
    assert!(!children(helper, "tare-ahead").contains(&one));
}

#[test]
fn ahead_one_holds_nothing_of_others() {
    need!(root);
    let ground = Ground::new();
    let on_disk = ground.open_with(r#"{"write": "disk"}"#);
    let (helper, one) = third(&ground, "{}");
    let open = |pid: i32| -> Vec<String> {
        let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let target = |fd: fs::DirEntry| fs::read_link(fd.path()).ok();
        let targets = all.filter_map(target);
        targets.map(|target| target.display().to_string()).collect()
    };
    let in_store = |all: Vec<String>| {
        let store = ground.path("store").display().to_string();
        all.iter()
            .filter(|target| target.starts_with(&store))
            .count()
    };
    assert_eq!(in_store(open(helper)), 1);
    assert_eq!(in_store(open(one)), 0);
    on_disk.close().unwrap();
}

#[test]
fn ahead_one_sees_what_is_mounted_later() {
    need!(root);
    // In a separate mount namespace.
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let dir = ground.path("later");
    fs::create_dir(&dir).unwrap();
    let json = format!(r#"{{"mounts": ["{}:/d:ro"]}}"#, dir.display());
    let (helper, one) = third(&ground, &json);
    let flags = MsFlags::empty();
    mount(Some("tmpfs"), &dir, Some("tmpfs"), flags, None::<&str>).unwrap();
    fs::write(dir.join("file"), "there").unwrap();
    let sandbox = ground.open_with(&json);
    assert_eq!(line(&sandbox, "cat /d/file"), "there");
    assert!(children(helper, "tare-init").contains(&one));
    sandbox.close().unwrap();
    nix::mount::umount(&dir).unwrap();
}
