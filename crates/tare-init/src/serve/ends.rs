// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends of commands: reaping, killing, and telling the host when all processes
//! are dead.

use super::{PROC, Resident, SIGNALS};
use crate::clone::{Dead, reap};
use crate::kill::{Tree, kill_cgroup};
use crate::mapping::Zeroable;
use crate::message::note;
use crate::owner::Owner;
use crate::sys::{self, MaybeFd};
use crate::wire::{self, Kill, Reply};

/// Time that the end of a killed command waits for its last process: the kernel
/// decides when a process in disk sleep dies.
const PATIENCE_NS: u64 = 10_000_000_000;

/// First and longest pause between two looks for remaining processes.
const FIRST_PAUSE_NS: u64 = 100_000;
const LAST_PAUSE_NS: u64 = 20_000_000;

/// A running command.
#[derive(Default)]
pub(super) struct Row {
    /// 0: the row is free.
    pub(super) pid: i32,
    /// Socket or pipe for the word of the end.
    pub(super) status: MaybeFd,
    pub(super) id: u64,
    pub(super) started: u64,
    /// Nanoseconds of the clock, 0 for never: end of the command's time; after
    /// the command's death, time of the next look for its processes.
    pub(super) deadline: u64,
    pub(super) reason: u32,
    /// Directory of the command's cgroup v2, if any.
    pub(super) cgroup: MaybeFd,
    /// Reply for the host; the kind is 0 until the first process is dead.
    pub(super) end: Reply,
    /// Time to tell the end even if processes remain.
    pub(super) give_up: u64,
    pub(super) pause: u64,
}

// SAFETY: integers, and `MaybeFd`, for which zero is a value.
unsafe impl Zeroable for Row {}

impl Row {
    /// Kills the command with all processes that it started.
    pub(super) fn kill(&self, owner: &Owner) {
        if !self.cgroup.is_some() || kill_cgroup(self.cgroup.raw()).is_err() {
            self.tree(owner).kill();
        }
    }

    fn tree<'a>(&self, owner: &'a Owner) -> Tree<'a> {
        let leader = if self.is_dead() { 0 } else { self.pid };
        Tree {
            leader,
            owner,
            proc: PROC,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.end.kind != 0
    }

    /// Notes that the first process is dead, and the time to look for others.
    fn died(&mut self, dead: &Dead) {
        let now = sys::now_ns();
        let mut end = Reply::new(wire::EXITED, self.reason, 0, 0);
        match dead.status & 0x7f {
            0 => end.code = (dead.status >> 8 & 0xff) as i32,
            signal => {
                end.signal = signal;
                end.core = u32::from(dead.status & 0x80 != 0);
            }
        }
        end.wall_ns = now - self.started;
        let us = |[seconds, rest]: [u64; 2]| seconds * 1_000_000 + rest;
        (end.user_us, end.system_us) = (us(dead.usage.user), us(dead.usage.system));
        end.max_rss_kib = dead.usage.max_rss_kib;
        (end.blocks_in, end.blocks_out) = (dead.usage.blocks_in, dead.usage.blocks_out);
        self.end = end;
        self.deadline = if self.reason == wire::BY_ITSELF {
            0
        } else {
            now
        };
        (self.give_up, self.pause) = (now + PATIENCE_NS, FIRST_PAUSE_NS);
    }

    /// Kills remaining processes; returns true if there are none, or if the
    /// wait for them is over.
    fn is_over(&mut self, owner: &Owner, now: u64) -> bool {
        if now >= self.give_up || self.tree(owner).kill_left() == 0 {
            return true;
        }
        self.deadline = now + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE_NS);
        false
    }

    /// Tells the host, and frees the row.
    fn report(&mut self, left: bool) {
        // Before the host knows, because the host removes the directory.
        self.cgroup = MaybeFd::default();
        self.end.index = u32::from(left);
        note(self.status.raw(), &self.end);
        *self = Self::default();
    }
}

impl Resident<'_> {
    pub(super) fn kill(&mut self, kill: &Kill) {
        let owner = self.marks.owner(kill.id);
        let Some(row) = self.used().find(|r| r.id == kill.id) else {
            if kill.reason == wire::BY_OUTPUT {
                self.kill_left_of_ended(&owner);
            }
            return;
        };
        // The process is reaped, so the pid may be another's. Remaining
        // processes are being killed.
        if row.is_dead() {
            return;
        }
        if kill.reason != wire::BY_ITSELF {
            row.reason = kill.reason;
        }
        // The child is not yet reaped, so the pid and the group are its own.
        match kill.tree {
            wire::TO_TREE => row.kill(&owner),
            wire::TO_GROUP => drop(sys::kill(-row.pid, kill.signal)),
            _ => drop(sys::kill(row.pid, kill.signal)),
        }
    }

    /// Kills the processes of an ended command that wrote too much, which the
    /// host saw later. Takes a second at most, because other commands wait.
    fn kill_left_of_ended(&mut self, owner: &Owner) {
        const ROUNDS: usize = 1000;
        let tree = Tree {
            leader: 0,
            owner,
            proc: PROC,
        };
        tree.kill();
        for _ in 0..ROUNDS {
            self.reap();
            if self.empty || tree.kill_left() == 0 {
                return;
            }
            sys::sleep_us(1000);
        }
    }

    /// Kills commands whose time is up, and looks for remaining processes of
    /// killed commands.
    pub(super) fn expire(&mut self) {
        if self.until_deadline() != Some(0) {
            return;
        }
        let now = sys::now_ns();
        self.first(|this| {
            let (mut seen, live) = (0, this.live);
            for at in 0..this.rows.rows().len() {
                if seen == live {
                    break;
                }
                seen += usize::from(this.rows.rows()[at].pid != 0);
                this.expire_row(at, now);
            }
        });
    }

    fn expire_row(&mut self, at: usize, now: u64) {
        let Self {
            marks,
            rows,
            live,
            empty,
            ..
        } = self;
        let row = &mut rows.rows()[at];
        if row.pid == 0 || row.deadline == 0 || row.deadline > now {
            return;
        }
        let owner = marks.owner(row.id);
        if !row.is_dead() {
            (row.deadline, row.reason) = (0, wire::BY_TIMEOUT);
            row.kill(&owner);
        } else if row.is_over(&owner, now) {
            row.report(!*empty);
            *live -= 1;
        }
    }

    /// Reaps every dead child: orphans without a word, commands with a report
    /// once all their killed processes are dead.
    pub(super) fn reap(&mut self) {
        // Reading clears the pending signal; the content does not matter.
        let _ = sys::read(SIGNALS, &mut [0; 128]);
        let mut ended = 0;
        self.empty = loop {
            match reap(false) {
                Ok(Some(dead)) => {
                    if let Some(row) = self.used().find(|r| r.pid == dead.pid && !r.is_dead()) {
                        row.died(&dead);
                        ended += 1;
                    }
                }
                Ok(None) => break false,
                // ECHILD
                Err(_) => break true,
            }
        };
        let empty = self.empty;
        if ended == 0 && !empty {
            return;
        }
        let mut told = 0;
        for row in self
            .used()
            .filter(|row| row.is_dead() && (empty || row.deadline == 0))
        {
            row.report(!empty);
            told += 1;
        }
        self.live -= told;
    }
}
