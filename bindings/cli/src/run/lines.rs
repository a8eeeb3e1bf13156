// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of docker-run(1) flags: variables, labels, an id.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use tare::{Error, Kind, Result};

use crate::value;

/// Reads lines NAME=VALUE or NAME, as in `--env`.
///
/// # Errors
/// Those of reading the file, and a name with white space. Gives the line's
/// number, but not the text, which may be a secret.
pub(super) fn variables(path: &Path) -> Result<Vec<OsString>> {
    let step = "read env file";
    let bytes = read(step, path)?;
    let mut words = Vec::new();
    for (number, line) in lines(&bytes) {
        let name = line.split(|b| *b == b'=').next().unwrap_or_default();
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            let why = format_args!("{path:?}: line {number} does not begin with a name");
            return Err(Error::new(Kind::Invalid, step, why).with_cure("NAME=VALUE"));
        }
        words.push(OsString::from_vec(line.to_vec()));
    }
    Ok(words)
}

/// Reads lines NAME=TEXT, as in `--label`.
pub(super) fn labels(path: &Path) -> Result<Vec<(String, String)>> {
    let bytes = read("read label file", path)?;
    let of_line = |(_, line)| value::label(&String::from_utf8_lossy(line));
    lines(&bytes).map(of_line).collect()
}

fn read(step: &'static str, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(step, format_args!("{path:?}"), e))
}

/// Returns numbered lines except empty lines and comments. Ignores leading
/// blanks and a byte order mark.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|b| *b == b'\n').zip(1..);
    let lines = lines.map(|(line, number)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (number, line.trim_ascii_start())
    });
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// A new file for an id, removed again if no id is written.
pub(super) struct IdFile {
    file: File,
    path: PathBuf,
    is_written: bool,
}

/// # Errors
/// [`Kind::Exists`] if the file exists.
pub(super) fn create(path: &Path) -> Result<IdFile> {
    let file = File::create_new(path).map_err(|e| {
        let error = Error::io("make cidfile", format_args!("{path:?}"), e);
        match error.kind() {
            Kind::Exists => error.with_cure(format!("rm {}", path.display())),
            _ => error,
        }
    })?;
    let path = path.to_owned();
    Ok(IdFile {
        file,
        path,
        is_written: false,
    })
}

impl IdFile {
    /// Writes the id.
    pub(super) fn write(mut self, id: &str) -> Result<()> {
        let wrong = |e| Error::io("write cidfile", format_args!("{:?}", self.path), e);
        self.file.write_all(id.as_bytes()).map_err(wrong)?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_written {
            // The error that caused this is the useful one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn variables_are_read_as_docker_reads_them() {
        let text = b"\xef\xbb\xbfA=1\n\n# B=2\n  C= x \"y\" # z\nHOME\r\nD=\nE=\xff=\n";
        let read = variables(file(text).path()).unwrap();
        let wanted: [&[u8]; 5] = [b"A=1", b"C= x \"y\" # z", b"HOME", b"D=", b"E=\xff="];
        assert_eq!(read, wanted.map(OsStr::from_bytes));
    }

    #[test]
    fn variable_without_a_name_is_refused_by_its_line() {
        for text in ["A=1\n=secret\n", "A=1\nB secret=2\n"] {
            let error = variables(file(text.as_bytes()).path()).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("line 2") && !said.contains("secret"),
                "{said}"
            );
        }
    }
}
