"""The feature file of windows: what both networks say of them, computed and read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featx.clips import ClipSpec, numbered
from featx.errors import UsageError
from featx.extraction.extract import OtherSettings, Report, extract
from featx.extraction.settings import ClipOptions, Hooks, Machine, Settings
from featx.store.reader import FeatureStore, Video
from featx.store.recorded import Recorded
from featx.tasks.localization._types import Floats, Ints, Windows
from featx.video.source import find_videos
from featx.weights.checkpoint import architecture_of

# Layers of the second network's probabilities, and of the first one's.
LOCALIZATION = "localization"
PROPOSAL = "prob"
BACKGROUND = "background"
# The place of action among the proposal network's two classes; the other is background.
_ACTION = 1


def window_scores(
    videos: Sequence[str],
    out: str | os.PathLike[str],
    *,
    proposal: str,
    localization: str,
    gate: str = "action",
    threshold: float = 0.7,
    fps: float | Literal["own"] | None = None,
    root: str | None = None,
    machine: Machine | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Write a feature file of what two networks say of videos' windows: layers `prob` and `localization`.

    videos: files, folders or lists, as `featx.extract` takes them. proposal, localization: checkpoints of one architecture and
    the same clips, which are the windows; the second sees those whose probability of `gate` by the first is `threshold` or
    more, and the rows of the others are zeros. fps: another rate of the sampled frames than the checkpoints'. root: video ids
    are relative to it. machine: how the machine is used.
    What is there already is not computed again, and an interrupted call is continued.
    """
    from featx.extraction.cascade import Cascade

    model = architecture_of(proposal)
    if (other := architecture_of(localization)) != model:
        raise UsageError(
            f"{proposal} is of {model} and {localization} of {other}: give networks of one architecture"
        )
    cascade = Cascade(weights=localization, gate=gate, threshold=threshold, name=LOCALIZATION)
    settings = Settings(
        model=model,
        weights=proposal,
        cascade=cascade,
        clip=ClipOptions(fps=fps),
        machine=machine or Machine(),
    )
    try:
        report = extract(videos, out, settings=settings, root=root, hooks=hooks)
    except OtherSettings as error:
        raise UsageError(
            f"{out} has windows by other networks or settings: {_named(error.changed)}; use those, or another"
            " file with `windows_file`"
        ) from error
    report.notes += [note for weights in (proposal, localization) for note in _unfinished(weights)]
    return report


def _named(changed: str) -> str:
    """Return what differs by the names of detection's options."""
    for setting, option in (("cascade.threshold", "`threshold`"), ("clip.fps", "`fps`")):
        changed = changed.replace(f"{setting} is", f"{option} is")
    return changed


def _unfinished(weights: str) -> list[str]:
    """Return a sentence on a checkpoint of a training run that has not come to its end, for a user may not know."""
    from featx.training import finished

    folder = Path(weights).parent
    if not (folder / "run.json").exists() or finished(folder) is not None:
        return []
    return [
        f"{weights} is of a training that has not come to its end: the same training command goes on with it"
    ]


# ---------------------------------------------------------------- read again


def ids_in(store: FeatureStore, videos: Sequence[str], root: str | None) -> dict[str, str]:
    """Return the ids of those of the videos that are in a feature file, by path: as `extract` finds them there, by id or path."""
    sources = find_videos(videos, layers=store.layers, root=root).sources
    elsewhere = dict[str, str]()
    if not all(source.id in store for source in sources):
        elsewhere = {os.path.realpath(video.path): video.id for video in store.values()}
    found = {
        s.path: s.id if s.id in store else elsewhere.get(os.path.realpath(s.path)) for s in sources
    }
    return {path: video_id for path, video_id in found.items() if video_id is not None}


