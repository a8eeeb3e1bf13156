// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of a directory inside, read in parts.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::dir::{DirHandle, entry_name, unclear};
use super::metadata::{FileType, Metadata};
use crate::error::{Result, Step};
use crate::wire::{self, Field as _, FileRequest, FileStat, Reader};

/// An iterator over the entries of a directory, without `.` and `..`, in no
/// order.
///
/// Files that are made or removed meanwhile may be missing or not.
#[derive(Debug)]
pub struct ReadDir {
    dir: DirHandle,
    step: Step,
    some: VecDeque<DirEntry>,
    done: bool,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct DirEntry {
    name: OsString,
    metadata: Metadata,
}

impl DirEntry {
    /// Returns the name in the directory; any bytes but `/` and NUL.
    pub fn file_name(&self) -> &OsStr {
        &self.name
    }

    /// Returns the type; [`FileType::Unknown`] if the file system does not
    /// tell.
    pub fn file_type(&self) -> FileType {
        self.metadata.file_type()
    }

    /// Returns metadata of the file; of the link itself for a symbolic link.
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }
}

impl ReadDir {
    /// Iterates over the entries of `dir` itself.
    pub(super) fn new(step: Step, dir: DirHandle) -> Self {
        Self {
            dir,
            step,
            some: VecDeque::new(),
            done: false,
        }
    }

    /// Returns the directory.
    pub(super) fn handle(&self) -> &DirHandle {
        &self.dir
    }

    fn fetch(&mut self) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_LIST);
        let answer = self.dir.ask(self.step, Path::new(""), &asked)?;
        self.done = answer.count == 0;
        let mut reader = Reader::new(&answer.tail);
        while !reader.is_empty() {
            let entry = <&CStr>::get(&mut reader).and_then(|name| {
                let name = OsStr::from_bytes(entry_name(name)?).to_owned();
                let metadata = Metadata::new(FileStat::get(&mut reader)?);
                Some(DirEntry { name, metadata })
            });
            let shown = || unclear(self.step, &self.dir.shown(Path::new("")));
            self.some.push_back(entry.ok_or_else(shown)?);
        }
        Ok(())
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.some.pop_front() {
                return Some(Ok(entry));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fetch() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
