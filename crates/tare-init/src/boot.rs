// SPDX-License-Identifier: MIT OR Apache-2.0
//! Process 1 of a sandbox from fork(2) to the first request.
//!
//! The spawner forks into new namespaces and calls [`run`], which never
//! returns. The order of a start:
//!
//! 1. [`begin`] ties the process to the spawner: a death signal, and the ids of
//!    user 0 if the sandbox has an id map. The spawner may end between fork(2)
//!    and the death signal, so the pidfd is checked afterwards.
//! 2. A prestarted init closes all descriptors but those of its request, the
//!    spawner's pidfd and the empty mount namespace. The init makes the slow
//!    namespaces itself. Then it replays the operations that need no image, and
//!    waits for the rest. Without a request within [`PATIENCE_NS`], or at end
//!    of file, the init ends.
//! 3. [`start`] replays the operations in order. They mount the file systems,
//!    fill `/dev`, hide paths, change the root, and drop the bounding set. The
//!    host made the list; [`crate::replay`] only executes.
//! 4. [`settle`] moves the descriptors that a serving init needs to fixed
//!    numbers, and closes all others. No descriptor of the host survives this
//!    step.
//! 5. The capabilities shrink to those that serving needs. The order matters:
//!    mounts, a new root and closed descriptors need more.
//! 6. The stack is given back, and the tables for commands are made, in memory
//!    that no operation has touched.
//! 7. The host is told that the sandbox is ready, and [`crate::serve`] takes
//!    over.
//!
//! A failure is sent to the host with its place and errno. Then the process
//! ends, and with it all its namespaces. So no step undoes another.

use crate::close::{close_but, close_from};
use crate::command::Inherited;
use crate::dir;
use crate::mapping::{self, Mapping};
use crate::message::{BUFFER, receive, reply, tell};
use crate::replay::Replay;
use crate::serve::{CONTROL, DEV, Resident, SIGNALS};
use crate::sys::{self, CLONE_NEWIPC, CLONE_NEWNET, Errno, Fd, PollFd, Result};
use crate::wire::{self, Open, Reply};

/// State of the spawner that every init needs.
pub(crate) struct Parent {
    /// Pidfd of the spawner: children see by it whether the spawner lives.
    pub(crate) pidfd: Fd,
    /// An empty mount namespace, after the first request for it.
    pub(crate) empty_ns: Option<Fd>,
    /// State that commands inherit.
    pub(crate) inherited: Inherited,
}

/// Namespaces that take long to make.
pub(crate) const SLOW: u64 = CLONE_NEWIPC | CLONE_NEWNET;

/// Time that a prestarted init waits for a request: a host that opens no
/// sandbox for so long can wait for a new init.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Becomes process 1 of the sandbox; `late` if the init has yet to enter the
/// cgroup. The first descriptor is the control socket.
pub(crate) fn run(open: &Open<'_>, fds: &[i32], late: bool, parent: &Parent) -> ! {
    // Updated when the socket moves, because a failure is sent there.
    let mut control = fds.first().copied().unwrap_or(-1);
    // SAFETY: the descriptors came with the request. This child has copies and
    // uses no other descriptors.
    let mut replay = unsafe { Replay::new(fds, parent.empty_ns.as_ref().map_or(-1, Fd::raw)) };
    sys::set_name(if open.ahead == 1 {
        c"tare-ahead"
    } else {
        c"tare-init"
    });
    if let Err(failure) = begin(open, fds, &mut replay, late, parent) {
        give_up(control, failure);
    }
    if open.ahead == 0 {
        serve(open, &mut replay, &mut control, parent);
    }
    let Ok(mut memory) = Mapping::lasting(BUFFER) else {
        sys::exit(1)
    };
    let Ok(buffer) = <&mut [u8; BUFFER]>::try_from(memory.bytes_mut()) else {
        sys::exit(70)
    };
    let mut asked = [PollFd::input(control)];
    sys::await_input(&mut asked, Some(PATIENCE_NS));
    // No request came. An interrupted wait counts as such: only a debugger
    // interrupts this process.
    if asked[0].revents == 0 {
        sys::exit(0);
    }
    // At end of file the host needs no prestarted init.
    let Ok(Some(request)) = receive(control, buffer) else {
        sys::exit(0)
    };
    let Ok(rest) = request.read() else {
        sys::exit(1)
    };
    if request.kind != wire::OPEN_REQUEST {
        sys::exit(1)
    }
    sys::set_name(c"tare-init");
    serve(&rest, &mut replay, &mut control, parent)
}

/// Replays the operations, and serves.
fn serve(open: &Open<'_>, replay: &mut Replay, control: &mut i32, parent: &Parent) -> ! {
    if let Err(failure) = start(open, replay, control) {
        give_up(*control, failure);
    }
    // Operations use more stack than serving ever does.
    mapping::release_stack();
    let memory = Mapping::lasting(BUFFER);
    match memory.and_then(|memory| Ok((Resident::new(open, parent.inherited)?, memory))) {
        Ok((mut resident, mut memory)) => {
            resident.hand_over(&mut memory, announce);
            resident.serve(&mut memory)
        }
        Err(errno) => give_up(CONTROL, init(errno)),
    }
}

