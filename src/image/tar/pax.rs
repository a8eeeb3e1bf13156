// SPDX-License-Identifier: MIT OR Apache-2.0
//! PAX extended headers: the records, and their effect on the next entry.
#![forbid(unsafe_code)]

use super::fault::{Parsed, refuse};
use super::sparse::Segment;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// A point in time, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Time {
    pub(crate) const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds,
        }
    }

    /// Returns the time as long before 1970 as this time is after. The kernel
    /// counts nanoseconds forwards on either side.
    pub(crate) fn negated(self) -> Self {
        match self.nanoseconds {
            0 => Self::new(-self.seconds, 0),
            nanoseconds => Self::new(-self.seconds - 1, 1_000_000_000 - nanoseconds),
        }
    }

    /// Returns the nearest time from 1901 to 2446. ext4 keeps this range, and
    /// so does each file system with more than 32 bits.
    pub(crate) fn kept(self) -> Self {
        let (first, last) = (-0x8000_0000, 0x3_7fff_ffff);
        match self.seconds {
            seconds if seconds < first => Self::new(first, 0),
            seconds if seconds > last => Self::new(last, 0),
            _ => self,
        }
    }
}

/// Values that the extended header of an entry overrides.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseKeys,
}

/// The `GNU.sparse.*` records: formats 0.0, 0.1 and 1.0 together.
#[derive(Debug, Default)]
pub(super) struct SparseKeys {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) realsize: Option<u64>,
    pub(super) numblocks: Option<u64>,
    pub(super) map: Option<Vec<Segment>>,
    /// Format 0.0: an offset that still waits for its length.
    half: Option<u64>,
}

impl SparseKeys {
    /// Returns whether the header had a record of the family.
    pub(super) fn any(&self) -> bool {
        self.major.is_some()
            || self.minor.is_some()
            || self.name.is_some()
            || self.realsize.is_some()
            || self.numblocks.is_some()
            || self.map.is_some()
            || self.half.is_some()
    }

    /// Returns whether a map is incomplete.
    pub(super) fn broken(&self) -> bool {
        self.half.is_some()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Parsed<()> {
        match key {
            b"major" => once(&mut self.major, decimal(value)?),
            b"minor" => once(&mut self.minor, decimal(value)?),
            b"name" => once(&mut self.name, plain(value)?),
            b"size" | b"realsize" => once(&mut self.realsize, decimal(value)?),
            b"numblocks" => once(&mut self.numblocks, decimal(value)?),
            b"map" => once(&mut self.map, segments(value)?),
            b"offset" => once(&mut self.half, decimal(value)?),
            b"numbytes" => {
                let Some(offset) = self.half.take() else {
                    return refuse("sparse length without an offset");
                };
                let length = decimal(value)?;
                let map = self.map.get_or_insert_default();
                map.push(Segment { offset, length });
                Ok(())
            }
            _ => refuse("unknown record of the GNU.sparse family"),
        }
    }
}

impl Overrides {
    /// Reads the extended header of an entry (typeflag `x`).
    pub(super) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut overrides = Self::default();
        let mut rest = bytes;
        while let Some((key, value)) = record(&mut rest)? {
            overrides.put(key, value)?;
        }
        overrides.check_xattrs()?;
        Ok(overrides)
    }

    /// Refuses repeated names. Checks at the end, because a header may hold
    /// very many names.
    fn check_xattrs(&self) -> Parsed<()> {
        if self.xattrs.len() < 2 {
            return Ok(());
        }
        let mut names: Vec<&[u8]> = self.xattrs.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => refuse("the same xattr twice"),
            false => Ok(()),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Parsed<()> {
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.put(key, value);
        }
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.push((plain(name)?, value.to_vec()));
            return Ok(());
        }
        match key {
            b"path" => once(&mut self.path, plain(value)?),
            b"linkpath" => once(&mut self.link, plain(value)?),
            b"size" => once(&mut self.size, decimal(value)?),
            b"uid" => once(&mut self.uid, decimal(value)? as i64),
            b"gid" => once(&mut self.gid, decimal(value)? as i64),
            b"mtime" => once(&mut self.mtime, time(value)?),
            b"hdrcharset" => match value {
                b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
                _ => refuse("unknown hdrcharset"),
            },
            b"SCHILY.realsize" => refuse("sparse file of the star dialect"),
            b"SUN.holesdata" => refuse("sparse file of the Solaris dialect"),
            b"SCHILY.devmajor" | b"SCHILY.devminor" => refuse("device of the star dialect"),
            // Some readers merge ACLs into the mode; unpacking drops them like
            // other attributes.
            _ if key.starts_with(b"SCHILY.acl.") => {
                self.xattrs.push((plain(key)?, Vec::new()));
                Ok(())
            }
            // Times, names of users, comments, other vendors: no effect on an
            // image.
            _ => Ok(()),
        }
    }
}

/// Checks a global extended header (typeflag `g`). Refuses a header that would
/// change entries: Go's reader ignores it and GNU tar obeys, so they unpack
/// different trees. Ignores times, because builders write them and no image
/// engine obeys.
pub(super) fn check_global(bytes: &[u8]) -> Parsed<()> {
    let mut rest = bytes;
    while let Some((key, _)) = record(&mut rest)? {
        let changes = matches!(
            key,
            b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"hdrcharset"
        );
        let vendors: [&[u8]; 4] = [b"SCHILY.", b"GNU.", b"SUN.", b"LIBARCHIVE."];
        if changes || vendors.iter().any(|vendor| key.starts_with(vendor)) {
            return refuse("global extended header that changes entries");
        }
    }
    Ok(())
}

