"""The errors a user can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Characters of names that a message has room for: about four lines.
_MOST_TOLD = 300


class FeatxError(Exception):
    """A mistake the user can mend: one sentence with the value and the remedy.

    A parameter stands in it as Python has it, in backquotes: `decoder='pyav'`, `layers`. The command line shows flags
    instead (`featx.cli.messages`).
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UsageError(FeatxError, ValueError):
    """Wrong arguments or settings; nothing was done. Exit status 2."""


class MissingKey(UsageError, KeyError):
    """A video or a layer that a feature file does not have."""


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return `; did you mean …?` with the known names closest to `name`; none being close, all of them, or three of many."""
    known = sorted(known)
    by_lower = {k.lower(): k for k in known}
    close = [
        by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.5)
    ]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if not known:
        return ""
    if len(told := ", ".join(known)) > _MOST_TOLD:
        return f"; {len(known)} are known, such as {', '.join(known[:limit])}"
    return f"; known: {told}"
