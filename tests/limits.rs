// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits of a sandbox as its commands feel them, and the errors where limits
//! cannot be had.

#[path = "harness/mod.rs"]
mod harness;

use std::fs;
use std::time::Duration;

use tare::{Command, Kind, Reason, Sandbox, Spec, Stdin};
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{CALLERS, caller, need, needs};

use harness::{Ground, line, run, sh};

/// Takes 96 MiB as a program's own memory, or as a file of a tmpfs.
const HUNGRY: [&str; 3] = [
    "exec dd if=/dev/zero of=/dev/null bs=96M count=1",
    "exec dd if=/dev/zero of=/big bs=1M count=96",
    "dd if=/dev/zero of=/dev/shm/big bs=1M count=60; exec dd if=/dev/zero of=/big bs=1M count=60",
];

#[test]
fn memory_over_the_limit_is_told_as_oom() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    for script in HUNGRY {
        let sandbox = ground.open_with(r#"{"limits": {"memory": "48m", "swap": "0"}}"#);
        let status = run(&sandbox, sh(script)).status;
        assert_eq!(
            (status.reason, status.signal),
            (Reason::Oom, Some(9)),
            "{script}"
        );
        let peak = status.usage.memory_peak.unwrap() >> 20;
        assert!((40..=48).contains(&peak), "{script}: {peak} MiB");
        let status = run(&sandbox, sh("rm -f /big /dev/shm/big; exit 3")).status;
        assert_eq!(
            (status.reason, status.exit_code),
            (Reason::Exited, Some(3)),
            "{script}"
        );
    }
}

#[test]
fn memory_of_a_child_that_is_killed_is_told_as_oom() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"memory": "48m", "swap": "0"}}"#);
    let status = run(&sandbox, sh(&format!("sh -c '{}'; exit $?", HUNGRY[0]))).status;
    assert_eq!((status.reason, status.exit_code), (Reason::Oom, Some(137)));
    assert_eq!(status.usage.oom_kills, Some(1));
    let status = run(&sandbox, sh(&format!("sh -c '{}'; exit 1", HUNGRY[0]))).status;
    assert_eq!((status.reason, status.exit_code), (Reason::Exited, Some(1)));
    assert_eq!(status.usage.oom_kills, Some(1), "of this command alone");
    // A kill for another reason than memory does not count.
    let status = run(&sandbox, sh("kill -9 $$")).status;
    assert_eq!(status.reason, Reason::Signaled);
    assert_eq!(status.usage.oom_kills, Some(0));
}

#[test]
fn memory_within_the_limit_is_counted() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"memory": "100m"}}"#);
    let status = run(
        &sandbox,
        sh("dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null"),
    )
    .status;
    assert!(status.success());
    let peak = status.usage.memory_peak.unwrap() >> 20;
    assert!((32..=60).contains(&peak), "{peak} MiB");
}

/// Returns whether the kernel can restart the peak of memory: v1, and v2 since
/// 6.12.
fn peak_is_reset() -> bool {
    let v1 = fs::read_to_string("/proc/self/cgroup").unwrap();
    v1.contains(":memory:") || needs::kernel(6, 12).is_ok()
}

#[test]
fn memory_peak_is_of_one_command() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"memory": "100m"}}"#);
    let hungry = "dd if=/dev/zero of=/dev/null bs=48M count=1 2>/dev/null";
    let peak = |script| run(&sandbox, sh(script)).status.usage.memory_peak;
    assert!(peak(hungry).unwrap() >> 20 >= 48);
    // The peak is not an earlier command's; if the kernel keeps the peak, it is
    // unknown.
    let after = peak("true");
    assert_eq!(after.is_some(), peak_is_reset());
    assert!(after.is_none_or(|bytes| bytes >> 20 < 40), "{after:?}");
    // The use of two commands at once is known of neither.
    let other = sandbox.spawn(sh("read line").stdin(Stdin::Piped)).unwrap();
    assert_eq!(peak(hungry), None);
    drop(other.take_stdin());
    assert_eq!(other.wait().unwrap().usage.memory_peak, None);
    assert_eq!(peak("true").is_some(), peak_is_reset());
}

