"""What a training run works with: its settings, and what they come to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from featx.clips import ClipSpec
from featx.datasets import Dataset, about, load_dataset
from featx.errors import UsageError
from featx.evaluation import protocol_named
from featx.files import sha256_of
from featx.models import Backbone, create_model, model_entry
from featx.preparation import Settings as ExtractionSettings
from featx.preparation import clip_of, transform_of
from featx.training.processes import Processes
from featx.training.recipes import Recipe, default_recipe, recipe
from featx.transforms import FlowMethod, Input, Transform
from featx.weights import LoadedModel, load_model


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a run is asked for.

    model: a registered name. dataset, root, split, partial, holdout: as `load_dataset` takes them.
    recipe: a name of RECIPES, by default the model's family's. overrides: fields of it, as `recipes.recipe` takes them.
    weights: what to start from, as `load_model` takes it; None starts from nothing. init_2d: as `create_model` takes it.
    seed: of the untrained weights, the draws and dropout.
    frames, step, crop: the clips' and the crops' size, by default the network's own; with another crop frames are
        resized in proportion. clip: the clips altogether, instead of frames and step.
    input, flow: as in extraction; flow_cache: a folder that `extract` keeps flow in; clips whose flow is not there, in their
        frames' size, have it computed anew each time. Validation keeps its flow there.
    validate: the dataset's side to validate on after every `validate_every` epochs, "none" for none, by default "val"
        where there is one, else "test", as the papers do. protocol: of validation.
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
            raise UsageError(f"saving every {self.save_seconds} s, timeout {self.timeout} s: give numbers of seconds above 0")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}: give a whole number from 0")
        if self.crop is not None and not 1 <= self.crop <= 1024:
            raise UsageError(f"crop is {self.crop}: give 1 to 1024 pixels")
        if self.weights is not None and self.init_2d is not None:
            raise UsageError("weights and init_2d are both given: start from one of them")
        if self.clip is not None and (self.frames is not None or self.step is not None):
            raise UsageError("clip is given, and frames or step with it: leave them out")


@dataclass(frozen=True)
class Plan:
    """What a run works with, once all of it is found. recorded: as JSON values, what the result depends on."""

    settings: TrainSettings
    recipe_name: str
    recipe: Recipe
    train: Dataset
    val: Dataset | None
    model: Backbone
    transform: Transform
    clip: ClipSpec
    start: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def recorded(self) -> dict[str, Any]:
        s = self.settings
        return {
            "featx_format": 1,
            "model": s.model,
            "start": self.start,
            "dataset": {"name": s.dataset, "split": s.split, "partial": s.partial, "holdout": s.holdout,
                        "videos": len(self.train.items), "classes": list(self.train.classes), "absent": self.train.absent,
                        "list": _digest(self.train), "validation list": _digest(self.val) if self.val else None,
                        **({"made": dict(self.train.made)} if self.train.made else {})},
            "recipe": {"name": self.recipe_name, **self.recipe.to_dict()},
            "transform": self.transform.to_dict(),
            "clip": self.clip.to_dict(),
            "seed": s.seed,
            "validate": {"subset": self.val.subset if self.val else None, "every": s.validate_every, "protocol": s.protocol,
                         "videos": len(self.val.items) if self.val else 0},
            "precision": s.precision,
        }  # fmt: skip


def make_plan(settings: TrainSettings, data: Dataset | None = None) -> Plan:
    """Find all that a run needs; raises UsageError and FeatxError for what is wrong or not there.

    data: what to train on, instead of what `settings.dataset` names, which is then its name alone; there is no validation.
    """
    protocol_named(settings.protocol)
    entry = model_entry(settings.model)
    name = settings.recipe or default_recipe(entry.family, finetune=settings.weights is not None)
    chosen = recipe(name, settings.overrides)
    asked: dict[str, Any] = {"root": settings.root, "split": settings.split, "partial": settings.partial}
    asked["holdout"] = settings.holdout
    if data is None:
        train = load_dataset(settings.dataset, subset="train", **asked)
        val, notes = _validation(settings, train, asked)
    else:
        train, val, notes = _checked(data, settings), None, list[str]()
    if val is None and chosen.schedule.kind == "plateau":
        raise UsageError(
            f"recipe {name} lowers the rate when the validation loss stops falling, and there is no validation:"
            " give validation videos, or --set schedule.kind=step"
        )
    if chosen.schedule.kind == "plateau" and settings.validate_every > 1:
        raise UsageError(f"recipe {name} looks at the validation loss after every epoch: leave validate_every at 1")
    if chosen.batch > 1 and len(train.items) < 2:
        raise UsageError(f"{train.title} has one video: give more")
    loaded, start, changed = _start(settings, train)
    as_extracted = ExtractionSettings(
        model=settings.model,
        input=settings.input,
        flow=settings.flow,
        flow_cache=settings.flow_cache,
        frames=settings.frames,
        step=settings.step,
    )
    transform, clip = transform_of(loaded.transform, as_extracted), clip_of(loaded.clip, as_extracted)
    clip = settings.clip or clip
    notes = [*notes, *changed, *_background_note(chosen, train)]
    if settings.clip is None and chosen.augmentation.temporal == "span" and clip.scales != (1,):
        notes.append(f"the weights are for windows of {len(clip.scales)} lengths: clips of {clip.span} frames are trained on")
        clip = replace(clip, scales=(1,))
    if settings.crop is not None:
        transform = _scaled(transform, settings.crop)
    if transform.crops != "center" or transform.flip:
        transform = replace(transform, crops="center", flip=False)
    return Plan(settings, name, chosen, train, val, loaded.model, transform, clip, start, (*train.notes, *notes))


def _background_note(chosen: Recipe, train: Dataset) -> list[str]:
    """Return what is to be said of the overlap loss on a dataset that was not made for it."""
    if chosen.loss == "softmax" or train.classes[0].lower() == "background":
        return []
    return [f"loss {chosen.loss} takes the first class, {train.classes[0]!r}, for background, as `featx detect train` has one"]


@dataclass(frozen=True)
class Preset:
    """What a model is fine-tuned from. weights: as TrainSettings takes them; clip: what they take; family: the model's."""

    weights: str
    clip: ClipSpec
    family: str


