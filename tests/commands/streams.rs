// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard streams, extra descriptors, and descriptors that must not be
//! inherited.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use tare::{Capture, Command, Kind, Stdin, Stdout, Waited};

use crate::harness::{Ground, open_default, run, sh, text};

fn cat() -> Command {
    Command::new("cat")
}

#[test]
fn stdin_bytes_of_any_size_arrive_and_end() {
    let (_ground, sandbox) = open_default();
    for size in [0, 1, 4096, 65_537, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let output = run(&sandbox, cat().stdin(Stdin::Bytes(bytes.clone())));
        assert!(output.stdout == bytes, "{size}: {}", output.stdout.len());
    }
}

#[test]
fn stdin_stream_is_read_until_it_is_closed() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(cat().stdin(Stdin::Piped)).unwrap();
    let mut to = File::from(process.take_stdin().unwrap());
    let mut from = File::from(process.take_stdout().unwrap());
    to.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    from.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    let bytes = vec![7u8; 1 << 20];
    let writer = thread::spawn(move || to.write_all(&bytes).unwrap());
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).unwrap();
    writer.join().unwrap();
    assert_eq!(rest.len(), 1 << 20);
    assert!(process.wait().unwrap().success());
}

#[test]
fn stdin_of_a_pipe_without_a_writer_is_at_its_end() {
    let (_ground, sandbox) = open_default();
    // `run` closes its unused end.
    assert_eq!(text(&sandbox, cat().stdin(Stdin::Piped)), "");
}

#[test]
fn streams_of_the_caller_are_used_in_place() {
    let (ground, sandbox) = open_default();
    let path = ground.path("log");
    fs::write(ground.path("in"), "from a file").unwrap();
    let log = File::create(&path).unwrap();
    let command = sh("cat; echo; echo err >&2; echo out")
        .stdin(Stdin::Fd(File::open(ground.path("in")).unwrap().into()))
        .stdout(Stdout::Fd(log.try_clone().unwrap().into()))
        .stderr(Stdout::Fd(log.into()));
    let output = run(&sandbox, command);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(fs::read_to_string(path).unwrap(), "from a file\nerr\nout\n");
}

/// A moment after the start, no other process has a command's end of a pipe,
/// even if the caller waits for the end alone.
#[test]
fn stream_that_a_command_closes_is_at_its_end() {
    let (_ground, sandbox) = open_default();
    let (mut from, to) = std::io::pipe().unwrap();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        from.read_to_end(&mut read).unwrap();
        (read, Instant::now())
    });
    run(
        &sandbox,
        sh("echo out; exec >&-; sleep 2").stdout(Stdout::Fd(to.into())),
    );
    let ended = Instant::now();
    let (read, at_its_end) = reader.join().unwrap();
    assert_eq!(read, b"out\n");
    let earlier = ended.saturating_duration_since(at_its_end);
    assert!(earlier > Duration::from_secs(1), "{earlier:?}");
}

/// Files that hold their own index.
fn numbered(ground: &Ground, count: usize) -> Vec<OwnedFd> {
    let one = |n: usize| {
        let path = ground.path(&format!("n{n}"));
        fs::write(&path, format!("{n},")).unwrap();
        File::open(path).unwrap().into()
    };
    (0..count).map(one).collect()
}

#[test]
fn fds_end_up_under_their_numbers_however_these_collide() {
    let (ground, sandbox) = open_default();
    let up: Vec<u32> = (3..23).collect();
    let down: Vec<u32> = (3..23).rev().collect();
    let apart = vec![3, 1023, 7, 500, 4];
    for numbers in [up, down, apart] {
        let mut command = Command::new("cat");
        for (fd, number) in numbered(&ground, numbers.len()).into_iter().zip(&numbers) {
            command = command
                .fd(fd, *number)
                .arg(format!("/proc/self/fd/{number}"));
        }
        let expected: String = (0..numbers.len()).map(|n| format!("{n},")).collect();
        assert_eq!(text(&sandbox, command), expected, "{numbers:?}");
    }
}

