// SPDX-License-Identifier: MIT OR Apache-2.0
//! Targets for the files of an image: archives, layers, documents, references.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layer::{self, Bounds, Ids, Options, OverlayXattr, Whiteouts};
use super::oci::{Index, LAYERS_MAX, Manifest};
use super::remove_tree::remove_tree;
use super::source::{self, Member, Resolved, Selector, Source};
use super::tar::{Archive, Slice, What};
use super::{Digest, Reference, config};
use crate::error::{Error, Kind, Quoted, Result, Step};

/// Most bytes of an input; larger inputs are only slower.
const INPUT_MAX: usize = 64 << 10;

/// Splits the first byte off. Its bit 0 asks for valid header checksums.
fn archive_of(data: &[u8]) -> Option<(u8, Vec<u8>)> {
    let (flags, bytes) = data.split_first()?;
    let mut bytes = bytes[..bytes.len().min(INPUT_MAX)].to_vec();
    if flags & 1 == 1 {
        let headers = bytes.chunks_exact_mut(512);
        for header in headers.filter(|block| block[257..].starts_with(b"ustar")) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    Some((*flags, bytes))
}

/// Reads a tar archive; the pieces in which bytes arrive must not matter.
pub(crate) fn tar(data: &[u8]) {
    let Some((_, bytes)) = archive_of(data) else {
        return;
    };
    // The first header is looked at whole.
    let whole = entries(&bytes, bytes.len().max(512));
    for piece in [512, 513, 4096] {
        assert_eq!(entries(&bytes, piece), whole, "in pieces of {piece}");
    }
}

fn entries(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut archive = Archive::new(Slice::in_pieces(bytes, piece));
    let mut lines = Vec::new();
    loop {
        let entry = match archive.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return lines,
            Err(fault) => {
                let (name, offset) = archive.site();
                let error = fault.at(("fuzz", ""), name, offset);
                check_error(&error);
                lines.push(error.to_string());
                return lines;
            }
        };
        assert!(!entry.name.contains(&0) && entry.mode <= 0o7777);
        if let What::Link(to) | What::Symlink(to) = &entry.what {
            assert!(!to.is_empty() && !to.contains(&0));
        }
        if let What::File(stored, Some(map)) = &entry.what {
            let sum: u64 = map.segments.iter().map(|s| s.length).sum();
            assert!(sum == *stored && sum <= map.size);
        }
        let mut body = Vec::new();
        let ended = loop {
            match archive.peek_body() {
                Ok([]) => break true,
                Ok(part) => {
                    body.extend_from_slice(part);
                    let n = part.len();
                    archive.consume_body(n);
                }
                Err(_) => break false,
            }
        };
        if let (What::File(size, _), true) = (&entry.what, ended) {
            assert_eq!(body.len() as u64, *size);
        }
        lines.push(format!("{entry:?} {}", Digest::of(&body)));
    }
}

/// Unpacks a layer beside a file that must not change. Bit 1 of the first byte
/// selects how whiteouts are unpacked.
pub(crate) fn layer(data: &[u8]) {
    let Some((flags, bytes)) = archive_of(data) else {
        return;
    };
    let cage = Cage::new();
    let root = cage.join("root");
    fs::create_dir(&root).expect("a directory");
    let fd = File::open(&root).expect("a directory");
    let victim = cage.join("victim");
    let before = seen(&victim);
    let options = Options {
        ids: match nix::unistd::geteuid().is_root() {
            true => Ids::Root,
            false => Ids::Single,
        },
        whiteouts: match flags & 2 {
            0 => Whiteouts::Convert,
            _ => Whiteouts::Apply,
        },
        overlay_xattr: OverlayXattr::User,
        bounds: Bounds {
            apparent: 1 << 30,
            allocated: 1 << 20,
            entries: 1000,
            ratio: 200,
            depth: 64,
        },
    };
    match layer::unpack(&bytes[..], fd.as_fd(), &options, &mut |_| ()) {
        Ok(unpacked) => {
            assert_eq!(unpacked.blob_digest, Digest::of(&bytes));
            assert!(unpacked.notes.iter().all(|note| note.len() < 1000));
        }
        Err(error) => check_error(&error),
    }
    assert_eq!(seen(&victim), before, "the victim changed");
    let beside = fs::read_dir(&cage.path).expect("a directory").count();
    assert_eq!(beside, 2, "something was made outside");
    let parent = File::open(&cage.path).expect("a directory");
    remove_tree(parent.as_fd(), c"root").expect("an empty cage");
}

/// Returns content and attributes of a file, except the time of last access.
fn seen(path: &Path) -> (Vec<u8>, [u64; 6]) {
    let m = fs::symlink_metadata(path).expect("a file");
    let numbers = [
        m.ino(),
        m.mode().into(),
        m.nlink(),
        m.uid().into(),
        m.mtime() as u64,
        m.ctime() as u64,
    ];
    (fs::read(path).expect("a file"), numbers)
}

