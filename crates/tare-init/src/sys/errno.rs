// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error numbers, errno(3).
#![forbid(unsafe_code)]

/// The number of an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// The outcome of a system call, or of several.
pub(crate) type Result<T> = core::result::Result<T, Errno>;

#[rustfmt::skip]
impl Errno {
    pub(crate) const PERM: Self = Self(1);
    pub(crate) const NOENT: Self = Self(2);
    pub(crate) const SRCH: Self = Self(3);
    pub(crate) const INTR: Self = Self(4);
    pub(crate) const IO: Self = Self(5);
    pub(crate) const TOOBIG: Self = Self(7);
    pub(crate) const BADF: Self = Self(9);
    pub(crate) const AGAIN: Self = Self(11);
    pub(crate) const NOMEM: Self = Self(12);
    pub(crate) const ACCES: Self = Self(13);
    pub(crate) const BUSY: Self = Self(16);
    pub(crate) const EXIST: Self = Self(17);
    pub(crate) const XDEV: Self = Self(18);
    pub(crate) const NOTDIR: Self = Self(20);
    pub(crate) const ISDIR: Self = Self(21);
    pub(crate) const INVAL: Self = Self(22);
    pub(crate) const NFILE: Self = Self(23);
    pub(crate) const MFILE: Self = Self(24);
    pub(crate) const FBIG: Self = Self(27);
    pub(crate) const NOSPC: Self = Self(28);
    pub(crate) const MLINK: Self = Self(31);
    pub(crate) const RANGE: Self = Self(34);
    pub(crate) const NAMETOOLONG: Self = Self(36);
    pub(crate) const NOSYS: Self = Self(38);
    pub(crate) const NOTEMPTY: Self = Self(39);
    pub(crate) const LOOP: Self = Self(40);
    pub(crate) const NODATA: Self = Self(61);
    pub(crate) const PROTO: Self = Self(71);
    pub(crate) const NOTSOCK: Self = Self(88);
    pub(crate) const NOTSUP: Self = Self(95);
    pub(crate) const TIMEDOUT: Self = Self(110);
    pub(crate) const DQUOT: Self = Self(122);
    pub(crate) const OWNERDEAD: Self = Self(130);

    /// Returns whether the machine is short of something, as against a wrong
    /// call: a second attempt may succeed.
    pub(crate) fn is_of_machine(self) -> bool {
        matches!(
            self,
            Self::IO | Self::NOMEM | Self::NFILE | Self::MFILE | Self::NOSPC | Self::DQUOT
        )
    }
}
