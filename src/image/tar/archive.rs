// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads an archive as a sequence of entries. Merges headers with their
//! extensions, and refuses every combination that two readers understand
//! differently.
#![forbid(unsafe_code)]

use super::fault::{Fault, Parsed, refuse};
use super::header::{BLOCK, Dialect, Header, resembles, text};
use super::input::Input;
use super::pax::{Overrides, SparseKeys, Time, check_global, decimal};
use super::sparse::{Map, SEGMENTS_MAX, Segment, old_extension, old_header};

/// Size of the largest extended header or long name, as in Go's reader.
const EXTENSION_MAX: u64 = 1 << 20;
/// Largest octal number of a ustar size field.
const USTAR_SIZE_MAX: u64 = 0o77_777_777_777;

/// An entry with merged extensions; its name is not checked yet.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) what: What,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// File type of an entry.
#[derive(Debug)]
pub(crate) enum What {
    /// A regular file, with bytes next in the archive; and a map if the file
    /// has holes.
    File(u64, Option<Map>),
    /// Another name of an entry.
    Link(Vec<u8>),
    /// A symbolic link to any text.
    Symlink(Vec<u8>),
    /// A character device.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// Extensions before an entry's own header.
#[derive(Default)]
struct Extensions {
    pax: Option<Overrides>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Reads entries off an [`Input`].
pub(crate) struct Archive<I> {
    input: I,
    body: u64,
    padding: u64,
    at: u64,
    name: Vec<u8>,
    has_trailer: bool,
    may_be_empty: bool,
}

impl<I: Input> Archive<I> {
    /// Reads an archive from the current position of `input`.
    pub(crate) fn new(input: I) -> Self {
        Self {
            input,
            body: 0,
            padding: 0,
            at: 0,
            name: Vec::new(),
            has_trailer: false,
            may_be_empty: false,
        }
    }

    /// Accepts no bytes at all as an archive of no entries, because a digest
    /// vouches for them.
    pub(crate) fn allow_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    /// Returns whether bytes follow the end of the archive, which no reader
    /// looks at.
    pub(crate) fn has_trailer(&self) -> bool {
        self.has_trailer
    }

    /// Returns the name of the current entry, as far as known, and the offset
    /// of its header.
    pub(crate) fn site(&self) -> (&[u8], u64) {
        (&self.name, self.at)
    }

    /// Returns the input, at the end unless an entry was refused.
    pub(crate) fn into_input(self) -> I {
        self.input
    }

    /// Returns the offset of the unread rest of the entry's body.
    pub(crate) fn body_offset(&self) -> u64 {
        self.input.offset()
    }

    /// Returns the next bytes of the entry's body; empty at its end.
    pub(crate) fn peek_body(&mut self) -> Parsed<&[u8]> {
        if self.body == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.peek();
        if bytes.is_empty() {
            return refuse("archive ends within an entry");
        }
        let n = usize::try_from(self.body).unwrap_or(usize::MAX);
        Ok(&bytes[..n.min(bytes.len())])
    }

    /// Consumes `n` bytes of [`Archive::peek_body`].
    pub(crate) fn consume_body(&mut self, n: usize) {
        self.input.consume(n);
        self.body -= n as u64;
    }

    /// Returns the next entry; `None` at the end, if only zeros follow.
    pub(crate) fn next(&mut self) -> Parsed<Option<Entry>> {
        let mut extensions = Extensions::default();
        self.name.clear();
        loop {
            self.input.skip(self.body)?;
            // A writer that omits the end marks (see below) also omits the last
            // padding.
            self.input.skip_at_most(self.padding);
            (self.body, self.padding) = (0, 0);
            self.at = self.input.offset();
            let head = self.input.peek();
            if self.at == 0 && !head.is_empty() && !resembles(head) {
                return refuse("not a tar archive");
            }
            let Some(block) = self.input.block()? else {
                // Layers without end marks exist, for example from umoci.
                // Readers agree on them, and the digest tells a cut layer.
                extensions.check_unused()?;
                return match self.at {
                    0 if !self.may_be_empty => refuse("empty archive"),
                    _ => Ok(None),
                };
            };
            let Some(header) = Header::parse(&block)? else {
                extensions.check_unused()?;
                return self.end();
            };
            if self.name.is_empty() {
                self.name.clone_from(&header.name);
            }
            self.body = header.size;
            self.padding = header.size.wrapping_neg() % BLOCK as u64;
            match header.typeflag {
                b'x' => extensions.put_pax(Overrides::parse(&self.extension()?)?)?,
                b'g' => {
                    extensions.check_unused()?;
                    check_global(&self.extension()?)?;
                    self.name.clear();
                }
                b'L' => put(&mut extensions.name, long_name(self.extension()?)?)?,
                b'K' => put(&mut extensions.link, long_name(self.extension()?)?)?,
                _ => return self.entry(&block, header, extensions).map(Some),
            }
            if let Some(name) = extensions.best_name() {
                self.name.clone_from(name);
            }
        }
    }

