// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: a struct of the caller's that describes a program to run.

use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use tare_core::spec::Rlimit;
use tare_core::{Command, Result, Size, Stdin, Stdout};

use crate::handle::wrong;
use crate::input::{self, Input};

/// The library's default: no input, output to pipes.
pub const TARE_STDIO_DEFAULT: u32 = 0;
/// `/dev/null`.
pub const TARE_STDIO_NULL: u32 = 1;
/// A pipe: tare_sandbox_run() reads the pipe, a process hands out the other
/// end.
pub const TARE_STDIO_PIPE: u32 = 2;
/// The caller's own descriptor 0, 1 or 2.
pub const TARE_STDIO_INHERIT: u32 = 3;
/// The descriptor in `stdin_fd`, `stdout_fd` or `stderr_fd`.
pub const TARE_STDIO_FD: u32 = 4;
/// Input only: `stdin_data`, then end of file. The command sees a regular file.
pub const TARE_STDIO_BYTES: u32 = 5;

/// Standard error only: the same as standard output.
pub const TARE_STDIO_STDOUT: u32 = 6;

/// The image's own command: the entry point, with `argv` in place of the
/// default arguments; without `argv`, these.
pub const TARE_COMMAND_OF_IMAGE: u64 = 1;
/// `umask` of the command counts.
pub const TARE_COMMAND_UMASK: u64 = 2;

/// An additional descriptor for a command.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_fd {
    /// The caller's; stays the caller's.
    pub fd: i32,
    /// The number of the descriptor in the command, 3 to 1023.
    pub number: u32,
}

/// A resource limit of a command, getrlimit(2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_rlimit {
    /// As in `limits.rlimits` of the spec, but not `locks`: `nofile`.
    pub name: *const c_char,
    /// The limit in force, which the command may raise up to `hard`. UINT64_MAX
    /// is unlimited.
    pub soft: u64,
    /// The ceiling, which only CAP_SYS_RESOURCE raises above the caller's own.
    pub hard: u64,
}

/// A program to run. All zeros but the size and `argv` is the default. The
/// library keeps no pointer: all memory stays the caller's, and may go when the
/// call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_command {
    /// sizeof(tare_command), set by the caller.
    pub size: u64,
    /// TARE_COMMAND_OF_IMAGE and TARE_COMMAND_UMASK, or 0.
    pub flags: u64,
    /// Program and arguments, then NULL. The program is searched in the
    /// sandbox's `PATH` unless it holds a slash. No shell is involved.
    pub argv: *const *const c_char,
    /// `NAME=VALUE` each, over the sandbox's environment, then NULL. Default:
    /// none.
    pub env: *const *const c_char,
    /// The working directory inside, which must exist. Default: the sandbox's.
    pub cwd: *const c_char,
    /// `USER[:GROUP]` by name or number, looked up inside. Default: the
    /// sandbox's.
    pub user: *const c_char,
    /// One of TARE_STDIO_*.
    pub stdin_mode: u32,
    /// Used by TARE_STDIO_FD.
    pub stdin_fd: i32,
    /// Used by TARE_STDIO_BYTES.
    pub stdin_data: *const c_void,
    /// Bytes at `stdin_data`.
    pub stdin_len: u64,
    /// One of TARE_STDIO_*.
    pub stdout_mode: u32,
    /// Used by TARE_STDIO_FD.
    pub stdout_fd: i32,
    /// One of TARE_STDIO_*.
    pub stderr_mode: u32,
    /// Used by TARE_STDIO_FD.
    pub stderr_fd: i32,
    /// More descriptors. Default: none.
    pub fds: *const tare_fd,
    /// Number of descriptors at `fds`, at most 240.
    pub fds_len: u64,
    /// Nanoseconds after which the command and all processes that it started
    /// are killed. Default: 0, for never.
    pub timeout_ns: u64,
    /// Bytes of output kept before the command is killed. Default: the spec's
    /// `limits.output`.
    pub output_limit: u64,
    /// Not both 0: input and output are a terminal of this size instead of the
    /// streams above.
    pub tty_rows: u32,
    /// Characters in a line of the terminal.
    pub tty_columns: u32,
    /// Resource limits, each in the place of the sandbox's. Default: none.
    pub rlimits: *const tare_rlimit,
    /// Number of limits at `rlimits`.
    pub rlimits_len: u64,
    /// Capabilities added after `cap_drop`, or `ALL`, then NULL. The sandbox
    /// must have each. Only user 0 has capabilities. Default: none.
    pub cap_add: *const *const c_char,
    /// Capabilities taken from the sandbox's, or `ALL`, then NULL. Default:
    /// none.
    pub cap_drop: *const *const c_char,
    /// The file mode creation mask, 0 to 0777, used with TARE_COMMAND_UMASK.
    /// Default: 022.
    pub umask: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, begins with the size, pointers and numbers only.
unsafe impl Input for tare_command {
    const NAME: &'static str = "tare_command";
}

