// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filters that make an old kernel of this one.

use std::fs;
use std::process::Command;

use tare_oracle::{Host, built, need, ordinary_user};

#[test]
fn enosys_refuses_what_it_names_and_nothing_else() {
    let _alone = Host::exclusive();
    let enosys = built("tare-oracle", "enosys");
    let probe = |refused: &[&str], line: &str| {
        let output = Command::new(&enosys)
            .args(refused)
            .args(["--", "python3", "-c"])
            .arg(format!("import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.syscall({line}); print(ctypes.get_errno())"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    need!(program("python3"));
    let (enosys_said, einval) = (libc::ENOSYS.to_string(), libc::EINVAL.to_string());
    for (refused, line, expected) in [
        (&["clone3"][..], "435, 0, 0", enosys_said.as_str()),
        (&["openat2"], "435, 0, 0", &einval),
        (&["435", "--errno", "EPERM"], "435, 0, 0", "1"),
        (&["openat2,clone3"], "437, -1, 0, 0, 0", &enosys_said),
        (&["linux-5.10"], "442, -1, 0, 0, 0, 0", &enosys_said),
        (&["linux-5.10"], "436, 500, 600, 4", &einval),
        (&["linux-5.10"], "436, 500, 600, 0", "0"),
        (&["linux-5.10"], "437, -1, 0, 0, 0", &einval),
    ] {
        assert_eq!(probe(refused, line), expected, "{refused:?} {line}");
    }
}

#[test]
fn enosys_looks_into_memory_for_keys_and_names() {
    let _alone = Host::exclusive();
    need!(root);
    let enosys = built("tare-oracle", "enosys");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.kill"), "x").unwrap();
    fs::write(dir.path().join("cgroup.kill2"), "y").unwrap();
    let script = format!(
        "cd {}; cat cgroup.kill; cat ./cgroup.kill; cat cgroup.kill2; \
         cat /nowhere/cgroup.kill2 2>&1 | wc -l; (sleep .2; cat cgroup.kill2) & exit 7",
        dir.path().display()
    );
    let words = ["file:cgroup.kill,fsconfig:lowerdir+", "sh", "-c", &script];
    let output = Command::new(&enosys).args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y1\ny");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.matches("No such file or directory").count(),
        2,
        "{said}"
    );
    assert_eq!(output.status.code(), Some(7));

    need!(overlay, program("python3"));
    let script = "import ctypes; c = ctypes.CDLL(None, use_errno=True); fs = c.syscall(430, b'overlay', 0)\n\
                  for key in b'lowerdir+', b'source': print(c.syscall(431, fs, 1, key, b'/usr', 0), ctypes.get_errno())";
    let words = ["fsconfig:lowerdir+", "--", "python3", "-c", script];
    let output = Command::new(&enosys).args(words).output().unwrap();
    let expected = format!("-1 {0}\n0 {0}\n", libc::EINVAL);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    let script = "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n\
                  for fs in b'tmpfs', b'overlay': print(min(c.syscall(430, fs, 0), 0), ctypes.get_errno())\n\
                  print(c.mount(b'x', b'/nowhere', b'overlay', 0, None), ctypes.get_errno())\n\
                  print(c.mount(b'x', b'/nowhere', b'tmpfs', 0, None), ctypes.get_errno())";
    let words = ["filesystem:overlay", "--", "python3", "-c", script];
    let output = Command::new(&enosys).args(words).output().unwrap();
    let expected = format!("0 0\n-1 {0}\n-1 {0}\n-1 {1}\n", libc::ENODEV, libc::ENOENT);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn enosys_keeps_privileges_of_root_only() {
    let _alone = Host::exclusive();
    need!(user("plain"));
    let enosys = built("tare-oracle", "enosys");
    let grep = ["clone3", "--", "grep", "NoNewPrivs", "/proc/self/status"];
    let output = Command::new(&enosys).args(grep).output().unwrap();
    assert_eq!(output.stdout, b"NoNewPrivs:\t0\n");
    let output = ordinary_user(false)
        .command(&enosys)
        .args(grep)
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"NoNewPrivs:\t1\n");
}
