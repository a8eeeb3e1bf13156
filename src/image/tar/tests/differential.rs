// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares accepted archives with every other reader that accepts them: Go's
//! archive/tar, CPython's tarfile, and libarchive, the base of bsdtar.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tare_oracle::need;

use super::compose::{compose, damage};
use super::corpus::cases;
use super::list;
use crate::testing::random::Random;

/// Archives to compose, and as many to damage; `TARE_FUZZ` multiplies the
/// number.
const COMPOSED: usize = 15_000;
const SEED: u64 = 0x7461_7265;

struct Peer {
    name: &'static str,
    command: &'static [&'static str],
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "archive/tar",
        command: &["go", "run", "tests/peers/list.go"],
    },
    Peer {
        name: "tarfile",
        command: &["python3", "tests/peers/list.py", "tarfile"],
    },
    Peer {
        name: "libarchive",
        command: &["python3", "tests/peers/list.py", "libarchive"],
    },
];

/// A known difference: the peer, the field, and whether an archive shows the
/// difference.
type Difference = (&'static str, Field, fn(&[u8]) -> bool);

/// Fields that may differ, by position in a line.
#[derive(Clone, Copy)]
enum Field {
    Name = 1,
    Link = 2,
    Mode = 4,
    Mtime = 7,
    /// All of the archive from some entry on.
    Rest = 99,
}

const DIFFERENCES: [Difference; 7] = [
    // Takes the times of a GNU header for a prefix; the others, and GNU tar,
    // for times.
    ("tarfile", Field::Name, has_gnu_prefix),
    // Sees no prefix in a GNU header. Go does, and so do the image engines.
    ("libarchive", Field::Name, has_gnu_prefix),
    // With an extended header anywhere before, looks for the body of a hard
    // link whose header has a size. The others expect no body, and take such a
    // body for a bad header.
    ("libarchive", Field::Rest, |archive| {
        let has_size = |h: &[u8]| !h[124..136].iter().all(|b| matches!(b, b'0' | b' ' | 0));
        has_header(archive, |h| matches!(h[156], b'x' | b'g'))
            && has_header(archive, |h| h[156] == b'1' && has_size(h))
    }),
    // Obeys a global time. Go, libarchive and the image engines do not.
    ("tarfile", Field::Mtime, |archive| {
        has_header(archive, |h| h[156] == b'g') && holds(archive, b"mtime=")
    }),
    // Merges an access control list into the mode. The library drops the list
    // with a note, as Go and tarfile do.
    ("libarchive", Field::Mode, |archive| {
        holds(archive, b"SCHILY.acl.")
    }),
    // Reads -1.25 as -1 and 0.25; every other reader as -2 and 0.75.
    ("libarchive", Field::Mtime, |archive| {
        holds(archive, b"mtime=-")
    }),
    // Loses a PAX target of a symlink if the header has no target. Go's writer
    // makes such headers for a target without ASCII.
    ("libarchive", Field::Link, |archive| {
        holds(archive, b"linkpath=") && has_header(archive, |h| h[156] == b'2' && h[157] == 0)
    }),
];

fn has_gnu_prefix(archive: &[u8]) -> bool {
    has_header(archive, |h| &h[257..265] == b"ustar  \0" && h[345] != 0)
}

fn has_header(archive: &[u8], is: impl Fn(&[u8]) -> bool) -> bool {
    archive.chunks_exact(512).any(is)
}

fn holds(archive: &[u8], mark: &[u8]) -> bool {
    archive.windows(mark.len()).any(|bytes| bytes == mark)
}

type List = Result<Vec<String>, String>;

impl Peer {
    /// Returns the peer's list of each archive, or the peer's error.
    fn list(&self, archives: &[Vec<u8>]) -> Vec<List> {
        let mut child = Command::new(self.command[0])
            .args(&self.command[1..])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.command[0]));
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                for archive in archives {
                    let size = (archive.len() as u64).to_be_bytes();
                    stdin.write_all(&[&size, &archive[..]].concat()).unwrap();
                }
            });
            child.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{}", self.name);
        let text = String::from_utf8(output.stdout).unwrap();
        let (mut lists, mut lines) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let read = std::mem::take(&mut lines);
            match line.split_at(1) {
                (".", "") => lists.push(Ok(read)),
                ("!", why) => lists.push(Err(why.trim().to_owned())),
                _ => {
                    lines = read;
                    lines.push(line.to_owned());
                }
            }
        }
        assert_eq!(lists.len(), archives.len(), "{}", self.name);
        lists
    }

    /// Returns fields of an archive's lines that are not compared.
    fn excused(&self, archive: &[u8]) -> Vec<Field> {
        let known = DIFFERENCES.iter();
        let shown = known.filter(|(peer, _, has)| *peer == self.name && has(archive));
        shown.map(|(_, field, _)| *field).collect()
    }

    /// Compares the peer's lists with the library's; returns whether the peer
    /// accepts each archive.
    fn compare(&self, archives: &[Vec<u8>], ours: &[Vec<String>]) -> Vec<bool> {
        let mut accepted = Vec::new();
        for ((archive, ours), theirs) in archives.iter().zip(ours).zip(self.list(archives)) {
            accepted.push(theirs.is_ok());
            let Ok(theirs) = theirs else {
                continue;
            };
            let excused = self.excused(archive);
            if excused.iter().any(|field| matches!(field, Field::Rest)) {
                continue;
            }
            let plain = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| plain(line, &excused)).collect()
            };
            if plain(ours) != plain(&theirs) {
                let file = std::env::temp_dir().join("tare-readers-disagree.tar");
                std::fs::write(&file, archive).unwrap();
                let name = self.name;
                panic!("{file:?}\nours: {ours:#?}\n{name}: {theirs:#?}");
            }
        }
        accepted
    }
}

