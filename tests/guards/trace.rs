// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host under strace(1): each call with the caller and the stage of the
//! caller.
//!
//! The host marks its stages. A helper works on two sandboxes at once, in an
//! order that the scheduler chooses: calls of an init and of its commands
//! belong to that sandbox at any time.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Command;

use crate::host;
use crate::place::Place;

/// The caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Host,
    Spawner,
    Init,
    /// A command, until its exec.
    Command,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) who: Who,
    /// Name of the stage, and its round; `None` outside.
    pub(crate) stage: Option<(String, usize)>,
    pub(crate) name: String,
    /// Arguments and result.
    pub(crate) rest: String,
}

/// All calls of a host in `role` and of its children.
pub(crate) fn of(place: &Place, role: &str) -> Vec<Call> {
    let log = place.path("trace");
    let traced = host::command(place, role);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-s", "64", "--signal=none"]);
    strace.args(["--decode-pids=pidns", "-o"]);
    strace.arg(&log).arg("--").arg(traced.get_program());
    strace.args(traced.get_args());
    for (key, value) in traced.get_envs() {
        match value {
            Some(value) => strace.env(key, value),
            None => strace.env_remove(key),
        };
    }
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read(&log).unwrap();
    let calls = parse(&String::from_utf8_lossy(&text));
    assert!(!calls.is_empty(), "{output:?}");
    calls
}

/// A call in a line of strace.
struct Line<'a> {
    pid: &'a str,
    name: &'a str,
    rest: String,
}

impl Line<'_> {
    /// The host's marks, see [`host::mark`].
    fn mark(&self) -> Option<&str> {
        let mark = self
            .rest
            .strip_prefix("-1, \"")
            .filter(|_| self.name == "write")?;
        mark.split('"').next()
    }

    /// The process or thread that the call made, by strace's number: a child of
    /// another pid namespace appears as `= 3 /* 9769 in strace's PID NS */`.
    fn child(&self) -> Option<&str> {
        let births = ["clone", "clone3", "fork", "vfork"];
        let (_, result) = self.rest.rsplit_once(" = ")?;
        let number = match result.split_once("/* ") {
            Some((_, outside)) => outside.split(' ').next()?,
            None => result.trim(),
        };
        let born = births.contains(&self.name) && number.parse::<u32>().is_ok();
        born.then_some(number)
    }

    fn makes_a_thread(&self) -> bool {
        self.rest.contains("CLONE_THREAD")
    }
}

/// Lines of `PID name(arguments) = result`; a call interrupted by others ends
/// in a later line, `PID <... name resumed>arguments) = result`.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut unfinished = HashMap::new();
    for line in text.lines() {
        let (pid, call) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let call = call.trim_start();
        if let Some((_, end)) = call
            .strip_prefix("<... ")
            .and_then(|c| c.split_once(" resumed>"))
        {
            if let Some(begun) = unfinished.remove(pid) {
                let begun: &mut Line<'_> = &mut lines[begun];
                begun.rest.push_str(end);
            }
        } else if let Some((name, rest)) = call.split_once('(') {
            let begun = rest.strip_suffix(" <unfinished ...>");
            if begun.is_some() {
                unfinished.insert(pid, lines.len());
            }
            let rest = begun.unwrap_or(rest).to_owned();
            lines.push(Line { pid, name, rest });
        }
    }
    lines
}

/// A process or thread: the owner of its calls, and its sandbox.
#[derive(Clone, Copy)]
struct Task<'a> {
    who: Who,
    /// The init's process id.
    sandbox: &'a str,
    /// The command of the sandbox; 0 for all others.
    command: usize,
}

/// Tasks by number. Programs of commands, and their children, are left out.
fn tasks<'a>(lines: &'a [Line<'a>]) -> HashMap<&'a str, Task<'a>> {
    let mut tasks = HashMap::new();
    let host = lines.iter().find(|line| line.mark().is_some());
    let host = host.expect("the host marks its stages").pid;
    let task = |who, sandbox, command| Task {
        who,
        sandbox,
        command,
    };
    tasks.insert(host, task(Who::Host, "", 0));
    // A child of the host ends at once; the spawner is its child.
    let mut starters = Vec::new();
    let mut commands = BTreeMap::new();
    for line in lines {
        let (Some(child), parent) = (line.child(), line.pid) else {
            continue;
        };
        if starters.contains(&parent) {
            tasks.insert(child, task(Who::Spawner, "", 0));
        }
        let Some(parent) = tasks.get(parent).copied() else {
            continue;
        };
        let born = match parent.who {
            _ if line.makes_a_thread() => parent,
            Who::Host => {
                starters.push(child);
                continue;
            }
            Who::Spawner if line.rest.contains("CLONE_NEWPID") => task(Who::Init, child, 0),
            Who::Spawner => parent,
            Who::Init => {
                let before = commands.entry(parent.sandbox).or_insert(0);
                *before += 1;
                task(Who::Command, parent.sandbox, *before)
            }
            Who::Command => continue,
        };
        tasks.insert(child, born);
    }
    tasks
}