impl tare_command {
    /// Returns the command; `of_image` makes a command from the caller's
    /// arguments.
    ///
    /// # Safety
    /// Pointers are as the header says, or NULL, until the call returns.
    pub(crate) unsafe fn read(
        &self,
        of_image: impl FnOnce(&[&OsStr]) -> Result<Command>,
    ) -> Result<Command> {
        // SAFETY: this function's own.
        let (argv, env, cwd, user, fds) = unsafe {
            (
                input::list(self.argv, "argv")?,
                input::list(self.env, "env")?,
                input::optional_path(self.cwd, "cwd")?,
                input::optional_text(self.user, "user")?,
                input::values(self.fds, self.fds_len, "fds")?,
            )
        };
        let mut command = match self.flags & !TARE_COMMAND_UMASK {
            0 => Command::from_argv(argv),
            TARE_COMMAND_OF_IMAGE => of_image(&argv)?,
            _ => return Err(wrong("flags", "has a bit that is no TARE_COMMAND_*")),
        };
        for (place, word) in env.iter().enumerate() {
            let bytes = word.as_bytes();
            let Some(at) = bytes.iter().position(|b| *b == b'=') else {
                return Err(wrong(
                    "env",
                    // The error leaves the word out, because it may be a
                    // secret.
                    &format!("has entry {place}, which is not NAME=VALUE"),
                ));
            };
            let part = OsStr::from_bytes;
            command = command.env(part(&bytes[..at]), part(&bytes[at + 1..]));
        }
        if let Some(cwd) = cwd {
            command = command.cwd(cwd);
        }
        if let Some(user) = user {
            command = command.user(user);
        }
        for one in fds {
            command = command.fd(input::descriptor(one.fd, "fds")?, one.number);
        }
        // SAFETY: this function's own.
        let command = unsafe { self.rights(self.streams(command)?)? };
        self.limits(command)
    }

    /// # Safety
    /// As [`tare_command::read`].
    unsafe fn rights(&self, mut command: Command) -> Result<Command> {
        // SAFETY: this function's own.
        let rlimits = unsafe { input::values(self.rlimits, self.rlimits_len, "rlimits")? };
        for limit in rlimits {
            // SAFETY: this function's own.
            let name = unsafe { input::text(limit.name, "rlimits")? };
            let (soft, hard) = (limit.soft, limit.hard);
            command = command.rlimit(name, Rlimit { soft, hard });
        }
        // SAFETY: this function's own.
        for name in unsafe { input::texts(self.cap_add, "cap_add")? } {
            command = command.cap_add(name);
        }
        // SAFETY: this function's own.
        for name in unsafe { input::texts(self.cap_drop, "cap_drop")? } {
            command = command.cap_drop(name);
        }
        if self.flags & TARE_COMMAND_UMASK != 0 {
            command = command.umask(self.umask);
        }
        match self.reserved {
            0 => Ok(command),
            _ => Err(wrong("reserved", "is not 0")),
        }
    }

    /// # Safety
    /// As [`tare_command::read`].
    unsafe fn streams(&self, command: Command) -> Result<Command> {
        let command = match self.stdin_mode {
            TARE_STDIO_DEFAULT => command,
            TARE_STDIO_NULL => command.stdin(Stdin::Null),
            TARE_STDIO_PIPE => command.stdin(Stdin::Piped),
            TARE_STDIO_INHERIT => command.stdin(Stdin::Inherit),
            TARE_STDIO_FD => {
                command.stdin(Stdin::Fd(input::descriptor(self.stdin_fd, "stdin_fd")?))
            }
            TARE_STDIO_BYTES => {
                let data = self.stdin_data.cast::<u8>();
                // SAFETY: this function's own.
                let bytes = unsafe { input::values(data, self.stdin_len, "stdin_data")? };
                command.stdin(Stdin::Bytes(bytes.to_vec()))
            }
            _ => return Err(wrong("stdin_mode", "is none of TARE_STDIO_*")),
        };
        let output = |mode, fd, mode_name, fd_name| {
            Ok(Some(match mode {
                TARE_STDIO_DEFAULT => return Ok(None),
                TARE_STDIO_NULL => Stdout::Null,
                TARE_STDIO_PIPE => Stdout::Piped,
                TARE_STDIO_INHERIT => Stdout::Inherit,
                TARE_STDIO_FD => Stdout::Fd(input::descriptor(fd, fd_name)?),
                TARE_STDIO_STDOUT if mode_name == "stderr_mode" => Stdout::Merged,
                _ => return Err(wrong(mode_name, "is no TARE_STDIO_* for output")),
            }))
        };
        let stdout = output(self.stdout_mode, self.stdout_fd, "stdout_mode", "stdout_fd")?;
        let stderr = output(self.stderr_mode, self.stderr_fd, "stderr_mode", "stderr_fd")?;
        let command = match stdout {
            Some(stdout) => command.stdout(stdout),
            None => command,
        };
        Ok(match stderr {
            Some(stderr) => command.stderr(stderr),
            None => command,
        })
    }

    fn limits(&self, mut command: Command) -> Result<Command> {
        if self.timeout_ns != 0 {
            command = command.timeout(Duration::from_nanos(self.timeout_ns));
        }
        if self.output_limit != 0 {
            command = command.output_limit(self.output_limit);
        }
        if (self.tty_rows, self.tty_columns) != (0, 0) {
            command = command.tty(size(self.tty_rows, self.tty_columns)?);
        }
        Ok(command)
    }
}

/// A terminal's size.
pub(crate) fn size(rows: u32, columns: u32) -> Result<Size> {
    let short = |n: u32, name| u16::try_from(n).map_err(|_| wrong(name, "is above 65535"));
    Ok(Size {
        rows: short(rows, "rows")?,
        columns: short(columns, "columns")?,
    })
}
