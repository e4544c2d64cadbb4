"""How the papers trained: a row a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from featx.errors import UsageError, nearest
from featx.training.sampling import AUGMENTATIONS, Augmentation, augmentation

ScheduleKind = Literal["constant", "step", "plateau", "one-cycle"]
Unit = Literal["iterations", "epochs"]
Optimizer = Literal["sgd", "adamw"]
Loss = Literal["softmax", "overlap", "overlap-positives"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate goes, from update to update.

    kind: "constant"; "step", multiplied by `factor` every `every` units; "plateau", multiplied when the validation loss
        has not improved for `every` epochs; "one-cycle", up to the recipe's rate in the run's first updates and down in the
        others, as `one_cycle` says, to which `factor`, `every` and `unit` mean nothing.
    reductions: the most that a plateau does; None is no limit.
    """

    kind: ScheduleKind = "constant"
    factor: float = 0.1
    every: int = 1
    unit: Unit = "epochs"
    reductions: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleKind):
            raise UsageError(
                f"schedule is {self.kind!r}: give one of {', '.join(get_args(ScheduleKind))}"
            )
        if self.unit not in get_args(Unit):
            raise UsageError(
                f"schedule unit is {self.unit!r}: give one of {', '.join(get_args(Unit))}"
            )
        if self.kind == "plateau" and self.unit != "epochs":
            raise UsageError(
                "a plateau is counted in epochs, after each of which the validation loss is taken"
            )
        if not 0 < self.factor < 1 or self.every < 1:
            raise UsageError(
                f"schedule factor {self.factor} every {self.every}: give a factor between 0 and 1, and 1 or more"
            )
        if self.reductions is not None and self.reductions < 0:
            raise UsageError(f"schedule reductions is {self.reductions}: give 0 or more")

    @property
    def each_update(self) -> bool:
        """Whether the rate is looked at after every update, rather than after every epoch."""
        return self.kind == "one-cycle" or (self.kind == "step" and self.unit == "iterations")


# Of a run's updates those in which "one-cycle" goes up, and the share of the rate that is left at the last update.
WARM_UP = 0.05
LAST_RATE = 1 / 1000


