"""Anybody's file of detections: evaluated by both protocols, and drawn."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.datasets import Videos
from featx.datasets.thumos14 import OFFICIAL_NUMBERS, read_annotations
from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError, nearest
from featx.report.page import check_page
from featx.report.picture import check_picture
from featx.system.files import keep_inputs
from featx.tasks.localization._evaluate import (
    PROTOCOLS,
    TIOUS,
    check_request,
    counted,
    evaluate,
)
from featx.tasks.localization._formats import ClassIds, Kind, kind_of, read_detections
from featx.tasks.localization._matlab import read_scnn_windows
from featx.tasks.localization._page import at_tiou, write_page
from featx.tasks.localization._postprocessing import (
    Prior,
    as_written,
    detections_of,
    overlap_for,
    read_prior,
    scnn_prior,
)
from featx.tasks.localization._protocols import Names
from featx.tasks.localization._timeline import MOST_DETECTIONS, NO_VIDEO, plot_timeline
from featx.tasks.localization._types import Detections, Evaluation
from featx.tasks.results import number_of, shown

# Draws of a 95 % interval: its ends move by about a twentieth of its width from seed to seed.
DRAWS = 1000
_FORMATS: dict[Kind, str] = {
    "text": "the official text format",
    "json": "ActivityNet's JSON",
    "table": "a table",
    "scnn": "the S-CNN authors' windows",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FileEvaluation:
    """A file of detections by both protocols. about: sentences about what was evaluated; settings: what was asked for."""

    source: str
    format: str
    annotations: Annotations
    videos_from: str
    evaluations: tuple[Evaluation, ...]
    about: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return shown("FileEvaluation", repr(self.source), self.format, parts=self.evaluations)


def evaluate_file(
    path: str | os.PathLike[str],
    *,
    annotations: str | os.PathLike[str],
    subset: str | None = None,
    tious: Sequence[float] = TIOUS,
    videos: str | os.PathLike[str] | None = None,
    annotated_only: bool = False,
    class_ids: ClassIds | None = None,
    prior: str | os.PathLike[str] | None = None,
    prior_annotations: str | os.PathLike[str] | None = None,
    rounded: bool | None = None,
    bootstrap: int = DRAWS,
    seed: int = 0,
) -> FileEvaluation:
    """Evaluate detections in text, JSON or a table, or the S-CNN authors' windows, against annotations by both protocols.

    videos: a file with a video's name a line, that it is computed over; all that were annotated.
    prior, prior_annotations: of windows alone, a file of weights, or annotations that they are counted on; annotation_val beside
    the annotations. rounded: times and scores as the S-CNN authors wrote them; None does so for their windows alone.
    """
    check_request(tious, bootstrap)
    kind = kind_of(path)
    truth = read_annotations(annotations, subset=subset)
    if subset is None and len(truth.subsets) > 1:
        raise UsageError(
            f"{os.fspath(annotations)} has the subsets {', '.join(truth.subsets)}: name the one that was searched with `subset`,"
            " or all with `subset='all'`"
        )
    found, about = _detections(
        path, kind, truth, annotations, class_ids, prior, prior_annotations, rounded
    )
    if kind in ("text", "scnn") and set(truth.classes) < set(OFFICIAL_NUMBERS):
        first, last = truth.classes[0], f"{len(truth.classes)} {truth.classes[-1]}"
        about = (
            *about,
            f"of THUMOS'14's classes, the annotations have {len(truth.classes)}: counted ids go from 1 {first} to {last}",
        )
    listed = None if videos is None else read_videos(videos)
    evaluations = tuple(
        evaluate(
            found,
            truth,
            tious=tious,
            protocol=protocol,
            videos=listed,
            annotated_only=annotated_only,
            bootstrap=bootstrap,
            seed=seed,
        )
        for protocol in PROTOCOLS
    )
    return FileEvaluation(
        source=os.fspath(path),
        format=_FORMATS[kind],
        annotations=truth,
        videos_from="all that were annotated"
        if videos is None
        else f"listed in {os.fspath(videos)}",
        evaluations=evaluations,
        about=about,
        settings={
            "tious": list(tious),
            "bootstrap": bootstrap,
            "seed": seed,
            "subset": subset,
            "annotated_only": annotated_only,
        },
    )


def read_videos(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a list of videos, a name a line, with or without a video file's suffix."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the list of videos {os.fspath(path)} ({error}): give a text with a name a line"
        ) from error
    return tuple(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))


def _detections(
    path: str | os.PathLike[str],
    kind: Kind,
    truth: Annotations,
    annotations: str | os.PathLike[str],
    class_ids: ClassIds | None,
    prior: str | os.PathLike[str] | None,
    prior_annotations: str | os.PathLike[str] | None,
    rounded: bool | None,
) -> tuple[Detections | Callable[[float], Detections], tuple[str, ...]]:
    as_published = (
        "times rounded to 0.1 s and scores to five digits, as the S-CNN authors wrote theirs"
    )
    if kind != "scnn":
        if prior is not None or prior_annotations is not None:
            raise UsageError(
                f"a prior weighs windows, and {os.fspath(path)} has detections: leave `prior` out"
            )
        found = read_detections(path, truth, class_ids=class_ids)
        about = [
            f"{counted(len(found), 'detection')} of {counted(len(set(found.video.tolist())), 'video')}"
        ]
        if moments := int((found.start == found.end).sum()):
            about.append(
                f"{counted(moments, 'detection')} without duration among them, which nothing matches"
            )
        return (as_written(found), (*about, as_published)) if rounded else (found, tuple(about))
    if class_ids is not None:
        raise UsageError(
            f"class ids are the text format's, and {os.fspath(path)} has windows: leave `class_ids` out"
        )
    windows = read_scnn_windows(path, truth)
    weights = _prior(truth, annotations, prior, prior_annotations)
    rounded = rounded is not False
    about = [
        f"{counted(len(windows), 'window')} of {counted(len(windows.videos), 'video')} with a class, weighted by the prior"
        f" {weights.source}; suppressed at the evaluation's tIoU less 0.1, 0 at least",
        as_published if rounded else "times and scores not rounded, other than the S-CNN authors'",
    ]

    @functools.cache
    def at(tiou: float) -> Detections:
        return detections_of(windows, weights, overlap=overlap_for(tiou), rounded=rounded)

    return at, tuple(about)


def _prior(
    truth: Annotations,
    annotations: str | os.PathLike[str],
    prior: str | os.PathLike[str] | None,
    prior_annotations: str | os.PathLike[str] | None,
) -> Prior:
    if prior is not None:
        if prior_annotations is not None:
            raise UsageError("`prior` and `prior_annotations` are two priors: give one of them")
        return read_prior(prior, truth.classes)
    place = (
        Path(prior_annotations)
        if prior_annotations is not None
        else Path(annotations).resolve().parent / "annotation_val"
    )
    if not place.exists():
        raise UsageError(
            f"the windows' prior is counted on validation annotations, and there are none in {place}:"
            " give their folder with `prior_annotations`, or the prior with `prior`"
        )
    counted_on = read_annotations(place, subset="validation" if place.is_file() else None)
    if place.is_file() and (both := sorted(set(counted_on.videos) & set(truth.videos))):
        raise UsageError(  # such a file may call THUMOS'14's validation videos training, and its test videos validation
            f"the validation subset of {place} has {both[0]}, which is evaluated: give the folder annotation_val with"
            " `prior_annotations`, or the prior with `prior`"
        )
    if missing := [name for name in truth.classes if name not in counted_on.classes]:
        raise FeatxError(
            f"{place} has no class {missing[0]}: give validation annotations of the same classes"
        )
    return scnn_prior(counted_on)


# ---------------------------------------------------------------- drawn: a page, and a time line


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

    def __repr__(self) -> str:
        videos = f"{len(self.videos):,} of {number_of(self.of, 'video')}"
        return shown("Shown", ", ".join(self.written), videos, notes=(*self.notes, *self.unread))


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
            "nothing to draw: give `html='PAGE'`, or `timeline='PICTURE'` with `video='NAME'`"
        )
    if (timeline is None) != (video is None):
        raise UsageError(
            "a time line is one video's: give both `timeline='PICTURE'` and `video='NAME'`"
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
