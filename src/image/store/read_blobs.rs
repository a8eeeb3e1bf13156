// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads blobs in parallel and in a single pass: keeps, unpacks and verifies.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use super::fs::{make_dir, write_file};
use crate::error::{Error, Kind, Result, Step};
use crate::image::digest::{Digest, HashingReader};
use crate::image::inflate::inflate;
use crate::image::layer::{self, Pending, Unpacked};
use crate::image::progress::Progress;
use crate::image::source::{Source, check_blob};
use crate::sys::file_size::WithoutSignal;

/// Time between two calls of `keep_going`.
const TICK: Duration = Duration::from_millis(50);
/// Bytes read between two reports.
const REPORT: u64 = 1 << 20;

/// A blob to read.
pub(in crate::image) struct BlobRead<'a> {
    /// Source of the blob.
    pub(in crate::image) source: &'a dyn Source,
    pub(in crate::image) member: String,
    /// Digest and size in the manifest; without a manifest, any blob of the
    /// right diff id will do.
    pub(in crate::image) expected: Option<(Digest, u64)>,
    pub(in crate::image) diff_id: Digest,
    /// Index of the layer in the image, for reports.
    pub(in crate::image) index: usize,
    /// File that keeps the bytes unchanged.
    pub(in crate::image) keep: Option<PathBuf>,
    /// Directory to unpack into.
    pub(in crate::image) tree: Option<Destination<'a>>,
}

/// Directory that a layer is unpacked into.
pub(in crate::image) enum Destination<'a> {
    /// To be made there, in a directory of the store.
    New(PathBuf),
    /// An open directory, and the owners that lower layers left to set.
    Onto(BorrowedFd<'a>, &'a Mutex<Pending>),
}

/// Verified result of a read.
pub(in crate::image) struct Done {
    pub(in crate::image) blob: (Digest, u64),
    pub(in crate::image) unpacked: Option<Unpacked>,
    diff_id: Digest,
}

