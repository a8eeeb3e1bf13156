// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacking the Debian layer, beside its floors: the same inflater writing to
//! nothing, and `tar xf` of the plain archive. Judged by the ratio it prints.
#![allow(clippy::print_stdout, reason = "the ratio is the result")]
#![allow(missing_docs, reason = "criterion makes an undocumented function")]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use flate2::bufread::MultiGzDecoder;
use tare::image::layer::{Bounds, Ids, Options, OverlayXattr, Whiteouts, unpack};
use tare_oracle::image;

/// The largest blob of the image is its layer.
fn layer() -> Option<PathBuf> {
    let blobs = fs::read_dir(image("debian").join("blobs/sha256")).ok()?;
    let blobs = blobs.map(|entry| entry.unwrap().path());
    blobs.max_by_key(|path| fs::metadata(path).unwrap().len())
}

fn inflate(blob: &Path, to: &mut impl io::Write) {
    let blob = BufReader::with_capacity(256 << 10, File::open(blob).unwrap());
    let mut plain = MultiGzDecoder::new(blob);
    let mut chunk = vec![0; 256 << 10];
    loop {
        let n = io::Read::read(&mut plain, &mut chunk).unwrap();
        if n == 0 {
            break;
        }
        to.write_all(&chunk[..n]).unwrap();
    }
}

fn ours(blob: &Path, into: &Path) {
    let root = nix::unistd::geteuid().is_root();
    let options = Options {
        ids: if root { Ids::Root } else { Ids::Single },
        whiteouts: Whiteouts::Convert,
        overlay_xattr: OverlayXattr::Trusted,
        bounds: Bounds::default(),
    };
    let blob = File::open(blob).unwrap();
    let into = File::open(into).unwrap();
    unpack(blob, into.as_fd(), &options, &mut |_| ()).unwrap();
}

fn untar(plain: &Path, into: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--xattrs", "-xpf"]).arg(plain);
    let status = tar.arg("-C").arg(into).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

/// Times `work` in a new directory each, whose removal is not counted.
fn timed(times: &RefCell<Vec<Duration>>, count: u64, work: impl Fn(&Path)) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let into = tempfile::tempdir().unwrap();
        // What earlier runs left to the disk is not to be paid by this one.
        nix::unistd::sync();
        let start = Instant::now();
        work(into.path());
        let took = start.elapsed();
        times.borrow_mut().push(took);
        sum += took;
    }
    sum
}

fn median(times: &RefCell<Vec<Duration>>) -> f64 {
    let mut times = times.borrow_mut();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn benches(c: &mut Criterion) {
    let Some(blob) = layer() else {
        println!("unpack: needs the image debian (tests/images.sh)");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let plain = temp.path().join("layer.tar");
    inflate(&blob, &mut File::create(&plain).unwrap());
    let mut group = c.benchmark_group("unpack");
    group.sample_size(10);
    let all: [RefCell<Vec<Duration>>; 3] = Default::default();
    let [floor_inflate, floor_untar, unpacked] = &all;
    group.bench_function("floor_inflate", |b| {
        b.iter_custom(|n| timed(floor_inflate, n, |_| inflate(&blob, &mut io::sink())));
    });
    group.bench_function("floor_untar", |b| {
        b.iter_custom(|n| timed(floor_untar, n, |into| untar(&plain, into)));
    });
    group.bench_function("layer", |b| {
        b.iter_custom(|n| timed(unpacked, n, |into| ours(&blob, into)));
    });
    group.finish();
    let [inflate, untar, ours] = all.each_ref().map(median);
    println!(
        "unpack: ours {ours:.3} s, inflate {inflate:.3} s, untar {untar:.3} s: \
         {:.2} x their sum, {:.2} x the longer",
        ours / (inflate + untar),
        ours / inflate.max(untar)
    );
}

criterion_group!(group, benches);
criterion_main!(group);
