// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run`: a command in a fresh sandbox, which is gone when the command
//! ends.
#![forbid(unsafe_code)]

mod attach;
mod flags;
mod foreign;
mod input;
mod lines;
mod mounts;
mod relay;
mod result;
mod signals;
mod spec;
mod streams;
mod switches;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use tare::error::Step;
use tare::image::{Image, ImportOptions, Reference};
use tare::spec::LeftOut;
use tare::{Command, Error, Kind, Reason, Result, Sandbox, Status, Store};

use crate::failure::say;
use crate::image::Bars;
use crate::store_flag::StoreFlag;
use crate::text::print_json;

use attach::Attached;
use signals::Signals;
use streams::Streams;

pub(crate) use flags::Flags;

/// Runs the command; the exit status is the command's own.
pub(crate) fn run(store: &StoreFlag, flags: &Flags) -> Result<ExitCode> {
    let ended = checked(flags).and_then(|()| in_sandbox(store, flags));
    match ended {
        Ok(status) => {
            if let Some(why) = why_killed(status.reason).filter(|_| !flags.switches.json) {
                say(format_args!("the command was killed: {why}"));
            }
            Ok(ExitCode::from(status.shell_code() as u8))
        }
        Err(error) => {
            let error = match error.at() {
                // The caller's own directory, which the sandbox does not show.
                Step::ChangeDirectory if flags.begins_where_the_caller_is() => {
                    error.with_cure("-w /")
                }
                _ => error,
            };
            if flags.switches.json {
                print_json(&result::failed(&error))?;
            }
            Err(error)
        }
    }
}

/// Returns the cause of a kill, which the exit status does not tell.
fn why_killed(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Timeout => Some("its time was up (--timeout)"),
        Reason::Oom => Some("out of memory (limits.memory, or the machine's)"),
        Reason::Output => Some("its output was over the limit (--output-limit)"),
        Reason::Exited | Reason::Signaled | Reason::Killed => None,
    }
}

/// Checks combinations of flags, which clap cannot check.
fn checked(flags: &Flags) -> Result<()> {
    flags.foreign.check()?;
    let wrong =
        |why, cure| Err(Error::new(Kind::Invalid, "read command line", why).with_cure(cure));
    if flags.switches.json && flags.switches.tty && flags.switches.interactive {
        return wrong(
            "an interactive terminal has no captured result",
            "--json without -i, or without -t",
        );
    }
    // A shell discards keys typed before it is ready, even the end of file, and
    // would wait for ever.
    if flags.switches.tty && flags.switches.interactive && !std::io::stdin().is_terminal() {
        return wrong(
            "standard input is no terminal",
            "-i without -t, or -t without -i",
        );
    }
    let spec_from_stdin = flags.spec.as_deref().is_some_and(|path| path == "-");
    if spec_from_stdin && flags.switches.interactive {
        return wrong(
            "standard input cannot be the spec and the command's",
            "--spec FILE",
        );
    }
    Ok(())
}

fn in_sandbox(store: &StoreFlag, flags: &Flags) -> Result<Status> {
    let (spec, words) = flags.spec()?;
    let store = store.open()?;
    let _image = imported(&store, &spec.image, flags.switches.quiet)?;
    // Before the sandbox is made. Docker refuses an existing file, too.
    let cidfile = flags.cidfile.as_deref().map(lines::create).transpose()?;
    let sandbox = Sandbox::open(&store, &spec)?;
    for LeftOut { key, why } in sandbox.left_out()? {
        say(format_args!("left out {key}: {why}"));
    }
    if let Some(file) = cidfile {
        file.write(&sandbox.effective()?.name)?;
    }
    let ended = in_open(&sandbox, flags, words);
    // Only now is the sandbox gone; but an earlier error goes first.
    let closed = sandbox.close();
    let (attached, status) = ended?;
    closed?;
    attached.finish()?;
    Ok(status)
}

/// Imports an image from outside the store first, with a progress bar.
fn imported(store: &Store, image: &str, quiet: bool) -> Result<Option<Image>> {
    let reference: Reference = image.parse()?;
    match reference {
        Reference::Oci { .. } | Reference::Archive(_) => {
            let options = ImportOptions::default();
            let mut bars = if quiet { Bars::hidden() } else { Bars::new() };
            let image = store.images().import(&reference, &options, &mut bars)?;
            Ok(Some(image))
        }
        _ => Ok(None),
    }
}

/// Runs the command in an open sandbox; returns the status, and the relays that
/// still carry output.
fn in_open(sandbox: &Sandbox, flags: &Flags, words: &[OsString]) -> Result<(Attached, Status)> {
    let command = flags.command(sandbox, words)?;
    let effective = match flags.switches.json {
        true => Some(sandbox.effective()?),
        false => None,
    };
    let signals = Signals::hold()?;
    let process = sandbox.spawn(command)?;
    let mut attached = Attached::new(
        process,
        signals,
        flags.switches.interactive,
        flags.switches.json,
    )?;
    let status = attached.wait()?;
    if let (Some(effective), Some(output)) = (effective, attached.output(status)) {
        print_json(&result::ended(output, &effective))?;
    }
    Ok((attached, status))
}

impl Flags {
    fn command(&self, sandbox: &Sandbox, words: &[OsString]) -> Result<Command> {
        let mut command = match &self.entrypoint {
            None => sandbox.image_command(words)?,
            // As in docker-run(1), an empty entry point removes the image's.
            Some(program) if program.is_empty() => Command::from_argv(words),
            Some(program) => Command::new(program).args(words),
        };
        // `-u` is in the spec, too.
        let streams = Streams::of(sandbox.default_user());
        if !self.switches.json {
            command = streams.output(command);
        }
        if self.switches.interactive {
            command = streams.input(command);
        }
        if let Some(timeout) = self.timeout {
            command = command.timeout(timeout);
        }
        if let Some(mask) = self.umask {
            command = command.umask(mask);
        }
        if self.switches.tty {
            command = command.tty(terminal::size());
            if let Some(term) = std::env::var_os("TERM") {
                command = command.env("TERM", term);
            }
        }
        let mut words = Vec::new();
        for path in &self.env_file {
            words.extend(lines::variables(path)?);
        }
        for word in words.iter().chain(&self.env) {
            if let Some((name, value)) = variable(word) {
                command = command.env(name, value);
            }
        }
        Ok(command)
    }
}

/// Reads `NAME=VALUE`, or a name for the caller's own value, if it has a value.
fn variable(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    match bytes.iter().position(|b| *b == b'=') {
        Some(at) => {
            let part = |bytes| OsStr::from_bytes(bytes).to_owned();
            Some((part(&bytes[..at]), part(&bytes[at + 1..])))
        }
        None => Some((word.to_owned(), std::env::var_os(word)?)),
    }
}
