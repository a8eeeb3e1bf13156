// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare completion` and `tare man`: files for shells and man(1), from the
//! definition of the command line.
#![forbid(unsafe_code)]

mod spec;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use tare::{Error, Result};

use crate::text::print;

/// Flags of `tare completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Shell to complete in
    shell: Shell,
}

/// Flags of `tare man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for the pages, such as /usr/local/share/man/man1; made if
    /// missing
    dir: PathBuf,
}

/// Prints the completion script for `line`, to be sourced by the shell.
pub(crate) fn completion(mut line: Command, flags: &Completion) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut line, "tare", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes pages for `line`, each of its subcommands and the keys of a spec.
pub(crate) fn man(line: Command, flags: &Man) -> Result<ExitCode> {
    let wrong = |e| Error::io("write manual", format_args!("{:?}", flags.dir), e);
    std::fs::create_dir_all(&flags.dir).map_err(wrong)?;
    clap_mangen::generate_to(line, &flags.dir).map_err(wrong)?;
    std::fs::write(flags.dir.join(spec::NAME), spec::page()).map_err(wrong)?;
    Ok(ExitCode::SUCCESS)
}