#[test]
fn fds_wrong_numbers_are_refused() {
    let (ground, sandbox) = open_default();
    for numbers in [&[2][..], &[0], &[1024], &[u32::MAX], &[5, 6, 5]] {
        let mut command = Command::new("true");
        for (fd, number) in numbered(&ground, numbers.len()).into_iter().zip(numbers) {
            command = command.fd(fd, *number);
        }
        let error = sandbox.spawn(command).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{numbers:?}: {error}");
    }
    let many = numbered(&ground, 240).into_iter().zip(3..);
    let all = many.fold(sh("ls /proc/self/fd | wc -l"), |c, (fd, n)| c.fd(fd, n));
    assert_eq!(text(&sandbox, all).trim(), "244");
}

#[test]
fn fds_of_the_host_are_not_inherited() {
    let ground = Ground::new();
    // A descriptor without close-on-exec, before the helper starts.
    let leaky = File::open("/").unwrap();
    fcntl(&leaky, F_SETFD(FdFlag::empty())).unwrap();
    let sandbox = ground.open();
    // The fourth is the listing itself.
    for _ in 0..2 {
        assert_eq!(
            text(&sandbox, Command::from_argv(["ls", "/proc/self/fd"])),
            "0\n1\n2\n3\n"
        );
    }
    // Root may list the numbers, but not look at the files.
    let init = run(&sandbox, sh("ls -l /proc/1/fd | grep -e '->'"));
    assert!(init.stdout.is_empty(), "{init:?}");
}

#[test]
fn streams_go_nowhere_alone_and_together() {
    let (_ground, sandbox) = open_default();
    let script = "echo a; echo b >&2; echo c";
    let none = sh(script).stdout(Stdout::Null).stderr(Stdout::Merged);
    assert_eq!(text(&sandbox, none), "");
    let apart = run(&sandbox, sh(script).stdout(Stdout::Null));
    assert_eq!((apart.stdout.len(), apart.stderr.len()), (0, 2));
    let wrong = sandbox
        .spawn(sh(script).stdout(Stdout::Merged))
        .unwrap_err();
    assert_eq!(wrong.kind(), Kind::Invalid, "{wrong}");
}

#[test]
fn descriptor_by_number_is_copied() {
    let ground = Ground::new();
    fs::write(ground.path("in"), "numbered").unwrap();
    let file = File::open(ground.path("in")).unwrap();
    let sandbox = ground.open();
    let copy = tare::duplicate(file.as_raw_fd()).unwrap();
    assert_eq!(text(&sandbox, cat().stdin(Stdin::Fd(copy))), "numbered");
    let wrong = tare::duplicate(-1).unwrap_err();
    assert_eq!(wrong.errno(), Some(libc::EBADF), "{wrong}");
}

#[test]
fn capture_by_steps_tells_signals_and_deadlines() {
    let (_ground, sandbox) = open_default();
    let process = sandbox
        .spawn(sh("echo first; sleep 0.2; echo second"))
        .unwrap();
    let mut capture = Capture::of(&process).unwrap();
    assert_eq!(capture.fds().count(), 2);
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(
        capture.wait(&process, Some(soon)).unwrap(),
        Waited::TimedOut
    );
    // An empty handler, for this thread alone.
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler touches nothing, and no other code here uses this
    // signal.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
    // SAFETY: the handle of this thread, which outlives the other.
    let waiter = unsafe { libc::pthread_self() };
    let waited = thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_kill(waiter, libc::SIGUSR2) }, 0);
        });
        capture.wait(&process, None).unwrap()
    });
    assert_eq!(waited, Waited::Interrupted);
    let Waited::Ended(status) = capture.wait(&process, None).unwrap() else {
        panic!("{:?}", capture.output());
    };
    assert!(status.success());
    assert_eq!(capture.complete(status).stdout, b"first\nsecond\n");
}
