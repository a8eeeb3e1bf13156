// SPDX-License-Identifier: MIT OR Apache-2.0
//! How commands end: reaping, killing, and telling the host when all is dead.

use super::{PROC, Resident, SIGNALS};
use crate::clone::{Dead, reap};
use crate::kill::{Tree, kill_cgroup};
use crate::mapping::Zeroable;
use crate::message::note;
use crate::owner::Owner;
use crate::sys::{self, MaybeFd};
use crate::wire::{self, Kill, Reply};

/// How long the end of a killed command waits for the last of what it started:
/// a process in disk sleep dies when the kernel lets it.
const PATIENCE_NS: u64 = 10_000_000_000;

/// How long a look at what is left is put off: at first, and at most.
const FIRST_PAUSE_NS: u64 = 100_000;
const LAST_PAUSE_NS: u64 = 20_000_000;

/// One running command.
#[derive(Default)]
pub(super) struct Row {
    /// 0: the row is free.
    pub(super) pid: i32,
    /// Where the host hears of its end.
    pub(super) status: MaybeFd,
    pub(super) id: u64,
    pub(super) started: u64,
    /// Nanoseconds of the clock, 0 for never: when its time is up; once it is
    /// dead, when to look for what it left.
    pub(super) deadline: u64,
    pub(super) reason: u32,
    /// The directory of a cgroup v2 of its own.
    pub(super) cgroup: MaybeFd,
    /// What the host will be told; its kind is 0 until the first process is
    /// dead.
    pub(super) end: Reply,
    /// When its end is told, even if something is left.
    pub(super) give_up: u64,
    pub(super) pause: u64,
}

// SAFETY: integers, and descriptors of which zero is none.
unsafe impl Zeroable for Row {}

impl Row {
    /// Kills the command with everything that it started.
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

    /// Notes that the first process is dead, and when to look for others.
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
        end.user_us = dead.usage.user_us();
        end.system_us = dead.usage.system_us();
        end.max_rss_kib = dead.usage.max_rss_kib();
        end.blocks_in = dead.usage.blocks_in();
        end.blocks_out = dead.usage.blocks_out();
        self.end = end;
        self.deadline = if self.reason == wire::BY_ITSELF {
            0
        } else {
            now
        };
        (self.give_up, self.pause) = (now + PATIENCE_NS, FIRST_PAUSE_NS);
    }

    /// Whether nothing is left of it, or the wait for that is over; what is
    /// left is killed.
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
        // Before the host knows, which removes the directory.
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
        // Its process is reaped, so the number may be another's; what is left
        // is being killed.
        if row.is_dead() {
            return;
        }
        if kill.reason != wire::BY_ITSELF {
            row.reason = kill.reason;
        }
        // It is our child and not yet reaped, so the pid is its own, and its
        // group's.
        match kill.tree {
            wire::TO_TREE => row.kill(&owner),
            wire::TO_GROUP => drop(sys::kill(-row.pid, kill.signal)),
            _ => drop(sys::kill(row.pid, kill.signal)),
        }
    }

    /// Kills what a command left that ended before the host saw that it wrote
    /// too much; for a second at most, because others wait.
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

    /// Does what is due: kills commands whose time is up, and looks for what is
    /// left of those that were killed.
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

    /// Reaps every dead child: orphans just go, and commands report once all
    /// that was killed with them is dead.
    pub(super) fn reap(&mut self) {
        // The counter of signals is of no interest, only that it is taken back.
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
