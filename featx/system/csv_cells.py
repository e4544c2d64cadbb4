"""Cells of comma-separated values that a spreadsheet shows as they are: none of them is taken for a formula.

A name that begins with = + - @, a tab or a carriage return gets an apostrophe before it, the spreadsheets' own mark of text.
What reads a table of featx takes it away: `cell_text(text_cell(value)) == value`.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def text_cell(value: object) -> object:
    """Return a value as a cell: a text that would be a formula after an apostrophe; numbers, written ones too, as they are."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def cell_text(cell: str) -> str:
    """Return the text of a cell that `text_cell` made."""
    return cell[1:] if _MARKED.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
