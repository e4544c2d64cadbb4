"""From networks for images to semi-CNNs: the spatial layers of the one are those of the other, frame by frame.

Leong et al. 2020 (semi-CNN), section 4.2 and table 2: "the trainable parameters are obtained from the lower layers of the
pretrained network for our spatial convolutions only".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from featx.errors import UsageError
from featx.models import build_model, model_entry
from featx.models.image_networks import Counterpart, Counts, counterpart_of
from featx.models.layers import Backbone
from featx.weights.checkpoint import save_checkpoint
from featx.weights.layouts import blocks_of
from featx.weights.statefile import SUFFIXES, find_file, read_state

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Transfer:
    """What was taken over from a network for images.

    model: the model with it. network: the image network's name.
    layers: names of the layers that were filled, and tensors: of the tensors.
    parameters: how many trainable numbers these are: kernels, biases, and batch norm's scale and shift, not its running
        statistics, which are taken over too.
    """

    model: Backbone
    network: str
    layers: tuple[str, ...]
    tensors: tuple[str, ...]
    parameters: int


# torchvision's own files of DenseNets still have the names that modules had before 2018: denselayer1.norm.1.weight.
_OLD_DENSE = re.compile(r"\.(norm|conv)\.([12])\.")
_VGG = re.compile(r"features\.\d+\.weight")
_DENSE = re.compile(r"features\.denseblock([1-4])\.denselayer(\d+)\.")


def transfer_2d(model_or_name: Backbone | str, state: State | str | os.PathLike[str]) -> Transfer:
    """Fill the spatial layers of a semi-CNN from a network for images, in place.

    model_or_name: a model, or the name of one, which is then built with weights from torch's global generator.
    state: ImageNet weights under torchvision's names, or a .pth, .pt or .safetensors file of them; a 2D kernel
        (O, I, H, W) becomes (O, I, 1, H, W). Layers that have no place here, later ones and the classifier, are left out;
        so is DenseNet's transition2a, which no image network has.

    Raises UsageError when the model has no counterpart or the state is not that of its counterpart, and FeatxError when
    the file cannot be read. Then nothing was changed.
    """
    if isinstance(model_or_name, str):
        return fill(build_model(model_or_name), state, name=model_or_name)
    return fill(model_or_name, state)


def fill(
    model: Backbone,
    state: State | str | os.PathLike[str],
    *,
    name: str = "this model",
    where: str = "init_2d",
) -> Transfer:
    """Do what `transfer_2d` does; for messages, `name` is the model's and `where` the state's."""
    source = counterpart_of(model, name)
    given, where = _given(state, where)
    _check_network(given, where, source)
    target = model.state_dict()
    taken: dict[str, torch.Tensor] = {}
    for name, value in target.items():
        module, _, leaf = name.rpartition(".")
        if module not in source.modules or leaf == "num_batches_tracked":
            continue
        theirs = f"{source.modules[module]}.{leaf}"
        if theirs not in given:
            raise UsageError(f"{where} is no {source.network}: it lacks {theirs}")
        found = given[theirs].detach()
        shape = (
            (*value.shape[:2], *value.shape[3:]) if value.dim() == 5 else tuple(value.shape)
        )  # without the time of 1
        if tuple(found.shape) != shape or not found.is_floating_point():
            raise UsageError(
                f"{where} is no {source.network}: its {theirs} is {found.dtype} {tuple(found.shape)}, not {value.dtype} {shape}"
            )
        taken[name] = found.reshape(value.shape)
    with torch.no_grad():
        for name, value in taken.items():
            target[name].copy_(value)  # a state dict's tensors are the model's own
    trainable = {name for name, _ in model.named_parameters()}
    return Transfer(
        model=model,
        network=source.network,
        layers=tuple(dict.fromkeys(name.partition(".")[0] for name in taken)),
        tensors=tuple(taken),
        parameters=sum(value.numel() for name, value in taken.items() if name in trainable),
    )


def _given(state: State | str | os.PathLike[str], where: str) -> tuple[State, str]:
    """Return the state under today's names, and what to call it."""
    if not isinstance(state, Mapping | str | os.PathLike):
        raise UsageError(
            f"init_2d is {state!r}: give a state dict of an ImageNet network, or the path of a file of it"
        )
    if not isinstance(state, Mapping):
        path = Path(state).expanduser()
        if path.suffix not in SUFFIXES or not path.is_file():
            raise UsageError(
                f"there is no file {path} whose name ends in {', '.join(SUFFIXES)}: give one of ImageNet weights"
            )
        state, where = read_state(path).state, str(path)
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UsageError(f"{where} is no state dict: it must map names to tensors")
    return {_OLD_DENSE.sub(r".\1\2.", name): value for name, value in state.items()}, where


