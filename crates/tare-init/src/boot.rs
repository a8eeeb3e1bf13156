// SPDX-License-Identifier: MIT OR Apache-2.0
//! Becoming process 1 of a sandbox: replays the start, then settles down to serve commands.

use crate::close::{close_but, close_from};
use crate::command::Inherited;
use crate::mapping::{self, Mapping};
use crate::message::{BUFFER, receive, reply, tell};
use crate::replay::Replay;
use crate::serve::{CONTROL, DEV, Resident, SIGNALS};
use crate::sys::{self, CLONE_NEWIPC, CLONE_NEWNET, Errno, Fd, PollFd, Result};
use crate::wire::{self, Field as _, Open, Reader, Reply};

/// What the spawner has and every init needs.
pub(crate) struct Parent {
    /// Of the spawner: its children see by it whether it lives.
    pub(crate) pidfd: Fd,
    /// A mount namespace with nothing in it, once one was asked for.
    pub(crate) bare: Option<Fd>,
    /// For commands.
    pub(crate) inherited: Inherited,
}

/// Of all namespaces, those that take long to make.
pub(crate) const SLOW: u64 = CLONE_NEWIPC | CLONE_NEWNET;

/// How long one that was made ahead waits: who opens none for so long needs none at once.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Becomes process 1 of the sandbox, `late` if it has yet to enter its cgroup; the first descriptor is the control socket.
pub(crate) fn run(open: &Open<'_>, fds: &[i32], late: bool, parent: &Parent) -> ! {
    // Where the host can be told of a failure: it is moved on the way.
    let mut control = fds.first().copied().unwrap_or(-1);
    // SAFETY: they came with the request, of which this child has a copy and
    // uses nothing else.
    let mut replay = unsafe { Replay::new(fds, parent.bare.as_ref().map_or(-1, Fd::raw)) };
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
    // Nobody has come for long. An interrupted wait is taken for that: only a debugger interrupts it.
    if asked[0].revents == 0 {
        sys::exit(0);
    }
    // End of file: nobody has a use for it.
    let Ok(Some(request)) = receive(control, buffer) else {
        sys::exit(0)
    };
    let Some(rest) =
        Open::get(&mut Reader::new(request.body())).filter(|_| request.kind == wire::OPEN_REQUEST)
    else {
        sys::exit(1)
    };
    sys::set_name(c"tare-init");
    serve(&rest, &mut replay, &mut control, parent)
}

/// Does the operations, and serves.
fn serve(open: &Open<'_>, replay: &mut Replay, control: &mut i32, parent: &Parent) -> ! {
    if let Err(failure) = start(open, replay, control) {
        give_up(*control, failure);
    }
    // What the operations needed of it is more than all that comes.
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
    reply(
        control,
        &Reply::new(wire::FAILED, place, index, errno.0),
        &[],
    );
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

/// Where it failed, which operation it was if it was one, and how.
type Failure = (u32, u32, Errno);

fn init(errno: Errno) -> Failure {
    (wire::AT_INIT, 0, errno)
}

/// What comes before anything that a sandbox of its own would want.
fn begin(
    open: &Open<'_>,
    fds: &[i32],
    replay: &mut Replay,
    late: bool,
    parent: &Parent,
) -> core::result::Result<(), Failure> {
    // The spawner has one thread, so this is its end and not a thread's.
    sys::set_death_signal(sys::SIGKILL).map_err(init)?;
    if !open.uid_map.is_empty() {
        become_root().map_err(init)?;
    }
    // It may have ended before it could be noticed.
    if sys::poll(&mut [PollFd::input(parent.pidfd.raw())], Some(0)) != Ok(0) {
        sys::exit(1);
    }
    if late {
        let cgroup = replay.slot(open.cgroup).map_err(init)?;
        let procs = sys::openat(cgroup, c"cgroup.procs", sys::O_WRONLY, 0).map_err(init)?;
        sys::write(procs.raw(), b"0").map_err(init)?;
    }
    if open.ahead == 1 {
        // It may wait for long, and what the spawner holds for other sandboxes, as their locks, would be held by it, too.
        let mut kept = [-1; wire::MAX_FDS + 2];
        let all = fds
            .iter()
            .copied()
            .chain([parent.pidfd.raw()])
            .chain(parent.bare.as_ref().map(Fd::raw));
        kept.iter_mut().zip(all).for_each(|(kept, fd)| *kept = fd);
        // SAFETY: this child has copies of the spawner's descriptors, and uses no
        // others than these.
        unsafe { close_but(&mut kept) };
        if !is_weak!("network_of_host") {
            sys::unshare(open.namespaces & SLOW).map_err(init)?;
        }
        run_all(open, replay)?;
    }
    Ok(())
}

fn run_all(open: &Open<'_>, replay: &mut Replay) -> core::result::Result<(), Failure> {
    replay
        .run(open.ops)
        .map_err(|(index, errno)| (wire::AT_OP, index, errno))
}

fn start(
    open: &Open<'_>,
    replay: &mut Replay,
    told_at: &mut i32,
) -> core::result::Result<(), Failure> {
    run_all(open, replay)?;
    let kept = [
        replay.slot(0),
        keep(replay, open.devpts),
        keep(replay, open.dev),
        keep(replay, open.proc),
        keep(replay, open.stage),
    ];
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

fn keep(replay: &Replay, slot: i32) -> Result<i32> {
    match slot {
        -1 => Err(Errno::BADF),
        slot => replay.slot(slot),
    }
}

/// Moves what stays open to its place and closes everything else.
fn settle(kept: [Result<i32>; 5], told_at: &mut i32) -> Result<()> {
    let [control, devpts, dev, proc, stage] = kept;
    let signals = sys::signalfd_child()?;
    let mut high = [-1i32; 6];
    for (high, fd) in high
        .iter_mut()
        .zip([control, devpts, dev, proc, stage, Ok(signals.raw())])
    {
        if let Ok(fd) = fd {
            *high = sys::duplicate(fd, 64)?.into_raw();
        }
    }
    // It is closed with everything that is not in place.
    signals.into_raw();
    // The first is the control socket, whose old number any of these may take.
    *told_at = high[0];
    let flags = if is_weak!("no_cloexec") {
        0
    } else {
        sys::O_CLOEXEC
    };
    for (at, fd) in (CONTROL..).zip(high) {
        match fd {
            // SAFETY: as below.
            -1 => unsafe { sys::close(at) },
            // SAFETY: nothing owns the numbers of `CONTROL` and behind, but the
            // slots of the replay, whose copies are in `high`; they are used no
            // more.
            fd => unsafe { sys::dup3(fd, at, flags) }?,
        }
    }
    *told_at = CONTROL;
    // 0 was the spawner's socket. Of our own `/dev`, whatever is mounted on it: commands get this one.
    let null = sys::openat(DEV, c"null", sys::O_RDWR | sys::O_NOFOLLOW, 0)?.into_raw();
    for fd in 0..3 {
        // SAFETY: the spawner's standard streams, which this process keeps as
        // they are from now on.
        unsafe { sys::dup2(null, fd) }?;
    }
    // SAFETY: what is to stay is in place; the rest, `high` and `null` among it,
    // is used no more.
    unsafe { close_from(SIGNALS + 1) };
    Ok(())
}
