"""Res3D and the architecture search around it.

Tran, Ray, Shou, Chang, Paluri: "ConvNet Architecture Search for Spatiotemporal Feature Learning",
arXiv:1708.05038 (2017). What the tables leave open is as in the authors' release
(github.com/facebook/C3D, C3D-v1.1, c3d_resnet18_ucf101_feature_extraction.prototxt).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from featx.clips import ClipSpec
from featx.models.layers import Backbone, Triple
from featx.models.network import Network
from featx.models.registry import ModelEntry, register
from featx.models.rows import Block, Conv, Row, Split, block_name
from featx.transforms import TRAN2017, Transform

Four = tuple[int, int, int, int]
Five = tuple[int, int, int, int, int]  # one value each for conv1, conv2_x, ... conv5_x


@dataclass(frozen=True, kw_only=True)
class Config:
    """What tells one residual network of the search from another.

    blocks: basic blocks of conv2_x ... conv5_x.
    width: k, the output channels of conv1 and conv2_x; conv3_x ... conv5_x have 2 k, 4 k, 8 k.
    kernels: temporal kernel size, and strides: temporal stride, of conv1 ... conv5_x.
    conv1, conv1_stride: size and stride of conv1's kernel in space.
    split: whether every convolution is split into one in space and one in time (section 3.5).
    project_conv2: a 1x1x1 projection on conv2_x's first block too, though it changes neither width nor size.
    """

    blocks: Four = (2, 2, 2, 2)
    width: int = 64
    kernels: Five = (3, 3, 3, 3, 3)
    strides: Five = (1, 1, 2, 2, 2)
    conv1: int = 7
    conv1_stride: int = 2
    split: Split | None = None
    middle: int | None = None
    project_conv2: bool = True


def rows(config: Config) -> list[Row]:
    """Return the network's layers: conv1, res2a, res2b ... There is no max-pool before conv2_x, which keeps 56 x 56."""
    extent, stride = config.conv1, config.conv1_stride
    layers: list[Row] = [
        Conv(
            name="conv1",
            width=config.width,
            kernel=(config.kernels[0], extent, extent),
            stride=(config.strides[0], stride, stride),
            split=config.split,
            middle=config.middle,
        )
    ]
    for group, n_blocks in enumerate(config.blocks, start=1):
        down = 1 if group == 1 else 2
        for i in range(n_blocks):
            layers.append(  # noqa: PERF401  a comprehension of this size hides what it makes
                Block(
                    name=block_name(f"res{group + 1}", i, n_blocks),
                    width=config.width * (1, 1, 2, 4, 8)[group],
                    kernel=(config.kernels[group], 3, 3),
                    stride=(config.strides[group], down, down) if i == 0 else (1, 1, 1),
                    always=i == 0 and config.project_conv2,
                    split=config.split,
                )
            )
    return layers


def build(config: Config, size: Triple, *, num_classes: int) -> Backbone:
    """Build a network of the search."""
    return Network(rows(config), size=size, num_classes=num_classes)


def resized(crop: int, resize: tuple[int, int]) -> Transform:
    """Return section 3.4's preprocessing at another resolution."""
    return Transform(resize=resize, crop=crop, mean=TRAN2017.mean, std=TRAN2017.std)


FLAT = (1, 1, 1, 1, 1)
SR: Five = (1, 1, 2, 2, 1)  # SR18's temporal strides: section 3.2, conv5_1 strides in space alone

SPORTS1M_CLASSES = 487
UCF101_CLASSES = 101

RES3D_CLIP = ClipSpec(frames=8, step=2, stride=16)
FRAME = ClipSpec(frames=1, step=1, stride=8)
# Section 3.3's strides 1, 2, 4, 8, 16 and 32 of SR18 are the clip's `step`. 4 is the one that the other tables use: 46.1 %,
# SR18's accuracy in tables 5, 6 and 7, is stride 4's in table 4.
SR_CLIP = ClipSpec(frames=4, step=4, stride=16)

SMALL, LARGE = resized(56, (64, 86)), resized(224, (256, 342))

