// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of bounded length from the client, from any kind of descriptor.
#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::unistd::read;
use tare::{Error, Kind, Result};

/// Bytes of the longest line, without the newline.
pub(crate) const LINE: usize = 16 << 20;
/// Bytes that all unanswered requests may hold together.
pub(crate) const HELD: usize = 32 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Bytes read, and not yet taken.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Leading bytes known to hold no newline.
    looked: usize,
    longest: usize,
    /// True inside a line that is too long.
    skipping: bool,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            bytes: Vec::new(),
            looked: 0,
            longest,
            skipping: false,
            ended: false,
        }
    }

    /// Returns whether the input has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns whether all lines are taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads once; call when the descriptor is readable.
    pub(crate) fn read(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let mut chunk = [0; CHUNK];
        match read(fd, &mut chunk) {
            Ok(0) => {
                self.ended = true;
                // The last line may lack a newline.
                if !self.bytes.is_empty() {
                    self.bytes.push(b'\n');
                }
            }
            Ok(n) => self.bytes.extend_from_slice(&chunk[..n]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(e) => return Err(Error::os("read requests", "input", e)),
        }
        Ok(())
    }

    /// Returns the next whole line that is not empty, or an error about a line.
    pub(crate) fn next(&mut self) -> Option<Result<Vec<u8>>> {
        loop {
            let end = self.bytes[self.looked..].iter().position(|b| *b == b'\n');
            let Some(end) = end.map(|at| at + self.looked) else {
                self.looked = self.bytes.len();
                return self.cut().then(|| Err(self.too_long()));
            };
            let rest = self.bytes.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.bytes, rest);
            self.looked = 0;
            line.truncate(end);
            if std::mem::take(&mut self.skipping) || line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Some(match line.len() > self.longest {
                true => Err(self.too_long()),
                false => Ok(line),
            });
        }
    }

    /// Drops a part of a line that is too long; returns true for the first
    /// part.
    fn cut(&mut self) -> bool {
        let news = !self.skipping && self.bytes.len() > self.longest;
        if news || self.skipping {
            self.bytes.clear();
            self.looked = 0;
            self.skipping = true;
        }
        news
    }

    fn too_long(&self) -> Error {
        let why = format_args!("a line is longer than {} bytes", self.longest);
        Error::new(Kind::Invalid, "read requests", why).with_cure("several requests")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    /// Reads lines of at most 8 bytes from a file of these bytes.
    fn lines(input: &[u8]) -> Vec<Option<String>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut lines = Lines::new(8);
        let mut found = Vec::new();
        while !lines.ended() {
            lines.read(file.as_fd()).unwrap();
            while let Some(line) = lines.next() {
                found.push(line.ok().map(|l| String::from_utf8(l).unwrap()));
            }
        }
        found
    }

    #[test]
    fn lines_are_told_apart_and_bounded() {
        let some = |text: &str| Some(text.to_owned());
        for (input, expected) in [
            ("", vec![]),
            ("\n \n\r\n", vec![]),
            ("a\nb", vec![some("a"), some("b")]),
            ("12345678\n", vec![some("12345678")]),
            ("123456789\nb\n", vec![None, some("b")]),
            ("123456789", vec![None]),
        ] {
            assert_eq!(lines(input.as_bytes()), expected, "{input:?}");
        }
        // A line longer than a single read.
        let mut long = vec![b'x'; 3 * CHUNK];
        long.extend(b"\nb\n");
        assert_eq!(lines(&long), [None, some("b")]);
    }
}
