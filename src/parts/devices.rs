// SPDX-License-Identifier: MIT OR Apache-2.0
//! The content of `/dev`: Docker's six devices and links, and the devices that
//! the spec asks for.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::LazyLock;

use nix::sys::stat::{makedev, stat};

use crate::error::{Error, Result, Step};
use crate::ops::{Ops, Slot, c_inside, c_path};
use crate::spec::{Device, Profile, Spec};
use crate::wire::{MAKE_FILE, NO_SYMLINKS, Op};

/// Name, major, minor; all are character devices of mode 0666.
const NODES: [(&CStr, u64, u64); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

/// Name and target.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

/// The same, where the kernel has the target.
const CORE: (&CStr, &CStr) = (c"core", c"/proc/kcore");
/// True if this kernel was built with it.
static CORE_IS_THERE: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/kcore").exists());

/// Makes the entries that every `/dev` has and that need no mount.
pub(crate) fn standard(ops: &mut Ops, dev: Slot, spec: &Spec, ordinary: bool) {
    for (name, major, minor) in NODES.into_iter().filter(|_| !ordinary) {
        ops.push(Op::MakeNode {
            root: dev.number(),
            path: name,
            mode: libc::S_IFCHR | 0o666,
            device: makedev(major, minor),
        });
    }
    let core = CORE_IS_THERE.then_some(CORE);
    for (path, target) in LINKS.into_iter().chain(core) {
        ops.push(Op::MakeLink {
            root: dev.number(),
            path,
            target,
        });
    }
    // Places to mount on.
    let mqueue = spec.namespaces.ipc.then_some(c"mqueue");
    for path in [c"pts", c"shm"].into_iter().chain(mqueue) {
        ops.make_dir(dev, path, 0o755);
    }
}

/// The rest, in `/dev`, attached or (detached path) not yet: mounts of the
/// host's devices, where none can be made, and the devices of the spec.
pub(crate) fn of_spec(ops: &mut Ops, dev: Slot, spec: &Spec, ordinary: bool) -> Result<()> {
    for (name, ..) in NODES.into_iter().filter(|_| ordinary) {
        bind(ops, dev, &host_path(name), name);
    }
    for device in wanted(spec)? {
        one(ops, dev, &device, ordinary)?;
    }
    Ok(())
}

/// Returns the devices of the spec; `privileged` has every device of the host.
fn wanted(spec: &Spec) -> Result<Vec<Device>> {
    let mut devices = spec.security.devices.clone();
    if spec.security.profile != Profile::Privileged {
        return Ok(devices);
    }
    let entries = std::fs::read_dir("/dev").map_err(|e| Error::io(Step::ListDevices, "/dev", e))?;
    for entry in entries.flatten() {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = entry
            .file_type()
            .map_err(|e| Error::io(Step::ListDevices, "/dev", e))?;
        let name = entry.file_name();
        let ours = NODES.iter().map(|(n, ..)| *n).chain([c"ptmx", c"console"]);
        if (kind.is_char_device() || kind.is_block_device())
            && !ours
                .clone()
                .any(|n| n.to_bytes() == name.as_encoded_bytes())
        {
            let path = entry.path();
            devices.push(Device {
                source: path.clone(),
                target: path,
                read: true,
                write: true,
                mknod: true,
            });
        }
    }
    Ok(devices)
}

fn one(ops: &mut Ops, dev: Slot, device: &Device, ordinary: bool) -> Result<()> {
    let wrong = |e| Error::os(Step::AddDevice, format_args!("{:?}", device.source), e);
    let found = stat(&device.source).map_err(wrong)?;
    let kind = found.st_mode & libc::S_IFMT;
    if kind != libc::S_IFCHR && kind != libc::S_IFBLK {
        return Err(Error::invalid(
            Step::AddDevice,
            format_args!("{:?} is not a device", device.source),
        ));
    }
    let inside = device.target.strip_prefix("/dev").unwrap_or(&device.target);
    let path = c_inside(inside)?;
    if ordinary {
        // The helper stands in another directory.
        let source = std::path::absolute(&device.source)
            .map_err(|e| Error::io(Step::AddDevice, format_args!("{:?}", device.source), e))?;
        bind(ops, dev, &c_path(&source)?, &path);
    } else {
        ops.push(Op::MakeNode {
            root: dev.number(),
            path: &path,
            mode: found.st_mode,
            device: found.st_rdev,
        });
    }
    Ok(())
}

/// In a user namespace no device can be made; the host's own is bound instead.
fn bind(ops: &mut Ops, dev: Slot, source: &CStr, path: &CStr) {
    let slot = ops.clone_tree(source, false);
    ops.attach(slot, dev, path, MAKE_FILE | NO_SYMLINKS);
    ops.close(slot);
}

fn host_path(name: &CStr) -> CString {
    let mut path = b"/dev/".to_vec();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("the names hold no NUL")
}
