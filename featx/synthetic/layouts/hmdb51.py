"""HMDB51's layout: videos/<class>/<source>_<class>_<tags>_<number>.avi, and testTrainMulti_7030_splits."""

from __future__ import annotations

import numpy as np

from featx.synthetic.layouts._plan import Plan, Settings, clip_of, groups_of, held_out, seeds
from featx.synthetic.layouts.ucf101 import SPLITS, check_groups

# What the tags in a name say: visible body, camera motion, people, view, quality (Kuehne et al., section 3). Drawn by chance.
_TAGS = (
    ("h", "u", "f", "l"),
    ("nm", "cm"),
    ("np1", "np2"),
    ("fr", "ba", "le", "ri"),
    ("bad", "med", "goo"),
)


def plan(settings: Settings) -> Plan:
    """Plan the clips of every class and its three lists; with five groups or more, some are unused (0), as officially."""
    groups = groups_of(settings.per_class)
    check_groups(groups, settings)
    last = groups[-1][0]
    result = Plan()
    for name in settings.classes:
        files = {(group, clip): _file_name(settings, name, group, clip) for group, clip in groups}
        result.videos.extend(
            clip_of(settings, f"videos/{name}/{file}", name, *place)
            for place, file in files.items()
        )
        for split in SPLITS:
            test = held_out(last, split)
            uses = {
                place: 2 if place[0] in test else 0 if last >= 5 and place[0] == last else 1
                for place in files
            }
            text = "".join(f"{file} {uses[place]} \n" for place, file in files.items())
            result.files[f"testTrainMulti_7030_splits/{name}_test_split{split}.txt"] = text.encode()
    return result


def _file_name(settings: Settings, name: str, group: int, clip: int) -> str:
    rng = np.random.default_rng(seeds(settings, name, 2, group))
    tags = "_".join(str(rng.choice(values)) for values in _TAGS)
    return (
        f"Generated_Film_{int(rng.integers(1000, 10000))}{group:02d}_{name}_{tags}_{clip - 1}.avi"
    )
