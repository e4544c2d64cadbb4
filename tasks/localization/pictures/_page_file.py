"""A file of detections as pictures: a page of its evaluation, and one video's time line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.datasets._protocol import Videos
from featx.datasets.thumos14 import read_annotations
from featx.errors import UsageError, nearest
from featx.report.page import check_page
from featx.report.picture import check_picture
from featx.system.files import keep_inputs
from featx.tasks.localization.evaluation._evaluate import TIOUS
from featx.tasks.localization.evaluation._evaluate_file import evaluate_file
from featx.tasks.localization.evaluation._truth import Names
from featx.tasks.localization.pictures._page import at_tiou, write_page
from featx.tasks.localization.pictures._timeline import NO_VIDEO, plot_timeline
from featx.tasks.localization.pictures._timeline_rows import MOST_DETECTIONS


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was drawn. written: files. videos: files by name that were at hand; absent: how many of `of` videos were not.

    unread: a sentence for each video that is at hand and cannot be read. notes: what a reader should know, such as left-out rows.
    """

    written: tuple[str, ...]
    videos: dict[str, str]
    of: int
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def absent(self) -> int:
        return self.of - len(self.videos)


def show_file(
    path: str | os.PathLike[str],
    *,
    annotations: str | os.PathLike[str],
    subset: str | None = None,
    videos: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
    timeline: str | os.PathLike[str] | None = None,
    video: str | None = None,
    tiou: float = 0.5,
    top: int = MOST_DETECTIONS,
    bootstrap: int = 0,
    on_progress: Callable[[int, int | None], None] = lambda done, of: None,
    **reading: Any,
) -> Shown:
    """Evaluate a file of detections by both protocols and draw a page, a video's time line, or both.

    videos: a folder of the videos' files, anywhere below it, for frames. video: the time line's, with its `top` highest
    detections. reading: as for `evaluate_file`.
    """
    _check(html, timeline, video, videos, [path, annotations])
    name = (
        None
        if video is None
        else _named(video, read_annotations(annotations, subset=subset).videos)
    )
    tious = sorted({*TIOUS, tiou}) if html is not None else [tiou]
    found = evaluate_file(
        path, annotations=annotations, subset=subset, tious=tious, bootstrap=bootstrap, **reading
    )
    names = found.annotations.videos if html is not None else [name] if name is not None else []
    there = {} if videos is None else find_videos(videos, names)
    for target in (html, timeline):
        if target is not None:
            keep_inputs(target, list(there.values()))
    unread, notes, written = list[str](), list[str](), list[str]()
    if timeline is not None and name is not None:
        at = at_tiou(found.evaluations[0], tiou)
        notes += plot_timeline(
            at.detections,
            found.annotations,
            name,
            timeline,
            path=there.get(name),
            tiou=tiou,
            matched=at.matched,
            top=top,
        )
        notes = [note for note in notes if note != NO_VIDEO]  # `absent` tells it
        written.append(os.fspath(timeline))
    if html is not None:
        unread += write_page(
            found.evaluations,
            html,
            annotations=found.annotations,
            videos=there,
            title=Path(path).name,
            tiou=tiou,
            about=found.about,
            on_progress=on_progress,
        )
        written.append(os.fspath(html))
    return Shown(
        written=tuple(written),
        videos=there,
        of=len(names),
        unread=tuple(unread),
        notes=tuple(notes),
    )


def find_videos(folder: str | os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """Return the files below a folder of the videos so named, with or without a suffix or ActivityNet's v_ before it."""
    if not Path(folder).is_dir():
        raise UsageError(f"{os.fspath(folder)} is no folder: give the one that the videos lie in")
    files = Videos(Path(folder))
    known = Names(files.stems)
    found = {}
    for name in names:
        stem = known.find(name) or known.find(f"v_{name}")
        if stem is not None and (file := files.find(stem)) is not None:
            found[name] = file
    return found


def _named(video: str, known: tuple[str, ...]) -> str:
    name = Names(known).find(video)
    if name is None:
        raise UsageError(f"the annotations have no video {video!r}{nearest(video, known)}")
    return name


def _check(
    html: str | os.PathLike[str] | None,
    timeline: str | os.PathLike[str] | None,
    video: str | None,
    videos: str | os.PathLike[str] | None,
    inputs: list[str | os.PathLike[str]],
) -> None:
    """Raise UsageError for what cannot be drawn, before any work is done."""
    if html is None and timeline is None:
        raise UsageError(
            "nothing to draw: give --html PAGE, or --timeline PICTURE with --video NAME"
        )
    if (timeline is None) != (video is None):
        raise UsageError(
            "a time line is one video's: give both --timeline PICTURE and --video NAME"
        )
    if videos is not None and not Path(videos).is_dir():
        raise UsageError(f"{os.fspath(videos)} is no folder: give the one that the videos lie in")
    if html is not None:
        check_page(html)
    if timeline is not None:
        check_picture(timeline)
    for target in (html, timeline):
        if target is not None:
            keep_inputs(target, inputs)
