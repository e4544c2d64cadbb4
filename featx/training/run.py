"""A training run: from a dataset and a recipe to checkpoints, continued wherever it was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx import __version__
from featx.datasets import Dataset, DatasetRef
from featx.evaluation import Evaluation
from featx.extraction.backends.eager import resolve_precision
from featx.extraction.settings import takes_options
from featx.system.extras import installed
from featx.training.folder import EPOCHS, STEPS, RunFolder
from featx.training.loop import Progress, StepRow, Trainer, Validation
from featx.training.plan import Plan, check, make_plan
from featx.training.processes import Processes, joined
from featx.training.progress import shown
from featx.training.settings import TrainSettings, train_settings
from featx.weights.checkpoint import LoadedModel, save_checkpoint

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from featx.clips import ClipSpec
    from featx.extraction.settings import ClipOptions, Machine, Options, TransformOptions


@dataclass(repr=False)
class TrainReport:
    """How a run went.

    Attributes:
        out: The run's folder.
        model, dataset: What was trained, and on what.
        steps, epochs: Updates and epochs in all.
        new: Updates made by this call.
        validation: What the last validation gave.
        best, best_epoch: Best top-1 of a validation, and after which epoch.
        replaced: (video, reason, how often) of videos that could not be read and had others take their place.
        damaged_frames: Frames shown that decode in part.
        notes: What the user should know, a sentence each.
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

    @property
    def updates(self) -> str:
        """Which updates were made by this call, in words: "updates 11 to 30" of a run that was continued."""
        if not self.new:
            return f"nothing to do, {self.steps:,} updates made before"
        if self.new == self.steps:
            return f"{self.steps:,} update{'s' if self.steps > 1 else ''}"
        first = self.steps - self.new + 1
        return f"update {first:,}" if self.new == 1 else f"updates {first:,} to {self.steps:,}"

    def __repr__(self) -> str:
        found = ""
        if self.validation is not None and self.best is not None:
            best = f"best {self.best:.1%} after epoch {self.best_epoch}"
            found = f"; validation top-1 {self.validation.top1:.1%}, {best}"
        done = f"{self.updates}, {self.epochs} epochs"
        lines = [f"TrainReport({self.out!r}: {self.model} on {self.dataset}, {done}{found})"]
        lines += [
            f"  replaced: {path}, {times} times: {why}" for path, why, times in self.replaced[:3]
        ]
        if self.damaged_frames:
            lines.append(f"  {self.damaged_frames} damaged frames were shown")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclass(frozen=True, kw_only=True)
class TrainHooks:
    """What is called while a network is trained, in the process that speaks.

    Attributes:
        on_start: Called with the plan and the trainer, before the first update.
        on_progress: Called after every update.
        on_validation: Called with an epoch's number and what its validation gave.
    """

    on_start: Callable[[Plan, Trainer], None] = lambda *_: None
    on_progress: Callable[[Progress], None] = lambda _: None
    on_validation: Callable[[int, Validation], None] = lambda *_: None


