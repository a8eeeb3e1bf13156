// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cases through the Rust API: face STORE.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    missing_docs,
    reason = "a program for run.sh, which reads what it prints"
)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare::files::{FileType, Metadata, OpenOptions};
use tare::spec::Limits;
use tare::{
    Command, Error, Event, Events, Output, Pool, PoolSize, Process, Reason, Result, Sandbox, Spec,
    Stdin, Stdout, Store,
};

/// Keys that warnings of the log say were left out.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if let Some((_, rest)) = line.split_once(": left out ") {
            let key = rest.split(':').next().unwrap_or_default();
            TOLD.lock().unwrap().push(key.to_owned());
        }
    }

    fn flush(&self) {}
}

fn say_keys<'a>(word: &str, keys: impl Iterator<Item = &'a str>) {
    let keys: Vec<&str> = keys.collect();
    let said = if keys.is_empty() {
        "nothing".to_owned()
    } else {
        keys.join(" ")
    };
    println!("> {word} {said}");
}

/// A started command, and its input.
struct Running {
    process: Process,
    input: Option<File>,
}

struct Face {
    store: Store,
    sandbox: Option<Sandbox>,
    /// The next command, from the lines before it.
    next: Command,
    argv: Vec<OsString>,
    running: HashMap<String, Running>,
    events: Option<Events>,
    /// The last command that ended.
    memory_peak: Option<u64>,
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'x') => {
                    let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
                    digit() << 4 | digit()
                }
                other => other.unwrap(),
            },
            byte => byte,
        });
    }
    bytes
}

