// SPDX-License-Identifier: MIT OR Apache-2.0
//! Odd hosts: their signals, masks, limits and closed descriptors are not the
//! command's.

use std::env;
use std::process;

use nix::sys::resource::{Resource, getrlimit};
use tare::image::{ImportOptions, Reference};
use tare::{Command, Stdin, Stdout, Store};
use tare_oracle::again::{passes_again, test_of, this_program};
use tare_oracle::need;

use crate::harness::{Ground, holds_in_a_fork, line, open_default, run, sh, text};
use crate::layout;

/// Marks a process that a shell has prepared.
const AGAIN: &str = "TARE_TEST_AGAIN";

/// Runs a test's check in a process that `shell` has prepared: its test once
/// more, alone. Returns what the process wrote.
#[track_caller]
fn behind<F: FnOnce()>(shell: &str, check: F) -> String {
    if env::var_os(AGAIN).is_some() {
        check();
        return String::new();
    }
    let mut bash = process::Command::new("bash");
    bash.args(["-c", &format!("{shell} \"$0\" \"$@\"")]);
    passes_again(bash.arg(this_program()).env(AGAIN, "1"), test_of(&check))
}

/// Masks and dispositions of a process, but for signals that the host ignores.
fn assert_clean(sandbox: &tare::Sandbox, ignored: u64) {
    let shown = text(
        sandbox,
        Command::from_argv([
            "grep",
            "-E",
            "^(SigBlk|SigIgn|SigCgt|Umask)",
            "/proc/self/status",
        ]),
    );
    let expected = format!(
        "Umask:\t0022\nSigBlk:\t0000000000000000\nSigIgn:\t{ignored:016x}\nSigCgt:\t0000000000000000\n"
    );
    assert_eq!(shown, expected);
}

/// Signals of a shell's background job that this process ignores.
fn ignored_here() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    // The runtime's, and the C library's.
    let others = 1 << (libc::SIGPIPE - 1) | 3 << (32 - 1);
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & !others
}

#[test]
fn host_that_ignores_signals_and_hides_files_passes_on_the_first_alone() {
    behind(
        "trap '' INT QUIT TERM HUP PIPE USR1; umask 077; exec",
        || {
            let (_ground, sandbox) = open_default();
            // As exec(3) has it: HUP, INT, QUIT, USR1, TERM. PIPE is the
            // runtime's.
            assert_clean(&sandbox, 0x4207);
            assert_eq!(
                line(&sandbox, "touch /f; mkdir /d; stat -c %a /f /d"),
                "644\n755"
            );
            // SIGPIPE ends a writer without a reader.
            assert_eq!(run(&sandbox, sh("yes | head -n 1")).stdout, b"y\n");
            assert_eq!(run(&sandbox, sh("exit 7")).status.exit_code, Some(7));
        },
    );
}

#[test]
fn host_that_blocks_signals_has_clean_commands() {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
    let ground = Ground::new();
    let mut old = SigSet::empty();
    pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut old),
    )
    .unwrap();
    let sandbox = ground.open();
    assert_clean(&sandbox, ignored_here());
    let mut now = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&old), Some(&mut now)).unwrap();
    let hidden = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD];
    assert!(
        hidden.iter().all(|s| now.contains(*s)),
        "the host's mask is its own"
    );
}

#[test]
fn host_without_standard_streams_works() {
    behind("exec 0<&- 2>&-; exec", || {
        let (_ground, sandbox) = open_default();
        assert_eq!(
            text(&sandbox, sh("cat; ls /proc/self/fd | wc -l")).trim(),
            "4"
        );
        let inherit = sandbox.run(Command::new("true").stdin(Stdin::Inherit));
        assert!(
            inherit.is_ok(),
            "Rust's runtime opens /dev/null there: {inherit:?}"
        );
    });
}

#[test]
fn host_with_limits_and_niceness_passes_them_on_unless_told() {
    behind("ulimit -Sn 300; renice -n 19 $$ >/dev/null; exec", || {
        let ground = Ground::new();
        let script = "ulimit -Sn; ulimit -c; cut -d ' ' -f 19 /proc/self/stat";
        assert_eq!(line(&ground.open(), script), "300\n0\n19");
        let own =
            ground.open_with(r#"{"limits": {"rlimits": {"nofile": "100:200", "core": "0"}}}"#);
        assert_eq!(line(&own, "ulimit -Sn; ulimit -Hn"), "100\n200");
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, 300);
    });
}

#[test]
fn host_spared_when_memory_is_short_has_commands_that_are_not() {
    need!(root);
    for (own, score) in [("-700", "0"), ("300", "300")] {
        let shell = format!("export SCORE={score}; echo {own} >/proc/$$/oom_score_adj; exec");
        behind(&shell, || {
            let score = env::var("SCORE").unwrap();
            let (_ground, sandbox) = open_default();
            for pid in ["self", "1"] {
                let script = format!("cat /proc/{pid}/oom_score_adj");
                assert_eq!(line(&sandbox, &script), score, "{pid}");
            }
        });
    }
}

#[test]
fn host_streams_can_be_inherited() {
    let said = behind("echo from the host | 2> >(sed s/^/err:/ >&2)", || {
        let command = sh("cat; echo to stderr >&2")
            .stdin(Stdin::Inherit)
            .stdout(Stdout::Inherit)
            .stderr(Stdout::Inherit);
        assert!(run(&Ground::new().open(), command).status.success());
    });
    for word in ["from the host\n", "err:to stderr\n"] {
        assert!(
            said.contains(word) || env::var_os(AGAIN).is_some(),
            "{said}"
        );
    }
}

#[test]
fn host_forked_has_no_part_in_its_parents_sandboxes() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("sleep 0.3; exit 6")).unwrap();
    let held = (sandbox, process);
    let (sandbox, process) = holds_in_a_fork(held, |(sandbox, process)| {
        let wrong = |e: tare::Error| e.kind() == tare::Kind::Invalid;
        sandbox.run(sh("true")).is_err_and(wrong)
            && process.kill().is_err_and(wrong)
            && process.signal(libc::SIGKILL).is_err_and(wrong)
            && process.wait().is_err_and(wrong)
    });
    assert_eq!(process.wait().unwrap().exit_code, Some(6));
    assert_eq!(line(&sandbox, "echo alive"), "alive");
}

#[test]
fn host_forked_keeps_and_lets_go_no_layer_of_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let (_, from) = layout::simple(dir.path().join("oci"), layout::Codec::Plain);
    let store = Store::open(&dir.path().join("store")).unwrap();
    let name: Reference = "app".parse().unwrap();
    let options = ImportOptions {
        names: vec![name.clone()],
        ..ImportOptions::default()
    };
    drop(store.images().import(&from, &options, &mut ()).unwrap());
    let image = store.images().image(&name).unwrap();
    let image = holds_in_a_fork(image, |image| {
        let (_copy, own) = (image.clone(), store.images().image(&name));
        own.is_ok_and(|own| own.root() == image.root())
    });
    let other = Store::open(store.images().path()).unwrap();
    assert_eq!(other.images().remove(&name).unwrap().in_use, 2);
    drop(image);
    assert_eq!(other.images().gc().unwrap().layers, 2);
}
