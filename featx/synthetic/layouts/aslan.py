"""ASLAN's layout: ASLAN_AVI/<sample>.avi, ten folds of pairs in View2.mat, and the lists of samples and actions.

Formats are the benchmark's read-me's (Kliper-Gross, Hassner and Wolf, PAMI 34(3), 2012), which leaves open how the
numbered files are called beyond their four digits. View1's pairs are not written: it does not name their variables.
"""

from __future__ import annotations

import itertools
import struct

import numpy as np
from numpy.typing import NDArray

from featx.errors import UsageError
from featx.synthetic.layouts._plan import Plan, Settings, clip_of, seeds

FOLDS = 10
# Same and not-same pairs of a fold, where there are that many.
_PAIRS = 300


def plan(settings: Settings) -> Plan:
    """Plan the samples, in an order that tells nothing of their actions, and folds with actions of their own."""
    actions, per_class = settings.classes, settings.per_class
    if len(actions) < 2 * FOLDS:
        raise UsageError(
            f"classes are {len(actions)}: ASLAN's {FOLDS} folds have two actions each of their own, so give {2 * FOLDS}"
        )
    if per_class < 2:
        raise UsageError(
            f"videos per class is {per_class}: pairs of the same action take 2 or more"
        )
    rng = np.random.default_rng(seeds(settings, "aslan"))
    order = rng.permutation(len(actions) * per_class)
    labels = order // per_class
    result = Plan()
    details, urls = [], []
    for sample, (label, number) in enumerate(zip(labels, order % per_class, strict=True), start=1):
        name = actions[label]
        result.videos.append(clip_of(settings, f"ASLAN_AVI/{sample:04d}.avi", name, int(number), 0))
        urls.append(f"generated{sample:02d}")
        details.append(
            f"{sample}\t{_said(name)}\\{_said(name)}-{urls[-1]}-generated-0-{settings.seconds:g}\n"
        )
    result.files["View2.mat"] = mat_file("action_splits_pairs", _folds(labels, len(actions), rng))
    texts = {
        "Samples_Details.txt": details,
        "Num_Samples_Per_Action.txt": [f"{per_class}\t{_said(name)}\n" for name in actions],
        "Actions_Ids.txt": [
            f"{number}\t{_said(name)}\n" for number, name in enumerate(actions, start=1)
        ],
        "URL_List.txt": [f"http://www.youtube.com/watch?v={url}\n" for url in urls],
    }
    result.files.update({name: "".join(rows).encode() for name, rows in texts.items()})
    return result


def _said(name: str) -> str:
    return name.replace("_", " ")


def _folds(
    labels: NDArray[np.int64], n_actions: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the pairs: (P, 5, 10), columns id1, id2, same, action1, action2, all numbers from 1; same is 1 or 0."""
    folds = []
    for own in np.array_split(rng.permutation(n_actions), FOLDS):
        samples = np.flatnonzero(np.isin(labels, own))
        pairs = np.array(list(itertools.combinations(samples, 2)))
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        folds.append((pairs[same], pairs[~same]))
    count = min(_PAIRS, *(len(pairs) for fold in folds for pairs in fold))
    tables = []
    for fold in folds:
        chosen = np.concatenate(
            [pairs[rng.choice(len(pairs), count, replace=False)] for pairs in fold]
        )
        is_same = np.repeat([1, 0], count)
        tables.append(
            np.column_stack([chosen + 1, is_same, labels[chosen] + 1])[rng.permutation(2 * count)]
        )
    return np.stack(tables, axis=2).astype(np.float64)


def mat_file(name: str, values: NDArray[np.float64]) -> bytes:
    """Return a MATLAB level 5 file with one array of doubles (The MathWorks, "MAT-File Format", chapter 1).

    Written here because featx does not depend on SciPy, which only a task that reads the file needs.
    """
    text = b"MATLAB 5.0 MAT-file, written by featx synth"
    flags = _element(6, struct.pack("<II", 6, 0))  # miUINT32; mxDOUBLE_CLASS
    shape = _element(5, struct.pack(f"<{values.ndim}i", *values.shape))  # miINT32
    array = (
        flags + shape + _element(1, name.encode()) + _element(9, values.tobytes(order="F"))
    )  # miINT8, miDOUBLE
    return text.ljust(124) + struct.pack("<H", 0x0100) + b"IM" + _element(14, array)  # miMATRIX


def _element(kind: int, content: bytes) -> bytes:
    """Return a tagged element, filled up to 8 bytes."""
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)
