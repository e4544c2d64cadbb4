"""Settings changed by fields of any of their parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from featx.extraction.settings import Options, Settings


def with_fields(settings: Settings, **fields: Any) -> Settings:
    """Return settings with these fields, of their own or of their parts, replaced."""
    flat = {name: value for name, value in fields.items() if name in Options.__annotations__}
    own = {name: value for name, value in fields.items() if name not in flat}
    return replace(settings, **own).changed(**flat)
