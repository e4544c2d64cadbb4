"""Annotations for the videos that are exported, in the form that each detector reads."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from featx.datasets.thumos14 import OFFICIAL_NUMBERS, SUBSETS, read_annotations
from featx.errors import UsageError
from featx.export._timeline import Timeline

Role = Literal["train", "val", "test"]
# What official files call the side that a detector is trained on, tuned or judged on, and not judged on.
_ROLES: dict[str, Role] = {
    "training": "train",
    "train": "train",
    "validation": "val",
    "val": "val",
    "testing": "test",
    "test": "test",
}
# THUMOS'14 has no training side of untrimmed videos: detectors train on its validation side and are judged on the test side.
_WITHOUT_TRAINING: dict[str, Role] = {
    "validation": "train",
    "val": "train",
    "testing": "val",
    "test": "val",
}


@dataclass(frozen=True)
class Segment:
    """An annotated stretch of a video, in seconds. label: -1 is ambiguous."""

    label: int
    start: float
    end: float


@dataclass(frozen=True)
class Annotated:
    """A video that is annotated. subset: as its file calls it; duration: seconds, None where it is not said."""

    subset: str
    role: Role
    duration: float | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Labels:
    """The annotations that were given. classes: by name, in the order of the alphabet."""

    classes: tuple[str, ...]
    videos: dict[str, Annotated]

    @property
    def thumos(self) -> bool:
        """Whether the classes are THUMOS'14's 20."""
        return set(self.classes) == set(OFFICIAL_NUMBERS)

    def of(self, names: Iterable[str]) -> Labels:
        """Return the same videos with the classes alone that some of them have, numbered anew: a loader counts what it finds."""
        found = sorted(
            {s.label for name in names for s in self.videos[name].segments if s.label >= 0}
        )
        numbers = {label: number for number, label in enumerate(found)}
        videos = {
            name: replace(
                v, segments=tuple(replace(s, label=numbers.get(s.label, -1)) for s in v.segments)
            )
            for name, v in self.videos.items()
        }
        return Labels(tuple(self.classes[label] for label in found), videos)

    def subset(self, role: Role) -> str | None:
        """Return what the annotations call the side of a role; None where they have none."""
        return next((v.subset for v in self.videos.values() if v.role == role), None)


def read_labels(paths: Sequence[str | os.PathLike[str]]) -> Labels:
    """Read annotations: folders of THUMOS'14's official files, or JSON files as ActivityNet's; several are joined.

    Raises UsageError where there are none, and for a video in two of them.
    """
    parts = [
        part
        for path in map(Path, paths)
        for part in (_json(path) if path.is_file() else _folder(path))
    ]
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    if differing := next((p for p in parts if set(p.classes) != set(classes)), None):
        missing = ", ".join(sorted(set(classes) - set(differing.classes))[:3])
        raise UsageError(
            f"the annotations {differing.source} lack classes that the others have ({missing}): give files of one dataset"
        )
    subsets = {part.subset.lower() for part in parts}
    roles = _ROLES if subsets & {"training", "train"} else _WITHOUT_TRAINING
    if unknown := sorted(subsets - roles.keys()):
        raise UsageError(
            f"the annotations have the subset {unknown[0]!r}: name subsets training, validation and testing"
        )
    videos: dict[str, Annotated] = {}
    for part in parts:
        places = [classes.index(name) for name in part.classes]
        for name, (duration, segments) in part.videos.items():
            if name in videos:
                raise UsageError(
                    f"{name!r} is annotated twice, by {part.source} too: give each file once"
                )
            mapped = tuple(
                Segment(places[s.label] if s.label >= 0 else -1, s.start, s.end) for s in segments
            )
            videos[name] = Annotated(part.subset, roles[part.subset.lower()], duration, mapped)
    return Labels(classes, videos)


@dataclass(frozen=True)
class _Part:
    source: str
    subset: str
    classes: tuple[str, ...]
    videos: dict[str, tuple[float | None, tuple[Segment, ...]]]


def _part(path: Path, subset: str | None, called: str, names: Sequence[str] | None = None) -> _Part:
    found = read_annotations(path, subset=subset)
    segments: dict[str, list[Segment]] = {
        name: [] for name in (found.videos if names is None else names)
    }
    for i in (*found.instances, *found.ambiguous):
        if i.video in segments:
            segments[i.video].append(Segment(i.label, i.start, i.end))
    videos = {n: (found.durations.get(n), tuple(s)) for n, s in segments.items()}
    return _Part(os.fspath(path), called, found.classes, videos)


def _folder(path: Path) -> list[_Part]:
    if not path.is_dir():
        raise UsageError(
            f"no annotations in {path}: give a folder of <Class>_test.txt, or a JSON file as ActivityNet's"
        )
    sides = [side for side in SUBSETS if any(path.glob(f"*_{side}.txt"))]
    if not sides:
        return [_part(path, None, "")]  # which says what is missing
    return [_part(path, side, {"val": "Validation", "test": "Test"}[side]) for side in sides]


def _json(path: Path) -> list[_Part]:
    whole = _part(path, None, "")  # which checks it
    database: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["database"]
    subsets = {name: str(video.get("subset", "")) for name, video in database.items()}
    return [
        _Part(
            whole.source,
            subset,
            whole.classes,
            {n: v for n, v in whole.videos.items() if subsets[n] == subset},
        )
        for subset in sorted(set(subsets.values()))
    ]


def database(
    labels: Labels,
    videos: Sequence[tuple[str, Timeline, Annotated]],
    *,
    called: Literal["as given", "by role"],
) -> bytes:
    """Return ActivityNet's JSON, as ActionFormer and OpenTAD read it, for (name, video, annotation) each.

    `fps` and `frame` agree with the features' stride, and frame / duration is fps; ambiguous stretches are left out.
    called: what subsets are called.
    """
    names = {"train": "training", "val": "validation", "test": "testing"}
    rows = {
        name: {
            "subset": annotated.subset if called == "as given" else names[annotated.role],
            **dict(zip(("duration", "fps", "frame"), _video(video), strict=True)),
            "annotations": [
                {"label": labels.classes[s.label], "segment": [s.start, s.end], "label_id": s.label}
                for s in annotated.segments
                if s.label >= 0
            ],
        }
        for name, video, annotated in videos
    }
    return json.dumps(
        {"version": "featx export", "taxonomy": [], "database": rows}, indent=1
    ).encode()


# MMAction2 takes a detection's place from duration_frame // 16 * 16 again, whatever feature_frame says.
WHOLE = 16


def covered(frames: int) -> int:
    """Return how many of a video's frames MMAction2 spreads its features over."""
    return frames // WHOLE * WHOLE


