"""Residual networks on clips: Res3D, its 2D baseline and torchvision's r3d_18.

Tran, Ray, Shou, Chang, Paluri: "ConvNet Architecture Search for Spatiotemporal Feature Learning",
arXiv:1708.05038 (2017), table 2. What the table leaves open is as in the authors' release
(github.com/facebook/C3D, C3D-v1.1, c3d_resnet18_ucf101_feature_extraction.prototxt).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from featx.clips import ClipSpec
from featx.models._layers import Backbone, ConvBN, check_clips
from featx.models._registry import ModelEntry, register
from featx.transforms import TRAN2017, Transform

Five = tuple[int, int, int, int, int]  # one value each for conv1, conv2_x, ... conv5_x


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """What tells one residual network from another.

    blocks: basic blocks of conv2_x ... conv5_x.
    widths: output channels of conv1 ... conv5_x.
    kernels: temporal kernel size, and strides: temporal stride, of conv1 ... conv5_x.
    project_conv2: a 1x1x1 projection on conv2_x's first block too, though it changes neither width nor size.
    """

    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: Five = (64, 64, 128, 256, 512)
    kernels: Five = (3, 3, 3, 3, 3)
    strides: Five = (1, 1, 2, 2, 2)
    project_conv2: bool = True


class Block(nn.Module):
    """A basic block: relu(conv2(conv1(x)) + shortcut(x)), the shortcut a projection or x itself."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: tuple[int, int, int], *, project: bool) -> None:
        super().__init__()
        self.conv1 = ConvBN(inputs, width, (kernel, 3, 3), stride, relu=True)
        self.conv2 = ConvBN(width, width, (kernel, 3, 3), (1, 1, 1), relu=False)
        self.projection = ConvBN(inputs, width, (1, 1, 1), stride, relu=False) if project else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, inputs, T, H, W) -> (N, width, T', H', W')."""
        shortcut = x if self.projection is None else self.projection(x)
        y: torch.Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return y


class ResNet3D(Backbone):
    """conv1, res2a, res2b, ... res5b, pool5, fc; a layer's output is that after its ReLU."""

    classifier = "fc"

    def __init__(self, config: ResNetConfig, *, num_classes: int) -> None:
        super().__init__()
        widths, kernels, strides = config.widths, config.kernels, config.strides
        self.conv1 = ConvBN(3, widths[0], (kernels[0], 7, 7), (strides[0], 2, 2), relu=True)
        self.block_names: list[str] = []
        inputs = widths[0]
        for group, n_blocks in enumerate(config.blocks, start=1):
            spatial = 1 if group == 1 else 2  # no max-pool before conv2_x, which keeps 56 x 56
            for i in range(n_blocks):
                stride = (strides[group], spatial, spatial) if i == 0 else (1, 1, 1)
                changes = stride != (1, 1, 1) or inputs != widths[group]
                project = i == 0 and (changes or (group == 1 and config.project_conv2))
                name = f"res{group + 1}{'abcdefghijklmnopqrstuvwxyz'[i]}"
                self.add_module(name, Block(inputs, widths[group], kernels[group], stride, project=project))
                self.block_names.append(name)
                inputs = widths[group]
        self.pool5 = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, 3, T, H, W) -> logits (N, classes)."""
        check_clips(x)
        x = self.conv1(x)  # Res3D: (N, 3, 8, 112, 112) -> (N, 64, 8, 56, 56)
        for name in self.block_names:
            # conv2_x (N, 64, 8, 56, 56), conv3_x (N, 128, 4, 28, 28), conv4_x (N, 256, 2, 14, 14)
            x = self.get_submodule(name)(x)
        x = self.pool5(x)  # conv5_x (N, 512, 1, 7, 7) -> (N, 512, 1, 1, 1)
        logits: torch.Tensor = self.fc(x.flatten(1))
        return logits


# torchvision's preset for its video ResNets, (0.43216, 0.394666, 0.37645) and (0.22803, 0.22145, 0.216989) of pixels
# in 0..1, times 255.
KINETICS = Transform(
    resize=(128, 171),
    crop=112,
    mean=(110.2008, 100.63983, 95.99475),
    std=(58.14765, 56.46975, 55.332195),
)

_TRAN = "Tran et al. 2017 (arXiv:1708.05038)"

# Counted by featx.models.count with 101 classes, against the paper's table 3 (a clip of 8 x 112 x 112, a frame of 112 x 112):
#   res3d  33.22 M parameters (paper 33.2), 20.45 G multiply-adds (paper 19.3)
#   res2d  11.23 M parameters (paper 11.2),  1.74 G multiply-adds (paper 1.6)
# 487 classes instead of UCF101's 101 add 0.2 M parameters. Where the multiply-adds differ: the 34-layer networks, which
# table 3 has too, give 37.79 and 3.59 G (paper 36.7 and 3.5), so depth adds what the paper says, and the excess, 1.1 G and
# 0.1 G, is the same at both depths. It lies in what the depths share: conv1 (0.71 G in 3D), the strided convolutions of
# conv3_x ... conv5_x (1.21 G) and the projections (0.15 G). The paper does not say how it counted these.
# r3d_18 at 16 x 112 x 112 gives 40.70 G.
ROWS = (
    # name, configuration, classes, clip, transform, source
    (
        "res3d",
        ResNetConfig(),
        487,  # Sports-1M
        ClipSpec(frames=8, step=2, stride=16),
        TRAN2017,
        f"{_TRAN}, table 2, 3D-Resnet18",
    ),
    (
        # Temporal kernels and strides of 1: every frame on its own, averaged over time by pool5.
        "res2d",
        ResNetConfig(kernels=(1, 1, 1, 1, 1), strides=(1, 1, 1, 1, 1)),
        487,
        ClipSpec(frames=1, step=1, stride=8),
        TRAN2017,
        f"{_TRAN}, section 3.2, 2D-Resnet18",
    ),
    (
        "r3d_18",
        ResNetConfig(project_conv2=False),
        400,  # Kinetics-400
        ClipSpec(frames=16, step=1, stride=16),
        KINETICS,
        "torchvision.models.video.r3d_18; Tran et al. 2018 (arXiv:1711.11248), table 1, R3D",
    ),
)

for _name, _config, _classes, _clip, _transform, _source in ROWS:
    register(
        ModelEntry(
            name=_name,
            family="resnet3d",
            builder=partial(ResNet3D, _config),
            num_classes=_classes,
            clip=_clip,
            transform=_transform,
            layers=("res5b", "pool5", "prob"),
            source=_source,
        )
    )
