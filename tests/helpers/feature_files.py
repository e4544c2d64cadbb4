"""Feature files and datasets made by hand, for whatever runs on features: no video is decoded, no network run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.store.recorded import Recorded
from featx.store.writer import FeatureWriter

SETTINGS_OF_HAND_MADE: dict[str, Any] = {
    "model": {"name": "res3d", "num_classes": 487},
    "weights": {
        "name": "hand-made",
        "sha256": "0" * 64,
        "source": None,
        "licence": None,
        "seed": None,
    },
    "layers": ["pool5"],
    "clip": {"frames": 8, "step": 2, "stride": 16, "fps": None, "tail": "drop"},
    "transform": {
        "resize": [128, 171],
        "crop": 112,
        "mean": [128.0, 128.0, 128.0],
        "std": [1.0, 1.0, 1.0],
        "crops": "center",
        "flip": False,
    },
    "precision": "float32",
    "device": "cpu",
    "batch_size": 8,
    "decoder": {"choice": "pyav"},
}


def write_features(
    path: Path,
    videos: Mapping[str, Mapping[str, Any]],
    *,
    attrs: Mapping[str, Mapping[str, Any]] | None = None,
    failures: Sequence[tuple[str, str]] = (),
    **settings: Any,
) -> Path:
    """Write a feature file. videos: id -> layer -> (T, D); attrs: id -> further attributes; settings: other than usual."""
    layers = list(next(iter(videos.values()))) if videos else ["pool5"]
    recorded = Recorded.from_json(SETTINGS_OF_HAND_MADE | {"layers": layers} | settings)
    path.unlink(missing_ok=True)
    with FeatureWriter(path, recorded) as writer:
        for video_id in sorted(videos):
            rows = {n: np.atleast_2d(np.asarray(v)) for n, v in videos[video_id].items()}
            starts = 16 * np.arange(len(next(iter(rows.values()))), dtype=np.int64)
            clips = np.stack([starts, starts + 16], axis=1)
            own = dict((attrs or {}).get(video_id, {}))
            writer.add(
                video_id,
                rows,
                clip_frames=clips,
                clip_times=clips / 25,
                path=own.pop("path", f"/videos/{video_id}.avi"),
                frames=own.pop("frames", 16 * len(starts)),
                fps=own.pop("fps", 25.0),
                attrs={"bytes": 1, "fingerprint": f"of {video_id}", "decoder": "pyav", **own},
            )
        for failure in failures:
            writer.fail(*failure)
    return path


def write_dataset(
    path: Path,
    rows: Sequence[tuple[str, str, str]],
    *,
    header: Sequence[str] = ("path", "label", "split"),
) -> Path:
    """Write a csv dataset and an empty file for each of its videos: rows of path, label, split (and what `header` adds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    for row in rows:
        video = path.parent / row[0]
        video.parent.mkdir(parents=True, exist_ok=True)
        video.touch()
    return path


def clustered(
    labels: Sequence[int], dims: int, *, seed: int = 0, spread: float = 1.0
) -> np.ndarray:
    """Return (N, dims) non-negative rows around a centre a class, as after a ReLU."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(labels) + 1, dims))
    return np.maximum(
        0, centres[np.asarray(labels)] + spread * rng.normal(size=(len(labels), dims))
    ).astype(np.float32)
