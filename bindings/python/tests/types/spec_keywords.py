# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every keyword of the spec, with a value. Written by spec_types.py."""

from __future__ import annotations

import os
from pathlib import Path

import tare


def of_a_sandbox(image: tare.Image, store: tare.Store) -> tare.Sandbox:
    return tare.Sandbox(
        image,
        store=store,
        write="none",
        storage="copy",
        mounts=[
            "x",
            {"type": "bind", "source": Path("/x"), "target": "x", "options": ["ro"]},
            {"type": "tmpfs", "target": "x", "options": ["x"]},
        ],
        env=os.environ,
        workdir=Path("/x"),
        user=1000,
        groups=["x"],
        hostname="x",
        extra_hosts=["x"],
        sysctls={"x": "x"},
        network={"join": "x"},
        limits={
            "memory": 1,
            "swap": 1,
            "cpus": 1.5,
            "cpu_weight": 1,
            "cpuset": "x",
            "pids": 1,
            "io": 1,
            "disk": 1,
            "shm": 1,
            "output": 1,
            "rlimits": {"x": 1},
        },
        security={
            "profile": "privileged",
            "cap_add": ["x"],
            "cap_drop": ["x"],
            "seccomp": "default",
            "no_new_privs": True,
            "masked_paths": ["/x", Path("/x")],
            "readonly_paths": ["/x", Path("/x")],
            "devices": ["x"],
            "device_rules": ["x"],
        },
        namespaces={
            "user": {
                "maps": {
                    "uids": [{"inside": 1, "outside": 1, "count": 1}],
                    "gids": [{"inside": 1, "outside": 1, "count": 1}],
                }
            },
            "ipc": True,
            "uts": True,
            "cgroup": True,
        },
        init="tare",
        best_effort=["limits"],
        labels={"x": "x"},
        memory=1,
        swap=1,
        cpus=1.5,
        cpu_weight=1,
        cpuset="x",
        pids=1,
        io=1,
        disk=1,
        shm=1,
        output=1,
        rlimits={"x": 1},
        profile="privileged",
        cap_add=["x"],
        cap_drop=["x"],
        seccomp="default",
        no_new_privs=True,
        masked_paths=["/x", Path("/x")],
        readonly_paths=["/x", Path("/x")],
        devices=["x"],
        device_rules=["x"],
    )