@takes_options
def train(
    dataset: str | os.PathLike[str] | DatasetRef,
    out: str | os.PathLike[str],
    *,
    model: str = "res3d",
    recipe: str | None = None,
    overrides: Mapping[str, str] | None = None,
    root: str | os.PathLike[str] | None = None,
    split: int = 1,
    partial: bool = False,
    holdout: float = 0.2,
    weights: str | os.PathLike[str] | None = None,
    init_2d: str | os.PathLike[str] | None = None,
    clip: ClipOptions | ClipSpec | None = None,
    transform: TransformOptions | None = None,
    flow_cache: str | os.PathLike[str] | None = None,
    validate: str | None = None,
    validate_every: int = 1,
    protocol: str = "clip",
    seed: int = 0,
    machine: Machine | None = None,
    compile: bool = False,
    save_seconds: float = 300.0,
    hooks: TrainHooks | None = None,
    progress: bool | None = None,
    **options: Unpack[Options],
) -> TrainReport | None:
    """Train a network, or continue a run, and leave checkpoints in the folder `out`.

    `out` gets last.safetensors, and, with validation, best.safetensors of the epoch with the best top-1.

    Args:
        dataset: A name such as "ucf101", a folder of class folders, a csv, "generated", or a `DatasetRef`.
        out: The run's folder.
        model: A name of `featx.list_models()`.
        recipe: A paper's settings, a name of `featx.training.RECIPES`. None is that of the model's family.
        overrides: Fields of the recipe to replace, such as `{"lr": "0.05"}`.
        root, split, partial, holdout: As `load_dataset` takes them, for a dataset by name.
        weights: What to start from, as `load_model` takes it. None starts from nothing.
        init_2d: ImageNet weights for a semi-CNN's spatial layers.
        clip, transform, machine: As in `featx.extract`.
        flow_cache: A folder that `extract` keeps flow in.
        validate: The dataset's side to validate on, or "none".
        validate_every: Epochs from one validation to the next.
        protocol: Protocol of the validation, as in `featx.evaluate`.
        seed: Seed for untrained weights, draws and dropout.
        compile: Compile the network first.
        save_seconds: How often the run's state is written.
        hooks: Functions called while the network is trained.
        progress: True shows a progress bar, False shows none. None shows one if a person watches.
        **options: Fields of `ClipOptions`, `TransformOptions` and `Machine`, such as `frames=16` or `device="cuda"`.

    Returns:
        How it went; None in any but the first process of several.

    Raises:
        UsageError: For wrong arguments, or a folder with a run of other settings.
        FeatxError: Also when the loss is no longer finite, with the update and its videos.
    """
    settings = train_settings(
        dataset,
        model=model,
        recipe=recipe,
        overrides=overrides,
        root=root,
        split=split,
        partial=partial,
        holdout=holdout,
        weights=weights,
        init_2d=init_2d,
        clip=clip,
        transform=transform,
        flow_cache=flow_cache,
        validate=validate,
        validate_every=validate_every,
        protocol=protocol,
        seed=seed,
        machine=machine,
        compile=compile,
        save_seconds=save_seconds,
        **options,
    )
    planned: list[str] = []

    def start(plan: Plan, trainer: Trainer) -> None:
        planned.extend(plan.notes)
        told.on_start(plan, trainer)

    with shown(progress, hooks) as told:
        report = run_training(settings, out, hooks=replace(told, on_start=start))
    if report is not None:
        report.notes[:0] = planned
    return report


def run_training(
    settings: TrainSettings,
    out: str | os.PathLike[str],
    data: Dataset | None = None,
    *,
    hooks: TrainHooks | None = None,
) -> TrainReport | None:
    """Do what `train` does, with settings that are composed; the report has no notes that the plan has already.

    data: train on these, without validation, instead of on what `settings.dataset` names, which is then their name alone.
    """
    hooks = hooks or TrainHooks()
    with joined(settings.run.machine.device) as processes:
        planned = make_plan(settings, data)
        check(planned, processes)
        run = _Run(planned, Path(out), processes, hooks.on_progress, hooks.on_validation)
        try:
            report = run.go(hooks.on_start)
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
            resolve_precision(settings.run.machine.precision, processes.device)
            if on_gpu
            else "float32"
        )
        self.trainer = Trainer(
            self._model,
            planned.recipe,
            planned.source.epochs(planned.recipe),
            planned.transform,
            processes,
            seed=settings.run.seed,
            mixed=self._precision == "bf16",
            compiled=settings.run.compile,
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
                            save_seconds=planned.settings.run.save_seconds,
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
        if self._folder is not None and installed("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._out), purge_step=self.trainer.state.step + 1)

    def _write(self, rows: list[StepRow]) -> None:
        if self._folder is None:
            return
        self._folder.add("steps.csv", [list(asdict(row).values()) for row in rows])
        for row in rows:
            values = {"train/loss": row.loss, "train/top1": row.top1, "train/lr": row.lr}
            self._show(values, row.step)

    def _show(self, values: Mapping[str, float], step: int) -> None:
        """Write values to TensorBoard's events, where that is installed; the plan's notes say where it is not."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def _save(self) -> None:
        """Write the state, and the checkpoint that says where the run is."""
        if self._folder is not None:
            if self._board is not None:
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
            values = asdict(validation).items()
            self._show({f"val/{name}": v for name, v in values if v is not None}, state.step)
            self._on_validation(complete, validation)
        if self._board is not None:
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
        if self._folder is not None and installed("matplotlib"):
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
        f" from {planned.start['name']}, seed {settings.run.seed}, {state.step} of {trainer.steps} updates",
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
            "seed": settings.run.seed,
            "updates": state.step,
            "of": trainer.steps,
            "from": planned.start,
            "replaced": sum(state.replaced.values()),
        },
    }
