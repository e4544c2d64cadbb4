"""Feature files as featx extract writes them of made-up videos: clips lie where `featx.clips` puts them; nothing is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from feature_files import write_features

from featx.clips import ClipSpec, clip_end, resample, starts

RES3D = ClipSpec(frames=8, step=2, stride=16)
DIMS = 3


def times_of(frames: int, fps: float, *, begin: float = 0.0) -> np.ndarray:
    """Return when each of a video's frames comes on screen, and when the last one leaves it: (frames + 1,) seconds."""
    return begin + np.arange(frames + 1) / fps


def extracted(
    path: Path,
    videos: Mapping[str, np.ndarray],
    spec: ClipSpec = RES3D,
    *,
    attrs: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a feature file of videos given by their frames' times. Row i of a video is the middle of its clip i in seconds,
    then (video's number, i): numbers that show where a row lies and whose it is."""
    rows, places, about = {}, {}, {}
    for number, (video_id, times) in enumerate(sorted(videos.items())):
        n = len(times) - 1
        sampled = (
            np.arange(n)
            if spec.fps is None
            else np.asarray(resample(times[:-1].tolist(), float(times[-1]), spec.fps))
        )
        bounds = np.append(sampled, n)
        first = starts(len(sampled), spec)
        clips = np.asarray(
            [
                (bounds[s], max(bounds[clip_end(s, len(sampled), spec)], bounds[s] + 1))
                for s in first
            ]
        )
        middles = times[clips].mean(axis=1)
        numbers = np.full(len(first), number)
        rows[video_id] = {
            "pool5": np.stack([middles, numbers, np.arange(len(first))], axis=1).astype(np.float32)
        }
        places[video_id] = clips, times[clips]
        duration = float(times[-1] - times[0])
        about[video_id] = {"frames": n, "fps": n / duration, "duration_s": duration, "looped": len(sampled) < spec.span,
                           "damaged_frames": 0, **(attrs or {}).get(video_id, {})}  # fmt: skip
    write_features(path, rows, attrs=about, clip=spec.to_dict(), **settings)
    with h5py.File(path, "r+") as file:
        for video_id, (clips, times) in places.items():
            for name, values in (("clip_frames", clips), ("clip_times", times)):
                del file[video_id][name]
                file[video_id][name] = values
    return path


def annotated(folder: Path, side: str, instances: Sequence[tuple[str, str, float, float]]) -> Path:
    """Write THUMOS'14's annotations of a side: rows of class, video, start and end in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {row[0] for row in instances}:
        lines = [
            f"{video}  {start} {end}" for label, video, start, end in instances if label == name
        ]
        (folder / f"{name}_{side}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
