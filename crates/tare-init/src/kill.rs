// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killing a command with all that it started.
//!
//! A process belongs to the command if it is in its session, has an ancestor
//! that does, or was adopted by process 1 and is the command's by its marks
//! (`owner.rs`). All are stopped first, parents before children can lose them,
//! until all have stopped and no new one is found; then all are killed. Where
//! the command has a cgroup of its own, the kernel kills all in it at once.

use core::ffi::CStr;

use crate::decimal;
use crate::descent::{Member, gather, ours};
use crate::dir;
use crate::mapping::Table;
use crate::owner::{Cgroup, Owner};
use crate::sys::{self, Errno, O_RDONLY, Result, SIGKILL, SIGSTOP};

/// Processes looked at; more than a pid namespace has by default.
const ROWS: usize = 65536;
/// Somebody may never stop: who waits for its vfork's child, or is woken again and again.
const ROUNDS: usize = 100;
/// Of them those without a pause: to stop takes less than that.
const BUSY_ROUNDS: usize = 8;
/// Of a member: it makes no more processes, since all its threads have stopped or ended.
const STOPPED: usize = 1;

/// A command whose processes are looked for.
pub(crate) struct Tree<'a> {
    /// Its first process; 0 once that is reaped, when its number may be
    /// another's.
    pub(crate) leader: i32,
    pub(crate) owner: &'a Owner,
    /// A procfs of this pid namespace.
    pub(crate) proc: i32,
}

impl Tree<'_> {
    /// Kills all of it.
    pub(crate) fn kill(&self) {
        let Ok(mut table) = Table::<Member>::new(ROWS) else {
            // Without memory, at least the command itself.
            return self.kill_leader();
        };
        // How many the last round found, if all of them had stopped.
        let (mut before, mut listed) = (None, 0);
        for round in 0..ROUNDS {
            let Ok(n) = self.scan(table.rows()) else {
                break;
            };
            listed = n;
            let rows = &mut table.rows()[..n];
            let found = gather(rows);
            // A fork that had begun goes on when its process is told to stop:
            // only who has stopped makes no more.
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
        // As above; without a procfs this is all there is.
        self.kill_leader();
    }

    fn kill_leader(&self) {
        if self.leader > 0 {
            let _ = sys::kill(self.leader, SIGKILL);
        }
    }

    /// Kills what is left of it, dead processes that are not reaped included;
    /// how many there are.
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

    /// Fills a row for each process of the namespace; those that are surely of
    /// the command begin the family.
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

    /// A member from its proc_pid_stat(5).
    fn member(&self, name: &CStr, pid: i32, home: &Cgroup) -> Option<Member> {
        let mut path = [0u8; 32];
        let path = dir::join(&mut path, &[name.to_bytes(), b"/stat"]).ok()?;
        let Stat {
            stopped,
            parent,
            session,
            threads,
        } = Stat::read(self.proc, path)?;
        let stopped = match threads {
            0 | 1 => stopped,
            _ => threads_stopped(self.proc, name).unwrap_or(false),
        };
        // Copies of process 1 that work on files are in its own session, which
        // is 0 or 1.
        let adopted = || parent == 1 && session > 1 && self.owner.owns(self.proc, name, home);
        let begins = self.leader > 0 && (pid == self.leader || session == self.leader) || adopted();
        Some(Member::new(
            pid,
            parent,
            begins,
            if stopped { STOPPED } else { 0 },
        ))
    }
}

fn signal(rows: &[Member], signal: u32) {
    for row in ours(rows) {
        // It may have ended since; its pid is not reused before it is reaped here.
        let _ = sys::kill(row.id, signal);
    }
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
        let n = sys::read(file.raw(), &mut text)?;
        // What does not fit, or is cut, comes with the next round.
        for line in text[..n].split_inclusive(|b| *b == b'\n') {
            if let Some(pid) = line.strip_suffix(b"\n").and_then(decimal::number) {
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
    Err(Errno::BUSY)
}

fn write(cgroup: i32, file: &CStr, bytes: &[u8]) -> Result<()> {
    let file = sys::openat(cgroup, file, sys::O_WRONLY, 0)?;
    sys::write(file.raw(), bytes)
}

fn threads_stopped(proc: i32, name: &CStr) -> Result<bool> {
    let mut path = [0u8; 32];
    let tasks = sys::openat(
        proc,
        dir::join(&mut path, &[name.to_bytes(), b"/task"])?,
        O_RDONLY | sys::O_DIRECTORY,
        0,
    )?;
    let mut all = true;
    dir::for_each(tasks.raw(), c".", |thread| {
        let mut path = [0u8; 32];
        // One that cannot be read has ended.
        all &= Stat::read(
            tasks.raw(),
            dir::join(&mut path, &[thread.to_bytes(), b"/stat"])?,
        )
        .is_none_or(|stat| stat.stopped);
        Ok(())
    })?;
    Ok(all)
}

/// State (field 3), parent (4), session (6) and number of threads (20) of proc_pid_stat(5).
struct Stat {
    /// Or dead.
    stopped: bool,
    parent: i32,
    session: i32,
    threads: i32,
}

impl Stat {
    fn read(dir: i32, path: &CStr) -> Option<Self> {
        let mut text = [0u8; 512];
        let file = sys::openat(dir, path, O_RDONLY, 0).ok()?;
        let n = sys::read(file.raw(), &mut text).ok()?;
        let text = &text[..n];
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
