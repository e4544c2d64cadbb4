"""Labelled motion without end: clips made on the device that trains, where only what moves how tells the classes apart.

Kataoka, Hara et al., "Spatiotemporal Initialization for 3D CNNs with Generated Motion Patterns" (WACV 2022) pretrain on
videos of Perlin noise; here that is one family among others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "CLASSES": "_classes",
    "GENERATED": "_classes",
    "STREAMS": "_classes",
    "VERSION": "_render",
    "Clips": "_render",
    "clips": "_render",
}

__all__ = ["CLASSES", "GENERATED", "STREAMS", "VERSION", "Clips", "clips"]

if TYPE_CHECKING:
    from featx.synthetic.motion._classes import CLASSES, GENERATED, STREAMS
    from featx.synthetic.motion._render import VERSION, Clips, clips


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featx.synthetic.motion' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"featx.synthetic.motion.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