fn parse(text: &str) -> Vec<Call> {
    let lines = lines(text);
    let mut tasks = tasks(&lines);
    let marks = || lines.iter().filter_map(Line::mark);
    // Stages of inits and their commands, see `host::mark_init`.
    let lives: HashMap<&str, &str> = marks()
        .filter_map(|mark| mark.strip_prefix("init ")?.split_once(' '))
        .collect();
    let mut calls = Vec::new();
    let (mut round, mut stage, mut counted) = (0, None, false);
    for line in &lines {
        if let Some(mark) = line.mark() {
            if let Some(begins) = mark.strip_prefix("begin ") {
                round += 1;
                stage = Some(begins.to_owned());
            }
            if !mark.starts_with("init ") {
                counted = mark != "end";
            }
            continue;
        }
        let Some(task) = tasks.get(line.pid).copied() else {
            continue;
        };
        let life = lives.get(task.sandbox);
        let of_life = |name: String| (name, task.sandbox.parse().unwrap_or(0));
        let at = match task.who {
            Who::Host => stage.clone().filter(|_| counted).map(|name| (name, round)),
            // One round after the other: the sums are shared out.
            Who::Spawner => Some((host::ALL.to_owned(), 0)).filter(|_| {
                let warm_up = host::WARM_UP;
                stage.as_deref().is_some_and(|name| name != warm_up)
            }),
            Who::Init => life.map(|name| of_life((*name).to_owned())),
            Who::Command => life
                .and_then(|_| host::command_stage(task.command))
                .map(|name| of_life(name.to_owned())),
        };
        calls.push(Call {
            who: task.who,
            stage: at.filter(|(name, _)| name != host::WARM_UP),
            name: line.name.to_owned(),
            rest: line.rest.clone(),
        });
        let executes = line.name.starts_with("execve") && line.rest.ends_with("= 0");
        if task.who == Who::Command && executes {
            tasks.remove(line.pid);
        }
    }
    calls
}

#[test]
fn trace_tells_whose_calls_are_whose() {
    let text = "\
1 write(-1, \"begin start\", 11) = -1 EBADF (Bad file descriptor)
1 clone3({flags=CLONE_VM|CLONE_VFORK}, 88 <unfinished ...>
2 clone3({flags=0}, 88) = 3
1 <... clone3 resumed>) = 2
3 clone3({flags=CLONE_NEWPID}, 88 <unfinished ...>
1 sendmsg(3, {}, 0) = 1
4 mount(\"x\") = 0
3 <... clone3 resumed>) = 4
1 write(-1, \"end\", 3) = -1 EBADF (Bad file descriptor)
1 getpid() = 1
1 write(-1, \"init 4 life\", 11) = -1 EBADF (Bad file descriptor)
4 clone(flags=CLONE_VM|CLONE_THREAD) = 2 /* 5 in strace's PID NS */
5 clone(flags=CLONE_VM|SIGCHLD <unfinished ...>
6 setsid( <unfinished ...>
5 <... clone resumed>) = 3 /* 6 in strace's PID NS */
6 <... setsid resumed>) = 3
6 execve(\"/bin/true\", [], 0x1) = 0
6 brk(NULL) = 0x1
";
    let calls = parse(text);
    let told = calls.iter().filter_map(|call| {
        let (stage, round) = call.stage.as_ref()?;
        Some(format!("{:?} {stage} {round} {}", call.who, call.name))
    });
    let expected = [
        "Host start 1 clone3",
        "Spawner all 0 clone3",
        "Host start 1 sendmsg",
        "Init life 4 mount",
        "Init life 4 clone",
        "Init life 4 clone",
        "Command first 4 setsid",
        "Command first 4 execve",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