    /// Reads on after the first block of zeros.
    fn end(&mut self) -> Parsed<Option<Entry>> {
        self.name.clear();
        match self.input.block()? {
            Some(block) if block.iter().all(|&b| b == 0) => {}
            Some(_) => return refuse("data after a block of zeros"),
            None => return Ok(None),
        }
        self.has_trailer = !self.input.skip_zeros(u64::MAX);
        self.at = self.input.offset();
        // The digest covers all bytes.
        self.input.skip_at_most(u64::MAX);
        Ok(None)
    }

    /// Returns the whole body of an extension. Some readers go on into its
    /// padding.
    fn extension(&mut self) -> Parsed<Vec<u8>> {
        if self.body > EXTENSION_MAX {
            return refuse("extended header above 1 MiB");
        }
        let bytes = self.read_body()?;
        match self.input.skip_zeros(std::mem::take(&mut self.padding)) {
            true => Ok(bytes),
            false => refuse("data behind an extended header"),
        }
    }

    fn entry(&mut self, block: &[u8; BLOCK], header: Header, more: Extensions) -> Parsed<Entry> {
        let dialect = header.dialect;
        more.check_single()?;
        let pax = match (more.pax, dialect) {
            (Some(_), Dialect::V7) => return refuse("extended header before a V7 header"),
            (Some(pax), _)
                if header.typeflag == b'S' && (pax.size.is_some() || pax.sparse.any()) =>
            {
                return refuse("extended header with a size before an old sparse file");
            }
            (pax, _) => pax.unwrap_or_default(),
        };
        let size = match header.typeflag {
            // Other types have no body, in spite of a size in the header. Some
            // readers believe an extended header.
            b'1'..=b'6' if pax.size.unwrap_or(0) == 0 => 0,
            b'1'..=b'6' => return refuse("an extended header with a size for what is no file"),
            _ => file_size(header.size, &pax)?,
        };
        let slash = header.name.ends_with(b"/");
        let name = pax.path.or(more.name).unwrap_or(header.name);
        let name = pax.sparse.name.clone().unwrap_or(name);
        self.name.clone_from(&name);
        if header.typeflag == 0 && slash != name.ends_with(b"/") {
            return refuse("a directory by one of its names and a file by the other");
        }
        // Some readers apply a long target only to a link that has a short
        // target.
        if more.link.is_some() && header.link.is_empty() {
            return refuse("GNU long link target for what has none");
        }
        self.body = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let fields = Fields {
            typeflag: header.typeflag,
            is_v7: dialect == Dialect::V7,
            slash: name.ends_with(b"/"),
            link: pax.link.or(more.link).unwrap_or(header.link),
            device: (header.major, header.minor),
            size,
        };
        let what = match fields.what()? {
            What::File(..) if header.typeflag == b'S' => self.old_sparse(block)?,
            What::File(..) => self.file(pax.sparse)?,
            _ if pax.sparse.any() => return refuse("sparse map for what is not a file"),
            what => what,
        };
        Ok(Entry {
            name,
            what,
            mode: header.mode,
            uid: id(pax.uid.unwrap_or(header.uid))?,
            gid: id(pax.gid.unwrap_or(header.gid))?,
            mtime: pax.mtime.unwrap_or(Time::new(header.mtime, 0)),
            xattrs: pax.xattrs,
        })
    }

    /// Returns a regular file, or a sparse file described by PAX.
    fn file(&mut self, keys: SparseKeys) -> Parsed<What> {
        if !keys.any() {
            return Ok(What::File(self.body, None));
        }
        let Some(real) = keys.realsize.filter(|_| !keys.broken()) else {
            return refuse("sparse file without a size or with half a map");
        };
        let segments = match (keys.major, keys.minor, keys.map, &keys.name) {
            (Some(1), Some(0), None, Some(_)) => self.map_in_body()?,
            (None, None, Some(map), _) => {
                // Without the key, libarchive takes the entry for a plain file.
                if keys.numblocks != Some(map.len() as u64) {
                    return refuse("sparse map of another length than it says, or of none");
                }
                map
            }
            _ => return refuse("sparse file of an unknown format"),
        };
        let map = Map::check(segments, real, self.body)?;
        Ok(What::File(self.body, Some(map)))
    }

    /// Returns a sparse file in GNU's own notation, with the map in and after
    /// the header.
    fn old_sparse(&mut self, block: &[u8; BLOCK]) -> Parsed<What> {
        let (mut segments, mut more, real) = old_header(block)?;
        while more {
            let Some(block) = self.input.block()? else {
                return refuse("archive ends within a sparse map");
            };
            more = old_extension(&block, &mut segments)?;
        }
        let map = Map::check(segments, real, self.body)?;
        Ok(What::File(self.body, Some(map)))
    }

