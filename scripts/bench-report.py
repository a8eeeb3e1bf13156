#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints the results of `cargo bench --bench figures`: each promised figure,
and the times behind it.

    bench-report.py RESULTS [-m FILE]

RESULTS is the directory of JSON files, `bench` in cargo's target directory.
With -m, the same as Markdown replaces the part of FILE between its two lines
"<!-- measured -->". A missed figure is marked, without an error.
"""

import argparse
import json
import pathlib
from typing import Any, Callable, Optional

MARK = "<!-- measured -->\n"

# The quotient of a figure: the median (or another point) of an arm by
# another's.
Ratio = Callable[[dict[str, Any]], float]


def over(above: str, below: str, point: str = "p50") -> Ratio:
    return lambda arms: arms[above][point] / arms[below][point]


def spread(name: str) -> Ratio:
    return lambda arms: arms[name]["p99"] / arms[name]["p50"]


# Group, figure, computation, allowed value, and its direction.
PROMISED: list[tuple[str, str, Ratio, float, str]] = [
    ("start", "start_cold / floor_naive", over("start_cold", "floor_naive"), 0.7, "most"),
    ("start", "start_cold in a row: p99 / p50", spread("start_cold_in_a_row"), 3, "most"),
    ("start", "run_warm / spawn_std", over("run_warm", "spawn_std"), 1.5, "most"),
    ("start", "start_pool / spawn_std", over("start_pool", "spawn_std"), 2.5, "most"),
    (
        "start",
        "start_cold, user with subordinate ids / root",
        over("start_subids", "start_cold"),
        1.5,
        "most",
    ),
    ("start", "start_cold, user without / root", over("start_plain", "start_cold"), 1.5, "most"),
    ("peers-start", "start_cold / bwrap", over("start_cold", "bwrap"), 1 / 3, "most"),
    ("peers-start", "start_cold / crun", over("start_cold", "crun"), 1 / 6, "most"),
    ("peers-start", "start_cold / runc", over("start_cold", "runc"), 1 / 20, "most"),
    ("peers-start", "start_cold / docker run", over("start_cold", "docker run"), 1 / 150, "most"),
    (
        "unpack",
        "unpack / the longer of floor_inflate, floor_untar",
        lambda a: a["unpack"]["p50"] / max(a["floor_inflate"]["p50"], a["floor_untar"]["p50"]),
        1.25,
        "most",
    ),
    ("peers-unpack", "tare image unpack / umoci", over("tare image unpack", "umoci"), 1 / 4, "most"),
    ("peers-unpack", "tare image unpack / skopeo", over("tare image unpack", "skopeo"), 1 / 4, "most"),
    ("scale", "sandboxes a second, 4 callers / 1", lambda v: v["closed_4"] / v["closed_1"], 1.7, "least"),
    ("density", "memory of an idle sandbox, KiB", lambda v: v["kib_each"], 512, "most"),
    (
        "density",
        "open, last 100 of 1000 / first 100",
        lambda v: v["open_last"] / v["open_first"],
        1.25,
        "most",
    ),
    ("density", "closing 1000 sandboxes, s", lambda v: v["close_all"], 5, "most"),
]

# Additional values, none of them promised.
TOLD: list[tuple[str, str, Ratio]] = [
    ("start", "floor_naive without its filter / with it", over("floor_nofilter", "floor_naive")),
    ("start", "start_cold / floor_naive without its filter", over("start_cold", "floor_nofilter")),
    ("start", "start_cold and close / floor_naive", over("start_whole", "floor_naive")),
    ("start", "start_cold among the others: p99 / p50", spread("start_cold")),
    ("start", "start_cold, 20 ms after the one before: p99 / p50", spread("start_cold_paused")),
    ("start", "floor_naive among the others: p99 / p50", spread("floor_naive")),
    ("start", "spawn_std among the others: p99 / p50", spread("spawn_std")),
    ("start", "start_pool, takes in a row / spawn_std", over("start_pool_rushed", "spawn_std")),
    ("peers-start", "start_cold / floor_naive, after a pause", over("start_cold", "floor_naive")),
    ("peers-start", "start_cold and close / bwrap", over("start_whole", "bwrap")),
    ("peers-start", "tare run / bwrap", over("tare run", "bwrap")),
    ("peers-start", "tare run / crun", over("tare run", "crun")),
    ("peers-start", "tare run / runc", over("tare run", "runc")),
    ("peers-start", "tare run / podman run", over("tare run", "podman run")),
    ("peers-start", "tare run / docker run", over("tare run", "docker run")),
    ("peers-unpack", "tare image import --no-sync / skopeo", over("tare image import --no-sync", "skopeo")),
    ("peers-unpack", "tare image import, on the disk / skopeo", over("tare image import", "skopeo")),
    ("scale", "sandboxes a second, 1 caller", lambda v: v["closed_1"]),
    ("scale", "sandboxes a second, 2 callers", lambda v: v["closed_2"]),
    ("scale", "sandboxes a second, 4 callers", lambda v: v["closed_4"]),
    (
        "scale",
        "the same without waiting for the close, 4 callers / 1",
        lambda v: v["dropped_4"] / v["dropped_1"],
    ),
    ("scale", "floor_naive a second, 1 caller", lambda v: v["floor_1"]),
    ("scale", "floor_naive a second, 4 callers", lambda v: v["floor_4"]),
    ("scale", "floor_naive, 4 callers / 1", lambda v: v["floor_4"] / v["floor_1"]),
    ("scale", "sandboxes / floor_naive, 1 caller", lambda v: v["closed_1"] / v["floor_1"]),
    ("scale", "sandboxes / floor_naive, 4 callers", lambda v: v["closed_4"] / v["floor_4"]),
    ("density", "KiB of the host process", lambda v: v["kib_each_host"]),
    ("density", "KiB of its init", lambda v: v["kib_each_inits"]),
    ("density", "KiB of the kernel's slabs", lambda v: v["kib_each_by_part"]["Slab"]),
    ("density", "KiB of page tables", lambda v: v["kib_each_by_part"]["PageTables"]),
    ("density", "KiB of kernel stacks", lambda v: v["kib_each_by_part"]["KernelStack"]),
    ("density", "KiB of memory per processor", lambda v: v["kib_each_by_part"]["Percpu"]),
    ("density", "KiB in tmpfs", lambda v: v["kib_each_by_part"]["Shmem"]),
    ("density", "KiB less available, MemAvailable", lambda v: v["kib_each_available"]),
]

Results = dict[str, dict[str, Any]]
Table = tuple[list[str], list[list[str]]]


def value(results: Results, group: str, ratio: Ratio) -> Optional[float]:
    """Returns None for an unmeasured value or a missing peer."""
    found = results.get(group)
    if found is None:
        return None
    try:
        return ratio(found.get("arms") or found["values"])
    except KeyError:
        return None


def number(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def promised(results: Results) -> Table:
    rows = []
    for group, figure, ratio, allowed, bound in PROMISED:
        measured = value(results, group, ratio)
        sign = "<=" if bound == "most" else ">="
        if measured is None:
            shown, verdict = "-", "not measured"
        else:
            kept = measured <= allowed if bound == "most" else measured >= allowed
            shown, verdict = number(measured), "ok" if kept else "missed"
        rows.append([figure, shown, f"{sign} {number(allowed)}", verdict])
    return ["figure", "measured", "allowed", ""], rows


def told(results: Results) -> Table:
    found = [(figure, value(results, group, ratio)) for group, figure, ratio in TOLD]
    return ["beside them", "measured"], [[figure, number(x)] for figure, x in found if x is not None]


def times(results: Results, group: str) -> Table:
    arms = results[group]["arms"]
    rows = [
        [name, str(arm["n"]), time(arm["p20"]), time(arm["p50"]), time(arm["p99"])]
        for name, arm in sorted(arms.items(), key=lambda arm: arm[1]["p50"])
    ]
    return [group, "n", "p20", "p50", "p99"], rows


def text(table: Table) -> str:
    head, rows = table
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def markdown(table: Table) -> str:
    head, rows = table
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join("| " + " | ".join(row) + " |\n" for row in [head, rule, *rows])


def machine(results: Results) -> str:
    found = next(iter(results.values()))["machine"]
    gib = found["memory_kib"] / (1 << 20)
    return (
        f"Measured on {found['processors']} processors ({found['model']}), {gib:.0f} GiB, "
        f"kernel {found['kernel']}, HZ {found['hz']}, cgroups: {found['cgroups']}, {found['file_system']}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("-m", "--markdown", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    results = {file.stem: json.loads(file.read_text()) for file in sorted(args.results.glob("*.json"))}
    if not results:
        parser.error(f"{args.results}: nothing was measured yet; make bench")
    groups = [group for group in ("start", "peers-start", "unpack", "peers-unpack") if group in results]
    tables = [promised(results), told(results), *(times(results, group) for group in groups)]
    if args.markdown is None:
        print("\n".join([*map(text, tables), machine(results)]), end="")
        return
    before, _, after = args.markdown.read_text().split(MARK)
    parts = [before, "\n".join(["", machine(results), *map(markdown, tables), ""]), after]
    args.markdown.write_text(MARK.join(parts))


if __name__ == "__main__":
    main()