/// Takes the next `LENGTH KEY=VALUE\n` off `rest`.
fn record<'a>(rest: &mut &'a [u8]) -> Parsed<Option<(&'a [u8], &'a [u8])>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let Some(space) = rest.iter().take(20).position(|&b| b == b' ') else {
        return refuse("extended header record without a length");
    };
    let length = usize::try_from(decimal(&rest[..space])?).unwrap_or(usize::MAX);
    if length <= space + 1 || length > rest.len() || rest[length - 1] != b'\n' {
        return refuse("extended header record of a wrong length");
    }
    let body = &rest[space + 1..length - 1];
    let Some(equals) = body.iter().position(|&b| b == b'=') else {
        return refuse("extended header record without \"=\"");
    };
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return refuse("extended header record without a key");
    }
    *rest = &rest[length..];
    Ok(Some((key, value)))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Parsed<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => refuse("the same extended header record twice"),
    }
}

/// Reads text that is not empty and free of NUL.
fn plain(value: &[u8]) -> Parsed<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return refuse("empty value or NUL in an extended header record");
    }
    Ok(value.to_vec())
}

/// Reads decimal digits without sign or leading zeros, below 2^63.
pub(super) fn decimal(digits: &[u8]) -> Parsed<u64> {
    let zeros = digits.len() > 1 && digits[0] == b'0';
    if zeros || !digits.iter().all(u8::is_ascii_digit) {
        return refuse("malformed number in an extended header");
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match text.parse::<i64>() {
        Ok(value) => Ok(value as u64),
        Err(_) => refuse("missing number or one beyond 63 bits in an extended header"),
    }
}

/// Reads seconds with an optional sign and fraction. Cuts digits below a
/// nanosecond, always towards the past, as other readers do.
fn time(value: &[u8]) -> Parsed<Time> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let dot = digits.iter().position(|&b| b == b'.');
    let (whole, fraction) = match dot {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return refuse("malformed time in an extended header");
    }
    let seconds = decimal(whole)? as i64;
    let digit = |i: usize| u32::from(fraction.get(i).map_or(0, |b| b - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, i| sum * 10 + digit(i));
    let time = Time::new(seconds, nanoseconds);
    Ok(if negative { time.negated() } else { time })
}

/// Reads format 0.1: `offset,length,offset,length...`.
fn segments(value: &[u8]) -> Parsed<Vec<Segment>> {
    let mut numbers = value.split(|&b| b == b',').map(decimal);
    let mut map = Vec::new();
    while let Some(offset) = numbers.next() {
        let Some(length) = numbers.next() else {
            return refuse("sparse map of an odd number of numbers");
        };
        map.push(Segment {
            offset: offset?,
            length: length?,
        });
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    use super::*;

    fn record_of(key: &str, value: &str) -> String {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length += 1;
        }
        format!("{length} {key}={value}\n")
    }

    #[test]
    fn pax_time_keeps_nanoseconds_on_both_sides_of_the_epoch() {
        for (text, seconds, nanoseconds) in [
            ("1", 1, 0),
            ("1.5", 1, 500_000_000),
            ("1.0000000019", 1, 1),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("0.", 0, 0),
        ] {
            let expected = Time::new(seconds, nanoseconds);
            assert_eq!(time(text.as_bytes()).unwrap(), expected, "{text}");
        }
        for text in ["", "-", "+1", "1.2.3", "1e9", "9223372036854775808", "--1"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn pax_time_beyond_file_systems_is_the_nearest() {
        let time = Time::new;
        for (given, kept) in [
            (time(-62_135_596_800, 5), time(-0x8000_0000, 0)),
            (time(i64::MIN, 0), time(-0x8000_0000, 0)),
            (time(-0x8000_0000, 5), time(-0x8000_0000, 5)),
            (time(0x3_7fff_ffff, 5), time(0x3_7fff_ffff, 5)),
            (time(99_999_999_999, 5), time(0x3_7fff_ffff, 0)),
        ] {
            assert_eq!(given.kept(), kept, "{given:?}");
        }
    }

    #[test]
    fn pax_record_that_is_malformed_or_repeated_is_refused() {
        let whole = [
            "5 a=b", "6 a=bX", "07 a=b\n", "3 \n", "a=b\n", "5 ab\n", "5 =b\n",
        ];
        let records = [
            ("path", ""),
            ("path", "a\0b"),
            ("size", "-1"),
            ("size", "0x10"),
            ("size", "9223372036854775808"),
            ("GNU.sparse.numbytes", "1"),
            ("GNU.sparse.map", "1,2,3"),
            ("hdrcharset", "UTF-7"),
        ];
        let records = records.map(|(key, value)| record_of(key, value));
        let twice = record_of("SCHILY.xattr.user.a", "1").repeat(2);
        let whole = whole.map(str::to_owned).into_iter();
        for text in whole.chain(records).chain([twice]) {
            assert!(Overrides::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pax_header_of_many_xattrs_costs_its_size() {
        let header = |count| -> String {
            let name = |n| format!("SCHILY.xattr.user.{n}");
            (0..count).map(|n| record_of(&name(n), "")).collect()
        };
        let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let time = |header: &str| {
            let rounds = (0..5).map(|_| {
                let start = cpu();
                Overrides::parse(header.as_bytes()).unwrap();
                cpu() - start
            });
            rounds.min().expect("five rounds")
        };
        let (one, eight) = (time(&header(2_500)), time(&header(20_000)));
        // Comparing each name with each would take 64 times as long.
        assert!(eight < one * 30, "{one:?}, eight times as many {eight:?}");
    }
}
