// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes tar archives block by block, honest or not, without a tar library,
//! because no library would write most of these.

/// A header's fields; fields that a test does not name keep their default.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: u64,
    pub(crate) flag: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) magic: [u8; 8],
    pub(crate) prefix: Vec<u8>,
}

pub(crate) const USTAR: [u8; 8] = *b"ustar\x0000";
pub(crate) const GNU: [u8; 8] = *b"ustar  \x00";

impl Head {
    pub(crate) fn new(flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            mode: if flag == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 1_000_000_000,
            flag,
            link: Vec::new(),
            major: 0,
            minor: 0,
            magic: USTAR,
            prefix: Vec::new(),
        }
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub(crate) fn mtime(mut self, mtime: u64) -> Self {
        self.mtime = mtime;
        self
    }

    pub(crate) fn link(mut self, link: impl AsRef<[u8]>) -> Self {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn device(mut self, major: u64, minor: u64) -> Self {
        (self.major, self.minor) = (major, minor);
        self
    }

    pub(crate) fn magic(mut self, magic: [u8; 8]) -> Self {
        self.magic = magic;
        self
    }

    pub(crate) fn size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// The header's block, with a right checksum.
    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &number(self.uid, 8));
        put(116, &number(self.gid, 8));
        put(124, &number(self.size, 12));
        put(136, &number(self.mtime, 12));
        put(156, &[self.flag]);
        put(157, &self.link);
        put(257, &self.magic);
        put(329, &number(self.major, 8));
        put(337, &number(self.minor, 8));
        put(345, &self.prefix);
        sign(&mut block);
        block
    }
}

/// Octal if the number fits, else base 256.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0w$o}\0", w = width - 1);
    if octal.len() == width {
        return octal.into_bytes();
    }
    let mut bytes = vec![0; width];
    bytes[width - 8..].copy_from_slice(&value.to_be_bytes());
    if width == 8 {
        assert!(value >> 56 == 0);
    }
    bytes[0] |= 0x80;
    bytes
}

/// Writes the checksum that the other bytes call for.
pub(crate) fn sign(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The entries of [`Tar::add`].
    pub(crate) fn of(words: &str) -> Self {
        Self::new().add(words)
    }

    /// Adds an entry for each word: `d/` is a directory, `f` an empty file,
    /// `f=x` a file with content, `s->t` a symlink, `h=>t` a hard link, `c@1:3`
    /// a character device.
    pub(crate) fn add(self, words: &str) -> Self {
        words.split_whitespace().fold(self, |tar, word| {
            if let Some((name, target)) = word.split_once("->") {
                tar.symlink(name, target)
            } else if let Some((name, target)) = word.split_once("=>") {
                tar.link(name, target)
            } else if let Some((name, body)) = word.split_once('=') {
                tar.file(name, body)
            } else if let Some((name, numbers)) = word.split_once('@') {
                let (major, minor) = numbers.split_once(':').unwrap();
                let head = Head::new(b'3', name);
                tar.head(head.device(major.parse().unwrap(), minor.parse().unwrap()))
            } else if let Some(name) = word.strip_suffix('/') {
                tar.dir(name)
            } else {
                tar.file(word, "")
            }
        })
    }

    /// A header and its body, padded; the size follows from the body.
    pub(crate) fn put(mut self, head: Head, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        self.0
            .extend_from_slice(&head.size(body.len() as u64).block());
        self.raw(body).pad()
    }

    /// A header alone, unchanged.
    pub(crate) fn head(mut self, head: Head) -> Self {
        self.0.extend_from_slice(&head.block());
        self
    }

    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub(crate) fn pad(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        self.put(Head::new(b'0', name), body)
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(b'5', name))
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(b'2', name).mode(0o777).link(target))
    }

    pub(crate) fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(b'1', name).link(target))
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.put(Head::new(b'x', "PaxHeaders/x"), pax_records(records))
    }

    /// The whole archive, with its end marks.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// `LENGTH KEY=VALUE\n` for each.
pub(crate) fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length += 1;
        }
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}
