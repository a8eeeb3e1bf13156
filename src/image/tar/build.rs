// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes archives: ustar headers, with PAX records for values that do not fit.
//!
//! Source: pax(1); GNU tar manual, "Storing Sparse Files", format 1.0.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use super::archive::{Entry, What};
use super::header::BLOCK;
use super::pax::Time;
use super::sparse::Map;

/// Largest numbers of 7 and 11 octal digits.
const SEVEN: u64 = 0o7_777_777;
const ELEVEN: u64 = 0o77_777_777_777;

/// Writes entries to an archive.
pub(crate) struct Builder<W> {
    out: W,
    /// Bytes of the current body so far.
    body: u64,
}

impl<W: Write> Builder<W> {
    /// Begins an empty archive.
    pub(crate) fn new(out: W) -> Self {
        Self { out, body: 0 }
    }

    /// Begins an entry. Pass the bytes of a file to [`Builder::data`]: all
    /// bytes, or with a map the segments in order.
    pub(crate) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.pad()?;
        let mut more = Records::default();
        let mut header = [0u8; BLOCK];
        header[257..265].copy_from_slice(b"ustar\x0000");
        let mut map = Vec::new();
        let (kind, link, size) = match &entry.what {
            What::File(_, Some(sparse)) => {
                map = map_of(sparse);
                let data: u64 = sparse.segments.iter().map(|s| s.length).sum();
                (b'0', &b""[..], map.len() as u64 + data)
            }
            What::File(size, None) => (b'0', &b""[..], *size),
            What::Link(target) => (b'1', &target[..], 0),
            What::Symlink(target) => (b'2', &target[..], 0),
            What::Char(major, minor) => (b'3', device(&mut header, *major, *minor), 0),
            What::Block(major, minor) => (b'4', device(&mut header, *major, *minor), 0),
            What::Directory => (b'5', &b""[..], 0),
            What::Fifo => (b'6', &b""[..], 0),
        };
        header[156] = kind;
        if let What::File(_, Some(sparse)) = &entry.what {
            more.put("GNU.sparse.major", b"1");
            more.put("GNU.sparse.minor", b"0");
            more.put("GNU.sparse.name", &entry.name);
            more.put("GNU.sparse.realsize", sparse.size.to_string().as_bytes());
            // Name for a reader without sparse files.
            header[..23].copy_from_slice(b"GNUSparseFile.0/without");
        } else {
            more.text("path", &entry.name, &mut header[..100]);
        }
        more.text("linkpath", link, &mut header[157..257]);
        octal(&mut header[100..108], u64::from(entry.mode & 0o7777));
        more.number("uid", entry.uid.into(), SEVEN, &mut header[108..116]);
        more.number("gid", entry.gid.into(), SEVEN, &mut header[116..124]);
        more.number("size", size, ELEVEN, &mut header[124..136]);
        more.time(entry.mtime, &mut header[136..148]);
        for (name, value) in &entry.xattrs {
            more.put(
                &format!("SCHILY.xattr.{}", String::from_utf8_lossy(name)),
                value,
            );
        }
        if !entry.name.is_ascii() || !link.is_ascii() {
            let known = [&entry.name[..], link].map(|text| std::str::from_utf8(text).is_ok());
            if known != [true; 2] {
                more.put("hdrcharset", b"BINARY");
            }
        }
        self.records(&more.0)?;
        self.header(&mut header)?;
        self.data(&map)
    }

    /// Adds bytes to the body of the current entry.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.body += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Ends the archive, and returns the writer.
    pub(crate) fn complete(mut self) -> io::Result<W> {
        self.pad()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pad(&mut self) -> io::Result<()> {
        let padding = self.body.wrapping_neg() % BLOCK as u64;
        self.body = 0;
        self.out.write_all(&[0; BLOCK][..padding as usize])
    }

    /// Writes an extended header, if it has records.
    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut header = [0u8; BLOCK];
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[..10].copy_from_slice(b"PaxHeaders");
        header[156] = b'x';
        octal(&mut header[100..108], 0o644);
        octal(&mut header[108..116], 0);
        octal(&mut header[116..124], 0);
        octal(&mut header[124..136], records.len() as u64);
        octal(&mut header[136..148], 0);
        self.header(&mut header)?;
        self.data(records)?;
        self.pad()
    }

    fn header(&mut self, header: &mut [u8; BLOCK]) -> io::Result<()> {
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
        octal(&mut header[148..155], sum);
        self.out.write_all(&header[..])
    }
}

/// Writes digits up to the last byte of the field, which stays NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    field[digits] = 0;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn device(header: &mut [u8; BLOCK], major: u32, minor: u32) -> &'static [u8] {
    octal(&mut header[329..337], major.into());
    octal(&mut header[337..345], minor.into());
    b""
}

