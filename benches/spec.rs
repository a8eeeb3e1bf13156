// SPDX-License-Identifier: MIT OR Apache-2.0
//! The spec: read from JSON and validated, beside the JSON alone, and the plan
//! of a start.
#![allow(missing_docs, reason = "criterion makes an undocumented function")]

use criterion::{Criterion, criterion_group, criterion_main};
use tare::Spec;

const SPEC: &str = r#"{
    "image": "debian:12", "write": "memory", "hostname": "box", "user": "1000:1000", "workdir": "/w",
    "env": {"CI": "1", "LANG": "C.UTF-8"},
    "mounts": ["/srv:/w:cow", "/etc/ssl:/etc/ssl:ro", {"type": "tmpfs", "target": "/scratch"}],
    "limits": {"memory": "256m", "cpus": "1.5", "pids": 512, "rlimits": {"nofile": "1024:4096"}},
    "security": {"cap_drop": ["NET_RAW"], "readonly_paths": ["/usr"]}
}"#;

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("spec");
    group.bench_function("floor_json", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(SPEC).unwrap());
    });
    group.bench_function("parse", |b| {
        b.iter(|| Spec::from_json(SPEC).unwrap());
    });
    let spec = Spec::from_json(SPEC).unwrap();
    group.bench_function("validate", |b| b.iter(|| spec.validate().unwrap()));
    tare::testing::bench::with_plan(|mut plan| {
        group.bench_function("plan", |b| b.iter(&mut plan));
    });
    group.finish();
}

criterion_group!(group, benches);
criterion_main!(group);
