"""A dataset of the user's own: a folder of class folders, or a csv file."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from featx.datasets._protocol import Protocol, Side, lines
from featx.datasets._types import Item
from featx.errors import FeatxError, UsageError
from featx.system.csv_cells import cell_text
from featx.video.source import find_videos

# As in UCF101's names: what was cut from one video stays on one side.
_GROUP = re.compile(r"_(g\d+)_")
_SIDES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "validate": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class _Labelled:
    """An item before classes have numbers; side: "train", "val" or "test", None where nothing says so."""

    item: Item
    class_name: str
    side: str | None


def own_data(path: Path, holdout: float) -> Protocol:
    """Return how a folder or csv of the user's own is divided; everything is read here.

    Folder: `train/<class>/...` with `val/` or `test/` beside it, or `<class>/...` alone. Csv, with a header: path (relative to
    the csv), label, and where there are such columns split (train, val or test), start and end (seconds), group.
    holdout: where nothing says what is the test side, the share of each class's groups, the last ones by name, that is.
    Cells that `featx.system.csv_cells` marked as texts are read as what they were.
    A group is the csv's, or what `_g01_` in a file's name says, or the file alone.
    """
    labelled = _table(path) if path.is_file() else _folder(path)
    classes = tuple(sorted({each.class_name for each in labelled}))
    if len(classes) < 2:
        raise UsageError(
            f"{path} has videos of one class only, {classes[0]!r}: give a folder with a folder for each class, or, for an "
            f"official dataset, its name and `root={str(path)!r}`"
        )
    notes: list[str] = []
    own = "own data"
    if all(each.side is None for each in labelled):
        labelled = _held_out(labelled, holdout, path)
        own += f", {holdout:.0%} held out"
        count = sum(each.side == "test" for each in labelled)
        notes.append(
            f"{path} has no test side: the last {holdout:.0%} of each class's groups, {count} videos, are"
        )
    sides = tuple(
        name for name in ("train", "val", "test") if any(each.side == name for each in labelled)
    )
    if sides[0] != "train" or len(sides) < 2:
        raise UsageError(
            f"{path} has {sides[0]} videos only: give it a train side and a val or test side"
        )
    pair = ("train", "test" if "test" in sides else "val")
    for name in pair:
        lone = sorted(set(classes) - {each.class_name for each in labelled if each.side == name})
        if lone:
            notes.append(
                f"{len(lone)} of {len(classes)} classes have no {name} video: {', '.join(lone[:5])}"
            )
    numbers = {name: label for label, name in enumerate(classes)}

    def side(subset: str) -> Side:
        listed = [
            replace(each.item, label=numbers[each.class_name])
            for each in labelled
            if each.side == subset
        ]
        there = _there(item.path for item in listed)
        return Side(
            classes=classes,
            items=tuple(item for item in listed if item.path in there),
            absent=tuple(item.path for item in listed if item.path not in there),
            notes=tuple(notes),
        )

    return Protocol(
        name=path.stem or str(path),
        source=str(path),
        read=lambda root, split: side,
        subsets=sides,
        pair=pair,
        own=own,
    )


def _folder(path: Path) -> list[_Labelled]:
    """Return a folder's videos; files that are none, by their suffix, are left out, and so are videos beside class folders."""
    sides = [name for name in ("train", "val", "test") if (path / name).is_dir()]
    divided = "train" in sides and len(sides) > 1
    labelled = []
    for side, folder in [(name, path / name) for name in sides] if divided else [(None, path)]:
        for place in sorted(
            entry.path
            for entry in os.scandir(folder)
            if entry.is_dir() and not entry.name.startswith(".")
        ):
            # Raises where a class has no video: an empty folder is a mistake, not a class.
            for source in find_videos(place, root=str(path)).sources:
                group = _GROUP.search(os.path.basename(source.id))
                item = Item(
                    id=source.id, path=source.path, label=-1, group=group[1] if group else None
                )
                labelled.append(_Labelled(item, os.path.basename(place), side))
    if not labelled:
        raise UsageError(
            f"{path} has no folders with videos: give a folder with a folder for each class, or a csv"
        )
    return labelled


def _table(path: Path) -> list[_Labelled]:
    reader = csv.DictReader(lines(path))
    if not {"path", "label"} <= set(reader.fieldnames or ()):
        raise UsageError(
            f"{path} has the columns {', '.join(reader.fieldnames or ['none'])}: its first line has to name path and label"
        )
    labelled = []
    times_listed: dict[str, int] = defaultdict(int)
    for number, row in enumerate(reader, start=2):
        where = f"{path}, line {number}"
        values = {
            key: cell_text((row.get(key) or "").strip())
            for key in ("path", "label", "split", "start", "end", "group")
        }
        if not values["path"] or not values["label"]:
            raise FeatxError(f"{where} lacks its path or its label: fill it in")
        side = _SIDES.get(values["split"].lower())
        if side is None and "split" in (reader.fieldnames or ()):
            raise FeatxError(f"{where} has the split {values['split']!r}: give train, val or test")
        start, end = (_seconds(values[key], f"{where}, {key}") for key in ("start", "end"))
        if (start or 0.0) >= (math.inf if end is None else end):
            raise FeatxError(
                f"{where} ends at {end} s, not after its start at {start or 0.0} s: put it right"
            )
        name = os.path.splitext(values["path"])[0]
        times_listed[name] += 1
        item = Item(
            id=name if times_listed[name] == 1 else f"{name}#{times_listed[name]}",
            path=os.path.join(path.parent, values["path"]),
            label=-1,
            group=values["group"]
            or (match[1] if (match := _GROUP.search(os.path.basename(name))) else None),
            start=start,
            end=end,
        )
        labelled.append(_Labelled(item, values["label"], side))
    if not labelled:
        raise UsageError(f"{path} has no lines below its header: give one a video")
    return labelled


def _seconds(text: str, where: str) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise FeatxError(f"{where} is {text!r}: give seconds, or nothing")
    return seconds


def _held_out(labelled: Sequence[_Labelled], holdout: float, path: Path) -> list[_Labelled]:
    """Give each class's last groups by name, as many as `holdout` says and at least one, to the test side."""
    if not 0 < holdout < 1:
        raise UsageError(f"holdout is {holdout}: give a share between 0 and 1")
    groups: dict[str, set[str]] = defaultdict(set)
    for each in labelled:
        groups[each.class_name].add(_group_of(each))
    held: set[tuple[str, str]] = set()
    for name, of_class in groups.items():
        if len(of_class) < 2:
            raise UsageError(
                f"class {name!r} in {path} has one video or group: a test side takes two, so add one, or leave the class out"
            )
        count = min(max(1, round(holdout * len(of_class))), len(of_class) - 1)
        held |= {(name, group) for group in sorted(of_class)[-count:]}
    return [
        replace(each, side="test" if (each.class_name, _group_of(each)) in held else "train")
        for each in labelled
    ]


def _group_of(each: _Labelled) -> str:
    return each.item.group or each.item.path


def _there(paths: Iterable[str]) -> set[str]:
    """Return the paths that exist, from listing each of their folders once."""
    wanted = set(paths)
    found = set()
    for folder in {os.path.dirname(path) for path in wanted}:
        with suppress(FileNotFoundError, NotADirectoryError):
            found |= {os.path.join(folder, name) for name in os.listdir(folder)}
    return wanted & found
