// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows keys typed into a terminal, to know the keys that end its input,
//! termios(3).
#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;

use nix::sys::termios::{
    InputFlags, LocalFlags, SpecialCharacterIndices as Key, Termios, tcgetattr,
};

/// Default of VEOF, for a terminal without modes.
const END_OF_FILE: u8 = 4;
/// Longest line that the kernel edits, N_TTY_BUF_SIZE.
const LONGEST: usize = 4096;
/// `_POSIX_VDISABLE`: a disabled special character.
const OFF: u8 = 0;

/// The keys written to a terminal's master since the last line that its reader
/// received.
#[derive(Debug, Default)]
pub struct Line {
    waiting: Vec<u8>,
    quoted: bool,
}

impl Line {
    /// Follows `keys`, which were just written to `master`.
    pub fn follow(&mut self, keys: &[u8], master: BorrowedFd<'_>) {
        match tcgetattr(master) {
            Ok(modes) => keys.iter().for_each(|key| self.key(*key, &modes)),
            // A terminal without modes is gone, and so is the line.
            Err(_) => self.waiting.clear(),
        }
    }

    /// Returns the keys that end the input of the reader of `master`'s
    /// terminal. VEOF behind a partial line only passes that line on, so it
    /// takes a second VEOF.
    pub fn end(&self, master: BorrowedFd<'_>) -> Vec<u8> {
        let Ok(modes) = tcgetattr(master) else {
            return vec![END_OF_FILE];
        };
        let set = modes.control_chars[Key::VEOF as usize];
        let key = if set == OFF { END_OF_FILE } else { set };
        let partial = is_canonical(&modes) && (self.quoted || !self.waiting.is_empty());
        // A quoted VEOF ends no input, but completes the quotation.
        vec![key; 1 + usize::from(partial) + usize::from(partial && self.quoted)]
    }

    fn key(&mut self, key: u8, modes: &Termios) {
        if !is_canonical(modes) {
            // The reader receives each key at once.
            *self = Self::default();
            return;
        }
        let extended = modes.local_flags.contains(LocalFlags::IEXTEN);
        let is = |name: Key| {
            let set = modes.control_chars[name as usize];
            set != OFF && set == key
        };
        if std::mem::take(&mut self.quoted) {
            return self.add(key);
        }
        let key = match key {
            b'\r' if modes.input_flags.contains(InputFlags::IGNCR) => return,
            b'\r' if modes.input_flags.contains(InputFlags::ICRNL) => b'\n',
            b'\n' if modes.input_flags.contains(InputFlags::INLCR) => b'\r',
            key => key,
        };
        let flow = modes.input_flags.contains(InputFlags::IXON);
        let signals = modes.local_flags.contains(LocalFlags::ISIG);
        if flow && (is(Key::VSTART) || is(Key::VSTOP)) {
        } else if signals && (is(Key::VINTR) || is(Key::VQUIT) || is(Key::VSUSP)) {
            if !modes.local_flags.contains(LocalFlags::NOFLSH) {
                self.waiting.clear();
            }
        } else if extended && is(Key::VLNEXT) {
            self.quoted = true;
        } else if is(Key::VERASE) {
            self.erase(modes.input_flags.contains(InputFlags::IUTF8));
        } else if extended && is(Key::VWERASE) {
            self.erase_word();
        } else if key == b'\n'
            || is(Key::VKILL)
            || is(Key::VEOF)
            || is(Key::VEOL)
            || extended && is(Key::VEOL2)
        {
            self.waiting.clear();
        } else {
            self.add(key);
        }
    }

    fn add(&mut self, key: u8) {
        if self.waiting.len() < LONGEST {
            self.waiting.push(key);
        }
    }

    fn erase(&mut self, utf8: bool) {
        while let Some(byte) = self.waiting.pop() {
            if !utf8 || byte & 0xc0 != 0x80 {
                break;
            }
        }
    }

    /// Erases as the kernel does: trailing separators, then the word before
    /// them.
    fn erase_word(&mut self) {
        let in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let end = self.waiting.iter().rposition(|b| in_word(*b));
        let begin = end.and_then(|end| self.waiting[..end].iter().rposition(|b| !in_word(*b)));
        self.waiting.truncate(begin.map_or(0, |at| at + 1));
    }
}

fn is_canonical(modes: &Termios) -> bool {
    modes.local_flags.contains(LocalFlags::ICANON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use nix::sys::termios::{SetArg, tcsetattr};
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    /// Types `keys` and the keys that `Line` returns; returns all that a reader
    /// reads before the end of input.
    fn read_to_the_end(keys: &[u8]) -> Vec<u8> {
        let pty = openpty(None, None).unwrap();
        let mut modes = tcgetattr(&pty.slave).unwrap();
        modes.local_flags.remove(LocalFlags::ECHO);
        modes.input_flags.insert(InputFlags::IUTF8);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).unwrap();
        let (mut master, mut slave) = (
            std::fs::File::from(pty.master),
            std::fs::File::from(pty.slave),
        );
        let mut line = Line::default();
        master.write_all(keys).unwrap();
        line.follow(keys, master.as_fd());
        master.write_all(&line.end(master.as_fd())).unwrap();
        // A wrong number of VEOFs would cut this line.
        master.write_all(b"next\n").unwrap();
        let mut seen = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            match slave.read(&mut chunk).unwrap() {
                0 => break,
                n => seen.extend_from_slice(&chunk[..n]),
            }
        }
        let n = slave.read(&mut chunk).unwrap();
        assert_eq!(&chunk[..n], b"next\n", "after {keys:?} and {seen:?}");
        seen
    }

    #[test]
    fn input_ends_once_behind_whole_and_partial_lines() {
        for (keys, seen) in [
            (&b""[..], &b""[..]),
            (b"a", b"a"),
            (b"a\n", b"a\n"),
            (b"a\r", b"a\n"),
            (b"a\nbc", b"a\nbc"),
            (b"a\x04", b"a"),
            (b"a\x7f", b""),
            (b"ab\x7f", b"a"),
            ("\u{e9}\x7f".as_bytes(), b""),
            (b"a b\x17", b"a "),
            (b"ab  \x17", b""),
            (b"ab\x15", b""),
            (b"ab\x16\x04", b"ab\x04"),
            (b"\x16\x04", b"\x04"),
            (b"\x16\n", b"\n"),
            (b"ab\x03", b""),
            (b"\x13\x11", b""),
        ] {
            assert_eq!(read_to_the_end(keys), seen, "{keys:?}");
        }
    }
}
