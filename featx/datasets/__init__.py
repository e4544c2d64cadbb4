"""Datasets by their official protocols, and the user's own: labelled videos of one side of a split."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from featx.datasets import activitynet, hmdb51, kinetics, sports1m, ucf101, weizmann
from featx.datasets._matching import match_ids
from featx.datasets._protocol import GENERATED, Missing, Protocol, Side, Sides, Videos
from featx.datasets._types import Dataset, Item
from featx.datasets.folder import own_data
from featx.errors import FeatxError, UsageError, nearest

__all__ = [
    "GENERATED",
    "GENERATED_CLIPS",
    "About",
    "Dataset",
    "DatasetLists",
    "DatasetRef",
    "Item",
    "Videos",
    "about",
    "data_folder",
    "dataset_names",
    "load_dataset",
    "load_whole",
    "match_ids",
]

_PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        module.PROTOCOL for module in (activitynet, hmdb51, kinetics, sports1m, ucf101, weizmann)
    )
}


# Streams of clips that `featx train` makes for itself (`featx.synthetic.motion.STREAMS`); no other dataset has such a name.
GENERATED_CLIPS = ("generated", "generated-basic")


def dataset_names() -> tuple[str, ...]:
    """Return the names of the datasets whose official protocol is known."""
    return tuple(_PROTOCOLS)


def data_folder() -> Path:
    """Return where datasets lie, each in a folder of its name: $FEATX_DATA, by default `data` in the current folder."""
    return Path(os.environ.get("FEATX_DATA") or "data")


def load_dataset(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    split: int = 1,
    subset: str = "train",
    partial: bool = False,
    holdout: float = 0.2,
) -> Dataset:
    """Return one side of a dataset's split, in its official list's order.

    Args:
        name_or_path: One of `featx.datasets.dataset_names()`, such as "ucf101"; or a folder of class folders or a csv
            of your own (`featx.datasets.folder.own_data`).
        root: Where the official files lie as unpacked. None is the dataset's folder in $FEATX_DATA.
        split: Which of the official splits.
        subset: "train", "test", or "val" where there is one.
        partial: Go on with the videos that are there. Classes that one of the two sides has no video of are left out
            on both, and the labels numbered anew; a side without any video leaves the classes to the other.
        holdout: The test side's share of own data that has none.

    Returns:
        The videos with their labels, and the classes' names.

    Raises:
        UsageError: For what is not there or not known.
        FeatxError: For absent videos and lists that are damaged.
    """
    lists = DatasetLists(name_or_path, root=root, holdout=holdout)
    return lists.side(split, subset, partial=partial)


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """Which dataset is meant, before anything of it is read.

    Attributes:
        name: One of `dataset_names()`, or a folder or csv of the user's own.
        root: Where the official files lie; by default the dataset's folder in `data_folder()`.
        split: Which of its splits.
        partial: Go on with the videos that are there.
        holdout: The test side's share of own data that has none.
    """

    name: str | os.PathLike[str]
    root: str | os.PathLike[str] | None = None
    split: int = 1
    partial: bool = False
    holdout: float = 0.2

    @cached_property
    def lists(self) -> DatasetLists:
        """The dataset by its lists, each of which is read once."""
        return DatasetLists(self.name, root=self.root, holdout=self.holdout)

    def load(self, subset: str) -> Dataset:
        """Return one side of the split, as `load_dataset` does."""
        return self.lists.side(self.split, subset, partial=self.partial)


def load_whole(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    partial: bool = False,
) -> Dataset:
    """Return every labelled video of a dataset, once (`DatasetLists.whole`); arguments and errors as `load_dataset`'s."""
    return DatasetLists(name_or_path, root=root).whole(partial=partial)


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a dataset before its lists are read.

    folder: where it lies, or the folder or csv itself. splits: how many, numbered from 1. subsets: names of the sides.
    pair: the two sides on which one trains and tests. official: known by name; its videos' names are unique.
    """

    name: str
    folder: Path
    splits: int
    subsets: tuple[str, ...]
    pair: tuple[str, str]
    official: bool

    def beside(self, what: str) -> Path:
        """Return where what is computed of it lies, such as "features": it need not be there.

        It is `<folder>/<what>` of a dataset that is known by name, and `<folder>.<what>` beside a folder or csv of the user's
        own, where every folder inside is a class.
        """
        if self.official:
            return self.folder / what
        path = self.folder.absolute()
        return path.with_name(f"{path.stem if path.is_file() else path.name}.{what}")


def about(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    holdout: float = 0.2,
) -> About:
    """Return what is known of a dataset before its lists are read; arguments and errors as `load_dataset`'s."""
    return DatasetLists(name_or_path, root=root, holdout=holdout).about


