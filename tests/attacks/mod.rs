// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared parts of the attack tests: a hostile image, a sandbox, and each kind
//! of caller.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tare::{Command, Output, Sandbox, Spec, Store};
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{Victim, needs, ordinary_user};
use tempfile::TempDir;

/// Marks a copy of a test binary, and names its user.
const AS: &str = "TARE_ATTACK_AS";
const AGAIN: &str = "TARE_ATTACK_AGAIN";

/// Enough time on a busy machine; a hanging command is killed and fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns whether this is root itself, not an ordinary user for whom root
/// started the test.
pub(crate) fn is_root() -> bool {
    needs::root().is_ok()
}

/// Returns whether a single id is there.
pub(crate) fn is_single() -> bool {
    std::env::var(AS).is_ok_and(|who| who == "plain")
}

/// Runs `body` as the caller and, where that is root, again as the ordinary
/// user without and with subordinate ids: this test alone, in a copy of this
/// binary.
pub(crate) fn everybody<F: Fn()>(body: F) {
    body();
    if !is_root() {
        return;
    }
    let name = std::any::type_name::<F>();
    let name = name.split("::").nth(1).expect("a test in the root module");
    for kind in ["plain", "subids"] {
        if let Err(why) = needs::user(kind).and_then(|()| needs::userns()) {
            needs::missing("user", &why);
            continue;
        }
        let user = ordinary_user(kind == "subids");
        let temporary = user.tempdir();
        let mut command = user.command(this_program());
        command.env(AS, kind).env("TMPDIR", temporary.path());
        passes_again(&mut command, name);
    }
}

/// Runs `body` in a copy of this binary that `wrapper` starts, this test alone,
/// with a variable in the environment.
pub(crate) fn again<F: Fn()>(wrapper: &[&str], (key, value): (&str, &str), body: F) {
    if std::env::var_os(AGAIN).is_some() {
        return body();
    }
    let name = std::any::type_name::<F>();
    let name = name.split("::").nth(1).expect("a test in the root module");
    let mut command = process::Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(this_program());
    passes_again(command.env(AGAIN, "1").env(key, value), name);
}

/// `tests/probes/attack.c`.
pub(crate) fn probe() -> PathBuf {
    compiled("attack")
}

/// A program of `tests/probes`, linked statically; made once by each process
/// that is not a copy.
pub(crate) fn compiled(name: &'static str) -> PathBuf {
    static MADE: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(name);
    let copied = [AS, AGAIN].iter().any(|v| std::env::var_os(v).is_some());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.insert(name) || copied {
        return path;
    }
    let unique = directory.join(format!("{name}-{}", process::id()));
    let status = process::Command::new("cc")
        .args(["-static", "-Wall", "-O1", "-o"])
        .arg(&unique)
        .arg(format!(
            "{}/tests/probes/{name}.c",
            env!("CARGO_MANIFEST_DIR")
        ))
        .status();
    assert!(status.expect("run cc").success(), "cc {name}.c");
    // Another binary's copy may be running: the file is replaced, not written.
    fs::rename(&unique, &path).expect("put the probe in place");
    path
}

