// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs each target on its corpus and on a fixed sequence of mutations.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

use super::TARGETS;
use crate::testing::random::Random;

/// Mutations tried of each target; `TARE_FUZZ` multiplies it.
const MUTATIONS: usize = 15_000;
const SEED: u64 = 0x7461_7265;

/// Words that parsers treat specially.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\x01",
    b"/",
    b"../",
    b"..",
    b".wh.",
    b"\n",
    b":",
    b"=",
    b"\"",
    b"[",
    b"{",
    b",",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"18446744073709551615",
    b"1e400",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\xc2\x9b",
    b"\\u0000",
    b"null",
    b"sha256:",
];

/// Suffix of a corpus that `fuzz/run.sh` has packed.
const PACK: &str = ".tar.zst";

fn corpus_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let pack = corpus_dir().join(format!("{name}{PACK}"));
    let file = File::open(&pack).unwrap_or_else(|e| panic!("{pack:?}: {e}"));
    let mut pack = tar::Archive::new(zstd::Decoder::new(file).unwrap());
    let mut inputs = Vec::new();
    for entry in pack.entries().unwrap() {
        let mut bytes = Vec::new();
        let mut entry = entry.unwrap();
        entry.read_to_end(&mut bytes).unwrap();
        if entry.header().entry_type().is_file() {
            inputs.push(bytes);
        }
    }
    assert!(!inputs.is_empty(), "{name}: an empty corpus");
    inputs
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let n = random.below(16).min(bytes.len() - at);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.splice(at..at, random.one(&WORDS).iter().copied())),
            3 => {
                let word = random.one(&WORDS);
                let end = bytes.len().min(at + word.len());
                drop(bytes.splice(at..end, word.iter().copied()));
            }
            4 => drop(bytes.drain(at..at + n)),
            5 => {
                let piece = bytes[at..at + n].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            // Copies a block of an archive, behind the byte of flags.
            _ if bytes.len() > 1024 => {
                let block = |random: &mut Random| 1 + 512 * random.below(bytes.len() / 512 - 1);
                let (from, to) = (block(random), block(random));
                bytes.copy_within(from..from + 512, to);
            }
            _ => {}
        }
    }
    bytes
}

fn fuzz(name: &str, mutations: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    corpus.iter().for_each(|bytes| (target.run)(bytes));
    let times: usize = std::env::var("TARE_FUZZ").map_or(1, |n| n.parse().unwrap());
    let mut random = Random(SEED);
    for _ in 0..mutations * times {
        let bytes = mutated(&corpus, &mut random);
        let run = std::panic::AssertUnwindSafe(|| (target.run)(&bytes));
        if std::panic::catch_unwind(run).is_err() {
            let file = std::env::temp_dir().join(format!("tare-fuzz-{name}"));
            fs::write(&file, &bytes).unwrap();
            panic!("{file:?} is the input; once that is mended, it belongs into the corpus");
        }
    }
}

/// Declares a test of each target.
macro_rules! targets {
    ($($name:ident $mutations:expr,)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name), $mutations);
        })*

        #[test]
        fn every_target_and_every_corpus_has_a_test() {
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            let mut targets = TARGETS.map(|target| target.name);
            targets.sort_unstable();
            assert_eq!(tested, targets);
            let entries = fs::read_dir(corpus_dir()).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut packs: Vec<_> = names.map(|n| n.strip_suffix(PACK).unwrap().to_owned()).collect();
            packs.sort();
            assert_eq!(tested, packs);
        }
    };
}

targets! {
    tar MUTATIONS,
    // These two make files.
    layer MUTATIONS / 5,
    archive MUTATIONS / 5,
    documents MUTATIONS,
    reference MUTATIONS,
    spec MUTATIONS,
    seccomp MUTATIONS,
    wire MUTATIONS,
    passwd MUTATIONS,
}
