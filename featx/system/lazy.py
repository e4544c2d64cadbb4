"""A package's public names, imported when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`, so that importing it costs nothing.

    Args:
        package: The package's name.
        names: The module that each public name is defined in.
    """

    def find(name: str) -> Any:
        module = sys.modules[package]
        if name not in names:
            told = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(told, name=name, obj=module)
        value = getattr(importlib.import_module(names[name]), name)
        setattr(module, name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return find, listed
