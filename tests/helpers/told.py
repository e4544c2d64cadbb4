"""What a message has to tell, whatever its words: the values and names in it, in any order."""

from __future__ import annotations

import re


def telling(*values: object) -> str:
    """Return a pattern for pytest's `match`: each of `values` stands in the text, not as a piece of a longer word or number."""
    return "(?s)" + "".join(f"(?=.*{_alone(str(value))})" for value in values)


def tells(text: object, *values: object) -> bool:
    """Return whether a text, or an error's, has each of `values` in it."""
    return re.match(telling(*values), str(text)) is not None


def _alone(value: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", value) else ""
    after = r"(?!\w)" if re.search(r"\w$", value) else ""
    if re.match(r"\d", value):
        before += r"(?<!\d[.,])"
    if re.search(r"\d$", value):
        after += r"(?![.,]\d)"
    return before + re.escape(value) + after
