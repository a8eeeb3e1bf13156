# SPDX-License-Identifier: MIT OR Apache-2.0
"""The logger `tare`: opens, runs and closes at the level DEBUG; no arguments,
no environments. Keys of `best_effort` that were left out are warnings."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from ._errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

_logger: Logger | None = None


def _found() -> Logger | None:
    """The logger, if the program has loaded `logging`: another cannot have
    asked for anything."""
    global _logger
    if _logger is None:
        logging = sys.modules.get("logging")
        _logger = None if logging is None else logging.getLogger("tare")
    return _logger


def enabled() -> bool:
    """Returns whether `debug` reaches a reader, if its words are costly."""
    logger = _logger or _found()
    return logger is not None and logger.isEnabledFor(10)


def debug(text: str, *words: Any) -> None:
    """Logs an event with present values, because a handler may look at a record
    later."""
    if enabled() and _logger is not None:
        _logger.debug("%s", text % words)


def warning(text: str, *words: Any) -> None:
    """Warns; loads `logging`, whose last resort is standard error."""
    import logging

    logging.getLogger("tare").warning("%s", text % words)


def set_aside(step: str, error: BaseException, raised: BaseException | None) -> None:
    """Attaches an error to the exception on its way, as a note, and logs the
    error."""
    text = f"{step}, meanwhile: {error}"
    add_note = getattr(raised, "add_note", None)
    if add_note is not None:
        add_note(text)
    logger = _logger or _found()
    if logger is not None:
        logger.warning("%s", text)


@contextlib.contextmanager
def ending(step: str, what: object, raised: BaseException | None) -> Iterator[None]:
    """Sets aside an error caused by another exception, `raised`; without one,
    lets the error out."""
    try:
        yield
    except (Error, OSError) as error:
        if raised is None:
            raise
        set_aside(f"{step} {what!r}", error, raised)


def command(call_words: Any) -> str:
    """Shows a command in the log without arguments, which may be secrets."""
    import shlex

    argv = call_words["argv"]
    if not argv:
        return "(the image's command)"
    program, count = shlex.quote(os.fsdecode(argv[0])), len(argv) - 1
    return f"{program} ({count} arguments)" if count else program
