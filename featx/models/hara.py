"""3D ResNets of Hara, Kataoka and Satoh, and the deeper ones of their release.

"Learning Spatio-Temporal Features with 3D Residual Networks for Action Recognition", ICCV Workshops 2017
(arXiv:1708.07632), table 1; "Towards Good Practice for Action Recognition with Spatiotemporal 3D
Convolutions", ICPR 2018, table I. The networks of 50 layers and more, and that they have projections
(type B) where 18 and 34 layers have zero padding (type A), are as in the authors' release
(github.com/kenshohara/3D-ResNets-PyTorch).
"""

from __future__ import annotations

from functools import partial

from featx.clips import ClipSpec
from featx.models.blocks import Shortcut
from featx.models.layers import Backbone, Triple
from featx.models.network import Network
from featx.models.registry import ModelEntry, register
from featx.models.rows import Block, Conv, MaxPool, Row, block_name
from featx.transforms import Transform

Four = tuple[int, int, int, int]

# depth: (blocks of conv2_x ... conv5_x, whether they are bottlenecks)
DEPTHS: dict[int, tuple[Four, bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def rows(depth: int, *, shortcut: Shortcut) -> list[Row]:
    """Return the network's layers: conv1, pool1, res2a ..."""
    return [
        Conv(name="conv1", width=64, kernel=(7, 7, 7), stride=(1, 2, 2)),
        MaxPool(name="pool1", kernel=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)),
        *residual(depth, shortcut=shortcut),
    ]


def residual(
    depth: int, *, shortcut: Shortcut, kernel: Triple = (3, 3, 3), down: Triple = (2, 2, 2)
) -> list[Row]:
    """Return the blocks res2a ... of that depth; the first of conv3_x, conv4_x and conv5_x strides by `down`."""
    blocks, bottleneck = DEPTHS[depth]
    return [
        Block(
            name=block_name(f"res{group}", i, n_blocks),
            width=16 << group,
            kernel=kernel,
            stride=down if group > 2 and i == 0 else (1, 1, 1),
            bottleneck=bottleneck,
            shortcut=shortcut,
        )
        for group, n_blocks in enumerate(blocks, start=2)
        for i in range(n_blocks)
    ]


def build(depth: int, shortcut: Shortcut, size: Triple, *, num_classes: int) -> Backbone:
    """Build a 3D ResNet."""
    return Network(rows(depth, shortcut=shortcut), size=size, num_classes=num_classes)


# Hara et al. 2017, section 3.2.2: crops of the frame's shorter side around its centre, at 112 x 112. The mean is that of
# ActivityNet, which the authors' feature extractor subtracts from pixels of 0..255 (video-classification-3d-cnn-pytorch,
# mean.py); it divides by nothing.
HARA = Transform(resize=112, crop=112, mean=(114.7748, 107.7354, 99.475), std=(1.0, 1.0, 1.0))

# Hara et al. 2018, section III.B: Kinetics' means subtracted and its deviations divided by; numbers from the authors' mean.py
# of that time ("10 videos for each class").
HARA_2018 = Transform(
    resize=112,
    crop=112,
    mean=(110.63666788, 103.16065604, 96.29023126),
    std=(38.7568578, 37.88248729, 40.02898126),
)

register(
    ModelEntry(
        name="hara_resnet18_2018",
        family="hara",
        builder=partial(build, 18, "zeros", (16, 112, 112)),
        num_classes=400,
        clip=ClipSpec(frames=16, step=1, stride=16),
        transform=HARA_2018,
        layers=("res5b", "pool5", "prob"),
        source="Hara et al. 2018 (good practice), table I and section III.B",
    )
)

for _depth in DEPTHS:
    _shortcut: Shortcut = "zeros" if _depth < 50 else "projection"
    _paper = "Hara et al. 2017 (arXiv:1708.07632), table 1"
    register(
        ModelEntry(
            name=f"hara_resnet{_depth}",
            family="hara",
            builder=partial(build, _depth, _shortcut, (16, 112, 112)),
            num_classes=400,  # Kinetics-400
            clip=ClipSpec(frames=16, step=1, stride=16),
            transform=HARA,
            layers=(rows(_depth, shortcut=_shortcut)[-1].name, "pool5", "prob"),
            source=_paper if _depth < 50 else "the authors' release; Leong et al. 2020, table 2",
        )
    )
