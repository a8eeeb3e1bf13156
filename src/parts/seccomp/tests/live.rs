// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running kernel's answers behind our programs against Docker's JSON.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::docker::Docker;
use super::*;

/// An answer: the ABI, the call or the socket's family, and the errno.
struct Answer {
    abi: String,
    number: u32,
    errno: i32,
}

/// The probe's code for every native call.
const ARGS: [u64; 6] = [u64::MAX; 6];

const UPROBE: u32 = 336;

fn docker_caps() -> CapSet {
    CapSet::of(&Security::default()).unwrap()
}

/// Attaches `compiled` to the calling thread, for good.
fn attach(compiled: &Compiled) {
    let convert = |i: &sock_filter| seccompiler::sock_filter {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    let program: Vec<_> = compiled.program.iter().map(convert).collect();
    seccompiler::apply_filter(&program).unwrap();
}

/// Builds the probe with the linker's driver, which every Rust toolchain needs
/// anyway.
fn build_probe(directory: &tempfile::TempDir) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probes/syscalls.c");
    let probe = directory.path().join("syscalls");
    let mut cc = Command::new("cc");
    let status = cc
        .args(["-Wall", "-O1", "-o"])
        .arg(&probe)
        .arg(source)
        .status();
    assert!(status.unwrap().success());
    probe
}

/// Runs the probe behind `compiled`: a filter is inherited from the thread that
/// spawns.
fn answers(compiled: Compiled) -> Vec<Answer> {
    let directory = tempfile::tempdir().unwrap();
    let probe = build_probe(&directory);
    let run = move || {
        attach(&compiled);
        Command::new(probe).output().unwrap()
    };
    let output = std::thread::spawn(run).join().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        Answer {
            abi: words[0].into(),
            number: words[1].parse().unwrap(),
            errno: words[2].parse().unwrap(),
        }
    });
    answers.collect()
}

/// Docker's answers, with the documented differences.
fn expected(docker: &Docker, answer: &Answer) -> u32 {
    let caps = docker_caps();
    match (answer.abi.as_str(), answer.number) {
        ("x32" | "i386", _) => ENOSYS,
        // KERNEL(6.18): uprobe runs past every filter,
        // `seccomp_uprobe_exception`; the answer is ENXIO unless the kernel
        // itself planted the call.
        ("native", UPROBE) => ALLOW,
        ("native", number) if number > docker.newest => ENOSYS,
        ("native", number) => {
            let name = table::calls().find(|call| call.1 == number);
            docker.verdict(name.map(|call| call.0), &ARGS, caps)
        }
        ("family", number) => {
            let args = [number.into(), 0, 0, 0, 0, 0];
            docker.verdict(Some("socket"), &args, caps)
        }
        (abi, _) => panic!("{abi}"),
    }
}

fn refusal(verdict: u32) -> Option<i32> {
    (verdict != ALLOW).then(|| i32::try_from(verdict & libc::SECCOMP_RET_DATA).unwrap())
}

#[test]
fn seccomp_default_answers_every_call_as_docker_does() {
    let docker = Docker::read();
    let answers = answers(Compiled::of(&Seccomp::Default, docker_caps()).unwrap());
    assert_eq!(answers.len(), 601 * 3 - 1 + 47);
    for answer in answers {
        let Answer { abi, number, errno } = &answer;
        if let Some(refused) = refusal(expected(&docker, &answer)) {
            assert_eq!(*errno, refused, "{abi} {number}");
        }
    }
}

#[test]
fn seccomp_allowed_calls_reach_the_kernel() {
    // An errno that the kernel itself never gives tells the filter's refusals
    // from the kernel's.
    const OURS: i32 = 3001;
    let docker = Docker::read().with_default_errno(OURS.unsigned_abs());
    let profile = Seccomp::Custom(docker.json().clone());
    for answer in answers(Compiled::of(&profile, docker_caps()).unwrap()) {
        let Answer { abi, number, errno } = &answer;
        match refusal(expected(&docker, &answer)) {
            Some(refused) => assert_eq!(*errno, refused, "{abi} {number}"),
            None => assert_ne!(*errno, OURS, "{abi} {number}"),
        }
    }
}

#[test]
#[ignore = "prints figures: cargo test --release --lib attach_cost -- --ignored --nocapture"]
#[expect(clippy::print_stderr, reason = "figures are what it is for")]
fn seccomp_attach_cost() {
    let security = Security::default();
    let whole = Compiled::of(&security.seccomp, docker_caps()).unwrap();
    let one = vec![sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: ALLOW,
    }];
    for (name, compiled) in [
        (
            "one instruction",
            Compiled {
                program: one,
                at_birth: false,
            },
        ),
        ("the program", whole),
    ] {
        let instructions = compiled.program.len();
        let compiled = Arc::new(compiled);
        let mut costs: Vec<_> = (0..400).map(|_| cost_of(&compiled)).collect();
        costs.sort_unstable();
        eprintln!(
            "attach {name}: {instructions} instructions, median {} us, lowest tenth {} us",
            costs[200] / 1000,
            costs[40] / 1000
        );
    }
    let start = Instant::now();
    for _ in 0..100 {
        Compiled::of(&security.seccomp, docker_caps()).unwrap();
    }
    eprintln!("compile: {} us", start.elapsed().as_micros() / 100);
}

/// Nanoseconds to attach `compiled` to a fresh thread.
fn cost_of(compiled: &Arc<Compiled>) -> u128 {
    let compiled = Arc::clone(compiled);
    let run = move || {
        let start = Instant::now();
        attach(&compiled);
        start.elapsed().as_nanos()
    };
    std::thread::spawn(run).join().unwrap()
}
