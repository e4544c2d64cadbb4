"""What a study is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.datasets import DatasetRef
from featx.errors import UsageError
from featx.extraction.settings import ClipOptions, TransformOptions
from featx.study._table import Row, Study, study_named
from featx.training import RunOptions, TrainSettings

# In `weights`: start from nothing, though the paper does not.
NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study is asked for.

    Attributes:
        study: A name of STUDIES.
        dataset: Which dataset.
        rows: Names of those to do. None is all.
        overrides: Fields of every row's recipe, as `recipes.recipe` takes them.
        weights: By row, "" for all others, what the rows start from that do not start from nothing in the paper: a file
            or a registered checkpoint, or the file of ImageNet weights. NOTHING starts from nothing after all.
        crop: Side of the networks' input in pixels.
        run: Seed, machine, and how each run goes.
    """

    study: str
    dataset: DatasetRef
    rows: tuple[str, ...] | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    crop: int | None = None
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def recorded(self) -> dict[str, Any]:
        """What all rows in a folder must share, as JSON values."""
        which = self.dataset
        return {
            "study": self.study,
            "dataset": self.name,
            "root": None if which.root is None else os.fspath(which.root),
            "split": which.split,
            "partial": which.partial,
            "holdout": which.holdout,
            "crop": self.crop,
            "seed": self.run.seed,
            "precision": self.run.machine.precision,
            "overrides": dict(self.overrides),
        }

    @property
    def name(self) -> str:
        """The dataset's name."""
        return os.fspath(self.dataset.name)

    def start_of(self, row: str) -> str | None:
        """Return the file or checkpoint that a row starts from, if it does not start from nothing in the paper."""
        found = self.weights.get(row, self.weights.get(""))
        return None if found == NOTHING else found

    def training(self, study: Study, row: Row) -> TrainSettings:
        """Return what a row is trained with; UsageError for an override that the recipe has not."""
        start, weights = study.start(row, self.name), self.start_of(row.name)
        return TrainSettings(
            model=row.model,
            dataset=self.dataset,
            recipe=study.recipe(row, self.name),
            overrides={**self.overrides, **row.overrides},
            weights=weights if start == "checkpoint" else None,
            init_2d=weights if start == "imagenet" else None,
            clip=ClipOptions(step=row.step),
            transform=TransformOptions(crop=self.crop),
            run=self.run,
        )

    def chosen(self) -> tuple[Study, tuple[Row, ...]]:
        """Return the study and the rows to do; UsageError for names that it has not, and for rows with nothing to start from."""
        study = study_named(self.study)
        rows = study.choose(self.rows)
        study.choose(tuple(name for name in self.weights if name))
        own = sorted(
            {name for row in study.rows for name in row.overrides if name in self.overrides}
        )
        if own:
            raise UsageError(
                f"the rows of {study.name} differ in {own[0]}: leave {own[0]} out of `overrides`"
            )
        for start, what in (
            ("checkpoint", "fine-tuned from a checkpoint"),
            ("imagenet", "started from ImageNet weights"),
        ):
            without = [
                row.name
                for row in rows
                if study.start(row, self.name) == start
                and row.name not in self.weights
                and "" not in self.weights
            ]
            if without:
                more = f" and {len(without) - 3} more" if len(without) > 3 else ""
                raise UsageError(
                    f"{', '.join(without[:3])}{more} are {what} in the paper, and there is none: give"
                    f" `weights={{'': 'FILE'}}` for all rows, or `weights={{'ROW': 'FILE'}}` for each, or"
                    f" `weights={{'': {NOTHING!r}}}` to start from nothing, or choose others with `rows`"
                )
        return study, rows
