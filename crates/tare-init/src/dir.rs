// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths inside a root: the kernel resolves each path once, and from then on
//! the descriptor is used.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::sys::{
    self, Errno, Fd, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, Result,
};

/// Longest path, with its NUL.
pub(crate) const PATH_MAX: usize = 4096;

/// Joins parts in `buffer`, with a NUL at the end.
pub(crate) fn join<'b>(buffer: &'b mut [u8], parts: &[&[u8]]) -> Result<&'b CStr> {
    let mut at = 0;
    for part in parts {
        let place = buffer
            .get_mut(at..at + part.len())
            .ok_or(Errno::NAMETOOLONG)?;
        place.copy_from_slice(part);
        at += part.len();
    }
    *buffer.get_mut(at).ok_or(Errno::NAMETOOLONG)? = 0;
    CStr::from_bytes_with_nul(&buffer[..=at]).map_err(|_| Errno::INVAL)
}

/// Formats a number in decimal.
pub(crate) fn digits(mut n: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buffer[at..];
        }
    }
}

/// Joins a word and a number in `buffer`.
pub(crate) fn numbered<'b>(buffer: &'b mut [u8], word: &[u8], n: u64) -> Result<&'b CStr> {
    join(buffer, &[word, digits(n, &mut [0; 20])])
}

/// Room for [`proc_fd`].
pub(crate) const PROC_FD: usize = 40;

/// Formats a path that leads to an open file, also after a rename, for calls
/// that refuse O_PATH descriptors.
pub(crate) fn proc_fd(fd: i32, buffer: &mut [u8; PROC_FD]) -> Result<&CStr> {
    numbered(buffer, b"/proc/self/fd/", fd as u64)
}

/// Resolution of links inside a root.
pub(crate) fn in_root() -> u64 {
    if is_weak!("no_inroot") {
        0
    } else {
        sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS
    }
}

/// No further restriction of a path.
pub(crate) const ANY: u64 = 0;
/// No component may be a link.
pub(crate) const STRICT: u64 = sys::RESOLVE_NO_SYMLINKS;
/// The path must stay in the root's own mount.
pub(crate) const HERE: u64 = sys::RESOLVE_NO_XDEV;

/// Opens a path inside `root`; links stay inside. `how` is made of [`STRICT`]
/// and [`HERE`].
pub(crate) fn open(root: i32, path: &CStr, flags: u32, how: u64) -> Result<Fd> {
    sys::openat2(root, path, flags, 0, in_root() | how)
}

/// Parent directory and last name of a path.
pub(crate) fn split(path: &CStr) -> (&[u8], &[u8]) {
    let mut bytes = path.to_bytes();
    while let [head @ .., b'/'] = bytes {
        bytes = head;
    }
    match bytes.iter().rposition(|b| *b == b'/') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (b"", bytes),
    }
}

/// Opens (O_PATH) the directory `path` inside `root`, and makes missing
/// components with mode 0755.
pub(crate) fn ensure_dir(root: i32, path: &CStr, how: u64) -> Result<Fd> {
    match open(root, path, O_PATH | O_DIRECTORY, how) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let bytes = path.to_bytes();
    if !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/') {
        return make_below(root, path);
    }
    let mut buffer = [0u8; PATH_MAX];
    let mut at = 0;
    // The part that exists may hold links, so each prefix is resolved from the
    // root ...
    let mut parent = sys::openat(root, c".", O_PATH | O_DIRECTORY, 0)?;
    while at < bytes.len() {
        let end = next_end(bytes, at);
        let prefix = join(&mut buffer, &[&bytes[..end]])?;
        match open(root, prefix, O_PATH | O_DIRECTORY, how) {
            Ok(fd) => parent = fd,
            Err(Errno::NOENT) => break,
            Err(error) => return Err(error),
        }
        at = end;
    }
    // ... and from the first missing component on, each is made below a
    // descriptor.
    while at < bytes.len() {
        let end = next_end(bytes, at);
        // Without any leading slash, because a slash makes a name absolute.
        let slashes = bytes[at..end].iter().take_while(|b| **b == b'/').count();
        let name = &bytes[at + slashes..end];
        at = end;
        if name.is_empty() || name == b"." {
            continue;
        }
        if name == b".." {
            return Err(Errno::NOENT);
        }
        parent = make_below(parent.raw(), join(&mut buffer, &[name])?)?;
    }
    Ok(parent)
}

/// Makes a directory unless it exists, and opens it.
fn make_below(parent: i32, name: &CStr) -> Result<Fd> {
    match sys::mkdirat(parent, name, 0o755) {
        Err(Errno::EXIST) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    sys::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)
}

/// Returns the end of the component at `at`, leading slashes included.
fn next_end(bytes: &[u8], at: usize) -> usize {
    let name = at + bytes[at..].iter().take_while(|b| **b == b'/').count();
    name + bytes[name..].iter().take_while(|b| **b != b'/').count()
}

/// A borrowed or an opened directory.
pub(crate) enum Dir {
    Given(i32),
    Opened(Fd),
}

