"""THUMOS'14 for temporal localization: annotated untrimmed videos, and trimmed training clips (Jiang et al., 2014).

UCF-101/<Class>/*.avi                             trimmed training videos: UCF101's, of the annotated classes
validation/, TH14_test_set_mp4/ or any other      untrimmed videos, found by their names
annotation_val/, annotation_test/                 `read_annotations`' files
val_video_info.csv, test_video_info.csv           rates and numbers of frames
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from featx.datasets import data_folder
from featx.datasets._protocol import GENERATED, Missing, Videos, first_there, lines
from featx.datasets._types import Item
from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError

NAME = "thumos14"
SOURCE = "THUMOS'14 temporal action localization (Jiang et al., 2014)"
GET = (
    "from https://www.crcv.ucf.edu/THUMOS14/download.html the validation and test videos, unpacked there to validation/ and"
    " TH14_test_set_mp4/, the files of their temporal annotations to annotation_val/ and annotation_test/, and UCF101 to UCF-101/"
)
Subset = Literal["val", "test"]
SUBSETS: tuple[Subset, ...] = ("val", "test")
AMBIGUOUS = "Ambiguous"
# The 20 classes' numbers among UCF101's 101, which the official lists call them by.
OFFICIAL_NUMBERS = {
    "BaseballPitch": 7, "BasketballDunk": 9, "Billiards": 12, "CleanAndJerk": 21, "CliffDiving": 22, "CricketBowling": 23,
    "CricketShot": 24, "Diving": 26, "FrisbeeCatch": 31, "GolfSwing": 33, "HammerThrow": 36, "HighJump": 40,
    "JavelinThrow": 45, "LongJump": 51, "PoleVault": 68, "Shotput": 79, "SoccerPenalty": 85, "TennisSwing": 92,
    "ThrowDiscus": 93, "VolleyballSpiking": 97,
}  # fmt: skip
_FILE = re.compile(r"(?P<name>.+)_(?P<side>val|test)\.txt", re.IGNORECASE)
_VIDEOS = {"val": ("validation",), "test": ("TH14_test_set_mp4", "TH14_Test_set_mp4", "test")}
_TRIMMED = "UCF-101"


def folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return where the dataset lies: `root`, by default thumos14 in `data_folder()`; UsageError where it is not there."""
    base = data_folder() / NAME if root is None else Path(root)
    if not base.is_dir():
        raise UsageError(f"{NAME} is not in {base} (no such folder): get {GET}; {_small()}")
    return base


