"""A training run: from a dataset and a recipe to checkpoints, continued wherever it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx import __version__
from featx.datasets import Dataset
from featx.evaluation import Evaluation
from featx.extraction.backends.eager import resolve_precision
from featx.training.folder import EPOCHS, STEPS, RunFolder
from featx.training.loop import Progress, StepRow, Trainer, Validation
from featx.training.plan import Plan, check, make_plan
from featx.training.processes import Processes, joined
from featx.training.settings import TrainSettings
from featx.weights.checkpoint import LoadedModel, save_checkpoint


@dataclass
class TrainReport:
    """How a run went. steps: updates made in all; new: by this call. replaced: (video, reason, how often).

    notes: what turned out meanwhile; the plan has those from before.
    """

    out: str
    model: str
    dataset: str
    steps: int
    epochs: int
    new: int = 0
    validation: Validation | None = None
    best: float | None = None
    best_epoch: int = 0
    replaced: list[tuple[str, str, int]] = field(default_factory=list)
    damaged_frames: int = 0
    notes: list[str] = field(default_factory=list)


def train(
    settings: TrainSettings,
    out: str | Path,
    data: Dataset | None = None,
    *,
    on_start: Callable[[Plan, Trainer], None] = lambda *_: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_validation: Callable[[int, Validation], None] = lambda *_: None,
) -> TrainReport | None:
    """Train a network, or continue a run, and leave checkpoints in the folder `out`; None but for the first process of several.

    data: train on these, without validation, instead of on what `settings.dataset` names, which is then their name alone.
    on_start, on_progress, on_validation: called in the process that speaks, the last with the epoch's number.

    Killed at any time, the same call continues, and on CPU comes to the same numbers to the bit. `out` then holds
    last.safetensors, and, with validation, best.safetensors of the epoch with the best top-1.

    Raises UsageError and FeatxError; the latter too when the loss is no longer finite, with the update and its videos.
    """
    with joined(settings.device) as processes:
        planned = make_plan(settings, data)
        check(planned, processes)
        run = _Run(planned, Path(out), processes, on_progress, on_validation)
        try:
            report = run.go(on_start)
            return report if processes.first else None
        finally:
            run.close()


class _Run:
    def __init__(
        self,
        planned: Plan,
        out: Path,
        processes: Processes,
        on_progress: Callable[[Progress], None],
        on_validation: Callable[[int, Validation], None],
    ) -> None:
        self._plan, self._out, self._processes = planned, out, processes
        self._on_progress, self._on_validation = on_progress, on_validation
        self._folder = RunFolder(out) if processes.first else None
        self._board: Any = None
        settings = planned.settings
        self._model = planned.model.to(processes.device)
        # On a CPU weight gradients in bf16 are wrong, and what is validated is what is trained.
        on_gpu = processes.device.type == "cuda"
        self._precision = (
            resolve_precision(settings.precision, processes.device) if on_gpu else "float32"
        )
        self.trainer = Trainer(
            self._model,
            planned.recipe,
            planned.source.epochs(planned.recipe),
            planned.transform,
            processes,
            seed=settings.seed,
            mixed=self._precision == "bf16",
            compiled=settings.compile,
        )
        self._notes: list[str] = []

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
        if self._folder is not None:
            self._folder.close()

    def go(self, on_start: Callable[[Plan, Trainer], None]) -> TrainReport:
        trainer, planned = self.trainer, self._plan
        self._continue()
        before = trainer.state.step
        if self._processes.first:
            on_start(planned, trainer)
        try:
            self._validate()
            if trainer.state.step < trainer.steps:
                with planned.source.batches(planned, trainer) as loader:
                    while trainer.state.step < trainer.steps:
                        until = min(
                            trainer.steps,
                            trainer.step_after(trainer.epochs_at(trainer.state.step) + 1),
                        )
                        trainer.run(
                            loader,
                            until,
                            on_rows=self._write,
                            on_progress=self._on_progress,
                            save=self._save,
                            save_seconds=planned.settings.save_seconds,
                            save_last=planned.source.saves_epochs or until == trainer.steps,
                        )
                        self._validate()
                    self._notes += loader.notes
        finally:
            self._draw()
        state = trainer.state
        return TrainReport(
            out=str(self._out),
            model=planned.settings.model,
            dataset=planned.source.title,
            steps=state.step,
            epochs=state.validated,
            new=state.step - before,
            validation=state.validation,
            best=state.best if state.best >= 0 else None,
            best_epoch=state.best_epoch,
            replaced=[(video, reason, n) for (video, reason), n in sorted(state.replaced.items())],
            damaged_frames=state.damaged_frames,
            notes=self._notes,
        )

    def _continue(self) -> None:
        """Take the state of an earlier run up, the same in every process."""
        state = None
        if self._folder is not None:
            self._folder.begin(self._plan.recorded)
            state = self._folder.state()
            self._folder.cut("steps.csv", STEPS, step=state["step"] if state is not None else 0)
            self._folder.cut("epochs.csv", EPOCHS, step=state["listed"] if state is not None else 0)
        state = self._processes.from_first(state)
        if state is not None:
            self.trainer.load_state_dict(state)
        if self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._out), purge_step=self.trainer.state.step + 1)

    def _write(self, rows: list[StepRow]) -> None:
        if self._folder is None:
            return
        self._folder.add("steps.csv", [list(asdict(row).values()) for row in rows])
        for row in rows:
            self._board.add_scalar("train/loss", row.loss, row.step)
            self._board.add_scalar("train/top1", row.top1, row.step)
            self._board.add_scalar("train/lr", row.lr, row.step)

    def _save(self) -> None:
        """Write the state, and the checkpoint that says where the run is."""
        if self._folder is not None:
            self._board.flush()
            self._checkpoint(self._folder.last)
            # Last: what was written before it and is newer is cut off, or written again, when a run goes on from it.
            self._folder.save(self.trainer.state_dict())

    def _validate(self) -> None:
        """End the epochs that are complete, which may be several after one update; validate when it is time, and at the end."""
        trainer, planned = self.trainer, self._plan
        state, at_end = trainer.state, trainer.state.step == trainer.steps
        complete, every = trainer.epochs_at(state.step), planned.settings.validate_every
        due = complete // every > state.validated // every or (at_end and state.listed < state.step)
        if complete == state.validated and not due:
            return
        validation = None
        if planned.source.validated is not None and due:
            validation = self._processes.from_first(
                self._evaluated() if self._processes.first else None
            )
        n = max(1, state.updates)
        row: list[object] = [complete, state.step, state.loss / n, state.top1 / n]
        row += (
            ["" if value is None else value for value in asdict(validation).values()]
            if validation is not None
            else [""] * 3
        )
        row.append(trainer.lr)
        state.updates, state.loss, state.top1 = 0, 0.0, 0.0
        state.listed = state.step
        for _ in range(complete - state.validated):
            trainer.epoch_ended(validation)
        best = validation is not None and trainer.judge(validation)
        if self._folder is None:
            return
        if best:
            self._checkpoint(self._folder.best, chosen=True)
        self._folder.add("epochs.csv", [row])
        # Not best.safetensors alone: a run that goes on from an older state would not know whose it is.
        if best or planned.source.saves_epochs or at_end:
            self._save()
        if validation is not None:
            for name, value in asdict(validation).items():
                if value is not None:
                    self._board.add_scalar(f"val/{name}", value, state.step)
            self._on_validation(complete, validation)
        self._board.flush()

    def _evaluated(self) -> Validation:
        planned = self._plan
        info = {"name": "in training", "sha256": None, "source": "in training", "licence": None}
        loaded = LoadedModel(
            model=self._model,
            transform=planned.transform,
            clip=planned.clip,
            weights_info=info,
            labels=planned.source.classes,
        )
        found = planned.source.evaluated(planned, loaded, self._precision, self._processes)
        for _, path, reason in found.failures:
            note = f"validation: {path} cannot be read ({reason}) and counts as wrong"
            if note not in self._notes:
                self._notes.append(note)
        return validation_of(found)

    def _checkpoint(self, path: Path, *, chosen: bool = False) -> None:
        planned = self._plan
        save_checkpoint(
            path,
            self._model,
            architecture=planned.settings.model,
            transform=planned.transform,
            clip=planned.clip,
            info=checkpoint_info(planned, self.trainer, chosen=chosen),
        )

    def _draw(self) -> None:
        if self._folder is not None:
            from featx.training.curves import plot_curves

            plot_curves(
                self._out,
                title=f"{self._plan.settings.model} on {self._plan.source.title}, {self._plan.recipe_name}",
            )


def validation_of(found: Evaluation) -> Validation:
    """Return an evaluation's mean cross-entropy, over what could be read, and its accuracies over all."""
    right = found.probabilities[np.flatnonzero(found.read), found.labels[found.read]].astype(
        np.float64
    )
    top5 = found.top5
    return Validation(
        float(-np.log(np.maximum(right, 1e-45)).mean()),
        found.top1.value,
        top5.value if top5 is not None else None,
    )