def read_windows(store: FeatureStore, videos: Sequence[str], ids: Mapping[str, str]) -> Windows:
    """Return the windows of a feature file that `window_scores` wrote, those of background left out.

    videos: what those that were searched are called. ids: theirs in the file; a video that could not be read has none, and no
    windows. A window's class is the localization network's most probable one, and its score that probability.

    Raises UsageError for a file that is none of the kind.
    """
    classes = classes_of(store.path, store.settings)
    spec = store.settings.clip
    parts = [
        _of_video(store[ids[name]], number, spec, len(classes))
        for number, name in enumerate(videos)
        if name in ids
    ]

    def column(name: str, kind: type[np.int64] | type[np.float64]) -> Any:
        return (
            np.concatenate([part[name] for part in parts]).astype(kind)
            if parts
            else np.zeros(0, kind)
        )

    whole = {name: column(name, np.int64) for name in ("video", "label", "length")}
    whole |= {name: column(name, np.float64) for name in ("start", "end", "score", "action")}
    return Windows(classes=classes, videos=tuple(videos), **whole)


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a feature file of windows rests on, and how much of it was looked at.

    windows: of the videos; proposals: those that the localization network saw. threshold: from which probability of an action on.
    networks: by stage, their checkpoint's name, sha256 and source.
    """

    windows: int
    proposals: int
    threshold: float
    networks: Mapping[str, Mapping[str, Any]]


def searched(store: FeatureStore, ids: Iterable[str]) -> Searched:
    """Return what a feature file that `window_scores` wrote says of the videos of these ids."""
    rows = [np.asarray(store[video][LOCALIZATION].any(axis=1)) for video in ids]
    cascade = store.settings.cascade
    if cascade is None:
        raise UsageError(f"{store.path} has no windows: give a file that featx detect wrote")
    weights = {"proposal": store.settings.weights, LOCALIZATION: cascade.weights}
    return Searched(
        windows=sum(len(seen) for seen in rows),
        proposals=sum(int(np.count_nonzero(seen)) for seen in rows),
        threshold=cascade.threshold,
        networks={
            stage: {name: each.values.get(name) for name in ("name", "sha256", "source")}
            for stage, each in weights.items()
        },
    )


def rates_of(store: FeatureStore, videos: Sequence[str], ids: Mapping[str, str]) -> Floats:
    """Return the sampled frames a second of each video, (V,): the windows' rate, or each video's own; NaN if it was not read."""
    fixed = store.settings.clip.fps
    rates = [
        float(fixed or store[ids[name]].attr("fps")) if name in ids else np.nan for name in videos
    ]
    return np.asarray(rates, np.float64)


def lengths_of(store: FeatureStore) -> tuple[int, ...]:
    """Return the windows' lengths in sampled frames."""
    return tuple(scale.span for scale in store.settings.clip.at_scales)


def classes_of(path: str | os.PathLike[str], settings: Recorded) -> tuple[str, ...]:
    """Return the classes of a feature file by its settings, without background; UsageError for a file that has no windows."""
    cascade = settings.cascade
    labels = () if cascade is None else cascade.labels
    if cascade is None or cascade.name != LOCALIZATION or not labels or labels[0] != BACKGROUND:
        raise UsageError(
            f"{os.fspath(path)} has no probabilities of windows: give a file that featx detect wrote"
        )
    return labels[1:]


def _of_video(video: Video, number: int, spec: ClipSpec, classes: int) -> dict[str, Any]:
    """Return the columns of one video's windows."""
    rows, proposed = video[LOCALIZATION], video[PROPOSAL]
    if rows.shape[1] != classes + 1 or proposed.shape[1] <= _ACTION:
        raise UsageError(
            f"{video.id!r} has {rows.shape[1]} and {proposed.shape[1]} probabilities a window, not {classes + 1} and 2: give a"
            " file that featx detect wrote"
        )
    label = rows.argmax(axis=1)
    kept = np.flatnonzero((label > 0) & rows.any(axis=1))
    placed = numbered(len(rows), spec)
    first = np.asarray([start for start, _ in placed], np.int64)[kept]
    length = np.asarray([scale.span for _, scale in placed], np.int64)[kept]
    start, end = _seconds(video, kept, first, length, spec)
    return {
        "video": np.full(len(kept), number),
        "label": label[kept] - 1,
        "length": length,
        "start": start,
        "end": end,
        "score": rows[kept, label[kept]].astype(np.float64),
        "action": proposed[kept, _ACTION].astype(np.float64),
    }


def _seconds(
    video: Video, kept: Ints, first: Ints, length: Ints, spec: ClipSpec
) -> tuple[Floats, Floats]:
    """Return when windows begin and end, from the video's first frame on: annotations count from it, streams need not.

    At a fixed rate that is when their frames are due, as in training, and not when the source's frames on screen then began.
    """
    if spec.fps is not None:
        return first / spec.fps, np.minimum((first + length) / spec.fps, video.attr("duration_s"))
    times = video.clip_times
    return times[kept, 0] - times[0, 0], times[kept, 1] - times[0, 0]
