"""How fast the machine could be, how fast featx is, and what binds it: all measured in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from featx.bench._detection import bench_detection
from featx.bench._extraction import Measured, bench
from featx.bench._training import MeasuredTraining, bench_training

__all__ = ["Measured", "MeasuredTraining", "bench", "bench_detection", "bench_training", "to_json"]


def to_json(measured: Sequence[Measured | MeasuredTraining]) -> list[dict[str, Any]]:
    """Return the figures as plain values."""
    return [asdict(m) for m in measured]
