// SPDX-License-Identifier: MIT OR Apache-2.0
//! KERNEL(5.12): mount_setattr(2) for older kernels, by mount(2) on each mount
//! of a tree.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::decimal;
use crate::descent::{Kin, Member, gather};
use crate::dir::{self, PROC_FD};
use crate::mapping::{Mapping, Table};
use crate::sys::{
    self, AT_FDCWD, Errno, Fd, MS_BIND, MS_NOATIME, MS_NODIRATIME, MS_NOSYMFOLLOW, MS_RELATIME,
    MS_REMOUNT, MS_STRICTATIME, O_NOFOLLOW, O_PATH, O_RDONLY, Result,
};
use crate::wire::unescape;

/// More mounts than a namespace has by default, `fs.mount-max`.
const ROWS: usize = 1 << 17;
/// Longest listing that is read.
const LARGEST: usize = 256 << 20;

/// Sets and clears attributes of an attached mount, recursively on request.
pub(crate) fn set_attr(mount: i32, set: u32, clear: u32, recursive: bool) -> Result<()> {
    one(mount, set, clear)?;
    match recursive {
        true => each_below(mount, |below| one(below.raw(), set, clear)),
        false => Ok(()),
    }
}

fn one(mount: i32, set: u32, clear: u32) -> Result<()> {
    let flags = remount_flags(sys::fstatfs(mount)?.flags, set, clear)?;
    let mut path = [0u8; PROC_FD];
    let path = dir::proc_fd(mount, &mut path)?;
    sys::mount_change(path, flags | MS_REMOUNT | MS_BIND)
}

/// Returns the flags of mount(2) for a mount with the flags `has` of statfs(2).
/// Refuses other attributes than read-only, nosuid, nodev and noexec, instead
/// of leaving a restriction out.
fn remount_flags(has: u64, set: u32, clear: u32) -> Result<u64> {
    // These four have the same bits in statfs(2), mount(2) and
    // mount_setattr(2).
    const SAME: u64 = 15;
    const ST_NOATIME: u64 = 0x400;
    const ST_NODIRATIME: u64 = 0x800;
    const ST_RELATIME: u64 = 0x1000;
    const ST_NOSYMFOLLOW: u64 = 0x2000;
    // A remount without them drops them, or is refused where they are locked.
    const KEPT: [(u64, u64); 4] = [
        (ST_NOATIME, MS_NOATIME),
        (ST_NODIRATIME, MS_NODIRATIME),
        (ST_RELATIME, MS_RELATIME),
        (ST_NOSYMFOLLOW, MS_NOSYMFOLLOW),
    ];
    if u64::from(set | clear) & !SAME != 0 {
        return Err(Errno::INVAL);
    }
    let mut flags = (has & SAME | u64::from(set)) & !u64::from(clear);
    for (st, ms) in KEPT {
        if has & st != 0 {
            flags |= ms;
        }
    }
    if has & (ST_NOATIME | ST_RELATIME) == 0 {
        flags |= MS_STRICTATIME;
    }
    Ok(flags)
}

/// Calls `each` with every mount below `mount` that a process can reach. No
/// other process changes this namespace meanwhile.
fn each_below(mount: i32, mut each: impl FnMut(Fd) -> Result<()>) -> Result<()> {
    let listing = read_all(c"/proc/self/mountinfo")?;
    let text = listing.bytes();
    let mut table = Table::<Member>::new(ROWS)?;
    let rows = table.rows();
    let own = mount_id(mount)?;
    let n = parse(text, own, rows)?;
    let rows = &mut rows[..n];
    let point = |row: &Member| text[row.own..].split(|b| *b == b' ').next();
    let top = rows
        .iter()
        .find(|row| row.id == own)
        .and_then(point)
        .ok_or(Errno::INVAL)?;
    gather(rows);
    let mut place = Mapping::anonymous(text.len())?;
    for row in rows
        .iter()
        .filter(|row| row.kin == Kin::Ours && row.id != own)
    {
        let inside = point(row)
            .and_then(|point| point.strip_prefix(top))
            .ok_or(Errno::INVAL)?;
        let path = below(inside, place.bytes_mut())?;
        const HERE: u64 =
            sys::RESOLVE_BENEATH | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
        match sys::openat2(mount, path, O_PATH | O_NOFOLLOW, 0, HERE) {
            Ok(found) if mount_id(found.raw())? == row.id => each(found)?,
            // Another mount covers this one, or the way to it, and stays: a
            // process that may unmount the cover could change this mount as
            // well.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            // No process inside may do more than this one, which may not get
            // there.
            Err(Errno::ACCES) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole file; the rest of the memory is zero.
fn read_all(path: &CStr) -> Result<Mapping> {
    let mut size = 1 << 18;
    while size <= LARGEST {
        let mut memory = Mapping::anonymous(size)?;
        let file = sys::openat(AT_FDCWD, path, O_RDONLY, 0)?;
        if dir::read_full(&file, memory.bytes_mut())? < size {
            return Ok(memory);
        }
        size *= 4;
    }
    Err(Errno::TOOBIG)
}

/// Fills a row for each line: id, parent, (device, root), mount point.
fn parse(text: &[u8], own: i32, rows: &mut [Member]) -> Result<usize> {
    let (mut n, mut start) = (0, 0);
    for line in text
        .split_inclusive(|b| *b == b'\n')
        .filter(|line| line.ends_with(b"\n"))
    {
        let mut fields = line.split(|b| *b == b' ');
        let mut number = || decimal::number(fields.next()?);
        let (id, parent) = (number().ok_or(Errno::PROTO)?, number().ok_or(Errno::PROTO)?);
        let point = fields.nth(2).ok_or(Errno::PROTO)?;
        let at = start + (point.as_ptr() as usize - line.as_ptr() as usize);
        *rows.get_mut(n).ok_or(Errno::TOOBIG)? = Member::new(id, parent, id == own, at);
        n += 1;
        start += line.len();
    }
    Ok(n)
}

/// Returns a path below the mount: without escapes and the slash in front.
fn below<'b>(text: &[u8], place: &'b mut [u8]) -> Result<&'b CStr> {
    let mut n = 0;
    for byte in unescape(text.strip_prefix(b"/").unwrap_or(text)).chain([0]) {
        *place.get_mut(n).ok_or(Errno::TOOBIG)? = byte;
        n += 1;
    }
    CStr::from_bytes_with_nul(&place[..n]).map_err(|_| Errno::INVAL)
}

/// Returns the mount of a descriptor, proc_pid_fdinfo(5). Unlike statx(2), this
/// asks no file system.
fn mount_id(fd: i32) -> Result<i32> {
    let (mut digits, mut text) = ([0; 20], [0; 512]);
    let name = [b"/proc/self/fdinfo/", dir::digits(fd as u64, &mut digits)];
    let text = dir::read_file(AT_FDCWD, &name, &mut text)?;
    let line = text
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:\t"));
    line.and_then(decimal::number).ok_or(Errno::PROTO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remount_refuses_attributes_that_it_cannot_set() {
        const NOSYMFOLLOW: u32 = 0x20_0000;
        let flags = |set, clear| remount_flags(0x400 | 1, set, clear).map_err(|errno| errno.0);
        assert_eq!(flags(8, 1), Ok(MS_NOATIME | 8));
        assert_eq!(flags(2 | NOSYMFOLLOW, 0), Err(Errno::INVAL.0));
        assert_eq!(flags(0, NOSYMFOLLOW), Err(Errno::INVAL.0));
    }
}
