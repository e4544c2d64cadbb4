"""What the readers of protocols share: a side of a split as listed, and where lists and videos lie."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from featx.datasets._types import Item
from featx.errors import FeatxError
from featx.video.reader import SUFFIXES

# In the folder of a dataset that `featx synth` has written.
GENERATED = "GENERATED.txt"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a split: what its list has, parted into videos that are there and videos that are not.

    classes: all of the protocol's, in the order of the labels. absent: what the list calls the videos that are not there.
    """

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# What reading a split's lists gives: a side by its name.
Sides = Callable[[str], Side]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one dataset is divided and read.

    read: (root, split) -> (subset -> side). Both raise `Missing` where a file of the protocol or the folder of videos is not
    there. What the sides share is read by the first.
    subsets: names of the sides; pair: the two that a study trains and evaluates on. splits: how many there are.
    get: what to download, from where, and where below the root it goes. generated: `featx synth --dataset` writes it.
    own: of a user's own data, as `Dataset` has it.
    """

    name: str
    source: str
    read: Callable[[Path, int], Sides]
    subsets: tuple[str, ...]
    pair: tuple[str, str]
    splits: int = 1
    get: str = ""
    generated: bool = False
    own: str = ""


class Missing(Exception):
    """A file or folder of a protocol that is not there; its name, relative to the root."""


def first_there(root: Path, *names: str) -> Path:
    """Return the first of the names below root that exists, or raise `Missing` with the first one."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise Missing(names[0])


def lines(path: Path) -> list[str]:
    """Return a list's lines that are not empty, whatever its line ends, unpacked if it ends in .gz."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise Missing(path.name) from error
    except OSError as error:
        raise FeatxError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise FeatxError(f"{path} is damaged ({error}): get it again") from error
    text = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf"))
    return [line for line in (raw.strip() for raw in text.split("\n")) if line]


class Videos:
    """The videos below a folder, by name without suffix; each folder is listed once, and links to folders are followed."""

    def __init__(self, folder: Path) -> None:
        self._paths: dict[str, str] = {}
        self._doubles: dict[str, str] = {}
        seen: set[str] = set()
        for place, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in SUFFIXES:
                    path = os.path.join(place, name)
                    if self._paths.setdefault(stem, path) != path:
                        self._doubles[stem] = path

    @property
    def stems(self) -> tuple[str, ...]:
        """The videos' names without suffix, each once."""
        return tuple(self._paths)

    def find(self, stem: str) -> str | None:
        """Return the path of the video so named, None if it is not there; two of them are an error."""
        if stem in self._doubles:
            raise FeatxError(
                f"{self._paths[stem]} and {self._doubles[stem]} are both the video {stem}: keep one of them"
            )
        return self._paths.get(stem)


def parted(classes: tuple[str, ...], listed: Sequence[Item], videos: Videos) -> Side:
    """Return a side from its list, whose items have the listed name as `path`: that of the file, where it is there."""
    found = [
        (item, videos.find(os.path.splitext(os.path.basename(item.path))[0])) for item in listed
    ]
    return Side(
        classes=classes,
        items=tuple(replace(item, path=path) for item, path in found if path is not None),
        absent=tuple(item.path for item, path in found if path is None),
    )


def check_groups(train: Iterable[Item], test: Iterable[Item], where: Path) -> None:
    """Raise FeatxError if the two sides share a group of a class, which no official split does."""
    trained = {(item.label, item.group) for item in train}
    for item in test:
        if (item.label, item.group) in trained:
            raise FeatxError(
                f"the lists in {where} have the group of {item.id} in train and in test: get the official ones"
            )


def _unreadable(error: OSError) -> None:
    raise FeatxError(f"cannot read folder {error.filename}: {error.strerror}")
