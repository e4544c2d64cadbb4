"""ActivityNet 1.3: 200 activities, annotated as segments of untrimmed videos (Caba Heilbron et al., CVPR 2015)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from featx.datasets._protocol import Missing, Protocol, Side, Sides, Videos, first_there
from featx.datasets._types import Item
from featx.errors import FeatxError

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


def read(root: Path, split: int) -> Sides:
    """Read the annotations: `activity_net.v1-3.min.json`, and videos named `v_<id>` or `<id>` anywhere below `videos/`.

    An item is an annotated segment, `<id>#<number in its video>`; a video's segments are a group. Labels are the
    classes' names in alphabetical order.
    """
    path = next(iter(sorted(root.glob("activity_net*.json"))), None)
    if path is None:
        raise Missing("activity_net.v1-3.min.json")
    return partial(_side, root, path, _database(path))


def _side(root: Path, path: Path, database: Mapping[str, Any], subset: str) -> Side:
    listed = {
        name: v["annotations"] for name, v in database.items() if v["subset"] == _SUBSETS[subset]
    }
    if not any(listed.values()):
        raise FeatxError(
            f"{path} has no annotations for {_SUBSETS[subset]}: they are withheld; give subset train or val"
        )
    classes = tuple(sorted({a["label"] for v in database.values() for a in v["annotations"]}))
    labels = {name: label for label, name in enumerate(classes)}
    videos = Videos(first_there(root, "videos"))
    items, absent = [], []
    for name, segments in listed.items():
        found = videos.find(f"v_{name}") or videos.find(name)
        if found is None:
            absent += [f"v_{name}.mp4"] * len(segments)
            continue
        for number, a in enumerate(segments, start=1):
            start, end = (float(second) for second in a["segment"])
            items.append(
                Item(
                    id=f"{name}#{number}",
                    path=found,
                    label=labels[a["label"]],
                    group=name,
                    start=start,
                    end=end,
                )
            )
    return Side(classes=classes, items=tuple(items), absent=tuple(absent))


def _database(path: Path) -> dict[str, Any]:
    try:
        database = json.loads(path.read_text(encoding="utf-8"))["database"]
        for video in database.values():
            _ = (
                video["subset"],
                [
                    (a["label"], float(a["segment"][0]), float(a["segment"][1]))
                    for a in video["annotations"]
                ],
            )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FeatxError(
            f"{path} is not ActivityNet's annotation file ({error!r}): get it again"
        ) from error
    return dict(database)


PROTOCOL = Protocol(
    name="activitynet",
    source="ActivityNet release 1.3 (Caba Heilbron et al., CVPR 2015)",
    read=read,
    subsets=("train", "val", "test"),
    pair=("train", "val"),
    get="activity_net.v1-3.min.json from http://activity-net.org/download.html put there, and the videos, by the request form on "
    "that page, as videos/v_<id>.mp4",
)
