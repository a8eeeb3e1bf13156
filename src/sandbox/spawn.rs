// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a command in a live sandbox: its descriptors, one message there and one back.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::errno::Errno;

use super::encode::Request;
use super::streams::{Ends, Streams, streams};
use crate::command::Command;
use crate::error::{Error, Kind, Result};
use crate::helper::{checked, receive_now, request};
use crate::instance::{Live, gone};
use crate::process::{Attempt, Pipes, Process, Running};
use crate::spec::Spec;
use crate::store::Base;
use crate::sys::socket;
use crate::wire::{self, RUN_REQUEST, Reply, Run};

/// Starts a command, and comes back when it executes.
pub(super) fn launch(
    live: &Arc<Live>,
    spec: &Spec,
    base: &Base,
    command: Command,
) -> Result<Process> {
    let (mut running, pipes) = ask(live, spec, base, command, 0)?;
    let (pidfd, master) = started(&running)?;
    // From now on no word of a start can come.
    running.attempt = None;
    let running = Arc::new(running);
    live.commands.add(&running);
    let pipes = Mutex::new(pipes);
    Ok(Process {
        running,
        pidfd,
        master,
        pipes,
        sandbox: None,
    })
}

/// Has a command started whose start is not waited for: what kept it from that is told where its end would be. It can
/// have no terminal, since that would come with the word of its start.
pub(super) fn begin(
    live: &Arc<Live>,
    spec: &Spec,
    base: &Base,
    command: Command,
) -> Result<(Arc<Running>, Pipes)> {
    let (running, pipes) = ask(live, spec, base, command, wire::UNTOLD)?;
    let running = Arc::new(running);
    live.commands.add(&running);
    Ok((running, pipes))
}

/// Sends the one message that it takes.
fn ask(
    live: &Arc<Live>,
    spec: &Spec,
    base: &Base,
    command: Command,
    flags: u32,
) -> Result<(Running, Pipes)> {
    let prepared = Request::new(live, spec, base, &command)?;
    live.awake("start command")?;
    let id = live.next_command();
    let mut run = prepared.run(id);
    run.flags |= flags;
    let argv = command.argv;
    let limit = command.output.unwrap_or(spec.limits.output.bytes());
    let extra: Vec<OwnedFd> = command.fds.into_iter().map(|(fd, _)| fd).collect();
    let end = Ends::of_user(&prepared.user);
    let streams = match command.tty {
        Some(_) => Streams::default(),
        None => streams(command.stdin, command.stdout, command.stderr, end)?,
    };
    for (stream, fd) in streams.theirs.iter().enumerate() {
        if fd.is_none() {
            run.flags |= wire::NULL_STREAM << stream;
        }
    }
    let memory = live.mark_memory();
    let leave = |error| {
        live.memory.leave(&memory, None);
        error
    };
    // A fifth more for each start. Alone in its sandbox, all that it starts is
    // known to be its own without.
    let cgroup = match command.timeout.is_some() || memory.is_beside_others() {
        true => live.command_cgroup(id).map_err(leave)?,
        false => None,
    };
    let given = streams.theirs.iter().flatten();
    let mut theirs: Vec<BorrowedFd<'_>> = given.map(|fd| fd.as_fd()).collect();
    if let Some(cgroup) = &cgroup {
        run.flags |= wire::INTO_CGROUP;
        theirs.push(cgroup.dir());
    }
    theirs.extend(extra.iter().map(|fd| fd.as_fd()));
    let status = match send(live, &run, &theirs) {
        Ok(status) => status,
        Err(error) => {
            if let Some(cgroup) = cgroup {
                live.retire(cgroup);
            }
            return Err(leave(error));
        }
    };
    let pipes = Pipes {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
    };
    // Its arguments and environment may hold secrets.
    log::debug!("sandbox {}: command {id}: {:?} started", live.name, argv[0]);
    let Request { user, cwd, .. } = prepared;
    let running = Running {
        id,
        argv,
        begun: Instant::now(),
        live: Arc::clone(live),
        status,
        limit,
        memory,
        done: Mutex::new(None),
        awaited: AtomicBool::new(false),
        cgroup: Mutex::new(cgroup),
        attempt: Some(Attempt { user, cwd }),
    };
    Ok((running, pipes))
}

/// Sends a command; where it is told of.
fn send(live: &Live, run: &Run<'_>, fds: &[BorrowedFd<'_>]) -> Result<OwnedFd> {
    let (ours, theirs) = if run.flags & wire::UNTOLD == 0 {
        socket::pair().map_err(|e| Error::os("start command", "socketpair", e))?
    } else {
        // Half the price, where nothing but bytes comes back.
        Ends::Private.pipe()?
    };
    let mut all: Vec<BorrowedFd<'_>> = vec![theirs.as_fd()];
    all.extend(fds);
    request(live.control(), RUN_REQUEST, run, &all).map_err(|error| match error.kind() {
        Kind::Broken => gone(),
        _ => error,
    })?;
    Ok(ours)
}

/// Waits for the word of a command's start: its pidfd, and its terminal if it has one.
fn started(running: &Running) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (reply, fds) = loop {
        match receive_now(running.status_fd(), true) {
            Err(Errno::EINTR) => {}
            Ok(answer) => break answer,
            Err(e) => {
                // It may run by now, and nobody would ever know of it. If the sandbox cannot be told, it is gone.
                let _ = running.end(wire::BY_CALLER);
                return Err(Error::os("start command", "recvmsg", e));
            }
        }
    };
    let explained = |error| {
        running.live.memory.leave(&running.memory, None);
        match &running.attempt {
            Some(attempt) => attempt.explain(&running.argv[0], error),
            None => error,
        }
    };
    let _started: Reply = checked(reply, &[]).map_err(explained)?.ok_or_else(gone)?;
    let mut fds = fds.into_iter();
    let none = || Error::new(Kind::Broken, "start command", "no pidfd came back");
    Ok((fds.next().ok_or_else(none)?, fds.next()))
}
