"""A fitted SVM asked about videos, of whatever dataset or of none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featx.datasets import Item
from featx.errors import UsageError
from featx.store.reader import GivenVideo
from featx.store.recorded import differences, row_differences
from featx.tasks.features import Features, Files, Given, listed, path_of
from featx.tasks.linear import Floats, Ints
from featx.tasks.recognition._model_file import Model, read_model
from featx.tasks.recognition._result import Origin
from featx.tasks.results import number_of, shown

_NOTED = ("precision", "clip", "decoder")
# Videos whose rows are held at once.
_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What an SVM takes N videos for. scores: (N, K), of the model's classes; notes: what the user should be told."""

    model: Model
    ids: tuple[str, ...]
    scores: Floats
    notes: tuple[str, ...]

    @property
    def best(self) -> Ints:
        """(N, 2) int64, the classes with the highest and the second highest score, the first of equals first."""
        return np.argsort(-self.scores, axis=1, kind="stable")[:, :2]

    @property
    def margins(self) -> Floats:
        """(N,) the highest score less the second highest."""
        ordered = np.sort(self.scores, axis=1)
        return np.asarray(ordered[:, -1] - ordered[:, -2])

    def __repr__(self) -> str:
        classes = Counter(self.model.classes[place] for place in self.best[:, 0].tolist())
        most = [f"{n:,} {name}" for name, n in classes.most_common(3)]
        told = [*most, "…"] if len(classes) > len(most) else most
        return shown("Prediction", number_of(len(self.ids), "video"), *told, notes=self.notes)


def predict(
    model: str | os.PathLike[str],
    features: Given | Sequence[Given],
) -> Prediction:
    """Return what a saved SVM takes the videos of feature files for.

    features: as many files as the SVM was trained on, in that order; the first one's videos are asked about.
    Raises UsageError for features that were made otherwise than the SVM's own, FeatxError for videos that a file lacks.
    """
    fitted = read_model(model)
    given = listed(features)
    if len(given) != len(fitted.origins):
        wanted = ", ".join(each.title for each in fitted.origins)
        raise UsageError(
            f"{len(given)} feature files for an SVM on {len(fitted.origins)} features: give those of {wanted}"
        )
    with Files() as files:
        sources: list[Features] = []
        notes: list[str] = []
        for each, origin in zip(given, fitted.origins, strict=True):
            source, told = _fitting(each, origin, os.fspath(model), files)
            sources.append(source)
            notes += told
        ids = list(sources[0].ids)
        if not ids:
            raise UsageError(f"{path_of(given[0])} has no videos: extract some")
        known = [_known(source, ids) for source in sources]
        scores = np.zeros((len(ids), len(fitted.classes)))
        for start in range(0, len(ids), _BLOCK):
            block = slice(start, start + _BLOCK)
            for place, (source, names) in enumerate(zip(sources, known, strict=True)):
                scores[block] += fitted.classifier.scores(place, source.rows_by_id(names[block]))
    return Prediction(
        model=fitted, ids=tuple(ids), scores=scores, notes=tuple(dict.fromkeys(notes))
    )


def _known(source: Features, ids: Sequence[str]) -> Sequence[str]:
    """Return under which ids a file has the videos that another has under `ids`."""
    if set(ids) <= set(source.ids):
        return ids
    found = source.find([Item(id=each, path=each, label=-1) for each in ids])
    return [found[each] for each in ids]


def _fitting(given: Given, origin: Origin, model: str, files: Files) -> tuple[Features, list[str]]:
    """Open a file's features; UsageError where they were made otherwise than those the SVM was trained on; notes."""
    path = path_of(given)
    try:
        source = files.open(given)
    except GivenVideo as error:
        if origin.settings is None:
            raise
        wanted = replace(origin.settings, layers=(str(origin.layer),))
        command = wanted.command(path, str(Path(path).with_suffix(".h5")))
        raise UsageError(
            f"{error}, here by `{command}`: the settings are those of {model}"
        ) from error
    if (source.settings is None) != (origin.settings is None):
        kind = "another library's rows" if origin.settings is None else "a feature file"
        raise UsageError(
            f"{model} was trained on {kind}, {origin.title}, and {path} is none: give those"
        )
    if source.settings is not None and origin.settings is not None:
        changed = row_differences(origin.settings, source.settings)
        if changed:
            raise UsageError(
                f"{model} was trained on other features than {path} has: {changed}; extract with the SVM's settings"
            )
        if origin.layer not in source.settings.layers:
            there = ",".join(source.settings.layers)
            raise UsageError(
                f"{model} was trained on {origin.title} and {path} has {there}: extract with `layers={[origin.layer]}`"
            )
        source = files.open(given, origin.layer)
    if source.dims != origin.dims:
        raise UsageError(
            f"{model} takes {origin.dims} numbers of {origin.title} and {path} has {source.dims}: give its own"
        )
    if source.settings is None or origin.settings is None:
        return source, [
            f"nothing in {path} but their width says that its rows were made as those of {origin.path}"
        ]
    noted = differences(origin.settings, source.settings, names=_NOTED)
    return source, [
        f"{path} was made otherwise than what {model} was trained on: {noted}"
    ] if noted else []
