// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of a single entry, before its name and offset are added.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use nix::errno::Errno;

use crate::error::{self, Error, Kind, Sentence};

/// A failure inside an entry; [`Fault::at`] makes it an [`Error`].
#[derive(Debug)]
pub(crate) enum Fault {
    /// The archive is hostile, ambiguous or broken.
    Refused(Cow<'static, str>),
    /// A value above one of [`super::Bounds`]: the field's name and value.
    Beyond(&'static str, u64),
    /// A system call failed.
    Os(Cow<'static, str>, Errno),
}

/// Result of a step within an entry.
pub(crate) type Parsed<T> = Result<T, Fault>;

/// Refuses the entry for `reason`.
pub(crate) fn refuse<T>(reason: impl Into<Cow<'static, str>>) -> Parsed<T> {
    Err(Fault::Refused(reason.into()))
}

/// Names the system call that failed.
pub(crate) trait Call<T> {
    /// Turns an errno into a [`Fault`] of the call `name`.
    fn call(self, name: &'static str) -> Parsed<T>;
}

impl<T> Call<T> for nix::Result<T> {
    fn call(self, name: &'static str) -> Parsed<T> {
        self.map_err(|errno| Fault::Os(name.into(), errno))
    }
}

impl Fault {
    /// Returns the error for users: `subject`, the entry's name, and the byte
    /// offset of its header in the uncompressed archive.
    pub(crate) fn at(
        self,
        (step, subject): (impl Into<Sentence>, &str),
        name: &[u8],
        offset: u64,
    ) -> Error {
        let site = match name {
            b"" => format!("{subject}byte {offset}"),
            name => format!("{subject}entry {} at byte {offset}", shown(name)),
        };
        match self {
            Self::Refused(reason) => {
                Error::new(Kind::Corrupt, step, format_args!("{site}: {reason}"))
            }
            Self::Beyond(bound, value) => Error::new(
                Kind::Corrupt,
                step,
                format_args!("{site}: more than {value} {}", bound.replace('_', " ")),
            )
            .with_cure(format!(
                "a higher bound on {bound}, if the image is trusted"
            )),
            Self::Os(call, errno) => {
                let error = Error::os(step, format_args!("{site}: {call}"), errno);
                match (&*call, errno) {
                    // The kernel's error for ids that the user namespace does
                    // not map.
                    ("fchown" | "fchownat", Errno::EINVAL) => error.with_cure(
                        "more ids for this user namespace, by a larger range in /etc/subuid \
                         and /etc/subgid and: unshare --map-root-user --map-auto",
                    ),
                    _ => error,
                }
            }
        }
    }
}

/// Returns a name from an archive as text: quoted, and cut to a readable
/// length.
pub(crate) fn shown(name: &[u8]) -> String {
    // More than is shown, so that the cut is seen.
    let head = &name[..name.len().min(4096)];
    error::shown(&String::from_utf8_lossy(head))
}
