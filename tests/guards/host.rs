// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host: this binary again, working in stages and marking the beginning of
//! each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use tare::image::layer;
use tare::{Command as Inside, Sandbox, Spec, Store};
use tare_oracle::again::{in_role, role, this_program};

use crate::harness::settle::{children, helper_of};
use crate::place::Place;
use crate::{floors, slopes};

/// Sandboxes of a trace, after those that warm up.
pub(crate) const ROUNDS: usize = 8;
/// Layers of the images of a trace.
pub(crate) const LAYERS: [usize; 2] = [8, 40];
/// Opens of each image, after two that warm up.
const LAYER_ROUNDS: usize = 3;
/// From this command on they are born behind the filter.
const WARM: usize = 4;
/// Paths that every kernel has, for counts that do not depend on the machine.
const SPEC: &str = r#"{"security": {"masked_paths": ["/proc/keys", "/proc/timer_list", "/sys/firmware"],
    "readonly_paths": ["/proc/bus", "/proc/sys"]}}"#;

/// The host's command line in a role.
pub(crate) fn command(place: &Place, role: &str) -> Command {
    let mut command = match &place.user {
        None => Command::new(this_program()),
        Some(user) => user.command(this_program()),
    };
    in_role(&mut command, "host::host_in_a_role", role, place.path("")).stdin(Stdio::null());
    command
}

/// The spawner's stage, because its rounds cannot be told apart.
pub(crate) const ALL: &str = "all";
/// A stage that is not counted.
pub(crate) const WARM_UP: &str = "warm-up";

/// The stage of a sandbox's command, by its number.
pub(crate) fn command_stage(number: usize) -> Option<&'static str> {
    match number {
        1 => Some("first"),
        WARM => Some("warm"),
        _ => None,
    }
}

/// A failing call without effect, for strace(1) to see.
fn mark(stage: &str) {
    // SAFETY: a buffer with its length; no descriptor is -1.
    unsafe { libc::write(-1, stage.as_ptr().cast(), stage.len()) };
}

/// Marks a stage: calls of this process count for `work` only, calls of others
/// until the next mark.
fn stage<T>(name: &str, work: impl FnOnce() -> T) -> T {
    mark(&format!("begin {name}"));
    let done = work();
    mark("end");
    sleep(Duration::from_millis(20));
    done
}

#[test]
#[ignore = "a part of other tests"]
fn host_in_a_role() {
    let Some((role, place)) = role() else {
        return;
    };
    match role.as_str() {
        "rounds" => rounds(&place),
        "unpack" => unpack(&place),
        "layers" => layers(&place),
        "mounts" => slopes::mounts(&place),
        "floors" => floors::measure(&place),
        other => panic!("{other}"),
    }
}

/// The default spec on the place's tree, but for [`SPEC`].
pub(crate) fn spec(place: &Path) -> Spec {
    Spec {
        image: format!("dir:{}", place.join("root").display()),
        ..Spec::from_json(SPEC).unwrap()
    }
}

pub(crate) fn succeed(sandbox: &Sandbox) {
    let output = sandbox.run(Inside::new("/bin/true")).unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Names the sandbox's init, and the stage of its calls.
fn mark_init(sandbox: &Sandbox, stage: &str) {
    static SEEN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap();
    // The earlier init may not have ended yet.
    let inits = children(helper_of(sandbox), "tare-init");
    let new: Vec<i32> = inits.into_iter().filter(|pid| seen.insert(*pid)).collect();
    let [init] = new[..] else {
        panic!("{new:?}: one sandbox, one init");
    };
    mark(&format!("init {init} {stage}"));
}

fn rounds(place: &Path) {
    let store = Store::open(&place.join("store")).unwrap();
    let spec = spec(place);
    // Users are looked up once where their files are older than two seconds,
    // and these were just made.
    sleep(Duration::from_secs(3));
    for round in 0..ROUNDS + 2 {
        let of = |name| if round < 2 { WARM_UP } else { name };
        let sandbox = stage(of("start"), || Sandbox::open(&store, &spec).unwrap());
        mark_init(&sandbox, of("life"));
        stage(of("first"), || succeed(&sandbox));
        for _ in 2..WARM {
            stage(WARM_UP, || succeed(&sandbox));
        }
        stage(of("warm"), || succeed(&sandbox));
        stage(of("close"), || sandbox.close().unwrap());
    }
}

/// Unpacks each archive of the place into a directory of its own.
fn unpack(place: &Path) {
    for name in ["warm-up", "files-64", "files-128", "dirs-64", "dirs-128"] {
        let target = place.join(format!("{name}.d"));
        fs::create_dir(&target).unwrap();
        let blob = File::open(place.join(name)).unwrap();
        let into = File::open(&target).unwrap();
        let options = layer::Options::default();
        stage(name, || {
            layer::unpack(blob, into.as_fd(), &options, &mut |_| ()).unwrap()
        });
    }
}

/// Images of [`LAYERS`], opened for the third time and later.
fn layers(place: &Path) {
    let store = Store::open(&place.join("store")).unwrap();
    for count in LAYERS {
        let image = slopes::import(&store, &place.join("root"), count);
        let spec = Spec {
            image: image.image,
            ..spec(place)
        };
        for round in 0..LAYER_ROUNDS + 2 {
            let name = format!("layers-{count}");
            let name = if round < 2 { WARM_UP } else { &name };
            let sandbox = stage(name, || Sandbox::open(&store, &spec).unwrap());
            mark_init(&sandbox, name);
            let closes = format!("closes-{count}");
            let closes = if round < 2 { WARM_UP } else { &closes };
            stage(closes, || sandbox.close().unwrap());
        }
    }
}
