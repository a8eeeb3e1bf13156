// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare completion` and `tare man`: what shells and man(1) know of the command line, from its one definition.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use tare::{Error, Result};

use crate::command_line::CommandLine;
use crate::text::print;

/// What `tare completion` was told.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell that is to know tare's words
    shell: Shell,
}

/// What `tare man` was told.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for the pages, such as /usr/local/share/man/man1; made if it is missing
    dir: PathBuf,
}

/// Prints the script that the shell is to source.
pub(crate) fn completion(flags: &Completion) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(
        flags.shell,
        &mut CommandLine::command(),
        "tare",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for tare and one for each subcommand.
pub(crate) fn man(flags: &Man) -> Result<ExitCode> {
    let wrong = |e| Error::io("write manual", format_args!("{:?}", flags.dir), e);
    std::fs::create_dir_all(&flags.dir).map_err(wrong)?;
    clap_mangen::generate_to(CommandLine::command(), &flags.dir).map_err(wrong)?;
    Ok(ExitCode::SUCCESS)
}
