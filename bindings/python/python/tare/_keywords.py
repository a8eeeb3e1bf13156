# SPDX-License-Identifier: MIT OR Apache-2.0
"""Answers to an unknown keyword: the equivalent here, or the nearest
keyword."""

from __future__ import annotations

from collections.abc import Set

from ._errors import Error, UnknownKeywordError

_RUN = {
    "bufsize": "popen(), which has it",
}
_POPEN = {
    "capture_output": "stdout=PIPE and stderr=PIPE",
    "check": "run(), which has it",
    "input": "stdin=PIPE, and communicate() with the input",
    "text": "decoding what was read: its streams are bytes",
    "encoding": "decoding what was read: its streams are bytes",
    "errors": "decoding what was read: its streams are bytes",
    "universal_newlines": "text, or in tare.aio decoding what was read: its streams are bytes",
}
_BOTH = {
    "close_fds": "leaving it out: what is not in pass_fds is closed",
    "executable": "the program as the first of args",
    "extra_groups": "the groups of a user in the image, as user",
    "group": 'user="USER:GROUP"',
    "pipesize": "leaving it out",
    "preexec_fn": "shell=True with what has to come first: nothing of this process runs inside",
    "process_group": "leaving it out: each command has a session of its own",
    "restore_signals": "leaving it out: each command begins with the defaults",
    "start_new_session": "leaving it out: each command has a session of its own",
    "universal_newlines": "text, which is the same",
}

SUBPROCESS = _RUN.keys() | _BOTH.keys()
"""Keywords of `subprocess.run` that `run` does not have."""


_SANDBOX = {
    "auto_remove": "leaving it out: nothing of a sandbox stays",
    "command": "run(args)",
    "cwd": "workdir, or cwd of run()",
    "detach": "popen(), which returns while the command runs",
    "entrypoint": "run(args): the first of args is the program",
    "name": "hostname, or labels",
    "platform": "Store.image(reference, platform=...)",
    "ports": 'network="host"',
    "privileged": 'profile="privileged"',
    "read_only": 'write="none"',
    "remove": "leaving it out: nothing of a sandbox stays",
    "restart_policy": "leaving it out",
    "stdin_open": "stdin of popen()",
    "tmpfs": 'mounts=[{"type": "tmpfs", "target": "/inside"}]',
    "volumes": 'mounts=["/host/dir:/inside:rw"]',
}
"""Words of Docker's for Python whose cure is more than another key of the spec."""


def _error(call: str, name: str, cure: str | None, step: str | None = None) -> UnknownKeywordError:
    why = f"got an unexpected keyword argument {name!r}"
    said = f"{call}() {why}" if cure is None else f"{call}() {why}; try: {cure}"
    return UnknownKeywordError(said, "invalid", step or f"{call}()", why, cure)


def unknown(call: str, name: str, known: Set[str]) -> UnknownKeywordError:
    """Returns the error for a keyword that `call` ("run" or "popen") does not
    have, which has those of `known`."""
    import difflib

    own = _RUN if call == "run" else _POPEN
    near = difflib.get_close_matches(name, known - {name}, 1)
    return _error(call, name, own.get(name) or _BOTH.get(name) or (near[0] if near else None))


def unknown_key(call: str, name: str, of_command: Set[str]) -> UnknownKeywordError:
    """The error for a keyword that is no key of the spec; `of_command` are the
    call's others."""
    import difflib

    from . import _types

    # The same words as in every face.
    step = f"parse spec: {name}"
    if name not in of_command and name in _types.RUN | _types.POPEN and name not in _SANDBOX:
        cure = f"run({name}=...), or popen()"
        return _error(call, name, cure, step)
    near = difflib.get_close_matches(name, of_command, 1, 0.8)
    return _error(call, name, _SANDBOX.get(name) or (near[0] if near else _of_spec(name)), step)


def _of_spec(name: str) -> str | None:
    """Returns the library's own error."""
    import json

    from . import _tare

    try:
        _tare.check_spec(json.dumps({name: None}))
    except Error as error:
        return error.cure
    return None
