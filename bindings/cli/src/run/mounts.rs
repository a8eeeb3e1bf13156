// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags that mount, in Docker's order of mounting.
#![forbid(unsafe_code)]

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgMatches, Args, FromArgMatches};
use tare::spec::{Mount, MountKind, Tmpfs};

use crate::value::mount::{mount, of_tmpfs, tmpfs, volume};

/// The mounts of `--volume`, `--mount` and `--tmpfs` together: by depth of the
/// target, then in the order of the command line.
#[derive(Debug, Clone)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }
}

/// Declares the three flags for clap.
#[derive(Debug, Args)]
struct Written {
    // Help comes from the options that the spec has.
    #[arg(short, long, help = volume_help(), value_name = "SOURCE:TARGET[:OPTIONS]", value_parser = OsStringValueParser::new().try_map(|text| volume(&text)))]
    volume: Vec<Mount>,

    #[arg(long, help = mount_help(), value_name = "KEY=VALUE,...", value_parser = OsStringValueParser::new().try_map(|text| mount(&text)))]
    mount: Vec<Mount>,

    #[arg(long, help = tmpfs_help(), value_name = "TARGET[:OPTIONS]", value_parser = OsStringValueParser::new().try_map(|text| tmpfs(&text)))]
    tmpfs: Vec<Mount>,
}

fn volume_help() -> String {
    let options = MountKind::Bind("/".into()).options().join(", ");
    format!(
        "Show a host file or directory inside; options are {options} (cow: a private copy-on-write view)"
    )
}

fn mount_help() -> String {
    let of_tmpfs: String = of_tmpfs().map(|key| format!(", {key}")).collect();
    format!(
        "Mount by keys: type=bind|cow|tmpfs, source, target, readonly{of_tmpfs}; quote a field with a \
         comma as in CSV"
    )
}

fn tmpfs_help() -> String {
    let options = MountKind::Tmpfs(Tmpfs::default()).options().join(", ");
    format!("Mount an empty file system in memory; options are {options}")
}

impl Args for Mounts {
    fn augment_args(command: clap::Command) -> clap::Command {
        Written::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Written::augment_args_for_update(command)
    }
}

impl FromArgMatches for Mounts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed: Vec<(usize, usize, Mount)> = Vec::new();
        for flag in ["volume", "mount", "tmpfs"] {
            let written = matches.indices_of(flag).into_iter().flatten();
            let mounts = matches.get_many::<Mount>(flag).into_iter().flatten();
            placed.extend(written.zip(mounts).map(|(at, mount)| {
                let depth = mount.target.components().count();
                (depth, at, mount.clone())
            }));
        }
        placed.sort_by_key(|(depth, at, _)| (*depth, *at));
        let mounts = placed.into_iter().map(|(_, _, mount)| mount);
        Ok(Self(mounts.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
