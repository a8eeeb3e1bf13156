// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replays the operations of a start: each is a call into the module for its
//! kind.

use core::ffi::CStr;

use crate::copy;
use crate::dir;
use crate::empty_ns;
use crate::mount;
use crate::names;
use crate::network;
use crate::overlay::Overlay;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, Errno, Fd, MS_PRIVATE, MS_SLAVE, O_DIRECTORY,
    O_PATH, Result,
};
use crate::wire::{Field as _, MAY_BE_GONE, OF_MACHINE, Op, PRIVATE, Reader, SLOTS};

/// Slot of a mount that was removed since the listing ([`MAY_BE_GONE`]).
const GONE: i32 = -2;

/// Descriptors of the request, then those that operations opened.
pub(crate) struct Replay {
    slots: [i32; SLOTS],
    /// Overlays made so far.
    overlays: u64,
    /// The empty mount namespace, or -1.
    empty_ns: i32,
}

impl Replay {
    /// Takes over the descriptors of a request, which operations may close.
    ///
    /// # Safety
    /// The caller owns the descriptors, and closes no descriptor among them
    /// while the replay lives.
    pub(crate) unsafe fn new(fds: &[i32], empty_ns: i32) -> Self {
        let mut slots = [-1; SLOTS];
        slots[..fds.len()].copy_from_slice(fds);
        Self {
            slots,
            overlays: 0,
            empty_ns,
        }
    }

    /// Runs the operations in order; returns index and error of the first that
    /// fails.
    pub(crate) fn run(&mut self, ops: &[u8]) -> core::result::Result<(), (u32, Errno)> {
        let mut reader = Reader::new(ops);
        let mut index = 0;
        while !reader.is_empty() {
            let op = Op::get(&mut reader).ok_or((index, Errno::PROTO))?;
            self.step(op).map_err(|errno| (index, errno))?;
            index += 1;
        }
        Ok(())
    }

    /// Returns the descriptor in a slot; slot -1 is the caller's own view.
    pub(crate) fn slot(&self, slot: i32) -> Result<i32> {
        match slot {
            -1 => Ok(AT_FDCWD),
            n => {
                let fd = self.slots.get(n as usize).copied();
                fd.filter(|fd| *fd >= 0).ok_or(Errno::BADF)
            }
        }
    }

    fn fd(&self, slot: u32) -> Result<i32> {
        self.slot(slot as i32)
    }

    fn put(&mut self, slot: u32, fd: Fd) -> Result<()> {
        let place = self.slots.get_mut(slot as usize).ok_or(Errno::BADF)?;
        let old = core::mem::replace(place, fd.into_raw());
        // SAFETY: the slot owned the old descriptor; `GONE` and -1 are
        // negative.
        unsafe { sys::close(old) };
        Ok(())
    }

    /// Closes a slot.
    fn close(&mut self, slot: u32) -> Result<()> {
        let fd = self.fd(slot)?;
        self.slots[slot as usize] = -1;
        // SAFETY: the slot owned the descriptor.
        unsafe { sys::close(fd) };
        Ok(())
    }

    /// Puts a mount into a slot, or [`GONE`] if the mount was removed and
    /// `flags` allow that.
    fn put_unless_gone(&mut self, slot: u32, mounted: Result<Fd>, flags: u32) -> Result<()> {
        match mounted {
            Err(Errno::NOENT) if flags & MAY_BE_GONE != 0 => {
                *self.slots.get_mut(slot as usize).ok_or(Errno::BADF)? = GONE;
                Ok(())
            }
            other => self.put(slot, other?),
        }
    }

    fn is_gone(&self, slot: u32) -> bool {
        self.slots.get(slot as usize) == Some(&GONE)
    }

