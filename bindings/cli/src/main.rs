// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `tare`: reads the command line, calls the library, reports the
//! outcome.
#![forbid(unsafe_code)]

mod command_line;
mod doctor;
mod failure;
mod generate;
mod image;
mod mount;
mod rpc;
mod run;
mod schema;
mod store;
mod store_flag;
mod text;
mod value;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use nix::sys::signal::{SigSet, Signal};

use command_line::{Action, CommandLine};

fn main() -> ExitCode {
    // A write beyond RLIMIT_FSIZE then fails with EFBIG, which is reported.
    let sizes: SigSet = [Signal::SIGXFSZ].into_iter().collect();
    // sigprocmask(2) does not fail for a valid set.
    let _ = sizes.thread_block();
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return failure::usage(&error),
    };
    let outcome = match &line.action {
        Action::Run(flags) => run::run(&line.store, flags),
        Action::Image(action) => image::image(&line.store, action),
        Action::Mount(flags) => mount::mount(&line.store, flags),
        Action::Umount(flags) => mount::umount(&line.store, flags),
        Action::Store(action) => store::store(&line.store, action),
        Action::Doctor(flags) => doctor::doctor(&line.store, flags),
        Action::Rpc(flags) => rpc::rpc(&line.store, flags),
        Action::Schema(flags) => schema::schema(flags),
        Action::Version(flags) => version::version(flags),
        Action::Completion(flags) => generate::completion(CommandLine::command(), flags),
        Action::Man(flags) => generate::man(CommandLine::command(), flags),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
