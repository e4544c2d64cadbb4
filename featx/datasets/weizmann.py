"""Weizmann: 90 clips of 10 actions by 9 actors, each actor left out in turn (Gorelick et al., PAMI 29(12), 2007)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from featx.datasets._protocol import Missing, Protocol, Side, Sides, Videos
from featx.datasets._types import Item
from featx.errors import FeatxError

ACTIONS = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")
ACTORS = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
# In the release of 93, lena runs, skips and walks twice: lena_run1, lena_run2. wave1 and wave2 are actions, by number of hands.
_NAME = re.compile(rf"({'|'.join(ACTORS)})_({'|'.join(ACTIONS)})([12]?)", re.IGNORECASE)


def read(root: Path, split: int) -> Sides:
    """Read a split: `<action>/<actor>_<action>.avi`; split k's test side is the k-th actor's, by name.

    Videos go by their names, in class folders or not. There is no list: an actor's action is absent where no clip of it is there.
    """
    clips, others = _clips(Videos(root)) if root.is_dir() else ({}, [])
    if not clips:
        raise Missing(f"{ACTIONS[0]}/{ACTORS[0]}_{ACTIONS[0]}.avi")
    return partial(_side, clips, others, split)


def _side(
    clips: Mapping[tuple[str, str], dict[str, str]], others: Sequence[str], split: int, subset: str
) -> Side:
    items, absent = list[Item](), list[str]()
    for label, action in enumerate(ACTIONS):
        for actor in ACTORS:
            if (actor == ACTORS[split - 1]) != (subset == "test"):
                continue
            found = clips.get((actor, action), {})
            items += [
                Item(id=f"{action}/{stem}", path=found[stem], label=label, group=actor)
                for stem in sorted(found)
            ]
            absent += [] if found else [f"{action}/{actor}_{action}.avi"]
    named = ", ".join(others[:3]) + (" …" if others[3:] else "")
    notes = (
        (f"{len(others)} videos are left out whose names are no actor's action: {named}",)
        if others
        else ()
    )
    return Side(classes=ACTIONS, items=tuple(items), absent=tuple(absent), notes=notes)


def _clips(videos: Videos) -> tuple[dict[tuple[str, str], dict[str, str]], list[str]]:
    """Return the paths of each actor's clips of each action by their names, and the names of other videos."""
    clips: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    takes: dict[tuple[str, str, str], str] = {}
    others = []
    for stem in videos.stems:
        name = _NAME.fullmatch(stem)
        path = videos.find(stem)
        if name is None or path is None:
            others.append(stem)
            continue
        actor, action, take = (part.lower() for part in name.groups())
        takes[actor, action, take] = stem
        clips[actor, action][stem] = path
    for (actor, action, take), stem in takes.items():
        if not take and len(clips[actor, action]) > 1:
            more = next(other for other in clips[actor, action] if other != stem)
            raise FeatxError(
                f"{stem} and {more} are of two releases, in which they are one clip: keep those of one"
            )
    return dict(clips), sorted(others)


PROTOCOL = Protocol(
    name="weizmann",
    source="Weizmann actions, one actor left out (Gorelick et al., PAMI 29(12), 2007)",
    read=read,
    subsets=("train", "test"),
    pair=("train", "test"),
    splits=len(ACTORS),
    get="the ten actions' .zip files from the authors' page \"Actions as Space-Time Shapes\", "
    "http://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html, unpacked there to <action>/",
)
