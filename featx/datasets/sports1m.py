"""Sports-1M: 1,133,158 YouTube videos with 487 labels (Karpathy et al., CVPR 2014)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from featx.datasets._protocol import Protocol, Side, Sides, Videos, first_there, lines
from featx.datasets._types import Item
from featx.errors import FeatxError

_PLACES = ("", "original/", "sports-1m-dataset/", "sports-1m-dataset/original/")
# https://www.youtube.com/watch?v=UDqivjS-lpI 168,169: the repository's README.
_LINE = re.compile(r"\S*[?&/]v[=/]([\w-]+)\S*\s+(\d+(?:,\d+)*)")


def read(root: Path, split: int) -> Sides:
    """Read the partitions' lists, and videos named `<youtube id>.<any video suffix>` anywhere below `videos/`.

    The repository's files (labels.txt, original/train_partition.txt, gzipped or not) lie in the root or in its clone.
    About 5 % of the videos have several labels. The first is `Item.label`, the one that a softmax loss trains;
    the others are in `Item.also`, for the test counts a prediction of any label as right (Karpathy et al., table 1).
    No paper says which label was trained; C3D's code can take all (github.com/facebookarchive/C3D/issues/216).
    """
    classes = tuple(lines(first_there(root, *(f"{place}labels.txt" for place in _PLACES))))
    return partial(_side, root, classes)


def _side(root: Path, classes: tuple[str, ...], subset: str) -> Side:
    name = f"{subset}_partition.txt"
    path = first_there(
        root, *(f"{place}{name}{packed}" for place in _PLACES for packed in ("", ".gz"))
    )
    videos = Videos(first_there(root, "videos"))
    labels = _labels(path, len(classes))
    items, absent = [], []
    for video_id, (label, *also) in labels.items():
        found = videos.find(video_id)
        if found is None:
            absent.append(video_id)
        else:
            items.append(Item(id=video_id, path=found, label=label, also=tuple(also)))
    several = sum(len(numbers) > 1 for numbers in labels.values())
    note = (
        f"{several} of {len(labels)} listed videos have several labels:"
        " the first one is trained, any counts as right in a test"
    )
    return Side(
        classes=classes, items=tuple(items), absent=tuple(absent), notes=(note,) if several else ()
    )


def _labels(path: Path, n_classes: int) -> dict[str, list[int]]:
    """Return the labels of each video, in the list's order; a video that is listed again adds the labels it has there."""
    labels: dict[str, list[int]] = {}
    for number, line in enumerate(lines(path), start=1):
        match = _LINE.fullmatch(line)
        numbers = [int(label) for label in match[2].split(",")] if match else []
        if match is None or max(numbers) >= n_classes:
            raise FeatxError(
                f"{path}, line {number}: {line!r} is not a URL and numbers below {n_classes}: get the list again"
            )
        known = labels.setdefault(match[1], [])
        known += [label for label in numbers if label not in known]
    return labels


PROTOCOL = Protocol(
    name="sports1m",
    source="Sports-1M train and test partitions (Karpathy et al., CVPR 2014)",
    read=read,
    subsets=("train", "test"),
    pair=("train", "test"),
    get="https://github.com/gtoderici/sports-1m-dataset cloned there (labels.txt, original/), and its videos from YouTube as "
    "videos/<youtube id>.mp4",
)