/// Returns the map as written before the data: lines, padded to a block. An
/// empty segment tells a hole at the end.
fn map_of(map: &Map) -> Vec<u8> {
    let ends = map
        .segments
        .last()
        .is_some_and(|s| s.offset + s.length == map.size);
    let count = map.segments.len() + usize::from(!ends);
    let mut text = format!("{count}\n");
    for segment in &map.segments {
        text += &format!("{}\n{}\n", segment.offset, segment.length);
    }
    if !ends {
        text += &format!("{}\n0\n", map.size);
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// PAX records.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// `LENGTH KEY=VALUE\n`; the length counts its own digits.
    fn put(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0
            .extend_from_slice(format!("{length} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Writes a text, in the header if it fits.
    fn text(&mut self, key: &str, text: &[u8], field: &mut [u8]) {
        let fits = text.len().min(field.len());
        field[..fits].copy_from_slice(&text[..fits]);
        if fits < text.len() {
            self.put(key, text);
        }
    }

    fn number(&mut self, key: &str, number: u64, most: u64, field: &mut [u8]) {
        match number <= most {
            true => octal(field, number),
            false => {
                octal(field, 0);
                self.put(key, number.to_string().as_bytes());
            }
        }
    }

    fn time(&mut self, time: Time, field: &mut [u8]) {
        let Time {
            seconds,
            nanoseconds,
        } = time;
        match u64::try_from(seconds) {
            Ok(seconds) if nanoseconds == 0 && seconds <= ELEVEN => octal(field, seconds),
            _ => {
                // A reader without records uses whole seconds.
                octal(field, u64::try_from(seconds).unwrap_or(0).min(ELEVEN));
                let text = match (seconds, nanoseconds) {
                    (seconds, 0) => seconds.to_string(),
                    (0.., part) => format!("{seconds}.{part:09}"),
                    (_, part) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - part),
                };
                self.put("mtime", text.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Archive, Segment, Slice};
    use super::*;

    fn entry(name: &[u8], what: What) -> Entry {
        Entry {
            name: name.to_vec(),
            what,
            mode: 0o4755,
            uid: 7,
            gid: 8,
            mtime: Time::default(),
            xattrs: Vec::new(),
        }
    }

    /// Returns the entry and the body that the library's reader finds.
    fn round(entry: &Entry, body: &[u8]) -> (Entry, Vec<u8>) {
        let mut builder = Builder::new(Vec::new());
        builder.entry(entry).unwrap();
        builder.data(body).unwrap();
        let bytes = builder.complete().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut archive = Archive::new(Slice::new(&bytes));
        let Ok(Some(read)) = archive.next() else {
            panic!("{entry:?} is not read back");
        };
        let content = archive.read_body().unwrap();
        assert!(matches!(archive.next(), Ok(None)), "{entry:?}");
        (read, content)
    }

    #[test]
    fn entry_of_every_kind_is_read_back() {
        let long = [b"d/".repeat(300), b"\xff\xfe\n=x".to_vec()].concat();
        let (hundred, more) = ([b'n'; 100], [b'n'; 101]);
        for name in [&b"a"[..], &hundred, &more, &long, "\u{e4}".as_bytes()] {
            for (what, body) in [
                (What::File(3, None), "abc"),
                (What::Link(name.to_vec()), ""),
                (What::Symlink(name.to_vec()), ""),
                (What::Char(4095, (1 << 20) - 1), ""),
                (What::Block(1, 2), ""),
                (What::Fifo, ""),
            ] {
                let mut sent = entry(name, what);
                sent.xattrs = vec![(b"user.x".to_vec(), b"\0=\n\xff".to_vec())];
                let body = body.as_bytes();
                let (read, content) = round(&sent, body);
                assert_eq!(format!("{read:?}"), format!("{sent:?}"));
                assert_eq!(content, body);
            }
        }
    }

    #[test]
    fn numbers_and_times_that_do_not_fit_are_read_back() {
        let half = Time::new(-2, 500_000_000);
        let last = Time::new(-1, 999_999_999);
        let times = [(0, 0), (1, 5), (-1, 0), (8_589_934_592, 1)].map(|(s, ns)| Time::new(s, ns));
        for mtime in times.into_iter().chain([half, last]) {
            for id in [0, SEVEN as u32, SEVEN as u32 + 1, u32::MAX - 1] {
                let mut sent = entry(b"d/", What::Directory);
                sent.mtime = mtime;
                (sent.uid, sent.gid) = (id, id);
                assert_eq!(format!("{:?}", round(&sent, b"").0), format!("{sent:?}"));
            }
        }
    }

    #[test]
    fn sparse_file_is_read_back() {
        let segment = |offset, length| Segment { offset, length };
        for segments in [
            vec![],
            vec![segment(0, 3)],
            vec![segment(4096, 2), segment(1 << 40, 1)],
        ] {
            let body = &b"abc"[..segments.iter().map(|s| s.length as usize).sum()];
            let size = (1 << 40) + 1;
            let sent = entry(b"s", What::File(0, Some(Map { segments, size })));
            let (read, content) = round(&sent, body);
            let (What::File(_, Some(map)), What::File(_, Some(was))) = (read.what, &sent.what)
            else {
                panic!("no map");
            };
            let held = |map: &Map| -> Vec<Segment> {
                let held = map.segments.iter().filter(|s| s.length > 0);
                held.copied().collect()
            };
            assert_eq!((map.size, held(&map)), (was.size, held(was)));
            assert_eq!(content, body);
        }
    }
}