/// Returns a line without excused fields and without meaningless slashes (in a
/// row, and at the end of a directory's name).
fn plain(line: &str, excused: &[Field]) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let dir = words[0] == "dir";
    let name = &mut words[1];
    while name.contains("2f2f") {
        *name = name.replace("2f2f", "2f");
    }
    if dir && name.ends_with("2f") {
        name.truncate(name.len() - 2);
    }
    for field in excused {
        words[*field as usize].clear();
    }
    words.join(" ")
}

#[test]
fn archive_by_hand_is_accepted_or_refused_for_its_reason() {
    for case in cases() {
        match (list(&case.bytes), case.refused) {
            (Ok(_), None) => {}
            (Err(why), Some(reason)) if why.contains(reason) => {}
            (said, expected) => panic!("{}: {said:?}, expected {expected:?}", case.name),
        }
    }
}

#[test]
fn archive_by_hand_that_is_accepted_is_listed_by_all_alike() {
    need!(program("go"), program("python3"), program("bsdtar"));
    let cases = cases().into_iter().filter(|case| case.refused.is_none());
    let (names, archives): (Vec<_>, Vec<_>) = cases.map(|case| (case.name, case.bytes)).unzip();
    let ours: Vec<_> = archives.iter().map(|bytes| list(bytes).unwrap()).collect();
    for peer in PEERS {
        for (name, accepted) in names.iter().zip(peer.compare(&archives, &ours)) {
            assert!(accepted, "{} refuses {name}", peer.name);
        }
    }
}

#[test]
fn archive_at_random_is_listed_alike_by_all_that_accept_it() {
    need!(program("go"), program("python3"), program("bsdtar"));
    let times: usize = std::env::var("TARE_FUZZ").map_or(1, |n| n.parse().unwrap());
    let mut random = Random(SEED);
    let (mut archives, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..COMPOSED * times {
        let composed = compose(&mut random);
        let damaged = damage(&composed, &mut random);
        for bytes in [composed, damaged] {
            if let Ok(lines) = list(&bytes) {
                ours.push(lines);
                archives.push(bytes);
            }
        }
    }
    assert!(archives.len() > COMPOSED * times / 3, "{}", archives.len());
    for peer in PEERS {
        let accepted = peer.compare(&archives, &ours);
        let accepted = accepted.iter().filter(|&&accepted| accepted).count();
        // Every reader accepts nearly all archives that the library accepts.
        assert!(
            accepted > archives.len() * 9 / 10,
            "{}: {accepted}",
            peer.name
        );
    }
}
