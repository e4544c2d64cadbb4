"""What a study is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.errors import UsageError
from featx.study._table import Row, Study, study_named
from featx.training import TrainSettings

# In `weights`: start from nothing, though the paper does not.
NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study is asked for.

    study: a name of STUDIES. dataset, root, split, partial, holdout: as `load_dataset` takes them.
    rows: names of those to do; None for all. overrides: fields of every row's recipe, as `recipes.recipe` takes them.
    weights: by row, "" for all others, what the rows start from that do not start from nothing in the paper: a file or a
        registered checkpoint, or the file of ImageNet weights; NOTHING starts from nothing after all.
    crop, seed, precision, device, compile, workers, timeout, save_seconds: as `TrainSettings` has them.
    """

    study: str
    dataset: str
    root: str | None = None
    split: int = 1
    partial: bool = False
    holdout: float = 0.2
    rows: tuple[str, ...] | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    crop: int | None = None
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    compile: bool = False
    workers: int | None = None
    timeout: float = 120.0
    save_seconds: float = 300.0

    @property
    def recorded(self) -> dict[str, Any]:
        """What all rows in a folder must share, as JSON values."""
        names = (
            "study",
            "dataset",
            "root",
            "split",
            "partial",
            "holdout",
            "crop",
            "seed",
            "precision",
        )
        return {**{name: getattr(self, name) for name in names}, "overrides": dict(self.overrides)}

    def start_of(self, row: str) -> str | None:
        """Return the file or checkpoint that a row starts from, if it does not start from nothing in the paper."""
        found = self.weights.get(row, self.weights.get(""))
        return None if found == NOTHING else found

    def training(self, study: Study, row: Row) -> TrainSettings:
        """Return what a row is trained with; UsageError for an override that the recipe has not."""
        start, weights = study.start(row, self.dataset), self.start_of(row.name)
        return TrainSettings(
            model=row.model,
            dataset=self.dataset,
            recipe=study.recipe(row, self.dataset),
            overrides={**self.overrides, **row.overrides},
            root=self.root,
            split=self.split,
            partial=self.partial,
            holdout=self.holdout,
            weights=weights if start == "checkpoint" else None,
            init_2d=weights if start == "imagenet" else None,
            seed=self.seed,
            step=row.step,
            crop=self.crop,
            precision=self.precision,
            device=self.device,
            compile=self.compile,
            workers=self.workers,
            timeout=self.timeout,
            save_seconds=self.save_seconds,
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
                f"the rows of {study.name} differ in {own[0]}: leave --set {own[0]} out"
            )
        for start, what in (
            ("checkpoint", "fine-tuned from a checkpoint"),
            ("imagenet", "started from ImageNet weights"),
        ):
            without = [
                row.name
                for row in rows
                if study.start(row, self.dataset) == start
                and row.name not in self.weights
                and "" not in self.weights
            ]
            if without:
                more = f" and {len(without) - 3} more" if len(without) > 3 else ""
                raise UsageError(
                    f"{', '.join(without[:3])}{more} are {what} in the paper, and there is none: give --weights FILE, or ROW=FILE"
                    f" for each, or --weights {NOTHING} to start from nothing, or choose others with --rows"
                )
        return study, rows
