"""Who watches: a terminal, a notebook, or nobody; lines on stderr, and plain bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Write a line to stderr."""
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and "IPKernelApp" in running.config


def on_terminal() -> bool:
    """Return whether somebody watches: stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def bar(unit: str, *, scale: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing in a log; call what it yields with (done, in all)."""
    from tqdm import tqdm

    with tqdm(unit=unit, unit_scale=scale, disable=not on_terminal(), leave=False) as shown:

        def progress(so_far: int, total: int | None) -> None:
            shown.total = total
            shown.n = so_far
            shown.refresh()

        yield progress
