// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decides how a command gets each standard stream of the caller.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{geteuid, isatty};
use tare::{Command, Stdin, Stdout};

/// Ways to each stream.
pub(super) struct Streams {
    input: Way,
    output: Way,
    errors: Way,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The caller's own descriptor.
    Direct,
    /// A pipe that tare copies.
    Relay,
    /// The pipe of standard output.
    Merged,
}

impl Streams {
    /// Decides for a command of this user, `USER[:GROUP]`. A terminal of the
    /// caller never goes in, because its holder sets its modes and types on it.
    /// A file or pipe goes in if the user may open it, as `/dev/stdout`, too.
    pub(super) fn of(user: &str) -> Self {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let maker = matches!(user, "" | "0" | "0:0");
        let output = way(stdout.as_fd(), maker, Mode::S_IWUSR, Mode::S_IWOTH);
        let errors = way(stderr.as_fd(), maker, Mode::S_IWUSR, Mode::S_IWOTH);
        let both = output == Way::Relay && errors == Way::Relay;
        let one = both && is_one(stdout.as_fd(), stderr.as_fd());
        Self {
            input: way(stdin.as_fd(), maker, Mode::S_IRUSR, Mode::S_IROTH),
            output,
            errors: if one { Way::Merged } else { errors },
        }
    }

    /// Gives a command its input.
    pub(super) fn input(&self, command: Command) -> Command {
        command.stdin(match self.input {
            Way::Direct => Stdin::Inherit,
            Way::Relay | Way::Merged => Stdin::Piped,
        })
    }

    /// Gives a command its output.
    pub(super) fn output(&self, command: Command) -> Command {
        let end = |way| match way {
            Way::Direct => Stdout::Inherit,
            Way::Relay => Stdout::Piped,
            Way::Merged => Stdout::Merged,
        };
        command.stdout(end(self.output)).stderr(end(self.errors))
    }
}

/// Decides for a stream; `own` and `other` are the permission bits that the
/// maker, and any user, needs to open it.
fn way(fd: BorrowedFd<'_>, maker: bool, own: Mode, other: Mode) -> Way {
    if isatty(fd) == Ok(true) {
        return Way::Relay;
    }
    // The library reports the error when it uses the stream.
    let Ok(stat) = fstat(fd) else {
        return Way::Direct;
    };
    // A socket cannot be opened by name, and a device could have any effect.
    if !matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFIFO) {
        return Way::Direct;
    }
    let mode = Mode::from_bits_truncate(stat.st_mode);
    let opens =
        mode.contains(other) || maker && mode.contains(own) && stat.st_uid == geteuid().as_raw();
    if opens { Way::Direct } else { Way::Relay }
}

/// Returns whether both are the same terminal or pipe, so that their output
/// stays in order.
fn is_one(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    match (fstat(a), fstat(b)) {
        (Ok(a), Ok(b)) => {
            kind(&a) != SFlag::S_IFREG && (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
        }
        _ => false,
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
