// SPDX-License-Identifier: MIT OR Apache-2.0
//! Types of file systems that store files.
#![forbid(unsafe_code)]

use crate::sys::{self, Result};

/// Types of statfs(2). Others are not touched: in procfs, sysfs, cgroups, and
/// any type that the kernel may add, opening or writing may have an effect.
const STORAGE: [u32; 32] = [
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0xf2f5_2010, // f2fs
    0x8584_58f6, // ramfs
    0x7371_7368, // squashfs
    0xe0f5_e1e2, // erofs
    0x28cd_3d45, // cramfs
    0x9660,      // iso9660
    0x1501_3346, // udf
    0x4d44,      // vfat
    0x2011_bab0, // exfat
    0x7366_746e, // ntfs3
    0x5346_544e, // ntfs
    0x3153_464a, // jfs
    0x5265_4973, // reiserfs
    0x3434,      // nilfs2
    0x4244,      // hfs
    0x482b,      // hfsplus
    0x0116_1970, // gfs2
    0x7461_636f, // ocfs2
    0xf15f,      // ecryptfs
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x6573_5546, // fuse, virtiofs
];

/// Returns whether a descriptor, O_PATH or not, is on such a file system.
pub(crate) fn is_storage(fd: i32) -> Result<bool> {
    let kind = sys::fstatfs(fd)?.kind;
    Ok(is_weak!("files_anywhere") || STORAGE.contains(&(kind as u32)))
}
