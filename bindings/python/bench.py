# SPDX-License-Identifier: MIT OR Apache-2.0
"""Times a command in an open sandbox beside the same by `subprocess`;
`./test.sh -b` builds for speed and runs this bench.

Both use pipes for output and errors, in turns in a single process, so that both
meet the same machine. The ratio of the medians counts; absolute times tell more
about the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import tare
import tare.aio

# The smallest possible program: a single system call.
LEAST = 'void _start(void) { __asm__ volatile("syscall" :: "a"(60), "D"(0)); }'


def compiled(directory: str) -> str:
    """Makes the smallest program in a place that both can reach."""
    source, program = Path(directory, "least.c"), Path(directory, "least")
    source.write_text(LEAST)
    subprocess.run(["cc", "-static", "-nostdlib", "-o", program, source], check=True)
    os.chmod(directory, 0o755)
    return str(program)


def measure(rounds: int, ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each way, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(20):
            way()
    gc.disable()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - begin)
    gc.enable()
    return {name: statistics.median(took) for name, took in times.items()}


def report(title: str, medians: dict[str, float]) -> float:
    """Prints them beside the first; the second's ratio."""
    print(title)
    floor = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"  {name:34} {median * 1e6:8.0f} us  {median / floor:5.2f}")
    return list(medians.values())[1] / floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--most", type=float, help="fail if a ratio is above this")
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        least = compiled(directory)
        loop = asyncio.new_event_loop()
        with tare.Sandbox("host") as sb:
            other = loop.run_until_complete(tare.aio.Sandbox("host")._opened())
            for name in (least, "/bin/true"):
                ways: dict[str, Callable[[], Any]] = {
                    "subprocess.run": lambda name=name: subprocess.run([name], capture_output=True),  # type: ignore[misc]
                    "Sandbox.run": lambda name=name: sb.run([name]),  # type: ignore[misc]
                    "Sandbox.popen, communicate": lambda name=name: sb.popen(  # type: ignore[misc]
                        [name], stdout=tare.PIPE, stderr=tare.PIPE
                    ).communicate(),
                    "aio.Sandbox.run": lambda name=name: loop.run_until_complete(other.run([name])),  # type: ignore[misc]
                }
                ratios.append(report(name, measure(options.rounds, ways)))
            loop.run_until_complete(other.close())
        loop.close()

        def opened() -> None:
            with tare.Sandbox("host") as sb:
                sb.run([least])

        ways = {
            "subprocess.run": lambda: subprocess.run([least], capture_output=True),
            "open, run, close": opened,
        }
        report("a sandbox for each command", measure(options.rounds // 10, ways))
    if options.most is not None and max(ratios) > options.most:
        raise SystemExit(f"{max(ratios):.2f} is above {options.most}")


if __name__ == "__main__":
    main()
