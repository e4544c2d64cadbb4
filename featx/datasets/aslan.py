"""ASLAN: 3,697 samples of 432 actions, and pairs of them to be told the same action or not.

Files and formats are the benchmark's read-me's (Kliper-Gross, Hassner and Wolf, PAMI 34(3), 2012). It is no protocol of
`featx.load_dataset`: it has pairs, not classes, and the actions of a test fold are not seen in training.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from featx.datasets import data_folder
from featx.datasets._protocol import GENERATED, Missing, Videos, first_there
from featx.datasets._types import Item
from featx.errors import FeatxError, UsageError
from featx.system.extras import need

Ints = npt.NDArray[np.int64]

NAME = "aslan"
SOURCE = "ASLAN's benchmark (Kliper-Gross, Hassner and Wolf, PAMI 34(3), 2012)"
GET = (
    "View2.mat (for view 1, train_pairs.mat and test_pairs.mat), and ASLAN_AVI.zip or ASLAN_MP4.zip, from"
    " https://www.openu.ac.il/home/hassner/data/ASLAN/ (behind a form there), unpacked there to ASLAN_AVI/ or ASLAN_MP4/"
)
FOLDERS = ("ASLAN_AVI", "ASLAN_MP4")
VIEWS = (1, 2)
# View 2 as distributed: pairs of a fold, half of them the same, and folds. Samples are numbered up to the last.
_PAIRS, _FOLDS, _SAMPLES = 600, 10, 3697
# The columns of every table: ids of the two samples, same or not, their actions.
_COLUMNS = 5
# The read-me names them "[ignore]- four digit id of the sample".
_FOUR_DIGITS = re.compile(r"(?<!\d)\d{4}(?!\d)")
# Whatever SciPy raises for a file that is damaged or none of MATLAB's.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """One view of the benchmark: P pairs of samples, in folds.

    ids: (P, 2), numbers of the samples. same: (P,), 1 or 0. actions: (P, 2), their numbers. fold: (P,), from 1.
    rounds: what is trained on and tested on in turn: (folds of the training side, the test fold).
    samples: every sample that a pair has, by number; `path` is its video's, or what would be its name where it is not there.
    absent: ids of those whose video is not there. official: view 2 as distributed, by its numbers and the generated ones' mark.
    """

    root: Path
    view: int
    ids: Ints
    same: Ints
    actions: Ints
    fold: Ints
    rounds: tuple[tuple[tuple[int, ...], int], ...]
    samples: tuple[Item, ...]
    absent: tuple[str, ...]
    official: bool
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a report calls it, such as "aslan, view 2"."""
        return f"{NAME}, view {self.view}"

    def subset(self, keep: npt.NDArray[np.bool_]) -> Pairs:
        """Return the pairs that are kept, (P,) bool, and their samples alone."""
        ids = self.ids[keep]
        used = set(ids.ravel().tolist())
        samples = tuple(item for item in self.samples if int(item.id) in used)
        return replace(
            self,
            ids=ids,
            same=self.same[keep],
            actions=self.actions[keep],
            fold=self.fold[keep],
            samples=samples,
            absent=tuple(item.id for item in samples if item.id in set(self.absent)),
        )

    def samples_in(self, known: Iterable[str]) -> tuple[Item, ...]:
        """Return the samples, those whose video is not there under the name that they have among ids of a feature file.

        Raises FeatxError where two of them could be the sample.
        """
        absent, names = set(self.absent), dict[str, str]()
        for text in known if absent else ():
            sample = _id_in(os.path.basename(text))
            if sample in absent and names.setdefault(sample, text) != text:
                raise FeatxError(
                    f"{names[sample]!r} and {text!r} could both be {sample}: leave one of them out"
                )
        return tuple(replace(item, path=names.get(item.id, item.path)) for item in self.samples)

    def __repr__(self) -> str:
        head = f"Pairs({self.title}: {len(self.ids):,} pairs of {len(self.samples):,} samples)"
        return "\n".join([head, *(f"  note: {note}" for note in self.notes)])


def folder_of(root: str | os.PathLike[str] | None = None) -> Path:
    """Return where the official files lie: `root`, or the dataset's folder in $FEATX_DATA."""
    return data_folder() / NAME if root is None else Path(root)


