// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a 512-byte tar header strictly: refuses fields that parsers disagree
//! on.
#![forbid(unsafe_code)]

use super::fault::{Parsed, refuse};

/// The unit of the format.
pub(super) const BLOCK: usize = 512;

/// Dialect of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Before POSIX: no magic, no prefix.
    V7,
    /// POSIX: `ustar\0` `00`.
    Ustar,
    /// GNU: `ustar  \0`; own fields in the place of the POSIX prefix.
    Gnu,
}

/// Fields of a header, before extensions are merged.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) dialect: Dialect,
    pub(super) typeflag: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) major: i64,
    pub(super) minor: i64,
}

impl Header {
    /// Reads a header; `None` for a block of zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Parsed<Option<Self>> {
        if block.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        check_sum(block)?;
        let dialect = match &block[257..265] {
            b"ustar\x0000" => Dialect::Ustar,
            b"ustar  \x00" => Dialect::Gnu,
            b"\0\0\0\0\0\0\0\0" => Dialect::V7,
            _ => return refuse("header of an unknown tar dialect"),
        };
        if dialect == Dialect::Ustar && &block[508..] == b"tar\0" {
            return refuse("header of the star dialect, whose prefix others read differently");
        }
        check_foreign(block, dialect)?;
        let mut name = text(&block[..100]).to_vec();
        let prefix = match (dialect, block[156]) {
            (Dialect::Ustar, _) => text(&block[345..500]),
            (Dialect::Gnu, flag) if flag != b'S' => gnu_prefix(block)?,
            _ => b"",
        };
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let devices = dialect != Dialect::V7 && matches!(block[156], b'3' | b'4');
        let device = |at: usize| match devices {
            true => number(&block[at..at + 8]),
            false => Ok(0),
        };
        let Ok(size) = u64::try_from(number(&block[124..136])?) else {
            return refuse("negative size");
        };
        Ok(Some(Self {
            dialect,
            typeflag: block[156],
            name,
            link: text(&block[157..257]).to_vec(),
            mode: (number(&block[100..108])? & 0o7777) as u32,
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            size,
            mtime: number(&block[136..148])?,
            major: device(329)?,
            minor: device(337)?,
        }))
    }
}

/// Refuses fields of another dialect, because some readers accept them in any:
/// GNU's map of a sparse file, the POSIX prefix of the name where GNU has
/// times, and device numbers.
fn check_foreign(block: &[u8; BLOCK], dialect: Dialect) -> Parsed<()> {
    if is_weak!("tar_dialects") {
        return Ok(());
    }
    let is_used = |bytes: &[u8]| bytes.iter().any(|&b| b != 0);
    match (dialect, block[156]) {
        (Dialect::Ustar, b'S') => refuse("an old sparse file in a dialect that has none"),
        // The map of the sparse file follows in other blocks.
        (Dialect::Gnu, b'S') if !has_times(block) || is_used(&block[369..386]) => {
            refuse("a prefix in a dialect that has none")
        }
        (Dialect::V7, _) if is_used(&block[345..500]) => {
            refuse("a prefix in a dialect that has none")
        }
        (Dialect::V7, b'3' | b'4') if is_used(&block[329..345]) => {
            refuse("a device in a dialect that has none")
        }
        _ => Ok(()),
    }
}

/// Returns whether a GNU header holds times of access and of change, or zeros
/// there.
fn has_times(block: &[u8; BLOCK]) -> bool {
    [345..357, 357..369]
        .into_iter()
        .all(|field| number(&block[field]).is_ok())
}

/// Returns the prefix of a name in a GNU header. GNU has no prefix but two
/// times there, which no reader uses. Go's writer put a prefix there before Go
/// 1.8, so Go's reader, and with it Docker's, containerd's and podman's, takes
/// anything but a time for a prefix.
fn gnu_prefix(block: &[u8; BLOCK]) -> Parsed<&[u8]> {
    let is_used = |bytes: &[u8]| bytes.iter().any(|&b| b != 0);
    if has_times(block) {
        return match is_used(&block[369..500]) {
            // Some readers see a part of a file, or the map of a sparse file.
            true => refuse("a map of a sparse file in a header of another kind"),
            false => Ok(b""),
        };
    }
    let prefix = text(&block[345..500]);
    let is_clean = prefix.is_ascii() && !is_used(&block[345 + prefix.len()..500]);
    let is_no_time = [345..357, 357..369].into_iter().any(|field| {
        let field = &block[field];
        let digits = text(field.trim_ascii());
        field[0] != 0 && !digits.iter().all(|b| matches!(b, b'0'..=b'7'))
    });
    match is_clean && is_no_time {
        true => Ok(prefix),
        false => refuse("neither times nor a prefix in a GNU header"),
    }
}

/// Returns whether an archive that begins with `head` may be a tar archive.
pub(crate) fn resembles(head: &[u8]) -> bool {
    let head = &head[..head.len().min(BLOCK)];
    if head.iter().all(|&b| b == 0) {
        return !head.is_empty();
    }
    let Some(block) = head.first_chunk::<BLOCK>() else {
        return false;
    };
    block[257..].starts_with(b"ustar") || check_sum(block).is_ok()
}

/// Compares the sum of all bytes, with the sum's own field taken as spaces.
/// Refuses sums of signed bytes, which some ancient programs wrote.
fn check_sum(block: &[u8; BLOCK]) -> Parsed<()> {
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    let field: u32 = block[148..156].iter().map(|&b| u32::from(b)).sum();
    let sum = sum - field + 8 * u32::from(b' ');
    if octal(&block[148..156])? != i64::from(sum) {
        return refuse("wrong header checksum");
    }
    Ok(())
}

/// Returns a text field: up to the first NUL, else all of it.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads a number: octal digits, or base 256 if the first bit is set (GNU).
pub(super) fn number(field: &[u8]) -> Parsed<i64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    let negative = field[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (i, &byte) in field.iter().enumerate() {
        let byte = match (i, negative) {
            (0, false) => byte & 0x3f,
            (0, true) => byte | 0xc0,
            _ => byte,
        };
        let fits = matches!(value >> 55, 0 | -1);
        if !fits {
            return refuse("number beyond 63 bits in a header");
        }
        value = value << 8 | i64::from(byte);
    }
    Ok(value)
}

/// Reads octal digits after optional spaces, ended by NUL, space or the field's
/// end. Only NUL and space may follow. A blank field is zero.
fn octal(field: &[u8]) -> Parsed<i64> {
    let start = field.iter().position(|&b| b != b' ');
    let field = &field[start.unwrap_or(field.len())..];
    let digits = field.iter().position(|b| !matches!(b, b'0'..=b'7'));
    let (digits, rest) = field.split_at(digits.unwrap_or(field.len()));
    if rest.iter().any(|b| !matches!(b, 0 | b' ')) {
        return refuse("malformed number in a header");
    }
    let digit = |value: i64, &b: &u8| value << 3 | i64::from(b - b'0');
    Ok(digits.iter().fold(0, digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_in_each_notation_is_read() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"77777777", 0o77777777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
        ] {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
    }

    #[test]
    fn number_that_parsers_read_differently_is_refused() {
        for field in [
            &b"12x\0\0\0\0\0"[..],
            b"12\x004\0\0\0",
            b"-1\0\0\0\0\0\0",
            b"0x1f\0\0\0\0",
            b"8\0\0\0\0\0\0\0",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
            b"\xc0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(number(field).is_err(), "{field:?}");
        }
    }
}
