// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runner of the suite: no part hides another, its table tells the parts'
//! results, and the machine is examined.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tare_oracle::need;

const CARGO: &str = r#"
printf '   Compiling libtare\n     Running unittests src/lib.rs (target/debug/deps/tare-0123456789abcdef)\n'
printf 'SKIPPED: a test needs overlay\ntest a ... ok\n'
printf 'test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 2.40s\n'
printf '     Running tests/guards/main.rs (target/debug/deps/guards-0123456789abcdef)\ntest x ... FAILED\n'
printf 'test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n'
printf '     Running tests/commands/main.rs (target/debug/deps/commands-0123456789abcdef)\n'
printf '   Doc-tests tare\n'
printf 'test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n'
exit 101
"#;

/// Parts by name, each a script, and the runner's output.
fn run(parts: &[(&str, &str)], words: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::from("# NAME COMMAND\n\n");
    for (name, script) in parts {
        let path = dir.path().join(name.trim_end_matches('&'));
        fs::write(&path, script).unwrap();
        list += &format!("{name} sh {}\n", path.display());
    }
    let file = dir.path().join("parts.txt");
    fs::write(&file, list).unwrap();
    let mut runner = Command::new(script("run.sh"));
    runner.args(words).env("TARE_PARTS", &file);
    // What others on this machine do to its users and mounts meanwhile is not
    // looked at here.
    runner.env("TARE_KEEP_USERS", "1");
    runner.env("CARGO_TARGET_DIR", dir.path());
    runner.output().unwrap()
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// The rows of the table, their words joined by one blank each, but for that of
/// the machine.
fn table(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, table) = text
        .rsplit_once("\npart ")
        .unwrap_or_else(|| panic!("{output:?}"));
    let lines = table
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|l| !l.starts_with("machine ") && !l.starts_with("all "))
        .collect()
}

#[test]
fn runner_goes_on_behind_a_part_that_fails() {
    let passes = "echo '3 passed, 1 skipped in 0.10s'";
    let output = run(
        &[("one", "exit 3"), ("two", passes), ("three", "kill -9 $$")],
        &[],
    );
    assert!(!output.status.success());
    let seen = table(&output);
    let [one, two, three, all] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert!(
        one.starts_with("one 0 1 0 ") && one.ends_with("FAILED"),
        "{one}"
    );
    assert!(
        two.starts_with("two 3 0 1 ") && !two.ends_with("FAILED"),
        "{two}"
    );
    assert!(three.starts_with("three 0 1 0 "), "{three}");
    assert!(all.ends_with("passed, 2 failed, 1 skipped"), "{all}");
}

#[test]
fn runner_has_a_part_beside_those_below_it() {
    let waits = |name| format!("until [ -e $CARGO_TARGET_DIR/{name} ]; do sleep 0.01; done");
    let makes = |name| format!("touch $CARGO_TARGET_DIR/{name}");
    let passes = "echo '3 passed in 0.10s'";
    // Neither ends without the other.
    let slow = format!("{}; {}; {passes}", makes("a"), waits("b"));
    let quick = format!("{}; {}; {passes}", waits("a"), makes("b"));
    let ends = "kill -INT $$; sleep 1; echo '3 passed in 0.10s'";
    let parts = [("slow&", &*slow), ("ended&", ends), ("quick", &*quick)];
    let seen = table(&run(&parts, &[]));
    let begins = ["quick 3 0 0 ", "slow 3 0 0 ", "ended 0 1 0 "];
    for (row, begin) in seen.iter().zip(begins) {
        assert!(row.starts_with(begin), "{seen:?}");
    }
    let alone = table(&run(&[("one&", passes), ("two", passes)], &["one"]));
    assert!(alone[0].starts_with("one 3 0 0 "), "{alone:?}");
    assert_eq!(alone.len(), 2, "{alone:?}");
}

