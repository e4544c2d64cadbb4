"""Standard input, output and error: descriptors 0, 1 and 2."""

from __future__ import annotations

import io
import os
import sys


def hold_descriptors() -> None:
    """Open those of descriptors 0, 1 and 2 that are closed on the null device.

    A file or a pipe would take their numbers otherwise, and a process that is started covers them with its own streams.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken: this one.
            mode = os.O_RDONLY if number == 0 else os.O_WRONLY
            os.set_inheritable(os.open(os.devnull, mode), True)


def open_standard() -> None:
    """Give a process whose standard streams are closed, or some of them, ones that lead nowhere."""
    hold_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  it stays open
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an ASCII locale's stream lacks letters
            stream.reconfigure(errors="backslashreplace")


def told(text: str) -> None:
    """Write a line to descriptor 2, unbuffered, as a signal handler may."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return  # nobody reads it
