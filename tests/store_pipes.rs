// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives that come through a pipe, a fifo or a socket.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use images::{count, empty_store, named};
use layout::{Codec, assert_empty, compressed, docker_archive, two_layers};
use nix::poll::{PollFd, PollFlags, poll};
use tare::image::{Image, Images, ImportOptions, ImportProgress, Importing, Progress, Reference};
use tare::{Error, Kind};
use tempfile::tempdir;

fn archive(dir: &Path) -> Vec<u8> {
    let path = dir.join("x.tar");
    docker_archive(&path, &two_layers(), &["app:1"]);
    fs::read(path).unwrap()
}

fn fifo(dir: &Path) -> PathBuf {
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fifo
}

/// Writes in pieces, with a pause that any reader has to wait for.
fn written(mut to: impl Write + Send + 'static, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (head, tail) = bytes.split_at(bytes.len().min(700));
        to.write_all(head).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        to.write_all(tail).unwrap();
    })
}

fn scratch(store: &Images) -> usize {
    count(store.path().join("scratch"))
}

#[test]
fn archive_of_each_codec_comes_through_what_can_be_read_once() {
    let dir = tempdir().unwrap();
    let plain = archive(dir.path());
    let fifo = fifo(dir.path());
    let options = ImportOptions::default();
    for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd] {
        let bytes = compressed(&plain, codec);
        for way in ["pipe", "socket", "fifo", "import of a fifo", "file"] {
            let root = dir.path().join(format!("{way}-{codec:?}"));
            let store = Images::open(root).unwrap();
            let from = Reference::Archive(fifo.clone());
            let (digest, named) = match way {
                "pipe" | "socket" => {
                    let (reader, writer): (OwnedFd, OwnedFd) = match way {
                        "pipe" => io::pipe().map(|(r, w)| (r.into(), w.into())),
                        _ => UnixStream::pair().map(|(r, w)| (r.into(), w.into())),
                    }
                    .unwrap();
                    let writer = written(File::from(writer), bytes.clone());
                    let images = store.load_from(reader.as_fd(), &options, &mut ()).unwrap();
                    writer.join().unwrap();
                    (*images[0].digest().unwrap(), true)
                }
                "file" => {
                    let path = dir.path().join("file");
                    fs::write(&path, [b"before", &bytes[..]].concat()).unwrap();
                    let mut file = File::open(&path).unwrap();
                    file.seek(io::SeekFrom::Start(6)).unwrap();
                    let images = store.load_from(file.as_fd(), &options, &mut ()).unwrap();
                    (*images[0].digest().unwrap(), true)
                }
                way => {
                    let (fifo, bytes) = (fifo.clone(), bytes.clone());
                    let writer = std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(50));
                        let fifo = File::options().write(true).open(fifo).unwrap();
                        written(fifo, bytes).join().unwrap();
                    });
                    let image = match way {
                        "fifo" => store.load(&from, &options, &mut ()).unwrap().remove(0),
                        _ => store.import(&from, &options, &mut ()).unwrap(),
                    };
                    writer.join().unwrap();
                    (*image.digest().unwrap(), way == "fifo")
                }
            };
            let list = store.list().unwrap();
            assert_eq!(list[0].digest, digest, "{way}");
            assert_eq!(list[0].name.is_some(), named, "{way}");
            assert_eq!(scratch(&store), 0, "{way}");
            assert_eq!(store.check().unwrap().problems, []);
        }
    }
}

