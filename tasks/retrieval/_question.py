"""What is asked: a row to be compared with, out of the index or computed from a video."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import FeatxError, UsageError, nearest
from featx.store.reader import FeatureStore
from featx.tasks.retrieval._folder import Opened
from featx.tasks.retrieval._rows import Rows, mean_of, unit
from featx.tasks.times import clock, stretch

if TYPE_CHECKING:
    from torch import nn

# Ids among which the nearest are looked for, for a message.
MOST_COMPARED = 10_000


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is searched for.

    name: the video's id, or the file's path as given. video: its id if it is in the feature file. path: of its file.
    at: the time that was asked for. clips: how many the row is the mean of. frames, times: of the clip, or of the whole video.
    fingerprint: of the file, empty where it is not known. computed: whether its features were computed now.
    """

    name: str
    video: str | None
    path: str
    at: float | None
    clips: int
    frames: tuple[int, int]
    times: tuple[float, float]
    fingerprint: str
    computed: bool


@dataclass(frozen=True, kw_only=True)
class Computing:
    """What `featx.extraction.query.query_features` is to know where a query's features are to be computed."""

    weights: str | None
    project: str | os.PathLike[str] | None
    model: nn.Module | None
    on_progress: Callable[[Any], None] | None


def asked(
    store: FeatureStore,
    opened: Opened,
    query: str,
    *,
    by_id: bool,
    at: float | None,
    computing: Computing,
) -> tuple[Question, Rows, list[str]]:
    """Return what is searched for, its row, (D,) of length 1, and notes.

    query: a video file, or the id of a video that is indexed; an id alone if `by_id`. A file that is indexed, by its
    content, is not computed again. A whole video's row is the mean over its clips, L2-normalised (Res3D paper, section 5.1).
    """
    ids = {video.id: number for number, video in enumerate(opened.table.videos)}
    content = ""
    if not by_id and os.path.lexists(query) and not os.path.isdir(query):
        from featx.extraction.query import fingerprint

        content = fingerprint(query)
        number = _same_file(opened, query, content)
        if number is None:
            return _computed(store, opened, query, content, at, computing)
    elif query in ids:
        number = ids[query]
    else:
        close = nearest(query, ids) if len(ids) < MOST_COMPARED else ""
        if not close.startswith("; did you mean"):
            close = f": give a video file, or an id such as {opened.table.videos[0].id!r}"
        what = (
            "no video"
            if by_id
            else "a folder, and no video"
            if os.path.isdir(query)
            else "no such file, and no video"
        )
        raise UsageError(f"{what} {query!r} in {store.path}{close}")
    return _stored(opened, number, at, file=query if content else None)


def _same_file(opened: Opened, path: str, fingerprint: str) -> int | None:
    """Return which indexed video a file is, by its content; of copies the one at its path."""
    same = [
        n
        for n, video in enumerate(opened.table.videos)
        if fingerprint and video.fingerprint == fingerprint
    ]
    real = os.path.realpath(path)
    return min(
        same, key=lambda n: os.path.realpath(opened.table.videos[n].path) != real, default=None
    )


def _stored(
    opened: Opened, number: int, at: float | None, *, file: str | None
) -> tuple[Question, Rows, list[str]]:
    from featx.extraction.query import clip_at

    table = opened.table
    video = table.videos[number]
    start, end = table.rows_of([number])[0]
    notes = (
        []
        if file is None
        else [f"{file} is in the feature file, as {video.id!r}: its rows are taken from there"]
    )
    if at is None:
        row = opened.means.take(np.asarray([number]))[0]
        frames, times, clips = (0, video.frames), (video.begin, video.end), end - start
    else:
        clip = start + clip_at(table.times[start:end], at, (video.begin, video.end))
        row = opened.rows.take(np.asarray([clip]))[0]
        frames, times, clips = pair_of_ints(table.frames[clip]), pair(table.times[clip]), 1
        notes += _beside(at, times)
    question = Question(
        name=video.id,
        video=video.id,
        path=video.path if file is None else file,
        at=at,
        clips=clips,
        frames=frames,
        times=times,
        fingerprint=video.fingerprint,
        computed=False,
    )
    return question, _sound(row, question), notes


def _computed(
    store: FeatureStore,
    opened: Opened,
    path: str,
    fingerprint: str,
    at: float | None,
    computing: Computing,
) -> tuple[Question, Rows, list[str]]:
    from featx.extraction.query import query_features

    found = query_features(store, path, opened.manifest.layer, at=at, **vars(computing))
    notes = list(found.notes)
    if at is None:
        row = mean_of(found.rows.sum(axis=0, dtype=np.float64), len(found.rows))
        frames, times = (0, int(found.clip_frames.max())), found.span
    else:
        row = unit(found.rows)[0]
        frames, times = pair_of_ints(found.clip_frames[0]), pair(found.clip_times[0])
        notes += _beside(at, times)
    question = Question(
        name=path,
        video=None,
        path=path,
        at=at,
        clips=len(found.rows),
        frames=frames,
        times=times,
        fingerprint=fingerprint,
        computed=True,
    )
    return question, _sound(row, question), notes


def _beside(at: float, times: tuple[float, float]) -> list[str]:
    """Say that no clip shows the time that was asked for, where none does."""
    if times[0] <= at < times[1]:
        return []
    return [f"no clip shows {clock(at)}: the nearest is {stretch(times)}"]


def _sound(row: Rows, question: Question) -> Rows:
    if not np.isfinite(row).all() or not row.any():
        kind = "all zero" if np.isfinite(row).all() else "not finite"
        raise FeatxError(
            f"the features of {question.name!r} are {kind}: nothing can be said to be like it"
        )
    return row


def pair(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return two numbers of an array as plain ones."""
    return float(values[0]), float(values[1])


def pair_of_ints(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[int, int]:
    """Return two whole numbers of an array as plain ones."""
    return int(values[0]), int(values[1])