class DatasetLists:
    """A dataset by its lists, each read once, whatever is asked of them.

    Args:
        name_or_path, root, holdout: As for `load_dataset`.

    Raises:
        UsageError: For a dataset that is not known, or a path that is not there.
    """

    def __init__(
        self,
        name_or_path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        holdout: float = 0.2,
    ) -> None:
        self._protocol, self._base = _find(name_or_path, root, holdout)
        self._read: dict[int, Sides] = {}
        self._sides: dict[tuple[int, str], Side] = {}
        official = self._protocol.name in _PROTOCOLS and os.fspath(name_or_path) in _PROTOCOLS
        self.about = About(
            name=self._protocol.name,
            folder=self._base if official else Path(name_or_path),
            splits=self._protocol.splits,
            subsets=self._protocol.subsets,
            pair=self._protocol.pair,
            official=official,
        )

    def side(self, split: int, subset: str, *, partial: bool = False) -> Dataset:
        """Return one side of a split, as `load_dataset` does."""
        protocol, base = self._protocol, self._base
        if subset not in protocol.subsets:
            raise UsageError(
                f"{protocol.name} has no side {subset!r}: give {' or '.join(protocol.subsets)}"
            )
        if not 1 <= split <= protocol.splits:
            there = f"splits 1 to {protocol.splits}" if protocol.splits > 1 else "split 1 only"
            raise UsageError(f"split is {split}, and {protocol.name} has {there}")
        side = self._side(split, subset)
        if side.absent and not partial:
            which = f" ({subset})" if protocol.own else f" ({subset}, split {split})"
            raise _lacking(protocol, base, side.absent, len(side.items), which)
        if partial:
            side = self._agreed(split, subset, side)
        if not side.items:
            raise FeatxError(
                f"none of the {len(side.absent)} {subset} videos of {protocol.name} that could be used is"
                f" {_where(protocol, base)}: get them"
            )
        return Dataset(
            name=protocol.name,
            split=split,
            subset=subset,
            classes=side.classes,
            items=_unique(side.items, protocol.name),
            absent=len(side.absent),
            source=protocol.source,
            own=protocol.own,
            notes=(*side.notes, *_generated(base)),
        )

    def whole(self, *, partial: bool = False) -> Dataset:
        """Return every labelled video, once, sorted by id, to be divided anew: what the sides of all splits have.

        `split` is 0 and `subset` "all" of what is returned. Classes have the numbers of the official lists, also those
        without a video that is there. Of an official dataset the two sides on which one trains and tests are taken, for
        others have no labels. Errors as `load_dataset`'s.
        """
        protocol, base, official = self._protocol, self._base, self.about.official
        sides = self._every(protocol.pair if official else protocol.subsets)
        items: dict[str, Item] = {}
        for item in sorted(
            (item for side in sides for item in _unique(side.items, protocol.name)),
            key=lambda item: item.id,
        ):
            if items.setdefault(item.id, item) != item:
                raise FeatxError(
                    f"{protocol.name}'s lists have {item.id} as two different videos: take one of them out"
                )
        absent = tuple(dict.fromkeys(name for side in sides for name in side.absent))
        if not items:
            raise FeatxError(
                f"none of the {len(absent)} videos of {protocol.name} is {_where(protocol, base)}: get them"
            )
        if absent and not partial:
            raise _lacking(protocol, base, absent, len(items), "")
        # Of a user's own data they tell how it was divided into sides, which it is not here.
        notes = dict.fromkeys(note for side in sides for note in side.notes) if official else ()
        return Dataset(
            name=protocol.name,
            split=0,
            subset="all",
            classes=sides[0].classes,
            items=tuple(items.values()),
            absent=len(absent),
            source=protocol.source,
            own="own data" if protocol.own else "",
            notes=(*notes, *_generated(base)),
        )

    def videos(self) -> tuple[str, ...]:
        """Return the path of every video that any side of any split has and that is there, once, sorted."""
        sides = self._every(self._protocol.subsets)
        return tuple(sorted({item.path for side in sides for item in side.items}))

    def _every(self, subsets: tuple[str, ...]) -> list[Side]:
        splits = range(1, self._protocol.splits + 1)
        return [self._side(split, name) for split in splits for name in subsets]

    def _side(self, split: int, subset: str) -> Side:
        protocol = self._protocol
        try:
            if split not in self._read:
                self._read[split] = protocol.read(self._base, split)
            if (split, subset) not in self._sides:
                self._sides[split, subset] = self._read[split](subset)
        except Missing as missing:
            small = f"; `featx synth --dataset {protocol.name} DIR` writes a small generated one to DIR/{protocol.name}"
            raise UsageError(
                f"{protocol.name} is not in {self._base} (no {missing}): get {protocol.get}{small if protocol.generated else ''}"
            ) from missing
        return self._sides[split, subset]

    def _agreed(self, split: int, subset: str, side: Side) -> Side:
        """Return the side with the classes alone that both sides of the split have videos of."""
        protocol = self._protocol
        others = {name: self._side(split, name) for name in protocol.pair if name != subset}
        present = [
            {item.label for item in (side if name == subset else others[name]).items}
            for name in protocol.pair
        ]
        kept = (
            sorted(set.intersection(*(labels for labels in present if labels)))
            if any(present)
            else []
        )
        if len(kept) == len(side.classes):
            return side
        if len(kept) < 2:
            raise FeatxError(
                f"{self._base} has videos of {len(kept)} classes on both sides of {protocol.name}, split {split}: get two or more"
            )
        numbers = {old: new for new, old in enumerate(kept)}
        items = tuple(
            replace(
                item,
                label=numbers[item.label],
                also=tuple(numbers[label] for label in item.also if label in numbers),
            )
            for item in side.items
            if item.label in numbers
        )
        left_out = [name for label, name in enumerate(side.classes) if label not in numbers]
        note = (
            f"{_some(left_out, 'class', 'classes')} of {len(side.classes)} left out,"
            f" without a video in {' or '.join(protocol.pair)}"
        )
        if gone := len(side.items) - len(items):
            note += f", and with them {gone} {subset} videos that are there"
        return replace(
            side,
            classes=tuple(side.classes[label] for label in kept),
            items=items,
            notes=(*side.notes, note),
        )


