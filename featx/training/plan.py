"""What a training run works with: what its settings come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featx.clips import ClipSpec
from featx.datasets import GENERATED_CLIPS, Dataset
from featx.errors import UsageError
from featx.evaluation import protocol_named
from featx.extraction.settings import ClipOptions, Settings
from featx.models import Backbone, build_model, model_entry
from featx.system.extras import absent
from featx.system.files import sha256_of
from featx.training.generated import find_generated
from featx.training.processes import Processes
from featx.training.recipes import GENERATED_MOTION, Recipe, default_recipe, recipe
from featx.training.settings import TrainSettings
from featx.training.source import Source
from featx.training.videos import find_videos
from featx.transforms import Transform
from featx.weights.checkpoint import LoadedModel, load_model
from featx.weights.from_2d import fill


@dataclass(frozen=True)
class Plan:
    """What a run works with, once all of it is found. recorded: as JSON values, what the result depends on."""

    settings: TrainSettings
    recipe_name: str
    recipe: Recipe
    source: Source
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
            **self.source.recorded(),
            "recipe": {"name": self.recipe_name, **self.recipe.to_dict()},
            "transform": self.transform.to_dict(),
            "clip": self.clip.to_dict(),
            "seed": s.run.seed,
            "precision": s.run.machine.precision,
        }


def make_plan(settings: TrainSettings, data: Dataset | None = None) -> Plan:
    """Find all that a run needs; raises UsageError and FeatxError for what is wrong or not there.

    data: what to train on, instead of what `settings.dataset` names, which is then its name alone; there is no validation.
    """
    protocol_named(settings.protocol)
    entry = model_entry(settings.model)
    generated = settings.dataset.name in GENERATED_CLIPS
    own = (
        GENERATED_MOTION
        if generated
        else default_recipe(entry.family, finetune=settings.weights is not None)
    )
    name = settings.recipe or own
    chosen = recipe(name, settings.overrides)
    source: Source = find_generated(settings, data) if generated else find_videos(settings, data)
    if source.validated is None and chosen.schedule.kind == "plateau":
        raise UsageError(
            f"recipe {name} lowers the rate when the validation loss stops falling, and there is no validation:"
            " have it validated, or give `overrides={'schedule.kind': 'step'}`"
        )
    if chosen.schedule.kind == "plateau" and settings.validate_every > 1:
        raise UsageError(
            f"recipe {name} looks at the validation loss after every epoch: leave `validate_every` at 1"
        )
    loaded, start, changed = _start(settings, source.classes)
    as_extracted = Settings(
        clip=settings.clip, transform=settings.transform, flow_cache=settings.flow_cache
    )
    transform = as_extracted.transform_of(loaded.transform)
    clip = as_extracted.clip_of(loaded.clip)
    notes = [
        *source.notes,
        *changed,
        *_background_note(chosen, source.classes),
        *absent("tensorboard", what="no TensorBoard events are written"),
        *absent("matplotlib", what="curves.png is not drawn"),
    ]
    if (
        isinstance(settings.clip, ClipOptions)
        and chosen.augmentation.temporal == "span"
        and clip.scales != (1,)
    ):
        notes.append(
            f"the weights are for windows of {len(clip.scales)} lengths: clips of {clip.span} frames are trained on"
        )
        clip = replace(clip, scales=(1,))
    if transform.crops != "center" or transform.flip:
        transform = replace(transform, crops="center", flip=False)
    source.check(chosen, transform)
    return Plan(settings, name, chosen, source, loaded.model, transform, clip, start, tuple(notes))


def _background_note(chosen: Recipe, classes: Sequence[str]) -> list[str]:
    """Return what is to be said of the overlap loss on a dataset that was not made for it."""
    if chosen.loss == "softmax" or classes[0].lower() == "background":
        return []
    return [
        f"loss {chosen.loss} takes the first class, {classes[0]!r}, for background, as `featx detect train` has one"
    ]


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


def _start(
    settings: TrainSettings, names: tuple[str, ...]
) -> tuple[LoadedModel, dict[str, Any], list[str]]:
    """Return the network to start from, with a classifier of these classes, what it is, and what was changed."""
    classes = len(names)
    entry = model_entry(settings.model)
    if settings.weights is None:
        model = build_model(settings.model, num_classes=classes, seed=settings.run.seed)
        if settings.init_2d is not None:
            fill(model, settings.init_2d, name=settings.model)
        name = (
            "untrained weights"
            if settings.init_2d is None
            else f"{settings.init_2d} in the spatial layers"
        )
        start: dict[str, Any] = {"name": name}
        if settings.init_2d is not None:
            with Path(settings.init_2d).open("rb") as file:
                start["sha256"] = sha256_of(file)
        return (
            LoadedModel(
                model=model, transform=entry.transform, clip=entry.clip, weights_info=start
            ),
            start,
            [],
        )
    loaded = load_model(settings.model, settings.weights, seed=settings.run.seed)
    start = {k: loaded.weights_info.get(k) for k in ("name", "sha256", "source")}
    notes = [str(note)] if (note := loaded.weights_info.get("note")) else []
    if loaded.labels != names or not loaded.model.has_classifier:
        _new_classifier(loaded.model, classes, settings.run.seed)
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


def check(planned: Plan, processes: Processes) -> None:
    """Raise UsageError where a plan cannot be carried out by these processes, or the network refuses the clips."""
    row = planned.recipe
    if row.batch % (row.accumulate * processes.world):
        raise UsageError(
            f"a batch of {row.batch} clips cannot be divided over {processes.world} processes of {row.accumulate} passes:"
            f" give `overrides={{'batch': 'N'}}`, a multiple of {row.accumulate * processes.world}"
        )
    if planned.settings.run.machine.precision == "bf16" and processes.device.type == "cpu":
        raise UsageError(
            "precision is bf16 and the device is the CPU, where bf16 weight gradients of these layers are wrong: give float32"
        )
    least = min(row.augmentation.shorter(planned.transform), planned.transform.shorter)
    if (
        side := row.augmentation.largest_side(planned.transform)
    ) > least and not row.augmentation.scales:
        raise UsageError(
            f"crops of {side} pixels do not fit into frames whose shorter side is {least}: give"
            f" `overrides={{'augmentation.frame_size': '{side}'}}`, or more"
        )
    shape = (1, 3, planned.clip.frames, planned.transform.crop, planned.transform.crop)
    with torch.no_grad():
        planned.model.eval()(torch.zeros(shape))
