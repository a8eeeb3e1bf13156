// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints the layers of the modules, their arrows, and the circles that are
//! left.
//!
//! `cargo test -p libtare --test architecture figures -- --nocapture`; with
//! `TARE_FIGURES_OF=DIR`, of another tree.
#![allow(clippy::print_stdout, reason = "figures for the reader of --nocapture")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::circles::arrows_of_files;
use super::{Arrows, arrows, files_of};

/// Returns the circles: each node in one, with all nodes that it reaches and
/// that reach it.
pub(super) fn circles(arrows: &Arrows) -> BTreeSet<BTreeSet<String>> {
    let below = |node: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![node.clone()]);
        while let Some(at) = open.pop() {
            let of = arrows
                .range((at.clone(), String::new())..)
                .map(|(arrow, _)| arrow);
            let next = of.take_while(|(from, _)| *from == at).map(|(_, to)| to);
            open.extend(next.filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen
    };
    let nodes = arrows.keys().map(|(from, _)| from);
    let below: BTreeMap<&String, BTreeSet<String>> = nodes.map(|n| (n, below(n))).collect();
    let leads = |from: &String, to: &String| below.get(from).is_some_and(|all| all.contains(to));
    let circle = |node: &&String| {
        let all = below[*node].iter();
        all.filter(|other| leads(other, node)).cloned().collect()
    };
    let all = below.keys().map(circle);
    all.filter(|circle: &BTreeSet<String>| circle.len() > 1)
        .collect()
}

/// Returns the modules by the longest way down; those of a circle share a
/// layer.
fn layers(arrows: &Arrows, circles: &BTreeSet<BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let nodes = || arrows.keys().flat_map(|(from, to)| [from, to]);
    let mut depth: BTreeMap<&String, usize> = nodes().map(|node| (node, 0)).collect();
    let same = |a: &String, b: &String| circles.iter().any(|c| c.contains(a) && c.contains(b));
    let mut moved = true;
    while std::mem::take(&mut moved) {
        for (from, to) in arrows.keys() {
            let least = depth[to] + usize::from(!same(from, to));
            if depth[from] < least {
                depth.insert(from, least);
                moved = true;
            }
        }
    }
    let top = depth.values().max().map_or(0, |top| top + 1);
    let layer = |n| depth.iter().filter(move |(_, at)| **at == n);
    (0..top)
        .rev()
        .map(|n| layer(n).map(|(node, _)| (*node).clone()).collect())
        .collect()
}

fn shown(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn figures_are_printed() {
    let own = env!("CARGO_MANIFEST_DIR").to_owned();
    let root = std::env::var("TARE_FIGURES_OF").unwrap_or(own);
    let files = files_of(Path::new(&root));
    let arrows = arrows(&files);
    let of_modules = circles(&arrows);
    for (n, layer) in layers(&arrows, &of_modules).iter().enumerate() {
        println!("layer {n}: {}", shown(layer));
    }
    let among = of_modules
        .iter()
        .map(|circle| {
            let inside = arrows.keys();
            inside
                .filter(|(from, to)| circle.contains(from) && circle.contains(to))
                .count()
        })
        .sum::<usize>();
    println!(
        "{} arrows between modules, {among} in circles",
        arrows.len()
    );
    for circle in &of_modules {
        println!("circle of modules: {}", shown(circle));
    }
    let of_files = circles(&arrows_of_files(&files));
    let count: usize = of_files.iter().map(BTreeSet::len).sum();
    println!("{} circles of files, {count} files in them", of_files.len());
    for circle in &of_files {
        println!("circle of files: {}", shown(circle));
    }
}

#[test]
fn figures_of_a_circle_share_a_layer() {
    let arrow = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), String::new());
    let arrows = Arrows::from([
        arrow("a", "b"),
        arrow("b", "c"),
        arrow("c", "b"),
        arrow("c", "d"),
    ]);
    let circles = circles(&arrows);
    assert_eq!(circles.len(), 1);
    let layers = layers(&arrows, &circles);
    let layers: Vec<String> = layers.iter().map(shown).collect();
    assert_eq!(layers, ["a", "b c", "d"]);
}