def read_pairs(root: str | os.PathLike[str] | None = None, *, view: int = 2) -> Pairs:
    """Read the pairs of view 2, ten folds in View2.mat, or of view 1, train_pairs.mat and test_pairs.mat.

    What the read-me promises and a file does not keep is an error where numbers cannot be what they stand for, else a note.
    Raises UsageError where a file is not there, FeatxError for one that is not as described.
    """
    if view not in VIEWS:
        raise UsageError(
            f"view is {view}, and ASLAN has 1, for development, and 2, for reporting: give one of those"
        )
    base = folder_of(root)
    try:
        tables = _view1(base) if view == 1 else _view2(base)
    except Missing as missing:
        _not_there(base, missing)
    table = np.concatenate(tables)
    fold = np.repeat(np.arange(1, len(tables) + 1), [len(each) for each in tables])
    every = tuple(range(1, len(tables) + 1))
    rounds = (
        (((1,), 2),)
        if view == 1
        else tuple((tuple(f for f in every if f != test), test) for test in every)
    )
    generated = (base / GENERATED).exists()
    videos, notes = _videos_there(base)
    actions = {
        int(n): int(a) for n, a in zip(table[:, :2].ravel(), table[:, 3:].ravel(), strict=True)
    }
    samples = tuple(
        Item(
            id=f"{number:04d}",
            path=videos.get(f"{number:04d}", f"{FOLDERS[0]}/{number:04d}.avi"),
            label=action - 1,
        )
        for number, action in sorted(actions.items())
    )
    return Pairs(
        root=base,
        view=view,
        ids=table[:, :2],
        same=table[:, 2],
        actions=table[:, 3:],
        fold=fold,
        rounds=rounds,
        samples=samples,
        absent=tuple(item.id for item in samples if item.id not in videos),
        official=view == 2 and not generated and _as_distributed(tables),
        notes=(
            *notes,
            *_oddities(table, fold),
            *(["generated videos, not the official ones"] if generated else []),
        ),
    )


