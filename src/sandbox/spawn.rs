// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts a command in a live sandbox: its descriptors, a message to the init
//! and a message back.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::errno::Errno;

use super::encode::EncodedRun;
use super::streams::{Ends, Streams, streams};
use crate::command::Command;
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{checked, receive_now, send_request};
use crate::instance::{Instance, Rootfs, Running, StartContext, StatusFd, gone};
use crate::process::{Pipes, Process};
use crate::spec::Spec;
use crate::sys::socket;
use crate::wire::{self, RUN_REQUEST, Reply, Run};

/// Starts a command, and returns when its program executes.
pub(super) fn spawn(
    instance: &Arc<Instance>,
    spec: &Spec,
    rootfs: &Rootfs,
    command: Command,
) -> Result<Process> {
    let (running, pipes) = send_run(instance, spec, rootfs, command, 0)?;
    let (pidfd, master) = started(&running)?;
    let running = Arc::new(running);
    instance.commands.add(&running);
    Ok(Process::new(running, pidfd, master, pipes))
}

/// Has a command started without waiting for the start. A failed start is
/// reported in place of the status. The command has no terminal, because the
/// terminal would come with the word of the start.
pub(super) fn spawn_captured(
    instance: &Arc<Instance>,
    spec: &Spec,
    rootfs: &Rootfs,
    command: Command,
) -> Result<(Arc<Running>, Pipes)> {
    let (running, pipes) = send_run(instance, spec, rootfs, command, wire::UNTOLD)?;
    let running = Arc::new(running);
    instance.commands.add(&running);
    Ok((running, pipes))
}

/// Sends the message that starts a command.
fn send_run(
    instance: &Arc<Instance>,
    spec: &Spec,
    rootfs: &Rootfs,
    command: Command,
    flags: u32,
) -> Result<(Running, Pipes)> {
    let prepared = EncodedRun::new(instance, spec, rootfs, &command)?;
    instance.awake(Step::StartCommand)?;
    let id = instance.next_command();
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
    let memory = instance.mark_memory();
    let leave = |error| {
        instance.memory.leave(&memory, None);
        error
    };
    // Only where needed: a cgroup makes a start a fifth slower. Without others
    // in the sandbox, all processes are known to be this command's.
    let cgroup = match command.timeout.is_some() || memory.beside {
        true => instance.command_cgroup(id).map_err(leave)?,
        false => None,
    };
    let given = streams.theirs.iter().flatten();
    let mut theirs: Vec<BorrowedFd<'_>> = given.map(|fd| fd.as_fd()).collect();
    if let Some(cgroup) = &cgroup {
        run.flags |= wire::INTO_CGROUP;
        theirs.push(cgroup.dir());
    }
    theirs.extend(extra.iter().map(|fd| fd.as_fd()));
    let status = match send_with_status(instance, &run, &theirs) {
        Ok(status) => status,
        Err(error) => {
            if let Some(cgroup) = cgroup {
                instance.retire(cgroup);
            }
            return Err(leave(error));
        }
    };
    // Arguments and environment may hold secrets.
    log::debug!(
        "sandbox {}: command {id}: {:?} started",
        instance.name(),
        argv[0]
    );
    let EncodedRun { user, cwd, .. } = prepared;
    let running = Running {
        id,
        argv,
        begun: Instant::now(),
        instance: Arc::clone(instance),
        status,
        limit,
        memory,
        done: Mutex::new(None),
        awaited: AtomicBool::new(false),
        cgroup: Mutex::new(cgroup),
        context: StartContext { user, cwd },
    };
    Ok((running, streams.ours))
}

/// Sends a command with the other end of its status descriptor.
fn send_with_status(
    instance: &Instance,
    run: &Run<'_>,
    fds: &[BorrowedFd<'_>],
) -> Result<StatusFd> {
    let (ours, theirs) = if run.flags & wire::UNTOLD == 0 {
        let pair = socket::pair().map_err(|e| Error::os(Step::StartCommand, "socketpair", e))?;
        (StatusFd::Socket(pair.0), pair.1)
    } else {
        // A pipe carries no descriptors, and takes half the time of a socket.
        let (read, write) = Ends::Private.pipe()?;
        (StatusFd::Pipe(read), write)
    };
    let all = [&[theirs.as_fd()], fds].concat();
    send_request(instance.control(), RUN_REQUEST, run, &all).map_err(|error| {
        match error.kind() {
            Kind::Broken => gone(),
            _ => error,
        }
    })?;
    Ok(ours)
}

/// Waits for the word of a command's start: a pidfd, and a terminal if the
/// command has one.
fn started(running: &Running) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (reply, fds) = loop {
        match receive_now(running.status_fd(), true) {
            Err(Errno::EINTR) => {}
            Ok(answer) => break answer,
            Err(e) => {
                // The command may run by now, without a handle. An error of the
                // kill means that the sandbox is gone.
                let _ = running.end(wire::BY_CALLER);
                return Err(Error::os(Step::StartCommand, "recvmsg", e));
            }
        }
    };
    let explained = |error| {
        running.instance.memory.leave(&running.memory, None);
        running.context.explain(&running.argv[0], error)
    };
    let _started: Reply = checked(reply, &[]).map_err(explained)?.ok_or_else(gone)?;
    let mut fds = fds.into_iter();
    let none = || Error::new(Kind::Broken, Step::StartCommand, "no pidfd came back");
    Ok((fds.next().ok_or_else(none)?, fds.next()))
}