/// Runs the tests of memory here in a guest with cgroup v2 alone.
fn run_in_guest(options: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest.sh");
    let output = std::process::Command::new(script)
        .args(options)
        .args(["-e", "TARE_TESTS_REQUIRE=root,controller"])
        .arg(this_program())
        .args(["memory_", "--skip", "in_a_guest", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let test = "test memory_peak_is_of_one_command ... ok";
    assert!(text.contains(test), "{text}{errors}");
}

#[test]
fn memory_of_v2_is_counted_in_a_guest() {
    need!(guest);
    run_in_guest(&[]);
}

/// KERNEL(6.12): the peak of v2 can be started anew.
#[test]
fn memory_of_v2_is_counted_anew_in_a_guest() {
    need!(guest_of("bookworm-backports"));
    run_in_guest(&["-r", "bookworm-backports"]);
}

#[test]
fn memory_peak_without_a_limit_is_of_the_largest_process() {
    let ground = Ground::new();
    let usage = run(&ground.open_with("{}"), sh("true")).status.usage;
    assert!(usage.memory_peak.unwrap() > 0);
    assert_eq!(usage.oom_kills, None);
}

#[test]
fn pids_limit_holds_for_all_commands_together() {
    need!(root, controller("pids"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"pids": 8}}"#);
    let mut running = Vec::new();
    let error = loop {
        match sandbox.spawn(Command::from_argv(["sleep", "60"])) {
            Ok(process) => running.push(process),
            Err(error) => break error,
        }
        assert!(running.len() < 8, "the init counts, too");
    };
    assert_eq!(
        (error.step(), error.errno()),
        ("clone3", Some(libc::EAGAIN)),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Exhausted);
    let last = running.pop().unwrap();
    last.kill().unwrap();
    last.wait().unwrap();
    assert!(run(&sandbox, Command::new("true")).status.success());
    let bomb = sh("f() { f | f & }; f; sleep 60").timeout(Duration::from_secs(1));
    run(&sandbox, bomb);
    assert!(run(&sandbox, Command::new("true")).status.success());
}

#[test]
fn cpus_limit_holds_back() {
    need!(root, controller("cpu"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"cpus": "0.2"}}"#);
    let spin = sh("while :; do :; done").timeout(Duration::from_secs(1));
    let status = run(&sandbox, spin).status;
    assert_eq!(status.reason, Reason::Timeout);
    let used = (status.usage.user_us + status.usage.system_us) as f64;
    let ratio = used / (status.usage.wall_ns as f64 / 1000.0);
    assert!((0.05..0.4).contains(&ratio), "{ratio} processors");
}

#[test]
fn cpuset_limit_is_what_the_command_sees() {
    need!(root, controller("cpuset"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"cpuset": "0"}}"#);
    assert_eq!(
        line(&sandbox, "nproc; grep Cpus_allowed_list /proc/self/status"),
        "1\nCpus_allowed_list:\t0"
    );
    let spec = ground.spec_with(r#"{"limits": {"cpuset": "4000"}}"#);
    let error = Sandbox::open(&ground.store, &spec).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(
        error.to_string().contains("4000") && error.cure().is_some(),
        "{error}"
    );
}

#[test]
fn disk_and_shm_sizes_are_felt() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"disk": "2m", "shm": "1m"}}"#);
    for (path, bytes) in [("/big", 2 << 20), ("/dev/shm/big", 1 << 20)] {
        let full = run(
            &sandbox,
            sh(&format!("dd if=/dev/zero of={path} bs=64k count=64")),
        );
        let shown = String::from_utf8_lossy(&full.stderr).into_owned();
        assert!(shown.contains("No space left"), "{path}: {shown}");
        let size: u64 = line(&sandbox, &format!("stat -c %s {path}"))
            .parse()
            .unwrap();
        assert!(
            size <= bytes && size >= bytes - (128 << 10),
            "{path}: {size}"
        );
    }
}

