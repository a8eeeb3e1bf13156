// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers requests about files of an open sandbox.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tare::files::{Copied, Metadata, OpenOptions};
use tare::{Error, Files, Kind, Result};

use crate::bytes::{Data, Encoding, Shown};
use crate::params::files::{Ask, ReadFile};

/// Most bytes in an answer to `read_file`: in base64, an answer is as short as
/// a request.
const READ: u64 = 8 << 20;

/// Answer to `read_file`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Content<'a> {
    /// The whole content.
    #[schemars(with = "Data")]
    data: Shown<'a>,
}

/// Answer to `stat`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FileStat {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char_device`,
    /// `block_device` or `unknown`.
    r#type: &'static str,
    /// Permissions, in octal.
    mode: String,
    /// Owner, as the sandbox sees it.
    uid: u32,
    /// Group, as the sandbox sees it.
    gid: u32,
    /// Bytes.
    size: u64,
    /// Number of hard links.
    nlink: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    mtime_ns: i64,
}

impl From<&Metadata> for FileStat {
    fn from(found: &Metadata) -> Self {
        let (seconds, nanoseconds) = found.mtime();
        Self {
            r#type: found.file_type().as_str(),
            mode: format!("{:03o}", found.permissions()),
            uid: found.uid(),
            gid: found.gid(),
            size: found.len(),
            nlink: found.nlink(),
            mtime_ns: seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds.into()),
        }
    }
}

/// Answer to `list_dir`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Entries<'a> {
    /// Entries without `.` and `..`, sorted by name.
    entries: Vec<Entry<'a>>,
}

/// An entry of a directory; a link is not followed.
#[derive(Serialize, JsonSchema)]
struct Entry<'a> {
    /// Name in the directory.
    #[schemars(with = "Data")]
    name: Shown<'a>,
    /// Metadata.
    #[serde(flatten)]
    found: FileStat,
}

/// Answer to `put`, `get`, `put_tar` and `get_tar`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CopyReport {
    /// Files, directories and links that were copied.
    entries: u64,
    /// Sentences about files left out: the first 64, then how many more.
    left_out: Vec<String>,
}

impl From<Copied> for CopyReport {
    fn from(copied: Copied) -> Self {
        Self {
            entries: copied.entries,
            left_out: copied.left_out,
        }
    }
}

fn path(data: Data) -> PathBuf {
    PathBuf::from(data.into_os())
}

fn value(answer: impl Serialize) -> Result<Value> {
    serde_json::to_value(answer).map_err(|e| Error::new(Kind::Broken, "write answer", e))
}

impl Ask {
    /// Carries out the request; returns the result for the answer.
    pub(crate) fn apply(mut self, files: &Files<'_>) -> Result<Value> {
        let user = self.take_user();
        let files = &match &user {
            Some(user) => files.as_user(user),
            None => *files,
        };
        match self {
            Self::Read(ask) => read(files, ask),
            Self::Write(ask) => {
                let mut options = OpenOptions::new();
                options
                    .write(!ask.append)
                    .append(ask.append)
                    .truncate(!ask.append && !ask.exclusive)
                    .create(!ask.exclusive)
                    .create_new(ask.exclusive)
                    .mode(ask.mode.0);
                files.write_with(path(ask.path), ask.data.0, &options)?;
                Ok(json!({}))
            }
            Self::List(ask) => list(files, &path(ask.path)),
            Self::Stat(ask) => {
                let found = match ask.follow_symlinks {
                    true => files.metadata(path(ask.path)),
                    false => files.symlink_metadata(path(ask.path)),
                };
                value(FileStat::from(&found?))
            }
            Self::Mkdir(ask) => {
                match ask.parents {
                    true => files.create_dir_all(path(ask.path), ask.mode.0)?,
                    false => files.create_dir(path(ask.path), ask.mode.0)?,
                }
                Ok(json!({}))
            }
            Self::Remove(ask) => remove(files, &path(ask.path), ask.recursive),
            Self::Put(ask) => value(CopyReport::from(
                files.put(path(ask.local), path(ask.path))?,
            )),
            Self::Get(ask) => value(CopyReport::from(
                files.get(path(ask.path), path(ask.local))?,
            )),
            Self::PutTar(ask) => {
                let name = path(ask.archive);
                let archive = File::open(&name).map_err(|e| wrong("open archive", &name, e))?;
                value(CopyReport::from(files.put_tar(path(ask.dir), archive)?))
            }
            Self::GetTar(ask) => get_tar(files, &path(ask.path), &path(ask.archive)),
        }
    }
}

fn wrong(step: &'static str, name: &Path, error: io::Error) -> Error {
    Error::io(
        step,
        format_args!("{:?}", name.display().to_string()),
        error,
    )
}

fn read(files: &Files<'_>, ask: ReadFile) -> Result<Value> {
    let limit = ask.limit.map_or(READ, |limit| limit.bytes());
    if limit > READ {
        let why = format_args!("{limit} bytes are more than {READ}");
        return Err(Error::new(Kind::Invalid, "check request: limit", why).with_cure("\"get\""));
    }
    let content = files.read_at_most(path(ask.path), limit);
    let content = content.map_err(|error| match error.errno() {
        Some(errno) if errno == Errno::EFBIG as i32 => error.with_cure("\"get\""),
        _ => error,
    })?;
    value(Content {
        data: Shown::new(&content, ask.encoding),
    })
}

fn list(files: &Files<'_>, path: &Path) -> Result<Value> {
    let mut entries = files.read_dir(path)?.collect::<Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    let entry = |entry| {
        let entry: &tare::files::DirEntry = entry;
        Entry {
            name: Shown::new(entry.file_name().as_bytes(), Encoding::Auto),
            found: FileStat::from(&entry.metadata()),
        }
    };
    value(Entries {
        entries: entries.iter().map(entry).collect(),
    })
}

fn remove(files: &Files<'_>, path: &Path, recursive: bool) -> Result<Value> {
    match files.remove_file(path) {
        Err(error) if error.errno() == Some(Errno::EISDIR as i32) => match recursive {
            true => files.remove_dir_all(path),
            false => files.remove_dir(path),
        },
        other => other,
    }?;
    Ok(json!({}))
}

fn get_tar(files: &Files<'_>, path: &Path, name: &Path) -> Result<Value> {
    let archive = File::create_new(name).map_err(|e| wrong("make archive", name, e))?;
    match files.get_tar(path, archive) {
        Ok(copied) => value(CopyReport::from(copied)),
        Err(error) => {
            // A part of an archive has no use. If the removal fails, too, the
            // first error is the useful one.
            let _ = std::fs::remove_file(name);
            Err(error)
        }
    }
}
