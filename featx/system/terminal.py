"""Who watches: a terminal, a notebook, or nobody; lines on stderr, and plain bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType

from featx.system.text import Text, joined, printable


def say(text: str) -> None:
    """Write a line to stderr; what would steer a terminal is escaped."""
    if sys.stderr is not None:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def tell_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write a traceback to stderr, as `sys.excepthook`: its messages, which may name files, forge no line of it."""
    import traceback

    # What begins so is Python's own; a message begins with its exception's class.
    own = ("Traceback (", "  File ", "\n")
    parts = traceback.format_exception(kind, error, trace)
    say(joined(Text(p.rstrip("\n")) if p.startswith(own) else p.removesuffix("\n") for p in parts))


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
    unit: str, *, scale: bool = False, progress: bool | None = None, lines: bool = True
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for a person, a line every ten seconds in a log; call what it yields with (done, in all).

    Args:
        unit: What is counted, such as "video".
        scale: Counts are bytes.
        progress: True shows a bar, False none. Of a command, which has `lines`, the terminal decides.
        lines: False shows nothing in a log.
    """
    if lines and not on_terminal():
        yield _Lines(unit, scale=scale)
        return
    from tqdm.auto import tqdm

    with tqdm(unit=unit, unit_scale=scale, disable=not watched(progress), leave=False) as shown:

        def passed(so_far: int, total: int | None) -> None:
            shown.total = total
            shown.n = so_far
            shown.refresh()

        yield passed


class _Lines:
    """How far something is, said in a log: what takes two seconds says nothing, and the next line comes ten seconds later."""

    def __init__(self, unit: str, *, scale: bool) -> None:
        self._unit, self._scale = unit, scale
        self._began = monotonic()
        self._next = self._began + 2
        self._first: int | None = None

    def __call__(self, done: int, total: int | None) -> None:
        now = monotonic()
        if self._first is None:  # what was there before says nothing of how fast it goes
            self._first, self._began = done, now
        if now < self._next:
            return
        self._next = now + 10
        text = f"{self._counted(done, total)} {'MB' if self._scale else self._unit + 's'}"
        if total is not None and done > self._first:
            left = (now - self._began) / (done - self._first) * (total - done)
            text += f", {duration(left)} left"
        say(text)

    def _counted(self, *counts: int | None) -> str:
        known = [count for count in counts if count is not None]
        return "/".join(f"{count / 1e6:.1f}" if self._scale else str(count) for count in known)
