// SPDX-License-Identifier: MIT OR Apache-2.0
//! A list of operations being built, and the sentence for each that can fail.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::{Error, Result, Step};
use crate::wire::{Field as _, List, ListBuf, Op, PRIVATE, Reader};

/// A place for a descriptor in the init. Those below [`Ops::FIRST`] come with
/// the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The nth descriptor that comes with the request; 0 is the control socket.
    pub(crate) const fn received(n: u32) -> Self {
        assert!(n < Ops::FIRST);
        Self(n)
    }

    /// The number on the wire.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// Operations in the order of their runs.
#[derive(Debug)]
pub(crate) struct Ops {
    bytes: Vec<u8>,
    next: u32,
    /// Slots that were closed, to be filled again: a host may have more mounts
    /// than there are slots.
    free: Vec<u32>,
    /// True if clones of the host's mounts are private by themselves, not by
    /// the namespace they are made in.
    private: bool,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            next: Self::FIRST,
            free: Vec::new(),
            private: false,
        }
    }
}

impl Ops {
    /// First slot that operations fill.
    const FIRST: u32 = 64;

    /// Begins the operations of an init that clones mounts out of the host's
    /// mount namespace and leaves that namespace.
    pub(crate) fn for_empty_ns() -> Self {
        Self {
            private: true,
            ..Self::default()
        }
    }

    /// Reserves an unused slot.
    pub(crate) fn slot(&mut self) -> Slot {
        if let Some(number) = self.free.pop() {
            return Slot(number);
        }
        self.next += 1;
        Slot(self.next - 1)
    }

    /// Appends an operation.
    pub(crate) fn push(&mut self, op: Op<'_>) {
        op.put(&mut self.bytes);
    }

    /// Returns the operations in the form of the wire.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a file system in a new slot; options are key and value in turn.
    pub(crate) fn new_fs(&mut self, kind: &CStr, options: &ListBuf, attrs: u32) -> Slot {
        let into = self.slot();
        self.push(Op::NewFs {
            into: into.0,
            kind,
            options: options.as_list(),
            attrs,
        });
        into
    }

    /// Clones the mount at a path of the host into a new slot.
    pub(crate) fn clone_tree(&mut self, path: &CStr, recursive: bool) -> Slot {
        let into = self.slot();
        let recursive = if recursive {
            libc::AT_RECURSIVE as u32
        } else {
            0
        };
        let private = if self.private { PRIVATE } else { 0 };
        self.push(Op::CloneTree {
            into: into.0,
            base: -1,
            path,
            flags: recursive | private,
        });
        into
    }

    /// Clones the mount at a path of the host (`base` -1) or in a slot's tree,
    /// without mounts below, into a new slot.
    pub(crate) fn bind(&mut self, base: i32, path: &CStr, flags: u32) -> Slot {
        let into = self.slot();
        let private = if self.private { PRIVATE } else { 0 };
        self.push(Op::CloneTree {
            into: into.0,
            base,
            path,
            flags: flags | private,
        });
        into
    }

    /// Attaches a slot's mount with attributes, and closes the slot. For the
    /// empty namespace the attributes come first, because a mount below a
    /// detached mount cannot be changed. KERNEL(5.12): else they come last,
    /// because only an attached mount can be changed.
    pub(crate) fn attach_with(
        &mut self,
        from: Slot,
        root: Slot,
        path: &CStr,
        flags: u32,
        attrs: u32,
    ) {
        if self.private {
            self.set_attr(from, attrs, false);
        }
        self.attach(from, root, path, flags);
        if !self.private {
            self.set_attr(from, attrs, false);
        }
        self.close(from);
    }

    /// Opens a directory of the caller's view.
    pub(crate) fn open_dir(&mut self, path: &CStr) -> Slot {
        let into = self.slot();
        self.push(Op::OpenDir { into: into.0, path });
        into
    }

    /// Makes a directory of user 0 inside a slot's tree.
    pub(crate) fn make_dir(&mut self, root: Slot, path: &CStr, mode: u32) {
        self.push(Op::MakeDir {
            root: root.0,
            path,
            mode,
            uid: 0,
            gid: 0,
        });
    }

    /// Attaches a slot's mount inside another's tree.
    pub(crate) fn attach(&mut self, from: Slot, root: Slot, path: &CStr, flags: u32) {
        self.push(Op::Attach {
            from: from.0,
            root: root.0,
            path,
            flags,
        });
    }

    /// Sets attributes of an attached mount, with all below it if asked for.
    pub(crate) fn set_attr(&mut self, slot: Slot, set: u32, recursive: bool) {
        let flags = if recursive {
            libc::AT_RECURSIVE as u32
        } else {
            0
        };
        self.push(Op::SetAttr {
            slot: slot.0,
            set,
            clear: 0,
            flags,
        });
    }

