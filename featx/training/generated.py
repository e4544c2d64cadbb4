"""Clips that are made on the device while training: nothing is stored, decoded or copied, and there is no end of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from featx.datasets import Dataset, DatasetRef
from featx.errors import UsageError
from featx.evaluation import HELD_OUT, Evaluation, evaluate_generated
from featx.extraction.settings import Machine
from featx.extraction.settings import Settings as ExtractionSettings
from featx.synthetic import motion
from featx.training.batches import Batch
from featx.training.recipes import Recipe
from featx.training.sampling import AUGMENTATIONS
from featx.training.settings import TrainSettings
from featx.transforms import Transform

if TYPE_CHECKING:
    from featx.training.loop import Trainer
    from featx.training.plan import Plan
    from featx.training.processes import Processes
    from featx.weights.checkpoint import LoadedModel

# Clips that are called an epoch. The stream has none: it is when validation takes place, and what "epochs" are counted in.
EPOCH_CLIPS = 10_000


@dataclass(frozen=True)
class Stream:
    """The stream as the loop sees it: clip number `place` is a function of (seed, place) alone."""

    epoch_clips: int


class Maker:
    """Batches of the stream, made on the device when they are asked for; the sister of `featx.training.loader.Loader`.

    places: of every batch's clips, one batch after the other. frames, size: of a clip. On a GPU `next` returns before the clips
    are made: what computes with them comes after them in the same stream of work.
    """

    def __init__(
        self,
        places: Iterator[Sequence[int]],
        *,
        seed: int,
        frames: int,
        size: int,
        device: torch.device,
        stream: str = motion.GENERATED,
    ) -> None:
        self._stream = stream
        self._places, self._seed, self._frames, self._size, self._device = (
            places,
            seed,
            frames,
            size,
            device,
        )
        self._ones = torch.ones(0, device=device)
        self.notes: list[str] = []

    def __enter__(self) -> Maker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Nothing runs beside the caller, and nothing has to end."""

    def next(self, timeout: float | None = None) -> Batch:
        """Return the next batch."""
        places = next(self._places)
        n = len(places)
        with torch.no_grad():
            made = motion.clips(
                places,
                seed=self._seed,
                frames=self._frames,
                size=self._size,
                device=self._device,
                stream=self._stream,
            )
            if len(self._ones) != n:
                self._ones = torch.ones(n, device=self._device)
        ids = [f"generated clip {place}" for place in places]
        return Batch(
            made.frames, made.labels, self._ones, sides=[self._size] * n, flips=[False] * n, ids=ids
        )


@dataclass(frozen=True)
class Generated:
    """The stream of generated clips to train on, and held-out ones to validate on; a `featx.training.source.Source`."""

    settings: TrainSettings
    notes: Sequence[str] = ()
    # An epoch may take seconds on a GPU, and writing a run's state as long.
    saves_epochs: bool = False

    @property
    def title(self) -> str:
        return (
            "generated clips"
            if str(self.settings.dataset.name) == motion.GENERATED
            else f"{self.settings.dataset.name!s} clips"
        )

    @property
    def size(self) -> str:
        return f"generator version {motion.VERSION}, seed {self.settings.run.seed}"

    @property
    def classes(self) -> tuple[str, ...]:
        return motion.STREAMS[str(self.settings.dataset.name)]

    @property
    def validated(self) -> str | None:
        return f"{HELD_OUT:,} held-out clips" if self._validates else None

    @property
    def measured(self) -> Mapping[str, Any]:
        if not self._validates:
            return {}
        return {
            "on": f"held-out {self.title}",
            "clips": HELD_OUT,
            "seed": self.settings.run.seed,
            "generator": motion.VERSION,
        }

    @property
    def _validates(self) -> bool:
        return self.settings.validate != "none"

    def check(self, recipe: Recipe, transform: Transform) -> None:
        """Raise UsageError where the recipe is for videos, or the network sees no RGB frames."""
        check_recipe(recipe)
        if transform.input != "rgb":
            raise UsageError(
                f"the input is {transform.input}, and generated clips are RGB frames: give `input='rgb'`"
            )

    def recorded(self) -> dict[str, Any]:
        """Return what run.json holds of the generator; the same version makes the same clips."""
        return {
            "dataset": {
                "name": str(self.settings.dataset.name),
                "generator": motion.VERSION,
                "classes": list(self.classes),
                "epoch": EPOCH_CLIPS,
            },
            "validate": {
                "every": self.settings.validate_every,
                "clips": HELD_OUT if self._validates else 0,
            },
        }

    def epochs(self, recipe: Recipe) -> Stream:
        """Return the endless stream of clips."""
        return Stream(EPOCH_CLIPS)

    def batches(self, planned: Plan, trainer: Trainer) -> Maker:
        """Return what makes the batches."""
        return Maker(
            trainer.places(),
            seed=self.settings.run.seed,
            frames=planned.clip.frames,
            size=planned.transform.crop,
            device=trainer.processes.device,
            stream=str(self.settings.dataset.name),
        )

    def evaluated(
        self, planned: Plan, loaded: LoadedModel, precision: str, processes: Processes
    ) -> Evaluation:
        """Return what a network makes of the held-out clips."""
        machine = Machine(precision=precision, device=str(processes.device))
        settings = ExtractionSettings(model=self.settings.model, machine=machine)
        return evaluate_generated(
            settings, str(self.settings.dataset.name), seed=self.settings.run.seed, loaded=loaded
        )

    def told(self, planned: Plan, clips: int) -> dict[str, Any]:
        """Return what a checkpoint tells of the clips. Its licence is for whoever trains it to choose."""
        s = self.settings
        return {
            "what": f"{self.title}: {clips:,} clips of {len(self.classes)} motions, generator version {motion.VERSION}",
            "licence": None,
            "trained_on": {
                "dataset": str(s.dataset.name),
                "clips": clips,
                "generator": motion.VERSION,
                "seed": s.run.seed,
            },
        }


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError where a recipe would change what a clip's label says, or asks for what only clips of videos have."""
    if recipe.augmentation != AUGMENTATIONS["none"]:
        raise UsageError(
            "the recipe crops or mirrors clips of videos, and generated clips are whole, labelled by the direction in which"
            " they move: give `overrides={'augmentation': 'none'}`"
        )
    if recipe.loss != "softmax":
        raise UsageError(
            f"loss is {recipe.loss!r}, and generated clips have no overlaps: give `overrides={{'loss': 'softmax'}}`"
        )
    if recipe.clips_per_video != 1:
        raise UsageError(
            f"clips_per_video is {recipe.clips_per_video}, and generated clips come from none:"
            " give `overrides={'clips_per_video': '1'}`"
        )


def find_generated(settings: TrainSettings, data: Dataset | None) -> Generated:
    """Return the stream of generated clips; UsageError for settings that only videos have."""
    plain = TrainSettings(model=settings.model, dataset=DatasetRef(name=settings.dataset.name))
    for part, default, names in (
        (settings.dataset, plain.dataset, ("root", "split", "partial", "holdout")),
        (settings.transform, plain.transform, ("flow",)),
        (settings, plain, ("flow_cache", "protocol")),
    ):
        for name in names:
            if (value := getattr(part, name)) != getattr(default, name):
                raise UsageError(
                    f"{name} is {value!r}, which is for videos, and generated clips are none: leave it out"
                )
    if settings.validate not in (None, "none"):
        raise UsageError(
            f"validate is {settings.validate!r}, and generated clips have no such side: leave it out, or give none"
        )
    if data is not None:
        raise UsageError(
            "the dataset is generated clips, and another one is given: leave one of them out"
        )
    return Generated(settings)