def is_generated(root: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `featx synth` has written the dataset."""
    return (folder(root) / GENERATED).exists()


def load_annotations(subset: Subset, *, root: str | os.PathLike[str] | None = None) -> Annotations:
    """Return a side's annotations, from the dataset's own folder; UsageError where they are not there."""
    base = folder(root)
    try:
        return read_annotations(first_there(base, f"annotation_{subset}"), subset=subset)
    except Missing as missing:
        raise UsageError(
            f"{NAME}'s {subset} annotations are not in {base} (no {missing}): get {GET}; {_small()}"
        ) from missing


def untrimmed_videos(
    wanted: Iterable[str], subset: Subset, *, root: str | os.PathLike[str] | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the paths of a side's videos by name, in the order wanted, and the names of those that are not there."""
    base = folder(root)
    there = [base / name for name in _VIDEOS[subset] if (base / name).is_dir()]
    # A file system that ignores case has the same folder under two of the names.
    videos = [Videos(place) for place in {os.path.realpath(p): p for p in there}.values()]
    wanted = tuple(wanted)
    found = {name: path for name in wanted if (path := _first(videos, name)) is not None}
    if len(found) < len(wanted):
        # Anywhere else below the root: UCF101's thousands of trimmed videos are only looked through where some are missing.
        videos = [Videos(base)]
        found = {
            name: path
            for name in wanted
            if (path := found.get(name) or _first(videos, name)) is not None
        }
    return found, tuple(name for name in wanted if name not in found)


def _first(videos: Iterable[Videos], name: str) -> str | None:
    return next((path for each in videos if (path := each.find(name)) is not None), None)


def trimmed_videos(
    classes: tuple[str, ...], *, root: str | os.PathLike[str] | None = None
) -> tuple[Item, ...]:
    """Return the trimmed training videos of the classes, each of one action from end to end, by class and name.

    UsageError where the folder, or a class in it, is not there.
    """
    base = folder(root)
    if not (base / _TRIMMED).is_dir():
        raise UsageError(
            f"{NAME}'s trimmed training videos are not in {base} (no {_TRIMMED}): get {GET}; {_small()}"
        )
    items = list[Item]()
    for label, name in enumerate(classes):
        place = base / _TRIMMED / name
        if not place.is_dir():
            raise UsageError(
                f"{base / _TRIMMED} has no folder {name}: get UCF101's videos of that class"
            )
        videos = Videos(place)
        paths = {
            stem: path for stem in sorted(videos.stems) if (path := videos.find(stem)) is not None
        }
        items += [
            Item(id=s, path=p, label=label, group=s.rpartition("_c")[0] or None)
            for s, p in paths.items()
        ]
    return tuple(items)


def read_annotations(path: str | os.PathLike[str], *, subset: str | None = None) -> Annotations:
    """Read ground truth: a folder of the official `<Class>_val.txt` or `<Class>_test.txt`, or ActivityNet's JSON.

    A file has "<video> <start> <end>" in seconds a line; `Ambiguous_*.txt` is of no class. The classes are in the order of
    their numbers in detclasslist.txt where it is there, else of the alphabet. Numbers are that list's unless it counts from 1,
    else those of "Class Index_Detection.txt", in the folder or beside it, else the official ones. Durations come from
    `<side>_video_info.csv` there.
    subset: "val" or "test" of a folder that has both; a subset of the JSON, such as "validation"; None or "all" takes all of it.

    Raises UsageError where nothing of the kind is there, FeatxError with the line for what is damaged.
    """
    place = Path(path)
    if place.is_file():
        return _read_json(place, subset)
    if not place.is_dir():
        raise UsageError(
            f"no annotations in {place}: give a folder of <Class>_test.txt, or a JSON file as ActivityNet's"
        )
    files = {
        m: m["side"].lower()
        for p in sorted(place.iterdir())
        if (m := _FILE.fullmatch(p.name)) is not None
    }
    sides = sorted(set(files.values()))
    if subset is not None:
        wanted = {"validation": "val"}.get(subset.lower(), subset.lower())
        sides = [side for side in sides if side == wanted]
    if len(sides) != 1:
        has = (
            f"files of both {' and '.join(sides)}"
            if sides
            else f"no <Class>_{subset or 'test'}.txt"
        )
        raise UsageError(f"{place} has {has}: give the folder of one side's annotations")
    side = sides[0]
    found = {m["name"]: place / m.string for m, of in files.items() if of == side}
    ambiguous = found.pop(AMBIGUOUS, None)
    if not found:
        raise UsageError(
            f"{place} has no <Class>_{side}.txt: give the folder of one side's annotations"
        )
    classes, listed = _ordered(tuple(found), place)
    instances = [
        _instance(row, found[name], n, label)
        for label, name in enumerate(classes)
        for n, row in _rows(found[name])
    ]
    none = (
        [_instance(row, ambiguous, n, -1) for n, row in _rows(ambiguous)]
        if ambiguous is not None
        else []
    )
    return Annotations(
        name=f"{place.name} ({side})",
        classes=classes,
        numbers=listed or _numbers(classes, place),
        instances=tuple(instances),
        ambiguous=tuple(none),
        videos=tuple(sorted({i.video for i in (*instances, *none)})),
        durations=_durations(place, side),
        source=os.fspath(place),
    )


def _rows(path: Path) -> list[tuple[int, str]]:
    return list(enumerate(lines(path), start=1))


def _instance(row: str, path: Path, number: int, label: int) -> Instance:
    try:
        video, *seconds = row.split()
        start, end = (float(second) for second in seconds)
    except ValueError:
        start = end = math.nan
    if not 0 <= start < end < math.inf:
        raise FeatxError(
            f"{path}, line {number}: {row!r} is not a video, a start and a later end in seconds: mend it"
        )
    return Instance(video, label, start, end)


def _ordered(names: tuple[str, ...], place: Path) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Return the classes in their order, and their numbers where detclasslist.txt has others than 1, 2, 3 …

    The list is of "<number> <class>" a line, in any order: the toolkit goes by the numbers.
    """
    listed = place / "detclasslist.txt"
    if not listed.exists():
        return tuple(sorted(names)), None
    rows = [row.split() for row in lines(listed)]
    order = [row[-1] for row in rows]
    if sorted(order) != sorted(names):
        differing = sorted(set(order) ^ set(names)) or [
            name for name in names if order.count(name) > 1
        ]
        raise FeatxError(
            f"{listed} and the files beside it do not have the same classes ({', '.join(differing[:3])}): get them again"
        )
    if not all(len(row) == 2 and row[0].isdecimal() for row in rows):
        return tuple(order), None
    numbers = [int(row[0]) for row in rows]
    if len(set(numbers)) < len(numbers):
        raise FeatxError(f"{listed} has the same number for several classes: get it again")
    ordered = sorted(zip(numbers, order, strict=True))
    counted = [number for number, _ in ordered] == list(range(1, len(ordered) + 1))
    return tuple(name for _, name in ordered), None if counted else tuple(
        number for number, _ in ordered
    )


def _numbers(classes: tuple[str, ...], place: Path) -> tuple[int, ...] | None:
    name = "Class Index_Detection.txt"
    for path in (place / name, place.parent / name):
        if path.exists():
            rows = [row.split() for row in lines(path)]
            numbers = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
            if all(c in numbers for c in classes):
                return tuple(numbers[c] for c in classes)
    return (
        tuple(OFFICIAL_NUMBERS[c] for c in classes)
        if set(classes) <= set(OFFICIAL_NUMBERS)
        else None
    )


def _durations(place: Path, side: str) -> dict[str, float]:
    """Return the videos' durations in seconds, where a csv beside the annotations has rate and number of frames."""
    name = f"{side}_video_info.csv"
    path = next((p for p in (place / name, place.parent / name) if p.exists()), None)
    if path is None:
        return {}
    found = {}
    try:
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))):
            found[row["video"]] = float(row["count"]) / float(row["fps"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise FeatxError(
            f"{path} has not the columns video, fps and count, or no number there ({error!r}): get it again"
        ) from error
    return found


def _read_json(path: Path, subset: str | None) -> Annotations:
    """Read `{"database": {video: {"subset", "duration", "annotations": [{"label", "segment": [start, end]}]}}}`."""
    try:
        database: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["database"]
        there = sorted({str(v.get("subset", "")) for v in database.values()})
        if subset is not None and subset.lower() == "all" not in map(str.lower, there):
            subset = None
        taken = {
            n: v
            for n, v in database.items()
            if subset is None or str(v.get("subset", "")).lower() == subset.lower()
        }
        rows = [
            (name, str(a["label"]), float(a["segment"][0]), float(a["segment"][1]))
            for name, video in taken.items()
            for a in video.get("annotations", ())
        ]
        durations = {
            name: float(v["duration"]) for name, v in taken.items() if v.get("duration") is not None
        }
        names = {str(a["label"]) for v in database.values() for a in v.get("annotations", ())} - {
            AMBIGUOUS
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FeatxError(
            f"{path} is no annotation file as ActivityNet's ({error!r}): give one, or a folder of <Class>_test.txt"
        ) from error
    if not rows:
        of = f" of subset {subset!r}" if subset is not None else ""
        raise UsageError(f"{path} has no annotations{of}: it has the subsets {', '.join(there)}")
    classes = tuple(sorted(names))
    places = {name: label for label, name in enumerate(classes)}
    for video, _, start, end in rows:
        # ActivityNet 1.3 has instances from 0 to 0 s, which its code counts and nothing finds (activitynet/ActivityNet#56).
        if not 0 <= start <= end < math.inf:
            raise FeatxError(f"{path}: {video} has a segment from {start:g} to {end:g} s: mend it")
    found = [Instance(video, places.get(name, -1), start, end) for video, name, start, end in rows]
    return Annotations(
        name=path.name if subset is None else f"{path.name} ({subset})",
        classes=classes,
        numbers=tuple(OFFICIAL_NUMBERS[c] for c in classes)
        if set(classes) <= set(OFFICIAL_NUMBERS)
        else None,
        instances=tuple(i for i in found if i.label >= 0),
        ambiguous=tuple(i for i in found if i.label < 0),
        videos=tuple(sorted(taken)),
        durations=durations,
        source=os.fspath(path),
        subsets=tuple(
            sorted({str(v.get("subset", "")) for v in taken.values() if v.get("annotations")})
        ),
    )


def _small() -> str:
    return f"`featx synth --dataset {NAME} DIR` writes a small generated one to DIR/{NAME}"
