// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inflates a blob to the plain archive: gzip, zstd or plain, detected by
//! content.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::Bounds;
use super::hash::{Chunk, Feed};
use crate::error::{Error, Kind, Result, Step};

/// Size of the chunks handed to the writing thread, and of reads from the blob.
pub(super) const CHUNK: usize = 256 << 10;
/// Chunks on their way at any time.
pub(super) const CHUNKS: usize = 4;

/// 128 MiB, libzstd's own default limit for streams.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Skippable frames in a row; `zstd:chunked` has three.
const ZSTD_SKIPPABLE_MAX: u32 = 1024;

/// Bytes of output below which any ratio is accepted.
const RATIO_FROM: u64 = 256 << 20;

const STEP: Step = Step::ReadLayer;

/// Reads the blob to the end and sends the archive in chunks through `full`.
/// Sends blob and archive to `hashed` as well. Uses chunks from `spent` again.
/// Returns false if the receiver is gone.
pub(super) fn pump(
    blob: impl Read,
    full: SyncSender<Chunk>,
    spent: Receiver<Vec<u8>>,
    hashed: Feed,
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
) -> Result<bool> {
    let source = Source::default();
    let intake = Intake::new(blob, hashed.clone(), &source);
    let mut plain = open(intake).map_err(|error| source.error(error))?;
    let mut sent = 0;
    loop {
        let mut chunk = spent.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let n = fill(plain.as_mut(), &mut chunk).map_err(|error| source.error(error))?;
        progress(source.bytes.get());
        sent += n as u64;
        if sent > RATIO_FROM && sent / u64::from(bounds.ratio) > source.bytes.get() {
            return Err(Error::new(
                Kind::Corrupt,
                STEP,
                format_args!("expands to more than {} times its size", bounds.ratio),
            )
            .with_cure("a higher bound on ratio, if the image is trusted"));
        }
        chunk.truncate(n);
        let end = n < CHUNK;
        if n > 0 {
            let chunk = Chunk::new(chunk);
            hashed.diff(&chunk);
            if full.send(chunk).is_err() {
                return Ok(false);
            }
        }
        if end {
            return Ok(true);
        }
    }
}

/// State of the compressed side.
#[derive(Default)]
struct Source {
    bytes: Cell<u64>,
    failed: Cell<bool>,
}

impl Source {
    fn error(&self, error: io::Error) -> Error {
        let subject = format!("byte {} of the blob", self.bytes.get());
        match self.failed.get() {
            true => Error::io(STEP, subject, error),
            false => Error::new(Kind::Corrupt, STEP, format_args!("{subject}: {error}")),
        }
    }
}

/// The blob in chunks, shared with the hashing thread. Counts bytes and
/// remembers an error.
struct Intake<'a, R> {
    blob: R,
    hashed: Feed,
    source: &'a Source,
    chunk: Chunk,
    at: usize,
}

impl<'a, R: Read> Intake<'a, R> {
    fn new(blob: R, hashed: Feed, source: &'a Source) -> Self {
        Self {
            blob,
            hashed,
            source,
            chunk: Chunk::default(),
            at: 0,
        }
    }

    /// Reads the next chunk. All chunks but the last are full, so the first
    /// holds the whole magic number.
    fn next(&mut self) -> io::Result<()> {
        let spent = Chunk::into_inner(std::mem::take(&mut self.chunk));
        let mut chunk = spent.unwrap_or_else(|| self.hashed.spent());
        chunk.resize(CHUNK, 0);
        let n = match fill(&mut self.blob, &mut chunk) {
            Ok(n) => n,
            Err(error) => {
                self.source.failed.set(true);
                return Err(error);
            }
        };
        chunk.truncate(n);
        self.source.bytes.set(self.source.bytes.get() + n as u64);
        (self.chunk, self.at) = (Chunk::new(chunk), 0);
        if n > 0 {
            self.hashed.blob(&self.chunk);
        }
        Ok(())
    }
}

impl<R: Read> Read for Intake<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Intake<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.next()?;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

/// Fills `chunk`, or as much as the reader has.
fn fill(from: &mut (impl Read + ?Sized), chunk: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < chunk.len() {
        match from.read(&mut chunk[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// Chooses the decoder by the first bytes.
fn open<'a>(mut whole: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let magic = whole.fill_buf()?;
    let refused = |name| Err(io::Error::other(format!("compressed by {name}")));
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(Frames::new(whole)?),
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(Frames::new(whole)?),
        [b'B', b'Z', b'h', ..] => return refused("bzip2, which layers may not be"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return refused("xz, which layers may not be"),
        _ => Box::new(whole),
    })
}

/// The frames of a zstd stream, counted: libzstd would skip any number of empty
/// and skippable frames in a single call.
struct Frames<R> {
    input: R,
    decoder: Decoder<'static>,
    inside: bool,
    skipped: u32,
}

impl<R: BufRead> Frames<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self {
            input,
            decoder,
            inside: false,
            skipped: 0,
        })
    }

    /// Begins the next frame with data; false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let mut magic = [0; 4];
            match fill(&mut self.input, &mut magic)? {
                0 => return Ok(false),
                4 => {}
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            if !matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
                self.decoder.reinit()?;
                self.decoder.run_on_buffers(&magic, &mut [])?;
                self.inside = true;
                return Ok(true);
            }
            self.skipped += 1;
            if self.skipped > ZSTD_SKIPPABLE_MAX {
                return Err(io::Error::other("more than 1024 skippable zstd frames"));
            }
            let mut length = [0; 4];
            self.input.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut self.input.by_ref().take(length), &mut io::sink())? != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside && !self.begin()? {
                return Ok(0);
            }
            let input = self.input.fill_buf()?;
            let ended = input.is_empty();
            let status = self.decoder.run_on_buffers(input, buffer)?;
            self.input.consume(status.bytes_read);
            self.inside = status.remaining != 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if ended && self.inside {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
