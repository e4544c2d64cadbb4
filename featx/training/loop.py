"""The training loop: updates from a stream of clips, from any state to the end, the same whether interrupted or not."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from featx.errors import FeatxError
from featx.extraction.backends.eager import cuda_settings
from featx.models import Backbone
from featx.system.interrupts import held, raise_held
from featx.training.augment import network_input
from featx.training.batches import Batch, Batches, Epochs
from featx.training.freezing import freeze, hold
from featx.training.losses import loss_of
from featx.training.processes import Processes
from featx.training.recipes import Recipe, one_cycle
from featx.transforms import Transform


@dataclass(frozen=True)
class StepRow:
    """One update: its number from 1, the epoch it belongs to, the learning rate, the mean loss and top-1 of its clips."""

    step: int
    epoch: int
    lr: float
    loss: float
    top1: float


@dataclass(frozen=True)
class Validation:
    """What validation gave: mean cross-entropy, and shares of right videos or clips; top5 is None for five classes or fewer."""

    loss: float
    top1: float
    top5: float | None


@dataclass
class Progress:
    """How a run stands. clips_per_s: of all processes, since it was last asked; waited: the share of time without clips."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    top1: float
    lr: float
    clips_per_s: float
    waited: float


@dataclass
class State:
    """What the loop has come to, all that a continued run needs beside the recipe and the seed."""

    step: int = 0
    validated: int = 0  # epochs that are complete and were dealt with
    listed: int = 0  # the update that the last row of epochs.csv is about
    best: float = -1.0
    best_epoch: int = 0
    validation: Validation | None = None  # the last one
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)
    damaged_frames: int = 0
    # Sums over the updates since the last validation.
    updates: int = 0
    loss: float = 0.0
    top1: float = 0.0


