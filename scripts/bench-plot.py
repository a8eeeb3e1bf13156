#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Draws the results of `cargo bench --bench figures` as an SVG: a dot at the
median, a line from p20 to p99.

    bench-plot.py RESULTS FILE

RESULTS is the directory of JSON files, `bench` in cargo's target directory.
Needs only Python.
"""

import json
import math
import pathlib
import sys
from html import escape
from typing import Any

WIDTH, LABELS, RIGHT = 860, 270, 90
ROW, HEAD, GAP = 22, 46, 34

OURS, FLOOR, PEER = "ours", "floor", "peer"

# Group of results, arm, label in the picture, and owner.
Line = tuple[str, str, str, str]
PANELS: list[tuple[str, list[Line]]] = [
    (
        "In one process: start a program of one system call, learn its status",
        [
            ("start", "spawn_std", "spawn on the host, no sandbox", FLOOR),
            ("start", "run_warm", "run in an open sandbox", OURS),
            ("start", "start_pool", "take from a pool, run", OURS),
            ("start", "start_cold", "open, run", OURS),
            ("start", "start_subids", "open, run, as an ordinary user", OURS),
            ("start", "start_whole", "open, run, close", OURS),
            ("start", "reset", "reset", OURS),
            ("start", "floor_nofilter", "naive system calls, no filter", FLOOR),
            ("start", "floor_naive", "naive system calls", FLOOR),
        ],
    ),
    (
        "Beside others, which are a process each: create, start, exit, delete",
        [
            ("peers-start", "start_cold", "libtare in a process: open, run", OURS),
            ("peers-start", "start_whole", "libtare in a process: open, run, close", OURS),
            ("peers-start", "tare run", "tare run", OURS),
            ("peers-start", "bwrap", "bwrap", PEER),
            ("peers-start", "crun", "crun run", PEER),
            ("peers-start", "runc", "runc run", PEER),
            ("peers-start", "podman run", "podman run --rm", PEER),
            ("peers-start", "docker run", "docker run --rm", PEER),
        ],
    ),
    (
        "Unpacking a Debian layer, gzip",
        [
            ("unpack", "floor_inflate", "inflate to nothing", FLOOR),
            ("unpack", "floor_untar", "tar xf of the plain archive", FLOOR),
            ("unpack", "unpack", "libtare, both digests verified", OURS),
            ("peers-unpack", "tare image unpack", "tare image unpack", OURS),
            ("peers-unpack", "tare image import", "tare image import", OURS),
            ("peers-unpack", "umoci", "umoci unpack", PEER),
            ("peers-unpack", "skopeo", "skopeo copy to containers-storage", PEER),
        ],
    ),
]

# Greys and hues that can be read on white and on black alike.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #767676; }
.title { font-weight: 600; font-size: 13px; }
.tick { font-size: 11px; }
.value { font-size: 11px; font-variant-numeric: tabular-nums; }
.grid { stroke: #767676; stroke-opacity: .25; }
.range { stroke-width: 3; stroke-opacity: .45; stroke-linecap: round; }
.ours { stroke: #1f83d6; fill: #1f83d6; }
.floor { stroke: #7d8590; fill: #7d8590; }
.peer { stroke: #c9720c; fill: #c9720c; }
.legend { stroke: none; }
"""


def shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.2g} µs"


def decades(arms: list[dict[str, Any]]) -> tuple[int, int]:
    """Powers of ten that hold all of them, and two at least."""
    low = math.floor(math.log10(min(arm["p20"] for arm in arms)))
    high = math.ceil(math.log10(max(arm["p99"] for arm in arms)))
    return low, max(high, low + 2)


def panel(title: str, lines: list[tuple[dict[str, Any], Line]], top: int) -> tuple[list[str], int]:
    low, high = decades([arm for arm, _ in lines])
    left, right = LABELS, WIDTH - RIGHT

    def x(seconds: float) -> float:
        return left + (math.log10(seconds) - low) / (high - low) * (right - left)

    bottom = top + HEAD + ROW * len(lines)
    out = [f'<text class="title" x="12" y="{top + 14}">{escape(title)}</text>']
    for power in range(low, high + 1):
        at = x(10.0**power)
        out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top + HEAD - 8}" y2="{bottom}"/>')
        label = f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{top + HEAD - 14}">'
        out.append(f"{label}{shown(10.0**power)}</text>")
    for i, (arm, (_, _, name, whose)) in enumerate(lines):
        y = top + HEAD + ROW * i + ROW // 2
        p20, p50, p99 = (x(arm[point]) for point in ("p20", "p50", "p99"))
        out.append(f'<text text-anchor="end" x="{left - 14}" y="{y + 4}">{escape(name)}</text>')
        out.append(f'<line class="range {whose}" x1="{p20:.1f}" x2="{p99:.1f}" y1="{y}" y2="{y}"/>')
        out.append(f'<circle class="{whose}" cx="{p50:.1f}" cy="{y}" r="4.5"/>')
        out.append(f'<text class="value" x="{p99 + 9:.1f}" y="{y + 4}">{shown(arm["p50"])}</text>')
    return out, bottom


def legend(top: int) -> list[str]:
    out, x = [], 12
    for whose, words in ((OURS, "libtare"), (FLOOR, "floor"), (PEER, "others")):
        out.append(f'<circle class="{whose} legend" cx="{x + 5}" cy="{top - 4}" r="4.5"/>')
        out.append(f'<text x="{x + 16}" y="{top}">{words}</text>')
        x += 90
    words = "dot and number: p50; line: p20 to p99; logarithmic, less is better"
    out.append(f'<text x="{x}" y="{top}">{words}</text>')
    return out


def main() -> None:
    results, file = map(pathlib.Path, sys.argv[1:])
    groups = {found.stem: json.loads(found.read_text()) for found in results.glob("*.json")}
    body, y = legend(18), 18 + GAP
    for title, wanted in PANELS:
        arms = [(groups.get(line[0], {}).get("arms", {}).get(line[1]), line) for line in wanted]
        lines = [(arm, line) for arm, line in arms if arm is not None]
        if lines:
            drawn, bottom = panel(title, lines, y)
            body += drawn
            y = bottom + GAP
    height = y - GAP + 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    title = "<title>Times of libtare, of its floors and of others</title>"
    svg = [
        f'{head} width="{WIDTH}" height="{height}">',
        title,
        f"<style>{STYLE}</style>",
        *body,
        "</svg>",
        "",
    ]
    file.write_text("\n".join(svg))


if __name__ == "__main__":
    main()
