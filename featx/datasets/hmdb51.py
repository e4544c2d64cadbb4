"""HMDB51: 6,766 clips of 51 actions in three splits of 70 and 30 a class (Kuehne et al., ICCV 2011)."""

from __future__ import annotations

from pathlib import Path

from featx.datasets._protocol import (
    Protocol,
    Sides,
    Videos,
    check_groups,
    first_there,
    lines,
    parted,
)
from featx.datasets._types import Item
from featx.errors import FeatxError

# What the number behind a video's name means: testTrainMulti_7030_splits, read-me.
_SUBSETS = {"1": "train", "2": "test", "0": "unused"}
_ENDING = "_test_split{split}.txt"


def read(root: Path, split: int) -> Sides:
    """Read a split: `videos/<class>/<video>.avi` (or `hmdb51_org/`) and `testTrainMulti_7030_splits/`.

    Videos go by their names, which are unique: they may lie in class folders or all in one. An id is class and name,
    as `featx extract` gives it for class folders. A group is a class and the source that a clip was cut from, which its
    name begins with: within a class no source is on both sides of an official split, but a film may well be in the
    training clips of one class and the test clips of another.
    """
    folder = first_there(root, "testTrainMulti_7030_splits")
    videos = Videos(first_there(root, "videos", "hmdb51_org"))
    ending = _ENDING.format(split=split)
    classes = tuple(sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")))
    sides: dict[str, list[Item]] = {name: [] for name in _SUBSETS.values()}
    for label, class_name in enumerate(classes):
        path = folder / f"{class_name}{ending}"
        for number, line in enumerate(lines(path), start=1):
            name, _, use = line.rpartition(" ")
            if use not in _SUBSETS or not name:
                raise FeatxError(
                    f"{path}, line {number}: {line!r} is not a video and 0, 1 or 2: get the official splits again"
                )
            sides[_SUBSETS[use]].append(_item(name, label, class_name))
    check_groups(sides["train"], sides["test"], folder)
    return lambda subset: parted(classes, sides[subset], videos)


def _item(name: str, label: int, class_name: str) -> Item:
    """Return the listed video: `<source>_<class>_<body>_<camera>_<people>_<view>_<quality>_<number>.avi`."""
    stem = name.rpartition(".")[0]
    source, found, _ = stem.rpartition(f"_{class_name}_")
    group = f"{class_name}/{source if found else stem}"
    return Item(id=f"{class_name}/{stem}", path=f"{class_name}/{name}", label=label, group=group)


PROTOCOL = Protocol(
    name="hmdb51",
    source="HMDB51 three splits, testTrainMulti_7030_splits (Kuehne et al., ICCV 2011)",
    read=read,
    subsets=("train", "test"),
    pair=("train", "test"),
    splits=3,
    get="hmdb51_org.rar and test_train_splits.rar from "
    "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/, unpacked there to videos/<class>/ and "
    "testTrainMulti_7030_splits/",
    generated=True,
)
