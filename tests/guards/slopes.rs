// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cost of a start and a run must not grow with the host: both sides in a
//! process, in turns.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tare::image::ImportOptions;
use tare::{Sandbox, Spec, Store};
use tare_oracle::need;

use crate::harness::settle::helper_of;
use crate::harness::{Ground, tar_of_tree};
use crate::host::{self, succeed};
use crate::layout::{Codec, Layout, tar_of};
use crate::place::Place;
use crate::ratio;
use crate::{alone, bed};

/// The allowed factor of the second side.
const BOUND: f64 = 1.25;
/// The factor for layers, because the kernel opens each.
const BOUND_LAYERS: f64 = 2.0;

const STARTS: usize = 6;

/// A store and the spec of its sandboxes.
struct Side<'a> {
    store: &'a Store,
    spec: &'a Spec,
}

impl Side<'_> {
    /// The median of a block's starts, each with a command.
    fn block(&self) -> f64 {
        // Closed each time, because a late end would disturb the next.
        let started = || {
            let sandbox = Sandbox::open(self.store, self.spec).unwrap();
            succeed(&sandbox);
            sandbox
        };
        ratio::block(STARTS, || bed::opened(started))
    }
}

/// [`ratio::hold`] of two sides.
#[track_caller]
fn hold<G>(what: &str, bound: f64, [one, other]: [Side<'_>; 2], grow: impl Fn() -> G) {
    let blocks: [&dyn Fn() -> f64; 2] = [&|| one.block(), &|| other.block()];
    ratio::hold(&format!("slope {what}"), bound, blocks, grow);
}

/// The same sandbox on both sides; the host changes.
#[track_caller]
fn hold_host<G>(what: &str, ground: &Ground, grow: impl Fn() -> G) {
    let (store, spec) = (&ground.store, &ground.spec());
    Side { store, spec }.block();
    let sides = [Side { store, spec }, Side { store, spec }];
    hold(what, BOUND, sides, grow);
}

#[test]
fn slope_of_host_memory_is_flat() {
    let _alone = alone();
    let touched = |len: usize| {
        let mut bytes = vec![0u8; len];
        bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(bytes)
    };
    let _small = touched(50 << 20);
    hold_host("of 50 MiB to 1 GiB of memory", &Ground::new(), || {
        touched(1 << 30)
    });
}

#[test]
fn slope_of_open_descriptors_is_flat() {
    let _alone = alone();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 11_000, "{hard} descriptors are not enough");
    hold_host("of 16 to 10,000 descriptors", &Ground::new(), || {
        let null = File::open("/dev/null").unwrap();
        let open = (0..10_000).map(|_| null.try_clone().unwrap());
        open.collect::<Vec<File>>()
    });
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

#[test]
fn slope_of_live_sandboxes_is_flat() {
    let _alone = alone();
    // A block takes a few milliseconds, two hundred sandboxes as many tenths:
    // they belong to a single store all the time, and the other side has none.
    let (few, many) = (Ground::new(), Ground::new());
    let live: Vec<Sandbox> = (0..200).map(|_| many.open()).collect();
    let specs = [few.spec(), many.spec()];
    let sides = [(&few, &specs[0]), (&many, &specs[1])];
    let sides = sides.map(|(ground, spec)| Side {
        store: &ground.store,
        spec,
    });
    sides[0].block();
    hold("of 0 to 200 sandboxes of a helper", BOUND, sides, || ());
    live.into_iter().for_each(|s| s.close().unwrap());
}

#[test]
fn slope_of_layers_is_low() {
    let _alone = alone();
    let ground = Ground::new();
    let store = &ground.store;
    let specs = [1, 64].map(|count| import(store, &ground.root(), count));
    let sides = [&specs[0], &specs[1]].map(|spec| Side { store, spec });
    for side in &sides {
        side.block();
    }
    hold("of 1 to 64 layers", BOUND_LAYERS, sides, || ());
}

/// An image of so many layers in the store, the tree and a file in each of the
/// others.
pub(crate) fn import(store: &Store, tree: &Path, count: usize) -> Spec {
    let own = (1..count).map(|n| tar_of(&[("own/", b""), (&format!("own/f{n}"), b"")]));
    let layers: Vec<Vec<u8>> = [tar_of_tree(tree)].into_iter().chain(own).collect();
    let name = format!("layers-{count}");
    let dir = tempfile::tempdir().unwrap();
    let mut layout = Layout::new(dir.path().join("layout"));
    let image = layout.image(&layers, Codec::Plain, json!({}));
    let from = layout.add(image, Some("many")).complete();
    let options = ImportOptions {
        names: vec![name.parse().unwrap()],
        sync: false,
        ..ImportOptions::default()
    };
    store.images().import(&from, &options, &mut ()).unwrap();
    Spec {
        image: name,
        ..Spec::default()
    }
}

/// Threads that allocate and free, with pauses, because their load on the
/// machine is not the library's.
struct Busy(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Busy {
    fn new(count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop(black_box(vec![1u8; 1 << 16]));
                    thread::sleep(Duration::from_micros(1000));
                }
            })
        });
        Self(Arc::clone(&over), threads.collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.drain(..).for_each(|t| t.join().unwrap());
    }
}

#[test]
fn slope_of_threads_is_flat() {
    let _alone = alone();
    hold_host("of 1 to 16 busy threads", &Ground::new(), || Busy::new(16));
}

#[test]
fn slope_of_host_mounts_is_flat() {
    need!(root);
    let _alone = alone();
    let place = Place::new(None);
    let output = host::command(&place, "mounts").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| line.contains("slope"))
        .for_each(|line| println!("{line}"));
    assert!(output.status.success(), "{output:?}");
}

/// The host of that test, with its own mounts; the second store's helper has a
/// thousand more.
pub(crate) fn mounts(place: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).unwrap();
    let spec = host::spec(place);
    // Each side's helper has the mounts of its starting thread.
    let few = (current(), Store::open(&place.join("few")).unwrap());
    let side = |store| Side { store, spec: &spec };
    side(&few.1).block();
    // From the other namespace, the store would start another helper.
    let mounts_of_few = mounts_of_helper(&few.1, &spec);
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    for number in 0..1000 {
        let dir = place.join(format!("mount{number}"));
        fs::create_dir(&dir).unwrap();
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    }
    let many = (current(), Store::open(&place.join("many")).unwrap());
    side(&many.1).block();
    let seen = [mounts_of_few, mounts_of_helper(&many.1, &spec)];
    println!("slope: the helpers have {seen:?} mounts");
    assert!(
        seen[1] >= seen[0] + 1000,
        "{seen:?}: both sides are the same"
    );
    setns(&few.0, CloneFlags::CLONE_NEWNS).unwrap();
    hold(
        "of 20 to 1,000 host mounts",
        BOUND,
        [side(&few.1), side(&many.1)],
        || Within::new(&many.0, &few.0),
    );
}

fn mounts_of_helper(store: &Store, spec: &Spec) -> usize {
    let sandbox = Sandbox::open(store, spec).unwrap();
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", helper_of(&sandbox)));
    sandbox.close().unwrap();
    mounts.unwrap().lines().count()
}

/// The mount namespace of this thread.
fn current() -> File {
    File::open("/proc/thread-self/ns/mnt").unwrap()
}

/// In one mount namespace, and then in another again.
struct Within<'a>(&'a File);

impl<'a> Within<'a> {
    fn new(inner: &File, outer: &'a File) -> Self {
        setns(inner, CloneFlags::CLONE_NEWNS).unwrap();
        Self(outer)
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        setns(self.0, CloneFlags::CLONE_NEWNS).unwrap();
    }
}
