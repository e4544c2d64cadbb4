"""A fitted SVM's file: `featx svm --save` writes it, `featx svm predict` reads it.

An .npz, read without pickle:
    coef        (M, K, D) float32: M machines, K classes; D is all features' dims, or, with fusion "scores", one machine's is its
                feature's and they lie one after the other as coef0 (K, D0), coef1 (K, D1), ...
    intercept   (M, K) float64
    C           (M,) float64
    classes     (K,) str
    about       JSON: format, format_version, featx_version, fusion, trained_on (title, dataset, split, videos), accuracy, and
                features: of each its layer, dims, and the feature file's settings
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import UsageError
from featx.store.recorded import Recorded
from featx.system.files import check_stored, disk_full, write_atomically
from featx.tasks.linear import Hyperplanes
from featx.tasks.recognition._classifier import FUSIONS, Classifier
from featx.tasks.recognition._result import Origin, SplitResult
from featx.tasks.results import number_of, shown

FORMAT = "featx-svm"
FORMAT_VERSION = 1
# What writes one, in messages.
_WRITER = "`featx svm --save FILE` (in Python: featx.tasks.svm(..., save=FILE))"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A fitted SVM and what it rests on. trained_on: title, dataset, split, videos; accuracy: on that split's test videos."""

    classifier: Classifier
    classes: tuple[str, ...]
    origins: tuple[Origin, ...]
    trained_on: dict[str, Any]
    accuracy: dict[str, float]

    @classmethod
    def of(cls, result: SplitResult) -> Model:
        """Return what a split's result has fitted."""
        trained_on = {"title": result.title, "split": result.split, "videos": result.trained}
        return cls(
            classifier=result.classifier,
            classes=result.classes,
            origins=result.origins,
            trained_on=trained_on,
            accuracy=result.accuracy.as_json(),
        )

    def __repr__(self) -> str:
        accuracy = f"{100 * self.accuracy['value']:.1f} % right"
        return shown(
            "Model", self.trained_on["title"], number_of(len(self.classes), "class"), accuracy
        )


def write_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model's file, whole or not at all; the same model gives the same bytes."""
    from featx import __version__

    machines = model.classifier.machines
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "featx_version": __version__,
        "fusion": model.classifier.fusion,
        "trained_on": model.trained_on,
        "accuracy": model.accuracy,
        "features": [each.to_json() for each in model.origins],
    }
    arrays: dict[str, Any] = {
        "intercept": np.stack([machine.intercept for machine in machines]),
        "C": np.asarray([machine.C for machine in machines]),
        "classes": np.asarray(model.classes),
        "about": json.dumps(about),
        **{f"coef{place}": machine.coef for place, machine in enumerate(machines)},
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content.getvalue())


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a model's file; UsageError for one that is none, or is damaged."""
    path = os.fspath(path)
    wrong = f"{path} is not an SVM's file: give one that {_WRITER} wrote"
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            check_stored(file)
            arrays = stack.enter_context(np.load(file, allow_pickle=False))
            about = json.loads(str(arrays["about"]))
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                raise UsageError(wrong)
            if about["format_version"] != FORMAT_VERSION:
                raise UsageError(
                    f"{path} has format version {about['format_version']}, this featx reads {FORMAT_VERSION}: update it"
                )
            model = _model(arrays, about)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"cannot read the model {path}: {error.strerror or error}") from error
    except (
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        MemoryError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UsageError(wrong) from error
    if (why := _damage(model)) is not None:
        raise UsageError(f"{path} is damaged: {why}; write it again with {_WRITER}")
    return model


def _model(arrays: Any, about: dict[str, Any]) -> Model:
    origins = tuple(_origin(each) for each in about["features"])
    fusion = str(about["fusion"])
    count = len(origins) if fusion == "scores" else 1
    machines = tuple(
        Hyperplanes(arrays[f"coef{place}"], arrays["intercept"][place], float(arrays["C"][place]))
        for place in range(count)
    )
    return Model(
        classifier=Classifier(
            dims=tuple(each.dims for each in origins), fusion=fusion, machines=machines
        ),
        classes=tuple(str(each) for each in arrays["classes"]),
        origins=origins,
        trained_on=dict(about["trained_on"]),
        accuracy=dict(about["accuracy"]),
    )


def _origin(told: dict[str, Any]) -> Origin:
    settings = told["settings"]
    made = None if settings is None else Recorded.from_json(settings)
    return Origin(**{**told, "settings": made})


def _damage(model: Model) -> str | None:
    """Return what does not agree in a model that could be read."""
    classifier, size = model.classifier, len(model.classes)
    if classifier.fusion not in FUSIONS or not model.origins:
        return f"fusion is {classifier.fusion!r} of {len(model.origins)} features"
    if not all(isinstance(each.dims, int) for each in model.origins):
        return "it does not say how its features were made"
    if not isinstance(model.accuracy.get("value"), float) or not {"title", "videos"} <= set(
        model.trained_on
    ):
        return "it does not say what it was trained on"
    if size < 2:
        return f"it has {size} classes"
    widths = classifier.dims if classifier.fusion == "scores" else (sum(classifier.dims),)
    for machine, width in zip(classifier.machines, widths, strict=True):
        if (
            machine.coef.shape != (size, width)
            or machine.intercept.shape != (size,)
            or machine.coef.dtype != np.float32
        ):
            coef = f"{machine.coef.dtype} {machine.coef.shape}"
            return f"coef is {coef} and intercept {machine.intercept.shape}, for {size} classes"
        if not (np.isfinite(machine.coef).all() and np.isfinite(machine.intercept).all()):
            return "it has numbers that are not finite"
    return None
