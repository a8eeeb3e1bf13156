// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens the bytes of an archive: a file in place, a pipe written out first.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Kind, Result, Step};
use crate::image::progress::Progress;
use crate::sys::file_size::WithoutSignal;

/// Bytes read at once.
const CHUNK: usize = 1 << 17;
/// Time between two calls of `keep_going`.
const ASK: Duration = Duration::from_millis(100);

const CURE: &str = "tare image load FILE, or: docker save NAME | tare image load";

/// Resources for reading an archive.
pub(crate) struct Room<'a> {
    /// Makes a file without a name, for bytes that are in no plain file.
    pub(crate) spool: &'a dyn Fn() -> io::Result<File>,
    /// Directory of the spool file, for errors.
    pub(crate) place: &'a Path,
    /// Called several times a second while bytes are written out.
    pub(crate) progress: &'a mut dyn Progress,
}

/// Opens a path without waiting for the writer of a fifo and without getting a
/// controlling terminal.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
    options.open(path)
}

/// Returns a file that can be read in any order: `file`, or a copy of the
/// bytes.
pub(super) fn seekable(mut file: File, subject: &str, room: &mut Room<'_>) -> Result<File> {
    let wrong = |e| Error::io(Step::OpenImageArchive, subject, e);
    let kind = file.metadata().map_err(wrong)?.file_type();
    if kind.is_dir() {
        return Err(wrong(io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if kind.is_file() && file.stream_position().map_err(wrong)? == 0 {
        return Ok(file);
    }
    if kind.is_file() || kind.is_fifo() || kind.is_socket() {
        return pour(&mut Stream(file), subject, room);
    }
    let why = format!("{subject}: neither a file nor a pipe");
    Err(Error::new(Kind::Invalid, Step::OpenImageArchive, why).with_cure(CURE))
}

/// Writes all bytes of a reader to a file without a name, and rewinds the file.
pub(super) fn pour(from: &mut dyn Read, subject: &str, room: &mut Room<'_>) -> Result<File> {
    let place = room.place;
    let wrong = |e| {
        let subject = format_args!("{subject} to a file in {place:?}");
        Error::io(Step::WriteOutImageArchive, subject, e)
    };
    let _without = WithoutSignal::begin();
    let mut plain = (room.spool)().map_err(wrong)?;
    let mut buffer = vec![0; CHUNK];
    let mut asked: Option<Instant> = None;
    loop {
        if asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            if !room.progress.keep_going() {
                let why = "stopped by the caller";
                return Err(Error::os(Step::ReadImageArchive, why, Errno::ECANCELED));
            }
            asked = Some(Instant::now());
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => plain.write_all(&buffer[..n]).map_err(wrong)?,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(e) => return Err(Error::io(Step::OpenImageArchive, subject, e)),
        }
    }
    plain.rewind().map_err(wrong)?;
    Ok(plain)
}

/// A pipe, which may be slow: a read waits only for a moment. A fifo without a
/// writer so far is not at the end.
struct Stream(File);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = PollTimeout::try_from(ASK).expect("a short time");
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.0.read(buffer),
        }
    }
}