/// A place without a size limit is refused, or let go on request.
#[test]
fn disk_size_that_nothing_holds_is_refused() {
    let ground = Ground::new();
    for how in [r#""write": "disk""#, r#""storage": "copy""#] {
        let asked = |rest| format!(r#"{{{how}, "limits": {{"disk": "2m"}}{rest}}}"#);
        let error = Sandbox::open(&ground.store, &ground.spec_with(&asked("")));
        let error = error.expect_err("nothing holds that");
        assert_eq!(
            (error.kind(), error.step()),
            (Kind::Unsupported, "set limits.disk")
        );
        let sandbox = ground.open_with(&asked(r#", "best_effort": ["limits.disk"]"#));
        let left_out = sandbox.effective().unwrap().left_out;
        assert_eq!(left_out[0].key, "limits.disk");
        assert_eq!(left_out[0].why, error.to_string());
        run(&sandbox, sh("dd if=/dev/zero of=/big bs=64k count=64"));
        assert_eq!(line(&sandbox, "stat -c %s /big"), "4194304");
    }
    let nowhere = ground.open_with(r#"{"write": "none", "limits": {"disk": "2m"}}"#);
    assert_eq!(nowhere.left_out().unwrap(), []);
}

#[test]
fn rlimits_are_set_and_the_rest_inherited() {
    let ground = Ground::new();
    let json = r#"{"limits": {"rlimits": {"nofile": "64:128", "fsize": "1048576", "stack": "unlimited"}}}"#;
    let sandbox = match Sandbox::open(&ground.store, &ground.spec_with(json)) {
        Ok(sandbox) => sandbox,
        Err(error) => panic!("{error}"),
    };
    let shown = sandbox.run(Command::from_argv(["cat", "/proc/self/limits"]));
    // A caller with a hard limit may not go above the limit.
    let Ok(shown) = shown else {
        let error = shown.unwrap_err();
        assert_eq!(
            (error.step(), error.kind()),
            ("set resource limits", Kind::Permission)
        );
        return;
    };
    let shown = String::from_utf8(shown.stdout).unwrap();
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let row = |text: &str, name: &str| {
        let row = text
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap()
            .to_owned();
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row(&shown, "Max open files"), "Max open files 64 128 files");
    assert_eq!(
        row(&shown, "Max file size"),
        "Max file size 1048576 1048576 bytes"
    );
    assert_eq!(
        row(&shown, "Max core file size"),
        "Max core file size 0 0 bytes"
    );
    for name in [
        "Max locked memory",
        "Max processes",
        "Max msgqueue size",
        "Max cpu time",
    ] {
        assert_eq!(row(&shown, name), row(&own, name));
    }
}

/// Takes as many message queues and pending signals as possible; a line each.
const TAKER: &str = r#"
import ctypes, os, signal

libc = ctypes.CDLL(None, use_errno=True)
queues = 0
while queues < 100 and libc.mq_open(b"/taken%d" % queues, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0:
    queues += 1
print(queues, ctypes.get_errno())
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
pending = 0
while pending < 100_000 and libc.sigqueue(os.getpid(), signal.SIGRTMIN, None) == 0:
    pending += 1
print(pending, ctypes.get_errno())
"#;

#[test]
fn rlimits_bound_message_queues_and_pending_signals() {
    need!(program("python3"));
    let ground = Ground::new();
    let json = r#"{"limits": {"rlimits": {"msgqueue": "200000", "sigpending": "50"}}}"#;
    let spec = Spec::from_json(json).unwrap();
    let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
    let taker = Command::from_argv(["python3", "-c", TAKER]);
    let taken = run(&sandbox, taker);
    let taken = String::from_utf8(taken.stdout).unwrap();
    // Others of the user may have some already; the kernel counts all together.
    let line = |n: usize, most: u32, errno: i32| {
        let words = taken.lines().nth(n).and_then(|l| l.split_once(' '));
        let (count, why) = words.unwrap_or_else(|| panic!("{taken}"));
        assert!(count.parse::<u32>().unwrap() <= most, "{taken}");
        assert_eq!(why, errno.to_string(), "{taken}");
    };
    line(0, 2, libc::EMFILE);
    line(1, 50, libc::EAGAIN);
}

#[test]
fn effective_tells_the_limits_as_the_kernel_has_them() {
    need!(root, controller("memory"), controller("pids"));
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"memory": "64m", "pids": 100}}"#);
    let effective = serde_json::to_value(sandbox.effective().unwrap()).unwrap();
    let limits = effective["cgroup"]["limits"].as_array().unwrap().clone();
    let value = |key: &str| {
        let limit = limits.iter().find(|l| l["key"] == key);
        limit.unwrap_or_else(|| panic!("{key} in {effective}"))["value"].clone()
    };
    assert_eq!(value("limits.memory"), (64 << 20).to_string());
    assert_eq!(value("limits.pids"), "100");
    assert_eq!(effective["left_out"], serde_json::json!([]));
}

/// Callers without a delegated cgroup are told so.
#[test]
fn limits_without_a_cgroup_are_refused_or_left_out() {
    if needs::root().is_ok() {
        need!(callers);
        for kind in CALLERS {
            let mut command = caller(kind).command(this_program());
            passes_again(
                &mut command,
                "limits_without_a_cgroup_are_refused_or_left_out",
            );
        }
        return;
    }
    let ground = Ground::new();
    for (key, value) in [
        ("memory", r#""64m""#),
        ("pids", "100"),
        ("cpus", "0.5"),
        ("io", "50"),
    ] {
        let json = format!(r#"{{"limits": {{"{key}": {value}}}}}"#);
        let error = match Sandbox::open(&ground.store, &ground.spec_with(&json)) {
            Err(error) => error,
            // A cgroup was delegated to the user of this test after all.
            Ok(_) => continue,
        };
        assert_eq!(error.kind(), Kind::Unsupported, "{key}: {error}");
        assert!(error.step().contains(&format!("limits.{key}")), "{error}");
        assert!(error.cure().is_some(), "{error}");
        let json =
            format!(r#"{{"limits": {{"{key}": {value}}}, "best_effort": ["limits.{key}"]}}"#);
        let sandbox = ground.open_with(&json);
        assert_eq!(line(&sandbox, "echo runs"), "runs");
        let left_out = &sandbox.effective().unwrap().left_out[0];
        assert_eq!(left_out.key, format!("limits.{key}"));
        assert_eq!(left_out.why, error.to_string());
        let other = json.replace(&format!(r#"["limits.{key}"]"#), r#"["limits.swap"]"#);
        let other = ground.spec_with(&other);
        assert!(Sandbox::open(&ground.store, &other).is_err(), "{key}");
    }
}
