// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command of a sandbox, as a value.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result, Step};
use crate::spec::{Rlimit, check_rlimits};
use crate::sys::dup;

/// A command to run: program, arguments, environment, place, user, files, time.
///
/// The program is looked for in the sandbox's `PATH` unless it holds a slash.
/// No shell is involved.
///
/// As with execve(2), the program ignores the signals that this process ignored
/// when the store was opened, but not SIGPIPE and SIGXFSZ, which runtimes
/// ignore for themselves. No signal is blocked.
///
/// ```
/// use std::time::Duration;
/// let command = tare::Command::new("make").arg("-j2").env("CI", "1").cwd("/w").timeout(Duration::from_secs(60));
/// ```
#[derive(Debug, Default)]
pub struct Command {
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) stdin: Stdin,
    pub(crate) stdout: Stdout,
    pub(crate) stderr: Stdout,
    pub(crate) fds: Vec<(OwnedFd, u32)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) tty: Option<Size>,
    pub(crate) output: Option<u64>,
    pub(crate) rlimits: BTreeMap<String, Rlimit>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) umask: Option<u32>,
}

/// The source of a command's input.
#[derive(Debug, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// These bytes, then end of file. The command sees a regular file.
    Bytes(Vec<u8>),
    /// A pipe, whose other end is [`crate::Process::take_stdin`].
    Piped,
    /// The caller's own.
    Inherit,
    /// A descriptor of the caller's.
    Fd(OwnedFd),
}

/// The destination of a command's output.
#[derive(Debug, Default)]
pub enum Stdout {
    /// A pipe: [`crate::Sandbox::run`] reads it, [`crate::Process`] hands out
    /// its other end.
    #[default]
    Piped,
    /// `/dev/null`.
    Null,
    /// The caller's own.
    Inherit,
    /// A descriptor of the caller's.
    Fd(OwnedFd),
    /// The destination of standard output; for standard error only.
    Merged,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl Command {
    /// A command without arguments. Default: the sandbox's environment,
    /// directory, user, limits and capabilities, no input, output captured, no
    /// time limit, no terminal.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            ..Self::default()
        }
    }

    /// Makes a command of a program with its arguments.
    pub fn from_argv<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable over the sandbox's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working directory inside, which must be there. Default: the
    /// sandbox's.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// `USER[:GROUP]` by name or number, looked up inside when the command
    /// starts. Default: the sandbox's.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the source of input. Default: [`Stdin::Null`].
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets the destination of standard output. Default: [`Stdout::Piped`].
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// Sets the destination of standard error. Default: [`Stdout::Piped`].
    #[must_use]
    pub fn stderr(mut self, stderr: Stdout) -> Self {
        self.stderr = stderr;
        self
    }

    /// Passes a descriptor, which the command finds under `number`, 3 or
    /// above.
    #[must_use]
    pub fn fd(mut self, fd: OwnedFd, number: u32) -> Self {
        self.fds.push((fd, number));
        self
    }

    /// After this time the command and all that it started are killed, see
    /// [`crate::Process::kill`]; written output is kept. A time of 0 is
    /// refused. Default: never.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Input and output are a terminal of this size, whose master is
    /// [`crate::Process::terminal`].
    #[must_use]
    pub fn tty(mut self, size: Size) -> Self {
        self.tty = Some(size);
        self
    }

    /// Bytes of output captured by [`crate::Sandbox::run`] before the command
    /// is killed. Default: `limits.output`.
    #[must_use]
    pub fn output_limit(mut self, bytes: u64) -> Self {
        self.output = Some(bytes);
        self
    }

    /// Sets a resource limit in the place of the sandbox's of that name. Names
    /// are those of `limits.rlimits` but `locks`, by which the library tells
    /// commands apart. A hard limit above the caller's own takes
    /// CAP_SYS_RESOURCE, and is EPERM in a user namespace. Default: the
    /// sandbox's.
    ///
    /// ```
    /// let limit = "64:128".parse()?;
    /// let command = tare::Command::new("make").rlimit("nofile", limit);
    /// # Ok::<(), tare::Error>(())
    /// ```
    #[must_use]
    pub fn rlimit(mut self, name: impl Into<String>, limit: Rlimit) -> Self {
        self.rlimits.insert(name.into(), limit);
        self
    }

    /// Adds a capability, or `ALL`, to those that [`Command::cap_drop`] leaves
    /// of the sandbox's. A capability that the sandbox lacks is refused. Only
    /// user 0 has any, as in the sandbox. Default: none.
    #[must_use]
    pub fn cap_add(mut self, name: impl Into<String>) -> Self {
        self.cap_add.push(name.into());
        self
    }

    /// Takes a capability, or `ALL`, away from the sandbox's. Default: none.
    #[must_use]
    pub fn cap_drop(mut self, name: impl Into<String>) -> Self {
        self.cap_drop.push(name.into());
        self
    }

    /// The file mode creation mask, 0 to 0o777, umask(2). Default: 0o022.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Refuses values that the wire cannot carry.
    pub(crate) fn validate(&self) -> Result<()> {
        self.validate_rights()?;
        let wrong =
            |what: &str, why: String| Err(Error::invalid(Step::CheckCommand.key(what), why));
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return wrong("argv", "there is no program".into());
        }
        if let Stdout::Merged = self.stdout {
            return wrong("stdout", "only standard error can be merged".into());
        }
        for (name, _) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                let name = variable_name(name);
                return wrong("env", format!("{name:?} cannot be an environment variable"));
            }
        }
        if self.timeout == Some(Duration::ZERO) {
            let why = "0 leaves a command no time";
            return Err(Error::invalid(Step::CheckCommand.key("timeout"), why)
                .with_cure("no timeout, for no limit"));
        }
        if let Some(cwd) = &self.cwd
            && !cwd.is_absolute()
        {
            return wrong("cwd", format!("{cwd:?} is not an absolute path"));
        }
        if let Some((_, number)) = self
            .fds
            .iter()
            .find(|(_, number)| !(3..1024).contains(number))
        {
            return wrong("fds", format!("{number} is not between 3 and 1023"));
        }
        let mut numbers: Vec<u32> = self.fds.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong("fds", format!("{} is asked for twice", pair[0]));
        }
        if self.fds.len() > 240 {
            return wrong("fds", format!("{} are more than 240", self.fds.len()));
        }
        Ok(())
    }
}