impl Dir {
    pub(crate) fn fd(&self) -> i32 {
        match self {
            Self::Given(fd) => *fd,
            Self::Opened(fd) => fd.raw(),
        }
    }
}

/// The parent of `path` inside `root`, made if missing, and the last name in
/// `buffer`.
pub(crate) fn parent<'b>(
    root: i32,
    path: &CStr,
    how: u64,
    buffer: &'b mut [u8],
) -> Result<(Dir, &'b CStr)> {
    let (dir, name) = split(path);
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    let dir = match dir {
        b"" => Dir::Given(root),
        dir => {
            let mut place = [0u8; PATH_MAX];
            Dir::Opened(ensure_dir(root, join(&mut place, &[dir])?, how)?)
        }
    };
    Ok((dir, join(buffer, &[name])?))
}

/// Dangling links that are followed in a row, path_resolution(7).
const LINKS: u32 = 40;

/// Opens the file `path` inside `root` with O_PATH. Makes a missing file, empty
/// and opened with O_WRONLY. Makes the target of a dangling link.
pub(crate) fn ensure_file(root: i32, path: &CStr, how: u64) -> Result<Fd> {
    match open(root, path, O_PATH, how) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let (mut from, mut to) = ([0u8; PATH_MAX], [0u8; PATH_MAX]);
    let mut len = join(&mut from, &[path.to_bytes()])?.count_bytes();
    for _ in 0..LINKS {
        let path = CStr::from_bytes_with_nul(&from[..=len]).map_err(|_| Errno::INVAL)?;
        match create(root, path, 0o644, how) {
            Err(Errno::EXIST) if how & STRICT == 0 => len = target(root, path, how, &mut to)?,
            other => return other,
        }
        (from, to) = (to, from);
    }
    Err(Errno::LOOP)
}

/// Puts the target of a link inside `root` into `buffer`, resolved no further;
/// returns the length.
fn target(root: i32, path: &CStr, how: u64, buffer: &mut [u8; PATH_MAX]) -> Result<usize> {
    let mut place = [0u8; 256];
    let (dir, name) = parent(root, path, how, &mut place)?;
    let mut text = [0u8; PATH_MAX];
    let n = sys::readlinkat(dir.fd(), name, &mut text[..PATH_MAX - 1])?;
    let parts: &[&[u8]] = match &text[..n] {
        absolute @ [b'/', ..] => &[absolute],
        relative => &[split(path).0, b"/", relative],
    };
    join(buffer, parts).map(CStr::count_bytes)
}

/// Makes a new file inside `root`; an existing file or link is an error.
pub(crate) fn create(root: i32, path: &CStr, mode: u32, how: u64) -> Result<Fd> {
    let mut buffer = [0u8; 256];
    let (dir, name) = parent(root, path, how, &mut buffer)?;
    let flags = sys::O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    sys::openat(dir.fd(), name, flags, mode)
}

/// Reads the beginning of the file whose path the parts make.
pub(crate) fn read_file<'b>(at: i32, parts: &[&[u8]], into: &'b mut [u8]) -> Result<&'b [u8]> {
    let mut path = [0; 64];
    let file = sys::openat(at, join(&mut path, parts)?, O_RDONLY, 0)?;
    let n = sys::read(file.raw(), into)?;
    Ok(&into[..n])
}

/// Fills memory from a file; returns the number of bytes, fewer at its end.
/// Reads instead of mapping, because a mapped file that shrinks kills its
/// reader.
pub(crate) fn read_full(file: &Fd, into: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    while at < into.len() {
        match sys::read(file.raw(), &mut into[at..])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}

/// Writes to an existing file.
pub(crate) fn write_file(at: i32, path: &CStr, bytes: &[u8]) -> Result<()> {
    sys::write(sys::openat(at, path, sys::O_WRONLY, 0)?.raw(), bytes)
}

/// Calls `each` with every name in the directory but `.` and `..`.
pub(crate) fn for_each(
    at: i32,
    path: &CStr,
    mut each: impl FnMut(&CStr) -> Result<()>,
) -> Result<()> {
    let dir = sys::openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
    while next_entries(dir.raw(), &mut each)? {}
    Ok(())
}

/// Calls `each` with the next names of an open directory, at most 171; returns
/// false at the end.
pub(crate) fn next_entries(dir: i32, mut each: impl FnMut(&CStr) -> Result<()>) -> Result<bool> {
    let mut buffer = [0u64; 512];
    let bytes = sys::getdents64(dir, &mut buffer)?;
    let mut at = 0;
    // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name.
    while let Some(entry) = bytes.get(at..).filter(|e| e.len() > 19) {
        let len = usize::from(u16::from_ne_bytes([entry[16], entry[17]]));
        let name = CStr::from_bytes_until_nul(&entry[19..]).map_err(|_| Errno::IO)?;
        if !matches!(name.to_bytes(), b"." | b"..") {
            each(name)?;
        }
        at += len.max(20);
    }
    Ok(!bytes.is_empty())
}
