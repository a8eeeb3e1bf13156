// SPDX-License-Identifier: MIT OR Apache-2.0
//! Overlays of any number of layers with any names, on kernels with an option
//! per layer and on older kernels.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::dir;
use crate::mapping::Mapping;
use crate::mount::{create, open_of_machine, option, options};
use crate::sys::{self, AT_SYMLINK_NOFOLLOW, Errno, Fd, O_DIRECTORY, Result};
use crate::wire::{List, OF_MACHINE, USERXATTR};

/// Option for inode numbers that are unique in the whole mount, with a single
/// st_dev, and d_ino equal to st_ino, even for layers of several file systems
/// (the kernel's overlayfs documentation, "Inode properties"). Left out by a
/// kernel without it; `effective` tells.
const XINO: [&CStr; 2] = [c"xino", c"on"];

/// Parameters of [`crate::wire::Op::NewOverlay`]. Names that are not absolute
/// are relative to the stage.
pub(crate) struct Overlay<'a> {
    /// Mount with upper and work, for helper names as well. KERNEL(6.15):
    /// before that the mount must be attached.
    pub(crate) stage: i32,
    /// Number of the overlay in this stage, for the names of helper entries.
    pub(crate) number: u64,
    /// Topmost first.
    pub(crate) lowers: List<'a>,
    pub(crate) upper: &'a CStr,
    pub(crate) work: &'a CStr,
    pub(crate) options: List<'a>,
    pub(crate) attrs: u32,
    pub(crate) flags: u32,
}

