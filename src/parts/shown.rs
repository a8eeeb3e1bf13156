// SPDX-License-Identifier: MIT OR Apache-2.0
//! How mounts of the machine are shown, and what trials of them have found.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::sys::mountinfo::{Mount, Mounts};

/// How something of the machine is shown in a view of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShownAs {
    /// Copy-on-write.
    Cow,
    /// Overlayfs refuses it, or there is too much beside a mount to be copied.
    ReadOnly,
    /// Its mount point is empty, because of this.
    LeftOut(String),
}

/// A mount or file of the machine in the view of it that a sandbox has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownMount {
    /// Where it is inside.
    pub path: String,
    /// `cow`, `read-only` or `left out`.
    pub shown: String,
    /// Why it is left out; empty if it is not.
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

/// How long a mount that did not answer is not asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// The table of mounts that was read last, and results of trials while it stays
/// the same.
#[derive(Debug)]
pub(crate) struct Verdicts {
    table: Vec<u8>,
    mounts: Arc<Mounts>,
    /// Those of the mounts that may be shown.
    others: Arc<[Mount]>,
    known: HashMap<u64, ShownAs>,
    /// Mounts that did not answer, kept when others change. Each trial of
    /// one leaves a process that cannot be killed before the file system lets
    /// it go.
    silent: Vec<(Mount, ShownAs, Instant)>,
    /// Whether overlayfs has refused a file system whose type it takes.
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
    /// Returns the mounts of a table, and those that `select` takes of them;
    /// forgets all trials if it has changed.
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
