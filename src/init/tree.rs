// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killing a command with all that it started.
//!
//! Where the command has a cgroup of its own, that says what belongs to it. Else a process belongs to the command if it is in its session or has an ancestor that does.
//! They are stopped first, parents before children can lose them, until no new one is
//! found; then all are killed. What left the session and lost its parents lives on
//! until the sandbox ends.

use core::ffi::CStr;

use crate::decimal;
use crate::dir;
use crate::sys::{self, Errno, O_RDONLY, Result, SIGKILL, SIGSTOP, Table, Zeroable};

/// Processes looked at; more than a pid namespace has by default.
const ROWS: usize = 65536;
const ROUNDS: usize = 100;

struct Row {
    pid: i32,
    parent: i32,
    session: i32,
    /// 1: belongs to the command.
    ours: i32,
}

// SAFETY: integers only.
unsafe impl Zeroable for Row {}

/// Kills `leader` and its own; `proc` is a procfs of this pid namespace.
pub(crate) fn kill(leader: i32, proc: i32) {
    let Ok(mut table) = Table::<Row>::new(ROWS) else {
        // Without memory, at least the command itself.
        let _ = sys::kill(leader, SIGKILL);
        return;
    };
    let mut before = 0;
    for _ in 0..ROUNDS {
        let Ok(n) = scan(table.rows(), proc) else { break };
        let rows = &mut table.rows()[..n];
        let found = mark(rows, leader);
        for row in rows.iter().filter(|r| r.ours == 1) {
            // It may have ended since; its pid is not reused before it is reaped here.
            let _ = sys::kill(row.pid, SIGSTOP);
        }
        if found == before {
            break;
        }
        before = found;
    }
    for row in table.rows().iter().take_while(|r| r.pid != 0).filter(|r| r.ours == 1) {
        // As above.
        let _ = sys::kill(row.pid, SIGKILL);
    }
    // As above; without a procfs this is all there is.
    let _ = sys::kill(leader, SIGKILL);
}

/// Kills everything in a cgroup v2 directory.
pub(crate) fn kill_cgroup(cgroup: i32) -> Result<()> {
    match write(cgroup, c"cgroup.kill", b"1") {
        Err(Errno::NOENT) => kill_listed(cgroup),
        other => other,
    }
}

/// KERNEL(<5.14): signals whoever is listed until nobody is. Frozen, nobody forks meanwhile, and
/// what is frozen in v2 still dies.
fn kill_listed(cgroup: i32) -> Result<()> {
    const ROUNDS: usize = 400;
    for _ in 0..ROUNDS {
        // Unfrozen ones are found by the next round.
        let _ = write(cgroup, c"cgroup.freeze", b"1");
        let mut text = [0u8; 4096];
        let file = sys::openat(cgroup, c"cgroup.procs", O_RDONLY, 0)?;
        let n = sys::read(file.0, &mut text)?;
        // What does not fit, or is cut, comes with the next round.
        for line in text[..n].split_inclusive(|b| *b == b'\n') {
            // 0 is a process outside of this namespace, and for kill(2) the caller's group.
            if let Some(pid) = line.strip_suffix(b"\n").and_then(decimal::number).filter(|pid| *pid > 0) {
                // It may have ended since; its pid is not reused before it is reaped here.
                let _ = sys::kill(pid, SIGKILL);
            }
        }
        let _ = write(cgroup, c"cgroup.freeze", b"0");
        if n == 0 {
            return Ok(());
        }
        sys::sleep_us(200);
    }
    // EBUSY
    Err(Errno(16))
}

fn write(cgroup: i32, file: &CStr, bytes: &[u8]) -> Result<()> {
    let file = sys::openat(cgroup, file, sys::O_WRONLY, 0)?;
    sys::write(file.0, bytes)
}

fn scan(rows: &mut [Row], proc: i32) -> Result<usize> {
    let mut n = 0;
    dir::for_each(proc, c".", |name| {
        let row = decimal::number(name.to_bytes()).and_then(|pid| stat(proc, name, pid));
        if let (Some(row), Some(place)) = (row, rows.get_mut(n)) {
            *place = row;
            n += 1;
        }
        Ok(())
    })?;
    if let Some(end) = rows.get_mut(n) {
        *end = Row { pid: 0, parent: 0, session: 0, ours: 0 };
    }
    Ok(n)
}

/// Parent (field 4) and session (field 6) of proc_pid_stat(5); the name before them may hold anything.
fn stat(proc: i32, name: &CStr, pid: i32) -> Option<Row> {
    let (mut path, mut text) = ([0u8; 32], [0u8; 512]);
    let path = dir::join(&mut path, &[name.to_bytes(), b"/stat"]).ok()?;
    let file = sys::openat(proc, path, O_RDONLY, 0).ok()?;
    let n = sys::read(file.0, &mut text).ok()?;
    let text = &text[..n];
    let after = text.iter().rposition(|b| *b == b')')? + 2;
    let mut fields = text.get(after..)?.split(|b| *b == b' ');
    let mut number = |n: usize| decimal::number(fields.nth(n)?);
    Some(Row { pid, parent: number(1)?, session: number(1)?, ours: 0 })
}

/// Marks until nothing changes; the number of marked rows.
fn mark(rows: &mut [Row], leader: i32) -> usize {
    let mut marked = 0;
    loop {
        let before = marked;
        for at in 0..rows.len() {
            let Row { pid, parent, session, ours } = rows[at];
            if ours == 0 && (pid == leader || session == leader || rows.iter().any(|r| r.ours == 1 && r.pid == parent)) {
                rows[at].ours = 1;
                marked += 1;
            }
        }
        if marked == before {
            return marked;
        }
    }
}
