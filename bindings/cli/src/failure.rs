// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and exit statuses for failures of tare itself.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use tare::error::{Quoted, Step};
use tare::{Error, Kind};

/// Exit status of a failure of tare itself, as in docker-run(1), to tell it
/// from a command's status.
const OURS: u8 = 125;

/// Exit status if the reader is gone, as in `tare image list | head -n 1`: the
/// status of SIGPIPE, which is ignored.
const UNREAD: u8 = 128 + 13;
const EPIPE: i32 = 32;

/// Prints an error. A missing command, and a file that is no program, have
/// their own statuses.
pub(crate) fn report(error: &Error) -> ExitCode {
    if error.at() == Step::WriteOutput && error.errno() == Some(EPIPE) {
        return ExitCode::from(UNREAD);
    }
    say(error);
    ExitCode::from(match (error.at(), error.kind()) {
        (Step::Execute, Kind::NotFound) => 127,
        (Step::Execute, _) => 126,
        _ => OURS,
    })
}

/// Prints the fault of the command line, or the requested help.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // The reader has closed the output, so the rest is unwanted.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        say(Quoted(&one_line(error)));
    }
    ExitCode::from(OURS)
}

/// Prints a line on standard error; a failure of that has no other place to go.
pub(crate) fn say(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "tare: {what}");
}

/// Returns clap's first paragraph as a line, with the hint.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let said = words.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    // Messages of the library contain their cure.
    if said.contains("; try: ") {
        return said.to_owned();
    }
    format!("{said}; try: {}", hint(error))
}

fn hint(error: &clap::Error) -> String {
    let suggested = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    for kind in suggested {
        match error.get(kind) {
            Some(ContextValue::String(word)) => return word.clone(),
            Some(ContextValue::Strings(words)) if !words.is_empty() => return words.join(", "),
            _ => {}
        }
    }
    let subcommand = std::env::args_os().nth(1);
    match subcommand.as_ref().and_then(|word| word.to_str()) {
        Some(word) if !word.starts_with('-') && error.kind() != ErrorKind::InvalidSubcommand => {
            format!("tare {word} --help")
        }
        _ => "tare --help".into(),
    }
}