/// A place for a test: an image with busybox and the probe, a store, a victim
/// beside them.
pub(crate) struct Stage {
    dir: TempDir,
    pub(crate) victim: Victim,
    pub(crate) store: Store,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("make a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open it");
        let stage = Self {
            victim: Victim::new(dir.path()),
            store: Store::open(&dir.path().join("store")).expect("open a store"),
            dir,
        };
        for name in ["bin", "etc", "tmp", "dev", "proc", "sys"] {
            stage.dir(name);
        }
        stage.copy("/bin/busybox", "bin/busybox");
        stage.copy(probe(), "bin/probe");
        for name in [
            "sh", "cat", "ls", "id", "true", "sleep", "stat", "mkdir", "dd", "ln",
        ] {
            stage.link("busybox", &format!("bin/{name}"));
        }
        stage.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        stage.file("etc/group", "root:x:0:\n");
        stage
    }

    /// A path in the image.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("image").join(name)
    }

    /// A path beside the image.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self, name: &str) {
        fs::create_dir_all(self.at(name)).expect("make a directory in the image");
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).expect("write a file of the image");
    }

    pub(crate) fn program(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.file(name, bytes);
        self.mode(name, 0o755);
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }

    pub(crate) fn copy(&self, from: impl AsRef<Path>, name: &str) {
        fs::copy(from, self.at(name)).expect("copy a program");
    }

    pub(crate) fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.at(name)).expect("link");
    }

    /// Removes the entry at `name`, of any type.
    pub(crate) fn remove(&self, name: &str) {
        let path = self.at(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).expect("remove a directory"),
            Ok(_) => fs::remove_file(path).expect("remove a file"),
            Err(_) => {}
        }
    }

    /// Replaces the entry at `name` by a link.
    pub(crate) fn relink(&self, target: impl AsRef<Path>, name: &str) {
        self.remove(name);
        self.link(target, name);
    }

    /// The default spec on this image, with `json`'s keys on top.
    pub(crate) fn spec(&self, json: &str) -> Spec {
        let mut spec = Spec::from_json(json).expect("a spec");
        spec.image = format!("dir:{}", self.at("").display());
        spec
    }

    /// A sandbox that has run some commands, so that process 1's second thread
    /// starts the next; with `TARE_COLD` set, a new sandbox.
    pub(crate) fn open(&self, json: &str) -> Sandbox {
        let sandbox = Sandbox::open(&self.store, &self.spec(json)).expect("open a sandbox");
        if std::env::var_os("TARE_COLD").is_none() {
            for _ in 0..3 {
                // If nothing can be run, the next step says so.
                let _ = sandbox.run(Command::new("/bin/true"));
            }
        }
        sandbox
    }

    /// Returns the reason why the sandbox cannot be opened.
    #[track_caller]
    pub(crate) fn refused(&self, json: &str) -> String {
        match Sandbox::open(&self.store, &self.spec(json)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("opened in spite of {json}"),
        }
    }
}

/// A command with a limit of time.
pub(crate) fn command<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Command {
    Command::from_argv(argv).timeout(LONG)
}

/// The probe with `words` as arguments.
pub(crate) fn probing(words: &str) -> Command {
    command(["/bin/probe"].into_iter().chain(words.split(' ')))
}

/// A line for the shell.
pub(crate) fn shell(line: &str) -> Command {
    command(["/bin/sh", "-c", line])
}

/// Runs a command, which must end by itself.
#[track_caller]
pub(crate) fn ran(sandbox: &Sandbox, command: Command) -> Output {
    let output = sandbox.run(command).expect("run a command");
    assert!(
        output.status.exit_code.is_some() && output.status.reason == tare::Reason::Exited,
        "{:?} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Returns standard output.
#[track_caller]
pub(crate) fn said(sandbox: &Sandbox, command: Command) -> String {
    String::from_utf8(ran(sandbox, command).stdout).expect("text")
}

/// The probe's answers: each attempt and its end.
#[track_caller]
pub(crate) fn answers(sandbox: &Sandbox, words: &str) -> Vec<(String, String)> {
    let pairs = said(sandbox, probing(words));
    pairs
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(what, answer)| (what.to_owned(), answer.to_owned()))
        .collect()
}

/// Asserts that none of the probe's attempts worked, and that there were some.
#[track_caller]
pub(crate) fn assert_denied(sandbox: &Sandbox, words: &str, with: &[&str]) {
    let answers = answers(sandbox, words);
    assert!(!answers.is_empty(), "{words}: no attempt was made");
    for (what, answer) in answers {
        assert!(with.contains(&answer.as_str()), "{words}: {what} {answer}");
    }
}