    fn step(&mut self, op: Op<'_>) -> Result<()> {
        match op {
            Op::Attach { from: slot, .. } | Op::SetAttr { slot, .. } if self.is_gone(slot) => {
                Ok(())
            }
            Op::CloseSlot { slot } if self.is_gone(slot) => {
                self.slots[slot as usize] = -1;
                Ok(())
            }
            Op::EnterCgroup { file } => sys::write(self.fd(file)?, b"0"),
            Op::Unshare { flags } => sys::unshare(u64::from(flags)),
            Op::Setns { file, flags } => sys::setns(self.fd(file)?, u64::from(flags)),
            Op::MakePrivate {} => mount::propagate(MS_PRIVATE),
            Op::MakeSlave {} => mount::propagate(MS_SLAVE),
            Op::SetHostname { name } => sys::sethostname(name),
            Op::LoopbackUp {} => network::loopback_up(),
            Op::NewKeyring {} => sys::join_new_session_keyring(),
            Op::DropBounding { keep } => drop_bounding(keep),
            Op::NewFs { .. }
            | Op::NewOverlay { .. }
            | Op::CloneTree { .. }
            | Op::OpenDir { .. } => self.make_mount(op),
            Op::AttachRoot { from } => mount::attach_root(self.fd(from)?),
            Op::Attach {
                from,
                root,
                path,
                flags,
            } => {
                match mount::attach_in(self.fd(from)?, self.fd(root)?, path, flags) {
                    // move_mount(2) refuses a mount whose root was removed.
                    Err(Errno::NOENT) if flags & MAY_BE_GONE != 0 => {
                        self.close(from)?;
                        self.slots[from as usize] = GONE;
                        Ok(())
                    }
                    other => other,
                }
            }
            Op::SetAttr {
                slot,
                set,
                clear,
                flags,
            } => mount::set_attr(self.fd(slot)?, set, clear, flags & AT_RECURSIVE != 0),
            Op::Mask {
                root,
                path,
                dev,
                stage,
            } => mount::mask(self.fd(root)?, path, self.fd(dev)?, self.fd(stage)?),
            Op::MakeReadOnly { root, path } => mount::make_read_only(self.fd(root)?, path),
            Op::Detach { slot } => mount::detach(self.fd(slot)?),
            Op::EnterEmptyNs {} => empty_ns::enter(self.empty_ns),
            Op::ChangeRoot { slot } => mount::change_root(self.fd(slot)?),
            Op::PivotRoot { slot } => mount::pivot_root(self.fd(slot)?),
            Op::SetSysctl { proc, path, value } => mount::set_sysctl(self.fd(proc)?, path, value),
            Op::CloseSlot { slot } => self.close(slot),
            Op::Chown {
                root,
                path,
                uid,
                gid,
                mode,
                capability,
            } => copy::chown(self.fd(root)?, path, (uid, gid), mode, capability),
            Op::RemoveTree { root, path } => copy::remove_tree(self.slot(root as i32)?, path),
            Op::CopyTree { from, to, links } => {
                copy::copy_tree(self.fd(from)?, self.fd(to)?, self.fd(links)?)
            }
            other => self.make_entry(other),
        }
    }