def videos_of(root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return the path of every sample's video that is there, by its four-digit id, in order.

    Raises UsageError where there is no folder of videos, FeatxError where two videos are one sample's.
    """
    base = folder_of(root)
    try:
        folder = first_there(base, *FOLDERS)
    except Missing as missing:
        _not_there(base, missing)
    return _by_id(folder)[0]


def _not_there(base: Path, missing: Missing) -> NoReturn:
    raise UsageError(
        f"{NAME} is not in {base} (no {missing}): get {GET}; `featx synth --dataset {NAME} DIR` writes a small generated one to"
        f" DIR/{NAME}"
    ) from missing


# ---------------------------------------------------------------- videos


def _videos_there(base: Path) -> tuple[dict[str, str], list[str]]:
    """Return the videos by id, none where there is no folder of them, and what should be told about the folder."""
    folders = [base / name for name in FOLDERS if (base / name).exists()]
    if not folders:
        return {}, []
    found, others = _by_id(folders[0])
    notes = [f"{folders[0]} is read, and {folders[1].name} beside it is not"] if folders[1:] else []
    if others:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        notes.append(
            f"no sample's, having no four-digit id in its name: {others[0]}{more} in {folders[0]}"
        )
    return found, notes


def _by_id(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the videos below a folder by four-digit id, in order, and the names of those that have none."""
    videos, found, others = Videos(folder), dict[str, str](), list[str]()
    for stem in videos.stems:
        sample, path = _id_in(stem), str(videos.find(stem))
        if sample is None:
            others.append(os.path.basename(path))
        elif (other := found.setdefault(sample, path)) != path:
            raise FeatxError(f"{other} and {path} are both the sample {sample}: keep one of them")
    return dict(sorted(found.items())), others


def _id_in(stem: str) -> str | None:
    """Return the four-digit id in a video's name: the only such number, or of several the one at its end."""
    numbers = _FOUR_DIGITS.findall(stem)
    if len(numbers) > 1 and not stem.endswith(numbers[-1]):
        raise FeatxError(
            f"{stem!r} could be the sample {' or '.join(numbers)}: rename it to its four-digit id alone"
        )
    return numbers[-1] if numbers else None


# ---------------------------------------------------------------- pairs


def _view2(base: Path) -> list[Ints]:
    path = first_there(base, "View2.mat")
    values = _variables(path, "action_splits_pairs").get("action_splits_pairs")
    if values is None:
        raise FeatxError(f"{path} has no variable action_splits_pairs: get View2.mat again")
    if values.ndim != 3 or values.shape[1] != _COLUMNS or values.shape[2] < 2 or not len(values):
        raise FeatxError(
            f"action_splits_pairs in {path} is {_shape(values)}, not pairs x 5 x folds: get View2.mat again"
        )
    return [
        _checked(values[:, :, fold], path, f", fold {fold + 1}") for fold in range(values.shape[2])
    ]


def _view1(base: Path) -> list[Ints]:
    tables = []
    for name in ("train_pairs.mat", "test_pairs.mat"):
        path = first_there(base, name)
        # The read-me does not name the variable.
        fitting = {
            n: v
            for n, v in _variables(path).items()
            if v.ndim == 2 and v.shape[1] == _COLUMNS and len(v)
        }
        if len(fitting) != 1:
            raise FeatxError(
                f"{path} has {len(fitting)} variables that are pairs x 5: get it again, with one"
            )
        tables.append(_checked(next(iter(fitting.values())), path, ""))
    return tables


def _variables(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Return the numeric variables of a MATLAB file, or those of these names."""
    need("scipy", what=f"reading {path}")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, variable_names=names or None)
    except NotImplementedError as error:
        raise FeatxError(
            f"{path} is in MATLAB's format 7.3: save it again in MATLAB with -v7, as it was distributed"
        ) from error
    except (*_DAMAGED, MatReadError) as error:
        raise FeatxError(
            f"cannot read {path} as a MATLAB file ({(str(error) or repr(error)).splitlines()[0]}): get it again"
        ) from error
    return {
        name: v for name, v in found.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiub"
    }


def _checked(values: npt.NDArray[Any], path: Path, where: str) -> Ints:
    """Return a table of pairs as whole numbers, (P, 5) int64, each what its column can hold."""
    numbers = np.asarray(values, np.float64)
    if not (
        np.isfinite(numbers).all()
        and (numbers == np.floor(numbers)).all()
        and (np.abs(numbers) < 2**53).all()
    ):
        raise FeatxError(f"{path}{where} has numbers that are not whole: get it again")
    table = numbers.astype(np.int64)
    bad = (
        ((table[:, :2] < 1) | (table[:, :2] > 9999)).any(axis=1)
        | ~np.isin(table[:, 2], (0, 1))
        | (table[:, 3:] < 1).any(axis=1)
    )
    if bad.any():
        row = int(bad.argmax())
        raise FeatxError(
            f"{path}{where}, pair {row + 1} is {' '.join(map(str, table[row]))}, not two samples, 0 or 1, and two actions:"
            " get it again"
        )
    return table


def _as_distributed(tables: list[Ints]) -> bool:
    return (
        len(tables) == _FOLDS
        and all(len(table) == _PAIRS and table[:, 2].sum() == _PAIRS // 2 for table in tables)
        and all(table[:, :2].max() <= _SAMPLES for table in tables)
    )


def _oddities(table: Ints, fold: Ints) -> list[str]:
    """Say where pairs are not what the read-me says of them; the label is what counts, and folds are as they are."""
    notes = []
    wrong = np.flatnonzero((table[:, 3] == table[:, 4]) != (table[:, 2] == 1))
    if len(wrong):
        first = " ".join(map(str, table[wrong[0]]))
        notes.append(
            f"{_pairs(len(wrong))} labelled otherwise than their actions say, such as {first}: the label counts"
        )
    alone = int((table[:, 0] == table[:, 1]).sum())
    if alone:
        notes.append(f"{_pairs(alone)} a sample with itself")
    for what, columns in (("actions", slice(3, 5)), ("samples", slice(0, 2))):
        shared = _in_several(table[:, columns], fold)
        if shared:
            notes.append(
                f"{shared} {what} in more than one fold: the folds should have {what} of their own"
            )
    several = _in_several(table[:, :2].reshape(-1, 1), table[:, 3:].ravel())
    if several:
        notes.append(f"{several} samples have more than one action")
    return notes


def _in_several(values: Ints, groups: Ints) -> int:
    """Return how many values (P, K) are in more than one group (P,)."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for row, group in zip(values.tolist(), groups.tolist(), strict=True):
        for value in row:
            found[value].add(group)
    return sum(len(each) > 1 for each in found.values())


def _pairs(n: int) -> str:
    return f"{n} pair{' is' if n == 1 else 's are'}"


def _shape(values: npt.NDArray[Any]) -> str:
    return " x ".join(map(str, values.shape))
