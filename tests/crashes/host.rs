// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host: this binary again, opening a sandbox after another and reporting
//! its progress.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tare::{Error, Kind, Sandbox, Size, Spec, Store};
use tare_oracle::again::{in_role, role, this_program};

use crate::harness::settle::{await_end, try_helper_of};
use crate::harness::sh;
use crate::place::Place;
use crate::supervisor::{CANARY, MARK};

/// Messages of the host, as the first argument of [`MARK`].
pub(crate) mod say {
    /// May a round begin? The answer is a number of [`super::hear`].
    pub(crate) const NEXT: u64 = 1;
    /// The library has done its work. The answer is the number of the call that
    /// was hit.
    pub(crate) const DONE: u64 = 2;
    /// Everything is dropped and swept. If leftovers remain, the answer is 1,
    /// and the host sweeps again.
    pub(crate) const SWEPT: u64 = 3;
}

/// Answers to the host; any other number is the errno with which a call of this
/// round fails.
pub(crate) mod hear {
    /// There are no more rounds.
    pub(crate) const END: i64 = 1 << 20;
    /// A process is killed.
    pub(crate) const KILLED: i64 = END + 1;
    /// No fault in this round.
    pub(crate) const NOTHING: i64 = 0;
    /// After a round, the number of the call that was hit, if the helper would
    /// have spoken by that call.
    pub(crate) const SPEECH: i64 = END + 2;
}

/// Facts of a sandbox for a command: everything that a skipped step would
/// change.
const LOOK: &str = "cut -d' ' -f4- /proc/self/mountinfo | sort; cat /proc/self/limits /proc/self/cgroup /proc/1/cgroup; \
    grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|SigCgt|Umask|Cpus_allowed_list)' /proc/self/status /proc/1/status; \
    stat -c '%n %F %a %u %g %t %T' / /dev /dev/* /dev/pts /etc /tmp; ls -C /proc/self/fd; ls -C /; hostname; \
    cat /sys/class/net/lo/flags; env | sort; pwd; umask; readlink /dev/fd /dev/stdin; \
    cat /proc/sys/kernel/ns_last_pid >/dev/null; wc -c </proc/kcore; (echo x >/x) && cat /x; touch /proc/sys/kernel/x /etc/x; \
    for ns in cgroup ipc mnt net pid user uts; do [ $(readlink /proc/self/ns/$ns) = $(readlink /proc/1/ns/$ns) ] && echo $ns; done; exit 0";

