"""The S-CNN authors' res_seg_swin.mat: windows as their localization network scored them, a row each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError
from featx.tasks.localization._types import Floats, Ints, Windows
from featx.tasks.localization.formats._matlab import read_matrix

VARIABLE = "seg_swin"
# Places of the columns: video's number, frames, start and end in seconds, confidence, confidence of an action, class.
_VIDEO, _LENGTH, _START, _END, _SCORE, _ACTION, _CLASS = 0, 1, 4, 5, 8, 9, 10
_NAMES = ("video_test_", "video_validation_")


def read_scnn_windows(path: str | os.PathLike[str], annotations: Annotations) -> Windows:
    """Read the windows that are given a class, 1 being the first of the annotations; 0 is background, and left out.

    Video number 4 is video_test_0000004, or video_validation_0000004 where the annotations' names are such. Videos of background
    alone are among those that were searched. FeatxError with the row for what is no window.
    """
    source = Path(path)
    rows = read_matrix(source, VARIABLE)
    if rows.ndim != 2 or rows.shape[1] <= _CLASS:
        raise FeatxError(
            f"{VARIABLE} in {source} is of shape {rows.shape}, not windows x 12 columns: give res_seg_swin.mat's"
        )
    _check(rows, source, len(annotations.classes))
    prefix = next(
        (p for p in _NAMES if any(name.startswith(p) for name in annotations.videos)), _NAMES[0]
    )
    numbers = np.unique(_whole(rows, _VIDEO))
    rows = rows[rows[:, _CLASS] > 0]
    action = rows[:, _ACTION]
    return Windows(
        classes=annotations.classes,
        videos=tuple(f"{prefix}{number:07d}" for number in numbers.tolist()),
        video=np.searchsorted(numbers, _whole(rows, _VIDEO)),
        label=_whole(rows, _CLASS) - 1,
        length=_whole(rows, _LENGTH),
        start=rows[:, _START].copy(),
        end=rows[:, _END].copy(),
        score=rows[:, _SCORE].copy(),
        # A column of zeros was never filled in: windows without an action were left out before.
        action=action.copy() if action.any() else np.full(len(rows), np.nan),
    )


def _whole(rows: Floats, column: int) -> Ints:
    return rows[:, column].astype(np.int64)


def _check(rows: Floats, source: Path, classes: int) -> None:
    video, label = rows[:, _VIDEO], rows[:, _CLASS]
    # Of background, which is left out, video and class alone matter.
    used = np.where(
        (label == 0)[:, None], [16.0, 0.0, 1.0, 0.0], rows[:, [_LENGTH, _START, _END, _SCORE]]
    )
    length, start, end, _ = used.T
    with np.errstate(invalid="ignore"):
        wrong = (
            (
                ~np.isfinite(np.column_stack((video, label, used))).all(axis=1),
                "has a number that is not finite",
            ),
            (
                (video != np.floor(video)) | (video < 0) | (video > 9_999_999),
                "has no video number from 0 to 9999999 in column 1",
            ),
            (
                (length != np.floor(length)) | (length < 1) | (length > 1 << 20),
                "has no number of frames in column 2",
            ),
            (end < start, "has an end before its start in columns 5 and 6"),
            (
                (label != np.floor(label)) | (label < 0) | (label > classes),
                f"has no class from 0 to {classes} in column 11",
            ),
        )
    for bad, what in wrong:
        if bad.any():
            raise FeatxError(
                f"row {int(np.argmax(bad)) + 1} of {VARIABLE} in {source} {what}: mend it"
            )
