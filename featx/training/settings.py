"""What a training run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.transforms import FlowMethod, Input, check_crop


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a run is asked for.

    model: a registered name. dataset, root, split, partial, holdout: as `load_dataset` takes them; or "generated", clips that
        are made on the device while training, of which there is nothing to choose (`featx.training.generated`).
    recipe: a name of RECIPES, by default the model's family's, for generated clips theirs. overrides: fields of it, as
        `recipes.recipe` takes them.
    weights: what to start from, as `load_model` takes it; None starts from nothing. init_2d: as `create_model` takes it.
    seed: of the untrained weights, the draws and dropout.
    frames, step, crop: the clips' and the crops' size, by default the network's own; with another crop frames are
        resized in proportion. clip: the clips altogether, instead of frames and step.
        Generated clips have as many frames, of the crop's size.
    input, flow: as in extraction; flow_cache: a folder that `extract` keeps flow in; clips whose flow is not there, in their
        frames' size, have it computed anew each time. Validation keeps its flow there.
    validate: the dataset's side to validate on after every `validate_every` epochs, "none" for none, by default "val"
        where there is one, else "test", as the papers do; of generated clips "none" alone. protocol: of validation on videos.
    precision: "auto" and "bf16" compute in bf16 on a GPU where that is safe; on CPU all is float32.
    save_seconds: how often the run's state is written.
    """

    model: str
    dataset: str
    recipe: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    root: str | None = None
    split: int = 1
    partial: bool = False
    holdout: float = 0.2
    weights: str | None = None
    init_2d: str | None = None
    seed: int = 0
    frames: int | None = None
    step: int | None = None
    clip: ClipSpec | None = None
    crop: int | None = None
    input: Input | None = None
    flow: FlowMethod | Literal["auto"] | None = None
    flow_cache: str | None = None
    validate: str | None = None
    validate_every: int = 1
    protocol: str = "clip"
    precision: str = "auto"
    device: str = "auto"
    compile: bool = False
    workers: int | None = None
    timeout: float = 120.0
    save_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bf16", "float32"):
            raise UsageError(f"precision is {self.precision!r}: give auto, bf16 or float32")
        if self.workers is not None and not 1 <= self.workers <= 4096:
            raise UsageError(f"workers is {self.workers}: give a whole number from 1 to 4096")
        if self.validate_every < 1:
            raise UsageError(f"validation every {self.validate_every} epochs: give 1 or more")
        if not self.save_seconds >= 0 or not self.timeout > 0:
            raise UsageError(
                f"saving every {self.save_seconds} s, timeout {self.timeout} s: give numbers of seconds above 0"
            )
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"seed is {self.seed}: give a whole number from 0 to 2^63 - 1")
        if self.crop is not None:
            check_crop(self.crop)
        if self.weights is not None and self.init_2d is not None:
            raise UsageError("weights and init_2d are both given: start from one of them")
        if self.clip is not None and (self.frames is not None or self.step is not None):
            raise UsageError("clip is given, and frames or step with it: leave them out")