/// The host's command line; its output goes into the file `log`.
pub(crate) fn command(place: &Place, role: &str, spec: &str) -> Command {
    let mut command = match &place.user {
        None => Command::new(this_program()),
        Some(user) => user.command(this_program()),
    };
    let mut log = fs::File::options();
    let log = log.create(true).append(true);
    let log = log.open(place.path("log")).unwrap();
    in_role(&mut command, "host::host_in_a_role", role, place.path(""))
        .env("TARE_TEST_SPEC", spec)
        .env("TARE_CANARY", CANARY)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

fn mark(word: u64) -> i64 {
    loop {
        // SAFETY: no call has this number; the supervisor of this process
        // answers it.
        match unsafe { libc::syscall(MARK, word, 0, 0, 0, 0, 0) } {
            // Without a supervisor the call does not exist.
            -1 => std::thread::yield_now(),
            answer => return answer,
        }
    }
}

#[test]
#[ignore = "a part of other tests"]
fn host_in_a_role() {
    let Some((role, place)) = role() else {
        return;
    };
    let store = place.join("store");
    let spec = Spec {
        image: format!("dir:{}", place.join("root").display()),
        ..Spec::from_json(&env::var("TARE_TEST_SPEC").unwrap()).unwrap()
    };
    match role.as_str() {
        "rounds" => rounds(&store, &spec),
        "sweep" => drop(Store::open(&store).unwrap()),
        other => panic!("{other}"),
    }
}

fn rounds(store: &Path, spec: &Spec) {
    let mut sound = None;
    loop {
        let fault = mark(say::NEXT);
        if fault == hear::END {
            return;
        }
        let seen = round(store, spec);
        let hit = mark(say::DONE);
        // The test collects these lines.
        match &seen {
            Err(error) => println!("\nstep {}\nerror {error}", error.step()),
            Ok(_) => println!("\nstep"),
        }
        if let Err(why) = check(fault, hit, &seen, &mut sound) {
            println!(
                "\nwrong {fault} at {hit}: {}",
                why.replace('\n', "\nwrong ")
            );
        }
        while mark(say::SWEPT) == 1 {
            drop(Store::open(store).unwrap());
        }
    }
}

/// Opens and closes a sandbox; returns the facts that its commands saw. If the
/// spec's label says so, not the first in a row.
fn round(store: &Path, spec: &Spec) -> Result<String, Error> {
    let store = Store::open(store)?;
    let before = spec.labels.get("before").map_or(0, |n| n.parse().unwrap());
    for _ in 0..before {
        Sandbox::open(&store, spec)?.close()?;
    }
    let sandbox = Sandbox::open(&store, spec)?;
    // The init may have been hit just after the open.
    let helper = try_helper_of(&sandbox)?;
    let seen = look(&sandbox);
    // Told by the first error, and dropped all the same.
    let closed = seen.and_then(|seen| sandbox.close().map(|()| seen));
    drop(sandbox);
    drop(store);
    await_end(helper);
    closed
}

fn look(sandbox: &Sandbox) -> Result<String, Error> {
    let size = Size {
        rows: 7,
        columns: 77,
    };
    let mut seen = String::new();
    for command in [
        sh(LOOK).timeout(Duration::from_secs(60)),
        sh("tty; stty size; exit 3").tty(size),
    ] {
        let output = sandbox.run(command)?;
        let status = &output.status;
        seen += &format!(
            "{:?} {:?} {:?}\n",
            status.reason, status.exit_code, status.signal
        );
        seen += &String::from_utf8_lossy(&output.stdout);
        seen += &String::from_utf8_lossy(&output.stderr);
    }
    Ok(without_names(&seen))
}

/// Removes the differences between any two sandboxes: names of scratch
/// directories and of cgroups.
fn without_names(text: &str) -> String {
    let words = text.split_inclusive([' ', '/', ',', '=', '.', '\n']);
    let is_name = |word: &str| {
        let hex = word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
        // Host, its start and the helper, as in the name of a scratch
        // directory.
        let numbers = word.split('-').filter(|part| part.parse::<u64>().is_ok());
        hex || word.starts_with("tare-") || (numbers.count() == 3 && word.matches('-').count() == 2)
    };
    let plain = words.map(|word| {
        let end = word.trim_end_matches([' ', '/', ',', '=', '.', '\n']).len();
        match is_name(&word[..end]) {
            true => format!("#{}", &word[end..]),
            false => word.to_owned(),
        }
    });
    plain.collect()
}

/// A fault is an error that names step and reason, or makes no difference at
/// all.
fn check(
    fault: i64,
    hit: i64,
    seen: &Result<String, Error>,
    sound: &mut Option<String>,
) -> Result<(), String> {
    match (fault, seen) {
        (hear::NOTHING, Ok(seen)) => {
            let begins = seen.starts_with("Exited Some(0) None\n") && seen.contains("\r\n7 77\r\n");
            let same = sound.get_or_insert(seen.clone()) == seen;
            if begins && same {
                Ok(())
            } else {
                Err(seen.clone())
            }
        }
        (hear::KILLED, Ok(seen)) => {
            let killed = seen.contains("Killed ") || seen.contains("Signaled None Some(9)");
            if killed { Ok(()) } else { same(sound, seen) }
        }
        (hear::KILLED, Err(error)) if error.kind() == Kind::Broken => Ok(()),
        // An unreadable status is that of a sandbox that is gone.
        (_, Ok(seen)) if hit == hear::SPEECH && seen.contains("Killed None Some(9)") => Ok(()),
        (_, Ok(seen)) => same(sound, seen),
        (hear::NOTHING | hear::KILLED, Err(error)) => Err(error.to_string()),
        (errno, Err(error)) => {
            let told = error.errno() == Some(errno as i32) && !error.subject().is_empty();
            let broken = hit == hear::SPEECH && error.kind() == Kind::Broken;
            let line = !error.to_string().contains('\n') && !error.step().is_empty();
            if line && (told || broken) {
                Ok(())
            } else {
                Err(error.to_string())
            }
        }
    }
}

/// Returns the differences of the facts.
fn same(sound: &Option<String>, seen: &str) -> Result<(), String> {
    let sound = sound.as_deref().unwrap_or_default();
    if seen == sound {
        return Ok(());
    }
    let only = |sign, these: &str, those: &str| {
        let lines = these
            .lines()
            .filter(|line| !those.lines().any(|l| l == *line));
        lines
            .map(|line| format!("\n{sign} {line}"))
            .collect::<String>()
    };
    Err(only('-', sound, seen) + &only('+', seen, sound))
}
