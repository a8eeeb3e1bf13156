// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other names of hidden paths: one directory of a file system may be mounted
//! in several places.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::class::Class;
use super::survey::{Survey, is_own};
use crate::sys::mountinfo::Mounts;

/// Returns the other paths of the machine that lead to the same files as these.
pub(crate) fn aliases(survey: &Survey<'_>, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let (mounts, root) = (&survey.mounts, Path::new("/"));
    let real = |path: &PathBuf| {
        let mount = mounts.showing(path)?;
        // A link may lead elsewhere. A file system that may not answer is not
        // asked for links.
        let answers = matches!(Class::of(mount), Class::Local | Class::Refusable);
        let real = path.canonicalize().ok().filter(|_| answers);
        Some(real.unwrap_or_else(|| path.clone()))
    };
    let paths = hidden.iter().filter(|path| !is_own(path, root));
    let all = paths.filter_map(real).flat_map(|path| of(mounts, &path));
    all.filter(|alias| !hidden.contains(alias)).collect()
}

fn of(mounts: &Mounts, path: &Path) -> Vec<PathBuf> {
    let Some(shows) = mounts.showing(path) else {
        return Vec::new();
    };
    let below = path.strip_prefix(&shows.point).unwrap_or(Path::new(""));
    let inside = shows.root.join(below);
    let same = mounts
        .visible()
        .filter(|mount| mount.device == shows.device && mount.id != shows.id);
    let places = same.filter_map(|mount| match inside.strip_prefix(&mount.root) {
        Ok(rest) => Some(mount.point.components().chain(rest.components()).collect()),
        // The whole mount lies in the hidden directory.
        Err(_) if mount.root.starts_with(&inside) => Some(mount.point.clone()),
        Err(_) => None,
    });
    places
        .filter(|place: &PathBuf| !is_own(place, Path::new("/")) && !path.starts_with(place))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_is_every_other_place_of_a_file_system() {
        let mounts = Mounts::parse(
            b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            21 20 8:1 / /mnt/all rw - ext4 /dev/sda1 rw\n\
            22 20 8:1 /srv/data/secret/deep /a rw - ext4 /dev/sda1 rw\n\
            23 20 8:1 /srv /b rw - ext4 /dev/sda1 rw\n\
            24 20 8:1 /srv/other /c rw - ext4 /dev/sda1 rw\n\
            25 20 8:2 /srv /d rw - ext4 /dev/sdb1 rw\n\
            26 20 8:1 /srv /e rw - ext4 /dev/sda1 rw\n",
        );
        let found = of(&mounts, Path::new("/srv/data/secret"));
        let expected = [
            "/a",
            "/b/data/secret",
            "/e/data/secret",
            "/mnt/all/srv/data/secret",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        let found = of(&mounts, Path::new("/b/data/secret"));
        assert!(found.contains(&"/srv/data/secret".into()), "{found:?}");
        assert!(of(&mounts, Path::new("/d")).is_empty());
    }
}
