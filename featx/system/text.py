"""Text that goes to terminals and logs: what files and videos say cannot steer a terminal or forge a line.

A string is one line: its line breaks and control characters are escaped when it is printed. A `Text` has several lines, and
its line breaks stay, for `joined` escaped every line that went into it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# C0 with tab and line feed, DEL, C1, line and paragraph separators, and what changes the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Text(str):
    """Text of several lines, whose line breaks are featx's own. Strings made of it are plain: join them again."""

    __slots__ = ()


def visible(text: str) -> str:
    r"""Return text in one line: control characters, and bytes that are no text, as escapes such as \n and \x1b."""
    # A file name's byte that is not UTF-8 is a surrogate, which no terminal takes.
    text = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def joined(parts: Iterable[str]) -> Text:
    """Return parts below each other: strings as one line each, a `Text` as the lines that it has."""
    return Text("\n".join(part if isinstance(part, Text) else visible(part) for part in parts))


def printable(text: str) -> str:
    """Return what is printed of a string or a `Text`; the line breaks of a `Text` stay."""
    if isinstance(text, Text):
        return "\n".join(map(visible, text.split("\n")))
    return visible(text)


def json_text(value: object, *, indent: int | None = 1) -> Text:
    """Return a value as JSON."""
    return Text(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"))
