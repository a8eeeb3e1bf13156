// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens a sandbox of the default spec as users do; the result overrules the
//! other checks.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;

use super::Check;
use crate::command::Command;
use crate::error::{Error, Kind, Result, Step};
use crate::image;
use crate::sandbox::Sandbox;
use crate::spec::Spec;
use crate::store::Store;
use crate::sys::auxv;

/// Opens a sandbox, runs a command in it, and closes it.
pub(super) fn check(store: Option<&Path>) -> Check {
    Check::needed("sandbox", true)
        .found("one with the default spec opens and runs a command")
        .tried(open(store))
}

fn open(store: Option<&Path>) -> Result<()> {
    let named = store.map_or_else(image::default_path, |dir| Ok(dir.to_path_buf()));
    // Does not turn another directory into a store.
    let existing = named.ok().filter(|dir| dir.join("store.json").exists());
    match existing {
        Some(dir) => open_in(&dir),
        None => {
            let temp = Temporary::new()?;
            open_in(&temp.0)
        }
    }
}

fn open_in(dir: &Path) -> Result<()> {
    let store = Store::open(dir)?;
    let sandbox = Sandbox::open(&store, &Spec::default())?;
    let ran = match sandbox.run(Command::new("true")) {
        // A machine without the program has sandboxes all the same.
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other.map(drop),
    };
    let closed = sandbox.close();
    ran.and(closed)
}

/// A directory that is removed on drop.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        // The environment of a set-user-id program belongs to its caller.
        let parent = match auxv::is_secure() {
            true => "/tmp".into(),
            false => env::temp_dir(),
        };
        let made = mkdtemp(&parent.join("tare-doctor-XXXXXX"));
        made.map(Self).map_err(|e| {
            Error::os(Step::MakeDirectory, format_args!("{parent:?}"), e)
                .with_cure("TMPDIR=DIR, for a directory of your own")
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The name of a leftover tells its origin.
        let _ = fs::remove_dir_all(&self.0);
    }
}
