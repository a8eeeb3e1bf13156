// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `tare`: reads the command line, calls the library, says what came of it.
#![forbid(unsafe_code)]

mod command_line;
mod doctor;
mod failure;
mod generate;
mod image;
mod mount;
mod run;
mod store;
mod text;
mod value;
mod version;

use std::process::ExitCode;

use clap::Parser as _;

use command_line::{Action, CommandLine};

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return failure::usage(&error),
    };
    let outcome = match &line.action {
        Action::Run(flags) => run::run(&line, flags),
        Action::Image(action) => image::image(&line, action),
        Action::Mount(flags) => mount::mount(&line, flags),
        Action::Umount(flags) => mount::umount(&line, flags),
        Action::Store(action) => store::store(&line, action),
        Action::Doctor(flags) => doctor::doctor(&line, flags),
        Action::Version(flags) => version::version(flags),
        Action::Completion(flags) => generate::completion(flags),
        Action::Man(flags) => generate::man(flags),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
