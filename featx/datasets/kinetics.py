"""Kinetics: ten-second clips of 400 and more actions (Kay et al., arXiv:1705.06950)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from featx.datasets._protocol import Missing, Protocol, Side, Sides, Videos, first_there, lines
from featx.datasets._types import Item
from featx.errors import FeatxError

# What the lists and the folders of a side are called, by who distributes them.
_NAMES = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
_PLACES = (".", "annotations", "kinetics*")
_COLUMNS = ("youtube_id", "time_start", "time_end")


class _Row(NamedTuple):
    label: str
    video: str
    clip: str


def read(root: Path, split: int) -> Sides:
    """Read the lists: official csvs, and clips named `<youtube id>_<start, 6 digits>_<end, 6 digits>.mp4`.

    Lists: train, val (or validate) and test.csv, also with a prefix (kinetics-400_val.csv), in the root, in `annotations/`
    or in a folder `kinetics*/`. Clips: below `<subset>/` or `videos/<subset>/` where there is such a folder, else
    below `videos/`, else anywhere below the root; in class folders or not.
    Labels are the classes' names in alphabetical order, over the lists that are there. A video's clips are a group.
    """
    listed = {name: path for name in _NAMES if (path := _find_list(root, name)) is not None}
    rows = {name: list(_rows(path)) for name, path in listed.items()}
    return partial(_side, root, listed, rows)


def _side(
    root: Path, listed: Mapping[str, Path], rows: Mapping[str, Sequence[_Row]], subset: str
) -> Side:
    if subset not in listed:
        raise Missing(f"{subset}.csv")
    if any(not row.label for row in rows[subset]):
        raise FeatxError(
            f"{listed[subset]} has no labels for some of its clips: give another subset, or the list with labels"
        )
    classes = tuple(sorted({row.label for side in rows.values() for row in side if row.label}))
    labels = {name: label for label, name in enumerate(classes)}
    folders = [f"{above}{name}" for above in ("", "videos/") for name in _NAMES[subset]]
    videos = Videos(first_there(root, *folders, "videos", "."))
    items, absent = [], []
    for row in rows[subset]:
        found = videos.find(row.clip)
        if found is None:
            absent.append(f"{row.clip}.mp4")
        else:
            items.append(Item(id=row.clip, path=found, label=labels[row.label], group=row.video))
    return Side(classes=classes, items=tuple(items), absent=tuple(absent))


def _find_list(root: Path, subset: str) -> Path | None:
    name = re.compile(rf"(kinetics[-_]?\d+([-_]\d+)?[-_])?({'|'.join(_NAMES[subset])})\.csv")
    found = [
        path
        for place in _PLACES
        for path in sorted(root.glob(f"{place}/*.csv"))
        if name.fullmatch(path.name)
    ]
    if len(found) > 1:
        raise FeatxError(
            f"{found[0]} and {found[1]} are both a list of the {subset} side: keep one of them below {root}"
        )
    return found[0] if found else None


def _rows(path: Path) -> Iterator[_Row]:
    """Yield label ("" where the list has none) and name of each clip."""
    for number, row in enumerate(csv.DictReader(lines(path)), start=2):
        try:
            video_id, start, end = (row[column] for column in _COLUMNS)
            yield _Row(
                row.get("label") or "",
                video_id,
                f"{video_id}_{int(float(start)):06d}_{int(float(end)):06d}",
            )
        except (KeyError, TypeError, ValueError) as error:
            columns = ", ".join(("label", *_COLUMNS))
            raise FeatxError(
                f"{path}, line {number} is not one of Kinetics' ({columns}, split): get the official list"
            ) from error


PROTOCOL = Protocol(
    name="kinetics",
    source="Kinetics, the official csv files (Kay et al., arXiv:1705.06950)",
    read=read,
    subsets=("train", "val", "test"),
    pair=("train", "val"),
    get="the annotations (train.csv, val.csv) and clips from https://github.com/cvdfoundation/kinetics-dataset, put there as "
    "annotations/*.csv and train/, val/ with clips named <youtube id>_<start>_<end>.mp4",
    generated=True,
)
