# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is said to whoever gives a keyword that a call does not have: what does the same here, or the nearest."""

from __future__ import annotations

from collections.abc import Set

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
    "umask": 'shell=True with "umask" first',
    "universal_newlines": "text, which is the same",
}

SUBPROCESS = _RUN.keys() | _BOTH.keys()
"""Keywords of `subprocess.run` that `run` does not have."""


def unknown(call: str, name: str, known: Set[str]) -> TypeError:
    """The error for a keyword that `call` ("run" or "popen") does not have, which has those of `known`."""
    import difflib

    own = _RUN if call == "run" else _POPEN
    near = difflib.get_close_matches(name, known - {name}, 1)
    cure = own.get(name) or _BOTH.get(name) or (near[0] if near else None)
    said = f"{call}() got an unexpected keyword argument {name!r}"
    return TypeError(said if cure is None else f"{said}; try: {cure}")
