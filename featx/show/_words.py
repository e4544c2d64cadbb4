"""How a picture names what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_name(model: str, weights: Mapping[str, Any]) -> str:
    """Return a model and its weights in words: res3d (untrained, seed 0)."""
    name = f"untrained, seed {weights['seed']}" if weights["name"] == "random" else weights["name"]
    return f"{model} ({name})"


def clip_span(times: tuple[float, float]) -> str:
    """Return from when to when a clip is, in seconds."""
    return f"{times[0]:.2f} to {times[1]:.2f} s"


def plural(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
