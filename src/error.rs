// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one error type: what was being done, to what, the errno, and the cure.
#![forbid(unsafe_code)]

mod step;

use std::borrow::Cow;
use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

pub use step::{Sentence, Step};

/// The kind of a failure, coarse enough to branch on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller's own words are wrong: a spec, a reference, an argument.
    Invalid,
    /// The named image, file or command is not there.
    NotFound,
    /// Something is already where a new thing was to be made.
    Exists,
    /// The kernel or a file's mode says no.
    Permission,
    /// This machine cannot do it; the cure says what would change that.
    Unsupported,
    /// Bytes from outside do not hold together: a wrong digest, a hostile
    /// archive.
    Corrupt,
    /// No space, no inodes, no memory, no file descriptors left.
    Exhausted,
    /// Another process or thread holds the thing.
    Busy,
    /// The file was found but cannot be executed.
    NotExecutable,
    /// The other side of a socket of the library went away or spoke nonsense.
    Broken,
    /// Any other error of the operating system; see [`Error::errno`].
    Os,
    /// A bug of the library's own: a panic that a face caught on its way to the
    /// caller.
    Internal,
}

impl Kind {
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENXIO | Errno::ESRCH => Self::NotFound,
            Errno::EEXIST | Errno::ENOTEMPTY => Self::Exists,
            Errno::EPERM | Errno::EACCES | Errno::EROFS => Self::Permission,
            Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENODEV => Self::Unsupported,
            Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EFBIG
            | Errno::ENOMEM
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::EAGAIN => Self::Exhausted,
            Errno::EBUSY | Errno::ETXTBSY => Self::Busy,
            Errno::ENOEXEC => Self::NotExecutable,
            Errno::EPIPE | Errno::ECONNRESET | Errno::EPROTO => Self::Broken,
            _ => Self::Os,
        }
    }

    /// The kind's name as faces print it, for example `not_found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Permission => "permission",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Exhausted => "exhausted",
            Self::Busy => "busy",
            Self::NotExecutable => "not_executable",
            Self::Broken => "broken",
            Self::Os => "os",
            Self::Internal => "internal",
        }
    }
}

/// The reason of a failed call. Prints as one line:
/// `step: subject: ERRNO (its text); try: cure`.
#[derive(Debug, Clone)]
pub struct Error(Box<Fields>);

#[derive(Debug, Clone)]
struct Fields {
    kind: Kind,
    step: Sentence,
    subject: String,
    errno: Option<Errno>,
    cure: Option<Cow<'static, str>>,
}

/// Room for the longest path with every byte escaped.
const SUBJECT_MAX: usize = 16 << 10;
/// Bytes that are shown of a text from outside.
const SHOWN_MAX: usize = 200;

/// Text from outside in a message: quoted, escaped, and cut to a readable
/// length.
pub(crate) fn shown(text: &str) -> String {
    let head = head(text, SHOWN_MAX);
    let dots = if head.len() < text.len() { "..." } else { "" };
    format!("{head:?}{dots}")
}

/// The longest beginning of `text` that has at most `most` bytes.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev();
    &text[..end
        .into_iter()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)]
}

fn cut(subject: impl fmt::Display) -> String {
    head(&subject.to_string(), SUBJECT_MAX).to_owned()
}

/// The cure for too few descriptors: a number above the limit that was met. It
/// is for the shell that the program is started from.
fn more_files() -> String {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let more = soft.saturating_mul(2).max(1024);
    match soft < hard {
        true => format!("a higher limit of open files: ulimit -n {}", more.min(hard)),
        false => more_files_of_root(more),
    }
}

/// The cure for a hard limit, which only root raises. `$$` is the shell that
/// reads it.
pub(crate) fn more_files_of_root(more: u64) -> String {
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    format!("a higher limit of open files: {sudo}prlimit --pid $$ --nofile={more}")
}

