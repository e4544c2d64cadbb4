"""Ctrl-C and SIGTERM: what they do to the command line, and how they wait until what must not be cut off is done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from featx.system.streams import told

STATUS = 130  # exit status of a command that was interrupted
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def stop_on_interrupt() -> None:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt from here on, once; during an import they end the process.

    What an import runs may swallow an exception, with `except:` or in a destructor. Where nothing is being imported
    the exception makes safe what was computed, which takes a second; a second Ctrl-C does not cut that off.
    """
    before = sys.unraisablehook

    def unraisable(unraised: sys.UnraisableHookArgs) -> None:
        if issubclass(unraised.exc_type, KeyboardInterrupt):  # it came while a destructor ran
            _end()
        before(unraised)

    sys.unraisablehook = unraisable
    for number in _INTERRUPTS:
        signal.signal(number, _interrupted)


def ignore() -> None:
    """Ignore Ctrl-C and SIGTERM from here on."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def _interrupted(_: int, frame: FrameType | None) -> None:
    ignore()
    if _importing(frame):
        _end()
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def _end() -> NoReturn:
    """End this process at once; a run that is ended at any instant continues where it was."""
    told("interrupted")
    os._exit(STATUS)


@contextlib.contextmanager
def held(on_interrupt: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Hold Ctrl-C and SIGTERM back in this block; yield the list of those that came, for `raise_held` afterwards.

    Catching KeyboardInterrupt cannot do this: it may be raised between any two steps, the handler's own included.

    on_interrupt: called at each, from a signal handler: it must do no more than set something.
    """
    came: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # no other thread is interrupted, nor may one set handlers
        yield came
        return

    def note(number: int, _: object) -> None:
        came.append(number)
        on_interrupt()

    before = {number: signal.getsignal(number) for number in _INTERRUPTS}
    # A handler that is not Python's own cannot be put back; an ignored signal stays ignored.
    ours = [
        number
        for number, handler in before.items()
        if callable(handler) or handler is signal.SIG_DFL
    ]
    try:
        for number in ours:
            signal.signal(number, note)
        yield came
    finally:
        for number in ours:
            signal.signal(number, before[number])


def raise_held(came: list[int]) -> None:
    """Let the first interrupt that came have its effect now."""
    if came:
        signal.raise_signal(came[0])
