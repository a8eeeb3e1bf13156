// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints JSON and tables, and encodes bytes for JSON.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use tare::error::{Quoted, Step};
use tare::{Error, Result};

/// Prints a value as a line of JSON on standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let wrong = |e: io::Error| Error::io(Step::WriteOutput, "standard output", e);
    let mut out = io::BufWriter::new(io::stdout().lock());
    value
        .serialize(&mut Serializer::with_formatter(&mut out, Tame))
        .map_err(|e| wrong(e.into()))?;
    writeln!(out).and_then(|()| out.flush()).map_err(wrong)
}

/// Compact JSON that cannot drive a terminal: escapes all control characters,
/// also those that JSON allows.
struct Tame;

impl Formatter for Tame {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| Quoted::escapes(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Prints text on standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::io(Step::WriteOutput, "standard output", e))
}

/// Returns rows with aligned columns; the last column keeps its width.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|n| {
        rows.iter()
            .map(|row| row[n].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let line: String = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns bytes for JSON, and the encoding: UTF-8 as text, other bytes as
/// base64.
pub(crate) fn encode(bytes: Vec<u8>) -> (String, &'static str) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, "utf-8"),
        Err(error) => (STANDARD.encode(error.as_bytes()), "base64"),
    }
}
