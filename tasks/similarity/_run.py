"""Action similarity labelling: feature files in, answers to the benchmark's pairs out (Res3D paper, section 5.2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.datasets import match_ids
from featx.datasets.aslan import NAME, Pairs, read_pairs
from featx.errors import FeatxError, UsageError
from featx.tasks.features import Features, Files, Given, listed
from featx.tasks.linear import C as DEFAULT_C
from featx.tasks.linear import check_C, check_installed
from featx.tasks.results import shown
from featx.tasks.similarity._folds import Outcome, cross_validate
from featx.tasks.similarity._measures import MEASURES, measure_pairs, negatives

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Res3D paper, section 5.2.
LAYERS = ("res5b", "pool5", "prob")
# What stands for all layers together, and for all measures together, where there is one of each.
ALL = "all"
# Samples that are read between two words about it.
_READ_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity:
    """What was found on one view of the benchmark.

    pairs: those that were used. dropped: how many of each fold were not, its samples having no features. features: titles of
    the L features, in order; names: short ones. values: (P, 12 L), the pairs' numbers, measure by measure for each of them.
    whole: of all numbers. by_features: of each one's 12, by name. by_measure: of a measure, by the names of measure and features,
    each alone and `ALL` together; None where it was not asked for.
    """

    pairs: Pairs
    dropped: Mapping[int, int]
    features: tuple[str, ...]
    names: tuple[str, ...]
    C: float
    values: Floats
    whole: Outcome
    by_features: Mapping[str, Outcome]
    by_measure: Mapping[tuple[str, str], Outcome] | None
    notes: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether it is the benchmark's: view 2 as distributed, with every pair."""
        return self.pairs.official and not any(self.dropped.values())

    def __repr__(self) -> str:
        return shown("Similarity", self.pairs.title, self.whole.in_words, notes=self.notes)