/// Reads all blobs in parallel and returns results in order. The first error
/// ends the other reads. All threads have ended on return.
pub(in crate::image) fn run(
    blobs: &[BlobRead<'_>],
    options: &layer::Options,
    total: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<Done>> {
    // The threads inherit the signal mask from here.
    let _without = WithoutSignal::begin();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let shared = Shared {
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        results: Mutex::new(blobs.iter().map(|_| None).collect()),
    };
    let (sender, receiver) = channel();
    let canceled = thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..blobs.len().min(cores) {
            let (shared, sender) = (&shared, sender.clone());
            let worker = thread::Builder::new().name("tare-import".into());
            let worker = worker.spawn_scoped(scope, move || work(blobs, options, shared, &sender));
            workers.push(worker.map_err(|e| {
                shared.stop.store(true, Ordering::Relaxed);
                Error::io(Step::ReadLayers, "start a thread", e)
            })?);
        }
        drop(sender);
        let canceled = loop {
            match receiver.recv_timeout(TICK) {
                Ok(Advance { blob, done, of }) => {
                    let blob: &BlobRead<'_> = &blobs[blob];
                    let digest = blob.expected.map_or(blob.diff_id, |(digest, _)| digest);
                    progress.layer(blob.index, total, &digest, done, of);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break false,
            }
            if !progress.keep_going() {
                shared.stop.store(true, Ordering::Relaxed);
                break true;
            }
        };
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        Ok::<bool, Error>(canceled)
    })?;
    if canceled {
        return Err(stopped());
    }
    let results = shared
        .results
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    first_error(results)
}

/// Returns the error of a caller who stopped the work.
pub(in crate::image) fn stopped() -> Error {
    Error::os(Step::ReadLayers, "stopped by the caller", Errno::ECANCELED)
}

struct Shared {
    next: AtomicUsize,
    stop: AtomicBool,
    results: Mutex<Vec<Option<Result<Done>>>>,
}

struct Advance {
    blob: usize,
    done: u64,
    of: u64,
}

/// Returns all results or the first error. ECANCELED of a read that another
/// read's error stopped never hides that error.
fn first_error(results: Vec<Option<Result<Done>>>) -> Result<Vec<Done>> {
    let mut done = Vec::with_capacity(results.len());
    let mut error = None;
    for result in results {
        match result {
            Some(Ok(result)) => done.push(result),
            Some(Err(e)) if e.errno() != Some(libc::ECANCELED) => return Err(e),
            Some(Err(e)) => error = Some(e),
            None => error = error.or_else(|| Some(stopped())),
        }
    }
    match error {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

fn work(
    blobs: &[BlobRead<'_>],
    options: &layer::Options,
    shared: &Shared,
    sender: &Sender<Advance>,
) {
    // The host's handlers must not run on this thread. The call cannot fail
    // with a valid set; otherwise a handler would merely run here.
    let _ = SigSet::all().thread_block();
    while !shared.stop.load(Ordering::Relaxed) {
        let at = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(blob) = blobs.get(at) else { return };
        let done = read_one(blob, options, shared, &mut |done, of| {
            // The receiver is gone once the caller stops the work.
            let _ = sender.send(Advance { blob: at, done, of });
        });
        if done.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        shared
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[at] = Some(done);
    }
}

fn read_one(
    blob: &BlobRead<'_>,
    options: &layer::Options,
    shared: &Shared,
    report: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Done> {
    let member = blob.source.open(&blob.member)?;
    if let Some((digest, size)) = blob.expected {
        check_blob(blob.source, (digest, size), (digest, member.size))?;
    }
    let keep = blob.keep.as_ref().map(|path| {
        let file = write_file(path, b"", 0o644);
        let file = file.map_err(|e| Error::io(Step::WriteBlob, format_args!("{path:?}"), e))?;
        Ok((file, path.as_path()))
    });
    let mut feed = Feed {
        from: member.reader,
        keep: keep.transpose()?,
        stop: &shared.stop,
        report,
        size: member.size,
        done: 0,
        reported: 0,
        failure: None,
    };
    let read = match &blob.tree {
        Some(tree) => unpack(&mut feed, tree, options),
        None => look_through(&mut feed),
    };
    if let Some(failure) = feed.failure.take() {
        return Err(failure);
    }
    feed.tell();
    drop(feed);
    let done = read.map_err(|e| blame_blob(blob, e))?;
    verify(blob, &done)?;
    Ok(done)
}

fn unpack(feed: &mut Feed<'_>, tree: &Destination<'_>, options: &layer::Options) -> Result<Done> {
    let unpacked = match tree {
        Destination::Onto(dir, pending) => {
            let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            layer::unpack_onto(feed, *dir, options, &mut pending, &mut |_| ())?
        }
        Destination::New(path) => {
            let wrong = |e| Error::io(Step::UnpackLayer, format_args!("{path:?}"), e);
            make_dir(path, 0o755).map_err(wrong)?;
            let made = File::open(path).map_err(wrong)?;
            layer::unpack(feed, made.as_fd(), options, &mut |_| ())?
        }
    };
    Ok(Done {
        blob: (unpacked.blob_digest, unpacked.blob_bytes),
        diff_id: unpacked.diff_id,
        unpacked: Some(unpacked),
    })
}

/// Reads the blob of a layer that is unpacked already: the blob must hold the
/// same files, or the image would change when the layer is unpacked again.
fn look_through(feed: &mut Feed<'_>) -> Result<Done> {
    let wrong = |e| Error::io(Step::ReadBlob, "layer that is unpacked already", e);
    let size = feed.size;
    let mut blob = HashingReader::new(feed);
    let mut plain = HashingReader::new(inflate(&mut blob, size).map_err(wrong)?);
    io::copy(&mut plain, &mut io::sink()).map_err(wrong)?;
    let (diff_id, _, rest) = plain.complete();
    drop(rest);
    let (digest, bytes, _) = blob.complete();
    Ok(Done {
        blob: (digest, bytes),
        diff_id,
        unpacked: None,
    })
}

fn verify(blob: &BlobRead<'_>, done: &Done) -> Result<()> {
    if let Some(expected) = blob.expected {
        check_blob(blob.source, expected, done.blob)?;
    }
    let (expected, found) = (blob.diff_id, done.diff_id);
    if found == expected || is_weak!("no_verify") {
        return Ok(());
    }
    let label = blob.source.label();
    let why = format!("{label}: diff id {expected}: its bytes have {found}");
    Err(Error::new(Kind::Corrupt, Step::VerifyLayer, why).with_cure(blob.source.cure()))
}

/// Replaces an error of the unpacker by an error about the blob's digest, if
/// the digest is wrong: wrong bytes fail in the unpacker first, and the digest
/// tells the cause.
fn blame_blob(blob: &BlobRead<'_>, error: Error) -> Error {
    let Some((expected, size)) = blob.expected else {
        return error;
    };
    if error.kind() != Kind::Corrupt || is_weak!("no_verify") {
        return error;
    }
    let Ok(member) = blob.source.open(&blob.member) else {
        return error;
    };
    let mut reader = HashingReader::new(member.reader.take(size));
    match io::copy(&mut reader, &mut io::sink()) {
        Ok(n) => {
            let found = reader.complete().0;
            check_blob(blob.source, (expected, size), (found, n))
                .err()
                .unwrap_or(error)
        }
        Err(_) => error,
    }
}

/// A blob while it is read: counted, copied into a file, stopped on request.
struct Feed<'a> {
    from: Box<dyn Read + Send + 'a>,
    keep: Option<(File, &'a Path)>,
    stop: &'a AtomicBool,
    report: &'a mut (dyn FnMut(u64, u64) + Send),
    size: u64,
    done: u64,
    reported: u64,
    /// Reason of the end of reading, unless the blob itself is at fault.
    failure: Option<Error>,
}

impl Feed<'_> {
    fn tell(&mut self) {
        self.reported = self.done;
        (self.report)(self.done, self.size);
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            self.failure = Some(stopped());
            return Err(Errno::ECANCELED.into());
        }
        let n = self.from.read(buffer)?;
        if let Some((keep, path)) = &mut self.keep
            && let Err(e) = keep.write_all(&buffer[..n])
        {
            let raw = e.raw_os_error();
            self.failure = Some(Error::io(Step::WriteBlob, format_args!("{path:?}"), e));
            return Err(
                raw.map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
            );
        }
        self.done += n as u64;
        if self.done - self.reported >= REPORT {
            self.tell();
        }
        Ok(n)
    }
}
