// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run -t` on a real terminal, and the signals that tare passes on.

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Said, Tare, everybody};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use tare_oracle::need;

/// `tare` on a private terminal, whose other end the test holds.
struct OnTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    seen: String,
}

impl OnTerminal {
    fn start(tare: &Tare, args: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 33,
            ws_col: 101,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = tare
            .command(args)
            .env("TERM", "vt220")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self {
            child,
            master: pty.master.into(),
            slave: pty.slave,
            seen: String::new(),
        }
    }

    /// Reads until `text` was seen.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let mut chunk = [0; 4096];
        while !self.seen.contains(text) {
            let n = self.master.read(&mut chunk).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
            assert!(self.seen.len() < 1 << 20, "no {text:?}");
        }
    }

    fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        let flags = tcgetattr(self.slave.as_fd()).unwrap().local_flags;
        !flags.contains(LocalFlags::ICANON)
    }

    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn terminal_carries_keys_size_and_status() {
    need!(root, overlay, userns);
    let script = "stty size; echo $TERM; tty; read x; echo got-$x; exit 5";
    for tare in everybody() {
        let args = ["run", "-it", "host", "sh", "-c", script];
        let mut terminal = OnTerminal::start(&tare, &args);
        terminal.expect("33 101\r\nvt220\r\n/dev/pts/0\r\n");
        assert!(terminal.is_raw());
        terminal.send("hello\r");
        terminal.expect("got-hello\r\n");
        assert_eq!(terminal.end(), Some(5));
        assert!(!terminal.is_raw());
    }
}

#[test]
fn terminal_interrupt_key_goes_to_the_command() {
    need!(root, overlay);
    let tare = Tare::new();
    let script = "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = OnTerminal::start(&tare, &["run", "-it", "host", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("caught");
    assert_eq!(terminal.end(), Some(6));
}

#[test]
fn terminal_is_put_back_however_it_ends() {
    need!(root, overlay);
    let tare = Tare::new();
    let stubborn = "trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done";
    for (flags, script, signals, status) in [
        (
            &["-it"][..],
            "echo ready; sleep 60",
            &[Signal::SIGTERM][..],
            143,
        ),
        (&["-it"], "echo ready; sleep 60", &[Signal::SIGHUP], 129),
        (&["-it"], stubborn, &[Signal::SIGINT, Signal::SIGINT], 137),
        (
            &["-it", "--timeout", "500ms"],
            "echo ready; sleep 60",
            &[],
            124,
        ),
    ] {
        let args = [&["run"][..], flags, &["host", "sh", "-c", script]].concat();
        let mut terminal = OnTerminal::start(&tare, &args);
        terminal.expect("ready");
        assert!(terminal.is_raw());
        for s in signals {
            signal(&terminal.child, *s);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(terminal.end(), Some(status), "{signals:?}");
        assert!(!terminal.is_raw(), "{signals:?}");
    }
    let mut terminal = OnTerminal::start(&tare, &["run", "-it", "host", "no-such-program"]);
    terminal.expect("no-such-program");
    assert_eq!(terminal.end(), Some(127));
    assert!(!terminal.is_raw());
}

#[test]
fn terminal_that_is_none_carries_no_keys() {
    need!(root, overlay);
    let tare = Tare::new();
    tare.run(&["run", "-it", "host", "cat"])
        .fails(125, &["standard input is no terminal", "without -t"]);
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
fn signals_go_to_the_command_under_any_user() {
    need!(root, overlay, userns);
    let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    for tare in everybody() {
        // For ordinary users a uid of 1000 inside is a subordinate one outside.
        for user in ["0", "1000"] {
            let args = ["run", "-u", user, "host", "sh", "-c", script];
            let mut child = tare.command(&args).spawn().unwrap();
            let mut out = child.stdout.take().unwrap();
            let mut seen = [0; 6];
            if out.read_exact(&mut seen).is_err() {
                // A single id allows no user but 0.
                let said = Said::of(child.wait_with_output().unwrap());
                said.fails(125, &["1000", "subuid"]);
                continue;
            }
            signal(&child, Signal::SIGTERM);
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "caught\n");
            assert_eq!(child.wait().unwrap().code(), Some(7));
        }
    }
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
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..2 {
        signal(&child, Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.status, 137);
    assert_eq!(said.json()["reason"], "killed");
}
