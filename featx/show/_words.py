"""How a picture names what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What the first row of a picture shows, for each input of a network.
INPUTS = {"rgb": "frames", "flow": "optical flow", "rgbf": "RGB where\nit moves"}


def model_name(model: str, weights: Mapping[str, Any], input: str = "rgb") -> str:
    """Return a model, its weights and an input that is not plain RGB in words: res3d (untrained, seed 0)."""
    name = f"untrained, seed {weights['seed']}" if weights["name"] == "random" else weights["name"]
    return f"{model} ({name})" + (f" on {input}" if input != "rgb" else "")


def clip_span(times: Sequence[float] | NDArray[np.float64]) -> str:
    """Return from when to when a clip is, in seconds."""
    return f"{times[0]:.2f} to {times[1]:.2f} s"


def plural(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