fn escape(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'\n' => "\\n".to_owned(),
        b'\\' => "\\\\".to_owned(),
        32..127 => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

/// Prints a word of a step that succeeded.
fn done<T>(result: Result<T>, word: &str) {
    if told(result).is_some() {
        println!("> {word}");
    }
}

/// The result of a step; an error is printed.
fn told<T>(result: Result<T>) -> Option<T> {
    let tell = |error: &Error| {
        let errno = error.errno().unwrap_or(0);
        println!("> error {} {errno} {}", error.kind().as_str(), error.step());
    };
    result.inspect_err(tell).ok()
}

fn tell_stream(name: &str, bytes: &[u8]) {
    let sum: u64 = bytes.iter().copied().map(u64::from).sum();
    match bytes.len() {
        0 => {}
        1..=200 => println!("> {name} {}", escape(bytes)),
        len => println!("> {name} {len} bytes, sum {sum}"),
    }
}

fn tell_output(output: &Output) {
    let status = output.status;
    match status.reason {
        Reason::Exited => println!("> exited {}", status.exit_code.unwrap()),
        Reason::Signaled => println!("> signaled {}", status.signal.unwrap()),
        // As the other faces write it. An exit code would be wrong here.
        reason => {
            let code = status
                .exit_code
                .map(|code| format!(" with exit code {code}"));
            let reason = format!("{reason:?}").to_lowercase();
            println!("> {reason}{}", code.unwrap_or_default());
        }
    }
    tell_stream("stdout", &output.stdout);
    tell_stream("stderr", &output.stderr);
    if let Some(kills @ 1..) = status.usage.oom_kills {
        println!("> oom_kills {kills}");
    }
}

/// Returns whether a command runs, and has made the file.
fn has_begun(sandbox: &Sandbox, path: &str) -> bool {
    let running = sandbox.commands().map_or(0, |commands| commands.len());
    running == 1 && sandbox.files().metadata(path).is_ok()
}

fn tell_metadata(found: &Metadata) {
    print!(
        "> stat {} {:o}",
        found.file_type().as_str(),
        found.permissions()
    );
    match found.file_type() {
        FileType::File => println!(" {}", found.len()),
        _ => println!(),
    }
}

impl Face {
    /// Returns whether the line was about the next command.
    fn take(&mut self, word: &str, text: &str) -> bool {
        let bytes = || OsString::from_vec(unescape(text));
        let next = std::mem::replace(&mut self.next, Command::from_argv([""; 0]));
        self.next = match word {
            "sh" => {
                self.argv = vec!["sh".into(), "-c".into(), bytes()];
                next
            }
            "arg" => {
                self.argv.push(bytes());
                next
            }
            "env" => {
                let whole = unescape(text);
                let at = whole.iter().position(|b| *b == b'=').unwrap();
                let [name, value] =
                    [&whole[..at], &whole[at + 1..]].map(|b| OsString::from_vec(b.into()));
                next.env(name, value)
            }
            "cwd" => next.cwd(text),
            "user" => next.user(text),
            "timeout" => next.timeout(Duration::from_secs_f64(text.parse().unwrap())),
            "input" => next.stdin(Stdin::Bytes(unescape(text))),
            "input_size" => next.stdin(Stdin::Bytes(vec![b'x'; text.parse().unwrap()])),
            "rlimit" => {
                let (name, limit) = text.split_once(' ').unwrap();
                next.rlimit(name, limit.parse().unwrap())
            }
            "cap_add" => next.cap_add(text),
            "cap_drop" => next.cap_drop(text),
            "umask" => next.umask(u32::from_str_radix(text, 8).unwrap()),
            "stdin" => next.stdin(Stdin::Piped),
            "stderr" => next.stderr(Stdout::Merged),
            _ => {
                self.next = next;
                return false;
            }
        };
        true
    }

    fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("the case opens one first")
    }

    /// The command that the lines before have said.
    fn command(&mut self) -> Command {
        let said = std::mem::replace(&mut self.next, Command::from_argv([""; 0]));
        said.args(std::mem::take(&mut self.argv))
    }

    fn end(&mut self) {
        if let Some(old) = self.sandbox.take() {
            told(old.close());
        }
    }

    fn open(&mut self, spec: &str) {
        self.end();
        let opened = Spec::from_json(spec).and_then(|spec| Sandbox::open(&self.store, &spec));
        self.sandbox = told(opened);
    }

    fn open_from_pool(&mut self, spec: &str) {
        self.end();
        let size = PoolSize { min: 1, max: 2 };
        let opened = Spec::from_json(spec).and_then(|spec| Pool::open(&self.store, &spec, size));
        if let Some(pool) = told(opened) {
            self.sandbox = told(pool.take());
            told(pool.close());
        }
    }

    fn tell_ended(&mut self, output: Result<Output>) {
        if let Some(output) = told(output) {
            tell_output(&output);
            self.memory_peak = output.status.usage.memory_peak;
        }
    }

    /// Runs the next command in a thread, and ends the sandbox once the command
    /// has made the file.
    fn run_beside(&mut self, end: &str, path: &str) {
        let command = self.command();
        let sandbox = self.sandbox.take().expect("the case opens one first");
        let output = thread::scope(|scope| {
            let running = scope.spawn(|| sandbox.run(command));
            while !running.is_finished() && !has_begun(&sandbox, path) {
                thread::sleep(Duration::from_millis(10));
            }
            let (ended, word) = match end {
                "reset" => (sandbox.reset(), "reset"),
                "close" => (sandbox.close(), "closed"),
                _ => panic!("no such end: {end}"),
            };
            done(ended, word);
            running.join().unwrap()
        });
        self.tell_ended(output);
        self.sandbox = (end == "reset").then_some(sandbox);
    }

    fn tell_memory_peak(&self, mib: &str) {
        let least: u64 = mib.parse().unwrap();
        match self.memory_peak {
            None => println!("> memory_peak unknown"),
            Some(peak) if peak >> 20 >= least => println!("> memory_peak at least {mib}"),
            Some(_) => println!("> memory_peak below {mib}"),
        }
    }

    fn of_command(&mut self, word: &str, name: &str, text: &str) -> bool {
        match word {
            "run" => {
                let command = self.command();
                let output = self.sandbox().run(command);
                self.tell_ended(output);
            }
            "run_beside" => self.run_beside(name, text),
            "memory_peak" => self.tell_memory_peak(name),
            "spawn" => {
                let command = self.command();
                if let Some(process) = told(self.sandbox().spawn(command)) {
                    let input = process.take_stdin().map(File::from);
                    self.running
                        .insert(name.to_owned(), Running { process, input });
                    println!("> spawned");
                }
            }
            "wait" => {
                let running = self.running.remove(name).unwrap();
                self.tell_ended(running.process.wait_with_output());
            }
            "send" => {
                let input = self.running.get_mut(name).unwrap().input.as_mut();
                input.unwrap().write_all(&unescape(text)).unwrap();
            }
            "eof" => self.running.get_mut(name).unwrap().input = None,
            "signal" => {
                told(self.running[name].process.signal(text.parse().unwrap()));
            }
            "kill" => {
                told(self.running[name].process.kill());
            }
            "commands" => {
                if let Some(running) = told(self.sandbox().commands()) {
                    println!("> {} run", running.len());
                }
            }
            "kill_found" => {
                let id = self.running[name].process.id();
                let found = self.sandbox().process(id);
                done(found.and_then(|process| process.kill()), "found");
            }
            _ => return false,
        }
        true
    }

    fn of_file(&mut self, word: &str, path: &str, text: &str) {
        let files = self.sandbox().files();
        match word {
            "read" => {
                if let Some(data) = told(files.read(path)) {
                    println!("> data {}", escape(&data));
                }
            }
            "write" => {
                let (mode, data) = text.split_once(' ').unwrap();
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true);
                options.mode(u32::from_str_radix(mode, 8).unwrap());
                done(files.write_with(path, unescape(data), &options), "wrote");
            }
            "mkdir" => {
                let mode = u32::from_str_radix(text, 8).unwrap();
                done(files.create_dir(path, mode), "made");
            }
            "list" => {
                let entries = files.read_dir(path).and_then(|dir| {
                    let name =
                        |e: tare::files::DirEntry| e.file_name().to_str().unwrap().to_owned();
                    dir.map(|entry| entry.map(name)).collect::<Result<Vec<_>>>()
                });
                if let Some(mut names) = told(entries) {
                    names.sort();
                    let words: String = names.iter().map(|name| format!(" {name}")).collect();
                    println!("> list{words}");
                }
            }
            "stat" => {
                told(files.metadata(path)).iter().for_each(tell_metadata);
            }
            "lstat" => {
                told(files.symlink_metadata(path))
                    .iter()
                    .for_each(tell_metadata);
            }
            "remove" => {
                let removed = files.remove_file(path);
                let removed = match removed {
                    // As remove(3) does.
                    Err(error) if error.errno() == Some(21) => files.remove_dir(path),
                    other => other,
                };
                done(removed, "removed");
            }
            "remove_all" => done(files.remove_dir_all(path), "removed"),
            _ => panic!("no such word: {word}"),
        }
    }

    /// Waits for the next event.
    fn tell_event(&self) {
        let events = self.events.as_ref().expect("the case watches");
        loop {
            match events.next() {
                Ok(Some(Event::OomKills(kills))) => println!("> event oom {kills}"),
                Ok(Some(_)) => println!("> event gone"),
                Ok(None) => {
                    let mut fds = [PollFd::new(events.fd(), PollFlags::POLLIN)];
                    poll(&mut fds, PollTimeout::NONE).unwrap();
                    continue;
                }
                Err(_) => drop(told(events.next())),
            }
            return;
        }
    }

    fn step(&mut self, word: &str, text: &str) {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "open" => self.open(text),
            "take" => self.open_from_pool(text),
            "reset" => done(self.sandbox().reset(), "reset"),
            "freeze" => done(self.sandbox().freeze(), "frozen"),
            "thaw" => done(self.sandbox().thaw(), "thawed"),
            "limit" => {
                let limits = Limits::from_json(text);
                done(
                    limits.and_then(|l| self.sandbox().set_limits(&l)),
                    "limited",
                );
            }
            "usage" => {
                if let Some(usage) = told(self.sandbox().usage()) {
                    let usage = serde_json::to_value(usage).unwrap();
                    let counted = if usage[text].is_u64() { "" } else { "not " };
                    println!("> {text} {counted}counted");
                }
            }
            "left_out" => {
                if let Some(effective) = told(self.sandbox().effective()) {
                    say_keys("left_out", effective.left_out.iter().map(|one| one.key));
                }
            }
            "told" => {
                let keys = std::mem::take(&mut *TOLD.lock().unwrap());
                say_keys("told", keys.iter().map(String::as_str));
            }
            "watch" => {
                self.events = told(self.sandbox().events());
                if self.events.is_some() {
                    println!("> watching");
                }
            }
            "event" => self.tell_event(),
            "close" => done(self.sandbox.take().unwrap().close(), "closed"),
            _ if self.of_command(word, name, rest) => {}
            _ => self.of_file(word, name, rest),
        }
    }
}

fn main() {
    let store = std::env::args_os().nth(1).expect("face STORE");
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let mut face = Face {
        store: Store::open(Path::new(&store)).unwrap(),
        sandbox: None,
        next: Command::from_argv([""; 0]),
        argv: Vec::new(),
        running: HashMap::new(),
        events: None,
        memory_peak: None,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (word, text) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "case" => println!("case {text}"),
            _ if word.is_empty() || word.starts_with(['#', '>']) || face.take(word, text) => {}
            _ => face.step(word, text),
        }
    }
    if let Some(last) = face.sandbox.take() {
        last.close().unwrap();
    }
}
