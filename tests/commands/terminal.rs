// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands on a terminal of their own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use tare::{Kind, Process, Reason, Size};

use crate::harness::{open_default, run, sh};

const SIZE: Size = Size {
    rows: 24,
    columns: 80,
};

/// Reads from the terminal until `wanted` has come.
#[track_caller]
fn expect(from: &mut File, wanted: &str) {
    let mut seen = String::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen.contains(wanted) {
        let mut chunk = [0; 512];
        let n = from
            .read(&mut chunk)
            .unwrap_or_else(|e| panic!("{e} after {seen:?}"));
        assert!(n > 0 && Instant::now() < deadline, "{seen:?}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
}

fn master(process: &Process) -> File {
    process
        .terminal()
        .unwrap()
        .try_clone_to_owned()
        .unwrap()
        .into()
}

#[test]
fn terminal_is_all_three_streams_and_has_the_size() {
    let (_ground, sandbox) = open_default();
    let script =
        "test -t 0 && test -t 1 && test -t 2 && tty && stty size && echo $TERM; echo err >&2";
    let output = run(&sandbox, sh(script).tty(SIZE));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, "/dev/pts/0\r\n24 80\r\nxterm\r\nerr\r\n");
    assert!(output.stderr.is_empty());
}

#[test]
fn terminal_is_controlling_and_its_keys_are_signals() {
    let (_ground, sandbox) = open_default();
    let process = sandbox
        .spawn(sh("echo ready; exec sleep 60").tty(SIZE))
        .unwrap();
    let mut master = master(&process);
    expect(&mut master, "ready");
    master.write_all(b"\x03").unwrap();
    let status = process.wait().unwrap();
    assert_eq!((status.reason, status.signal), (Reason::Signaled, Some(2)));
}

#[test]
fn terminal_resize_is_seen_and_signaled() {
    let (_ground, sandbox) = open_default();
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let process = sandbox.spawn(sh(script).tty(SIZE)).unwrap();
    let mut master = master(&process);
    expect(&mut master, "ready");
    process
        .resize(Size {
            rows: 50,
            columns: 132,
        })
        .unwrap();
    expect(&mut master, "50 132");
    assert!(process.wait().unwrap().success());
    let plain = sandbox.spawn(sh("true")).unwrap();
    assert_eq!(plain.resize(SIZE).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn terminal_echoes_and_passes_lines_both_ways() {
    let (_ground, sandbox) = open_default();
    let process = sandbox
        .spawn(sh("read line; echo got $line").tty(SIZE))
        .unwrap();
    let mut master = master(&process);
    master.write_all(b"words\n").unwrap();
    expect(&mut master, "got words");
    assert!(process.wait().unwrap().success());
}

#[test]
fn terminal_first_one_is_the_console_and_later_ones_work() {
    let (_ground, sandbox) = open_default();
    let first = sandbox
        .spawn(sh("echo ready; read line").tty(SIZE))
        .unwrap();
    let mut end = master(&first);
    expect(&mut end, "ready");
    let output = run(
        &sandbox,
        sh("tty; stty size </dev/console; echo to the console >/dev/console").tty(Size {
            rows: 1,
            columns: 2,
        }),
    );
    assert_eq!(output.stdout, b"/dev/pts/1\r\n24 80\r\n");
    expect(&mut end, "to the console");
    end.write_all(b"\n").unwrap();
    assert!(first.wait().unwrap().success());
}

#[test]
fn terminal_belongs_to_its_user() {
    tare_oracle::need!(root);
    let (_ground, sandbox) = open_default();
    let output = run(
        &sandbox,
        sh("stat -c %u:%g:%a $(tty); echo x >$(tty)")
            .user("alice")
            .tty(SIZE),
    );
    assert_eq!(output.stdout, b"1000:5:620\r\nx\r\n");
}
