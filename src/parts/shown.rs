// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways in which mounts of the machine are shown, and the results of their
//! trials.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::sys::mountinfo::{Mount, Mounts};

/// The way in which a mount or file of the machine is shown in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShownAs {
    /// Copy-on-write.
    Cow,
    /// Overlayfs refuses the mount, or too many files beside a mount would have
    /// to be copied.
    ReadOnly,
    /// The mount point is empty, because of this.
    LeftOut(String),
}

/// A mount or file of the machine in a sandbox's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownMount {
    /// The path inside.
    pub path: String,
    /// `cow`, `read-only` or `left out`.
    pub shown: String,
    /// The reason for leaving it out; else empty.
    pub why: String,
}

impl ShownMount {
    pub(crate) fn new((path, shown): &(PathBuf, ShownAs)) -> Self {
        let (word, why) = match shown {
            ShownAs::Cow => ("cow", ""),
            ShownAs::ReadOnly => ("read-only", ""),
            ShownAs::LeftOut(why) => ("left out", why.as_str()),
        };
        Self {
            path: path.display().to_string(),
            shown: word.into(),
            why: why.into(),
        }
    }
}

/// The time before a mount that did not answer is asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// The mount table read last, and results of trials while the table stays the
/// same.
#[derive(Debug)]
pub(crate) struct Verdicts {
    table: Vec<u8>,
    mounts: Arc<Mounts>,
    /// Those of the mounts that may be shown.
    others: Arc<[Mount]>,
    known: HashMap<u64, ShownAs>,
    /// Mounts that did not answer, kept when others change. Each trial leaves a
    /// process that cannot be killed before the file system lets go.
    silent: Vec<(Mount, ShownAs, Instant)>,
    /// True if overlayfs has refused a file system of an accepted type.
    distrusts: bool,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self {
            table: Vec::new(),
            mounts: Arc::default(),
            others: Arc::new([]),
            known: HashMap::new(),
            silent: Vec::new(),
            distrusts: false,
        }
    }
}

impl Verdicts {
    /// Returns the mounts of a table, and those that `select` takes. Forgets
    /// the trials if the table has changed; `silent` stays.
    pub(crate) fn follow(
        &mut self,
        table: Vec<u8>,
        select: impl FnOnce(&Mounts) -> Vec<Mount>,
    ) -> (Arc<Mounts>, Arc<[Mount]>) {
        if self.table != table {
            self.known.clear();
            self.mounts = Arc::new(Mounts::parse(&table));
            self.others = select(&self.mounts).into();
            self.table = table;
        }
        (Arc::clone(&self.mounts), Arc::clone(&self.others))
    }

    pub(crate) fn get(&self, mount: &Mount) -> Option<&ShownAs> {
        let silent = self.silent.iter().find(|(known, ..)| known == mount);
        silent
            .filter(|(_, _, since)| since.elapsed() < SILENCE)
            .map(|(_, shown, _)| shown)
            .or_else(|| self.known.get(&mount.id))
    }

    pub(crate) fn insert(&mut self, mount: &Mount, shown: &ShownAs) {
        self.known.insert(mount.id, shown.clone());
    }

    /// Remembers that a mount did not answer.
    pub(crate) fn insert_silent(&mut self, mount: &Mount, shown: &ShownAs) {
        self.silent
            .retain(|(known, _, since)| known != mount && since.elapsed() < SILENCE);
        self.silent
            .push((mount.clone(), shown.clone(), Instant::now()));
    }

    /// Has every file system tried from now on.
    pub(crate) fn distrust(&mut self) {
        self.known.clear();
        self.distrusts = true;
    }

    pub(crate) fn distrusts(&self) -> bool {
        self.distrusts
    }
}