def aslan(
    features: Given | Sequence[Given],
    *,
    root: str | os.PathLike[str] | None = None,
    view: int = 2,
    layers: Sequence[str] = LAYERS,
    C: float = DEFAULT_C,
    measures: bool = False,
    partial: bool = False,
    allow_trained_on: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Similarity:
    """Tell for each of ASLAN's pairs of samples whether both show the same action, and how often that is right.

    features: one or more files; of each feature file all `layers` are used, another library's has none to choose. A feature is
    averaged over a sample's clips and L2-normalised; 12 measures of it are a pair's numbers, which are standardised, and told
    apart by a linear SVM, on the training folds alone.
    root: where the official files lie, by default their folder in $FEATX_DATA. view: 2, or 1 for development. C: the SVM's.
    measures: also each measure alone. partial: leave out pairs of samples without features, and say how many.
    allow_trained_on: go on with a checkpoint that was trained on ASLAN's samples. on_progress: called with (done, of all).
    Raises UsageError for what is not there or not known, FeatxError for samples without features and damaged files.
    """
    check_settings(layers, C)
    pairs = read_pairs(root, view=view)
    with Files() as files:
        opened = [each for one in listed(features) for each in _opened(one, layers, files)]
        if not opened:
            raise UsageError("no features are given: give a feature file")
        notes = [note for each in opened for note in _trained_on(each, allow=allow_trained_on)]
        pairs, dropped, told = _usable(pairs, opened, partial=partial)
        blocks = []
        for number, each in enumerate(opened):
            values, negative = _block(each, pairs, _part_of(on_progress, number, len(opened)))
            blocks.append(values)
            if negative:
                notes.append(
                    f"{each.title} has {negative} numbers below 0, of {len(pairs.samples) * each.dims}:"
                    " most measures take them for 0"
                )
        titles, names = tuple(each.title for each in opened), _names(opened)

    def score(values: Floats) -> Outcome:
        return cross_validate(values, pairs.same, pairs.fold, pairs.rounds, C=C)

    whole = np.concatenate(blocks, axis=1)
    by_measure = None
    if measures:
        by_measure = {}
        for column, measure in enumerate(MEASURES):
            by_measure.update(
                {
                    (measure.name, n): score(b[:, column : column + 1])
                    for n, b in zip(names, blocks, strict=True)
                }
            )
            by_measure[measure.name, ALL] = score(whole[:, column :: len(MEASURES)])
    return Similarity(
        pairs=pairs,
        dropped=dropped,
        features=titles,
        names=names,
        C=C,
        values=whole,
        whole=score(whole),
        by_features={name: score(block) for name, block in zip(names, blocks, strict=True)},
        by_measure=by_measure,
        notes=tuple(dict.fromkeys([*pairs.notes, *told, *notes])),
    )


def check_settings(layers: Sequence[str], C: float) -> None:
    """Raise UsageError for settings that no features could be right for, before any are extracted."""
    check_installed()
    check_C(C)
    if not layers:
        raise UsageError(f"no layers are named: give some, such as {','.join(LAYERS)}")
    if len(set(layers)) < len(layers):
        raise UsageError(f"layers are {','.join(layers)}: name each once")


def _opened(given: Given, layers: Sequence[str], files: Files) -> list[Features]:
    """Return a feature file's layers, or another library's features."""
    if not files.has_layers(given):
        return [files.open(given)]
    return [files.open(given, layer) for layer in layers]


def _names(opened: Sequence[Features]) -> tuple[str, ...]:
    """Return a short name for each: the layer, with the file where several have it, or another library's file."""
    short = [each.layer or each.path.name for each in opened]
    names = [
        f"{n} of {each.path.name}" if short.count(n) > 1 and each.layer else n
        for n, each in zip(short, opened, strict=True)
    ]
    if len({*names, ALL}) <= len(names):
        raise UsageError(
            f"features are {', '.join(names)}: give each once, and in files of different names"
        )
    return tuple(names)


def _trained_on(features: Features, *, allow: bool) -> list[str]:
    """Say, or refuse, that a checkpoint has seen ASLAN's samples, whichever fold they are of."""
    told = features.settings.weights.trained_on if features.settings is not None else {}
    if not told or told.get("dataset") != NAME:
        return []
    what = f"the checkpoint of {features.title} was trained on {NAME}'s samples"
    if not allow:
        raise UsageError(
            f"{what}, whose actions must not be seen before: give features of another, or `allow_trained_on=True`"
        )
    return [f"{what}: the accuracy is no measurement of actions that it has not seen"]


# ---------------------------------------------------------------- samples to pairs' numbers


def _usable(
    pairs: Pairs, opened: Sequence[Features], *, partial: bool
) -> tuple[Pairs, dict[int, int], list[str]]:
    """Return the pairs whose samples have all features, how many of each fold were dropped, and what to tell."""
    without: set[str] = set()
    for each in opened:
        items = pairs.samples_in(each.ids)
        found = match_ids(items, each.ids, unique_names=True)
        missing = [item.id for item in items if item.id not in found]
        without.update(missing)
        if missing and not partial:
            _refuse(pairs, each, missing)
    folds = sorted(set(pairs.fold.tolist()))
    keep = np.asarray(
        [not ({f"{a:04d}", f"{b:04d}"} & without) for a, b in pairs.ids.tolist()], bool
    )
    dropped = {fold: int((~keep & (pairs.fold == fold)).sum()) for fold in folds}
    if keep.all():
        return pairs, dropped, []
    kept = pairs.subset(keep)
    for fold in folds:
        inside = kept.same[kept.fold == fold]
        if len(set(inside.tolist())) < 2:
            raise FeatxError(
                f"fold {fold} of {pairs.title} has {len(inside)} pairs left, not some that are the same and some that are not:"
                f" {len(without)} samples have no features; get more of them"
            )
    by_fold = ", ".join(f"{dropped[fold]} of {int((pairs.fold == fold).sum())}" for fold in folds)
    note = (
        f"{int((~keep).sum())} of {len(keep)} pairs are left out, {len(without)} of {len(pairs.samples)} samples having no"
        f" features (by fold: {by_fold}): the accuracy is not the benchmark's"
    )
    return kept, dropped, [note]


def _refuse(pairs: Pairs, features: Features, missing: Sequence[str]) -> None:
    """Raise FeatxError that names samples without features: first those that have no video either."""
    lost = [sample for sample in missing if sample in set(pairs.absent)]
    if lost:
        named = ", ".join(lost[:3]) + (" …" if lost[3:] else "")
        raise FeatxError(
            f"{len(lost)} of {len(pairs.samples)} samples that the pairs have are neither in {features.path} nor in {pairs.root}"
            f" ({named}): get them, or go on without their pairs with `partial=True`"
        )
    features.find(pairs.samples_in(features.ids), dataset=NAME)  # says which, and why


def _block(
    features: Features, pairs: Pairs, on_progress: Callable[[float], None]
) -> tuple[Floats, int]:
    """Return one feature's 12 numbers of every pair, (P, 12), and how many entries of its rows are below 0."""
    items = pairs.samples_in(features.ids)
    features.find(
        items, dataset=NAME
    )  # two videos that could be one sample are told of now, not when they are read
    rows = np.empty((len(items), features.dims), np.float32)
    for start in range(0, len(items), _READ_AT_ONCE):
        part = items[start : start + _READ_AT_ONCE]
        rows[start : start + len(part)] = features.rows(part, dataset=NAME)
        on_progress(0.5 * (start + len(part)) / len(items))
    places = {int(item.id): place for place, item in enumerate(items)}
    of = np.asarray([[places[a], places[b]] for a, b in pairs.ids.tolist()], np.int64)
    return measure_pairs(
        rows, of, on_progress=lambda done: on_progress(0.5 + 0.5 * done / len(of))
    ), negatives(rows)


def _part_of(
    on_progress: Callable[[int, int], None] | None, number: int, of: int
) -> Callable[[float], None]:
    """Return what takes the share of one feature's work that is done, and tells the share of all, in thousandths."""

    def progress(share: float) -> None:
        if on_progress is not None:
            on_progress(round(1000 * (number + share) / of), 1000)

    return progress
