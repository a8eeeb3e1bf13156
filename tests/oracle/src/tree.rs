// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory tree as an mtree-like listing, and how two of them differ.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

/// Recorded fields of each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// File, directory, symlink, ...
    Type,
    /// Permission bits with setuid, setgid and sticky.
    Mode,
    /// Uid and gid.
    Owner,
    /// Length in bytes, of regular files.
    Size,
    /// Modification time to the nanosecond.
    Mtime,
    /// Extended attributes, each as `xattr NAME`.
    Xattrs,
    /// SHA-256 of the content, of regular files.
    Content,
    /// The target of a symlink.
    Target,
    /// Major and minor number, of devices.
    Device,
    /// The first name, in order of paths, of those that are the same file.
    Hardlink,
}

/// An entry: its fields as words, by field and name.
pub type Entry = BTreeMap<(Field, String), String>;

/// A tree's entries by path relative to the root, the empty path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Manifest {
    /// The entries by path.
    pub fn entries(&self) -> &BTreeMap<PathBuf, Entry> {
        &self.entries
    }

    /// A field of an entry.
    pub fn field(&self, path: impl AsRef<Path>, field: Field) -> Option<&str> {
        let entry = self.entries.get(path.as_ref())?;
        let (_, value) = entry.iter().find(|((f, _), _)| *f == field)?;
        Some(value)
    }

    /// The same listing without the fields that `keep` refuses, called with
    /// path, field and name (`mode`, `xattr user.x`, ...). Leaves out fields
    /// that ordinary users cannot set, or mtimes of directories that a layer
    /// does not name.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(&Path, Field, &str) -> bool) -> Self {
        for (path, entry) in &mut self.entries {
            entry.retain(|(field, name), _| keep(path, *field, name));
        }
        self
    }
}

/// Lists `root` and all entries below on the same file system, following no
/// symlink.
///
/// # Errors
/// The first that the file system reports, with the path.
pub fn manifest(root: impl AsRef<Path>) -> io::Result<Manifest> {
    let root = root.as_ref();
    let mut walk = Walk {
        root,
        device: fs::symlink_metadata(root)?.dev(),
        names: BTreeMap::new(),
        hashes: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    walk.visit(Path::new(""))?;
    Ok(Manifest {
        entries: walk.entries,
    })
}

struct Walk<'a> {
    root: &'a Path,
    device: u64,
    /// First path seen of each inode that has several names.
    names: BTreeMap<u64, PathBuf>,
    /// The hash of the contents.
    hashes: BTreeMap<u64, String>,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &Path) -> io::Result<()> {
        let full = self.root.join(path);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", full.display()));
        let metadata = fs::symlink_metadata(&full).map_err(named)?;
        let entry = self.entry(path, &full, &metadata).map_err(named)?;
        self.entries.insert(path.to_owned(), entry);
        if metadata.is_dir() && metadata.dev() == self.device {
            let mut names = fs::read_dir(&full)
                .map_err(named)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<OsString>>>()?;
            names.sort();
            for name in names {
                self.visit(&path.join(name))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, full: &Path, metadata: &fs::Metadata) -> io::Result<Entry> {
        let kind = metadata.file_type();
        let mut entry = Entry::new();
        let mut put = |field, name: &str, value: String| {
            entry.insert((field, name.to_owned()), value);
        };
        put(Field::Type, "type", type_name(kind).to_owned());
        put(Field::Owner, "owner", pair(metadata.uid(), metadata.gid()));
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        put(Field::Mtime, "mtime", format!("{seconds}.{nanoseconds:09}"));
        for (name, value) in xattrs(full)? {
            let name = format!("xattr {}", Shown(&name));
            put(Field::Xattrs, &name, hex(&value));
        }
        if kind.is_symlink() {
            put(Field::Target, "target", shown(&fs::read_link(full)?));
        } else {
            let mode = metadata.mode() & 0o7777;
            put(Field::Mode, "mode", format!("{mode:04o}"));
        }
        if kind.is_file() {
            put(Field::Size, "size", metadata.len().to_string());
            put(Field::Content, "sha256", self.hash(full, metadata)?);
        }
        if kind.is_char_device() || kind.is_block_device() {
            let device = metadata.rdev();
            let numbers = pair(rustix::fs::major(device), rustix::fs::minor(device));
            put(Field::Device, "device", numbers);
        }
        if !kind.is_dir() && metadata.nlink() > 1 {
            let first = self.names.entry(metadata.ino());
            let first = first.or_insert_with(|| path.to_owned());
            put(Field::Hardlink, "hardlink", shown(first));
        }
        Ok(entry)
    }

    /// The content's hash; a file with several names is read once.
    fn hash(&mut self, full: &Path, metadata: &fs::Metadata) -> io::Result<String> {
        if let Some(hash) = self.hashes.get(&metadata.ino()) {
            return Ok(hash.clone());
        }
        let hash = sha256(full)?;
        if metadata.nlink() > 1 {
            self.hashes.insert(metadata.ino(), hash.clone());
        }
        Ok(hash)
    }
}

fn pair(a: u32, b: u32) -> String {
    format!("{a}:{b}")
}

fn shown(path: &Path) -> String {
    Shown(path.as_os_str()).to_string()
}

fn type_name(kind: fs::FileType) -> &'static str {
    match kind {
        k if k.is_file() => "file",
        k if k.is_dir() => "dir",
        k if k.is_symlink() => "symlink",
        k if k.is_fifo() => "fifo",
        k if k.is_socket() => "socket",
        k if k.is_char_device() => "char",
        _ => "block",
    }
}

/// All extended attributes visible to this user; empty if the file system has
/// none.
fn xattrs(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut list = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut list) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in list[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value)?;
        value.truncate(length);
        found.push((OsStr::from_bytes(name).to_owned(), value));
    }
    Ok(found)
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A name with special characters escaped.
struct Shown<'a>(&'a OsStr);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_bytes().escape_ascii())
    }
}

impl fmt::Display for Manifest {
    /// A line per entry: path, then `name=value` for each field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, entry) in &self.entries {
            write!(f, "./{}", Shown(path.as_os_str()))?;
            for ((_, name), value) in entry {
                write!(f, " {}={value}", name.replace(' ', "."))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The differences between `there` and `here`, a readable line each; empty when
/// equal.
pub fn compare(here: &Manifest, there: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in &here.entries {
        let shown = Shown(path.as_os_str());
        match there.entries.get(path) {
            None => lines.push(format!("./{shown}: missing ({})", kind_of(entry))),
            Some(other) => compare_entry(&shown, entry, other, &mut lines),
        }
    }
    for (path, entry) in &there.entries {
        if !here.entries.contains_key(path) {
            let shown = Shown(path.as_os_str());
            lines.push(format!("./{shown}: unexpected ({})", kind_of(entry)));
        }
    }
    lines
}

fn kind_of(entry: &Entry) -> &str {
    entry
        .get(&(Field::Type, "type".to_owned()))
        .map_or("entry", String::as_str)
}

fn compare_entry(path: &Shown<'_>, here: &Entry, there: &Entry, lines: &mut Vec<String>) {
    let mut keys: Vec<_> = here.keys().chain(there.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (a, b) = (here.get(key), there.get(key));
        if a != b {
            let shown = |v: Option<&String>| v.map_or("none".to_owned(), Clone::clone);
            lines.push(format!("./{path}: {} {} -> {}", key.1, shown(a), shown(b)));
        }
    }
}
