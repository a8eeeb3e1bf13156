// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other programs that do the same, each as a process, beside `tare` as a
//! process and the library.
//!
//! `TARE_BENCH_PEERS` names a file with a line for each peer: group (`start`,
//! `unpack`), name, rounds (1: all, 2: each second), and arguments, all
//! separated by tabs. `{new}` in an argument becomes a new directory beside the
//! list, `{id}` a new name.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::bed::Bed;
use super::layers::{biggest, unpack};
use super::sample::{Arm, interleave, timed};
use super::unpacks::into_new;
use super::{floor, starts};

/// A pause, so that the next does not pay for the last peer's cleanup in the
/// kernel.
const PAUSE: Duration = Duration::from_millis(60);

struct Peer {
    name: String,
    every: usize,
    argv: Vec<String>,
}

impl Peer {
    fn read(line: &str) -> Self {
        let mut words = line.split('\t').map(str::to_owned);
        let mut next = || words.next().expect("a name, rounds and a program");
        Self {
            name: next(),
            every: next().parse().unwrap(),
            argv: words.collect(),
        }
    }

    /// Runs a peer as a process to a successful end.
    fn run(&self, number: usize, new: &Path) -> Duration {
        let fill = |word: &String| {
            word.replace("{new}", new.to_str().unwrap())
                .replace("{id}", &format!("tare-bench-{number}"))
        };
        let mut command = Command::new(&self.argv[0]);
        command.args(self.argv[1..].iter().map(fill));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        timed(|| {
            let status = command.status().unwrap();
            assert!(status.success(), "{}: {status}", self.name);
        })
    }

    /// Uses a new directory below `within` each time, if given.
    fn arm<'a>(&'a self, within: Option<&'a Path>) -> Arm<'a> {
        let mut number = 0;
        let once = move || {
            number += 1;
            if let Some(within) = within {
                return into_new(within, |into| self.run(number, into));
            }
            sleep(PAUSE);
            self.run(number, Path::new(""))
        };
        Arm::new(&self.name, once).every(self.every)
    }
}

fn rested<'a>(name: &str, mut once: impl FnMut() -> Duration + 'a) -> Arm<'a> {
    Arm::new(name, move || {
        sleep(PAUSE);
        once()
    })
}

fn list() -> PathBuf {
    let file = std::env::var_os("TARE_BENCH_PEERS");
    file.expect("TARE_BENCH_PEERS, a list of peers").into()
}

fn listed(at: &str) -> Vec<Peer> {
    let text = std::fs::read_to_string(list()).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let lines = lines.filter(|(group, _)| *group == at);
    lines.map(|(_, line)| Peer::read(line)).collect()
}

pub(crate) fn starts() -> Value {
    let peers = listed("start");
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let mut arms = vec![
        rested("spawn_std", || timed(|| bed.spawn())),
        rested("floor_naive", || floor::run(&bed.root, true)),
        rested("start_cold", || starts::cold(&bed)),
        rested("start_whole", || timed(|| starts::whole(&bed))),
    ];
    arms.extend(peers.iter().map(|peer| peer.arm(None)));
    json!({ "arms": interleave(arms, 30, 1) })
}

pub(crate) fn unpacks() -> Value {
    let peers = listed("unpack");
    let layer = biggest("debian");
    // Mounts left by a peer are removed by the maker of the list, with the
    // neighbours.
    let list = list();
    let within = list.parent().unwrap();
    let mut arms = vec![Arm::new("unpack", || {
        into_new(within, |into| timed(|| unpack(&layer, into)))
    })];
    arms.extend(peers.iter().map(|peer| peer.arm(Some(within))));
    json!({ "arms": interleave(arms, 9, 1) })
}
