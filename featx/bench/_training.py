"""How fast training is, how fast the machine lets it be, and what binds it.

The input pipeline alone (D clips/s: drawing and decoding in every worker, batches put together; or clips generated), the
training step alone on batches that are in place (T clips/s: forward, backward, update) and both together, the run's own loop,
are measured in turn, several rounds of them, because machines drift. The ceiling is 1 / (1/D + 1/T) where both share a device:
on CPU, and where clips are generated; and min(D, T) where videos are decoded beside a GPU, which overlap.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from math import ceil
from pathlib import Path
from time import perf_counter
from types import TracebackType

import torch

from featx.bench._feeds import Feed, chosen_recipe, decoded, made
from featx.bench._machine import ceiling, check, matmul_rate, videos
from featx.datasets import GENERATED_CLIPS
from featx.errors import UsageError
from featx.extraction.backends.eager import resolve_device
from featx.extraction.settings import Machine
from featx.models import build_model, model_entry
from featx.models.count import count
from featx.system.processors import cpu_count
from featx.training.batches import Batch, Batches
from featx.training.loader import AHEAD
from featx.training.loop import Trainer
from featx.training.processes import Processes
from featx.training.recipes import Recipe

# Batches that the training step alone is measured on, in turn: their crops differ in size.
_RESIDENT = 4
# Multiply-adds of a training step over the forward pass's: the gradients of the input and of the weights cost as much each.
STEP_COST = 3


@dataclass
class MeasuredTraining:
    """One model's figures; rates are medians over the rounds, in clips/s.

    batch, passes: clips of an update, and the forward passes they are divided over.
    decode, step, together: the input pipeline alone, the training step alone, and the whole loop.
    fraction: together over the ceiling, the median of the rounds' own ratios, with the smallest and largest.
    matmul: what a GPU reaches on large matrix products in this precision, in 1e12 multiply-adds/s; of_matmul: the share
    of it that the training step alone makes, with STEP_COST times the forward pass's multiply-adds; together_of_matmul: the
    share that the whole loop makes of these, generating or decoding included. None on CPU.
    params and multiply_adds: of the network, millions and 1e9 (forward). videos: how many the clips came from; None where they
    are generated, and workers with it.
    """

    model: str
    recipe: str
    device: str
    precision: str
    batch: int
    passes: int
    workers: int | None
    decode: float
    step: float
    together: float
    ceiling: float
    fraction: float
    fraction_range: tuple[float, float]
    binding: str
    matmul: float | None
    of_matmul: float | None
    together_of_matmul: float | None
    params: float
    multiply_adds: float
    videos: int | None


def bench_training(
    models: Sequence[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    dataset: str | None = None,
    recipe_name: str | None = None,
    overrides: Mapping[str, str] | None = None,
    machine: Machine | None = None,
    compiled: bool = False,
    seconds: float = 10.0,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda _: None,
) -> list[MeasuredTraining]:
    """Measure the training of models on videos, or on generated ones where none are given; labels do not change the speed.

    dataset: "generated" for clips that are made on the device, of which there are no inputs.
    recipe_name, overrides: as `recipes.recipe` takes them, by default the model's family's recipe, or that of generated clips.
    seconds: how long each measurement lasts, at least.
    Raises UsageError if a video cannot be read: a figure must not rest on videos that were left out.
    """
    check(rounds, seconds)
    machine = machine or Machine()
    if dataset not in (None, GENERATED_CLIPS[0]):
        raise UsageError(f"dataset is {dataset!r}: give generated, or the videos themselves")
    if dataset is not None and inputs:
        raise UsageError(
            f"the dataset is generated, and {os.fspath(inputs[0])!r} is given to be measured on: leave one of them out"
        )
    # Before videos are generated, which takes a while.
    recipes = {
        name: chosen_recipe(
            model_entry(name).family,
            recipe_name,
            overrides or {},
            generated_clips=dataset is not None,
        )
        for name in models
    }
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as folder:
        if dataset is None:
            feed = decoded(
                videos(inputs, Path(folder), progress),
                workers=machine.workers or cpu_count(),
                timeout=machine.timeout,
            )
        else:
            feed = made()
        benches = {
            name: _Bench(name, feed, recipes[name], machine, compiled=compiled) for name in recipes
        }
        raw: dict[str, list[dict[str, float]]] = {name: [] for name in benches}
        for number in range(rounds):
            for name, ready in benches.items():
                raw[name].append(ready.round(seconds, f"{name} {number + 1}/{rounds}", progress))
        return [ready.summary(raw[name]) for name, ready in benches.items()]


class _Bench:
    """A model with what trains it, ready to be measured."""

    def __init__(
        self,
        model: str,
        feed: Feed,
        named_recipe: tuple[str, Recipe],
        machine: Machine,
        *,
        compiled: bool,
    ) -> None:
        self._entry = model_entry(model)
        self._feed = feed
        self._recipe, chosen = named_recipe
        place, precision = resolve_device(machine.device), machine.precision
        if precision == "bf16" and place.type == "cpu":
            raise UsageError(
                "precision is bf16 and the device is the CPU, where training is in float32: leave `precision` out"
            )
        self._device, self._precision = (
            place,
            "bf16" if place.type == "cuda" and precision != "float32" else "float32",
        )
        self._stream = feed.stream(chosen)
        self._trainer = Trainer(
            build_model(model, num_classes=feed.classes, seed=0).to(place),
            chosen,
            self._stream,
            self._entry.transform,
            Processes(place),
            seed=0,
            mixed=self._precision == "bf16",
            compiled=compiled,
        )
        # With one label a network soon has no loss, and no gradients but denormal ones, which take longer: it learns nothing.
        for group in self._trainer.optimizer.param_groups:
            group["lr"] = 0.0
        self._trainer.schedule = None

    def round(
        self, seconds: float, label: str, progress: Callable[[str], None]
    ) -> dict[str, float]:
        """Return one round's rates."""
        found = {}
        # Not on CPU: in float32, convolutions (oneDNN) run at up to twice the rate of matrix products (MKL on an AMD EPYC).
        if self._device.type == "cuda":
            progress(f"{label}: matrix multiplication")
            found["matmul"] = matmul_rate(self._device.type, self._precision, min(seconds, 2.0))
        # One loader for all three: on busy cores the training step alone took twice as long in a process that had none open,
        # by where the scheduler put its two threads. An idle loader is full and decodes nothing.
        with self._feed.batches(self._entry, self._trainer) as loader:
            progress(f"{label}: {self._feed.what} alone")
            decode, batches = self._decode_rate(loader, seconds)
            progress(f"{label}: training step alone")
            step = self._step_rate(_Resident(batches), seconds, warm=1)
            progress(f"{label}: together")
            # Where decoding is slower, batches that were ready when the loop began are used up before the clock starts.
            together = self._step_rate(loader, seconds, warm=1 if decode > step else AHEAD + 2)
            _refuse(self._trainer.state.replaced)
        return {**found, "decode": decode, "step": step, "together": together,
                "ceiling": ceiling(self._device.type if self._feed.overlaps else "cpu", decode, step)}  # fmt: skip

    def _decode_rate(self, loader: Batches, seconds: float) -> tuple[float, list[Batch]]:
        """Return clips/s of the loader alone, and some of its batches, in place for the training step."""
        kept: list[Batch] = []
        warm_until, clips = perf_counter() + seconds, 0
        first = self._stream.epoch_clips if self._feed.settles else 0
        while len(kept) < _RESIDENT or (clips < first and perf_counter() < warm_until):
            batch = self._next(loader)
            if len(kept) < _RESIDENT:
                moved = [
                    x.to(self._device, copy=True)
                    for x in (batch.clips, batch.labels, batch.overlaps)
                ]
                kept.append(
                    replace(batch, clips=moved[0], labels=moved[1], overlaps=moved[2], _free=None)
                )
            clips += len(batch.ids)
            batch.release()
        self._wait()
        began, clips = perf_counter(), 0
        # No fewer batches than are under way at once, else those that were nearly ready would count as whole.
        while perf_counter() - began < seconds or clips < 2 * (AHEAD + 1) * self._trainer.part:
            batch = self._next(loader)
            clips += len(batch.ids)
            batch.release()
        self._wait()
        return clips / (perf_counter() - began), kept

    def _wait(self) -> None:
        """Let a GPU make the clips that it was given to make."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _next(self, loader: Batches) -> Batch:
        while (batch := loader.next(timeout=1.0)) is None:
            pass
        _refuse(batch.replaced)
        return batch

    def _step_rate(self, loader: Batches, seconds: float, *, warm: int) -> float:
        """Return clips/s of the training loop on a loader's batches, after `warm` updates."""
        trainer = self._trainer
        trainer.run(loader, trainer.state.step + warm)
        first, began, spent = trainer.state.step, perf_counter(), 0.0
        while spent < seconds:
            made = trainer.state.step - first
            # All that are left at once: the end of each call waits for the GPU.
            trainer.run(
                loader, trainer.state.step + (ceil((seconds - spent) * made / spent) if made else 1)
            )
            spent = perf_counter() - began
        return (trainer.state.step - first) * trainer.recipe.batch / spent

    def summary(self, rounds: Sequence[Mapping[str, float]]) -> MeasuredTraining:
        """Return the rounds' medians."""

        def median(key: str) -> float:
            return statistics.median(r[key] for r in rounds)

        def of_matmul(key: str) -> float:
            return statistics.median(
                STEP_COST * r[key] * counts.multiply_adds / r["matmul"] for r in rounds
            )

        chosen, counts = self._trainer.recipe, count(self._trainer.model, self._entry.input_shape)
        gpu = self._device.type == "cuda"
        fractions = [r["together"] / r["ceiling"] for r in rounds]
        return MeasuredTraining(
            model=self._entry.name,
            recipe=self._recipe,
            device=str(self._device),
            precision=self._precision,
            batch=chosen.batch,
            passes=chosen.accumulate,
            workers=self._feed.workers,
            decode=median("decode"),
            step=median("step"),
            together=median("together"),
            ceiling=median("ceiling"),
            fraction=statistics.median(fractions),
            fraction_range=(min(fractions), max(fractions)),
            binding=self._feed.what if median("decode") < median("step") else "training step",
            matmul=median("matmul") / 1e12 if gpu else None,
            of_matmul=of_matmul("step") if gpu else None,
            together_of_matmul=of_matmul("together") if gpu else None,
            params=counts.params / 1e6,
            multiply_adds=counts.multiply_adds / 1e9,
            videos=self._feed.videos,
        )


def _refuse(replaced: Iterable[tuple[str, str]]) -> None:
    for video, reason in replaced:
        raise UsageError(f"{video} cannot be read ({reason}): measure on videos that can")


class _Resident:
    """What gives the same batches again and again, at once."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.notes: list[str] = []
        self._again = cycle(batches)

    def __enter__(self) -> _Resident:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Nothing has to end."""

    def next(self, timeout: float | None = None) -> Batch:
        """Return the next batch."""
        return next(self._again)