impl Overlay<'_> {
    pub(crate) fn mount(&self) -> Result<Fd> {
        // The stage has no path, so names are relative to the working
        // directory.
        sys::fchdir(self.stage)?;
        let opened = match self.flags & OF_MACHINE {
            0 => None,
            _ => Some(self.open_lower()?),
        };
        let mounted = match self.by_option(opened.as_ref()) {
            // KERNEL(6.8): `lowerdir+` is not known, or a path is longer than
            // an option may be.
            Err(Errno::INVAL | Errno::NOSYS | Errno::TOOBIG | Errno::NOTSUP) => {
                self.by_links(opened.as_ref())
            }
            other => other,
        };
        sys::chdir(c"/")?;
        mounted
    }

    /// Opens the only layer, and gives the upper directory its owner and mode.
    fn open_lower(&self) -> Result<Fd> {
        let lower = open_of_machine(self.lowers.iter().next().ok_or(Errno::INVAL)?, O_DIRECTORY)?;
        let stat = sys::fstatat(lower.raw(), c"")?;
        let (uid, gid) = (stat.uid, stat.gid);
        sys::fchownat(self.stage, self.upper, uid, gid, AT_SYMLINK_NOFOLLOW)?;
        sys::fchmodat(self.stage, self.upper, stat.mode & 0o7777)?;
        Ok(lower)
    }

    fn by_option(&self, opened: Option<&Fd>) -> Result<Fd> {
        let fs = sys::fsopen(c"overlay")?;
        if option(&fs, c"tare", c"").is_ok() {
            // KERNEL(6.5): older kernels look at options only at the end, and
            // log an unknown one.
            return Err(Errno::NOSYS);
        }
        option(&fs, c"source", c"overlay")?;
        match opened {
            Some(lower) => match sys::fsconfig_fd(&fs, c"lowerdir+", lower) {
                // KERNEL(6.15): overlayfs takes paths only, or no descriptors
                // of O_PATH.
                Err(Errno::INVAL | Errno::BADF) => option(
                    &fs,
                    c"lowerdir+",
                    dir::proc_fd(lower.raw(), &mut [0; dir::PROC_FD])?,
                )?,
                other => other?,
            },
            None => self
                .lowers
                .iter()
                .try_for_each(|lower| option(&fs, c"lowerdir+", lower))?,
        }
        let mut places = [[0u8; 24]; 2];
        let [upper, work] = self.writable(&mut places)?;
        option(&fs, c"upperdir", upper)?;
        option(&fs, c"workdir", work)?;
        if self.flags & USERXATTR != 0 {
            option(&fs, c"userxattr", c"")?;
        }
        option(&fs, XINO[0], XINO[1])?;
        options(&fs, self.options)?;
        create(&fs, self.attrs)
    }

    /// Mounts with short links for the layers, so that neither the number nor
    /// the characters of their names matter. All options together may take a
    /// page, which is enough for as many layers as the kernel takes.
    fn by_links(&self, opened: Option<&Fd>) -> Result<Fd> {
        let mut data = Text {
            memory: Mapping::anonymous(4096)?,
            at: 0,
        };
        data.add(&[b"lowerdir="])?;
        for (n, lower) in self.lowers.iter().enumerate() {
            let (mut place, mut digits, mut path) = ([0u8; 24], [0; 20], [0; dir::PROC_FD]);
            let lower = match opened {
                Some(opened) => dir::proc_fd(opened.raw(), &mut path)?,
                None => lower,
            };
            let name = self.link(&mut place, dir::digits(n as u64, &mut digits), lower)?;
            data.add(&[if n > 0 { b":" } else { b"" }, name.to_bytes()])?;
        }
        let mut places = [[0u8; 24]; 2];
        let [upper, work] = self.writable(&mut places)?;
        data.option([c"upperdir", upper])?;
        data.option([c"workdir", work])?;
        if self.flags & USERXATTR != 0 {
            data.option([c"userxattr", c""])?;
        }
        data.option(XINO)?;
        let mut each = self.options.iter();
        while let (Some(key), Some(value)) = (each.next(), each.next()) {
            data.option([key, value])?;
        }
        let mut place = [0u8; 24];
        let mount = self.name(&mut place, b"m")?;
        sys::mkdirat(self.stage, mount, 0o700)?;
        // read-only, nosuid, nodev and noexec have the same bits here.
        let flags = self.attrs & 15;
        let text = CStr::from_bytes_until_nul(data.memory.bytes()).map_err(|_| Errno::TOOBIG)?;
        sys::mount(c"overlay", mount, u64::from(flags), text)?;
        sys::open_tree_clone(self.stage, mount, 0)
    }

    /// Returns the options for upper and work: links for names from outside.
    /// Unlike in a `lowerdir+`, a backslash in these two is an escape.
    fn writable<'p>(&'p self, [u, w]: &'p mut [[u8; 24]; 2]) -> Result<[&'p CStr; 2]> {
        match self.upper.to_bytes() {
            [b'/', ..] => Ok([
                self.link(u, b"u", self.upper)?,
                self.link(w, b"w", self.work)?,
            ]),
            _ => Ok([self.upper, self.work]),
        }
    }

    /// Makes a link of this overlay's own in the stage.
    fn link<'p>(&self, place: &'p mut [u8; 24], what: &[u8], target: &CStr) -> Result<&'p CStr> {
        let name = self.name(place, what)?;
        match sys::symlinkat(target, self.stage, name) {
            // The first attempt made the same link.
            Err(Errno::EXIST) => Ok(name),
            other => other.map(|()| name),
        }
    }

    /// Returns a name that no other overlay of this stage uses. Directly in the
    /// stage: from deeper, `..` would end on top of a mount over the stage.
    fn name<'p>(&self, place: &'p mut [u8; 24], what: &[u8]) -> Result<&'p CStr> {
        dir::join(place, &[what, b"o", dir::digits(self.number, &mut [0; 20])])
    }
}

/// Option text; ends with a NUL because the mapping is zero.
struct Text {
    memory: Mapping,
    at: usize,
}

impl Text {
    /// Adds an option behind others; an empty value makes a flag.
    fn option(&mut self, [key, value]: [&CStr; 2]) -> Result<()> {
        match value.to_bytes() {
            b"" => self.add(&[b",", key.to_bytes()]),
            value => self.add(&[b",", key.to_bytes(), b"=", value]),
        }
    }

    fn add(&mut self, parts: &[&[u8]]) -> Result<()> {
        let rest = &mut self.memory.bytes_mut()[self.at..4095];
        let added = dir::join(rest, parts).map_err(|_| Errno::TOOBIG)?;
        self.at += added.count_bytes();
        Ok(())
    }
}