    /// Does operations that put a new mount or directory into a slot.
    fn make_mount(&mut self, op: Op<'_>) -> Result<()> {
        match op {
            Op::NewFs {
                into,
                kind,
                options,
                attrs,
            } => {
                let fs = sys::fsopen(kind)?;
                // The source in mountinfo.
                mount::option(&fs, c"source", kind)?;
                mount::options(&fs, options)?;
                self.put(into, mount::create(&fs, attrs)?)
            }
            Op::CloneTree {
                into,
                base,
                path,
                flags,
            } => {
                let empty = if path.is_empty() { AT_EMPTY_PATH } else { 0 };
                let how = flags & !(MAY_BE_GONE | PRIVATE | OF_MACHINE) | empty;
                let tree = match flags & OF_MACHINE {
                    0 => sys::open_tree_clone(self.slot(base)?, path, how),
                    _ => mount::open_of_machine(path, 0).and_then(|opened| {
                        sys::open_tree_clone(opened.raw(), c"", how | AT_EMPTY_PATH)
                    }),
                };
                let tree = match flags & PRIVATE {
                    0 => tree,
                    _ => tree.and_then(|tree| mount::set_private(tree.raw()).map(|()| tree)),
                };
                self.put_unless_gone(into, tree, flags)
            }
            Op::NewOverlay {
                into,
                stage,
                lowers,
                upper,
                work,
                options,
                attrs,
                flags,
            } => {
                let stage = self.fd(stage)?;
                let number = self.overlays;
                self.overlays += 1;
                let overlay = Overlay {
                    stage,
                    number,
                    lowers,
                    upper,
                    work,
                    options,
                    attrs,
                    flags,
                };
                self.put_unless_gone(into, overlay.mount(), flags)
            }
            Op::OpenDir { into, path } => {
                self.put(into, sys::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0)?)
            }
            _ => Err(Errno::PROTO),
        }
    }

    /// Does operations that make an entry inside a tree.
    fn make_entry(&mut self, op: Op<'_>) -> Result<()> {
        let mut buffer = [0u8; 256];
        match op {
            Op::MakeDir {
                root,
                path,
                mode,
                uid,
                gid,
            } => make_dir(self.fd(root)?, path, mode, (uid, gid)),
            Op::MakeLink { root, path, target } => {
                let (dir, name) = dir::parent(self.fd(root)?, path, dir::ANY, &mut buffer)?;
                sys::symlinkat(target, dir.fd(), name)
            }
            Op::MakeNode {
                root,
                path,
                mode,
                device,
            } => {
                let (dir, name) = dir::parent(self.fd(root)?, path, dir::ANY, &mut buffer)?;
                sys::mknodat(dir.fd(), name, mode, device)
            }
            Op::MakeFile {
                root,
                path,
                mode,
                bytes,
            } => {
                let file = dir::create(self.fd(root)?, path, mode, dir::ANY)?;
                match bytes.is_empty() {
                    true => Ok(()),
                    false => sys::write(file.raw(), bytes),
                }
            }
            Op::CopyFile { root, path, from } => copy_file(self.fd(root)?, path, from),
            Op::AddLine {
                root,
                path,
                stage,
                line,
            } => names::add_line(self.fd(root)?, path, self.fd(stage)?, line),
            _ => Err(Errno::PROTO),
        }
    }
}

/// Copies a file of the host over an existing file, else binds the file
/// read-only, else leaves it out.
fn copy_file(root: i32, path: &CStr, from: &CStr) -> Result<()> {
    let mut buffer = [0u8; 256];
    // The owner of a directory on the way could have replaced it by a link.
    let (dir, name) = match dir::parent(root, path, dir::STRICT, &mut buffer) {
        Err(Errno::LOOP | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let remove = || sys::unlinkat(dir.fd(), name, 0);
    let _ = remove();
    match copy::copy_file(dir.fd(), name, from) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        // Removes an incomplete copy, if there is any.
        Err(_) => drop(remove()),
    }
    match mount::bind_read_only(from, dir.fd(), name) {
        // Left out: the file was removed meanwhile, or there are too many
        // mounts.
        Err(errno) if errno != Errno::NOMEM => Ok(()),
        other => other,
    }
}

fn make_dir(root: i32, path: &CStr, mode: u32, (uid, gid): (u32, u32)) -> Result<()> {
    let mut buffer = [0u8; 256];
    let (dir, name) = dir::parent(root, path, dir::ANY, &mut buffer)?;
    match sys::mkdirat(dir.fd(), name, mode) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    };
    if (uid, gid) != (0, 0) {
        sys::fchownat(dir.fd(), name, uid, gid, sys::AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// PR_CAPBSET_DROP for every capability that the kernel knows and `keep` does
/// not hold.
pub(crate) fn drop_bounding(keep: u64) -> Result<()> {
    for cap in 0..64 {
        if keep & 1 << cap != 0 {
            continue;
        }
        match sys::drop_bounding_cap(cap) {
            Ok(()) => {}
            // Beyond the last capability.
            Err(Errno::INVAL) => return Ok(()),
            // Needs CAP_SETPCAP, unless the capability is already gone.
            Err(Errno::PERM) if sys::has_bounding_cap(cap) == Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