    /// Closes a slot.
    pub(crate) fn close(&mut self, slot: Slot) {
        self.push(Op::CloseSlot { slot: slot.0 });
        self.free.push(slot.0);
    }

    /// Describes the operation with this index: step, subject.
    pub(crate) fn describe(bytes: &[u8], index: u32) -> (Step, String) {
        let op = all(bytes).nth(index as usize);
        op.map_or_else(
            || (Step::Start, String::new()),
            |op| match (sentence(&op, |slot| place(bytes, slot, 4)), op) {
                ((Step::AttachMount, subject), Op::Attach { from, .. })
                    if is_kernel_mount(bytes, index, from) =>
                {
                    (Step::AttachKernelMount, subject)
                }
                (told, _) => told,
            },
        )
    }
}

fn all(bytes: &[u8]) -> impl Iterator<Item = Op<'_>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || Op::get(&mut reader))
}

/// Returns whether the slot holds a file system that a start attaches to
/// another one of the kernel's: `/dev/pts` or `/sys/fs/cgroup`. Slots are used
/// again, so the last operation before `index` that fills the slot counts.
fn is_kernel_mount(bytes: &[u8], index: u32, slot: u32) -> bool {
    let fills = all(bytes).take(index as usize).filter_map(|op| match op {
        Op::NewFs { into, kind, .. } => Some((into, kind == c"devpts" || kind == c"cgroup2")),
        Op::CloneTree { into, .. } | Op::NewOverlay { into, .. } | Op::OpenDir { into, .. } => {
            Some((into, false))
        }
        _ => None,
    });
    let last = fills.filter(|(into, _)| *into == slot).last();
    last.is_some_and(|(_, is_kernel)| is_kernel)
}

/// Returns the path of a slot's tree inside, once all is attached: mounts may
/// be attached to a tree before the tree is.
fn place(bytes: &[u8], slot: u32, depth: u32) -> String {
    let attached = all(bytes).find_map(|op| match op {
        Op::Attach {
            from, root, path, ..
        } if from == slot => Some((root, path)),
        _ => None,
    });
    match attached {
        Some((root, path)) if depth > 0 => {
            let parent = place(bytes, root, depth - 1);
            format!("{parent}{}", inside(path))
        }
        _ => String::new(),
    }
}

/// The step and the subject of an operation, as strace would show its
/// arguments; `place` is where a slot's tree is inside.
fn sentence(op: &Op<'_>, place: impl Fn(u32) -> String) -> (Step, String) {
    let of = |step: Step, subject: &str| (step, subject.to_owned());
    let on = |step: Step, path: &CStr| (step, format!("{:?}", inside(path)));
    let at = |step: Step, root: u32, path: &CStr| {
        let path = format!("{}{}", place(root), inside(path));
        (step, format!("{path:?}"))
    };
    match op {
        Op::EnterCgroup { .. } => of(Step::EnterCgroup, "tasks"),
        Op::Unshare { .. } => of(Step::UnshareCgroupNamespace, "CLONE_NEWCGROUP"),
        Op::Setns { flags, .. } if *flags == libc::CLONE_NEWNS as u32 => {
            of(Step::JoinMountNamespace, "CLONE_NEWNS")
        }
        Op::Setns { .. } => of(Step::JoinNetworkNamespace, "CLONE_NEWNET"),
        Op::MakePrivate {} => of(Step::MakeMountsPrivate, "\"/\""),
        Op::MakeSlave {} => of(Step::MakeMountsSlaves, "\"/\""),
        Op::SetHostname { name } => (Step::SetHostname, format!("{name:?}")),
        Op::LoopbackUp {} => of(Step::BringLoopbackUp, "\"lo\""),
        Op::NewKeyring {} => of(Step::JoinANewSessionKeyring, "KEYCTL_JOIN_SESSION_KEYRING"),
        Op::NewFs { kind, options, .. } => {
            (file_system(kind), format!("options {:?}", pairs(options)))
        }
        Op::CloneTree { path, .. } => (Step::Bind, format!("source {path:?}")),
        Op::NewOverlay { lowers, .. } => {
            // There may be hundreds; they are the image's, whose name the
            // caller knows.
            let mut all = lowers.iter();
            let top = all.next().unwrap_or_default();
            let subject = match all.count() {
                0 => format!("lowerdir {top:?}"),
                n => format!("lowerdir {top:?} and {n} more"),
            };
            (Step::MountOverlay, subject)
        }
        Op::AttachRoot { .. } => of(Step::AttachRoot, "\"/\""),
        Op::Attach { root, path, .. } => at(Step::AttachMount, *root, path),
        Op::SetAttr { set, clear, .. } => (
            Step::SetMountAttributes,
            format!("attr_set {set:#x}, attr_clr {clear:#x}"),
        ),
        Op::MakeDir { root, path, .. } => at(Step::MakeDirectory, *root, path),
        Op::MakeLink { root, path, .. } => at(Step::MakeLink, *root, path),
        Op::MakeNode { root, path, .. } => at(Step::MakeDevice, *root, path),
        Op::MakeFile { root, path, .. } => at(Step::MakeFile, *root, path),
        Op::CopyFile { root, path, .. } => at(Step::CopyFile, *root, path),
        Op::AddLine { root, path, .. } => at(Step::AddLine, *root, path),
        Op::Mask { root, path, .. } => at(Step::Mask, *root, path),
        Op::MakeReadOnly { root, path, .. } => at(Step::MakeReadOnly, *root, path),
        Op::Detach { .. } => of(Step::DetachMount, "MNT_DETACH"),
        Op::EnterEmptyNs {} => of(Step::EnterEmptyMountNamespace, "CLONE_NEWNS"),
        Op::ChangeRoot { .. } => of(Step::ChangeRoot, "\"/\""),
        Op::PivotRoot { .. } => of(Step::PivotRoot, "\"/\""),
        Op::DropBounding { keep } => (Step::DropBoundingSet, format!("all but {keep:#x}")),
        Op::SetSysctl { path, .. } => {
            let name = path.to_string_lossy().replacen("sys/", "", 1);
            (Step::SetSysctl, name.replace('/', "."))
        }
        Op::CloseSlot { slot } => (Step::Close, format!("slot {slot}")),
        Op::Chown { path, .. } => on(Step::ChangeOwner, path),
        Op::RemoveTree { path, .. } => on(Step::Remove, path),
        Op::CopyTree { .. } => of(Step::CopyTree, "the image"),
        Op::OpenDir { path, .. } => on(Step::OpenDirectory, path),
    }
}