def _check_network(state: State, where: str, source: Counterpart) -> None:
    """Raise UsageError where the state is another network's, even if the wanted tensors are there and fit."""
    family, counts = _counts(state)
    if family != source.family:
        if any(value.dim() == 5 for value in state.values()):
            found = "its kernels are those of a 3D network"
        else:
            found = f"it is a {family}" if family else "its names are of no network known here"
        raise UsageError(
            f"{where} is no {source.network}: {found}; give torchvision's weights of {source.network}"
        )
    # A file may hold the lower groups of layers alone; those it has must have as many as the network's.
    if any(found not in (0, wanted) for found, wanted in zip(counts, source.counts, strict=True)):
        unit = {"VGG": "convolutions", "ResNet": "blocks", "DenseNet": "dense layers"}[family]
        has, takes = (" + ".join(map(str, each)) for each in (counts, source.counts))
        raise UsageError(f"{where} is no {source.network}: it has {has} {unit}, not {takes}")


def _counts(state: State) -> tuple[str, Counts]:
    if "features.conv0.weight" in state:
        layers = {(int(match[1]), match[2]) for name in state if (match := _DENSE.match(name))}
        return "DenseNet", tuple(
            sum(block == group for block, _ in layers) for group in (1, 2, 3, 4)
        )
    if "features.0.weight" in state:
        return "VGG", (
            sum(value.dim() == 4 for name, value in state.items() if _VGG.fullmatch(name)),
        )
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        return "ResNet", blocks_of(state)
    return "", ()


# ---------------------------------------------------------------- a checkpoint of it


@dataclass(frozen=True, kw_only=True)
class From2D:
    """A checkpoint made of an image network's: what was taken over, and what the file says of it.

    network: the image network's name. parameters: how many trainable numbers are its. layers: where they are.
    source: as it will stand in a feature file. sha256: of the file that was written.
    """

    network: str
    parameters: int
    layers: tuple[str, ...]
    source: str
    sha256: str


def from_2d(
    architecture: str,
    state: str | Path,
    out: str | Path,
    *,
    num_classes: int | None = None,
    seed: int = 0,
) -> From2D:
    """Write a checkpoint whose spatial layers are those of an ImageNet network and whose other layers are untrained.

    state: a .pth, .pt or .safetensors file of the 2D counterpart's weights under torchvision's names.
    out: a .safetensors file. num_classes: the model's own number by default. seed: of the untrained layers.

    The file's name and source say what is trained in it, and so does every feature file made with it.

    Raises UsageError when the model has no 2D counterpart or the file is not its weights.
    """
    if (path := Path(out)).suffix != ".safetensors":
        raise UsageError(f"{path} must end in .safetensors")
    entry = model_entry(architecture)
    given = find_file(state)
    read = read_state(given)
    model = build_model(architecture, num_classes=num_classes, seed=seed)
    made = fill(model, read.state, name=architecture, where=str(given))
    source = f"spatial layers from {made.network}, {given.name} (sha256 {read.sha256}); the rest untrained, seed {seed}"
    info = {
        "name": f"partly untrained {architecture}",
        "source": source,
        "licence": None,
        "seed": seed,
        "transferred": {
            "network": made.network,
            "file": given.name,
            "sha256": read.sha256,
            "parameters": made.parameters,
            "layers": list(made.layers),
        },
    }
    digest = save_checkpoint(
        path,
        model,
        architecture=architecture,
        transform=entry.transform,
        clip=entry.clip,
        info=info,
    )
    return From2D(
        network=made.network,
        parameters=made.parameters,
        layers=made.layers,
        source=source,
        sha256=digest,
    )
