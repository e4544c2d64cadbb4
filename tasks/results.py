"""How a result shows itself: one line of what one wants to see, and below it its parts and notes."""

from __future__ import annotations

from collections.abc import Iterable


def shown(
    name: str,
    subject: str,
    *counts: str,
    parts: Iterable[object] = (),
    notes: Iterable[str] = (),
) -> str:
    """Return a result's repr, such as `SvmResult(hmdb51: 83.1 %, 3 splits)`.

    counts: what there is to tell of the subject; those that are empty are left out. parts: results that stand below.
    """
    told = ", ".join(each for each in counts if each)
    head = f"{name}({subject}{': ' if subject and told else ''}{told})"
    lines = [line for part in parts for line in repr(part).split("\n")]
    return "\n".join([head, *(f"  {line}" for line in [*lines, *(f"note: {n}" for n in notes)])])


def number_of(n: int, what: str) -> str:
    """Return how many there are, in words: 1 video, 3,783 videos."""
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"
