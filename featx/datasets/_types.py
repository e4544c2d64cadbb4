"""What a dataset is to whoever trains or evaluates: labelled videos of one side of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Item:
    """A labelled video, or a labelled part of one.

    id: unique in its dataset, as in the official lists, without suffix; for a part, with what tells it from others.
    path: the video's file.
    label: place in the dataset's `classes`.
    group: what train and test may not share (UCF101's g01 to g25); None where the dataset says nothing of the kind.
    start, end: seconds of the labelled part; None is the video's own beginning or end.
    also: further labels, where a video has several (Sports-1M); a prediction of any of them counts as right there.
    overlap: temporal IoU of a window with the instance whose label it has, above 0 and at most 1; 1 of anything else.
    """

    id: str
    path: str
    label: int
    group: str | None = None
    start: float | None = None
    end: float | None = None
    also: tuple[int, ...] = ()
    overlap: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise ValueError(
                f"{self.id} has an overlap of {self.overlap}: it lies above 0 and is at most 1"
            )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One side of a split, in the official list's order.

    name: as given, such as "ucf101"; split: which of its splits; subset: "train", "val" or "test".
    classes: names in the order of the labels. absent: items that the lists have and that were left out because their
        video is not there, which happens only where the caller allowed it.
    own: of a user's own data, that it is that, and how its sides were made where nothing says so; empty otherwise.
    source: where the protocol is from. notes: what the user should be told, such as how a folder was divided.
    made: of one that was put together, as JSON values, how and from what: a run of it is continued with the same alone.
    """

    name: str
    split: int
    subset: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    absent: int = 0
    source: str = ""
    notes: Sequence[str] = field(default=())
    made: Mapping[str, Any] = field(default_factory=dict)
    own: str = ""

    @property
    def called(self) -> str:
        """What a report calls the dataset, such as "ucf101"; a user's folder of that name is "ucf101 (own data)"."""
        return f"{self.name} ({self.own})" if self.own else self.name

    @property
    def title(self) -> str:
        """What a report calls this side, such as "ucf101 split 1, test"."""
        which = self.called if self.own else f"{self.name} split {self.split}"
        return f"{which}, {self.subset}"

    def __repr__(self) -> str:
        head = f"Dataset({self.title}: {len(self.items):,} videos, {len(self.classes):,} classes)"
        return "\n".join([head, *(f"  note: {note}" for note in self.notes)])
