"""Networks for images whose layers the semi-CNNs share: which modules of the one are which of the other.

Leong et al. 2020 (semi-CNN), section 4.2 and table 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from featx.errors import UsageError
from featx.models import hara, semicnn
from featx.models.layers import Backbone
from featx.models.network import Network
from featx.models.rows import Conv, DenseBlock, MaxPool, Row, block_name

Counts = tuple[int, ...]
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class Counterpart:
    """An image network: its name, what tells it from others of its family, and its counterpart's rows.

    counts: convolutions of VGG; blocks of ResNet's layer1 ...; layers of DenseNet's denseblock1 ...
    modules: our name -> torchvision's, for every module of the counterpart's spatial layers that the image network has.
    """

    network: str
    family: str
    counts: Counts
    rows: tuple[Row, ...]
    modules: Mapping[str, str]


def transferable(model: Backbone) -> tuple[str, int]:
    """Return the image network that a semi-CNN's spatial layers come from, and how many trainable numbers they have.

    Raises UsageError for a model that has no counterpart.
    """
    source = counterpart_of(model, "this model")
    sizes = [
        p.numel()
        for name, p in model.named_parameters()
        if name.rpartition(".")[0] in source.modules
    ]
    return source.network, sum(sizes)


def counterparts() -> dict[str, str]:
    """Return the names of the models that image networks can be transferred to, each with that of its image network."""
    return {name: source.network for name, source in _sources().items()}


def counterpart_of(model: Backbone, name: str) -> Counterpart:
    if isinstance(model, Network):
        for source in _sources().values():
            if model.rows == source.rows:
                return source
    raise UsageError(
        f"{name} has no counterpart among networks for images: those that have one are {', '.join(_sources())}"
    )


def block_modules(blocks: Four, units: Mapping[str, str]) -> dict[str, str]:
    """Return our name for every module of every block: `units` says what is in a block, layer1.0 being res2a."""
    return {
        f"layer{layer}.{i}.{theirs}": f"{block_name(f'res{layer + 1}', i, count)}.{ours}"
        for layer, count in enumerate(blocks, start=1)
        for i in range(count)
        for theirs, ours in units.items()
    }


def resnet_modules(blocks: Four) -> dict[str, str]:
    """Return our name for every module of a ResNet named as torchvision's image networks and Hara et al.'s are."""
    units = {"downsample.0": "projection.conv", "downsample.1": "projection.bn"}
    for i in (1, 2, 3):
        units |= {f"conv{i}": f"conv{i}.conv", f"bn{i}": f"conv{i}.bn"}
    return {"conv1": "conv1.conv", "bn1": "conv1.bn", **block_modules(blocks, units)}


@cache
def _sources() -> dict[str, Counterpart]:
    sources = {"semi_vgg16": _vgg()}
    sources |= {f"semi_resnet{depth}": _resnet(depth) for depth in semicnn.SEMI_RESNETS}
    return sources | {f"semi_densenet{depth}": _densenet(depth) for depth in semicnn.DENSENETS}


def _spatial(rows: tuple[Row, ...]) -> list[Row]:
    first = next(i for i, row in enumerate(rows) if not row.spatial)
    return list(rows[:first])


def _vgg() -> Counterpart:
    rows = tuple(semicnn.vgg_semi())
    modules, index = {}, 0
    for row in _spatial(rows):
        if isinstance(row, Conv):
            modules[f"{row.name}.conv"] = f"features.{index}"
        index += 1 if isinstance(row, MaxPool) else 2  # a ReLU has a number too
    return Counterpart("VGG-16", "VGG", (sum(map(len, semicnn.VGG_WIDTHS)),), rows, modules)


def _resnet(depth: int) -> Counterpart:
    rows = tuple(semicnn.resnet_semi(depth))
    blocks, _ = hara.DEPTHS[depth]
    names = {row.name for row in _spatial(rows)}
    modules = {
        ours: theirs
        for theirs, ours in resnet_modules(blocks).items()
        if ours.partition(".")[0] in names
    }
    return Counterpart(f"ResNet-{depth}", "ResNet", blocks, rows, modules)


def _densenet(depth: int) -> Counterpart:
    rows = tuple(semicnn.densenet_semi(depth))
    modules = {"conv0.conv": "features.conv0", "conv0.bn": "features.norm0"}
    modules |= {
        "transition1.norm.bn": "features.transition1.norm",
        "transition1.conv": "features.transition1.conv",
    }
    inner = {"norm1.bn": "norm1", "conv1.conv": "conv1", "conv1.bn": "norm2", "conv2": "conv2"}
    for row in _spatial(rows):
        if isinstance(row, DenseBlock):
            # denseblock2a holds the first half of denseblock2, the layers along time the second.
            theirs = f"features.{row.name.rstrip('ab')}"
            for i in range(1, row.layers + 1):
                modules |= {
                    f"{row.name}.denselayer{i}.{ours}": f"{theirs}.denselayer{i}.{name}"
                    for ours, name in inner.items()
                }
    return Counterpart(f"DenseNet-{depth}", "DenseNet", semicnn.DENSENETS[depth], rows, modules)
