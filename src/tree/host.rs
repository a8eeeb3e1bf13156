// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's own `/` for ordinary users: an overlay for each top-level directory.
//!
//! The kernel refuses `/` itself as a lower layer in a user namespace, since what is mounted
//! below it is locked there, mount_namespaces(7). A directory below which nothing is mounted
//! is taken whole; one with mounts below it is taken apart.
//!
//! The kernel copies up only what belongs to ids that are mapped here (EOVERFLOW otherwise): a
//! top-level directory takes new files, one further down that belongs to another user does not.
//!
//! With `write: disk` each overlay's upper layer is on disk; `/` itself, and what was taken apart,
//! is a tmpfs in any case.
#![forbid(unsafe_code)]

use std::fs::{DirEntry, Permissions, create_dir, read_dir, set_permissions, symlink_metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::parts::mounts::{RDONLY, options, overlay, overlay_at, push_size};
use crate::parts::ops::{Ops, Slot, c_inside, c_path};
use crate::spec::Write;
use crate::tree::{Backend, Mounted, Request};
use crate::wire::{MAKE_DIR, MAKE_FILE, MAY_BE_GONE, Op, USERXATTR};

/// Made anew in every sandbox, so not taken from the host.
const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An overlay of a user namespace, over what others may remove at any time.
const FLAGS: u32 = USERXATTR | MAY_BE_GONE;

/// Works for ordinary users from 5.11 on.
pub(crate) struct HostView;

impl Backend for HostView {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn is_portable(&self) -> bool {
        false
    }

    fn on_disk(&self, write: Write) -> bool {
        write == Write::Disk
    }

    fn prepare(&self, _request: &Request<'_>) -> Result<()> {
        Ok(())
    }

    fn mount_detached(&self, _ops: &mut Ops, _stage: Slot, _request: &Request<'_>) -> Result<Slot> {
        Err(Error::new(
            Kind::Unsupported,
            "mount tree",
            "an ordinary user's view of the host exists only in a sandbox",
        ))
    }

    fn mount(&self, ops: &mut Ops, stage: Slot, request: &Request<'_>) -> Result<Mounted> {
        let mut list = options([c"mode", c"755"]);
        if let Some(size) = request.size {
            push_size(&mut list, size);
        }
        let root = ops.new_fs(c"tmpfs", &list, 0);
        // Attached first: what is mounted in it can only be attached to it then.
        ops.push(Op::AttachRoot {
            from: root.number(),
        });
        let mounts = mount_points()?;
        let mut view = View {
            ops,
            stage,
            root,
            mounts,
            count: 0,
            scratch: self.on_disk(request.write).then_some(&request.scratch),
            read_only: request.write == Write::None,
            parts: Vec::new(),
        };
        view.take_apart(Path::new("/"))?;
        Ok(Mounted {
            root,
            parts: view.parts,
        })
    }
}

struct View<'a> {
    ops: &'a mut Ops,
    stage: Slot,
    root: Slot,
    mounts: Vec<PathBuf>,
    count: usize,
    /// Where upper layers are, if not in the stage.
    scratch: Option<&'a PathBuf>,
    read_only: bool,
    /// What is to become read-only in the end.
    parts: Vec<Slot>,
}

impl View<'_> {
    /// Makes each entry of a directory on its own.
    fn take_apart(&mut self, dir: &Path) -> Result<()> {
        let wrong = |e| Error::io("list host directory", format_args!("{dir:?}"), e);
        let entries: std::io::Result<Vec<DirEntry>> = read_dir(dir).map_err(wrong)?.collect();
        for entry in entries.map_err(wrong)? {
            self.entry(&entry)?;
        }
        Ok(())
    }

    /// One that was removed since it was listed is left out.
    fn entry(&mut self, entry: &DirEntry) -> Result<()> {
        let path = entry.path();
        if OWN.iter().any(|own| path == Path::new(own)) {
            return Ok(());
        }
        let inside = c_inside(&path)?;
        let Some(kind) = unless_gone(&path, entry.file_type())? else {
            return Ok(());
        };
        if kind.is_symlink() {
            let Some(target) = unless_gone(&path, std::fs::read_link(&path))? else {
                return Ok(());
            };
            let target = c_path(&target)?;
            self.ops.push(Op::MakeLink {
                root: self.root.number(),
                path: &inside,
                target: &target,
            });
        } else if kind.is_dir()
            && self
                .mounts
                .iter()
                .any(|m| *m != path && m.starts_with(&path))
        {
            let Some(metadata) = unless_gone(&path, entry.metadata())? else {
                return Ok(());
            };
            self.ops.push(Op::MakeDir {
                root: self.root.number(),
                path: &inside,
                mode: metadata.mode() & 0o7777,
                uid: 0,
                gid: 0,
            });
            // What may not be listed is left empty, as it would look from inside.
            let _ = self.take_apart(&path);
        } else if kind.is_dir() {
            let Some(slot) = self.overlay(&path)? else {
                return Ok(());
            };
            self.ops.attach(slot, self.root, &inside, MAKE_DIR);
            if self.read_only {
                self.parts.push(slot);
            } else {
                self.ops.close(slot);
            }
        } else if kind.is_file() {
            let slot = self.ops.slot();
            self.ops.push(Op::CloneTree {
                into: slot.number(),
                base: -1,
                path: &c_path(&path)?,
                flags: MAY_BE_GONE,
            });
            self.ops
                .attach(slot, self.root, &inside, MAKE_FILE | MAY_BE_GONE);
            self.ops.set_attr(slot, RDONLY, false);
            self.ops.close(slot);
        }
        Ok(())
    }

    /// A directory of the host, taken whole.
    fn overlay(&mut self, lower: &Path) -> Result<Option<Slot>> {
        self.count += 1;
        let name = format!("h{}", self.count);
        let lowers = [c_path(lower)?].iter().collect();
        let Some(scratch) = self.scratch else {
            return Ok(Some(overlay(self.ops, self.stage, &name, lowers, 0, FLAGS)));
        };
        let Some(metadata) = unless_gone(lower, symlink_metadata(lower))? else {
            return Ok(None);
        };
        let [upper, work] = ["u", "w"].map(|tail| scratch.join(format!("{name}{tail}")));
        make_dirs(&upper, &work, metadata.mode() & 0o7777)
            .map_err(|e| Error::io("make tree", format_args!("{upper:?}"), e))?;
        let dirs = [&*c_path(&upper)?, &*c_path(&work)?];
        Ok(Some(overlay_at(
            self.ops, self.stage, lowers, dirs, 0, FLAGS,
        )))
    }
}

/// What was read of a host's entry; nothing if there is no such entry any more.
fn unless_gone<T>(path: &Path, read: std::io::Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other
            .map(Some)
            .map_err(|e| Error::io("read host entry", format_args!("{path:?}"), e)),
    }
}

/// Makes the upper layer of one directory: with its mode, since that is what will be seen.
fn make_dirs(upper: &Path, work: &Path, mode: u32) -> std::io::Result<()> {
    create_dir(work)?;
    create_dir(upper)?;
    set_permissions(upper, Permissions::from_mode(mode))
}

/// Every mount point of this process, proc_pid_mountinfo(5).
fn mount_points() -> Result<Vec<PathBuf>> {
    let file = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("list mounts", file, e))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .collect())
}

/// Space, tab, newline and backslash are written as octal numbers.
fn unescape(text: &str) -> PathBuf {
    let plain = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    plain
        .iter()
        .fold(text.to_owned(), |text, (code, c)| text.replace(code, c))
        .into()
}
