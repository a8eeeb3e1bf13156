// SPDX-License-Identifier: MIT OR Apache-2.0
//! The promised figures, each beside a floor, as JSON for
//! `scripts/bench-report.py`.
//!
//! `cargo bench --bench figures -- start density` measures these groups,
//! without a name all groups that need only this machine. Each group is a
//! process, and `bench/GROUP.json` in cargo's target directory. Compared values
//! are measured in turn, in a changing order, because milliseconds differ
//! between machines and between two hours of a machine.
#![allow(missing_docs, reason = "a bench has no users")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it says what it does"
)]

#[path = "start/bed.rs"]
mod bed;
#[path = "figures/density.rs"]
mod density;
#[path = "start/floor.rs"]
mod floor;
#[path = "unpack/layers.rs"]
mod layers;
#[path = "figures/machine.rs"]
mod machine;
#[path = "figures/peers.rs"]
mod peers;
#[path = "figures/sample.rs"]
mod sample;
#[path = "figures/scale.rs"]
mod scale;
#[path = "figures/starts.rs"]
mod starts;
#[path = "figures/unpacks.rs"]
mod unpacks;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

/// Groups that need only this machine.
const ALONE: [&str; 4] = ["start", "scale", "density", "unpack"];

fn measure(group: &str) {
    let mut result: Value = match group {
        "start" => starts::measure(),
        "scale" => scale::measure(),
        "density" => density::measure(),
        "unpack" => unpacks::measure(),
        "peers-start" => peers::starts(),
        "peers-unpack" => peers::unpacks(),
        other => panic!("{other}: there is no such group"),
    };
    result["machine"] = machine::describe();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&dir).unwrap();
    let text = serde_json::to_string_pretty(&result).unwrap() + "\n";
    fs::write(dir.join(format!("{group}.json")), text).unwrap();
}

fn main() -> ExitCode {
    // Cargo's own word for benches.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let groups: Vec<&str> = args.iter().map(String::as_str).collect();
    let groups: Vec<&str> = groups.into_iter().filter(|g| *g != "--bench").collect();
    match groups[..] {
        ["serve", dir] => starts::serve(Path::new(dir)),
        ["floor", root] => scale::floor(Path::new(root)),
        // The image that peers are given, too.
        ["image", dir] => drop(bed::Bed::new(Path::new(dir))),
        ["alone", group] => measure(group),
        _ if !nix::unistd::geteuid().is_root() => {
            eprintln!("figures: needs root, or its runner (make bench)");
            return ExitCode::FAILURE;
        }
        _ => {
            let wanted = if groups.is_empty() {
                &ALONE
            } else {
                &groups[..]
            };
            for group in wanted {
                println!("figures: {group}");
                let mut alone = Command::new(std::env::current_exe().unwrap());
                if !alone.args(["alone", group]).status().unwrap().success() {
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}