    /// Reads a map of format 1.0: lines before the data, padded to a block.
    fn map_in_body(&mut self) -> Parsed<Vec<Segment>> {
        let mut lines = Lines {
            block: [0; BLOCK],
            at: BLOCK,
        };
        let count = lines.number(self)?;
        if count > SEGMENTS_MAX as u64 {
            return Err(Fault::Beyond("sparse_segments", SEGMENTS_MAX as u64));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push(Segment {
                offset: lines.number(self)?,
                length: lines.number(self)?,
            });
        }
        Ok(segments)
    }
}

/// Reads decimal lines from the body of an entry, block by block.
struct Lines {
    block: [u8; BLOCK],
    at: usize,
}

impl Lines {
    fn number(&mut self, archive: &mut Archive<impl Input>) -> Parsed<u64> {
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK {
                if archive.body < BLOCK as u64 {
                    return refuse("entry ends within its sparse map");
                }
                let Some(block) = archive.input.block()? else {
                    return refuse("archive ends within a sparse map");
                };
                archive.body -= BLOCK as u64;
                (self.block, self.at) = (block, 0);
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return decimal(&digits),
                _ if digits.len() > 20 => return refuse("malformed number in a sparse map"),
                _ => digits.push(byte),
            }
        }
    }
}

impl Extensions {
    fn put_pax(&mut self, pax: Overrides) -> Parsed<()> {
        put(&mut self.pax, pax)
    }

    fn best_name(&self) -> Option<&Vec<u8>> {
        let path = self.pax.as_ref().and_then(|pax| pax.path.as_ref());
        path.or(self.name.as_ref())
    }

    /// Refuses a name or a target that is given in both notations.
    fn check_single(&self) -> Parsed<()> {
        let Some(pax) = &self.pax else {
            return Ok(());
        };
        let named = pax.path.is_some() || pax.sparse.name.is_some();
        match named && self.name.is_some() || pax.link.is_some() && self.link.is_some() {
            true => refuse("a name by PAX and by GNU for one entry"),
            false => Ok(()),
        }
    }

    fn check_unused(&self) -> Parsed<()> {
        match (&self.pax, &self.name, &self.link) {
            (None, None, None) => Ok(()),
            _ => refuse("extended header or long name without an entry"),
        }
    }
}

/// Returns the size of a file, given once or twice alike.
fn file_size(size: u64, pax: &Overrides) -> Parsed<u64> {
    if pax.size.is_some() && pax.sparse.any() {
        return refuse("two sizes of a sparse file in one extended header");
    }
    match pax.size {
        None => Ok(size),
        Some(larger) if larger == size || larger > USTAR_SIZE_MAX => Ok(larger),
        Some(_) => refuse("sizes in the header and the extended header differ"),
    }
}

/// Fields that decide the type of an entry.
struct Fields {
    typeflag: u8,
    is_v7: bool,
    slash: bool,
    link: Vec<u8>,
    device: (i64, i64),
    size: u64,
}

impl Fields {
    fn what(mut self) -> Parsed<What> {
        let what = match self.typeflag {
            // Before POSIX, only a slash marked a directory.
            0 if self.is_v7 && self.slash => What::Directory,
            0 | b'0' | b'7' | b'S' => What::File(0, None),
            b'1' => What::Link(self.target()?),
            b'2' => What::Symlink(self.target()?),
            b'3' => self.device(What::Char)?,
            b'4' => self.device(What::Block)?,
            b'5' => What::Directory,
            b'6' => What::Fifo,
            flag => {
                return refuse(format!("unknown type flag {:?}", char::from(flag)));
            }
        };
        match what {
            What::File(..) if self.slash => refuse("a file's name ends in a slash"),
            // The type says file, and some readers go by the slash in the name.
            What::Directory if self.size != 0 => refuse("a directory with data"),
            What::File(..) | What::Directory => Ok(what),
            _ if self.slash => refuse("a name that is no directory's ends in a slash"),
            _ => Ok(what),
        }
    }

    fn target(&mut self) -> Parsed<Vec<u8>> {
        if self.link.is_empty() || self.link.contains(&0) {
            return refuse("link without a target");
        }
        Ok(std::mem::take(&mut self.link))
    }

    fn device(&self, make: fn(u32, u32) -> What) -> Parsed<What> {
        // dev_t of the kernel: 12 bits of major, 20 of minor.
        match (u32::try_from(self.device.0), u32::try_from(self.device.1)) {
            (Ok(major), Ok(minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(make(major, minor)),
            _ => refuse("device number out of range"),
        }
    }
}

fn put<T>(slot: &mut Option<T>, value: T) -> Parsed<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => refuse("the same extended header or long name twice"),
    }
}

/// Returns a GNU long name: text, then only NULs.
fn long_name(mut bytes: Vec<u8>) -> Parsed<Vec<u8>> {
    let end = text(&bytes).len();
    if end == 0 || bytes[end..].iter().any(|&b| b != 0) {
        return refuse("GNU long name that is empty or goes on after its end");
    }
    bytes.truncate(end);
    Ok(bytes)
}

/// Checks a user or group id: the kernel's range without the "no change" value.
fn id(value: i64) -> Parsed<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => refuse("user or group id out of range"),
    }
}