def checkpoint_info(planned: Plan, trainer: Trainer, *, chosen: bool) -> dict[str, Any]:
    """Return what a checkpoint says of itself: labels, metrics, what it was trained on, how, and from what."""
    state, source, settings = trainer.state, planned.source, planned.settings
    told, validation = source.told(planned, state.step * planned.recipe.batch), state.validation
    metrics: dict[str, Any] = {}
    if validation is not None and source.measured:
        metrics = {
            **source.measured,
            "updates": state.listed,
            "top1": validation.top1,
            "top5": validation.top5,
        }
        metrics["loss"] = validation.loss
    return {
        "name": f"{settings.model} on {source.title}",
        "source": f"trained with featx {__version__} on {told['what']}, recipe {planned.recipe_name},"
        f" from {planned.start['name']}, seed {settings.seed}, {state.step} of {trainer.steps} updates",
        "licence": told["licence"],
        "labels": list(source.classes),
        "metrics": metrics,
        "trained_on": {
            **told["trained_on"],
            "chosen_on": source.measured.get("on") if chosen else None,
        },
        "training": {
            "recipe": planned.recipe_name,
            **planned.recipe.to_dict(),
            "seed": settings.seed,
            "updates": state.step,
            "of": trainer.steps,
            "from": planned.start,
            "replaced": sum(state.replaced.values()),
        },
    }