/// A directory with only a victim, for one caller at a time; removed on drop.
struct Cage {
    path: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Cage {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = std::env::temp_dir().join(format!("tare-fuzz-{}", std::process::id()));
        // An earlier run with the same number may have left a directory.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("victim"), "victim").expect("a file");
        Self {
            path,
            _alone: alone,
        }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // A directory that stays fails the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Reads the archive of an image: each member that is listed can be read.
pub(crate) fn archive(data: &[u8]) {
    let Some((_, bytes)) = archive_of(data) else {
        return;
    };
    let cage = Cage::new();
    let path = cage.join("root");
    fs::write(&path, &bytes).expect("a file");
    let spool = || {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        options.open(cage.join("spool"))
    };
    let room = &mut source::Room {
        spool: &spool,
        place: &cage.path,
        progress: &mut (),
    };
    let opened = source::Archive::open(&path, room);
    match opened {
        Ok(archive) => found(&archive),
        Err(error) => check_error(&error),
    }
    for name in ["root", "spool"] {
        // Only a compressed archive makes a spool.
        let _ = fs::remove_file(cage.join(name));
    }
}

fn found(source: &dyn Source) {
    let selector = Selector {
        names: true,
        ..Selector::default()
    };
    let mut whole = |found: Resolved| {
        check(&found);
        for layer in &found.layers {
            if let Ok(mut member) = source.open(&layer.member) {
                let read = std::io::copy(&mut member.reader, &mut std::io::sink());
                assert_eq!(read.expect("it is there"), member.size);
            }
        }
        Ok(())
    };
    let all = source::each(source, &selector, &mut whole);
    for done in [source::find(source, &selector).and_then(whole), all] {
        if let Err(error) = done {
            check_error(&error);
        }
    }
}

fn check(found: &Resolved) {
    assert!(found.layers.len() <= LAYERS_MAX);
    assert_eq!(found.layers.len(), found.parsed.diff_ids.len());
    for name in &found.names {
        let name: Reference = name.parse().expect("a checked name");
        assert!(name.stored_name().is_some());
    }
    let config = &found.parsed.config;
    let words = config.entrypoint.iter().chain(&config.cmd);
    let pairs = config.env.iter().flat_map(|(name, value)| [name, value]);
    assert!(words.chain(pairs).all(|text| !text.contains('\0')));
    let mut names = config.env.iter().map(|(name, _)| name);
    assert!(names.all(|name| !name.is_empty() && !name.contains('=')));
    let mut paths = config.workdir.iter().chain(&config.volumes);
    assert!(paths.all(|path| path.is_absolute()));
}

/// Resolves a source in memory: an index, a manifest, a config and a
/// `manifest.json`, with a byte 1 between them. `%C` and `%M` stand for digest
/// and size of the config and the manifest.
pub(crate) fn documents(data: &[u8]) {
    let mut parts = data.splitn(4, |b| *b == 1).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let (index, manifest, config, saved) = (part(), part(), part(), part());
    let manifest = with_descriptor(manifest, b"%C", &config);
    let index = with_descriptor(index, b"%M", &manifest);
    let saved = with_descriptor(saved, b"%C", &config);
    if let Ok(index) = Index::parse(&index, "index", None) {
        let json = serde_json::to_vec(&index).expect("plain data");
        let again = Index::parse(&json, "index", None).expect("what was read");
        assert_eq!(serde_json::to_vec(&again).expect("plain data"), json);
    }
    if let Ok(manifest) = Manifest::parse(&manifest, "manifest", super::oci::OCI_MANIFEST) {
        assert!(manifest.layers.len() <= LAYERS_MAX);
    }
    match config::parse(&config, "config") {
        Ok(parsed) => assert!(parsed.config.notes.iter().all(|n| n.len() < 2000)),
        Err(error) => check_error(&error),
    }
    let blob = |bytes: &[u8]| source::blob_name(&Digest::of(bytes));
    let mut members = BTreeMap::from([
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        (blob(&config), config.clone()),
        (blob(&manifest), manifest),
        ("index.json".to_owned(), index),
        ("manifest.json".to_owned(), saved),
        ("config.json".to_owned(), config),
    ]);
    found(&Members(&members));
    // Again without the layout, as docker-save(1) wrote archives before 25.0.
    members.remove("oci-layout");
    found(&Members(&members));
}

fn with_descriptor(text: Vec<u8>, mark: &[u8], of: &[u8]) -> Vec<u8> {
    let descriptor = format!("\"digest\":\"{}\",\"size\":{}", Digest::of(of), of.len());
    match text.windows(mark.len()).position(|bytes| bytes == mark) {
        Some(at) => [&text[..at], descriptor.as_bytes(), &text[at + mark.len()..]].concat(),
        None => text,
    }
}

struct Members<'a>(&'a BTreeMap<String, Vec<u8>>);

impl Source for Members<'_> {
    fn open(&self, name: &str) -> Result<Member<'_>> {
        let bytes = self.0.get(name);
        let bytes = bytes.ok_or_else(|| Error::new(Kind::NotFound, Step::Open, ""))?;
        Ok(Member {
            reader: Box::new(&bytes[..]),
            size: bytes.len() as u64,
        })
    }

    fn label(&self) -> String {
        "memory".to_owned()
    }
}

/// Parses a reference, and expects the same text back.
pub(crate) fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Reference>() {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text);
            assert_eq!(text.parse::<Reference>().expect("as before"), reference);
            if let Some(name) = reference.stored_name() {
                let stored: Reference = name.parse().expect("a name");
                assert_eq!(stored.stored_name(), Some(name.clone()));
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b);
                assert!(name.bytes().all(plain) && !name.starts_with('/'));
                assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
        Err(error) => check_error(&error),
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<super::Platform>() {
        assert!(platform.serves(&platform));
        let again = platform.to_string().parse::<super::Platform>();
        assert_eq!(again.expect("as written"), platform);
    }
}

/// Expects an error of one line that is short and drives no terminal.
fn check_error(error: &Error) {
    let line = error.to_string();
    assert!(!line.contains(Quoted::escapes), "{line:?}");
    assert!(line.len() < 3000, "{} bytes: {line:.200}", line.len());
}