def preset(model: str, weights: str | None = None) -> Preset:
    """Return what to fine-tune a model from: `weights` as `load_model` takes them, by default its registered checkpoint.

    Raises UsageError where its file is not on this machine, with what to get.
    """
    loaded = load_model(model, weights)
    name = str(loaded.weights_info["name"]) if weights is None else weights
    return Preset(name, loaded.clip, model_entry(model).family)


def _checked(data: Dataset, settings: TrainSettings) -> Dataset:
    """Return a dataset that was put together in memory, if it can be trained on by these settings."""
    if settings.dataset != data.name:
        raise UsageError(f"the dataset is {data.name!r} and the settings name {settings.dataset!r}: give its own name")
    if settings.validate not in (None, "none"):
        raise UsageError(f"validate is {settings.validate!r}, and a dataset in memory has no other side: leave it out")
    if not data.items:
        raise UsageError(f"{data.title} has no videos: give some")
    return data


def _start(settings: TrainSettings, train: Dataset) -> tuple[LoadedModel, dict[str, Any], list[str]]:
    """Return the network to start from, with a classifier of the dataset's classes, what it is, and what was changed."""
    classes = len(train.classes)
    entry = model_entry(settings.model)
    if settings.weights is None:
        model = create_model(settings.model, num_classes=classes, seed=settings.seed, init_2d=settings.init_2d)
        name = "untrained weights" if settings.init_2d is None else f"{settings.init_2d} in the spatial layers"
        start: dict[str, Any] = {"name": name}
        if settings.init_2d is not None:
            with Path(settings.init_2d).open("rb") as file:
                start["sha256"] = sha256_of(file)
        return LoadedModel(model=model, transform=entry.transform, clip=entry.clip, weights_info=start), start, []
    loaded = load_model(settings.model, settings.weights, seed=settings.seed)
    start = {k: loaded.weights_info.get(k) for k in ("name", "sha256", "source")}
    notes = [str(note)] if (note := loaded.weights_info.get("note")) else []
    if loaded.labels != train.classes or not loaded.model.has_classifier:
        _new_classifier(loaded.model, classes, settings.seed)
        notes.append(f"its classifier is new: {classes} classes, untrained")
    return loaded, start, notes


