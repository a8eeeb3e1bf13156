// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running commands.

use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tare_core::{Process, Result};

use crate::call::call;
use crate::command::size;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::input::{self, Input};
use crate::out::{Out, OutStruct, set_handle, set_struct};
use crate::output::{OutputObject, tare_output};
use crate::status::tare_status;
use crate::value::value;

/// A running command. Freed with tare_process_free(), which neither waits nor
/// kills.
pub struct tare_process {
    _opaque: [u8; 0],
}

impl Noun for Process {
    type Handle = tare_process;
    const KIND: u8 = b'P';
}

/// The descriptors of a command that was started; -1 for each that there is
/// not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_process_fds {
    /// sizeof(tare_process_fds), set by the caller.
    pub size: u64,
    /// The process's: readable at its end, for poll(2) and epoll(7), not to be
    /// read from.
    pub status_fd: i32,
    /// The process's: pidfd_open(2).
    pub pidfd: i32,
    /// The process's: master of the terminal.
    pub terminal_fd: i32,
    /// The caller's: the writing end of standard input; close it for end of
    /// file.
    pub stdin_fd: i32,
    /// The caller's: the reading end of standard output.
    pub stdout_fd: i32,
    /// The caller's: the reading end of standard error.
    pub stderr_fd: i32,
}

// SAFETY: `repr(C)`, begins with the size, numbers without padding.
unsafe impl Input for tare_process_fds {
    const NAME: &'static str = "tare_process_fds";
}

/// Hands a process over to the caller, with its descriptors if requested.
pub(crate) fn give(
    process: Process,
    out: Out<*mut tare_process>,
    fds: Option<OutStruct<tare_process_fds>>,
) -> Result<()> {
    let owned = |fd: Option<OwnedFd>| fd.map_or(-1, OwnedFd::into_raw_fd);
    let mut all = tare_process_fds {
        size: 0,
        status_fd: process.status_fd().as_raw_fd(),
        pidfd: process.pidfd().as_raw_fd(),
        terminal_fd: process.terminal().map_or(-1, |fd| fd.as_raw_fd()),
        stdin_fd: -1,
        stdout_fd: -1,
        stderr_fd: -1,
    };
    let process = Arc::new(process);
    let handle = handle::give_shared(Arc::clone(&process)).inspect_err(|_| {
        // No handle remains that could end the command. If the kill fails, the
        // sandbox is gone, and the command with it.
        let _ = process.kill();
    })?;
    if let Some(fds) = fds {
        all.stdin_fd = owned(process.take_stdin());
        all.stdout_fd = owned(process.take_stdout());
        all.stderr_fd = owned(process.take_stderr());
        fds.set(&all);
    }
    out.set(handle);
    Ok(())
}

fn get(process: *const tare_process) -> Result<Arc<Process>> {
    handle::get(process, "process")
}

/// A descriptor, or -1.
fn descriptor(process: *const tare_process, fd: impl FnOnce(&Process) -> Option<i32>) -> i32 {
    value(-1, || fd(&*get(process).ok()?))
}

/// The command's number in its sandbox, for tare_sandbox_process(). No other
/// command of that sandbox gets the same number, not even after
/// tare_sandbox_reset().
///
/// Returns: 1 or more; 0 for NULL or a handle that is no process.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_id(process: *const tare_process) -> u64 {
    value(0, || Some(get(process).ok()?.id()))
}

/// Takes the writing end of the command's input; close the descriptor for end
/// of file.
///
/// Returns: a descriptor; -1 if the input is no pipe or was taken already, for
/// NULL or a handle that is no process.
/// Ownership: the descriptor is the caller's, for close(2).
/// Threads: any; of two calls, one gets the descriptor.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_take_stdin(process: *mut tare_process) -> i32 {
    descriptor(process, |p| p.take_stdin().map(OwnedFd::into_raw_fd))
}

/// Takes the end of the command's output to read from. Blocking.
///
/// Returns: a descriptor; -1 if the output is no pipe or was taken already, for
/// NULL or a handle that is no process.
/// Ownership: the descriptor is the caller's, for close(2).
/// Threads: any; of two calls, one gets the descriptor.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_take_stdout(process: *mut tare_process) -> i32 {
    descriptor(process, |p| p.take_stdout().map(OwnedFd::into_raw_fd))
}

/// Takes the end of the command's standard error to read from. Blocking.
///
/// Returns: a descriptor; -1 if standard error is no pipe or was taken already,
/// for NULL or a handle that is no process.
/// Ownership: the descriptor is the caller's, for close(2).
/// Threads: any; of two calls, one gets the descriptor.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_take_stderr(process: *mut tare_process) -> i32 {
    descriptor(process, |p| p.take_stderr().map(OwnedFd::into_raw_fd))
}