class Trainer:
    """A backbone, its optimiser and its place in the stream of clips.

    model: on its device. seed: of the stream's draws and of dropout. mixed: compute in bf16 where that is safe (autocast).
    compiled: through torch.compile. processes: those that train together; each gets its part of every batch.

    The state of a run is (step, model, optimiser, schedule): all randomness is drawn from (seed, step), none is kept.
    """

    def __init__(
        self,
        model: Backbone,
        recipe: Recipe,
        stream: Epochs,
        transform: Transform,
        processes: Processes,
        *,
        seed: int,
        mixed: bool = False,
        compiled: bool = False,
    ) -> None:
        self.model, self.recipe, self.stream, self.transform, self.processes = (
            model,
            recipe,
            stream,
            transform,
            processes,
        )
        self._seed = seed
        self._mixed = mixed
        self._shorter = recipe.augmentation.shorter(transform)
        self.state = State()
        self._saved = monotonic()
        self.frozen = freeze(model, recipe.freeze) if recipe.freeze is not None else []
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimizer = optimizer(model, recipe)
        self.schedule = schedule(self.optimizer, recipe, updates=self.steps)
        network: nn.Module = model
        if processes.world > 1:
            devices = [processes.device] if processes.device.type == "cuda" else None
            network = DistributedDataParallel(model, device_ids=devices)
        self._network = network
        on_gpu = processes.device.type == "cuda"
        self._copies = torch.cuda.Stream(processes.device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._forward: Callable[[torch.Tensor], torch.Tensor] = (
            torch.compile(network) if compiled else network
        )

    # ------------------------------------------------------------ arithmetic of the stream

    @property
    def part(self) -> int:
        """Clips of one forward pass on one process."""
        return self.recipe.batch // (self.recipe.accumulate * self.processes.world)

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        recipe = self.recipe
        return recipe.duration if recipe.unit == "iterations" else self.step_after(recipe.duration)

    @property
    def epochs(self) -> int:
        """Epochs that the run completes."""
        return self.epochs_at(self.steps)

    def epochs_at(self, step: int) -> int:
        """Return how many epochs are complete after `step` updates."""
        return step * self.recipe.batch // self.stream.epoch_clips

    def step_after(self, epochs: int) -> int:
        """Return the update that completes epoch number `epochs`, counted from 1."""
        return math.ceil(epochs * self.stream.epoch_clips / self.recipe.batch)

    def places(self) -> Iterator[range]:
        """Yield the places in the stream of this process's forward passes, from the present step on."""
        parts = self.recipe.accumulate * self.processes.world
        for step in itertools.count(self.state.step):
            for turn in range(self.recipe.accumulate):
                first = (
                    step * parts + turn * self.processes.world + self.processes.rank
                ) * self.part
                yield range(first, first + self.part)

    # ------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Return all that continuing takes, as tensors and plain values."""
        state = self.state
        return {
            "step": state.step,
            "validated": state.validated,
            "listed": state.listed,
            "best": state.best,
            "best_epoch": state.best_epoch,
            "validation": asdict(state.validation) if state.validation is not None else None,
            "replaced": [[*key, n] for key, n in state.replaced.items()],
            "damaged_frames": state.damaged_frames,
            "sums": [state.updates, state.loss, state.top1],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.state = State(
            state["step"],
            state["validated"],
            state["listed"],
            state["best"],
            state["best_epoch"],
            Validation(**state["validation"]) if state["validation"] is not None else None,
            Counter({(video, reason): n for video, reason, n in state["replaced"]}),
            state["damaged_frames"],
            *state["sums"],
        )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])

    # ------------------------------------------------------------ work

    def run(
        self,
        loader: Batches,
        until: int,
        *,
        on_rows: Callable[[list[StepRow]], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        save: Callable[[], None] = lambda: None,
        save_seconds: float = 300.0,
        save_last: bool = True,
    ) -> None:
        """Make updates until step `until`, from a loader that stands at the present step.

        on_rows: called, in the first process, with the rows of the updates made since, always before `save`.
        save: called in the first process every `save_seconds`, on Ctrl-C or SIGTERM, before its effect, and, with `save_last`,
            at the end.
        Raises FeatxError with the update and its videos where the loss is not finite; no state after it is saved.
        """
        rate, pending = _Rate(), list[_Pending]()
        with (
            held() as interrupts,
            self._own_randomness(),
            self._kernels(),
            warnings.catch_warnings(),
        ):
            # Of 1 x 1 x 1 kernels, whose numbers lie the same way in either layout.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            ends = False
            while not ends:
                try:
                    made = self._update(loader, rate, interrupts)
                except torch.OutOfMemoryError as error:
                    raise FeatxError(
                        f"{self.part} clips at once do not fit into the memory of {self.processes.device}: divide the batch of"
                        f" {self.recipe.batch}, with `overrides={{'accumulate': '{2 * self.recipe.accumulate}'}}` or more"
                    ) from error
                if made is not None:
                    pending.append(made)
                at_end = self.state.step == until
                if not at_end and made is not None and len(pending) < self._together:
                    continue
                # One process decides for all: each would wait for ever for one that does something else.
                saves, interrupted = self.processes.from_first(
                    (monotonic() - self._saved > save_seconds, bool(interrupts))
                )
                ends = at_end or interrupted
                rows = self._rows(pending)
                self._hear(pending)
                pending.clear()
                if self.processes.first:
                    on_rows(rows)
                    if rows:
                        on_progress(rate.progress(self, rows[-1]))
                    # Asked again: an interrupt may have come since.
                    if saves or interrupts or (at_end and save_last):
                        save()
                        self._saved = monotonic()
        raise_held(interrupts)

    def epoch_ended(self, validation: Validation | None) -> None:
        """Take note that an epoch is complete, and lower the learning rate where it is time."""
        self.state.validated += 1
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if validation is None:
                raise FeatxError(
                    "the schedule waits for the validation loss: give validation videos, or another schedule.kind"
                )
            self.schedule.step(validation.loss)
        elif self.schedule is not None and not self.recipe.schedule.each_update:
            with warnings.catch_warnings():
                # In a run that goes on right here, the optimiser's steps were made by the process before.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                self.schedule.step()

    def judge(self, validation: Validation) -> bool:
        """Return whether this is the best validation so far, and remember it if it is."""
        state = self.state
        state.validation = validation
        if validation.top1 <= state.best:
            return False
        state.best, state.best_epoch = validation.top1, state.validated
        return True

    @property
    def lr(self) -> float:
        """The learning rate of most layers."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def _together(self) -> int:
        """Updates whose losses are looked at together: asking a GPU for a number waits for all that it has to do."""
        return 1 if self.processes.device.type == "cpu" else 10

    def _own_randomness(self) -> AbstractContextManager[None]:
        device = self.processes.device
        return torch.random.fork_rng([device] if device.type == "cuda" else [])

    def _kernels(self) -> AbstractContextManager[None]:
        on_gpu = self.processes.device.type == "cuda"
        return cuda_settings(benchmark=True, deterministic=False) if on_gpu else nullcontext()

    def _update(self, loader: Batches, rate: _Rate, interrupts: list[int]) -> _Pending | None:
        """Make one update; None where an interrupt comes while clips are waited for."""
        recipe, device = self.recipe, self.processes.device
        step = self.state.step
        self.model.train()
        hold(self.model, self.frozen)
        made = _Pending(step + 1, step * recipe.batch // self.stream.epoch_clips + 1, self.lr)
        self.optimizer.zero_grad(set_to_none=True)
        for turn in range(recipe.accumulate):
            batch = self._next(loader, rate, interrupts)
            if batch is None:
                return None
            clips, labels, overlaps, copied = self._on_device(batch)
            torch.manual_seed(
                int(
                    np.random.SeedSequence(
                        (self._seed, 5, step, turn, self.processes.rank)
                    ).generate_state(1)[0]
                )
            )
            last = turn == recipe.accumulate - 1
            with self._unsynced(last):
                with torch.autocast(device.type, torch.bfloat16, enabled=self._mixed):
                    x = network_input(
                        clips, batch.sides, batch.flips, self.transform, shorter=self._shorter
                    )
                    logits = self._forward(x)
                loss = loss_of(recipe, logits, labels, overlaps)
                torch.autograd.backward(loss / recipe.accumulate)
            made.add(loss.detach(), (logits.detach().argmax(1) == labels).sum(), batch)
            if copied is not None:
                copied.synchronize()
            batch.release()
            rate.clips += self.part * self.processes.world
        self.optimizer.step()
        if recipe.schedule.each_update and isinstance(
            self.schedule, torch.optim.lr_scheduler.LRScheduler
        ):
            self.schedule.step()
        self.state.step += 1
        return made

    def _on_device(
        self, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.cuda.Event | None]:
        """Return a batch's clips, labels and overlaps on the device, and what tells that they are copied."""
        device = self.processes.device
        if self._copies is None or batch.clips.is_cuda:
            return batch.clips.to(device), batch.labels.to(device), batch.overlaps.to(device), None
        # In a stream of its own the copy does not wait for what the GPU still computes.
        with torch.cuda.stream(self._copies):
            moved = [
                x.to(device, non_blocking=True) for x in (batch.clips, batch.labels, batch.overlaps)
            ]
            copied = self._copies.record_event()
        computing = torch.cuda.current_stream(device)
        computing.wait_event(copied)
        for x in moved:
            x.record_stream(computing)
        return moved[0], moved[1], moved[2], copied

    def _next(self, loader: Batches, rate: _Rate, interrupts: list[int]) -> Batch | None:
        began = monotonic()
        while (batch := loader.next(timeout=0.2)) is None:
            # One of several processes cannot leave an update that the others make.
            if interrupts and self.processes.world == 1:
                return None
        rate.waited += monotonic() - began
        return batch

    def _unsynced(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once an update, with its last forward pass."""
        if isinstance(self._network, DistributedDataParallel) and not last:
            return self._network.no_sync()
        return nullcontext()

    def _rows(self, pending: list[_Pending]) -> list[StepRow]:
        """Return the updates' rows, over all processes' clips; FeatxError at the first whose loss is not finite."""
        if not pending:
            return []
        sums = torch.stack([made.sums for made in pending]).double()
        totals = self.processes.total(sums).cpu().tolist()
        passes, clips = self.recipe.accumulate * self.processes.world, self.recipe.batch
        rows = [
            StepRow(made.step, made.epoch, made.lr, loss / passes, right / clips)
            for made, (loss, right) in zip(pending, totals, strict=True)
        ]
        for row, made in zip(rows, pending, strict=True):
            if not math.isfinite(row.loss):
                ids = [name for part in self.processes.all(made.ids) for name in part]
                raise FeatxError(
                    f"the loss is {row.loss} at update {row.step}, on {', '.join(ids[:8])}"
                    f"{f' and {len(ids) - 8} more' if len(ids) > 8 else ''}: lower lr (it is {row.lr:g}), or look at these"
                )
            self.state.updates += 1
            self.state.loss += row.loss
            self.state.top1 += row.top1
        return rows

    def _hear(self, pending: list[_Pending]) -> None:
        """Count what all processes' batches tell of bad videos."""
        told: Counter[tuple[str, str]] = sum((made.replaced for made in pending), Counter())
        for replaced, frames in self.processes.all(
            (dict(told), sum(made.damaged_frames for made in pending))
        ):
            self.state.replaced.update(replaced)
            self.state.damaged_frames += frames


class _Pending:
    """An update whose numbers are still on the device. loss: the sum over its passes; right: over its clips."""

    def __init__(self, step: int, epoch: int, lr: float) -> None:
        self.step, self.epoch, self.lr = step, epoch, lr
        self.loss: torch.Tensor | None = None
        self.right: torch.Tensor | None = None
        self.ids: list[str] = []
        self.replaced: Counter[tuple[str, str]] = Counter()
        self.damaged_frames = 0

    def add(self, loss: torch.Tensor, right: torch.Tensor, batch: Batch) -> None:
        self.loss = loss if self.loss is None else self.loss + loss
        self.right = right if self.right is None else self.right + right
        self.ids += batch.ids
        self.replaced += batch.replaced
        self.damaged_frames += batch.damaged_frames

    @property
    def sums(self) -> torch.Tensor:
        """(2,) loss and right, on the device."""
        if self.loss is None or self.right is None:
            raise ValueError("no pass was added")
        return torch.stack([self.loss, self.right.to(self.loss.dtype)])


class _Rate:
    """Clips made and time waited for clips, since it was last asked."""

    def __init__(self) -> None:
        self.clips, self.waited, self._since = 0, 0.0, monotonic()

    def progress(self, trainer: Trainer, row: StepRow) -> Progress:
        spent = max(monotonic() - self._since, 1e-9)
        epochs = math.ceil(trainer.steps * trainer.recipe.batch / trainer.stream.epoch_clips)
        speed = self.clips / spent, self.waited / spent
        found = Progress(
            row.step, trainer.steps, row.epoch, epochs, row.loss, row.top1, row.lr, *speed
        )
        self.clips, self.waited, self._since = 0, 0.0, monotonic()
        return found


def optimizer(model: Backbone, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimiser over the parameters that are trained; the classifier's have rates of their own."""
    layer = model.get_submodule(model.classifier)
    own = {id(p) for p in layer.parameters()}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": recipe.lr}] if rest else []
    for name, p in layer.named_parameters():
        groups.append(
            {
                "params": [p],
                "lr": recipe.lr * (recipe.last_bias if name == "bias" else recipe.last_layer),
            }
        )
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        dampening=recipe.dampening,
        weight_decay=recipe.weight_decay,
    )


def schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, *, updates: int
) -> torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau | None:
    """Make the recipe's schedule for a run of so many updates, stepped once an update or an epoch; None for a constant rate."""
    row = recipe.schedule
    if row.kind == "constant":
        return None
    if row.kind == "one-cycle":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda update: one_cycle(update, updates)
        )
    if row.kind == "step":
        return torch.optim.lr_scheduler.StepLR(optimizer, row.every, row.factor)
    least = [
        group["lr"] * row.factor**row.reductions if row.reductions is not None else 0.0
        for group in optimizer.param_groups
    ]
    # torch reduces at the first bad epoch after `patience` of them: the papers after so many without improvement.
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=row.factor, patience=row.every - 1, threshold=0.0, min_lr=least, eps=0.0
    )