/// Returns the step that mounts a file system of the kernel's.
fn file_system(kind: &CStr) -> Step {
    match kind.to_bytes() {
        b"cgroup2" => Step::MountCgroup2,
        b"devpts" => Step::MountDevpts,
        b"mqueue" => Step::MountMqueue,
        b"proc" => Step::MountProc,
        b"sysfs" => Step::MountSysfs,
        b"tmpfs" => Step::MountTmpfs,
        _ => Step::Mount,
    }
}

/// Options as mount(8) writes them, from key and value in turn.
fn pairs(options: &List<'_>) -> String {
    let words: Vec<_> = options.iter().map(CStr::to_string_lossy).collect();
    let shown = words.chunks(2).map(|pair| match pair {
        [key, value] if !value.is_empty() => format!("{key}={value}"),
        pair => pair[0].to_string(),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// Returns a path inside, as the user of the sandbox sees the path.
fn inside(path: &CStr) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('/') {
        text.into_owned()
    } else {
        format!("/{text}")
    }
}

/// Returns a path as the kernel takes paths.
///
/// # Errors
/// [`Kind::Invalid`] if the path holds a NUL.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid(Step::CheckPath, format_args!("{path:?} holds a NUL")))
}

/// Returns a path inside, to be resolved below the root's descriptor.
pub(crate) fn c_inside(path: &Path) -> Result<CString> {
    c_path(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_failed_one_is_named() {
        let mut ops = Ops::default();
        let fs = ops.new_fs(c"proc", &ListBuf::default(), 0);
        ops.attach(fs, Slot::received(1), c"proc", 0);
        ops.attach(fs, Slot::received(1), c"elsewhere", 0);
        ops.make_dir(fs, c"x", 0o755);
        assert_eq!(
            Ops::describe(ops.bytes(), 0),
            (Step::MountProc, "options \"\"".into())
        );
        assert_eq!(
            Ops::describe(ops.bytes(), 1),
            (Step::AttachMount, "\"/proc\"".into())
        );
        // A path in an attached tree begins with the place of the tree.
        assert_eq!(
            Ops::describe(ops.bytes(), 3),
            (Step::MakeDirectory, "\"/proc/x\"".into())
        );
        for beyond in [4, 9, u32::MAX] {
            assert_eq!(Ops::describe(ops.bytes(), beyond).0, Step::Start);
        }
    }

    #[test]
    fn ops_overlay_of_many_layers_is_named_in_one_line() {
        for (n, expected) in [
            (1, "lowerdir \"/layers/0\""),
            (130, "lowerdir \"/layers/0\" and 129 more"),
        ] {
            let lowers = (0..n).map(|n| CString::new(format!("/layers/{n}")).unwrap());
            let mut ops = Ops::default();
            ops.push(Op::NewOverlay {
                into: 65,
                stage: 64,
                lowers: lowers.collect::<ListBuf>().as_list(),
                upper: c"u",
                work: c"w",
                options: ListBuf::default().as_list(),
                attrs: 0,
                flags: 0,
            });
            assert_eq!(Ops::describe(ops.bytes(), 0).1, expected);
        }
    }
}