fn give_up(control: i32, (place, index, errno): Failure) -> ! {
    let failed = Reply::new(wire::FAILED, place, index, errno.0);
    reply(control, &failed, &[]);
    sys::exit(1)
}

/// Tells the host that the sandbox is ready.
fn announce() {
    let told = sys::getpid().and_then(|pid| {
        let pidfd = sys::pidfd_open(pid)?;
        let mut ready = Reply::new(wire::READY, 0, 0, 0);
        ready.signal = pid as u32;
        tell(CONTROL, &ready, &[pidfd.raw()])
    });
    if let Err(errno) = told {
        give_up(CONTROL, init(errno));
    }
}

/// Place of a failure, index of the operation, error.
type Failure = (u32, u32, Errno);

type Outcome = core::result::Result<(), Failure>;

fn init(errno: Errno) -> Failure {
    (wire::AT_INIT, 0, errno)
}

/// Does the part of a start that is the same for all sandboxes.
fn begin(
    open: &Open<'_>,
    fds: &[i32],
    replay: &mut Replay,
    late: bool,
    parent: &Parent,
) -> Outcome {
    // The signal comes when the parent thread ends; the spawner has one thread.
    sys::set_death_signal(sys::SIGKILL).map_err(init)?;
    if !open.uid_map.is_empty() {
        become_root().map_err(init)?;
    }
    // The spawner may have ended before the signal was set.
    if sys::poll(&mut [PollFd::input(parent.pidfd.raw())], Some(0)) != Ok(0) {
        sys::exit(1);
    }
    if late {
        let cgroup = replay.slot(open.cgroup).map_err(init)?;
        dir::write_file(cgroup, c"cgroup.procs", b"0").map_err(init)?;
    }
    if open.ahead == 1 {
        // A prestarted init may wait for long. Copies of other sandboxes'
        // descriptors, for example their locks, would stay open.
        let mut kept = [-1; wire::MAX_FDS + 2];
        kept[..fds.len()].copy_from_slice(fds);
        kept[fds.len()] = parent.pidfd.raw();
        kept[fds.len() + 1] = parent.empty_ns.as_ref().map_or(-1, Fd::raw);
        // SAFETY: this child has copies of the spawner's descriptors, and uses
        // only the kept ones.
        unsafe { close_but(&mut kept) };
        if !is_weak!("network_of_host") {
            sys::unshare(open.namespaces & SLOW).map_err(init)?;
        }
        run_all(open, replay)?;
    }
    Ok(())
}

fn run_all(open: &Open<'_>, replay: &mut Replay) -> Outcome {
    let done = replay.run(open.ops);
    done.map_err(|(index, errno)| (wire::AT_OP, index, errno))
}

fn start(open: &Open<'_>, replay: &mut Replay, told_at: &mut i32) -> Outcome {
    run_all(open, replay)?;
    let kept = [0, open.devpts, open.dev, open.proc, open.stage].map(|slot| match slot {
        -1 => Err(Errno::BADF),
        slot => replay.slot(slot),
    });
    let settled = settle(kept, told_at).and_then(|()| sys::keep_caps(open.init_caps));
    settled.map_err(init)
}

fn become_root() -> Result<()> {
    sys::setresgid(0)?;
    sys::setresuid(0)?;
    // A change of ids takes the death signal back.
    sys::set_dumpable(false)?;
    sys::set_death_signal(sys::SIGKILL)
}

/// Moves the descriptors of a serving init to their numbers, and closes all
/// others.
fn settle(kept: [Result<i32>; 5], told_at: &mut i32) -> Result<()> {
    let [control, devpts, dev, proc, stage] = kept;
    let signals = sys::signalfd_child()?;
    let mut high = [-1i32; 6];
    let kept = [control, devpts, dev, proc, stage, Ok(signals.raw())];
    for (high, fd) in high.iter_mut().zip(kept) {
        if let Ok(fd) = fd {
            *high = sys::duplicate(fd, 64)?.into_raw();
        }
    }
    // `close_from` below closes the original.
    signals.into_raw();
    // The control socket, whose old number `dup3` below may reuse.
    *told_at = high[0];
    let flags = if is_weak!("no_cloexec") {
        0
    } else {
        sys::O_CLOEXEC
    };
    for (at, fd) in (CONTROL..).zip(high) {
        match fd {
            // SAFETY: as for `dup3`.
            -1 => unsafe { sys::close(at) },
            // SAFETY: only slots of the replay own numbers from `CONTROL` on.
            // Copies of the needed ones are in `high`, and the replay is over.
            fd => unsafe { sys::dup3(fd, at, flags) }?,
        }
    }
    *told_at = CONTROL;
    // Number 0 was the spawner's socket. `null` comes from the sandbox's own
    // `/dev`, below any mounts there, because commands get this descriptor.
    let null = sys::openat(DEV, c"null", sys::O_RDWR | sys::O_NOFOLLOW, 0)?.into_raw();
    for fd in 0..3 {
        // SAFETY: the three are copies of the spawner's standard streams, which
        // this process does not use.
        unsafe { sys::dup2(null, fd) }?;
    }
    // SAFETY: all needed descriptors are in place. The rest, `high` and `null`
    // included, is not used again.
    unsafe { close_from(SIGNALS + 1) };
    Ok(())
}
