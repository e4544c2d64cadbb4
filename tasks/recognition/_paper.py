"""The papers' figures of the same measurement, beside ours only where ours is the same: the whole dataset, all of its splits."""

from __future__ import annotations

from collections.abc import Sequence

from featx.tasks.recognition._result import SplitResult
from featx.tasks.splits import Split

# Res3D paper, table 9, rows "linear SVM": (model, layer) -> dataset -> mean accuracy over three splits in per cent.
TABLE9 = {
    ("res2d", "res5b"): {"hmdb51": 47.2, "ucf101": 79.2},
    ("c3d", "fc6"): {"hmdb51": 51.6, "ucf101": 82.2},
    ("res3d", "res5b"): {"hmdb51": 51.3, "ucf101": 83.1},
}
# Training and test videos of the official lists, by split: ucfTrainTestlist; 70 and 30 of each of 51 classes.
VIDEOS = {
    "ucf101": {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)},
    "hmdb51": dict.fromkeys((1, 2, 3), (3570, 1530)),
}


def is_whole(split: Split) -> bool:
    """Return whether both sides have the official lists' videos, all of them and none generated."""
    wanted = VIDEOS.get(split.test.name, {}).get(split.test.split)
    sides = (split.train, split.test)
    generated = any("generated" in note for side in sides for note in side.notes)
    return (
        split.official
        and split.folds is None
        and not generated
        and wanted == tuple(len(side.items) for side in sides)
    )


def printed(splits: Sequence[Split], results: Sequence[SplitResult]) -> str | None:
    """Return the paper's figure in words, or None where it is of another measurement."""
    name, origins = splits[0].test.name, results[0].origins
    wanted = VIDEOS.get(name, {})
    if (
        not all(each.official for each in results)
        or {each.split for each in results} != set(wanted)
        or len(origins) != 1
    ):
        return None
    made = origins[0].settings
    model = made.model.name if made is not None else ""
    figure = TABLE9.get((model, str(origins[0].layer)), {}).get(name)
    if figure is None:
        return None
    return f"{figure} % (Res3D paper, table 9: mean of 3 splits, network trained on Sports-1M, linear SVM)"