def mmaction(
    labels: Labels, videos: Sequence[tuple[str, Timeline, Annotated]], role: Role
) -> bytes:
    """Return MMAction2's JSON for the videos of a role; ambiguous stretches, and videos of under 16 frames, are left out."""
    rows = {
        name: {
            "duration_second": video.duration,
            "duration_frame": video.source_frames,
            "annotations": [
                {"segment": [s.start, s.end], "label": labels.classes[s.label]}
                for s in annotated.segments
                if s.label >= 0
            ],
            "feature_frame": covered(video.source_frames),
            "fps": round(video.source_fps, 9),
            "rfps": round(video.source_fps, 9),
        }
        for name, video, annotated in videos
        if annotated.role == role and covered(video.source_frames)
    }
    return json.dumps(rows, indent=1).encode()


def gtad_annotations(labels: Labels, videos: Sequence[tuple[str, Timeline, Annotated]]) -> bytes:
    """Return G-TAD's `val_Annotation.csv` or `test_Annotation.csv`: a row a stretch, ambiguous ones of type 0."""
    rows = [
        (
            name,
            *_type(labels, s),
            s.start,
            s.end,
            round(s.start * video.fps),
            round(s.end * video.fps),
        )
        for name, video, annotated in videos
        for s in annotated.segments
    ]
    return _csv([("video", "type", "type_idx", "start", "end", "startFrame", "endFrame"), *rows])


def gtad_groundtruth(videos: Sequence[tuple[str, Timeline, Annotated]]) -> bytes:
    """Return G-TAD's `thumos14_test_groundtruth.csv`, from which it turns frames into seconds."""
    header = (
        "video-name",
        "t-init",
        "t-end",
        "f-init",
        "f-end",
        "video-duration",
        "frame-rate",
        "video-frames",
        "label-idx",
    )
    rows = [
        (name, s.start, s.end, round(s.start * v.fps), round(s.end * v.fps), *_video(v), s.label)
        for name, v, annotated in videos
        for s in annotated.segments
    ]
    return _csv([header, *rows])


def _video(video: Timeline) -> tuple[float, float, int]:
    return round(video.frames / video.fps, 9), round(video.fps, 9), video.frames


def _type(labels: Labels, segment: Segment) -> tuple[str, int]:
    if segment.label < 0:
        return "Ambiguous", 0
    name = labels.classes[segment.label]
    official = set(labels.classes) <= set(OFFICIAL_NUMBERS)
    return name, OFFICIAL_NUMBERS[name] if official else segment.label + 1


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
