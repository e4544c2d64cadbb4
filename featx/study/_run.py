"""A study: its rows trained and evaluated one after the other, continued wherever it was stopped."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from featx.datasets import Dataset
from featx.errors import FeatxError, UsageError
from featx.evaluation import recognise
from featx.extraction.engine import Stats
from featx.extraction.extract import Report as Evaluating
from featx.extraction.settings import Hooks
from featx.extraction.settings import Settings as ExtractionSettings
from featx.models import model_entry
from featx.models.count import Counts, count
from featx.models.registry import skeleton
from featx.study._comparable import differences, row_differences
from featx.study._settings import StudySettings
from featx.study._table import Row, Study
from featx.system.extras import absent
from featx.system.files import disk_full, lock_folder, write_atomically
from featx.training import Plan, Progress, TrainHooks, Validation, recipe, run_training
from featx.training.folder import differences as changed
from featx.training.loop import Trainer

_ROW, _STUDY = "result.json", "study.json"


@dataclass(frozen=True)
class Result:
    """What a row came to. accuracy, low, high: percent, with the 95 % interval; failed: videos that could not be read.

    weights: what it started from, of what `StudySettings.weights` says.
    """

    accuracy: float
    low: float
    high: float
    videos: int
    failed: int
    updates: int
    weights: str | None


@dataclass
class Entry:
    """A row of the table. counts: None where the network refuses clips of this size; failure: why it has no result.

    differences: what sets it apart from the paper's row, beside what sets all rows apart.
    """

    row: Row
    counts: Counts | None
    result: Result | None
    failure: str | None
    differences: list[str]


@dataclass
class StudyReport:
    """How a study stands. entries: of all rows that were asked for, now or before, in the study's order.

    differences: what sets all of them apart from the paper's; notes: of the data.
    """

    out: str
    study: Study
    settings: StudySettings
    evaluated: Dataset
    entries: list[Entry]
    differences: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, str]:
        """Why rows of this call have no result, by their names."""
        return {
            entry.row.name: entry.failure for entry in self.entries if entry.failure is not None
        }


class Watcher:
    """What is told of a study while it runs; does nothing by itself."""

    def row(self, row: Row, number: int, of: int) -> None:
        """A row begins, the `number`th from 1."""

    def training(self, plan: Plan, trainer: Trainer) -> None:
        """Its training begins, or continues."""

    def trained(self, progress: Progress) -> None:
        """Updates were made."""

    def validated(self, epoch: int, found: Validation) -> None:
        """An epoch was validated."""

    def evaluating(self, report: Evaluating) -> None:
        """Its evaluation begins."""

    def evaluated(self, stats: Stats) -> None:
        """Videos were evaluated."""

    def ended(self, entry: Entry) -> None:
        """The row has a result, from before or now, or a failure."""


def run_study(
    settings: StudySettings, out: str | os.PathLike[str], *, watcher: Watcher | None = None
) -> StudyReport:
    """Train and evaluate the rows of a study, each in a folder of its name in `out`, and write results.csv, .txt and .png.

    A row that is done is not repeated, one half done continues, and one that fails is told, and the others go on; the
    three files are written anew after every row. What is evaluated is last.safetensors, which no validation chose.
    Raises UsageError where `out` holds a study with other settings, and for data that is not there.
    """
    # They import the run's types.
    from featx.study._report import write

    watcher = watcher or Watcher()
    study, rows = settings.chosen()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "a study trains in one process: leave torchrun out, and give each GPU rows of its own and a folder"
        )
    for row in rows:
        recipe(study.recipe(row, settings.name), {**settings.overrides, **row.overrides})
    which = settings.dataset
    sides = which.lists.about.subsets
    training = which.load("train")
    test = which.load("val" if "val" in sides else "test")
    folder = Path(out)
    with lock_folder(folder, name=str(folder)):
        _begin(folder, settings)
        report = StudyReport(
            out=str(folder),
            study=study,
            settings=settings,
            evaluated=test,
            entries=[
                _entry(settings, study, row, folder, len(training.classes))
                for row in study.rows
                if row in rows or (folder / row.name / _ROW).exists()
            ],
            differences=differences(settings, training, test),
            notes=[
                *dict.fromkeys([*training.notes, *test.notes]),
                *absent("matplotlib", what="results.png is not drawn"),
            ],
        )
        todo = [entry for entry in report.entries if entry.row in rows]
        for number, entry in enumerate(todo, start=1):
            if entry.result is None:
                watcher.row(entry.row, number, len(todo))
                try:
                    entry.result = _do(
                        settings, study, entry.row, folder / entry.row.name, test, watcher
                    )
                except (FeatxError, RuntimeError, MemoryError) as error:
                    entry.failure = _reason(error)
            write(report)
            watcher.ended(entry)
    return report


def _begin(folder: Path, settings: StudySettings) -> None:
    """Write down what all rows share, or hold it against what it was; UsageError with what differs."""
    place = folder / _STUDY
    if not place.exists():
        others = sorted(path.name for path in folder.iterdir() if path.name != "lock")
        if others:
            raise UsageError(
                f"{folder} holds {', '.join(others[:3])} and is no study: give a new folder"
            )
        with disk_full(folder):
            write_atomically(place, json.dumps(settings.recorded, indent=1).encode())
        return
    differing = sorted(changed(_read(place), json.loads(json.dumps(settings.recorded))))
    if differing:
        raise UsageError(
            f"{folder} holds a study with other settings ({'; '.join(differing[:3])}): give the same ones, or a new folder"
        )


def _read(place: Path) -> Any:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except ValueError:
        raise FeatxError(f"{place} is damaged: give a new folder") from None


def _entry(settings: StudySettings, study: Study, row: Row, folder: Path, classes: int) -> Entry:
    place, result = folder / row.name / _ROW, None
    if place.exists():
        result = Result(**_read(place))
        now = settings.start_of(row.name) if study.start(row, settings.name) != "nothing" else None
        if result.weights != now and (row.name in settings.weights or "" in settings.weights):
            raise UsageError(
                f"{folder / row.name} started from {result.weights or 'nothing'}, now {now or 'nothing'}: give a new folder"
            )
    try:
        counts = _counts(settings, row, classes)
    except (
        FeatxError,
        RuntimeError,
    ):  # the row itself will say what the network has against such clips
        counts = None
    return Entry(row, counts, result, None, row_differences(settings, study, row))


def _counts(settings: StudySettings, row: Row, classes: int) -> Counts:
    entry = model_entry(row.model)
    side = settings.crop or entry.transform.crop
    return count(skeleton(row.model, num_classes=classes), (3, entry.clip.frames, side, side))


def _do(
    settings: StudySettings, study: Study, row: Row, folder: Path, test: Dataset, watcher: Watcher
) -> Result:
    """Train a row, or continue with it, and evaluate it."""
    asked = settings.training(study, row)
    watched = TrainHooks(
        on_start=watcher.training,
        on_progress=watcher.trained,
        on_validation=watcher.validated,
    )
    trained = run_training(asked, folder, hooks=watched)
    if trained is None:
        raise RuntimeError("training ran in another process")
    network = ExtractionSettings(
        model=row.model, weights=str(folder / "last.safetensors"), machine=settings.run.machine
    )
    hooks = Hooks(on_start=watcher.evaluating, on_progress=watcher.evaluated)
    found = recognise(network, test, protocol=study.protocol, hooks=hooks)
    low, high = found.top1.interval()
    result = Result(
        accuracy=100 * found.top1.value,
        low=100 * low,
        high=100 * high,
        videos=len(found.ids),
        failed=len(found.failures),
        updates=trained.steps,
        weights=asked.weights or asked.init_2d,
    )
    with disk_full(folder):
        write_atomically(folder / _ROW, json.dumps(asdict(result), indent=1).encode())
    return result


def _reason(error: Exception) -> str:
    """Return in one sentence why a row failed; an error that is nobody's but ours is raised again."""
    if isinstance(error, FeatxError):
        return str(error)
    # On CPU there is no kind of its own.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        return "out of memory: give `overrides={'accumulate': 'N'}`, a divisor of the batch, to divide it over several passes"
    raise error
