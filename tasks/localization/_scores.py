"""Windows from a feature file of both networks' probabilities."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.features import LOCALIZATION
from featx.store import CASCADE, FeatureStore, Video
from tasks.localization._types import Floats, Ints, Windows

PROPOSAL = "prob"
BACKGROUND = "background"


def read_windows(path: str | os.PathLike[str], names: Mapping[str, str]) -> Windows:
    """Return the windows of a feature file that `featx.features.window_scores` wrote, those of background left out.

    names: of the videos that are wanted, what they are called by their path's real path; a video that could not be read has
    no windows. A window's class is the localization network's most probable one, and its score that probability.

    Raises UsageError for a file that is none of the kind.
    """
    with FeatureStore(path) as store:
        classes, gate = _classes(store)
        spec = ClipSpec(**store.settings["clip"])
        by_path = {os.path.realpath(video.attr("path")): video for video in store}
        videos = tuple(names[place] for place in names)
        parts = [_of_video(by_path[p], number, spec, gate) for number, p in enumerate(names) if p in by_path]

    def column(name: str, kind: type[np.int64] | type[np.float64]) -> Any:
        return np.concatenate([part[name] for part in parts]).astype(kind) if parts else np.zeros(0, kind)

    whole = {name: column(name, np.int64) for name in ("video", "label", "length")}
    whole |= {name: column(name, np.float64) for name in ("start", "end", "score", "action")}
    return Windows(classes=classes, videos=videos, **whole)


def rates_of(path: str | os.PathLike[str], names: Mapping[str, str]) -> Floats:
    """Return the sampled frames a second of each video, (V,): the windows' rate, or each video's own; NaN if it was not read."""
    with FeatureStore(path) as store:
        fixed = store.settings["clip"]["fps"]
        own = {os.path.realpath(video.attr("path")): float(video.attr("fps")) for video in store}
    return np.asarray([np.nan if place not in own else fixed or own[place] for place in names], np.float64)


def lengths_of(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the windows' lengths in sampled frames."""
    with FeatureStore(path) as store:
        return tuple(scale.span for scale in ClipSpec(**store.settings["clip"]).at_scales)


def _classes(store: FeatureStore) -> tuple[tuple[str, ...], int]:
    """Return the classes, without background, and the place of action among the proposal network's."""
    cascade = store.settings.get(CASCADE)
    labels = [] if cascade is None else cascade["labels"]
    if cascade is None or cascade["name"] != LOCALIZATION or not labels or labels[0] != BACKGROUND:
        raise UsageError(f"{store.path} has no probabilities of windows: give a file that featx detect wrote")
    # The gate is one of two classes, the other being background.
    return tuple(labels[1:]), 1


def _of_video(video: Video, number: int, spec: ClipSpec, gate: int) -> dict[str, Any]:
    """Return the columns of one video's windows."""
    rows = video[LOCALIZATION]
    label = rows.argmax(axis=1)
    kept = np.flatnonzero((label > 0) & rows.any(axis=1))
    every = video.clip_times
    # Annotations count from the first frame, with which the first window begins; a stream's timestamps may begin later.
    times = every[kept] - every[:, 0].min()
    return {
        "video": np.full(len(kept), number),
        "label": label[kept] - 1,
        "length": _lengths(times, video.clip_frames[kept], spec),
        "start": times[:, 0],
        "end": times[:, 1],
        "score": rows[kept, label[kept]].astype(np.float64),
        "action": video[PROPOSAL][kept, gate].astype(np.float64),
    }


def _lengths(times: Floats, frames: Ints, spec: ClipSpec) -> Ints:
    """Return the windows' lengths in sampled frames: of resampled video, whose windows end with a source frame, the nearest."""
    covered = np.diff(frames)[:, 0] if spec.fps is None else np.diff(times)[:, 0] * spec.fps
    lengths = np.asarray([scale.span for scale in spec.at_scales])
    return np.asarray(lengths[np.abs(covered[:, None] - lengths).argmin(axis=1)], np.int64)


def named(paths: Mapping[str, str]) -> dict[str, str]:
    """Return names by the real paths of the videos, from paths by name."""
    return {os.path.realpath(Path(path)): name for name, path in paths.items()}
