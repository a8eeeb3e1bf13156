// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run -t` on a real terminal, and the signals that tare passes on.

mod common;

use std::time::{Duration, Instant};

use common::terminal::{LONG, Terminal};
use common::{Said, Tare, everybody, send};
use tare_oracle::need;

/// Starts `tare` on a private terminal.
fn on_terminal(tare: &Tare, args: &[&str]) -> Terminal {
    Terminal::start(tare.command(args).env("TERM", "vt220"))
}

#[track_caller]
fn assert_ends(terminal: &mut Terminal, status: i32) {
    assert_eq!(terminal.child.wait().unwrap().code(), Some(status));
    assert!(!terminal.is_raw());
}

#[test]
fn terminal_carries_keys_size_and_status() {
    need!(root, overlay, userns);
    let script = "stty size; echo $TERM; tty; read x; echo got-$x; exit 5";
    for tare in everybody() {
        let args = ["run", "-it", "host", "sh", "-c", script];
        let mut terminal = on_terminal(&tare, &args);
        terminal.expect("33 101\r\nvt220\r\n/dev/pts/0\r\n");
        assert!(terminal.is_raw());
        terminal.send("hello\r");
        terminal.expect("got-hello\r\n");
        assert_ends(&mut terminal, 5);
    }
}

#[test]
fn terminal_interrupt_key_goes_to_the_command() {
    need!(root, overlay);
    let tare = Tare::new();
    let script = "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = on_terminal(&tare, &["run", "-it", "host", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("caught");
    assert_ends(&mut terminal, 6);
}

#[test]
fn terminal_is_put_back_however_it_ends() {
    need!(root, overlay);
    let tare = Tare::new();
    let stubborn = "trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done";
    let sleeps = "echo ready; sleep 60";
    for (flags, script, signals, status) in [
        (&["-it"][..], sleeps, &["TERM"][..], 143),
        (&["-it"], sleeps, &["HUP"], 129),
        (&["-it"], stubborn, &["INT", "INT"], 137),
        (&["-it", "--timeout", "500ms"], sleeps, &[], 124),
    ] {
        let args = [&["run"][..], flags, &["host", "sh", "-c", script]].concat();
        let mut terminal = on_terminal(&tare, &args);
        terminal.expect("ready");
        assert!(terminal.is_raw());
        for name in signals {
            send(&terminal.child.id().to_string(), name);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_ends(&mut terminal, status);
    }
    let mut terminal = on_terminal(&tare, &["run", "-it", "host", "no-such-program"]);
    terminal.expect("no-such-program");
    assert_ends(&mut terminal, 127);
}

#[test]
fn terminal_takes_a_megabyte_of_output() {
    need!(root, overlay);
    let tare = Tare::new();
    let script = "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the-end";
    let said = tare.run(&["run", "-t", "host", "sh", "-c", script]);
    assert_eq!(said.ok().len(), 1_000_000 + "\r\nthe-end".len());
}

#[test]
fn interrupt_twice_kills_and_json_tells() {
    need!(root, overlay);
    let tare = Tare::new();
    let script = "trap '' INT; echo ready > /m/ready; while :; do sleep 0.05; done";
    let dir = tare.tempdir();
    let mount = format!("{}:/m", dir.path().display());
    let args = ["run", "--json", "-v", &mount, "host", "sh", "-c", script];
    let child = tare.command(&args).spawn().unwrap();
    let began = Instant::now();
    while !dir.path().join("ready").exists() {
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..2 {
        send(&child.id().to_string(), "INT");
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.status, 137);
    assert_eq!(said.json()["reason"], "killed");
}
