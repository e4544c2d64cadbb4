"""Whether a row's accuracy may be held against the paper's, and if not, why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featx.datasets import Dataset, dataset_names
from featx.study._settings import StudySettings
from featx.study._table import Row, Study


@dataclass(frozen=True)
class _Official:
    """A dataset as distributed. videos: of the training and the test side, by split; exact: whether none may be missing."""

    classes: int
    videos: Mapping[int, tuple[int, int]]
    exact: bool = True


_OFFICIAL = {
    # ucfTrainTestlist: lines of trainlist0N.txt and testlist0N.txt.
    "ucf101": _Official(101, {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}),
    # testTrainMulti_7030_splits: 70 and 30 videos a class.
    "hmdb51": _Official(51, dict.fromkeys((1, 2, 3), (3570, 1530))),
    # Good Practice, section V-A: "about 240,000, 20,000"; clips have gone from YouTube since, and copies differ.
    "kinetics": _Official(400, {1: (240_000, 20_000)}, exact=False),
}
_LEAST = 0.9


def differences(settings: StudySettings, train: Dataset, test: Dataset) -> list[str]:
    """Return what sets all rows of a study apart from the paper's: its data, and settings that replace the recipe's."""
    found = [*_data(train, test)]
    if settings.overrides:
        found.append(f"trained with {', '.join(f'{k}={v}' for k, v in settings.overrides.items())}")
    if settings.crop is not None:
        found.append(f"crops of {settings.crop} pixels")
    return found


def row_differences(settings: StudySettings, study: Study, row: Row) -> list[str]:
    """Return what sets this row apart, beside `differences`."""
    found = []
    start = study.start(row, settings.name)
    if start != "nothing" and settings.start_of(row.name) is None:
        found.append("starts from nothing, the paper's does not")
    figure = row.figure(settings.name, settings.dataset.split)
    if figure is not None and figure.dataset != settings.name:
        found.append(f"the paper's figure is for {figure.dataset}")
    elif figure is not None and figure.split != settings.dataset.split:
        found.append(
            f"the paper's figure is {'the mean of 3 splits' if figure.split is None else f'for split {figure.split}'}"
        )
    return found


def _data(train: Dataset, test: Dataset) -> list[str]:
    if train.name not in dataset_names():
        return ["own data"]
    if any("generated" in note for note in train.notes):
        return ["generated videos"]
    official = _OFFICIAL.get(train.name)
    if official is None:
        return []
    found = []
    if len(train.classes) != official.classes:
        found.append(f"{len(train.classes)} of {official.classes} classes")
    for side, wanted in zip((train, test), official.videos[train.split], strict=True):
        n = len(side.items)
        if n != wanted if official.exact else n < _LEAST * wanted:
            found.append(
                f"{n:,} of {'' if official.exact else 'about '}{wanted:,} {side.subset} videos"
            )
    return found
