"""What a training run is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from featx.clips import ClipSpec
from featx.datasets import DatasetRef
from featx.errors import UsageError
from featx.extraction.settings import ClipOptions, Machine, TransformOptions, compose
from featx.transforms import check_crop

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from featx.extraction.settings import Options


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run goes, whatever it trains.

    Attributes:
        seed: Seed for untrained weights, draws and dropout.
        machine: Device, precision, workers and timeout. Precision "auto" and "bf16" compute in bf16 on a GPU where that
            is safe; on a CPU all is float32. The recipe has the batch size.
        compile: Compile the network first.
        save_seconds: How often the run's state is written, in seconds.
    """

    seed: int = 0
    machine: Machine = field(default_factory=Machine)
    compile: bool = False
    save_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.machine.precision not in ("auto", "bf16", "float32"):
            raise UsageError(f"precision is {self.machine.precision!r}: give auto, bf16 or float32")
        if not self.save_seconds >= 0:
            raise UsageError(f"saving every {self.save_seconds} s: give a number of seconds from 0")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"seed is {self.seed}: give a whole number from 0 to 2^63 - 1")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a run is asked for.

    Attributes:
        model: A registered name.
        dataset: Which dataset; or one named "generated", clips that are made on the device while training, of which
            there is nothing to choose (`featx.training.generated`).
        recipe: A name of RECIPES. None is the model's family's, and for generated clips theirs.
        overrides: Fields of the recipe, as `recipes.recipe` takes them.
        weights: What to start from, as `load_model` takes it. None starts from nothing.
        init_2d: ImageNet weights for a semi-CNN's spatial layers.
        clip: Changes to the network's own clips, or the clips altogether. Generated clips have as many frames.
        transform: Changes to the network's own preprocessing: crop, input, flow. Generated clips have the crop's size.
        flow_cache: A folder that `extract` keeps flow in. Clips whose flow is not there, in their frames' size, have it
            computed anew each time. Validation keeps its flow there.
        validate: The dataset's side to validate on; "none" for none. None is "val" where there is one, else "test", as
            the papers do. Generated clips take "none" alone.
        validate_every: Epochs from one validation to the next.
        protocol: Protocol of validation on videos.
        run: Seed, machine, and how the run goes.
    """

    model: str
    dataset: DatasetRef
    recipe: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    init_2d: str | None = None
    clip: ClipOptions | ClipSpec = field(default_factory=ClipOptions)
    transform: TransformOptions = field(default_factory=TransformOptions)
    flow_cache: str | None = None
    validate: str | None = None
    validate_every: int = 1
    protocol: str = "clip"
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if self.validate_every < 1:
            raise UsageError(f"validation every {self.validate_every} epochs: give 1 or more")
        if self.transform.crop is not None:
            check_crop(self.transform.crop)
        if self.weights is not None and self.init_2d is not None:
            raise UsageError("weights and init_2d are both given: start from one of them")


def train_settings(
    dataset: str | os.PathLike[str] | DatasetRef,
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
    **options: Unpack[Options],
) -> TrainSettings:
    """Return what parts and flat options come to; they are those of `TrainSettings` and its parts."""
    parts = compose(clip=clip, transform=transform, machine=machine, **options)
    if not isinstance(dataset, DatasetRef):
        dataset = DatasetRef(name=dataset, root=root, split=split, partial=partial, holdout=holdout)
    if not isinstance(parts.transform, TransformOptions):
        raise UsageError("transform is given altogether, and training changes the network's own")
    return TrainSettings(
        model=model,
        dataset=dataset,
        recipe=recipe,
        overrides=overrides or {},
        weights=os.fspath(weights) if weights is not None else None,
        init_2d=os.fspath(init_2d) if init_2d is not None else None,
        clip=parts.clip,
        transform=parts.transform,
        flow_cache=os.fspath(flow_cache) if flow_cache is not None else None,
        validate=validate,
        validate_every=validate_every,
        protocol=protocol,
        run=RunOptions(
            seed=seed, machine=parts.machine, compile=compile, save_seconds=save_seconds
        ),
    )