def _new_classifier(model: Backbone, classes: int, seed: int) -> None:
    """Replace the last linear layer by an untrained one, drawn as the model's own is (N(0, 0.01), zero bias)."""
    old = model.get_submodule(model.classifier)
    if not isinstance(old, nn.Linear):
        raise TypeError(f"{model.classifier} is no linear layer")
    new = nn.Linear(old.in_features, classes)
    nn.init.normal_(new.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(new.bias)
    model.set_submodule(model.classifier, new)
    model.has_classifier = True


def _validation(settings: TrainSettings, train: Dataset, asked: dict[str, Any]) -> tuple[Dataset | None, list[str]]:
    if settings.validate == "none":
        return None, []
    if settings.validate is not None:
        return load_dataset(settings.dataset, subset=settings.validate, **asked), []
    if "val" in about(settings.dataset, root=settings.root, holdout=settings.holdout).subsets:
        return load_dataset(settings.dataset, subset="val", **asked), []
    found = load_dataset(settings.dataset, subset="test", **asked)
    return found, [
        f"validated on {found.title}, as the papers do: an accuracy there of best.safetensors, which it chose, flatters;"
        " last.safetensors is not chosen"
    ]


def _digest(dataset: Dataset) -> str:
    """Return what tells a list of videos, with their labels and parts, from another."""
    # Overlaps where there are any: lists without them have had the same digest before.
    items = [
        (item.id, item.label, item.start, item.end, *((item.overlap,) if item.overlap != 1.0 else ())) for item in dataset.items
    ]
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def _scaled(transform: Transform, crop: int) -> Transform:
    """Return the preprocessing with another crop, of frames resized in proportion."""
    factor = crop / transform.crop
    resize = transform.resize
    if isinstance(resize, int):
        return replace(transform, resize=max(crop, round(resize * factor)), crop=crop)
    return replace(transform, resize=(max(crop, round(resize[0] * factor)), max(crop, round(resize[1] * factor))), crop=crop)


def check(planned: Plan, processes: Processes) -> None:
    """Raise UsageError where a plan cannot be carried out by these processes, or the network refuses the clips."""
    row = planned.recipe
    if row.batch % (row.accumulate * processes.world):
        raise UsageError(
            f"a batch of {row.batch} clips cannot be divided over {processes.world} processes of {row.accumulate} passes:"
            f" give --set batch=N, a multiple of {row.accumulate * processes.world}"
        )
    if planned.settings.precision == "bf16" and processes.device.type == "cpu":
        raise UsageError(
            "precision is bf16 and the device is the CPU, where bf16 weight gradients of these layers are wrong: give float32"
        )
    least = min(row.augmentation.shorter(planned.transform), planned.transform.shorter)
    if (side := row.augmentation.largest_side(planned.transform)) > least and not row.augmentation.scales:
        raise UsageError(
            f"crops of {side} pixels do not fit into frames whose shorter side is {least}: give"
            f" --set augmentation.frame_size={side}, or more"
        )
    shape = (1, 3, planned.clip.frames, planned.transform.crop, planned.transform.crop)
    with torch.no_grad():
        planned.model.eval()(torch.zeros(shape))
