"""Interrupts held back."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from featx.system.interrupts import held, raise_held


def test_an_interrupt_takes_effect_after_the_block_however_many_come() -> None:
    steps = 0
    noted: list[int] = []

    def shower() -> None:
        for _ in range(50):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)

    with held(lambda: noted.append(1)) as came:
        thread = threading.Thread(target=shower)
        thread.start()
        while thread.is_alive():
            steps += 1
        thread.join()
    assert steps
    assert came[0] == signal.SIGINT
    assert len(noted) == len(came)
    with pytest.raises(KeyboardInterrupt):
        raise_held(came)


def test_the_handlers_are_put_back_and_no_interrupt_raises_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held() as came:
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    raise_held(came)


def test_outside_the_main_thread_it_changes_nothing() -> None:
    handlers: list[object] = []

    def other() -> None:
        with held():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
