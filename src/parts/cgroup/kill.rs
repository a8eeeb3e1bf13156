// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killing, freezing and thawing everything in a cgroup.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::Node;
use super::{Cgroup, Layout, V1, mount_v2};
use crate::error::{Error, Kind, Result, Step};

/// The longest time until all of a cgroup has stopped or died.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Stops everything inside; returns when it has stopped.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a cgroup in v2 (kernel 5.2): a process
    /// that the freezer of v1 holds does not die by SIGKILL, so it would
    /// outlive its host. [`Kind::Busy`] when a process did not stop within two
    /// seconds; all of them go on then.
    pub(crate) fn freeze(&self) -> Result<()> {
        const STEP: Step = Step::FreezeSandbox;
        if self.v2.is_none() {
            let error = Error::new(Kind::Unsupported, STEP, "it has no cgroup in v2");
            return Err(match Layout::detect()?.v2() {
                Some(_) => error.with_cure("run as root"),
                None => error.with_cure(mount_v2()),
            });
        }
        self.set_frozen(STEP, true).inspect_err(|_| {
            // If this fails too, the cgroup is gone with all that was in it.
            let _ = self.thaw();
        })
    }

    /// Lets everything inside go on.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub(crate) fn thaw(&self) -> Result<()> {
        self.set_frozen(Step::ThawSandbox, false)
    }

    fn set_frozen(&self, step: Step, frozen: bool) -> Result<()> {
        let tracker = self.tracker(step)?;
        set_frozen(tracker, frozen, PATIENCE).map_err(|errno| {
            let error = Error::os(step, tracker.path().display(), errno);
            match errno {
                Errno::ENOENT => error.with_kind(Kind::Unsupported).with_cure(mount_v2()),
                _ => error,
            }
        })
    }

    /// Returns the cgroup that knows best the processes inside: v2, else the
    /// freezer, else any.
    fn tracker(&self, step: Step) -> Result<&Node> {
        let any = || self.v1.first().map(|V1 { node, .. }| node);
        let found = self
            .v2
            .as_ref()
            .or_else(|| self.v1_node("freezer"))
            .or_else(any);
        found.ok_or_else(|| {
            Error::new(Kind::Unsupported, step, "this sandbox has no cgroup").with_cure(mount_v2())
        })
    }
}

/// Kills all that is in `node` and below.
pub(super) fn kill_all(node: &Node) -> nix::Result<()> {
    match node.write("cgroup.kill", "1") {
        Err(Errno::ENOENT) => kill_listed(node),
        result => result,
    }
}

/// KERNEL(<5.14), and v1: signals all listed processes until none is. Frozen
/// processes neither fork nor exit, so no process escapes and no number is
/// reused; without a freezer, a number may be reused between list and signal in
/// theory, as it may for every kill(2).
pub(super) fn kill_listed(node: &Node) -> nix::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Before the last look: on a busy machine a round may take as long as
        // all of them should.
        let last = Instant::now() >= deadline;
        // Not having frozen is harmless: the next round finds who was born
        // meanwhile.
        let _ = set_frozen(node, true, PATIENCE / 8);
        let listed = node.processes()?;
        for pid in &listed {
            match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
        // A frozen process of v1 dies only once it is thawed.
        let _ = set_frozen(node, false, PATIENCE / 8);
        match listed.is_empty() {
            true => return Ok(()),
            false if last => return Err(Errno::EBUSY),
            false => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// `ENOENT` where `node` can neither freeze as v2 (kernel 5.2) nor as v1 does.
fn set_frozen(node: &Node, frozen: bool, patience: Duration) -> nix::Result<()> {
    let (word, state) = if frozen {
        ("1", "FROZEN")
    } else {
        ("0", "THAWED")
    };
    let v2 = match node.write("cgroup.freeze", word) {
        Ok(()) => true,
        Err(Errno::ENOENT) => node.write("freezer.state", state).map(|()| false)?,
        Err(errno) => return Err(errno),
    };
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(50);
    loop {
        let done = match v2 {
            true => node.field("cgroup.events", "frozen") == Some(u64::from(frozen)),
            false => node.read("freezer.state")?.trim() == state,
        };
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Errno::EBUSY);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
