"""Interrupts that wait until what must not be cut off is done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


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

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
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