def one_cycle(update: int, updates: int) -> float:
    """Return the share of the recipe's rate that "one-cycle" makes update number `update`, from 0, of `updates` with.

    Linear to 1 over the first WARM_UP of them, then half a cosine to LAST_RATE at the last (Smith 2018, arXiv 1803.09820,
    section 4.1, with the cosine of Loshchilov and Hutter 2017 for its straight line).
    """
    warm = max(1, round(WARM_UP * updates))
    if update < warm:
        return (update + 1) / warm
    done = min(1.0, (update + 1 - warm) / max(1, updates - warm))
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: by gradient descent on the cross-entropy of clips, or on S-CNN's loss.

    lr: learning rate at the start; with schedule "one-cycle" the highest.
    optimizer: "sgd", with `momentum` and `dampening`; "adamw" (Loshchilov and Hutter 2019), whose first beta is `momentum`, its
        second 0.999, and whose weight decay is not part of the gradient.
    batch: clips an update is made of, on all processes together; accumulate: how many forward passes they are divided over, on
        each process, one after the other (batch norm sees one such part).
    last_layer, last_bias: the classifier's weights' and bias's learning rate, as multiples of `lr`.
    duration: how long, in `unit`s. An epoch shows `clips_per_video` clips of every video.
    freeze: "conv1" to "conv5": that stage and those below it stay as they are, batch norm's statistics too.
    loss: "softmax" is cross-entropy; "overlap" adds to it what `losses.overlap_loss` says, times `overlap_weight` (lambda),
        with the windows' tIoU to the power `overlap_power` (alpha), the first class being background; "overlap-positives"
        averages that term over the clips of actions alone, instead of over all clips of a forward pass.
    source: paper and section; what it leaves open.
    """

    lr: float
    optimizer: Optimizer = "sgd"
    batch: int
    duration: int
    unit: Unit = "epochs"
    accumulate: int = 1
    momentum: float = 0.9
    dampening: float = 0.0
    weight_decay: float = 0.0
    last_layer: float = 1.0
    last_bias: float = 1.0
    schedule: Schedule = Schedule()
    augmentation: Augmentation
    clips_per_video: int = 1
    freeze: str | None = None
    loss: Loss = "softmax"
    overlap_weight: float = 1.0
    overlap_power: float = 0.25
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("batch", "duration", "accumulate", "clips_per_video"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"recipe {name} is {value}: give 1 or more")
        if self.batch % self.accumulate:
            raise UsageError(
                f"a batch of {self.batch} clips cannot be divided over {self.accumulate} passes: give a divisor"
            )
        if not 0 < self.lr < math.inf:
            raise UsageError(f"recipe lr is {self.lr}: give a learning rate above 0")
        for name in (
            "momentum",
            "dampening",
            "weight_decay",
            "last_layer",
            "last_bias",
            "overlap_weight",
            "overlap_power",
        ):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise UsageError(f"recipe {name} is {value}: give 0 or more")
        if self.unit not in get_args(Unit):
            raise UsageError(
                f"recipe unit is {self.unit!r}: give one of {', '.join(get_args(Unit))}"
            )
        if self.freeze is not None and self.freeze not in (f"conv{stage}" for stage in range(1, 6)):
            raise UsageError(f"freeze is {self.freeze!r}: give conv1 to conv5, or leave it out")
        if self.optimizer not in get_args(Optimizer):
            raise UsageError(
                f"recipe optimizer is {self.optimizer!r}: give one of {', '.join(get_args(Optimizer))}"
            )
        if self.optimizer == "adamw" and (self.dampening or self.momentum >= 1):
            raise UsageError(
                f"recipe optimizer is 'adamw' with momentum {self.momentum:g} and dampening {self.dampening:g}: give a momentum,"
                " its first beta, below 1, and no dampening"
            )
        if self.loss not in get_args(Loss):
            raise UsageError(
                f"recipe loss is {self.loss!r}: give one of {', '.join(get_args(Loss))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, as a checkpoint carries it.

        Cross-entropy is not named, nor what belongs to other losses, nor is SGD: as in the runs before there were any.
        """
        values = {**asdict(self), "augmentation": self.augmentation.to_dict()}
        unnamed = ["loss", "overlap_weight", "overlap_power"] if self.loss == "softmax" else []
        unnamed += ["optimizer"] if self.optimizer == "sgd" else []
        return {k: v for k, v in values.items() if k not in unnamed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Rebuild a recipe from `to_dict`'s values."""
        given = dict(values)
        given["augmentation"] = Augmentation.from_dict(given["augmentation"])
        given["schedule"] = Schedule(**given["schedule"])
        return cls(**given)


def _step(every: int, unit: Unit, factor: float = 0.1) -> Schedule:
    return Schedule(kind="step", every=every, unit=unit, factor=factor)


def _plateau(reductions: int | None = None) -> Schedule:
    return Schedule(kind="plateau", every=10, reductions=reductions)


# Tran et al. 2017 print neither momentum nor weight decay: 0.9 and 0.0005, C3D's in the S-CNN paper's settings, are our choice.
_TRAN: dict[str, Any] = {"unit": "iterations", "weight_decay": 0.0005}
_HARA2018: dict[str, Any] = {"batch": 128, "weight_decay": 0.001, "schedule": _plateau()}
_ASYMMETRIC: dict[str, Any] = {
    "batch": 16,
    "weight_decay": 0.0005,
    "augmentation": AUGMENTATIONS["asymmetric"],
}
# As epochs, section 5.3's own numbers, which fit any amount of data; the authors' iterations are 16 epochs of theirs.
_SCNN: dict[str, Any] = {
    "lr": 0.001, "batch": 8, "duration": 16, "schedule": _step(4, "epochs", 0.5), "weight_decay": 0.00005,
    "last_layer": 10.0, "last_bias": 20.0, "augmentation": AUGMENTATIONS["scnn"],
}  # fmt: skip
# Caffe's solvers there leave biases without weight decay, and give those of the other layers twice the rate: both are left out.
_SCNN_C3D: dict[str, Any] = {
    "lr": 0.0001, "batch": 3, "duration": 30_000, "unit": "iterations", "weight_decay": 0.0005,
    "last_layer": 100.0, "last_bias": 200.0, "augmentation": AUGMENTATIONS["scnn"],
}  # fmt: skip

# What generated clips are trained on by, whatever the model.
GENERATED_MOTION = "generated-motion"

RECIPES: Mapping[str, Recipe] = {
    # "about 15 epochs" of 90,000 x 20 clips are 12 or 13 clips for each of UCF101's 9,537 training videos.
    "tran2017-ucf101": Recipe(
        lr=0.01, batch=20, duration=90_000, schedule=_step(20_000, "iterations"), augmentation=AUGMENTATIONS["tran2017"],
        clips_per_video=12, **_TRAN, source="Tran et al. 2017, section 3.2; momentum, weight decay and mirroring are not printed",
    ),
    "tran2017-hmdb51": Recipe(
        lr=0.01, batch=20, duration=45_000, schedule=_step(10_000, "iterations"), augmentation=AUGMENTATIONS["tran2017"],
        clips_per_video=12, **_TRAN, source="Tran et al. 2017, appendix C; the rest as tran2017-ucf101",
    ),
    "tran2017-sports1m": Recipe(
        lr=0.01, batch=40, duration=3_000_000, schedule=_step(250_000, "iterations", 0.5),
        augmentation=AUGMENTATIONS["tran2017-sports1m"], clips_per_video=5, **_TRAN,
        source="Tran et al. 2017, section 4; momentum, weight decay and mirroring are not printed",
    ),
    "hara2017-kinetics": Recipe(
        lr=0.1, batch=256, duration=200, weight_decay=0.001, schedule=_plateau(reductions=3),
        augmentation=AUGMENTATIONS["hara2017"],
        source="Hara et al. 2017, section 3.2.1; 200 epochs and a patience of 10 are their code's defaults",
    ),
    "hara2018-scratch": Recipe(
        lr=0.03, duration=250, augmentation=AUGMENTATIONS["multi-scale-spatial-random"], **_HARA2018,
        source="Hara et al. 2018 (Good Practice), section III-B; the best augmentation of table II",
    ),
    "hara2018-finetune": Recipe(
        lr=0.0003, duration=100, augmentation=AUGMENTATIONS["multi-scale-spatial-random"], **_HARA2018,
        source="Hara et al. 2018 (Good Practice), section III-B; freeze as in figure 2",
    ),
    "semi-cnn": Recipe(
        lr=0.1, batch=256, accumulate=32, duration=50, dampening=0.9, weight_decay=0.0001, schedule=_plateau(),
        augmentation=AUGMENTATIONS["multi-scale-spatial-random"],
        source="Leong et al. 2020 (semi-CNN), section 4.1; its multiple scales are not printed: Hara et al.'s",
    ),
    # Section 4.3 gives one rate for pre-training and one for fine-tuning; tables 2 and 3 are "from scratch", with neither.
    "asymmetric-scratch": Recipe(
        lr=0.001, duration=50, schedule=_step(15, "epochs", 0.2), **_ASYMMETRIC,
        source="Yang et al. 2019, section 4.3: the settings of pre-training, since tables 2 and 3 name none of their own",
    ),
    "asymmetric-pretrain": Recipe(
        lr=0.001, duration=50, schedule=_step(15, "epochs", 0.2), **_ASYMMETRIC, source="Yang et al. 2019, section 4.3",
    ),
    "asymmetric-finetune": Recipe(
        lr=0.0001, duration=20, schedule=_step(8, "epochs"), last_layer=10.0, last_bias=10.0, **_ASYMMETRIC,
        source="Yang et al. 2019, sections 4.3 and 4.6",
    ),
    "scnn-proposal": Recipe(
        **_SCNN, source="S-CNN on Res3D, Tran et al. 2017, section 5.3; released settings: 27,384 iterations, halved every 6,846",
    ),
    "scnn-classification": Recipe(
        **_SCNN, source="S-CNN on Res3D, Tran et al. 2017, section 5.3; released settings: 14,704 iterations, halved every 3,676",
    ),
    "scnn-localization": Recipe(
        **_SCNN, loss="overlap", source="as scnn-classification; loss of Shou et al. 2016, section 3.3",
    ),
    "scnn-c3d-proposal": Recipe(
        **_SCNN_C3D, schedule=_step(10_000, "iterations"), source="S-CNN on C3D, Shou et al. 2016: released settings",
    ),
    "scnn-c3d-classification": Recipe(
        **_SCNN_C3D, schedule=_step(10_000, "iterations", 0.5), source="S-CNN on C3D, Shou et al. 2016: released settings",
    ),
    "scnn-c3d-localization": Recipe(
        **_SCNN_C3D, schedule=_step(5_000, "iterations", 0.5), loss="overlap",
        source="S-CNN on C3D, Shou et al. 2016, section 3.3, and released settings",
    ),
    GENERATED_MOTION: Recipe(
        lr=0.05, batch=64, duration=60_000, unit="iterations", weight_decay=0.0005, schedule=Schedule(kind="one-cycle"),
        augmentation=AUGMENTATIONS["none"], source="ours, for generated clips, which no paper trained these networks on",
    ),
}  # fmt: skip


# What the paper of a model's family trained it by, from nothing and from other weights.
_DEFAULTS: Mapping[str, tuple[str, str]] = {
    "tran2017": ("tran2017-ucf101", "tran2017-ucf101"),
    "c3d": ("tran2017-ucf101", "tran2017-ucf101"),
    "hara": ("hara2018-scratch", "hara2018-finetune"),
    "torchvision": ("hara2018-scratch", "hara2018-finetune"),
    "semi-cnn": ("semi-cnn", "semi-cnn"),
    "asymmetric": ("asymmetric-scratch", "asymmetric-finetune"),
}


def default_recipe(family: str, *, finetune: bool) -> str:
    """Return the recipe's name for a family of models, trained from nothing or fine-tuned."""
    return _DEFAULTS[family][finetune]


def recipe(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of that name, with fields replaced.

    overrides: field to value, as text: "lr": "0.05", "schedule.every": "5", "augmentation": "spatial-center",
        "augmentation.flip": "0", "freeze": "conv4", "augmentation.scales": "1,0.5".
    Raises UsageError with the nearest names for a recipe or field that does not exist, and for a value that is not the
    field's kind.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}{nearest(name, RECIPES)}")
    chosen = RECIPES[name]
    overrides = dict(overrides or {})
    if (named := overrides.pop("augmentation", None)) is not None:
        chosen = replace(chosen, augmentation=augmentation(named))
    changes: dict[str, dict[str, Any]] = {"": {}, **{part: {} for part in _PARTS}}
    for path, text in overrides.items():
        part, _, field = path.rpartition(".")
        kinds = get_type_hints(_PARTS.get(part, Recipe))
        if part not in changes or field not in kinds or field in ("source", *_PARTS):
            choices = [
                f"{part}." * bool(part) + f
                for part, row in (("", Recipe), *_PARTS.items())
                for f in get_type_hints(row)
            ]
            raise UsageError(f"a recipe has no field {path!r}{nearest(path, choices)}")
        changes[part][field] = _value(path, text, kinds[field])
    # All at once: two fields may be sound together that one of them alone is not.
    whole = changes.pop("")
    return replace(
        chosen,
        **whole,
        **{part: replace(getattr(chosen, part), **change) for part, change in changes.items()},
    )


_PARTS: Mapping[str, type] = {"schedule": Schedule, "augmentation": Augmentation}


def _value(path: str, text: str, kind: Any) -> Any:
    """Read a field's value, of the annotated kind, from text."""
    if type(None) in get_args(kind):
        if text.lower() in ("none", ""):
            return None
        kind = next(k for k in get_args(kind) if k is not type(None))
    try:
        if get_origin(kind) is tuple:
            return tuple(float(part) for part in text.split(",") if part.strip())
        if kind in (int, float):
            return kind(text)
    except ValueError:
        wanted = (
            "a whole number"
            if kind is int
            else "a number"
            if kind is float
            else "numbers separated by commas"
        )
        raise UsageError(f"{path} is {text!r}: give {wanted}") from None
    return text
