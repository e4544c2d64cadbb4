"""Who watches: a terminal, a notebook, or nobody; lines on stderr, and plain bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from featx.system.text import printable


def say(text: str) -> None:
    """Write a line to stderr; what would steer a terminal is escaped."""
    if sys.stderr is not None:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and "IPKernelApp" in running.config


def on_terminal() -> bool:
    """Return whether somebody watches: stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def watched(progress: bool | None) -> bool:
    """Return whether progress is shown: as asked; None is if a person watches, at a terminal or in a notebook."""
    return on_terminal() or in_notebook() if progress is None else progress


def duration(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def bar(
    unit: str, *, scale: bool = False, progress: bool | None = None
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for a person, nothing in a log; call what it yields with (done, in all).

    progress: True shows a bar, False none.
    """
    from tqdm.auto import tqdm

    with tqdm(unit=unit, unit_scale=scale, disable=not watched(progress), leave=False) as shown:

        def passed(so_far: int, total: int | None) -> None:
            shown.total = total
            shown.n = so_far
            shown.refresh()

        yield passed
