"""Kinetics' layout: annotations/{train,val,test}.csv, and train/<class>/<youtube id>_<start>_<end>.mp4 beside it."""

from __future__ import annotations

import csv
import io
import math
import string

import numpy as np

from featx.errors import UsageError
from featx.synthetic.layouts._plan import Plan, Settings, clip_of, seeds

_LETTERS = list(string.ascii_letters + string.digits + "-_")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")


def plan(settings: Settings) -> Plan:
    """Plan the clips of every class: a quarter is for val and as much for test; no two are from one video."""
    if settings.per_class < 3:
        raise UsageError(
            f"videos per class is {settings.per_class}: train, val and test take 3 or more"
        )
    aside = max(1, settings.per_class // 4)
    counts = {"train": settings.per_class - 2 * aside, "val": aside, "test": aside}
    sides = [side for side, count in counts.items() for _ in range(count)]
    result = Plan()
    rows: dict[str, list[tuple[str, ...]]] = {side: [] for side in counts}
    for name in settings.classes:
        label = name.replace("_", " ")
        for number, side in enumerate(sides):
            rng = np.random.default_rng(seeds(settings, name, 2, number))
            video_id = "".join(rng.choice(_LETTERS, 11))
            start = int(rng.integers(0, 300))
            end = start + math.ceil(settings.seconds)
            path = f"{side}/{label}/{video_id}_{start:06d}_{end:06d}.mp4"
            result.videos.append(clip_of(settings, path, name, number, 0))
            rows[side].append((label, video_id, str(start), str(end), side))
    for side, listed in rows.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *listed])
        result.files[f"annotations/{side}.csv"] = text.getvalue().encode()
    return result
