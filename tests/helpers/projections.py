"""Projections made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from feature_files import SETTINGS_OF_HAND_MADE

from featx.extraction.projection import Projection, write_projection
from featx.store.recorded import Recorded

FITTED_ON = {"dataset": "ucf101", "split": 1, "subset": "train", "videos": 40}


def projection_of(
    width: int, dims: int, *, layer: str = "res5a", settings: Recorded | None = None, seed: int = 0
) -> Projection:
    rng = np.random.default_rng(seed)
    components = np.linalg.qr(rng.normal(size=(width, dims)))[0].T
    return Projection(
        mean=(0.05 * rng.random(width)).astype(np.float32),
        components=np.ascontiguousarray(components, np.float32),
        layer=layer,
        settings=settings or Recorded.from_json(SETTINGS_OF_HAND_MADE),
        fitted_on=FITTED_ON,
        explained=0.75,
    )


def saved(path: Path, projection: Projection) -> Path:
    write_projection(path, projection)
    return path
