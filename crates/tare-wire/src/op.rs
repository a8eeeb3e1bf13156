// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations of a start.

use core::ffi::CStr;

use super::{Field, List, Reader, Sink};

/// Declares the operations: number, name, `image` if the operation [needs the
/// image](Op::needs_image), the [slots](Op::slots) that it works on, the slot
/// that it [fills](Op::fills), fields.
macro_rules! ops {
    (@fills) => { None };
    (@fills $into:ident) => { Some(*$into) };
    ($(
        $(#[$doc:meta])*
        $code:literal $name:ident $($needs:ident)? [$($slot:ident)*] [$($into:ident)?]
        { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* }
    )*) => {
        /// A step of a start, run in order by the init; slots hold file
        /// descriptors.
        #[allow(missing_docs, reason = "the operation tells what its fields are")]
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Op<'a> { $($(#[$doc])* $name { $($(#[$fdoc])* $field: $ty,)* },)* }

        impl Op<'_> {
            /// Returns whether the operation has to wait for the image, or for
            /// a name: its fields come from these, or its effect does not
            /// commute with operations whose fields do.
            pub const fn needs_image(&self) -> bool {
                match self {
                    $(Self::$name { .. } => false $(|| { stringify!($needs); true })?,)*
                }
            }

            /// Calls `each` with the slots whose tree the operation changes, or
            /// whose tree its own effect depends on.
            pub fn slots(&self, mut each: impl FnMut(u32)) {
                match self {
                    $(Self::$name { $($slot,)* .. } => { $(each(*$slot);)* })*
                }
            }

            /// Returns the slot that the operation fills.
            pub const fn fills(&self) -> Option<u32> {
                match self {
                    $(Self::$name { $($into,)? .. } => ops!(@fills $($into)?),)*
                }
            }
        }

        impl<'a> Field<'a> for Op<'a> {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                match u32::get(from)? {
                    $($code => Some(Self::$name { $($field: Field::get(from)?,)* }),)*
                    _ => None,
                }
            }
            fn put(&self, to: &mut impl Sink) {
                match self {
                    $(Self::$name { $($field,)* } => {
                        let code: u32 = $code;
                        code.put(to);
                        $($field.put(to);)*
                    })*
                }
            }
        }
    };
}

