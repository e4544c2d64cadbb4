"""From networks for images to semi-CNNs: the spatial layers of the one are those of the other, frame by frame.

Leong et al. 2020 (semi-CNN), section 4.2 and table 2: "the trainable parameters are obtained from the lower layers of the
pretrained network for our spatial convolutions only".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from featx.errors import UsageError
from featx.models import hara, semicnn
from featx.models._layers import Backbone
from featx.models._network import Network
from featx.models._registry import create_model
from featx.models._rows import Conv, DenseBlock, MaxPool, Row
from featx.models._state import blocks_of, resnet_modules
from featx.statefile import SUFFIXES, read_state

State = Mapping[str, torch.Tensor]
Counts = tuple[int, ...]


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


@dataclass(frozen=True)
class _Source:
    """An image network: its name, what tells it from others of its family, and its counterpart's rows.

    counts: convolutions of VGG; blocks of ResNet's layer1 ...; layers of DenseNet's denseblock1 ...
    modules: our name -> torchvision's, for every module of the counterpart's spatial layers that the image network has.
    """

    network: str
    family: str
    counts: Counts
    rows: tuple[Row, ...]
    modules: Mapping[str, str]


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
        return fill(create_model(model_or_name), state, name=model_or_name)
    return fill(model_or_name, state)


def fill(model: Backbone, state: State | str | os.PathLike[str], *, name: str = "this model", where: str = "init_2d") -> Transfer:
    """Do what `transfer_2d` does; for messages, `name` is the model's and `where` the state's."""
    source = _source_of(model, name)
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
        shape = (*value.shape[:2], *value.shape[3:]) if value.dim() == 5 else tuple(value.shape)  # without the time of 1
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


def transferable(model: Backbone) -> tuple[str, int]:
    """Return the image network that a semi-CNN's spatial layers come from, and how many trainable numbers they have.

    Raises UsageError for a model that has no counterpart.
    """
    source = _source_of(model, "this model")
    sizes = [p.numel() for name, p in model.named_parameters() if name.rpartition(".")[0] in source.modules]
    return source.network, sum(sizes)


def counterparts() -> dict[str, str]:
    """Return the names of the models that image networks can be transferred to, each with that of its image network."""
    return {name: source.network for name, source in _sources().items()}


def _source_of(model: Backbone, name: str) -> _Source:
    if isinstance(model, Network):
        for source in _sources().values():
            if model.rows == source.rows:
                return source
    raise UsageError(f"{name} has no counterpart among networks for images: those that have one are {', '.join(_sources())}")


def _given(state: State | str | os.PathLike[str], where: str) -> tuple[State, str]:
    """Return the state under today's names, and what to call it."""
    if not isinstance(state, Mapping | str | os.PathLike):
        raise UsageError(f"init_2d is {state!r}: give a state dict of an ImageNet network, or the path of a file of it")
    if not isinstance(state, Mapping):
        path = Path(state).expanduser()
        if path.suffix not in SUFFIXES or not path.is_file():
            raise UsageError(f"there is no file {path} whose name ends in {', '.join(SUFFIXES)}: give one of ImageNet weights")
        state, where = read_state(path).state, str(path)
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UsageError(f"{where} is no state dict: it must map names to tensors")
    return {_OLD_DENSE.sub(r".\1\2.", name): value for name, value in state.items()}, where


def _check_network(state: State, where: str, source: _Source) -> None:
    """Raise UsageError where the state is another network's, even if the wanted tensors are there and fit."""
    family, counts = _counts(state)
    if family != source.family:
        if any(value.dim() == 5 for value in state.values()):
            found = "its kernels are those of a 3D network"
        else:
            found = f"it is a {family}" if family else "its names are of no network known here"
        raise UsageError(f"{where} is no {source.network}: {found}; give torchvision's weights of {source.network}")
    # A file may hold the lower groups of layers alone; those it has must have as many as the network's.
    if any(found not in (0, wanted) for found, wanted in zip(counts, source.counts, strict=True)):
        unit = {"VGG": "convolutions", "ResNet": "blocks", "DenseNet": "dense layers"}[family]
        has, takes = (" + ".join(map(str, each)) for each in (counts, source.counts))
        raise UsageError(f"{where} is no {source.network}: it has {has} {unit}, not {takes}")


def _counts(state: State) -> tuple[str, Counts]:
    if "features.conv0.weight" in state:
        layers = {(int(match[1]), match[2]) for name in state if (match := _DENSE.match(name))}
        return "DenseNet", tuple(sum(block == group for block, _ in layers) for group in (1, 2, 3, 4))
    if "features.0.weight" in state:
        return "VGG", (sum(value.dim() == 4 for name, value in state.items() if _VGG.fullmatch(name)),)
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        return "ResNet", blocks_of(state)
    return "", ()


# ---------------------------------------------------------------- the counterparts


@cache
def _sources() -> dict[str, _Source]:
    sources = {"semi_vgg16": _vgg()}
    sources |= {f"semi_resnet{depth}": _resnet(depth) for depth in semicnn.SEMI_RESNETS}
    return sources | {f"semi_densenet{depth}": _densenet(depth) for depth in semicnn.DENSENETS}


def _spatial(rows: tuple[Row, ...]) -> list[Row]:
    first = next(i for i, row in enumerate(rows) if not row.spatial)
    return list(rows[:first])


def _vgg() -> _Source:
    rows = tuple(semicnn.vgg_semi())
    modules, index = {}, 0
    for row in _spatial(rows):
        if isinstance(row, Conv):
            modules[f"{row.name}.conv"] = f"features.{index}"
        index += 1 if isinstance(row, MaxPool) else 2  # a ReLU has a number too
    return _Source("VGG-16", "VGG", (sum(map(len, semicnn.VGG_WIDTHS)),), rows, modules)


def _resnet(depth: int) -> _Source:
    rows = tuple(semicnn.resnet_semi(depth))
    blocks, _ = hara.DEPTHS[depth]
    names = {row.name for row in _spatial(rows)}
    modules = {ours: theirs for theirs, ours in resnet_modules(blocks).items() if ours.partition(".")[0] in names}
    return _Source(f"ResNet-{depth}", "ResNet", blocks, rows, modules)


def _densenet(depth: int) -> _Source:
    rows = tuple(semicnn.densenet_semi(depth))
    modules = {"conv0.conv": "features.conv0", "conv0.bn": "features.norm0"}
    modules |= {"transition1.norm.bn": "features.transition1.norm", "transition1.conv": "features.transition1.conv"}
    inner = {"norm1.bn": "norm1", "conv1.conv": "conv1", "conv1.bn": "norm2", "conv2": "conv2"}
    for row in _spatial(rows):
        if isinstance(row, DenseBlock):
            # denseblock2a holds the first half of denseblock2, the layers along time the second.
            theirs = f"features.{row.name.rstrip('ab')}"
            for i in range(1, row.layers + 1):
                modules |= {f"{row.name}.denselayer{i}.{ours}": f"{theirs}.denselayer{i}.{name}" for ours, name in inner.items()}
    return _Source(f"DenseNet-{depth}", "DenseNet", semicnn.DENSENETS[depth], rows, modules)
