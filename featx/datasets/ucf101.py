"""UCF101: 13,320 clips of 101 actions in three splits (Soomro, Zamir and Shah, CRCV-TR-12-01)."""

from __future__ import annotations

import re
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

# Clips of a class and group (g01 to g25) are cut from one video; a split's test side has seven groups of each class.
_GROUP = re.compile(r"_(g\d+)_c\d+$")


def read(root: Path, split: int) -> Sides:
    """Read a split: `UCF-101/<Class>/<video>.avi`, and the lists in `ucfTrainTestlist`.

    Videos go by their names: other containers (.mp4) and other folders below UCF-101 are as good.
    """
    folder = first_there(root, "ucfTrainTestlist")
    videos = Videos(first_there(root, "UCF-101"))
    classes = _classes(folder / "classInd.txt")
    sides = {
        name: _listed(folder / f"{name}list{split:02d}.txt", classes) for name in ("train", "test")
    }
    check_groups(sides["train"], sides["test"], folder)
    return lambda subset: parted(classes, sides[subset], videos)


def _classes(path: Path) -> tuple[str, ...]:
    rows = [line.split() for line in lines(path)]
    if any(len(row) != 2 or row[0] != str(number) for number, row in enumerate(rows, start=1)):
        raise FeatxError(
            f"{path} is not as distributed, a number from 1 and a name a line: get ucfTrainTestlist again"
        )
    return tuple(name for _, name in rows)


def _listed(path: Path, classes: tuple[str, ...]) -> list[Item]:
    """Read a list of `<Class>/<video>.avi`, followed by the class's number on the training side; `path` is as listed."""
    labels = {name: label for label, name in enumerate(classes)}
    items = []
    for number, line in enumerate(lines(path), start=1):
        name, *rest = line.split()
        class_name, _, _ = name.partition("/")
        video_id = name.rpartition(".")[0]
        group = _GROUP.search(video_id)
        if (
            class_name not in labels
            or group is None
            or rest not in ([], [str(labels[class_name] + 1)])
        ):
            raise FeatxError(
                f"{path}, line {number}: {line!r} is not a video of UCF101's classes: get ucfTrainTestlist again"
            )
        items.append(Item(id=video_id, path=name, label=labels[class_name], group=group[1]))
    return items


PROTOCOL = Protocol(
    name="ucf101",
    source="UCF101 action recognition splits, ucfTrainTestlist (Soomro et al., CRCV-TR-12-01)",
    read=read,
    subsets=("train", "test"),
    pair=("train", "test"),
    splits=3,
    get="UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip from https://www.crcv.ucf.edu/data/UCF101.php, unpacked there "
    "to UCF-101/ and ucfTrainTestlist/",
    generated=True,
)