impl Command {
    /// Checks limits and umask. Capabilities depend on the sandbox.
    fn validate_rights(&self) -> Result<()> {
        let step = || Step::CheckCommand.key("rlimits");
        check_rlimits(&self.rlimits).map_err(|why| Error::invalid(step(), why))?;
        if self.rlimits.contains_key("locks") {
            let why = "the library tells commands apart by \"locks\", which Linux does not enforce";
            let error = Error::invalid(step(), why);
            return Err(error.with_cure("limits.rlimits of the sandbox's spec"));
        }
        match self.umask {
            Some(mask) if mask > 0o777 => {
                let why = format_args!("{mask:#o} is above 0o777");
                Err(Error::invalid(Step::CheckCommand.key("umask"), why))
            }
            _ => Ok(()),
        }
    }
}

/// A copy of a descriptor that the caller names by number, as languages without
/// owned descriptors do.
///
/// # Errors
/// EBADF if there is none.
pub fn duplicate(number: RawFd) -> Result<OwnedFd> {
    dup::duplicate(number).map_err(|e| {
        let what = format_args!("file descriptor {number}");
        Error::os(Step::CopyDescriptor, what, e)
    })
}

/// Text for the kernel.
pub(crate) fn c_string(what: &str, text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let shown = match what {
            "env" => variable_name(text),
            _ => text,
        };
        Error::invalid(
            Step::CheckCommand.key(what),
            format_args!("{shown:?} holds a NUL"),
        )
    })
}

/// `NAME` of `NAME=VALUE`, for messages: a value may be a secret.
fn variable_name(text: &OsStr) -> &OsStr {
    let name = text.as_bytes().split(|byte| *byte == b'=').next();
    OsStr::from_bytes(name.unwrap_or_default())
}