#[test]
fn pipe_that_brings_no_archive_leaves_nothing() {
    let (dir, store) = empty_store();
    let plain = archive(dir.path());
    let load = |bytes: Vec<u8>| -> Error {
        let (reader, writer) = io::pipe().unwrap();
        let writer = written(writer, bytes);
        let error = store.load_from(reader.as_fd(), &Default::default(), &mut ());
        writer.join().unwrap();
        error.unwrap_err()
    };
    let cut = plain.len() / 2;
    let gzip = compressed(&plain, Codec::Gzip);
    for (bytes, why) in [
        (Vec::new(), "an empty file, not a tar archive"),
        (b"Error: no such image\n".to_vec(), "plain text"),
        (plain[..cut].to_vec(), ""),
        (gzip[..gzip.len() / 2].to_vec(), ""),
    ] {
        let error = load(bytes);
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains("a descriptor"), "{error}");
        assert_empty(store.path());
    }
    let null = File::open("/dev/null").unwrap();
    let error = store.load_from(null.as_fd(), &Default::default(), &mut ());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(error.cure().unwrap().contains("docker save"), "{error}");
    let error = store.image(&Reference::Archive("/dev/null".into()));
    assert_eq!(error.unwrap_err().kind(), Kind::Invalid);
    let error = store.image(&Reference::Archive(dir.path().to_owned()));
    assert!(error.unwrap_err().cure().unwrap().starts_with("oci:"));
}

/// Goes on so many times.
struct Patience(usize);

impl Progress for Patience {
    fn keep_going(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

#[test]
fn wait_for_a_silent_pipe_is_given_up_when_asked() {
    let (dir, store) = empty_store();
    let fifo = fifo(dir.path());
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&[0; 10]).unwrap();
    let options = ImportOptions::default();
    let from = Reference::Archive(fifo);
    let into = dir.path().join("root");
    let unpacked = tare::image::UnpackOptions::default();
    for error in [
        store
            .load_from(reader.as_fd(), &options, &mut Patience(3))
            .unwrap_err(),
        store.load(&from, &options, &mut Patience(3)).unwrap_err(),
        store.import(&from, &options, &mut Patience(3)).unwrap_err(),
        tare::image::unpack(&from, into, unpacked, &mut Patience(3)).unwrap_err(),
    ] {
        assert_eq!(error.errno(), Some(libc::ECANCELED), "{error}");
        assert_empty(store.path());
    }
    drop(writer);
    // What came was taken: the caller cannot try again with the same pipe.
    assert_eq!(reader.read(&mut [0; 20]).unwrap(), 0);
}

/// Waits until an import has ended, as an event loop does.
fn imported(importing: Importing) -> Result<Image, Error> {
    let mut fds = [PollFd::new(importing.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, 60_000u16), Ok(1));
    importing.finish()
}

#[test]
fn import_that_is_begun_comes_while_its_caller_goes_on() {
    let (dir, store) = empty_store();
    let bytes = archive(dir.path());
    let fifo = fifo(dir.path());
    let options = named("it");
    let from = Reference::Archive(fifo.clone());
    let importing = store.begin_import(&from, &options).unwrap();
    // It waits for a writer, and this thread does not.
    let mut fds = [PollFd::new(importing.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, 0u16), Ok(0));
    assert_eq!(importing.progress(), ImportProgress::default());
    fs::write(&fifo, &bytes).unwrap();
    let mut fds = [PollFd::new(importing.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, 60_000u16), Ok(1));
    let so_far = importing.progress();
    assert_eq!((so_far.layers, so_far.begun), (2, 2));
    assert!(so_far.bytes_done > 0 && so_far.bytes_done == so_far.bytes_total);
    let image = importing.finish().unwrap();
    let named = store.image(&"it".parse().unwrap()).unwrap();
    assert_eq!(named.digest(), image.digest());
    let nowhere = "oci:/nowhere".parse().unwrap();
    let error = imported(store.begin_import(&nowhere, &options).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

#[test]
fn import_that_is_dropped_leaves_nothing() {
    let (dir, store) = empty_store();
    let fifo = fifo(dir.path());
    let from = Reference::Archive(fifo.clone());
    let importing = store
        .begin_import(&from, &ImportOptions::default())
        .unwrap();
    // Opening it for writing waits until the import reads; with half of an
    // archive it stands still.
    let mut writer = File::options().write(true).open(&fifo).unwrap();
    writer.write_all(&archive(dir.path())[..700]).unwrap();
    drop(importing);
    // The reader is gone when the import is.
    let mut fds = [PollFd::new(writer.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut fds, 60_000u16), Ok(1));
    while scratch(&store) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(store.list().unwrap(), []);
}
