// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store's `index.json`: names of manifests.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::fs::{replace_file, reserve};
use super::lock::Lock;
use super::parts::{INDEX, REPAIR};
use super::{Images, sync};
use crate::error::{Error, Kind, Result, Step};
use crate::image::oci::{Descriptor, Index, REF_NAME};
use crate::image::reference::{same_name, whole_name};
use crate::image::source::read_document;
use crate::image::{Digest, Reference};
use crate::sys::flock::Operation;

/// Patience with another writer, who holds the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Spellings that an error shows at most.
const NAMES_SHOWN: usize = 20;

/// A locked index, which may be changed.
pub(super) struct Writable<'a> {
    store: &'a Images,
    pub(super) index: Index,
    /// Entries of other tools that are no descriptors; writing keeps them.
    pub(super) strange: Vec<Value>,
    _lock: Lock,
}

impl Images {
    /// Reads the index, without entries that are no descriptors.
    pub(super) fn index(&self) -> Result<Index> {
        self.read_index().map(|(index, _)| index)
    }

    fn read_index(&self) -> Result<(Index, Vec<Value>)> {
        let json = read_document(&self.layout(), INDEX)
            .and_then(|json| Index::parse_apart(&json, &format!("{:?}: {INDEX}", self.path())));
        json.map_err(|e| match e.kind() {
            Kind::NotFound | Kind::Corrupt => e.with_cure(REPAIR),
            _ => e,
        })
    }

    /// Locks the index. While the lock is held, blobs and layers neither come
    /// nor go.
    pub(super) fn lock_index(&self) -> Result<Lock> {
        let path = self.lock_path("index");
        Lock::take(&path, Operation::Exclusive, PATIENCE, || Ok(()))
    }

    /// Reads and locks the index.
    pub(super) fn writable_index(&self) -> Result<Writable<'_>> {
        let lock = self.lock_index()?;
        let (index, strange) = self.read_index()?;
        Ok(Writable {
            index,
            strange,
            store: self,
            _lock: lock,
        })
    }
}

impl Writable<'_> {
    /// Writes the changed index at once, and syncs it.
    pub(super) fn complete(&self) -> Result<()> {
        self.complete_unsynced()?;
        self.sync()
    }

    /// Syncs the index that any process wrote last.
    pub(super) fn sync(&self) -> Result<()> {
        sync::entries_of_store(self.store.path())
    }

    /// Writes the changed index at once; a power cut may bring the old index
    /// back.
    pub(super) fn complete_unsynced(&self) -> Result<()> {
        let path = self.store.path().join(INDEX);
        let json = self.index.to_json_with(&self.strange);
        replace_file(&path, &json)
            .map_err(|e| Error::io(Step::WriteIndex, format_args!("{path:?}"), e))
            .map_err(|e| self.store.explained(e))?;
        reserve(&path, json.len());
        Ok(())
    }

    /// Reserves room for a smaller index, after a removal.
    pub(super) fn reserve(&self) {
        let path = self.store.path().join(INDEX);
        if let Ok(file) = fs::metadata(&path) {
            reserve(&path, file.len() as usize);
        }
    }

    /// Files a manifest under names, which other images lose, or without a
    /// name. Returns true if the index changed.
    pub(super) fn add(&mut self, manifest: &Descriptor, names: &[String]) -> bool {
        let entries = &mut self.index.manifests;
        let before = entries.clone();
        // A name belongs to a single image, in any spelling.
        let ours: HashSet<String> = names.iter().map(|name| whole_name(name)).collect();
        let is_taken = |d: &Descriptor| {
            let named = d.annotation(REF_NAME).map(whole_name);
            named.is_some_and(|name| ours.contains(&name))
        };
        let (taken, mut kept): (Vec<_>, Vec<_>) =
            std::mem::take(entries).into_iter().partition(is_taken);
        let is_bare = |d: &Descriptor| d.annotation(REF_NAME).is_none();
        if !names.is_empty() {
            kept.retain(|d| d.digest != manifest.digest || !is_bare(d));
        }
        *entries = kept;
        let mut known: HashSet<Digest> = entries.iter().map(|d| d.digest).collect();
        // An image that lost its last name stays until it is removed by digest.
        for old in taken {
            if old.digest != manifest.digest && known.insert(old.digest) {
                entries.push(bare(&old));
            }
        }
        let mut filed = HashSet::new();
        for name in names.iter().filter(|name| filed.insert(whole_name(name))) {
            let mut entry = bare(manifest);
            entry.annotations = Some(BTreeMap::from([(REF_NAME.to_owned(), name.clone())]));
            entries.push(entry);
        }
        if names.is_empty() && !known.contains(&manifest.digest) {
            entries.push(bare(manifest));
        }
        *entries != before
    }

    /// Removes the entries of a reference; returns their number. With a name,
    /// other names of the same image stay.
    ///
    /// # Errors
    /// As [`select`].
    pub(super) fn remove(&mut self, reference: &Reference) -> Result<usize> {
        let (found, others) = select(self.index.manifests.clone(), reference)?;
        self.index.manifests = others;
        Ok(found.len())
    }
}

