// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tare says, on one line, and exits with when it is tare that failed.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use tare::error::Quoted;
use tare::{Error, Kind};

/// tare itself failed; as docker-run(1), so that a command's own status is told from it.
const OURS: u8 = 125;

/// Nobody reads on, as in `tare image list | head -n 1`: what SIGPIPE would have been told as, had it
/// not been ignored.
const UNREAD: u8 = 128 + 13;
const EPIPE: i32 = 32;

/// Prints an error; the command's not being there, or not being a program, have a status of their own.
pub(crate) fn report(error: &Error) -> ExitCode {
    if error.step() == "write output" && error.errno() == Some(EPIPE) {
        return ExitCode::from(UNREAD);
    }
    say(error);
    ExitCode::from(match (error.step(), error.kind()) {
        ("execute", Kind::NotFound) => 127,
        ("execute", _) => 126,
        _ => OURS,
    })
}

/// Prints what is wrong with the command line, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Whoever closed the output does not want it.
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

/// A line on standard error; there is nobody to tell when that cannot be written.
pub(crate) fn say(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "tare: {what}");
}

/// clap's first paragraph on one line, and its hint behind it.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let said = words.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    // The library's own messages bring their cure along.
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