# Parameters and multiply-adds of every row stand in printed.py beside the paper's, with what the differences come from.
#
# sr18_56 and sr18_224: section 3.4 gives conv1 strides of 1 and 4 for them, which would make conv2_x 56 x 56 in all three
# networks and their cost equal (10.7, 10.8 and 11.4 G). Table 5 has 2.6, 10.3 and 42.9 G: a quarter and four times, which is
# stride 2 in all three (2.7, 10.8 and 45.4 G). The networks of the text are sr18_56_stride1 and sr18_224_stride4.
ROWS: tuple[tuple[str, Config, int, ClipSpec, Transform, str], ...] = (
    # name, configuration, classes, clip, transform, source
    ("res3d", Config(), SPORTS1M_CLASSES, RES3D_CLIP, TRAN2017, "table 2, 3D-Resnet18"),
    (
        "res3d_34",
        Config(blocks=(3, 4, 6, 3)),
        UCF101_CLASSES,
        RES3D_CLIP,
        TRAN2017,
        "table 2, 3D-Resnet34",
    ),
    # Ours, for machines without a GPU: a quarter of the cost. The paper has no such row.
    (
        "res3d_half",
        Config(width=32),
        SPORTS1M_CLASSES,
        RES3D_CLIP,
        TRAN2017,
        "table 2, 3D-Resnet18, with half its channels",
    ),
    # Temporal kernels and strides of 1: every frame on its own, averaged over time by pool5.
    (
        "res2d",
        Config(kernels=FLAT, strides=FLAT),
        SPORTS1M_CLASSES,
        FRAME,
        TRAN2017,
        "section 3.2, 2D-Resnet18",
    ),
    (
        "res2d_34",
        Config(blocks=(3, 4, 6, 3), kernels=FLAT, strides=FLAT),
        UCF101_CLASSES,
        FRAME,
        TRAN2017,
        "section 3.2, 2D-Resnet34",
    ),
    (
        "sr18",
        Config(strides=SR),
        UCF101_CLASSES,
        SR_CLIP,
        TRAN2017,
        "section 3.2, SR18; table 14, D18",
    ),
    ("sr18_56", Config(strides=SR, conv1=5), UCF101_CLASSES, SR_CLIP, SMALL, "table 5, crop 56"),
    ("sr18_224", Config(strides=SR, conv1=11), UCF101_CLASSES, SR_CLIP, LARGE, "table 5, crop 224"),
    (
        "sr18_56_stride1",
        Config(strides=SR, conv1=5, conv1_stride=1),
        UCF101_CLASSES,
        SR_CLIP,
        SMALL,
        "section 3.4, crop 56",
    ),
    (
        "sr18_224_stride4",
        Config(strides=SR, conv1=11, conv1_stride=4),
        UCF101_CLASSES,
        SR_CLIP,
        LARGE,
        "section 3.4, crop 224",
    ),
    *(
        (
            f"sr18_mc{i}",
            Config(width=k, kernels=kernels, strides=SR),
            UCF101_CLASSES,
            SR_CLIP,
            TRAN2017,
            f"table 13, MC{i}",
        )
        for i, (k, kernels) in enumerate(
            (
                (109, FLAT),
                (109, (3, 1, 1, 1, 1)),
                (108, (3, 3, 1, 1, 1)),
                (103, (3, 3, 3, 1, 1)),
                (90, (3, 3, 3, 3, 1)),
            ),
            start=1,
        )
    ),
    (
        "sr18_25d",
        Config(strides=SR, split="2.5d"),
        UCF101_CLASSES,
        SR_CLIP,
        TRAN2017,
        "section 3.5, 2.5D",
    ),
    *(
        (
            f"sr18_d{depth}",
            Config(width=k, blocks=blocks, strides=SR),
            UCF101_CLASSES,
            SR_CLIP,
            TRAN2017,
            f"table 14, D{depth}",
        )
        for depth, k, blocks in (
            (10, 98, (1, 1, 1, 1)),
            (16, 85, (2, 2, 2, 1)),
            (26, 50, (2, 3, 4, 3)),
            (34, 46, (3, 4, 6, 3)),
        )
    ),
)

for _name, _config, _classes, _clip, _transform, _source in ROWS:
    register(
        ModelEntry(
            name=_name,
            family="tran2017",
            builder=partial(build, _config, (_clip.frames, _transform.crop, _transform.crop)),
            num_classes=_classes,
            clip=_clip,
            transform=_transform,
            layers=(rows(_config)[-1].name, "pool5", "prob"),
            source=f"Tran et al. 2017 (arXiv:1708.05038), {_source}",
        )
    )