def _find(
    name_or_path: str | os.PathLike[str], root: str | os.PathLike[str] | None, holdout: float
) -> tuple[Protocol, Path]:
    name = os.fspath(name_or_path)
    if name in _PROTOCOLS:
        return _PROTOCOLS[name], data_folder() / name if root is None else Path(root)
    if name in GENERATED_CLIPS:
        raise UsageError(
            f"{name!r} are clips that `featx train` makes while it trains, and no videos: `featx synth` writes videos,"
            f" and a folder of that name is ./{name}"
        )
    path = Path(name)
    if not path.exists():
        if name == "thumos14":
            raise UsageError(
                "thumos14 has actions to find in untrimmed videos, not a class a video: it is for `featx detect`"
            )
        raise UsageError(
            f"{name!r} is neither a known dataset nor a folder or csv that is there{nearest(name, _PROTOCOLS)}"
        )
    if root is not None:
        raise UsageError(
            f"{name!r} is a path, and a root is for datasets that are known by name: leave `root` out"
        )
    if path.is_file() and path.suffix.lower() != ".csv":
        raise UsageError(
            f"{name!r} is not a csv: give one with the columns path and label, or a folder with a folder for each class"
        )
    return own_data(path, holdout), path.parent if path.is_file() else path


def _generated(base: Path) -> tuple[str, ...]:
    return ("generated videos, not the official ones",) if (base / GENERATED).exists() else ()


def _lacking(
    protocol: Protocol, base: Path, absent: tuple[str, ...], there: int, which: str
) -> FeatxError:
    return FeatxError(
        f"{_some(absent, 'video')} of {len(absent) + there} that {protocol.name}'s list has{which}"
        f" are not {_where(protocol, base)}: get them, or go on with those that are there, `partial=True`"
    )


def _where(protocol: Protocol, base: Path) -> str:
    """Say where a dataset's videos have to lie. Of own data only a csv names videos that are not there."""
    if protocol.own:
        return f"there (paths in {protocol.source} are relative to its folder, {base.absolute()})"
    return f"in {base}"


def _unique(items: tuple[Item, ...], name: str) -> tuple[Item, ...]:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise FeatxError(f"{name}'s list has {item.id} twice: take one of them out")
        seen.add(item.id)
    return items


def _some(names: tuple[str, ...] | list[str], one: str, many: str | None = None) -> str:
    shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"{len(names)} {one if len(names) == 1 else many or one + 's'} ({shown})"