/// Returns a descriptor without names and without keys of other tools, which
/// may be names as well.
fn bare(descriptor: &Descriptor) -> Descriptor {
    let mut bare = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
    bare.platform.clone_from(&descriptor.platform);
    bare
}

/// Returns the entries that a reference names, and the other entries. An exact
/// spelling goes before other spellings of the same name, because other tools
/// may file both.
///
/// # Errors
/// [`Kind::Invalid`] if different images have other spellings of the name.
pub(super) fn select(
    all: Vec<Descriptor>,
    reference: &Reference,
) -> Result<(Vec<Descriptor>, Vec<Descriptor>)> {
    let very = |d: &Descriptor| matches(d, reference, |named, full| named == full);
    if all.iter().any(very) {
        return Ok(all.into_iter().partition(very));
    }
    let named = |d: &Descriptor| matches(d, reference, same_name);
    let (found, others): (Vec<_>, Vec<_>) = all.into_iter().partition(named);
    let spellings: HashSet<&str> = found
        .iter()
        .filter_map(|d| d.annotation(REF_NAME))
        .collect();
    let digests: HashSet<Digest> = found.iter().map(|d| d.digest).collect();
    if spellings.len() < 2 || digests.len() < 2 {
        return Ok((found, others));
    }
    let why = format!("{reference}: different images have other spellings of this name");
    let mut spellings: Vec<&str> = spellings.into_iter().collect();
    spellings.sort_unstable();
    spellings.truncate(NAMES_SHOWN);
    let error = Error::new(Kind::Invalid, Step::FindImage, why);
    Err(error.with_cure(format!("one of {}", spellings.join(", "))))
}

/// Returns whether a reference names an entry. Other tools file `latest` images
/// under the bare name.
fn matches(
    descriptor: &Descriptor,
    reference: &Reference,
    same: impl Fn(&str, &str) -> bool,
) -> bool {
    let named = descriptor.annotation(REF_NAME);
    match reference {
        Reference::Digest(digest) => descriptor.digest == *digest,
        Reference::Named { tag, digest, .. } => {
            let full = reference.stored_name();
            let by_name = named.zip(full.as_deref()).is_some_and(|(n, f)| same(n, f));
            match digest {
                Some(digest) => descriptor.digest == *digest && (tag.is_none() || by_name),
                None => by_name,
            }
        }
        _ => false,
    }
}

/// Returns whether the index has the manifest under all the names, or under any
/// name if the list is empty.
pub(super) fn is_filed(index: &Index, digest: &Digest, names: &[String]) -> bool {
    let ours = index.manifests.iter().filter(|d| d.digest == *digest);
    let filed: HashSet<Option<String>> = ours
        .map(|d| d.annotation(REF_NAME).map(whole_name))
        .collect();
    let is_name = |name: &String| filed.contains(&Some(whole_name(name)));
    !filed.is_empty() && names.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::reference::WHOLE_NAMES;

    #[test]
    fn names_of_any_number_are_compared_a_few_times_each() {
        const MANY: usize = 2000;
        let dir = tempfile::tempdir().unwrap();
        let store = Images::open(dir.path().join("store")).unwrap();
        let mut index = store.writable_index().unwrap();
        let names: Vec<String> = (0..MANY).map(|n| format!("n{n}:latest")).collect();
        let before = WHOLE_NAMES.get();
        // The second image takes all names of the first.
        for byte in ["0", "1"] {
            let digest = format!("sha256:{}", byte.repeat(64)).parse().unwrap();
            let manifest = Descriptor::new("application/x", digest, 1);
            assert!(index.add(&manifest, &names));
            assert!(is_filed(&index.index, &digest, &names));
        }
        assert_eq!(index.index.manifests.len(), MANY + 1);
        let count = WHOLE_NAMES.get() - before;
        assert!(count < MANY * 16, "{count} comparisons");
    }
}
