"""Times as people write them."""

from __future__ import annotations

import math
import re

from featx.errors import UsageError

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)s?", re.ASCII)


def seconds_of(text: str | float) -> float:
    """Return a time in seconds: 12.5, 12.5s, 1:02.5 or 1:00:02.5; UsageError for anything else."""
    if isinstance(text, int | float):
        if not (math.isfinite(text) and text >= 0):
            raise UsageError(f"the time is {text!r}: give seconds from 0, such as 12.5")
        return float(text)
    found = _TIME.fullmatch(text.strip())
    hours, minutes, seconds = (
        (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    )
    # Seconds alone may be any number, and minutes without hours.
    if found is None or (found[2] and seconds >= 60) or (found[1] and minutes >= 60):
        raise UsageError(
            f"the time is {text!r}: give seconds or minutes and seconds, such as 12.5, 12.5s or 1:02.5"
        )
    return hours * 3600 + minutes * 60 + seconds


def clock(seconds: float) -> str:
    """Return seconds as m:ss.s, or h:mm:ss.s from an hour on."""
    tenths = round(seconds * 10)
    sign, tenths = ("-" if tenths < 0 else ""), abs(tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"


def stretch(times: tuple[float, float]) -> str:
    """Return from when to when, m:ss.s-m:ss.s."""
    return f"{clock(times[0])}-{clock(times[1])}"