/// The result of every fallible call of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that no system call reported; `subject` says what is wrong
    /// with what. A subject beyond 16 KiB is cut: no message from outside may
    /// drown the others.
    pub fn new(kind: Kind, step: impl Into<Sentence>, subject: impl fmt::Display) -> Self {
        Self(Box::new(Fields {
            kind,
            step: step.into(),
            subject: cut(subject),
            errno: None,
            cure: None,
        }))
    }

    /// Makes the error of a wrong word of the caller's, as [`Error::new`].
    pub(crate) fn invalid(step: impl Into<Sentence>, subject: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, step, subject)
    }

    /// A failed system call; the kind follows from the errno, and the cure
    /// where there is only one.
    pub fn os(step: impl Into<Sentence>, subject: impl fmt::Display, errno: Errno) -> Self {
        let mut error = Self::new(Kind::of(errno), step, subject);
        error.0.errno = Some(errno);
        match errno {
            Errno::EMFILE => error.with_cure(more_files()),
            Errno::EFBIG => error.with_cure("a higher limit of file sizes: ulimit -f unlimited"),
            _ => error,
        }
    }

    /// A failed call of the standard library; keeps its errno when it has one.
    pub fn io(step: impl Into<Sentence>, subject: impl fmt::Display, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(raw) => Self::os(step, subject, Errno::from_raw(raw)),
            None => {
                let kind = match source.kind() {
                    io::ErrorKind::NotFound => Kind::NotFound,
                    io::ErrorKind::PermissionDenied => Kind::Permission,
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Kind::Corrupt,
                    io::ErrorKind::InvalidInput => Kind::Invalid,
                    _ => Kind::Os,
                };
                Self::new(kind, step, format_args!("{subject}: {source}"))
            }
        }
    }

    /// Adds the cure, printed after `; try: `.
    #[must_use]
    pub fn with_cure(mut self, cure: impl Into<Cow<'static, str>>) -> Self {
        self.0.cure = Some(cure.into());
        self
    }

    /// Replaces the kind, where the step knows better than the errno.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Replaces what it was done to, where the caller knows more of it; cut as
    /// in [`Error::new`].
    #[must_use]
    pub fn with_subject(mut self, subject: impl fmt::Display) -> Self {
        self.0.subject = cut(subject);
        self
    }

    /// Returns the kind of the failure, coarse enough to branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the failed step, for example `mount overlay on /`.
    pub fn step(&self) -> &str {
        &self.0.step.words
    }

    /// The step as a value to compare.
    pub fn at(&self) -> Step {
        self.0.step.step
    }

    /// The subject of the step, for example `lowerdir "/x"`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The errno of the system call that failed, if one did.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno.map(|e| e as i32)
    }

    /// The setting, package or command that would cure the failure, if known.
    pub fn cure(&self) -> Option<&str> {
        self.0.cure.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = &self.0;
        write!(f, "{}", Quoted(&fields.step.words))?;
        if !fields.subject.is_empty() {
            write!(f, ": {}", Quoted(&fields.subject))?;
        }
        if let Some(errno) = fields.errno {
            write!(f, ": {errno:?} ({})", errno.desc())?;
        }
        if let Some(cure) = &fields.cure {
            write!(f, "; try: {}", Quoted(cure))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error.0.errno {
            Some(errno) => io::Error::from_raw_os_error(errno as i32),
            None => io::Error::other(error),
        }
    }
}

/// Shows text from outside with control and direction-changing characters
/// escaped, so that a name in an image cannot drive the reader's terminal.
pub struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    /// Returns whether a character is shown escaped.
    pub fn escapes(c: char) -> bool {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        c.is_control() || turns
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            if Self::escapes(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_step_subject_errno_and_cure() {
        let error = Error::os("mount overlay on /data", r#"lowerdir "/x""#, Errno::ENOENT)
            .with_cure("make /x");
        assert_eq!(
            error.to_string(),
            r#"mount overlay on /data: lowerdir "/x": ENOENT (No such file or directory); try: make /x"#
        );
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.errno(), Some(libc::ENOENT));
    }

    #[test]
    fn message_for_too_few_descriptors_names_more_than_there_are() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let error = Error::os("open sandbox", "socketpair", Errno::EMFILE);
        let cure = error.cure().unwrap();
        let number = cure.rsplit([' ', '=']).next().unwrap();
        assert!(number.parse::<u64>().unwrap() > soft, "{cure}");
    }

    #[test]
    fn message_from_outside_cannot_drive_a_terminal() {
        let error = Error::new(
            Kind::Corrupt,
            "read layer",
            "entry \"\u{1b}[2J\u{202e}x\n\"",
        );
        assert_eq!(
            error.to_string(),
            "read layer: entry \"\\u{1b}[2J\\u{202e}x\\n\""
        );
    }

    #[test]
    fn message_from_outside_is_cut_between_characters() {
        assert_eq!(shown("\u{9b}x"), r#""\u{9b}x""#);
        let long = "é".repeat(200);
        assert_eq!(shown(&long), format!("\"{}\"...", "é".repeat(100)));
        assert_eq!(
            shown(&format!("x{long}")),
            format!("\"x{}\"...", "é".repeat(99))
        );
        let error = Error::new(Kind::Corrupt, "read", "é".repeat(1 << 20));
        assert_eq!(error.subject().len(), SUBJECT_MAX);
    }
}
