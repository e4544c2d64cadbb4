"""Networks by name, untrained or with weights: `featx.create_model` and `featx.list_models`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from featx.errors import UsageError
from featx.models import Backbone, build_model, model_entry, model_names
from featx.weights.checkpoint import load_model
from featx.weights.from_2d import fill
from featx.weights.manifest import list_checkpoints


def create_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | bool | None = None,
    num_classes: int | None = None,
    seed: int | None = None,
    init_2d: Mapping[str, torch.Tensor] | str | os.PathLike[str] | None = None,
    **options: Any,
) -> Backbone:
    """Build a network, untrained or with weights.

    The network is an `nn.Module` from clips x: (N, 3, T, H, W), float32, to logits (N, classes). It says what belongs
    to it: `model.clip` and `model.transform`, the clips and the preprocessing of its weights; `model.labels`, the
    classes' names or None; `model.weights_info`, where its weights are from, None for an untrained network.

    Args:
        name: one of `featx.list_models()`.
        weights: None for an untrained network in training mode. Otherwise the network comes in evaluation mode: with a
            registered checkpoint, by its name; with a file, .safetensors, .pth or .pt, featx's own or one of
            torchvision's video ResNets, Hara et al.'s 3D ResNets or a port of C3D; with the model's registered
            checkpoint that is on this machine, for True; untrained and drawn from `seed`, for "random".
        num_classes: rows of the classifier. By default the weights' number, or the model's own. Weights with another
            number are refused.
        seed: draw untrained weights from a generator of this seed and leave torch's global one alone.
        init_2d: ImageNet weights, or a file of them, for a semi-CNN's spatial layers; the other layers are untrained.
        options: the model's own, such as c3d's `dropout`.

    Returns:
        The network, on the CPU, in float32.

    Raises:
        UsageError: an unknown name, an option that the model does not have, or weights of another model.
        FeatxError: a file that is damaged, or is not the registered one.
    """
    if weights is None or weights is False:
        model = build_model(name, num_classes=num_classes, seed=seed, **options)
        if init_2d is not None:
            fill(model, init_2d, name=name)
        entry = model_entry(name)
        model.clip, model.transform = entry.clip, entry.transform
        return model
    if init_2d is not None:
        raise UsageError("weights and init_2d are both given: start from one of them")
    loaded = load_model(
        name,
        None if weights is True else os.fspath(weights),
        seed=0 if seed is None else seed,
        num_classes=num_classes,
        **options,
    )
    model = loaded.model
    model.clip, model.transform = loaded.clip, loaded.transform
    model.labels, model.weights_info = loaded.labels, loaded.weights_info
    return model


def list_models(filter: str | Iterable[str] = "", *, weights: bool = False) -> list[str]:
    """Return the names of models, sorted.

    Args:
        filter: a shell-style pattern, such as "*res3d*", or several, of which one must match. By default all models.
        weights: only models with a registered checkpoint: one that ships with featx, or that
            `featx weights fetch` downloads.

    Returns:
        Names for `create_model`.
    """
    names = model_names(filter)
    if not weights:
        return names
    registered = {checkpoint.architecture for checkpoint in list_checkpoints()}
    return [name for name in names if name in registered]
