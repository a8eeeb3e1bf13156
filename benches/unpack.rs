// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacking and importing: the Debian layer in each compression, many small
//! files, few big files; each beside floors. The promised figures are in
//! `figures.rs`, which measures in turn; these are distributions.
#![allow(missing_docs, reason = "criterion makes an undocumented function")]

#[path = "unpack/layers.rs"]
mod layers;

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use layers::{biggest, inflate, unpack, untar};
use tare::image::{ImportOptions, Reference};
use tare_oracle::image;

/// Times `work` in a new directory each. Removing the directories is not
/// counted.
fn timed(count: u64, work: impl Fn(&Path)) -> Duration {
    let temp = tempfile::tempdir().unwrap();
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let into = tempfile::tempdir_in(temp.path()).unwrap().keep();
        // This one must not pay for earlier runs' dirty pages.
        nix::unistd::sync();
        let start = Instant::now();
        work(&into);
        sum += start.elapsed();
    }
    sum
}

/// An archive of files with bytes that do not repeat.
fn archive(to: &Path, count: usize, size: usize) {
    let mut tar = tar::Builder::new(File::create(to).unwrap());
    let mut state = 1u64;
    for number in 0..count {
        let bytes: Vec<u8> = (0..size)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        let name = format!("{:02}/{number:05}", number % 100);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.finish().unwrap();
}

fn codecs(c: &mut Criterion) {
    let temp = tempfile::tempdir().unwrap();
    let plain = temp.path().join("layer.tar");
    let [gzip, zstd] = ["debian", "debian-zstd"].map(biggest);
    inflate(&gzip, &mut File::create(&plain).unwrap());
    let mut group = c.benchmark_group("unpack");
    group.sample_size(10);
    group.bench_function("floor_inflate_gzip", |b| {
        b.iter(|| inflate(&gzip, &mut io::sink()));
    });
    group.bench_function("floor_inflate_gzip_program", |b| {
        b.iter(|| {
            let mut program = Command::new("gzip");
            program.arg("-dc").stdin(File::open(&gzip).unwrap());
            assert!(program.stdout(Stdio::null()).status().unwrap().success());
        });
    });
    group.bench_function("floor_inflate_zstd", |b| {
        b.iter(|| zstd::stream::copy_decode(File::open(&zstd).unwrap(), io::sink()).unwrap());
    });
    group.bench_function("floor_untar", |b| {
        b.iter_custom(|n| timed(n, |into| untar(&plain, into)));
    });
    for (name, blob) in [("gzip", &gzip), ("zstd", &zstd), ("plain", &plain)] {
        group.bench_function(name, |b| {
            b.iter_custom(|n| timed(n, |into| unpack(blob, into)));
        });
    }
    group.finish();
}

fn shapes(c: &mut Criterion) {
    let temp = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("unpack");
    group.sample_size(10);
    for (name, count, size) in [("many_small", 20_000, 1 << 10), ("few_big", 4, 64 << 20)] {
        let plain = temp.path().join(name);
        archive(&plain, count, size);
        group.bench_function(format!("{name}_floor_untar"), |b| {
            b.iter_custom(|n| timed(n, |into| untar(&plain, into)));
        });
        group.bench_function(name, |b| {
            b.iter_custom(|n| timed(n, |into| unpack(&plain, into)));
        });
    }
    group.finish();
}

/// Imports the image into a new store, with a sync.
fn import(c: &mut Criterion) {
    let reference: Reference = format!("oci:{}:latest", image("debian").display())
        .parse()
        .unwrap();
    let mut group = c.benchmark_group("import");
    group.sample_size(10);
    group.bench_function("debian", |b| {
        b.iter_custom(|n| {
            timed(n, |into| {
                let store = tare::Store::open(into).unwrap();
                let options = ImportOptions::default();
                let images = store.images();
                images.import(&reference, &options, &mut ()).unwrap();
            })
        });
    });
    group.finish();
}

criterion_group!(group, codecs, shapes, import);
criterion_main!(group);