#[test]
fn runner_tells_what_the_runners_told() {
    let parts = [
        ("rust", CARGO),
        (
            "python",
            "echo '=== 5 passed, 2 deselected, 1 warning in 3.21s ==='; echo '1 failed, 4 passed, 1 error in 1s'; exit 1",
        ),
        (
            "c",
            "echo 'test face as root ... FAILED'; echo '20 passed'; exit 1",
        ),
        (
            "faces",
            "echo 'test result: ok. 90 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.00s'",
        ),
    ];
    let seen = table(&run(&parts, &[]));
    let begins = [
        "rust tare (unit) 6 0 1 2",
        "rust guards 3 2 0 1 FAILED",
        "rust commands 0 1 0 0 FAILED",
        "rust tare (doc) 4 0 0 0",
        "rust (building) 0 0 0",
        "python 9 2 0",
        "c 20 1 0",
        "faces 90 0 0",
    ];
    for (row, begins) in seen.iter().zip(begins) {
        assert!(row.starts_with(begins), "{row}, not {begins}: {seen:?}");
    }
    assert!(
        seen.last()
            .unwrap()
            .ends_with("passed, 6 failed, 1 skipped"),
        "{seen:?}"
    );
}

#[test]
fn runner_takes_a_part_that_ran_nothing_for_failed() {
    let output = run(&[("quiet", "true"), ("other", "exit 1")], &["quiet"]);
    assert!(!output.status.success());
    let seen = table(&output);
    assert!(seen[0].starts_with("quiet 0 1 0 "), "{seen:?}");
    assert_eq!(seen.len(), 2, "only what was asked for: {seen:?}");
    let seen = table(&run(&[("quiet", "true")], &["none"]));
    assert!(seen[0].starts_with("none 0 1 0 "), "{seen:?}");
}

/// A snapshot, a change, and the result of the comparison.
fn compared(users: &str, change: impl FnOnce()) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let machine = |step| {
        let mut machine = Command::new(script("machine.sh"));
        machine
            .arg(step)
            .arg(dir.path())
            .env("TARE_TEST_USERS", users);
        machine.output().unwrap()
    };
    assert!(machine("before").status.success());
    change();
    machine("after")
}

fn succeed(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn exists(user: &str) -> bool {
    nix::unistd::User::from_name(user).unwrap().is_some()
}

#[test]
fn machine_loses_the_users_that_came_and_no_others() {
    need!(root);
    let (there, came, foreign) = ("tare-r-there", "tare-r-came", "tare-r-foreign");
    let add = |user| succeed(&["useradd", "--system", "--create-home", user]);
    add(there);
    let output = compared(&format!("{there} {came}"), || {
        add(came);
        add(foreign);
    });
    let left = [there, came, foreign].map(exists);
    let home = Path::new("/home").join(came).exists();
    for user in [there, came, foreign].iter().filter(|user| exists(user)) {
        succeed(&["sh", "-c", &format!("userdel --remove {user} 2>/dev/null")]);
    }
    assert_eq!((left, home), ([true, false, true], false), "{output:?}");
    // It came meanwhile, and is not one of the tests' own.
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("test accounts are as they were ... FAILED"),
        "{said}"
    );
    assert!(
        said.contains(&format!("> {foreign}:")) && !said.contains(came),
        "{said}"
    );
}

#[test]
fn machine_that_differs_fails() {
    need!(root);
    let dir = Path::new("/sys/fs/cgroup");
    let pids = [dir.join("pids"), dir.to_owned()];
    let group = pids
        .iter()
        .find(|dir| dir.is_dir())
        .unwrap()
        .join("tare-r-left");
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let name = file.path().to_str().unwrap();
    let mut device = String::new();
    let output = compared("", || {
        fs::create_dir(&group).unwrap();
        let made = Command::new("losetup")
            .args(["--find", "--show", name])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        device = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    });
    fs::remove_dir(&group).unwrap();
    succeed(&["losetup", "--detach", &device]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    for (what, line) in [("cgroups", "tare-r-left"), ("loops", name)] {
        assert!(
            said.contains(&format!("test {what} are as they were ... FAILED")),
            "{said}"
        );
        assert!(said.contains(line), "{said}");
    }
}
