"""Results as plain-text tables, and as comma-separated values."""

from __future__ import annotations

import csv
import io
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from featx.system.csv_cells import text_cell
from featx.system.files import disk_full, write_atomically
from featx.system.text import Text, joined, visible


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> Text:
    """Return rows as aligned text under their headers, numbers to the right, everything else to the left.

    Floats get four significant digits, None an empty cell; give strings for anything else.
    """
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers: {row!r}")
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(_columns(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))
    ]
    right = [
        bool(rows) and all(value is None or _is_number(value) for value in column)
        for column in zip(*rows, strict=True)
    ]
    right = right or [False] * len(headers)

    def line(texts: Sequence[str]) -> str:
        parts = []
        for text, width, to_right in zip(texts, widths, right, strict=True):
            space = " " * (width - _columns(text))
            parts.append(space + text if to_right else text + space)
        return "  ".join(parts).rstrip()

    return joined(
        [line(headers), line(["-" * width for width in widths]), *(line(row) for row in cells)]
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return _float(float(value))
    return visible(str(value))


def _float(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    return f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"


def _columns(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def write_csv(
    path: str | os.PathLike[str], headers: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Write rows as comma-separated values under their headers, whole or not at all; the folder is made where it is missing.

    Texts that a spreadsheet would take for formulas are marked as texts (`featx.system.csv_cells`).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(map(text_cell, row) for row in rows)
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.getvalue().encode("utf-8", "surrogateescape"))
