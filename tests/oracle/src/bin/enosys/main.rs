// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a command without some system calls, as on an older kernel.
//!
//! `enosys WORD[,WORD...] [--errno NAME] [--] COMMAND...`, where a word is
//!
//! - the name of a system call (see `tare_oracle::filter`) or its number, which
//!   then does not exist;
//! - `linux-5.10`: what came after that kernel does not exist, every newer call
//!   and the newer flags of `close_range` and `memfd_create`;
//! - `fsconfig:KEY`: this option of a file system is not known (EINVAL);
//! - `file:NAME`: no file of this name is there to be opened (ENOENT);
//! - `filesystem:NAME`: no file system of this type is known (ENODEV).
//!
//! The last three look into the caller's memory, which a filter cannot: for
//! them this process stays as the parent and answers, until no process is left.

mod supervise;

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use tare_oracle::filter;

use supervise::Question;

fn errno(name: &str) -> Result<i32, String> {
    match name {
        "ENOSYS" => Ok(libc::ENOSYS),
        "EINVAL" => Ok(libc::EINVAL),
        "EPERM" => Ok(libc::EPERM),
        "EOPNOTSUPP" => Ok(libc::EOPNOTSUPP),
        other => other
            .parse()
            .map_err(|_| format!("errno {other:?}: not a number")),
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let usage = || "usage: enosys WORD[,WORD...] [--errno NAME] [--] COMMAND...".to_owned();
    let mut refused = Vec::new();
    let mut asked = Vec::new();
    for word in words.next().ok_or_else(usage)?.split(',') {
        match Question::parse(word) {
            Some(question) => asked.push(question),
            None => refused.extend(filter::rules(word)?),
        }
    }
    let mut number = libc::ENOSYS;
    let mut word = words.next().ok_or_else(usage)?;
    if word == "--errno" {
        number = errno(&words.next().ok_or_else(usage)?)?;
        word = words.next().ok_or_else(usage)?;
    }
    if word == "--" {
        word = words.next().ok_or_else(usage)?;
    }
    let mut command = Command::new(&word);
    command.args(words);
    if asked.is_empty() {
        filter::install(&mut filter::program(&refused, number))?;
        let error = command.exec();
        return Err(format!("{word}: {error}"));
    }
    refused.extend(asked.iter().flat_map(Question::rules));
    supervise::run(command, filter::program(&refused, number), &asked)
}

#[expect(clippy::print_stderr, reason = "a command line program")]
fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("enosys: {why}");
            ExitCode::from(125)
        }
    }
}
