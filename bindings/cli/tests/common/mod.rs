// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts `tare` with a private store, as root or as an ordinary user, and
//! examines the output.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod rpc;
pub(crate) mod terminal;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;

use tare_oracle::User;
use tempfile::TempDir;

/// The program under test.
pub(crate) const TARE: &str = env!("CARGO_BIN_EXE_tare");

/// A store and its user.
pub(crate) struct Tare {
    pub(crate) store: Arc<TempDir>,
    user: Option<User>,
}

/// Output and status of a finished `tare`.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Tare {
    /// Runs as the user of the tests.
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(TempDir::new().expect("a directory for the store")),
            user: None,
        }
    }

    /// Runs as an ordinary user.
    pub(crate) fn of(user: User) -> Self {
        Self {
            store: Arc::new(user.tempdir()),
            user: Some(user),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.user.is_none()
    }

    /// Returns a directory that the user can write to.
    pub(crate) fn tempdir(&self) -> TempDir {
        match &self.user {
            Some(user) => user.tempdir(),
            None => TempDir::new().expect("a directory"),
        }
    }

    /// Returns ids for commands inside: with a single id, only that id.
    pub(crate) fn ids(&self) -> &'static [&'static str] {
        match &self.user {
            Some(user) if user.name == tare_oracle::ordinary_user(false).name => &["0"],
            _ => &["0", "1000"],
        }
    }

    /// Returns whether newuidmap(1), a set-user-id program, writes the maps:
    /// strace(1) takes that bit away.
    pub(crate) fn takes_newuidmap(&self) -> bool {
        let user = self.user.as_ref();
        user.is_some_and(|user| !user.is_namespace_root) && self.ids().len() > 1
    }

    /// Returns the path of a file of the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.store.path().join(name)
    }

    /// Returns `tare` with these arguments and no input, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(TARE, args)
    }

    /// Returns a shell's line that may start `tare`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        self.program("sh", &["-c", script])
    }

    /// Returns another program with these arguments and no input, not started.
    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = match &self.user {
            Some(user) => user.command(program),
            None => Command::new(program),
        };
        command
            .args(args)
            .env("TARE_STORE", self.store.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `tare` to the end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::of(self.command(args).output().expect("tare starts"))
    }

    /// Runs `tare` to the end with input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Said {
        Said::with_input(&mut self.command(args), input)
    }

    /// Runs `sh -c script` in a view of the host, with more flags.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> Said {
        let mut args = vec!["run"];
        args.extend(flags);
        args.extend(["host", "--", "sh", "-c", script]);
        self.run(&args)
    }

    /// Counts the files in the store's scratch directory.
    pub(crate) fn scratch(&self) -> usize {
        std::fs::read_dir(self.store.path().join("scratch")).map_or(0, |entries| {
            entries.flatten().filter(|e| e.path().is_dir()).count()
        })
    }
}

/// A command that has printed `ready`.
pub(crate) struct Ready {
    pub(crate) child: Child,
    out: ChildStdout,
}

impl Ready {
    /// Starts a command; returns what it said if it ended instead.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Said> {
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        match out.read_exact(&mut [0; "ready\n".len()]) {
            Ok(()) => Ok(Self { child, out }),
            Err(_) => Err(Said::of(child.wait_with_output().unwrap())),
        }
    }

    /// Sends a signal by name, or a real-time signal by number.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        send(&self.child.id().to_string(), signal);
    }

    /// Returns the rest of the output, and the status.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

/// Sends a signal by name, or a real-time signal by number.
#[track_caller]
pub(crate) fn send(pid: &str, signal: &str) {
    let mut kill = Command::new("kill");
    let status = kill.args([&format!("-{signal}"), pid]).status();
    assert!(status.unwrap().success(), "{signal}");
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        Self {
            status: output
                .status
                .code()
                .unwrap_or_else(|| -output.status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command to the end with input.
    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command need not read all input.
            let _ = stdin.write_all(&input);
        });
        let said = Self::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        said
    }

    /// Returns the output of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout.trim_end()
    }

    /// Expects a single line with all of these words, and this status.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(lines[0].starts_with("tare: "), "{self:?}");
        for word in words {
            assert!(lines[0].contains(word), "{word:?} is not in {self:?}");
        }
    }

    /// Returns the output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Returns the rows of a table: lines that are neither empty nor remarks.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = &str> {
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
    table.lines().filter(is_row)
}

/// Runs a line of bash(1) in which `tare` is the program under test.
pub(crate) fn shell(tare: &Tare, home: &Path, line: &str) -> Said {
    let dir = TARE.strip_suffix("/tare").unwrap();
    let path = format!("{dir}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    // Each start of a sandbox copies all mounts of the machine, and keeps each
    // busy for a moment.
    let again = "again() { for n in {1..500}; do \"$@\" && return; sleep 0.01; done; false; }";
    let line = format!("{again}; export -f again; {line}");
    let mut command = tare.program("/bin/bash", &["-c", &line]);
    command.env("PATH", path).env("HOME", home).current_dir("/");
    Said::of(command.output().unwrap())
}

/// Returns root, and every other kind of caller.
pub(crate) fn everybody() -> Vec<Tare> {
    let mut all = vec![Tare::new()];
    for kind in tare_oracle::CALLERS {
        match tare_oracle::needs::user(kind) {
            Ok(()) => all.push(Tare::of(tare_oracle::caller(kind))),
            Err(why) => tare_oracle::needs::missing("user", &why),
        }
    }
    all
}
