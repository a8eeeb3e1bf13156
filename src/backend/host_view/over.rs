// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root's view: the mounts below a directory, each in its place on an overlay
//! of the directory.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::class::Class;
use super::copies::Budget;
use super::part::{Filled, Parts, ViewPlace};
use super::survey::Survey;
use crate::error::Result;
use crate::ops::Ops;
use crate::parts::mounts::RDONLY;
use crate::parts::shown::ShownAs;
use crate::spec::ByteSize;
use crate::sys::mountinfo::Mount;
use crate::wire::MAKE_DIR;

/// Appends the operations for the mounts below a directory with a finished
/// overlay.
///
/// # Errors
/// When the helper is gone, or a writable layer cannot be made.
pub(super) fn fill(
    ops: &mut Ops,
    survey: &Survey<'_>,
    place: &ViewPlace<'_>,
    size: Option<ByteSize>,
) -> Result<Filled> {
    let mut over = Over {
        parts: Parts::new(ops, survey, place)?,
        budget: Budget::new(size),
        frozen: Vec::new(),
    };
    // With all mounts below.
    let mut hidden: Option<&Path> = None;
    let others = survey.others(place.dir);
    for mount in others.iter() {
        if hidden.is_some_and(|dir| mount.point.starts_with(dir)) {
            continue;
        }
        if !over.mount(mount)? {
            hidden = Some(&mount.point);
        }
    }
    Ok(over.parts.finish())
}

struct Over<'a> {
    parts: Parts<'a>,
    /// The stage directory for copies of files.
    budget: Budget,
    /// Mount points that cannot be made.
    frozen: Vec<PathBuf>,
}

impl Over<'_> {
    /// Shows a mount; returns false if the mounts below must not be shown
    /// either.
    fn mount(&mut self, mount: &Mount) -> Result<bool> {
        let point = &mount.point;
        let class = self.parts.survey.class(mount);
        match class {
            // `Survey::others` has none of these.
            Class::Pseudo | Class::Container => return Ok(false),
            // The view's own earlier mounts are in the table, too.
            Class::Trigger => return Ok(true),
            Class::Local | Class::Refusable => match std::fs::symlink_metadata(point) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) => {
                    let size = metadata.is_file().then(|| metadata.size());
                    return self.file(mount, size).map(|()| true);
                }
                Err(error) => {
                    self.parts.left_out(point, &error.to_string());
                    return Ok(false);
                }
            },
            Class::Remote => {}
        }
        let shown = self.parts.survey.verdict(point)?;
        match &shown {
            ShownAs::Cow => self.parts.overlay(point, None)?,
            ShownAs::ReadOnly if class == Class::Remote => self.parts.bind(point, 0)?,
            ShownAs::ReadOnly => self.parts.bind(point, MAKE_DIR)?,
            ShownAs::LeftOut(_) => self.parts.cover(point)?,
        }
        if shown != ShownAs::Cow || mount.attrs & RDONLY != 0 {
            self.frozen.push(point.clone());
        }
        let goes_on = !matches!(shown, ShownAs::LeftOut(_));
        self.parts.tell(point, shown);
        Ok(goes_on)
    }

    /// Shows a mount on a file: a copy of a regular file, else a bind.
    fn file(&mut self, mount: &Mount, size: Option<u64>) -> Result<()> {
        let point = &mount.point;
        let place = self.parts.place;
        let above = point.parent().unwrap_or(point);
        let around = self.parts.survey.mounts.showing(above);
        let is_frozen = around.is_some_and(|around| self.frozen.contains(&around.point));
        let writable = (place.attrs | mount.attrs) & RDONLY == 0 && !is_frozen;
        if writable && size.is_some_and(|size| self.budget.copy(size)) {
            self.parts.copy(point)?;
            self.parts.tell(point, ShownAs::Cow);
        } else {
            self.parts.bind(point, 0)?;
            self.parts.tell(point, ShownAs::ReadOnly);
        }
        Ok(())
    }
}