/// A descriptor that is readable when the command has ended: for poll(2),
/// epoll(7) and the like, not to be read from.
///
/// Returns: a descriptor; -1 for NULL or a handle that is no process.
/// Ownership: the descriptor lives as long as the process's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_status_fd(process: *const tare_process) -> i32 {
    descriptor(process, |p| Some(p.status_fd().as_raw_fd()))
}

/// A pidfd of the command, pidfd_open(2).
///
/// Returns: a descriptor; -1 for NULL or a handle that is no process.
/// Ownership: the descriptor lives as long as the process's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_pidfd(process: *const tare_process) -> i32 {
    descriptor(process, |p| Some(p.pidfd().as_raw_fd()))
}

/// The master of the command's terminal, pty(7).
///
/// Returns: a descriptor; -1 without a terminal, for NULL or a handle that is
/// no process.
/// Ownership: the descriptor lives as long as the process's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_terminal_fd(process: *const tare_process) -> i32 {
    descriptor(process, |p| p.terminal().map(|fd| fd.as_raw_fd()))
}

/// Waits until the command has ended. Every call gives the same answer.
///
/// Returns: NULL, or an error. A command that failed is no error: see the
/// status.
/// Threads: any, at once; all are told.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_process_wait(
    process: *const tare_process,
    out: *mut tare_status,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_struct(out, || Ok(Some(get(process)?.wait()?).into())) }
}

/// Waits until the command has ended, at most so many nanoseconds; 0 does not
/// wait at all. For a command that still runs, the status has the reason
/// TARE_REASON_RUNNING.
///
/// Returns: NULL, also for a running command, or an error.
/// Threads: any, at once; each gets the status.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_process_wait_timeout(
    process: *const tare_process,
    timeout_ns: u64,
    out: *mut tare_status,
) -> *mut tare_error {
    let most = Duration::from_nanos(timeout_ns);
    // SAFETY: the caller's word for `out`.
    unsafe { set_struct(out, || Ok(get(process)?.wait_timeout(most)?.into())) }
}

/// Waits until the command has ended, or until `stop_fd` is readable or hung
/// up, as poll(2) says; the status has the reason TARE_REASON_RUNNING then. So
/// another thread, or a signal handler, ends the wait by writing to an
/// eventfd(2) or a pipe. The command runs on.
///
/// `stop_fd`: stays the caller's, and is not read from.
///
/// Returns: NULL, also for a running command, or an error: errno EBADF for a
/// closed descriptor.
/// Threads: any, at once; each gets the status.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_process_wait_unless(
    process: *const tare_process,
    stop_fd: i32,
    out: *mut tare_status,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_struct(out, || {
            let stop = input::descriptor(stop_fd, "stop_fd")?;
            Ok(get(process)?.wait_unless(stop)?.into())
        })
    }
}

/// Waits until the command has ended and keeps the output of its pipes, or of
/// its terminal; its input is closed first. Output above the command's
/// `output_limit` ends the command with TARE_REASON_OUTPUT. A pipe that was
/// taken before is left to its taker.
///
/// Returns: NULL, or an error. A command that failed is no error: see the
/// status.
/// Ownership: `*out` is the caller's, for tare_output_free(); the process stays
/// the caller's.
/// Threads: any, but of two at once each gets a part of the output.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_process_output(
    process: *mut tare_process,
    out: *mut *mut tare_output,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_handle(out, || {
            get(process)?.wait_with_output().map(OutputObject::new)
        })
    }
}

/// Sends a signal to the command itself; nothing happens after its end.
///
/// Returns: NULL, or an error: errno EINVAL for a number that is no signal.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_signal(
    process: *const tare_process,
    signal: i32,
) -> *mut tare_error {
    call(|| get(process)?.signal(signal))
}

/// Kills the command and all processes that it started, with the reason
/// TARE_REASON_KILLED. Remains of a command that has ended stay. The end is
/// reported when all are dead, also processes that left the session and lost
/// their parents. Two kinds can outlive the call: a process in disk sleep, for
/// which the end waits ten seconds at most; and, beside other commands and
/// without cgroup v2, a process that disguised itself as another command's
/// (docs/threat-model.md).
///
/// Returns: NULL, or an error: TARE_KIND_BROKEN if the sandbox is gone, and so
/// is the command.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_kill(process: *const tare_process) -> *mut tare_error {
    call(|| get(process)?.kill())
}

/// Tells the command's terminal another size.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID without a terminal.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_resize(
    process: *const tare_process,
    rows: u32,
    columns: u32,
) -> *mut tare_error {
    call(|| get(process)?.resize(size(rows, columns)?))
}

/// Frees the handle of a command, without a wait or a kill: the sandbox's end
/// kills the command. The sandbox of a tare_spawn_in() ends with the handle.
/// NULL and freed handles are ignored.
///
/// Ownership: takes `process`, with the descriptors that were not taken.
/// Threads: any, if no thread uses the descriptors any more; calls of other
/// threads that wait continue.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_process_free(process: *mut tare_process) {
    handle::free::<Process>(process);
}