ops! {
    /// Writes `0` to a `tasks` file of cgroup v1: the caller joins without the
    /// lock that a pid takes.
    1 EnterCgroup [] [] { file: u32, }
    /// unshare(2).
    2 Unshare [] [] { flags: u32, }
    /// setns(2).
    3 Setns image [] [] { file: u32, flags: u32, }
    /// Makes every mount private, so that no mount crosses in either direction.
    4 MakePrivate image [] [] { }
    /// sethostname(2).
    5 SetHostname image [] [] { name: &'a CStr, }
    /// Brings the loopback interface up.
    6 LoopbackUp [] [] { }
    /// Joins a new session keyring, so that the caller's keys are out of reach.
    7 NewKeyring [] [] { }
    /// A new instance of a file system, not attached yet; options are key and
    /// value in turn, an empty value for a flag.
    8 NewFs [] [into] { into: u32, kind: &'a CStr, options: List<'a>, attrs: u32, }
    /// A clone of the mount at a path of the host (`base` -1) or inside a
    /// slot's tree.
    9 CloneTree image [] [into] { into: u32, base: i32, path: &'a CStr, flags: u32, }
    /// An overlay, not attached yet; upper and work are absolute or below the
    /// slot `stage`. KERNEL(6.15): before that the stage must be attached.
    10 NewOverlay image [stage] [into] { into: u32, stage: u32, lowers: List<'a>, upper: &'a CStr, work: &'a CStr, options: List<'a>, attrs: u32, flags: u32, }
    /// Attaches a slot's mount on top of the process's root.
    11 AttachRoot [from] [] { from: u32, }
    /// Attaches a slot's mount inside another's tree, making the target if
    /// flags say so.
    12 Attach [from root] [] { from: u32, root: u32, path: &'a CStr, flags: u32, }
    /// mount_setattr(2) on an attached slot.
    13 SetAttr image [slot] [] { slot: u32, set: u32, clear: u32, flags: u32, }
    /// mkdir(2) inside a slot's tree; an existing directory is fine.
    14 MakeDir [root] [] { root: u32, path: &'a CStr, mode: u32, uid: u32, gid: u32, }
    /// symlink(2) inside a slot's tree.
    15 MakeLink [root] [] { root: u32, path: &'a CStr, target: &'a CStr, }
    /// mknod(2) inside a slot's tree.
    16 MakeNode [root] [] { root: u32, path: &'a CStr, mode: u32, device: u64, }
    /// Creates a file with these bytes inside a slot's tree; an existing file
    /// is an error.
    17 MakeFile image [root] [] { root: u32, path: &'a CStr, mode: u32, bytes: &'a [u8], }
    /// Hides a path: `null` of the tree `dev` over a file, `empty` of the tree
    /// `stage` over a directory; a missing path is fine.
    18 Mask [root dev stage] [] { root: u32, path: &'a CStr, dev: u32, stage: u32, }
    /// Makes a path read-only, with all below; a missing path is fine.
    19 MakeReadOnly [root] [] { root: u32, path: &'a CStr, }
    /// Makes a slot's tree the root, and unmounts the old root.
    20 PivotRoot image [] [] { slot: u32, }
    /// Drops all capabilities from the bounding set that are not in `keep`.
    21 DropBounding [] [] { keep: u64, }
    /// Writes a kernel setting of the caller's namespaces: an existing file of
    /// a procfs slot.
    22 SetSysctl [proc] [] { proc: u32, path: &'a CStr, value: &'a [u8], }
    /// Closes a slot.
    23 CloseSlot image [slot] [] { slot: u32, }
    /// Changes owner, then mode, then the file capability (if any) of an entry,
    /// following no link.
    24 Chown image [root] [] { root: u32, path: &'a CStr, uid: u32, gid: u32, mode: u32, capability: &'a [u8], }
    /// Removes a directory with all content; a missing directory is fine.
    25 RemoveTree image [root] [] { root: u32, path: &'a CStr, }
    /// Copies a directory's content, with owners, modes, times, xattrs and hard
    /// links, into an existing directory; `links` is a directory beside the
    /// target that keeps a name for each file with several.
    26 CopyTree image [to links] [] { from: u32, to: u32, links: u32, }
    /// Detaches an attached slot's mount.
    28 Detach image [slot] [] { slot: u32, }
    /// Opens a directory of the caller's view by path.
    27 OpenDir image [] [into] { into: u32, path: &'a CStr, }
    /// Moves the init into a copy of the empty mount namespace; from then on no
    /// path of the host leads anywhere.
    29 EnterEmptyNs image [] [] { }
    /// Makes a slot's tree, attached on top of an empty root, the process's
    /// root.
    30 ChangeRoot image [] [] { slot: u32, }
    /// Copies a regular file of the host, reached through no link, into a
    /// slot's tree, in place of an existing file: mode, times, and owner where
    /// possible. Where a copy fails, the file is bound read-only, or left out.
    32 CopyFile image [root] [] { root: u32, path: &'a CStr, from: &'a CStr, }
    /// Adds a line to a file of the tree, else to a copy that replaces the
    /// file, else to a copy below `stage` that is mounted over the file. If all
    /// three fail, the file stays unchanged.
    33 AddLine image [root] [] { root: u32, path: &'a CStr, stage: u32, line: &'a [u8], }
    /// Makes every mount a slave: an unmount outside also happens here, and no
    /// mount crosses in the other direction.
    31 MakeSlave [] [] { }
}

/// [`Op::Attach`]: make a missing target a directory.
pub const MAKE_DIR: u32 = 1;
/// [`Op::Attach`]: make a missing target an empty file.
pub const MAKE_FILE: u32 = 2;
/// [`Op::Attach`]: no component of the target may be a symbolic link.
pub const NO_SYMLINKS: u32 = 4;
/// [`Op::Attach`]: a missing target is no error, the mount is left out.
pub const IF_PRESENT: u32 = 8;
/// [`Op::Attach`]: the mount is left out after any error; only for mounts that
/// restrict access to no path.
pub const OR_SKIP: u32 = 16;
/// [`Op::Attach`]: the target may not lie in procfs, sysfs or a cgroup file
/// system, nor be a mount that hides a part of such, wherever links led.
pub const NOT_IN_KERNEL_FS: u32 = 32;
/// [`Op::Attach`]: the target must lie in the root's own mount.
pub const SAME_MOUNT: u32 = 64;
/// [`Op::NewOverlay`]: the mount belongs to a user namespace.
pub const USERXATTR: u32 = 1;
/// [`Op::CloneTree`]: later mounts at the source do not appear in the clone,
/// nor the other way round.
pub const PRIVATE: u32 = 1 << 30;
/// [`Op::NewOverlay`] and [`Op::CloneTree`]: a mount of the machine, which
/// other processes may move meanwhile. The init opens the mount once, through
/// no link. The upper directory of an overlay gets the mount's owner and mode.
pub const OF_MACHINE: u32 = 1 << 29;
/// [`Op::NewOverlay`], [`Op::CloneTree`] and [`Op::Attach`]: a mount that was
/// removed since the listing is no error. The slot is then empty, and
/// operations on an empty slot do no work.
pub const MAY_BE_GONE: u32 = 1 << 31;
