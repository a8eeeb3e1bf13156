// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kills a command with all processes that it started.
//!
//! A process belongs to a command by its session, by an ancestor that belongs,
//! or, after adoption by process 1, by its marks (`owner.rs`). All are stopped
//! first, until all have stopped and a scan finds no new process; then all are
//! killed. Stopped parents cannot lose children. Where the command has a
//! cgroup, the kernel kills all processes in it at once.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::decimal;
use crate::descent::{Member, gather, ours};
use crate::dir;
use crate::mapping::Table;
use crate::owner::{Cgroup, Owner};
use crate::sys::{self, Errno, O_RDONLY, Result, SIGKILL, SIGSTOP};

/// Processes per scan; more than a pid namespace has by default.
const ROWS: usize = 65536;
/// Scans at most. A process may never stop: while it waits for its vfork(2)
/// child, or if another process wakes it again and again.
const ROUNDS: usize = 100;
/// Scans without a pause, because stopping usually takes less.
const BUSY_ROUNDS: usize = 8;
/// Value of a member whose threads have all stopped or ended, so that it makes
/// no more processes.
const STOPPED: usize = 1;

/// A command, to find its processes.
pub(crate) struct Tree<'a> {
    /// First process; 0 after it was reaped, because its pid may be reused.
    pub(crate) leader: i32,
    pub(crate) owner: &'a Owner,
    /// A procfs of this pid namespace.
    pub(crate) proc: i32,
}

impl Tree<'_> {
    /// Kills all processes of the command.
    pub(crate) fn kill(&self) {
        let Ok(mut table) = Table::<Member>::new(ROWS) else {
            // Without memory, kills at least the first process.
            return self.kill_leader();
        };
        // Number of processes in the last round, if all had stopped.
        let (mut before, mut listed) = (None, 0);
        for round in 0..ROUNDS {
            let Ok(n) = self.scan(table.rows()) else {
                break;
            };
            listed = n;
            let rows = &mut table.rows()[..n];
            let found = gather(rows);
            // A running fork(2) finishes before its process stops, so only a
            // stopped process makes no more.
            let stopped = ours(rows).all(|row| row.own == STOPPED);
            if stopped && before == Some(found) {
                break;
            }
            before = stopped.then_some(found);
            signal(rows, SIGSTOP);
            if round >= BUSY_ROUNDS {
                sys::sleep_us(200);
            }
        }
        signal(&table.rows()[..listed], SIGKILL);
        // Without a procfs this is all that is possible.
        self.kill_leader();
    }

    fn kill_leader(&self) {
        if self.leader > 0 {
            let _ = sys::kill(self.leader, SIGKILL);
        }
    }

    /// Kills remaining processes; returns their number, unreaped dead ones
    /// included.
    pub(crate) fn kill_left(&self) -> usize {
        let Ok(mut table) = Table::<Member>::new(ROWS) else {
            return 0;
        };
        let Ok(n) = self.scan(table.rows()) else {
            return 0;
        };
        let rows = &mut table.rows()[..n];
        let found = gather(rows);
        signal(rows, SIGKILL);
        found
    }

    /// Fills a row for each process of the namespace; processes that surely
    /// belong begin the family.
    fn scan(&self, rows: &mut [Member]) -> Result<usize> {
        let home = Cgroup::of(self.proc, b"1")?;
        let mut n = 0;
        dir::for_each(self.proc, c".", |name| {
            let row =
                decimal::number(name.to_bytes()).and_then(|pid| self.member(name, pid, &home));
            if let (Some(row), Some(place)) = (row, rows.get_mut(n)) {
                *place = row;
                n += 1;
            }
            Ok(())
        })?;
        Ok(n)
    }

    /// Makes a member from proc_pid_stat(5).
    fn member(&self, name: &CStr, pid: i32, home: &Cgroup) -> Option<Member> {
        let stat = Stat::read(self.proc, name)?;
        let stopped = match stat.threads {
            0 | 1 => stat.stopped,
            _ => threads_stopped(self.proc, name).unwrap_or(false),
        };
        let (parent, session) = (stat.parent, stat.session);
        // Copies of process 1 that work on files are in session 0 or 1.
        let adopted = || parent == 1 && session > 1 && self.owner.owns(self.proc, name, home);
        let begins = self.leader > 0 && (pid == self.leader || session == self.leader) || adopted();
        let own = if stopped { STOPPED } else { 0 };
        Some(Member::new(pid, parent, begins, own))
    }
}

fn signal(rows: &[Member], signal: u32) {
    for row in ours(rows) {
        // The process may have ended, but its pid is not reused before it is
        // reaped here.
        let _ = sys::kill(row.id, signal);
    }
}

/// Kills everything in a cgroup v2 directory.
pub(crate) fn kill_cgroup(cgroup: i32) -> Result<()> {
    match dir::write_file(cgroup, c"cgroup.kill", b"1") {
        Err(Errno::NOENT) => kill_listed(cgroup),
        other => other,
    }
}

/// KERNEL(5.14): kills all listed processes until the list is empty. Freezes
/// the cgroup meanwhile, so that no process forks; a frozen process of v2 still
/// dies.
fn kill_listed(cgroup: i32) -> Result<()> {
    const ROUNDS: usize = 400;
    for _ in 0..ROUNDS {
        // The next round finds processes that were not frozen.
        let _ = dir::write_file(cgroup, c"cgroup.freeze", b"1");
        let mut text = [0u8; 4096];
        let text = dir::read_file(cgroup, &[b"cgroup.procs"], &mut text)?;
        // A line that is cut or does not fit comes in the next round.
        for line in text.split_inclusive(|b| *b == b'\n') {
            if let Some(pid) = line.strip_suffix(b"\n").and_then(decimal::number) {
                // The process may have ended, but its pid is not reused before
                // it is reaped here.
                let _ = sys::kill(pid, SIGKILL);
            }
        }
        let _ = dir::write_file(cgroup, c"cgroup.freeze", b"0");
        if text.is_empty() {
            return Ok(());
        }
        sys::sleep_us(200);
    }
    Err(Errno::BUSY)
}

fn threads_stopped(proc: i32, name: &CStr) -> Result<bool> {
    let mut path = [0u8; 32];
    let path = dir::join(&mut path, &[name.to_bytes(), b"/task"])?;
    let tasks = sys::openat(proc, path, O_RDONLY | sys::O_DIRECTORY, 0)?;
    let mut all = true;
    dir::for_each(tasks.raw(), c".", |thread| {
        // An unreadable thread has ended.
        all &= Stat::read(tasks.raw(), thread).is_none_or(|stat| stat.stopped);
        Ok(())
    })?;
    Ok(all)
}

/// State (field 3), parent (4), session (6) and number of threads (20) of
/// proc_pid_stat(5).
struct Stat {
    /// Or dead.
    stopped: bool,
    parent: i32,
    session: i32,
    threads: i32,
}

impl Stat {
    fn read(dir: i32, name: &CStr) -> Option<Self> {
        let mut text = [0u8; 512];
        let text = dir::read_file(dir, &[name.to_bytes(), b"/stat"], &mut text).ok()?;
        // The name before them may hold anything.
        let after = text.iter().rposition(|b| *b == b')')? + 2;
        let mut fields = text.get(after..)?.split(|b| *b == b' ');
        let stopped = matches!(fields.next()?, b"T" | b"t" | b"Z" | b"X");
        let mut number = |n: usize| decimal::number(fields.nth(n)?);
        Some(Self {
            stopped,
            parent: number(0)?,
            session: number(1)?,
            threads: number(13)?,
        })
    }
}
